"""Misuse: writing where one cannot, keys and params of the wrong kind, scopes outside their call.

The tables read as in `test_errors.py`: what the user did, the error, and what its message must say.
"""

from __future__ import annotations

import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, transform, transform_with_state
from tests.models import KEY, X
from tests.test_errors import ONES, apply, both, check, counting, create, init


def assigning(name, value):
    return lambda s: (counting(s), s.assign(name, value))


STATE = {"n": jnp.zeros(())}
WHILE_WRITING = {
    "a param, in init": (
        lambda: init(both(create("a/w"), lambda s: s.assign("a/w", ONES))),
        errors.StateError,
        r"`a/w` was assigned, but it is a param.*`trainable=False`.*optimizer",
    ),
    "a param, in apply": (
        lambda: apply(lambda s: (s / "encoder").assign("weight", ONES)),
        errors.StateError,
        r"`encoder/weight` was assigned, but it is a param.*`trainable=False`.*optimizer",
    ),
    "an unknown name, in init": (
        lambda: init(assigning("m", 1.0)),
        errors.MissingVariableError,
        r"`m` was assigned, but there is no such variable.*Create it first.*trainable=False",
    ),
    "an unknown name, in apply": (
        lambda: apply(lambda s: s.assign("maen", 1.0), {}, {"mean": ONES}),
        errors.MissingVariableError,
        r"`maen` was assigned, but there is no such variable. Did you mean `mean`\?.*Create it first",
    ),
    "another shape, in init": (
        lambda: init(assigning("n", ONES)),
        errors.ShapeMismatchError,
        r"`n` has shape \(\), assigned a value of shape \(2,\).*reshape or cast",
    ),
    "another shape, in apply": (
        lambda: apply(assigning("n", ONES), {}, STATE),
        errors.ShapeMismatchError,
        r"`n` has shape \(\), assigned a value of shape \(2,\).*reshape or cast",
    ),
    "another dtype": (
        lambda: apply(assigning("n", jnp.int32(1)), {}, STATE),
        errors.DTypeMismatchError,
        r"`n` has dtype float32, assigned a value of dtype int32.*reshape or cast",
    ),
    "without state": (
        lambda: jscope.apply(lambda s: s.assign("n", 1.0), {}),
        errors.StateError,
        r"`n` was assigned, but this call has no state.*transform_with_state.*\(out, new_state\)",
    ),
    "one name sown twice": (
        lambda: transform(lambda s: [(s / "a").sow("h", i) for i in range(2)]).capture().apply({}),
        errors.MismatchError,
        r"`a/h` was sown twice.*`reduce=lambda old, new: old \+ new`",
    ),
    "through a copy": (
        lambda: apply(lambda s: jax.tree.map(lambda leaf: leaf, s).assign("n", 1.0), {}, STATE),
        errors.NativeTransformError,
        r"assigned `n`, but it is a copy .*`jax.tree.map`.*Write through the scope that the model was given",
    ),
}


@pytest.mark.parametrize("case", WHILE_WRITING)
def test_mistakes_while_writing(case):
    """The message names the variable, what was found and asked, and what to do."""
    check(case, WHILE_WRITING)


@pytest.mark.parametrize(
    "key", [0, None, "0", 1.5, X, jax.random.split(jax.random.key(0), 2), jnp.zeros((2, 2), "uint32")]
)
def test_a_seed_is_no_key(key):
    """`init`, `with_rng` and `materialize` say what a key looks like, and what they got."""
    model = transform(create("w"))
    calls = [lambda: model.init(key), lambda: model.specs().materialize(key), lambda: model.with_rng(key)]
    for call in calls[: 2 if key is None else 3]:
        with pytest.raises(errors.InvalidArgumentError, match=r"one random key such as `jax.random.key\(0\)`, not "):
            call()


