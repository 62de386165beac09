"""Bad input, and what jscope says about it.

Every message says what, where (the full path), found versus asked, and what to do next; each was read by hand.
A row of a table is one mistake: what the user did, the error, and what its message must say.
"""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, transform_with_state
from tests.models import KEY, X

HERE = r"\S*test_errors.py:\d+"
ONES = jnp.ones(2)
PARAMS = {"encoder": {"weight": ONES, "bias": ONES}, "decoder": {"weight": ONES}}


def init(function, *args):
    return transform_with_state(function).init(KEY(0), *args)


def apply(function, params=PARAMS, state=None, *args):
    return transform_with_state(function).apply(params, state or {}, *args)


def create(path, **options):
    def model(scope):
        return scope.get_variable(path, (2,), **options)

    return model


def both(*functions):
    """A model that runs several functions on its scope."""
    return lambda scope: [function(scope) for function in functions]


def sharing(scope):
    return scope.with_defaults(reuse=True)


def counting(scope):
    return scope.get_variable("n", (), initializer=jscope.initializers.zeros, trainable=False)


def check(case, table):
    """Runs a case of a table; its error must be of the class and match the regex, over line breaks."""
    mistake, error, message = table[case]
    with pytest.raises(error, match=f"(?s){message}"):
        mistake()


