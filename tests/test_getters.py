"""Laws of custom getters, and of each in `jscope.getters`."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, getters, initializers
from tests.models import KEY, X, linear

ones = initializers.ones


def under(*chain, at="a"):
    """The linear layer at a path, under getters, outermost first."""

    def model(s, x, features=3):
        for getter in chain:
            s = s.with_defaults(custom_getter=getter)
        return linear(s / at, x, features)

    return model


def names(function, *args):
    return list(jscope.specs(function, *args).flat())


def test_the_innermost_getter_runs_first_and_wraps_the_outer():
    """As in TF1."""
    log = []

    def tell(label):
        def getter(getter, name, **options):
            log.append(f"{label} in")
            value = getter(name, **options)
            log.append(f"{label} out")
            return value

        return getter

    def model(s):
        outer = s.variable_scope("a", custom_getter=tell("outer"))
        inner = outer.variable_scope("b", custom_getter=tell("inner"))
        inner.get_variable("w", (1,), custom_getter=tell("call"))

    jscope.specs(model)
    assert log == ["call in", "inner in", "outer in", "outer out", "inner out", "call out"]
    log.clear()
    jscope.apply(model, {"a": {"b": {"w": jnp.ones(1)}}})
    assert log == ["call in", "inner in", "outer in", "outer out", "inner out", "call out"]


def test_a_getter_gets_the_full_path_and_all_options():
    """Whatever the call said, by name."""
    got = {}

    def spy(getter, name, **options):
        got.update(options, name=name, scope=getter.scope.path)
        return getter(name, **options)

    given = {"shape": (2,), "dtype": jnp.bfloat16, "initializer": ones, "collections": ("c",), "axes": ("x",)}
    jscope.specs(lambda s: (s / "a").get_variable("b/w", custom_getter=spy, **given))
    assert got.items() >= {**given, "name": "a/b/w", "scope": "a", "trainable": True, "regularizer": None}.items()


def test_a_getter_may_rename():
    """The variable then has the other name, in init and in apply."""

    def rename(getter, name, **options):
        return getter(name.replace("w", "kernel"), **options)

    model = under(rename)
    params = jscope.init(model, KEY(0), X)
    assert jscope.tree.names(params) == ["a/kernel", "a/b"]
    chex.assert_trees_all_equal(
        jscope.apply(model, params, X), X @ params["a"]["kernel"] + jnp.zeros_like(X, shape=(3, 3))
    )


def test_a_getter_may_change_options():
    """What it passes on is what is asked for."""

    def narrow(getter, name, **options):
        return getter(name, **{**options, "dtype": jnp.bfloat16, "initializer": ones})

    spec = jscope.specs(lambda s: s.get_variable("w", (2,), custom_getter=narrow))["w"]
    assert (spec.dtype, spec.initializer) == (jnp.bfloat16, ones)


def test_a_getter_may_ask_by_position():
    """`getter(name, shape, dtype, initializer)`, also through another getter."""

    def positional(getter, name, **_):
        return getter(name, (3,), jnp.bfloat16, ones)

    def outer(getter, name, **options):
        return getter(f"{name}_outer", **options)

    def model(s):
        return s.with_defaults(custom_getter=outer).get_variable("w", (2,), custom_getter=positional)

    spec = jscope.specs(model)["w_outer"]
    assert (spec.shape, spec.dtype, spec.initializer) == ((3,), jnp.bfloat16, ones)


def test_a_getter_may_ask_twice():
    """Factored matrices: one request, two variables."""

    def factored(getter, name, **options):
        rows, columns = options.pop("shape")
        return getter(f"{name}/u", (rows, 1), **options) @ getter(f"{name}/v", (1, columns), **options)

    def model(s):
        return s.get_variable("w", (4, 3), custom_getter=factored)

    params = jscope.init(model, KEY(0))
    assert jscope.tree.names(params) == ["w/u", "w/v"]
    chex.assert_trees_all_equal(jscope.apply(model, params), params["w"]["u"] @ params["w"]["v"])


def test_a_getter_may_return_any_value_and_never_ask():
    """Then there is no variable."""
    constant = under(lambda getter, name, **options: jnp.zeros(options["shape"]))
    assert names(constant, X) == []
    chex.assert_trees_all_equal(jscope.apply(constant, {}, X), jnp.zeros((3, 3)))


def test_none_switches_getters_off():
    """`custom_getter=jscope.OFF` ends the chain."""

    def refuse(getter, name, **options):
        raise AssertionError(name)

    def model(s):
        s = s.with_defaults(custom_getter=refuse)
        return s.with_defaults(custom_getter=jscope.OFF).get_variable("w", (1,))

    assert names(model) == ["w"]


def test_a_getter_may_ask_outside_the_scope():
    """By full path, wherever it is in the model."""

    def shared(getter, name, **options):
        return getter("shared/w", **options, reuse=jscope.AUTO_REUSE)

    def model(s):
        s = s.with_defaults(custom_getter=shared)
        return (s / "a").get_variable("w", (2,)) + (s / "b").get_variable("w", (2,))

    params = jscope.init(model, KEY(0))
    assert jscope.tree.names(params) == ["shared/w"]
    chex.assert_trees_all_equal(jscope.apply(model, params), 2 * params["shared"]["w"])


def test_a_getter_inside_a_transform_reaches_what_crossed():
    """What did not cross with the scope is an error that names both."""

    def shared(getter, name, **options):
        return getter("shared/w", **options)

    def model(s, x):
        s = s.with_defaults(custom_getter=shared)
        return jax.jit(lambda s, x: x * s.get_variable("w", ()))(s / "a", x)

    with pytest.raises(errors.MissingVariableError, match=r"`shared/w` inside a JAX .* scope `a`\.\nPass an outer"):
        jscope.apply(model, {"shared": {"w": jnp.ones(())}}, 1.0)


def test_getters_do_not_retrace():
    """A getter of `jscope.getters` made anew on every call costs no tracing of a jitted block."""
    runs = []

    @jax.jit
    def block(s, x):
        runs.append(s.path)
        return linear(s, x, 3)

    def model(s, x):
        s = s.with_defaults(custom_getter=getters.cast(jnp.bfloat16)).with_defaults(custom_getter=getters.freeze("b$"))
        return block(s / "a", x.astype(jnp.bfloat16))

    params = jscope.init(model, KEY(0), X)
    runs.clear()
    for _ in range(3):
        jscope.apply(model, params, X)
    assert runs == ["a"]


def test_arrays_of_getters_cross_as_leaves():
    """`substitute` with other values of the same shapes: one trace, other results; gradients flow."""
    runs = []

    @jax.jit
    def block(s, x):
        runs.append(s.path)
        return x * s.get_variable("w", ())

    def model(s, fast):
        return block(s.with_defaults(custom_getter=getters.substitute({"a": {"w": fast}})) / "a", 2.0)

    params = jscope.init(model, KEY(0), jnp.float32(0))
    runs.clear()
    assert [float(jscope.apply(model, params, jnp.float32(w))) for w in (3, 4, 5)] == [6, 8, 10]
    assert runs == ["a"]
    with jax.checking_leaks():
        assert float(jax.grad(lambda w: jscope.apply(model, params, w))(jnp.float32(3))) == 2.0


def test_cast_computes_in_one_dtype_and_stores_in_another():
    """Params and gradients stay float32; integers are left alone."""
    model = under(getters.cast(jnp.bfloat16))
    params = jscope.init(model, KEY(0), X.astype(jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    out, grads = jax.value_and_grad(lambda p: jscope.apply(model, p, X.astype(jnp.bfloat16)).sum())(params)
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}
    counts = jscope.apply(
        lambda s: s.get_variable("n", custom_getter=getters.cast(jnp.bfloat16)), {"n": jnp.ones((), jnp.int32)}
    )
    assert counts.dtype == jnp.int32


def test_freeze_stops_gradients_where_it_matches():
    """And changes no value."""
    model, plain = under(getters.freeze("/w$")), under()
    params = jscope.init(model, KEY(0), X)
    chex.assert_trees_all_equal(jscope.apply(model, params, X), jscope.apply(plain, params, X))
    grads = jax.grad(lambda p: jscope.apply(model, p, X).sum())(params)
    assert not grads["a"]["w"].any()
    assert grads["a"]["b"].all()


def test_weight_norm_splits_length_from_direction():
    """Each output's column has length `g`; vectors are left alone; `v` starts as `w` would."""

    def model(s):
        s = s.with_defaults(custom_getter=getters.weight_norm())
        return s.get_variable("w", (4, 3)), s.get_variable("b", (3,), initializer=ones)

    params = jscope.init(model, KEY(0))
    assert jscope.tree.names(params) == ["w/v", "w/g", "b"]
    params["w"]["g"] = jnp.array([1.0, 2.0, 3.0])
    w, _ = jscope.apply(model, params)
    np.testing.assert_allclose(jnp.linalg.norm(w, axis=0), [1, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(w / w[:1], params["w"]["v"] / params["w"]["v"][:1], rtol=1e-5)


def test_lora_starts_as_the_frozen_model():
    """`w` keeps its name and gets no gradient; the product starts at zero and learns."""
    model, plain = under(getters.lora(2, "w$", scale=4.0)), under()
    params = jscope.init(model, KEY(0), X)
    assert jscope.tree.names(params) == ["a/w", "a/w_lora/a", "a/w_lora/b", "a/b"]
    assert list(jscope.specs(model, X).select(collection="lora").flat()) == ["a/w_lora/a", "a/w_lora/b"]
    chex.assert_trees_all_close(jscope.apply(model, params, X), jscope.apply(plain, params, X))
    grads = jax.grad(lambda p: (jscope.apply(model, p, X) ** 2).sum())(params)
    assert not grads["a"]["w"].any()
    assert grads["a"]["w_lora"]["b"].any()
    params["a"]["w_lora"]["b"] = jnp.ones((2, 3))
    w = params["a"]["w"] + 2.0 * params["a"]["w_lora"]["a"] @ jnp.ones((2, 3))
    chex.assert_trees_all_close(
        jscope.apply(model, params, X), jscope.apply(plain, {"a": {**params["a"], "w": w}}, X), rtol=1e-5
    )


def test_ema_moves_once_per_apply_and_is_read_in_evaluation():
    """The average, corrected for its start, is that of the params seen; before any, it is the param."""

    def model(s, x, average=False):
        return linear(s.with_defaults(custom_getter=getters.ema(0.5, "w$", average=average)) / "a", x, 2)

    init, apply = jscope.transform_with_state(model)
    params, state = init(KEY(0), X)
    assert jscope.tree.names(state) == ["a/w_ema/average", "a/w_ema/count"]
    chex.assert_trees_all_close(apply(params, state, X, average=True)[0], apply(params, state, X)[0])
    seen = [jax.tree.map(lambda leaf, f=f: leaf * f, params) for f in (1.0, 3.0)]
    for each in seen:
        _, state = apply(each, state, X)
    mean = jax.tree.map(lambda a, b: (0.25 * a + 0.5 * b) / 0.75, *seen)
    out, after = apply(params, state, X, average=True)
    chex.assert_trees_all_close(out, apply({"a": {**params["a"], "w": mean["a"]["w"]}}, state, X)[0], rtol=1e-5)
    chex.assert_trees_all_equal(after, state)


def test_ema_of_a_renamed_variable_lies_beside_it():
    """A getter outside `ema` that renames takes the average along."""

    def rename(getter, name, **options):
        return getter(name.replace("a/w", "a/kernel"), **options)

    init, apply = jscope.transform_with_state(lambda s, x: under(rename, getters.ema(0.5, "w$"))(s, x))
    params, state = init(KEY(0), X)
    _, state = apply(params, state, X)
    assert int(state["a"]["kernel_ema"]["count"]) == 1
    chex.assert_trees_all_close(state["a"]["kernel_ema"]["average"], 0.5 * params["a"]["kernel"])


def test_substitute_reads_other_values():
    """Where they are given; the variable exists all the same, with its own initial value."""
    other = jnp.full((4, 3), 2.0)
    model = under(getters.substitute({"a": {"w": other}}))
    params = jscope.init(model, KEY(0), X)
    chex.assert_trees_all_equal(params, jscope.init(under(), KEY(0), X))
    chex.assert_trees_all_equal(jscope.apply(model, params, X), X @ other)


def test_a_substitute_must_fit():
    """Another shape is an error with both."""
    with pytest.raises(errors.InvalidArgumentError, match=r"`a/w` has shape \(4, 3\), its substitute \(2,\)"):
        jscope.init(under(getters.substitute({"a": {"w": jnp.ones(2)}})), KEY(0), X)


def test_getters_compose():
    """Cast of a weight-normed, frozen matrix: names of one, values of all."""
    model = under(getters.weight_norm("w$"), getters.freeze("w$"), getters.cast(jnp.bfloat16))
    params = jscope.init(model, KEY(0), X.astype(jnp.bfloat16))
    assert jscope.tree.names(params) == ["a/w/v", "a/w/g", "a/b"]
    grads = jax.grad(lambda p: jscope.apply(model, p, X.astype(jnp.bfloat16)).sum())(params)
    assert not grads["a"]["w"]["v"].any()


@pytest.mark.parametrize(
    "getter",
    [
        getters.cast(jnp.bfloat16),
        getters.freeze("w"),
        getters.weight_norm(),
        getters.lora(2),
        getters.ema(0.9),
        getters.spectral_norm(training=True),
        getters.quantized(jnp.int8),
    ],
)
def test_getters_are_values(getter):
    """Two made alike are equal and hash alike, which keeps jit's caches."""
    again = type(getter)(**{name: getattr(getter, name) for name in getter.__slots__})
    assert again == getter
    assert hash(again) == hash(getter)


def test_a_list_of_getters_is_each_inside_the_one_before():
    """The value passes them from left to right, as if `with_defaults` had been called for one after the other."""

    def plus(getter, name, **options):
        return getter(name, **options) + 1.0

    def twice(getter, name, **options):
        return 2.0 * getter(name, **options)

    def model(s):
        listed = s.with_defaults(custom_getter=[plus, twice])
        scoped = s.variable_scope("a", custom_getter=(twice, plus))
        return listed.get_variable("w"), scoped.get_variable("w"), s.get_variable("w", custom_getter=[plus, plus])

    assert jscope.apply(model, {"w": 3.0, "a": {"w": 3.0}}) == (8.0, 7.0, 5.0)
    assert jscope.apply(lambda s: s.with_defaults(custom_getter=[]).get_variable("w"), {"w": 3.0}) == 3.0


def test_a_list_holds_only_getters():
    """The error shows what is not one."""
    with pytest.raises(errors.InvalidArgumentError, match="custom_getter=3 of type `int` is not callable"):
        jscope.specs(lambda s: s.with_defaults(custom_getter=[getters.freeze(), 3]))


UNUSED = [
    getters.cast(jnp.bfloat16, "kernel$"),
    getters.freeze("kernel$"),
    getters.weight_norm("kernel$"),
    getters.lora(2, "kernel$"),
    getters.ema(0.9, "kernel$"),
    getters.spectral_norm("kernel$", training=True),
    getters.quantized(jnp.int8, "kernel$"),
    getters.substitute({"a": {"w_": jnp.ones((2, 4, 3))}}),
    getters.substitute({"b/w": jnp.ones((4, 3))}),
]
LIFTED = {
    "plain": lambda f: f,
    "remat": jscope.remat,
    "jit": jscope.jit,
    "native jit": jax.jit,
    "scan": lambda f: lambda s, x: jscope.scan(lambda s, x, _: (x, f(s, x)), s, x, length=2)[1],
    "vmap": lambda f: jscope.vmap(f, None, axis_size=2),
    "cond": lambda f: lambda s, x: jscope.cond(x.sum() > 0, f, f, s, x),
}


def lifted_under(getter, lift, at="a"):
    def model(s, x):
        return LIFTED[lift](lambda s, x: linear(s, x, 3))(s.with_defaults(custom_getter=getter) / at, x)

    return jscope.transform_with_state(model)


@pytest.mark.parametrize("lift", LIFTED)
@pytest.mark.parametrize("getter", UNUSED, ids=lambda getter: type(getter).__name__)
def test_a_getter_that_changes_nothing_is_an_error(getter, lift):
    """At the end of collecting, with what it was asked for."""
    with pytest.raises(errors.MissingVariableError, match=r"changes nothing.*\n(?s:.*)asked for `a/b`, `a/w`"):
        lifted_under(getter, lift).specs(X)


def test_a_misspelt_substitute_says_what_was_meant():
    """With the nearest path."""
    with pytest.raises(errors.MissingVariableError, match=r"`getters\.substitute` of `a/w_`.*Did you mean `a/w`"):
        jscope.init(under(getters.substitute({"a": {"w_": jnp.ones((4, 3))}})), KEY(0), X)


def test_a_getter_that_is_asked_for_nothing_is_an_error():
    """Also where no variable stands below its scope; without `match` it asks for nothing in particular."""

    def model(s, match):
        s.with_defaults(custom_getter=getters.freeze(match))
        return s.get_variable("w", (2,))

    with pytest.raises(errors.MissingVariableError, match="It was asked for nothing"):
        jscope.specs(model, "w$")
    jscope.specs(model, "")


def test_equal_getters_are_one():
    """It is enough that one of them is of use."""

    def model(s, x):
        for at in "ab":
            s.variable_scope(at, custom_getter=getters.freeze("a/")).get_variable("w", (2,))

    assert names(model, X) == ["a/w", "b/w"]


def test_apply_asks_for_no_use():
    """It may run a part of the model."""
    assert jscope.apply(under(getters.freeze("kernel$")), jscope.init(under(), KEY(0), X), X).shape == (3, 3)


@pytest.mark.parametrize("match", ["(", None])
def test_match_is_a_regular_expression(match):
    """Said where it is written, also by a getter that checks more."""
    for make in (getters.freeze, functools.partial(getters.lora, 2), functools.partial(getters.ema, 0.9)):
        with pytest.raises(errors.InvalidArgumentError, match=r"match=.* is not a regular expression"):
            make(match)


STACKING = {
    "scan": lambda f: lambda s, x: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=3)[0],
    "vmap": lambda f: lambda s, x: jscope.vmap(f, None, axis_size=3)(s, x).sum(0),
    "scan of scans": lambda f: lambda s, x: jscope.layers(jscope.layers(f, 2), 3)(s, x),
    "layers in jit": lambda f: jscope.jit(jscope.layers(f, 3)),
    "some shared": lambda f: lambda s, x: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=3, shared="/b$")[0],
}