@pytest.mark.parametrize(
    ("params", "found"),
    [
        (None, "a `NoneType`"),
        ([ONES], "a `list`"),
        (ONES, r"an array of shape \(2,\)"),
        ("params.npz", "a `str`"),
        (({"w": ONES}, {}), r"a `tuple`.*\n.*`params, state = model.init.*`model.apply\(params, state, ...\)`"),
    ],
)
def test_params_must_be_a_nested_dict(params, found):
    """The message says what was given; for `(params, state)`, how to unpack it."""
    model = transform(create("w"))
    for call in (model.apply, model.specs().check):
        with pytest.raises(errors.InvalidArgumentError, match=f"params must be a nested dict of arrays.*not {found}"):
            call(params)


def test_a_forgotten_state_is_noticed():
    """`apply(params, x)` of a model with state takes `x` for the state, and says so."""
    model = transform_with_state(lambda s, x: x)
    with pytest.raises(
        errors.InvalidArgumentError, match=r"state must be a nested dict .*not an array of shape \(3, 4\)"
    ):
        model.apply({}, X)


def test_other_mappings_are_read_as_dicts():
    """Params may be any nested mapping, such as a FrozenDict."""
    frozen = types.MappingProxyType({"a": types.MappingProxyType({"w": ONES})})
    assert jscope.apply(create("a/w"), frozen) is ONES
    inside = {"a": types.MappingProxyType({"b": types.MappingProxyType({"w": ONES})})}
    assert jscope.apply(create("a/b/w"), inside) is ONES
    for lift in (jax.jit, jax.checkpoint, jscope.jit):
        out = jscope.apply(lambda s, lift=lift: lift(create("b/w"))(s / "a"), inside)
        assert (out == ONES).all()


def test_only_functions_can_be_transformed():
    """And the message says of what kind."""
    with pytest.raises(errors.InvalidArgumentError, match=r"function of a scope, `f\(scope, \*args\)`, not 3"):
        transform(3)
    with pytest.raises(errors.InvalidArgumentError, match=r"scope, .*, not \{'w': .{1,80}\.$"):
        transform({"w": [0.5] * 1000})


LAZY = {
    "a generator": lambda s, x: (first(s / str(i), x) for i in range(3)),
    "a filter": lambda s, x: filter(lambda i: first(s / str(i), x), range(3)),
}


@pytest.mark.parametrize("case", LAZY)
def test_what_runs_after_the_call_is_no_output(case):
    """It would create its variables when nobody collects any more: `init` would return no params, and say nothing."""
    kind = case.split()[-1]
    for call in (init, jscope.specs):
        with pytest.raises(
            errors.InvalidArgumentError, match=rf"returned a `{kind}`, which would run.*\nReturn a list"
        ):
            call(lambda s: LAZY[case](s, X[:, :3]))


def test_a_name_that_no_axis_has_is_explained():
    """In `init`, where the transform that gives it is around `apply` only."""
    model = transform(lambda s, x: jax.lax.pmean(first(s, x), "batch"))
    with pytest.raises(NameError, match=r"(?s)unbound axis name.*`model.with_axes\(batch=8\)`"):
        model.init(KEY(0), X[:, :3])
    assert model.with_axes(batch=8).init(KEY(0), X[:, :3])["w"].shape == (3, 2)


def kept(run):
    """A scope that outlives the call `run`."""
    scopes = []
    run(scopes.append)
    return scopes[0]


OUTSIDE = {
    "creating": (init, lambda s: (s / "a").get_variable("w", (2,)), "asked for variable `a/w`"),
    "assigning": (apply, lambda s: s.assign("n", 1.0), "assigned `n`"),
    "sowing": (apply, lambda s: (s / "a").sow("h", 1.0), "sowed `a/h`"),
}


