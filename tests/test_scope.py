"""Laws of scopes."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors, initializers
from tests.crossed import crossed
from tests.models import KEY, X, linear

ones = initializers.ones


def seen(function, *args):
    """What `function(scope)` returns while collecting: a value with no arrays in it."""
    out = []
    jscope.specs(lambda scope, *args: out.append(function(scope, *args)), *args)
    return out[0]


def names(function, *args):
    return list(jscope.specs(function, *args).flat())


def test_a_path_of_two_parts_is_two_steps():
    """`scope / "a/b"` is `scope / "a" / "b"`."""
    assert seen(lambda s: ((s / "a/b").path, (s / "a" / "b").path, (s / "a/b").name, s.path)) == ("a/b", "a/b", "b", "")
    assert names(lambda s: (s / "a/b").get_variable("c/w", (1,))) == ["a/b/c/w"]


def test_a_scope_is_never_mutated():
    """Children, other defaults and other keys are other scopes."""

    def model(s):
        before = (s.path, repr(s), s.has_rng)
        s / "a", s.with_defaults(dtype=jnp.bfloat16), s.with_rng(None), s.variable_scope("b", initializer=ones)
        assert (s.path, repr(s), s.has_rng) == before
        s.get_variable("w", (2,))

    assert jscope.specs(model)["w"].dtype == jnp.float32


def test_a_scope_has_no_attributes_to_set():
    """Writing to one is an error."""
    with pytest.raises(AttributeError, match="path"):
        seen(lambda s: setattr(s, "path", "x"))


def test_defaults_are_inherited_and_overridden():
    """Children inherit all defaults; None inherits, and the innermost wins."""

    def model(s):
        outer = s.with_defaults(initializer=ones, dtype=jnp.bfloat16)
        (outer / "a" / "b").get_variable("w", (2,))
        inner = (outer / "c").with_defaults(initializer=None, dtype=jnp.float16)
        inner.get_variable("w", (2,))

    specs = jscope.specs(model)
    assert (specs["a/b/w"].initializer, specs["a/b/w"].dtype) == (ones, jnp.bfloat16)
    assert (specs["c/w"].initializer, specs["c/w"].dtype) == (ones, jnp.float16)


def test_none_as_a_default_resets_it():
    """`jscope.OFF` gives back the library's own default."""
    specs = jscope.specs(
        lambda s: s.with_defaults(dtype=jnp.float16).with_defaults(dtype=jscope.OFF).get_variable("w", 2)
    )
    assert specs["w"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("outer", "inner", "creates", "shares"),
    [
        (None, None, True, False),
        (False, False, True, False),
        (True, False, False, True),
        (True, None, False, True),
        (True, jscope.AUTO_REUSE, True, True),
        (jscope.AUTO_REUSE, True, False, True),
        (jscope.AUTO_REUSE, False, True, True),
        (True, jscope.OFF, True, False),
        (None, True, False, True),
        (None, jscope.AUTO_REUSE, True, True),
    ],
)
def test_reuse_modes(outer, inner, creates, shares):
    """True must exist, AUTO_REUSE may; they override each other, False and None inherit, OFF switches off."""

    def allowed(create_first):
        def model(s):
            if create_first:
                s.get_variable("a/w", (2,))
            (s.with_defaults(reuse=outer) / "a").with_defaults(reuse=inner).get_variable("w", (2,))

        try:
            jscope.specs(model)
        except (errors.DuplicateVariableError, errors.MissingVariableError):
            return False
        return True

    assert (allowed(create_first=False), allowed(create_first=True)) == (creates, shares)


def test_sharing_gives_one_variable():
    """Two requests for one variable are one entry in the params, read twice."""

    def model(s):
        w = s.get_variable("w", (2,), initializer=ones)
        return w + s.with_defaults(reuse=True).get_variable("w")

    params = jscope.init(model, KEY(0))
    chex.assert_trees_all_equal(jscope.apply(model, params), jnp.full(2, 2.0))


def test_unique_names_count_up():
    """The first free of `name`, `name_1`, `name_2`; what was entered as a scope is not free."""

    def model(s):
        s / "b"
        made = [s.unique("a"), s.unique("a"), s.unique("b"), s.unique("a")]
        return [*made, (s / "c").unique("a")]

    assert seen(model) == ["a", "a_1", "b_1", "a_2", "a"]