@pytest.mark.parametrize(("lift", "key"), [*((lift, None) for lift in STACKING), ("scan", KEY(1)), ("vmap", KEY(1))])
def test_a_substitute_of_a_stack_is_read_copy_by_copy(lift, key):
    """What stands for all variables gives what the model gives on those, in both phases, with gradients."""

    def model(s, x, values):
        if values is not None:
            s = s.with_defaults(custom_getter=getters.substitute(values))
        return STACKING[lift](lambda s, x: jnp.tanh(linear(s, x, 4)))(s / "a", x)

    model = jscope.transform(model).with_rng(key)
    params, other = (model.init(KEY(i), X, None) for i in (0, 1))
    chex.assert_trees_all_equal(model.init(KEY(0), X, other), params)
    out = model.apply(params, X, other)
    chex.assert_trees_all_close(out, model.apply(other, X, None), rtol=1e-6)
    with jax.checking_leaks():
        grads = jax.grad(lambda v: model.apply(params, X, v).sum())(other)
    chex.assert_trees_all_close(grads, jax.grad(lambda p: model.apply(p, X, None).sum())(other), rtol=1e-5)


def test_a_substitute_set_inside_a_scan_is_for_one_copy():
    """There a variable is one copy, and so is what stands for it."""

    def layer(s, x, w):
        return linear(s.with_defaults(custom_getter=getters.substitute({"a": {"w": w}})), x, 4), None

    model = jscope.transform(lambda s, x, ws: jscope.scan(layer, s / "a", x, ws)[0])
    ws = jnp.stack([jnp.eye(4), 2 * jnp.eye(4)])
    chex.assert_trees_all_close(model.apply(model.init(KEY(0), X, ws), X, ws), 2 * X)