@pytest.mark.parametrize("case", OUTSIDE)
@pytest.mark.parametrize("where", ["after its call", "in another init", "in another apply", "in a nested call"])
def test_a_scope_belongs_to_its_call(case, where):
    """Creating and writing elsewhere is an error that says what was tried and why it cannot be."""
    call, use, action = OUTSIDE[case]
    scope = kept(call) if where != "in a nested call" else None
    runs = {
        "after its call": lambda: use(scope),
        "in another init": lambda: init(lambda s: use(scope)),
        "in another apply": lambda: apply(lambda s: use(scope)),
        "in a nested call": lambda: call(lambda outer: init(lambda inner: use(outer))),
    }
    with pytest.raises(
        errors.ScopeEndedError, match=rf"A scope {action}, outside the `init` or `apply` call it belongs"
    ):
        runs[where]()


ODDITIES = {
    "a list as a name, in apply": (
        lambda: apply(lambda s: s.get_variable(["a"])),
        errors.InvalidNameError,
        r"\['a'\]",
    ),
    "a list as the name of a scope": (lambda: init(lambda s: s / ["a"]), errors.InvalidNameError, r"\['a'\]"),
    "a misspelt scope": (
        lambda: apply(lambda s: (s / "encodr").get_variable("weight")),
        errors.MissingVariableError,
        "Did you mean `encoder/weight`",
    ),
    "a non-callable initializer names no path": (
        lambda: init(create("a/w", initializer="zeros")),
        errors.InvalidArgumentError,
        "`a/w`",
    ),
    "a string dtype": (lambda: init(create("a/w", dtype=str)), errors.InvalidArgumentError, "dtype of `a/w`"),
    "a lossy number": (
        lambda: init(lambda s: s.get_variable("a/w", dtype=jnp.int32, initializer=0.5)),
        errors.InitializerError,
        "`a/w`",
    ),
    "assigning what is no array": (
        lambda: apply(lambda s: s.assign("n", None), {}, {"n": jnp.zeros(())}),
        jscope.JscopeError,
        "`n`",
    ),
    "assigning a scope": (
        lambda: apply(lambda s: s.assign("a", 1.0), {}, {"a": {"n": ONES}}),
        jscope.JscopeError,
        "`a`",
    ),
    "sowing below a sown value": (
        lambda: transform(lambda s: (s.sow("a", 1), s.sow("a/b", 2))).capture().apply({}),
        jscope.JscopeError,
        "`a/b`",
    ),
    "sowing above a sown value": (
        lambda: transform(lambda s: (s.sow("a/b", 1), s.sow("a", 2))).capture().apply({}),
        jscope.JscopeError,
        "`a/b`",
    ),
    "a key of a scope that is no key": (
        lambda: apply(lambda s: (s / "a").with_rng(0).rng()),
        errors.InvalidArgumentError,
        "one random key",
    ),
    "randomness after the call": (lambda: kept(init).rng(), errors.ScopeEndedError, "outside the `init`"),
    "a shape that is an array, in apply": (
        lambda: apply(lambda s: s.get_variable("encoder/weight", jnp.ones(2))),
        errors.InvalidArgumentError,
        "shape of `encoder/weight`",
    ),
    "a scope of another mapping inside a dict": (
        lambda: apply(lambda s: s.get_variable("a"), {"a": types.MappingProxyType({"w": ONES})}),
        errors.NameConflictError,
        "`a`",
    ),
    "a getter that gives a regularizer by position": (
        lambda: init(lambda s: s.get_variable("a/w", (2,), custom_getter=lambda g, n, **o: g(n, 2, None, None, None))),
        errors.InvalidArgumentError,
        r"getter asked for `a/w` with .*Only shape, dtype, initializer may follow the name by position",
    ),
    "a getter that gives the shape twice": (
        lambda: init(lambda s: s.get_variable("a/w", (2,), custom_getter=lambda g, n, **o: g(n, (3,), **o))),
        errors.InvalidArgumentError,
        r"getter asked for `a/w` with .*nothing may be given twice",
    ),
    "a getter that gives too much to another": (
        lambda: init(
            lambda s: s.with_defaults(custom_getter=lambda g, n, **o: g(n, **o)).get_variable(
                "a/w", (2,), custom_getter=lambda g, n, **o: g(n, 2, None, None, None)
            )
        ),
        errors.InvalidArgumentError,
        "getter asked for `a/w` with",
    ),
    "params with ints as names": (lambda: apply(create("w"), {3: ONES}), jscope.JscopeError, "3"),
    "params with ints as names inside": (lambda: apply(create("w"), {"w": ONES, "a": {3: ONES}}), TypeError, "not 3"),
}


