"""Misuse: writing where one cannot, keys and params of the wrong kind, scopes outside their call.

The tables read as in `test_errors.py`: what the user did, the error, and what its message must say.
"""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, transform, transform_with_state
from tests.models import X
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
        ("regularizer", jscope.regularizers.l2),
        ("constraint", jscope.constraints.max_norm),
        ("partitioner", jscope.partitioners.names),
        ("custom_getter", jscope.getters.cast),
    ],
)
def test_a_class_that_was_not_called_is_refused(role, uncalled):
    """Where it is given, to a variable or to a scope, with what to write instead."""
    name = uncalled.__name__
    for model in (create("a/w", **{role: uncalled}), lambda s: s.with_defaults(**{role: uncalled})):
        with pytest.raises(errors.InvalidArgumentError, match=rf"{role}={name} is a class.*`{role}={name}\(...\)`"):
            init(model)


@pytest.mark.parametrize(
    "uncalled",
    [
        jscope.initializers.he_normal,
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
