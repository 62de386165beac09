"""Laws of the abstract trace that finds the variables."""

from __future__ import annotations

import enum
import gc
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from tests.models import KEY, MODELS, X, linear


def names(function, *args, **kwargs):
    return list(jscope.specs(function, *args, **kwargs).flat())


def abstract(args):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), args)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if not model.data])
def test_init_takes_abstract_inputs(name):
    """For every model: `jax.ShapeDtypeStruct`s give the values that arrays give."""
    model = MODELS[name]
    made = model.transformed.init(KEY(0), *abstract(model.args))
    chex.assert_trees_all_equal(made if model.state else (made,), model.init())


def test_python_looks_for_garbage_later():
    """Not while a model is traced nor while values are made, but afterwards as before, also after an error."""
    seen = []

    def initializer(key, shape, dtype):
        seen.append(gc.isenabled())
        return jnp.zeros(shape, dtype)

    def model(s, fails):
        seen.append(gc.isenabled())
        s.get_variable("w", (3,), initializer=initializer)
        assert not fails

    enabled = gc.isenabled()
    try:
        for expected in (True, False):
            gc.enable() if expected else gc.disable()
            jscope.init(model, KEY(0), False)
            with pytest.raises(AssertionError):
                jscope.specs(model, True)
            assert gc.isenabled() == expected
    finally:
        gc.enable() if enabled else gc.disable()
    assert not any(seen)


@pytest.mark.parametrize("name", MODELS)
def test_specs_take_abstract_inputs(name):
    """For every model, those that depend on data too."""
    model = MODELS[name]
    found = model.transformed.specs(*abstract(model.args))
    assert sorted(found.flat()) == sorted(model.names)
    assert found.shape_dtype() == model.transformed.specs(*model.args).shape_dtype()


class Mode(enum.Enum):
    TRAIN = 1


@dataclass(frozen=True)
class Config:
    width: int = 3
    act: object = jnp.tanh


@pytest.mark.parametrize("static", [True, 3, "relu", None, 1.5, Mode.TRAIN, Config(), jnp.tanh, object(), 2j, b"x"])
def test_what_is_no_array_stays_what_it_is(static):
    """Bools, numbers, strings, None, config objects: positional, by keyword and inside containers."""

    def model(s, a, b, *, c):
        assert a is static
        assert b["x"][0] is static
        assert c is static
        return s.get_variable("w", (1,))

    assert names(model, static, {"x": [static]}, c=static) == ["w"]


@pytest.mark.parametrize("training", [True, False])
def test_static_arguments_steer_python_control_flow(training):
    """`if is_training:` works in init as in apply."""

    def model(s, x, is_training):
        return linear(s / "train", x, 2) if is_training else linear(s / "test", x, 2)

    expected = ["train/w", "train/b"] if training else ["test/w", "test/b"]
    assert names(model, X, is_training=training) == expected
    assert jscope.tree.names(jscope.init(model, KEY(0), X, training)) == expected


@pytest.mark.parametrize(
    "array", [np.ones(2, np.float32), np.float32(1), jnp.ones(2), jax.ShapeDtypeStruct((2,), "float32")]
)
def test_arrays_become_abstract(array):
    """Arrays of all kinds are traced: shapes and dtypes, no values."""
    seen = []
    jscope.specs(lambda s, x: seen.append(isinstance(x, jax.core.Tracer)), array)
    assert seen == [True]


def test_arrays_inside_registered_containers_are_found():
    """Arguments may be any pytree."""

    @jax.tree_util.register_dataclass
    @dataclass
    class Batch:
        x: jax.Array
        y: jax.Array

    def model(s, batch):
        assert isinstance(batch.x, jax.core.Tracer)
        return linear(s, batch.x, batch.y.shape[-1])

    assert jscope.specs(model, Batch(X, jax.ShapeDtypeStruct((3, 7), "float32")))["w"].shape == (4, 7)


def test_specs_are_in_the_order_of_creation():
    """Not sorted: as in the code."""
    assert names(lambda s: [s.get_variable(name, (1,)) for name in ("b", "c", "a")]) == ["b", "c", "a"]


def test_specs_need_no_key_but_have_one():
    """Random numbers can be asked for while collecting, by `specs` too."""
    assert names(lambda s: (s.get_variable("w", (1,)), (s / "d").rng(), jax.random.normal(s.rng(), (2,)))) == ["w"]


def test_specs_hold_no_tracer():
    """Nothing of the trace is in them, data-dependent initial values included."""
    model = MODELS["act_norm"]
    with jax.checking_leaks():
        specs = model.transformed.specs(*model.args)
    assert not any(isinstance(spec.initializer, jax.core.Tracer) for spec in specs.flat().values())


VALUES = {
    "bool": lambda s, x: s.get_variable("w", (1,)) if x.sum() > 0 else None,
    "float": lambda s, x: float(x.sum()),
    "item": lambda s, x: x.sum().item(),
    "while": lambda s, x: [None for _ in iter(lambda: bool(x.sum() > 0), False)],
    "index": lambda s, x: [1, 2][x.astype(jnp.int32)[0, 0]],
    "range": lambda s, x: list(range(x.astype(jnp.int32)[0, 0])),
    "numpy": lambda s, x: np.asarray(x),
    "mask": lambda s, x: x[x > 0],
    "a variable": lambda s, x: 1 if s.get_variable("w", (1,)).sum() > 0 else 2,
}


@pytest.mark.parametrize("use", VALUES)
@pytest.mark.parametrize("call", ["init", "specs"])
def test_control_flow_on_a_traced_value_says_what_to_do(call, use):
    """JAX's own error, with a note about `init`, static arguments and `jax.lax.cond`."""
    run = {"init": lambda f: jscope.init(f, KEY(0), X), "specs": lambda f: jscope.specs(f, X)}[call]
    with pytest.raises((jax.errors.JAXTypeError, jax.errors.JAXIndexError)) as caught:
        run(VALUES[use])
    notes = "\n".join(getattr(caught.value, "__notes__", []))
    assert "`init` and `specs` run the model on abstract inputs" in notes
    assert "Python bool or int" in notes
    assert "`jax.lax.cond`" in notes


def test_other_errors_pass_through_as_they_are():
    """An error of the user's code is the user's: no note, no other class."""

    def broken(s):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        jscope.specs(broken)
    assert not any("jscope" in note for note in getattr(caught.value, "__notes__", []))


def test_large_models_cost_no_memory():
    """A variable of a terabyte has a spec."""
    assert jscope.specs(lambda s: s.get_variable("w", (2**19, 2**19)))["w"].nbytes == 2**40