@pytest.mark.parametrize(
    ("role", "uncalled"),
    [
        ("initializer", jscope.initializers.normal),
        ("initializer", jscope.initializers.he_normal),
        ("regularizer", jscope.regularizers.l2),
        ("constraint", jscope.constraints.max_norm),
        ("partitioner", jscope.partitioners.names),
        ("custom_getter", jscope.getters.cast),
    ],
)
def test_what_was_not_called_is_refused(role, uncalled):
    """Where it is given, to a variable or to a scope, with what to write instead."""
    name = uncalled.__name__
    for model in (create("a/w", **{role: uncalled}), lambda s: s.with_defaults(**{role: uncalled})):
        with pytest.raises(errors.InvalidArgumentError, match=rf"{role}={name} makes one when.*`{role}={name}\(...\)`"):
            init(model)


@pytest.mark.parametrize(
    "uncalled",
    [
        jax.nn.initializers.normal,
        jax.nn.initializers.constant,
        jnp.ones,
        np.zeros,
        lambda shape: jnp.zeros(shape),
    ],
)
@pytest.mark.parametrize("by_default", [False, True])
def test_what_only_makes_an_initializer_has_to_be_called(uncalled, by_default):
    """The error of the call says for which variable it was, how initializers are called, and what to write instead."""

    def model(s):
        s = s.with_defaults(initializer=uncalled) if by_default else s
        (s / "a").get_variable("w", (2, 2), initializer=None if by_default else uncalled)

    advice = rf"called as `\(key, shape, dtype\)`. If `{uncalled.__name__}` takes other arguments.*`initializer="
    with pytest.raises(
        TypeError, match=rf"(?s){advice}{uncalled.__name__}\(...\)`.*initial value of `a/w` \(created at "
    ):
        init(model)


def test_a_function_instead_of_an_initial_value_is_explained():
    """`jax.nn.initializers.he_normal` takes three arguments as well, and returns an initializer."""
    message = r"(?s)initializer of `a/w` .*has to be called first: `initializer=he_normal\(\)`"
    with pytest.raises(errors.InitializerError, match=message):
        init(create("a/w", initializer=jax.nn.initializers.he_normal))


@pytest.mark.parametrize("case", ODDITIES)
def test_odd_mistakes_are_explained_too(case):
    """What JAX or Python would answer with an error of their own gets one that names the path."""
    check(case, ODDITIES)


def first(s, x):
    return x @ s.get_variable("w", (3, 2))


SCOPE_FIRST = {
    "the scope second": lambda s, x: first(x, s),
    "an array that is entered": lambda s, x: first(x / "hidden", x),
    "NumPy's array that is entered": lambda s, x: first(np.ones(3) / "hidden", x),
    "a scope as an operand": lambda s, x: x @ s,
    "a scope as an argument": lambda s, x: jnp.dot(x, s),
    "the attribute of an array": lambda s, x: s.shape,
}


@pytest.mark.parametrize("case", SCOPE_FIRST)
@pytest.mark.parametrize("call", [jscope.init, jscope.apply])
def test_the_scope_comes_first(case, call):
    """In both phases, whatever Python says of an array without variables, or of a scope without a shape."""
    argument = KEY(0) if call is jscope.init else {"w": jnp.ones((3, 2))}
    with pytest.raises((TypeError, AttributeError), match=r"(?s)jscope: .*takes the scope first.*`dense\(scope / "):
        call(SCOPE_FIRST[case], argument, jnp.ones((2, 3)))