@pytest.mark.parametrize("lift", ["scan", "vmap"])
def test_a_substitute_of_a_stack_must_be_a_stack(lift):
    """The error says how many copies there are."""

    def model(s, x, w):
        s = s.with_defaults(custom_getter=getters.substitute({"a": {"w": w}}))
        return STACKING[lift](lambda s, x: linear(s, x, 4))(s / "a", x)

    with pytest.raises(errors.ShapeMismatchError, match=r"`a/w` is stacked: there are 3 copies below .*\(4, 4\)"):
        jscope.init(model, KEY(0), X, jnp.ones((4, 4)))


def test_flat_paths_are_substitutes_too():
    """As everywhere in `jscope.tree`."""
    assert (
        jscope.apply(
            lambda s: s.with_defaults(custom_getter=getters.substitute({"a/w": 2.0})).get_variable("a/w"),
            {"a": {"w": 1.0}},
        )
        == 2.0
    )


ADAPTER = getters.lora(2, "w$", scale=3.0)


def adapted(lift, *chain):
    """A square layer under a lift, and one after it, with these getters."""

    def model(s, x):
        s = s.with_defaults(custom_getter=list(chain))
        x = STACKING[lift](
            lambda s, x: jnp.tanh(linear(s, x, 4)),
        )(s / "h", x)
        return linear(s / "out", x, 2)

    return jscope.transform(model)