def test_a_default_name_makes_a_unique_scope():
    """`variable_scope(default_name=...)` enters the first free name; a name given wins."""

    def layer(s, name=None):
        s.variable_scope(name, "dense").get_variable("w", (1,))

    assert names(lambda s: [layer(s), layer(s), layer(s, "x")]) == ["dense/w", "dense_1/w", "x/w"]


def test_unique_names_are_those_of_init_in_every_apply():
    """Eager, repeated and jitted calls hand out the names that `init` did."""

    def model(s, x):
        for _ in range(2):
            x = jax.jit(lambda s, x: linear(s / s.unique("d"), linear(s / s.unique("d"), x, 4), 4))(s / "a", x)
            s = s / "n"
        return x

    params = jscope.init(model, KEY(0), X)
    out = jscope.apply(model, params, X)
    chex.assert_trees_all_equal(jscope.apply(model, params, X), out)
    assert {name.rpartition("/")[0] for name in jscope.tree.names(params)} == {"a/d", "a/d_1", "n/a/d", "n/a/d_1"}


def test_state_is_read_as_written():
    """Later reads in one call see what was assigned; `apply` returns it; the state passed in is untouched."""

    def model(s):
        n = s.get_variable("a/n", initializer=1.0, trainable=False)
        s = s.with_defaults(reuse=True)
        s.assign("a/n", 2 * n)
        inner = (s / "a").get_variable("n", trainable=False)
        (s / "a").assign("n", inner + 10)
        last = jax.jit(lambda s: s.get_variable("n", trainable=False))(s / "a")
        return n, inner, s.get_variable("a/n", trainable=False), last

    init, apply = jscope.transform_with_state(model)
    params, state = init(KEY(0))
    assert float(state["a"]["n"]) == 1.0
    out, new = apply(params, state)
    assert tuple(map(float, out)) == (1.0, 2.0, 12.0, 12.0)
    assert (float(new["a"]["n"]), float(state["a"]["n"])) == (12.0, 1.0)
    assert tuple(map(float, jax.jit(apply)(params, state)[0])) == (1.0, 2.0, 12.0, 12.0)


def test_a_read_in_an_inner_trace_sees_writes():
    """A scope that crossed no boundary reads what was written, from inside a trace, too."""

    def model(s):
        s.get_variable("n", initializer=0.0, trainable=False)
        s.assign("n", 5.0)
        return jax.jit(lambda: s.with_defaults(reuse=True).get_variable("n", trainable=False))()

    init, apply = jscope.transform_with_state(model)
    assert float(apply(*init(KEY(0)))[0]) == 5.0


def test_numbers_are_assigned_as_the_variable_has_them():
    """A Python number takes the dtype of the variable."""

    def model(s):
        s.get_variable("n", (), jnp.int32, trainable=False)
        s.assign("n", 3)

    init, apply = jscope.transform_with_state(model)
    assert apply(*init(KEY(0)))[1]["n"].dtype == jnp.int32


def test_has_variable_tells_what_exists():
    """While collecting: what was created so far. In apply: what is in the params or the state."""

    def model(s):
        before = s.has_variable("a/w")
        (s / "a").get_variable("w", (1,))
        return before, s.has_variable("a/w"), (s / "a").has_variable("w"), s.has_variable("a"), s.has_variable("x")

    assert seen(model) == (False, True, True, False, False)
    assert jscope.apply(model, {"a": {"w": jnp.ones(1)}}) == (True, True, True, False, False)
    stateful = jscope.transform_with_state(lambda s: s.has_variable("n"))
    assert stateful.apply({}, {"n": jnp.ones(1)})[0] is True


def test_a_scope_knows_its_phase():
    """`collecting` is true in `init` and `specs`, false in `apply`."""
    assert seen(lambda s: s.collecting) is True
    assert jscope.apply(lambda s: (s / "a").collecting, {}) is False


def test_has_rng_tells_whether_there_is_a_key():
    """Always while collecting, unless switched off; in apply where one was bound."""
    model = jscope.transform(lambda s: ((s / "a").has_rng, s.with_rng(None).has_rng))
    assert seen(lambda s: (s.has_rng, s.with_rng(None).has_rng)) == (True, False)
    assert model.apply({}) == (False, False)
    assert model.with_rng(KEY(0)).apply({}) == (True, False)