MAPPED = {
    "vmap": lambda s, x: jax.vmap(first)(s, x),
    "vmap over axis 0 of both": lambda s, x: jax.vmap(first, (0, 0))(s, x),
    "map": lambda s, x: jax.lax.map(lambda both: first(*both), (s, x)),
    "scan": lambda s, x: jax.lax.scan(lambda _, both: (0, first(*both)), 0, (s, x)),
}


@pytest.mark.parametrize("case", MAPPED)
@pytest.mark.parametrize("call", ["init", "apply", "apply with a key"])
def test_a_scope_that_is_mapped_over_is_passed_whole(case, call):
    """JAX finds no axis in the scope, or another size; the note says `None`, and names the lifts."""
    model, params = transform(MAPPED[case]), {"w": jnp.ones((3, 2))}
    run, argument = {
        "init": (model.init, KEY(0)),
        "apply": (model.apply, params),
        "apply with a key": (model.with_rng(KEY(0)).apply, params),
    }[call]
    with pytest.raises((ValueError, IndexError), match=r"(?s)jscope: if a scope is among.*in_axes=\(None, 0\)"):
        run(argument, jnp.ones((2, 3)))


def test_a_scope_that_was_mapped_over_lacks_an_axis():
    """Where all sizes happen to agree, the shape of the variable tells; a tracer of another shape is no such case."""
    for shape, expected in (((2, 2), True), ((3, 3), False)):

        def model(s, x, shape=shape):
            return jax.vmap(lambda s, x: x @ s.get_variable("w", shape))(s, x)

        with pytest.raises(errors.ShapeMismatchError, match=r"`w` has shape \(2,\)") as caught:
            jscope.apply(model, {"w": jnp.ones((2, 2))}, jnp.ones((2, 2)))
        assert ("If `jax.vmap` maps over the scope here" in str(caught.value)) is expected


def test_an_error_of_ones_own_gets_no_note():
    """Neither an index out of range, nor another error of JAX, nor a missing key of a dict."""
    for mistake in (lambda s, x: x.shape[5], lambda s, x: x @ x, lambda s, x: {}["w"], lambda s, x: len(3)):
        for call, argument in ((jscope.init, KEY(0)), (jscope.apply, {})):
            with pytest.raises(Exception, match=r"\w") as caught:
                call(mistake, argument, jnp.ones((2, 3)))
            assert not [note for note in getattr(caught.value, "__notes__", []) if note.startswith("jscope")]


def test_a_model_is_not_called():
    """Neither by itself nor inside another; and it cannot be transformed once more."""
    params = {"w": jnp.ones((3, 2))}
    with pytest.raises(
        errors.InvalidArgumentError,
        match=r'(?s)Transformed\(first\) is a pair.*`out = model.apply\(params, ...\)`.*`first\(scope / "name", ...',
    ):
        transform(first)(params, jnp.ones((2, 3)))
    with pytest.raises(errors.InvalidArgumentError, match=r"`out, state = model.apply\(params, state, ...\)`"):
        init(lambda s, x: transform_with_state(first)(s / "a", x), X)
    with pytest.raises(errors.InvalidArgumentError, match=r"Transformed\(first\) is a model already"):
        transform(transform(first))


@pytest.mark.parametrize("how", ["by keyword", "by position"])
def test_what_jit_traces_decides_nothing(how):
    """The note tells how to keep it static, and what it tells works."""

    def model(s, x, training):
        return first(s, x) if training else x

    model, params, x = transform(model), {"w": jnp.ones((3, 2))}, jnp.ones((2, 3))
    static, args, kwargs = {
        "by keyword": ({"static_argnames": "training"}, (), {"training": True}),
        "by position": ({"static_argnums": 2}, (True,), {}),
    }[how]
    with pytest.raises(
        jax.errors.ConcretizationTypeError, match=r"(?s)jscope: Python control.*static_argnames.*argnums"
    ):
        jax.jit(model.apply)(params, x, *args, **kwargs)
    with pytest.raises(jax.errors.ConcretizationTypeError, match=r"(?s)jscope: `init` and `specs`.*static_argnames"):
        jax.jit(model.init)(KEY(0), x, *args, **kwargs)
    assert jax.jit(model.apply, **static)(params, x, *args, **kwargs).shape == (2, 2)
    assert jax.jit(model.init, **static)(KEY(0), x, *args, **kwargs)["w"].shape == (3, 2)