@pytest.mark.parametrize("lift", ["scan", "scan of scans"])
def test_merged_lora_is_the_model_without_it(lift):
    """The same outputs from the names of the plain model, stacked or not; taken apart again, the same params."""
    params = adapted(lift, ADAPTER).init(KEY(0), X)
    params = jscope.tree.map_with_path(lambda path, value: value + 0.1 * ("lora/b" in path), params)
    merged = getters.merge_lora(params, ADAPTER)
    plain = adapted(lift)
    plain.specs(X).check(merged)
    chex.assert_trees_all_close(plain.apply(merged, X), adapted(lift, ADAPTER).apply(params, X), rtol=1e-5)
    again = getters.unmerge_lora(merged, params, ADAPTER)
    adapted(lift, ADAPTER).specs(X).check(again)
    chex.assert_trees_all_close(again, params, atol=1e-6)


def test_only_what_matches_is_merged():
    """Two adapters with two scales are merged one after the other; the dtype is kept."""
    factors = {"a": jnp.ones((2, 1), jnp.bfloat16), "b": jnp.ones((1, 2), jnp.bfloat16)}
    params = {name: jnp.ones((2, 2), jnp.bfloat16) for name in ("u", "v")} | {"u_lora": factors, "v_lora": factors}
    first, second = getters.lora(1, "u$"), getters.lora(1, "v$", scale=2.0)
    merged = getters.merge_lora(params, first)
    assert jscope.tree.names(merged) == ["u", "v", "v_lora/a", "v_lora/b"]
    both = getters.merge_lora(merged, second)
    chex.assert_trees_all_equal(both, {"u": jnp.full((2, 2), 2, jnp.bfloat16), "v": jnp.full((2, 2), 3, jnp.bfloat16)})