WHILE_CREATING = {
    "twice": (
        lambda: init(both(create("a/w"), create("a/w"))),
        errors.DuplicateVariableError,
        rf"`a/w` is created a second time at {HERE}; it was first created at {HERE}.*reuse=True.*AUTO_REUSE.*unique",
    ),
    "reuse before creation": (
        lambda: init(lambda s: sharing(s / "a").get_variable("wieght", (2,))),
        errors.MissingVariableError,
        rf"`a/wieght` does not exist, but .*`reuse=True` at {HERE}.*Create it first.*AUTO_REUSE",
    ),
    "reuse of a misspelt name": (
        lambda: init(both(create("a/weight"), lambda s: sharing(s / "a").get_variable("wieght", (2,)))),
        errors.MissingVariableError,
        r"`a/wieght` does not exist.*Did you mean `a/weight`\?",
    ),
    "another shape": (
        lambda: init(both(create("a/w"), lambda s: sharing(s / "a").get_variable("w", (3,)))),
        errors.ShapeMismatchError,
        rf"`a/w` has shape \(2,\) \(created at {HERE}\), asked for with shape \(3,\) at {HERE}.*agree.*of its own",
    ),
    "another dtype": (
        lambda: init(both(create("a/w"), lambda s: sharing(s / "a").get_variable("w", (2,), jnp.int32))),
        errors.DTypeMismatchError,
        rf"`a/w` has dtype float32 \(created at {HERE}\), asked for with dtype int32 at {HERE}.*agree",
    ),
    "another trainable": (
        lambda: init(both(create("a/w"), lambda s: sharing(s / "a").get_variable("w", (2,), trainable=False))),
        errors.MismatchError,
        rf"`a/w` has trainable True \(created at {HERE}\), asked for with trainable False at {HERE}",
    ),
    "below a variable": (
        lambda: init(both(create("a"), create("a/b/w"))),
        errors.NameConflictError,
        rf"`a` is a variable \(created at {HERE}\) and also a prefix of `a/b/w` \(created at {HERE}\).*rename",
    ),
    "where there is a scope": (
        lambda: init(both(create("a/b/w"), create("a"))),
        errors.NameConflictError,
        rf"`a` is a variable \(created at {HERE}\) and also a prefix of `a/b/w` \(created at {HERE}\).*rename",
    ),
    "without a shape": (
        lambda: init(lambda s: (s / "a").get_variable("w")),
        errors.ShapeMismatchError,
        r"`a/w` is new, so its shape must be given.*only where the variable exists already, or .* array or number",
    ),
    "a negative dimension": (
        lambda: init(lambda s: (s / "a").get_variable("w", (2, -1))),
        errors.ShapeMismatchError,
        r"`a/w` has a negative dimension: \(2, -1\)",
    ),
    "a traced dimension": (
        lambda: init(lambda s, x: (s / "a").get_variable("w", (x.sum().astype(jnp.int32), 2)), X),
        errors.InvalidArgumentError,
        r"shape of `a/w` must be ints that are known when tracing, not .*Tracer.*`x.shape\[-1\]`",
    ),
    "a float dimension": (
        lambda: init(lambda s: (s / "a").get_variable("w", (2.0,))),
        errors.InvalidArgumentError,
        r"shape of `a/w` must be ints .* not \(2.0,\)",
    ),
    "an unknown dimension": (
        lambda: init(lambda s: (s / "a").get_variable("w", (None, 2))),
        errors.InvalidArgumentError,
        r"shape of `a/w` must be ints .* not \(None, 2\)",
    ),
    "a shape that is a string": (
        lambda: init(lambda s: (s / "a").get_variable("w", "23")),
        errors.InvalidArgumentError,
        r"shape of `a/w` must be ints .* not '23'",
    ),
    "an unknown dtype": (
        lambda: init(create("a/w", dtype="flot32")),
        errors.InvalidArgumentError,
        r"dtype of `a/w` is 'flot32', which JAX does not know.*jnp.float32",
    ),
    "an initializer as the dtype": (
        lambda: init(lambda s: (s / "a").get_variable("w", (2,), jscope.initializers.zeros)),
        errors.InvalidArgumentError,
        r"dtype of `a/w` is zeros.*If it is the initializer, pass it by name: `initializer=...`.*the dtype belongs",
    ),
    "NumPy's function as the dtype": (
        lambda: init(lambda s: (s / "a").get_variable("w", (2,), np.zeros)),
        errors.InvalidArgumentError,
        r"dtype of `a/w` is .*pass it by name: `initializer=...`",
    ),
    "a class of initializers as the dtype": (
        lambda: init(lambda s: (s / "a").get_variable("w", (2,), jscope.initializers.normal)),
        errors.InvalidArgumentError,
        r"dtype of `a/w` is .*pass it by name: `initializer=...`",
    ),
    "an array as the dtype": (
        lambda: init(lambda s: (s / "a").get_variable("w", (2,), np.ones(2))),
        errors.InvalidArgumentError,
        r"dtype of `a/w` is .*pass it by name: `initializer=...`",
    ),
    "a number as the dtype": (
        lambda: init(lambda s: (s / "a").get_variable("w", (2,), 0.5)),
        errors.InvalidArgumentError,
        r"dtype of `a/w` is 0.5, .*pass it by name: `initializer=...`",
    ),
    "an initializer as the shape": (
        lambda: init(lambda s: (s / "a").get_variable("w", jscope.initializers.zeros)),
        errors.InvalidArgumentError,
        r"shape of `a/w` must be ints .*pass it by name: `initializer=...`.*where the shape belongs",
    ),
    "an unknown dtype by default": (
        lambda: init(lambda s: s.with_defaults(dtype="flot32").get_variable("w", (2,))),
        errors.InvalidArgumentError,
        r"dtype of `w` is 'flot32'",
    ),
    "trainable that is no bool": (
        lambda: init(create("a/w", trainable="no")),
        errors.InvalidArgumentError,
        r"trainable='no' of `a/w` must be True or False",
    ),
    "too few axes": (
        lambda: init(create("a/w", axes=("x", "y"))),
        errors.InvalidArgumentError,
        r"axes=\('x', 'y'\) of `a/w` must name each of its 1 axes \(shape \(2,\)\)",
    ),
    "axes that are a string": (
        lambda: init(create("a/w", axes="x")),
        errors.InvalidArgumentError,
        r"axes='x' of `a/w` must name each",
    ),
    "axes that are a number": (
        lambda: init(create("a/w", axes=0)),
        errors.InvalidArgumentError,
        r"axes=0 of `a/w` must name each",
    ),
    "collections that are a string": (
        lambda: init(create("a/w", collections="losses")),
        errors.InvalidArgumentError,
        r"collections='losses' of `a/w` must be several names: \('losses',\)",
    ),
    "a value of another shape": (
        lambda: init(create("a/w", initializer=np.ones(3))),
        errors.ShapeMismatchError,
        r"`a/w` was asked for with shape \(2,\), but its initializer is a value of shape \(3,\).*initializers.constant",
    ),
    "a value of another dtype": (
        lambda: init(create("a/w", initializer=np.ones(2, np.int32), dtype=jnp.float32)),
        errors.InitializerError,
        r"`a/w` was asked for with dtype float32, but its initializer is a value of dtype int32.*Cast the value",
    ),
    "a scope without a name": (
        lambda: init(lambda s: s.variable_scope()),
        errors.InvalidArgumentError,
        r"needs a `name`, or a `default_name`",
    ),
    "a mode of reuse that is none": (
        lambda: init(lambda s: s.with_defaults(reuse="yes")),
        errors.InvalidArgumentError,
        r"reuse='yes' must be True, False, None or jscope.AUTO_REUSE",
    ),
    "state without a place": (
        lambda: jscope.init(lambda s: counting(s / "bn"), KEY(0)),
        errors.StateError,
        rf"`bn/n` \(created at {HERE}\) is state.*`trainable=False`.*transform_with_state.*\(params, state\)",
    ),
}