@pytest.mark.parametrize("given", [lambda x: x, lambda x: "out"])
def test_a_layer_without_its_scope_is_explained(given):
    """Be an array in its place, or a name."""
    with pytest.raises(AttributeError, match="jscope: a function of a scope takes the scope first"):
        init(lambda s: jscope.nn.dense(given(jnp.ones((2, 3))), 4))


def test_zeros_is_not_called():
    """Neither jscope's nor JAX's: both are initializers already."""
    for zeros in (jscope.initializers.zeros, jax.nn.initializers.zeros):
        with pytest.raises(TypeError, match=r"(?s)jscope: `zeros` and `ones` are initializers already"):
            init(lambda s, zeros=zeros: s.get_variable("w", (2,), initializer=zeros()))


@pytest.mark.parametrize("inside", [lambda f: f, jax.jit, jscope.remat])
def test_flat_params_are_to_be_nested(inside):
    """As they come from a file, say: the message says how, also where the whole params are not in sight."""
    model = lambda s, x: inside(first)(s / "a", x)  # noqa: E731
    with pytest.raises(errors.MissingVariableError, match=r"(?s)`a/w` is not in .*flat.*`jscope.tree.unflatten"):
        jscope.apply(model, {"a/w": jnp.ones((3, 2))}, jnp.ones((2, 3)))
    assert jscope.apply(model, jscope.tree.unflatten({"a/w": jnp.ones((3, 2))}), jnp.ones((2, 3))).shape == (2, 2)


def normed(s, x):
    mean = s.get_variable("mean", (2,), initializer=jscope.initializers.zeros, trainable=False)
    return first(s / "out", x), mean


@pytest.mark.parametrize("inside", [lambda f: f, jax.jit, jscope.remat, jax.checkpoint])
@pytest.mark.parametrize("getter", [None, jscope.getters.freeze("w$")])
def test_swapped_params_and_state_are_noticed(inside, getter):
    """Also where nothing is assigned; the message gives the order, in which the same call passes."""
    model = transform_with_state(lambda s, x: inside(normed)(s.with_defaults(custom_getter=getter) / "a", x))
    x = jnp.ones((2, 3))
    params, state = model.init(KEY(0), x)
    with pytest.raises(
        errors.StateError, match=r"(?s)`a/mean` was .*it is in the params.*swapped.*\(params, state, ...\)"
    ):
        model.apply(state, params, x)
    model.apply(params, state, x)


def test_state_may_be_moved_into_the_params_where_there_is_no_other():
    """To evaluate a model on one tree is not a mistake, with or without `transform_with_state`."""
    model, x = transform_with_state(normed), jnp.ones((2, 3))
    params, state = model.init(KEY(0), x)
    expected = model.apply(params, state, x)[0]
    chex.assert_trees_all_equal(model.apply({**params, **state}, {}, x)[0], expected)
    chex.assert_trees_all_equal(jscope.apply(normed, {**params, **state}, x), expected)


def test_check_takes_params_and_state_in_order():
    """Swapped or flat trees would pass by their names alone."""
    specs = jscope.specs(normed, jnp.ones((2, 3)))
    params, state = specs.params.materialize(KEY(0)), specs.state.materialize(KEY(0))
    specs.check(params, state)
    with pytest.raises(
        errors.StructureMismatchError,
        match=r"(?s)swapped: +`mean` in the params: .*swapped: +`out/w` in the state: give `\(params, state\)`",
    ):
        specs.check(state, params)
    with pytest.raises(errors.StructureMismatchError, match=r"flat: +`out/w` is one key: .*`jscope.tree.unflatten"):
        specs.check(jscope.tree.flatten(params), state)