def test_merging_nothing_is_an_error():
    """And so are factors of another rank than the getter's."""
    params = {"w": jnp.ones((2, 2)), "w_lora": {"a": jnp.ones((2, 1)), "b": jnp.ones((1, 2))}}
    with pytest.raises(errors.MissingVariableError, match=r"No variable that .* matches has factors"):
        getters.merge_lora(params, getters.lora(1, "kernel$"))
    with pytest.raises(errors.ShapeMismatchError, match="`w` have rank 1; the getter has 4"):
        getters.merge_lora(params, getters.lora(4))


def spectral(s, x, training):
    s = s.with_defaults(
        custom_getter=[getters.cast(jnp.bfloat16, "w$"), getters.spectral_norm("w$", training=training)]
    )
    return s.get_variable("w", (2, 3, 4)) * x.astype(jnp.bfloat16)


def test_spectral_norm_converges_while_training_and_rests_afterwards():
    """The largest singular value comes near one, whatever the dtype of the read; evaluation writes nothing."""
    init, apply = jscope.transform_with_state(spectral)
    params, state = init(KEY(0), jnp.ones(()), True)
    assert {leaf.dtype for leaf in jax.tree.leaves((params, state))} == {jnp.dtype("float32")}
    step = jax.jit(lambda state: apply(params, state, jnp.ones(()), True))
    for _ in range(20):
        out, state = step(state)
    assert out.dtype == jnp.bfloat16
    norm = lambda w: float(jnp.linalg.norm(w.astype(jnp.float32).reshape(-1, 4), 2))  # noqa: E731
    assert abs(norm(out) - 1) < 0.02
    out, after = apply(params, state, jnp.ones(()), False)
    assert abs(norm(out) - 1) < 0.02
    chex.assert_trees_all_equal(after, state)