@pytest.mark.parametrize("case", WHILE_CREATING)
def test_mistakes_while_creating(case):
    """The message names the variable and the call site, what was found and asked, and what to do."""
    check(case, WHILE_CREATING)


@pytest.mark.parametrize(
    ("role", "value"),
    [
        ("initializer", "zeros"),
        ("initializer", [1.0, 2.0]),
        ("regularizer", 0.1),
        ("constraint", "non_neg"),
        ("partitioner", ("x",)),
        ("custom_getter", 3),
    ],
)
@pytest.mark.parametrize("where", ["call", "scope"])
def test_what_cannot_be_called_is_refused(where, role, value):
    """Initializers, regularizers, constraints, partitioners, getters: with what the callable must look like."""

    def model(s):
        options = {role: value}
        return s.get_variable("w", (2,), **options) if where == "call" else s.with_defaults(**options)

    expected = (
        rf"{role}={re.escape(repr(value))} of type `{type(value).__name__}` is not callable.* callable \(.*->.*OFF"
    )
    with pytest.raises(errors.InvalidArgumentError, match=expected):
        init(model)


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (lambda shape, dtype: jnp.zeros((3,), dtype), r"returned float32\[3\], asked for float32\[2\]"),
        (lambda shape, dtype: jnp.zeros(shape, jnp.int32), r"returned int32\[2\], asked for float32\[2\]"),
        (lambda shape, dtype: None, r"did not return an array"),
    ],
)
def test_an_initializer_must_keep_its_word(result, found):
    """Another shape or dtype, or no array at all: with path, call site, and the form of an initializer."""
    message = rf"(?s)initializer of `a/w` \(created at {HERE}\) {found}.*`\(key, shape, dtype\) -> array`"
    with pytest.raises(errors.InitializerError, match=message):
        init(create("a/w", initializer=lambda key, shape, dtype: result(shape, dtype)))


@pytest.mark.parametrize("dtype", ["m8[s]", np.timedelta64, "M8[s]", "V8", np.void, [("re", "f4")], object, str])
def test_a_dtype_that_jax_does_not_have_is_refused(dtype):
    """Dates, times, records and objects; not the small floats of JAX, which are records to NumPy."""
    with pytest.raises(errors.InvalidArgumentError, match=r"(?s)dtype of `a/w` is .*, which JAX does not know"):
        init(create("a/w", dtype=dtype))
    for known in (jnp.bfloat16, jnp.float8_e4m3fn, jnp.int4):
        assert init(create("w", dtype=known, initializer=jscope.initializers.zeros))[0]["w"].dtype == known


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", None, 3, b"a", ("a",)])
@pytest.mark.parametrize(
    "use",
    {
        "get_variable": lambda s, name: s.get_variable(name, (2,)),
        "/": lambda s, name: s / name,
        "assign": lambda s, name: s.assign(name, 1.0),
        "sow": lambda s, name: s.sow(name, 1.0),
        "unique": lambda s, name: s.unique(name),
        "has_variable": lambda s, name: s.has_variable(name),
    }.items(),
    ids=lambda use: use[0] if isinstance(use, tuple) else None,
)
def test_what_is_no_name_is_refused(use, name):
    """In init and in apply, whatever it was meant to name."""
    for call in (init, apply):
        with pytest.raises(errors.InvalidNameError, match=rf"(?=.*{re.escape(repr(name))})(?=.*non-empty string)"):
            call(lambda s: use[1](s, name))