def test_with_rng_changes_the_keys_alone():
    """The same scope with another key gives that key's numbers."""
    model = jscope.transform(lambda s, key: (s.with_rng(key) / "a").rng())
    expected = jscope.transform(lambda s: (s / "a").rng()).with_rng(KEY(5)).apply({})
    chex.assert_trees_all_equal(jax.random.key_data(model.apply({}, KEY(5))), jax.random.key_data(expected))


def test_sown_values_combine():
    """Sowing one name again combines with `reduce`."""

    def model(s):
        for i in range(3):
            (s / "a").sow("n", i, reduce=lambda old, new: old + new)

    assert jscope.transform(model).capture().apply({})[1] == {"a": {"n": 3}}


def test_the_repr_shows_path_and_variables():
    """Path, names, shapes and dtypes; never values."""
    params = {"a": {"w": jnp.ones((2, 3)), "b": jnp.ones(3, jnp.bfloat16)}, "c": {"w": jnp.ones(1)}}
    shown = jscope.apply(lambda s: repr(s / "a"), params)
    assert shown == "Scope('a')\n  param `a/w`: float32[2, 3]\n  param `a/b`: bfloat16[3]"
    shown = seen(lambda s: (s.get_variable("w", (2,)), repr(s))[1])
    assert shown == "Scope('', with rng)\n  param `w`: float32[2]"


def test_a_long_repr_is_cut():
    """Twenty variables are shown, the rest counted."""
    shown = jscope.apply(repr, {str(i): jnp.ones(1) for i in range(25)})
    assert shown.endswith("... and 5 more")


def test_a_scope_is_a_pytree_with_readable_key_paths():
    """Its leaves are the variables and the key; their key paths say which."""

    def model(s):
        leaves, _ = jax.tree_util.tree_flatten_with_path(s / "a")
        return [jax.tree_util.keystr(path) for path, _ in leaves]

    model = jscope.transform_with_state(model).with_rng(KEY(0))
    paths, _ = model.apply({"a": {"w": jnp.ones(1)}}, {"a": {"n": jnp.ones(1)}})
    assert paths == [".params['w']", ".state['n']", ".rng"]


def test_a_scope_survives_a_round_trip_as_a_pytree():
    """Flattened and put back together, it reads the same variables under the same path."""

    def model(s):
        leaves, treedef = jax.tree.flatten(s / "a")
        copy = jax.tree.unflatten(treedef, leaves)
        return copy.path, copy.get_variable("w")

    w = jnp.ones(1)
    path, value = jscope.apply(model, {"a": {"w": w}})
    assert (path, value is w) == ("a", True)


def test_a_scope_can_be_differentiated_and_mapped_as_a_whole():
    """`jax.grad` and `jax.vmap` over a scope without a key reach its variables."""

    def model(s, x):
        def loss(s):
            return (s.get_variable("w", (2,)) ** 2).sum()

        bare = s.with_rng(None) / "a"
        grads = jax.grad(loss)(bare)
        return grads.get_variable("w"), jax.vmap(lambda s, x: loss(s) * x, (None, 0))(bare, x)

    w = jnp.array([1.0, 2.0])
    grads, mapped = jscope.transform(model).with_rng(KEY(0)).apply({"a": {"w": w}}, jnp.arange(2.0))
    chex.assert_trees_all_equal((grads, mapped), (2 * w, jnp.array([0.0, 5.0])))


def test_apply_looks_up_and_checks_the_shape_no_more():
    """Params may be cast, and what has no shape at all is handed through."""
    marker = object()
    assert jscope.apply(lambda s: s.get_variable("w", (2,)), {"w": marker}) is marker
    assert (
        jscope.apply(lambda s: s.get_variable("w", (2,), jnp.float32), {"w": jnp.ones(2, jnp.int8)}).dtype == jnp.int8
    )


@pytest.mark.parametrize("reuse", [None, True, jscope.AUTO_REUSE])
def test_in_apply_reuse_makes_no_difference(reuse):
    """What is in the params is there, whatever the mode."""
    w = jnp.ones(2)
    assert jscope.apply(lambda s: s.with_defaults(reuse=reuse).get_variable("w", (2,)), {"w": w}) is w


def test_the_name_stack_follows_with_blocks():
    """`with scope / "a"` enters `jax.named_scope`; nested blocks add what is new."""

    def model(s, x):
        with s / "a" as a, a / "b" as b:
            y = jnp.sin(x)
            with s.variable_scope("other"):
                y = jnp.cos(y)
        assert b.path == "a/b"
        return jnp.tan(y)

    jaxpr = jax.make_jaxpr(jscope.transform(model).apply)({}, 1.0)
    assert [str(eqn.source_info.name_stack) for eqn in jaxpr.eqns] == ["a/b", "a/b/other", ""]