def test_spectral_norm_has_the_gradient_of_the_paper():
    """Through the matrix, with the singular vectors fixed: scaling the matrix changes nothing."""
    init, apply = jscope.transform_with_state(
        lambda s: s.with_defaults(custom_getter=getters.spectral_norm(training=False)).get_variable("w", (3, 2))
    )
    params, state = init(KEY(0))
    grads = jax.grad(lambda p: (apply(p, state)[0] ** 3).sum())(params)
    assert abs(float(jnp.vdot(grads["w"], params["w"]))) < 1e-5
    assert jnp.isfinite(apply({"w": jnp.zeros((3, 2))}, state)[0]).all()


@pytest.mark.parametrize(
    ("dtype", "lift"),
    [(jnp.int8, "scan"), (jnp.int8, "some shared"), (jnp.float8_e4m3fn, "vmap"), (jnp.float8_e5m2, "scan")],
)
def test_quantized_params_give_nearly_the_same(dtype, lift):
    """Matrices have eight bits, each channel of each layer a scale of its own; vectors, stacked or not, stay floats."""
    plain, small = adapted(lift), adapted(lift, getters.quantized(dtype))
    params = plain.init(KEY(0), X)
    specs = small.specs(X)
    quantized = getters.quantize(params, specs)
    specs.check(quantized)
    assert quantized["h"]["w"].dtype == quantized["out"]["w"].dtype == dtype
    assert quantized["h"]["w_quantized"]["scale"].shape == (3, 4)
    chex.assert_trees_all_equal(quantized["h"]["b"], params["h"]["b"])
    tolerance = {jnp.int8: 0.02, jnp.float8_e4m3fn: 0.1, jnp.float8_e5m2: 0.2}[dtype]
    chex.assert_trees_all_close(small.apply(quantized, X), plain.apply(params, X), atol=tolerance)
    chex.assert_trees_all_equal(small.apply(params, X), plain.apply(params, X))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.float8_e4m3fn])