WHILE_READING = {
    "a misspelt variable": (
        lambda: apply(lambda s: (s / "encoder").get_variable("wieght", (2,))),
        errors.MissingVariableError,
        r"`encoder/wieght` is not in the params .*Did you mean `encoder/weight`.*`init` of this very function.*check",
    ),
    "a misspelt variable through a getter": (
        lambda: apply(lambda s: (s / "encoder").get_variable("wieght", custom_getter=jscope.getters.freeze())),
        errors.MissingVariableError,
        r"`encoder/wieght` is not in the params .*Did you mean `encoder/weight`",
    ),
    "a misspelt variable inside a transform": (
        lambda: apply(lambda s: jax.jit(lambda s: s.get_variable("wieght"))(s / "encoder")),
        errors.MissingVariableError,
        r"`encoder/wieght` is not in the params .*Did you mean `encoder/weight`",
    ),
    "nothing like it": (
        lambda: apply(lambda s: s.get_variable("q"), {"kernel": ONES}),
        errors.MissingVariableError,
        r"`q` is not in the params .*There are: `kernel`",
    ),
    "state, where the call has none": (
        lambda: apply(lambda s: jscope.jit(create("mean", trainable=False))(s / "norm"), {"norm": {"w": ONES}}),
        errors.MissingVariableError,
        r"`mean` is not in the params .*It is state .*has none: use `jscope.transform_with_state",
    ),
    "state, by a getter": (
        lambda: apply(create("mean", trainable=False, custom_getter=jscope.getters.freeze()), {"w": ONES}),
        errors.MissingVariableError,
        r"`mean` is not in the params .*It is state .*has none",
    ),
    "other state": (
        lambda: apply(create("maen", trainable=False), {"w": ONES}, {"mean": ONES}),
        errors.MissingVariableError,
        r"Did you mean `mean`.*Params from `init` of this very function",
    ),
    "no params at all": (
        lambda: apply(lambda s: s.get_variable("w"), {}),
        errors.MissingVariableError,
        r"`w` is not in the params \(nor in the state\)",
    ),
    "another shape": (
        lambda: apply(lambda s: (s / "encoder").get_variable("weight", (3,))),
        errors.ShapeMismatchError,
        r"`encoder/weight` has shape \(2,\) in the params, asked for with shape \(3,\).*specs.check.*`init` again",
    ),
    "a scope": (
        lambda: apply(lambda s: s.get_variable("encoder", (2,))),
        errors.NameConflictError,
        r"`encoder` is asked for as a variable, but .* prefix of `encoder/weight`, `encoder/bias`.*scope / \"encoder\"",
    ),
    "rng without a key": (
        lambda: apply(lambda s: (s / "dropout").rng()),
        errors.MissingRngError,
        (
            r"In the scope `dropout`, a random key was asked for.*"
            r"`model.with_rng\(key\).apply\(params, ...\)`.*`scope.has_rng`"
        ),
    ),
    "rng that was switched off": (
        lambda: init(lambda s: (s / "dropout").with_rng(None).rng()),
        errors.MissingRngError,
        r"In the scope `dropout`, a random key was asked for",
    ),
    "extra params": (
        lambda: jscope.specs(create("encoder/weight")).check(PARAMS),
        errors.StructureMismatchError,
        r"do not fit.*unexpected: `encoder/bias` float32\[2\].*unexpected: `decoder/weight` float32\[2\]",
    ),
}


@pytest.mark.parametrize("case", WHILE_READING)
def test_mistakes_while_reading(case):
    """The message names the variable, what is there instead, and what to do."""
    check(case, WHILE_READING)


def test_every_error_is_a_jscope_error_and_a_builtin():
    """So that both `except JscopeError` and `except ValueError` catch it."""
    found = [value for name, value in vars(errors).items() if name.endswith("Error")]
    assert len(found) == 15
    for error in found:
        assert issubclass(error, jscope.JscopeError)
        assert error is jscope.JscopeError or issubclass(error, ValueError | TypeError | LookupError | RuntimeError)