def stack(scope, x):
    """Layers that nobody wants to name, as in the tutorial."""
    for _ in range(2):
        x = linear(scope / scope.unique("layer"), x, 3)
    return x


def layer(scope, x):
    return linear(scope / scope.unique("layer"), x, 3)


def stack_of_functions(scope, x):
    """Where a function for each layer takes the name."""
    return layer(scope, layer(scope, x))


def stack_beside(scope, x):
    """Where a layer is named by hand."""
    return stack(scope, linear(scope / "layer", x, 3))


def one_value(f, s, x):
    tower = s.variable_scope("t", reuse=jscope.AUTO_REUSE)
    return f(tower, x) + f(tower, -x)


def in_a_loop(f, s, x):
    tower = s.variable_scope("t", reuse=jscope.AUTO_REUSE)
    return sum(f(tower, y) for y in (x, -x))


def entered_anew(f, s, x):
    return sum([f(s.variable_scope("t", reuse=jscope.AUTO_REUSE), y) for y in (x, -x)])


def created_then_reused(f, s, x):
    return f(s / "t", x) + f(s.variable_scope("t", reuse=True), -x)


def made_elsewhere(f, s, x):
    make = lambda: s.variable_scope("t", reuse=jscope.AUTO_REUSE)  # noqa: E731
    tower = make()
    return f(tower, x) + f(tower, -x)


def under_jax_jit(f, s, x):
    tower = s.variable_scope("t", reuse=jscope.AUTO_REUSE)
    return jax.jit(f)(tower, x) + jax.jit(f)(tower, -x)


def under_remat(f, s, x):
    tower = s.variable_scope("t", reuse=jscope.AUTO_REUSE)
    return jscope.remat(f)(tower, x) + jscope.remat(f)(tower, -x)


TOWERS = [one_value, in_a_loop, entered_anew, created_then_reused, made_elsewhere, under_jax_jit, under_remat]


@pytest.mark.parametrize(("tower", "block"), crossed(TOWERS, [stack, stack_of_functions, stack_beside]))
def test_a_function_that_runs_twice_under_reuse_gets_its_unique_names_again(tower, block):
    """So it shares its variables, however its scope is given to it; `init` and `apply` agree."""
    once = jscope.init(lambda s, x: block(s / "t", x), KEY(0), X[:, :3])
    model = lambda s, x: tower(block, s, x)  # noqa: E731
    params = jscope.init(model, KEY(0), X[:, :3])
    assert jscope.tree.names(params) == jscope.tree.names(once)
    expected = sum(jscope.apply(lambda s, x: block(s / "t", x), params, x) for x in (X[:, :3], -X[:, :3]))
    for apply in (jscope.apply, jax.jit(jscope.apply, static_argnums=0)):
        chex.assert_trees_all_close(apply(model, params, X[:, :3]), expected, atol=1e-6)


def test_without_reuse_a_function_that_runs_twice_gets_new_unique_names():
    """As for `default_name` of TensorFlow, in a scope that was entered once."""
    params = jscope.init(lambda s, x: (lambda t: stack(t, x) + stack(t, x))(s / "t"), KEY(0), X[:, :3])
    assert list(params["t"]) == ["layer", "layer_1", "layer_2", "layer_3"]


def after(scope, before):
    BEFORE[before](scope)
    return scope.unique("layer")


BEFORE = {
    "a variable": lambda s: s.get_variable("layer", (2,)),
    "a state variable": lambda s: s.get_variable("layer", (2,), trainable=False),
    "a scope": lambda s: s / "layer",
    "a part of a path": lambda s: s / "layer/inner",
    "a step": lambda s: s / "layer" / "inner",
    "another unique name": lambda s: s.unique("layer"),
}


@pytest.mark.parametrize("reuse", [False, jscope.AUTO_REUSE])
@pytest.mark.parametrize("before", BEFORE)
def test_a_unique_name_is_none_that_is_there(before, reuse):
    """Neither a variable nor a scope, also where that was only a part of a path."""

    def model(s):
        s = s.variable_scope("a", reuse=reuse)
        name = after(s, before)
        (s / name).get_variable("w", (2,))
        return name

    run = jscope.transform_with_state(model)
    variables = run.init(KEY(0))
    assert run.apply(*variables)[0] == "layer_1"