def test_lora_trains_beside_quantized_matrices(dtype):
    """Its factors are floats, also under a cast; the matrices need no gradient."""
    chain = [getters.quantized(dtype, "w$"), ADAPTER, getters.cast(jnp.float32)]
    model = adapted("scan", *chain)
    specs = model.specs(X)
    assert specs["h/w"].dtype == dtype
    assert {spec.dtype for spec in specs.select(collection="lora").flat().values()} == {jnp.dtype("float32")}
    params = getters.quantize(adapted("scan", ADAPTER).init(KEY(0), X), specs)
    specs.check(params)
    factors, rest = jscope.tree.partition(params, "_lora/")
    grads = jax.grad(lambda f: model.apply(jscope.tree.merge(f, rest), X).sum())(factors)
    assert grads["out"]["w_lora"]["b"].any()


def test_quantize_says_what_does_not_fit():
    """Specs without anything quantized; params that lack a variable; a dtype of more bits."""
    specs = adapted("scan", getters.quantized(jnp.int8)).specs(X)
    with pytest.raises(errors.MissingVariableError, match="nothing is quantized in these specs"):
        getters.quantize({}, adapted("scan").specs(X))
    with pytest.raises(errors.MissingVariableError, match="the params lack `h/w`"):
        getters.quantize({"out": {}}, specs)
    with pytest.raises(errors.InvalidArgumentError, match="must be of eight bits"):
        getters.quantized(jnp.int16)


def test_a_quantized_channel_keeps_its_largest_value():
    """And a channel of zeros stays zero."""
    specs = jscope.specs(lambda s: s.get_variable("w", (2, 2), custom_getter=getters.quantized(jnp.int8)))
    made = getters.quantize({"w": np.array([[-3.0, 0.0], [1.0, 0.0]])}, specs)
    assert made["w"].tolist() == [[-127, 0], [42, 0]]
    chex.assert_trees_all_close(made["w_quantized"]["scale"], jnp.array([3.0 / 127, 1.0]))


@pytest.mark.parametrize("rank", [0, -1, 1.5])
def test_factors_have_a_rank(rank):
    """When the getter is made, not in the first model that has it."""
    with pytest.raises(errors.InvalidArgumentError, match=f"`rank` is {rank}"):
        getters.lora(rank)


@pytest.mark.parametrize("decay", [1.0, -0.1, 3, "0.9", None])
def test_averages_have_a_decay(decay):
    """Below 1: an average that forgets nothing never begins."""
    with pytest.raises(errors.InvalidArgumentError, match=f"`decay` is {decay!r}, where a number from 0 to below 1"):
        getters.ema(decay)
