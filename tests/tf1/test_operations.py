"""The operations of `jscope.tf1`, against TensorFlow's answers in `operations.json`."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jscope import tf1
from jscope.tf1._ops._find import ROWS, WHOLE
from tests.crossed import mostly_slow
from tests.tf1.operations import CASES, NOT_COMPARED, numbers

RECORDED = json.loads((Path(__file__).parent / "operations.json").read_text(encoding="utf8"))
NARROW = {"int64": "int32", "float64": "float32", "complex128": "complex64"}


def flat(out):
    if isinstance(out, list | tuple) and not isinstance(out, tf1.TensorShape):
        return [leaf for item in out for leaf in flat(item)]
    return [] if out is None else [tf1.convert_to_tensor(out)]


def weights(shape):
    return np.cos(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)


def evaluated(expression, given=None):
    """The arrays that an expression returns, and the floats that it makes; `given` stand in their place."""
    made = []

    def make(kind):
        def array(*shape):
            dtype = {"i": jnp.int32, "b": bool}.get(kind, jnp.float32)
            value = jnp.asarray(np.reshape(np.array(numbers(kind, shape)), shape), dtype)
            if kind in "fp":
                made.append(value)
                value = value if given is None else given[len(made) - 1]
            return tf1.convert_to_tensor(value)

        return array

    outs = eval(expression, {"tf": tf1, "np": np, **{kind: make(kind) for kind in "fpib"}})
    return [out.value() for out in flat(outs)], made


def total(given, expression):
    """The sum of the float outputs, no two elements of which count alike."""
    outs, _ = evaluated(expression, given)
    return sum(jnp.sum(out * weights(out.shape)) for out in outs if out.dtype == jnp.float32)


def in_a_call(function):
    """What `function()` returns inside a function that `tf1.transform` runs."""
    found = []
    tf1.transform(lambda: found.append(function())).apply({})
    return found[0]


@pytest.mark.parametrize("expression", mostly_slow(CASES, *CASES[::16]))
def test_values_are_those_of_tensorflow(expression):
    """And dtypes, and shapes, of all that an expression returns."""
    answer = RECORDED["answers"][expression]
    outs = in_a_call(lambda: evaluated(expression)[0])
    assert len(outs) == len(answer["out"])
    for out, (dtype, shape, values) in zip(outs, answer["out"], strict=True):
        out = np.asarray(out)
        assert out.dtype.name == NARROW.get(dtype, dtype)
        out = np.stack([out.real, out.imag], -1) if out.dtype.kind == "c" else out
        assert list(out.shape) == shape
        # Where TensorFlow computes in half precision, so does JAX, but not with the same steps.
        exact = 1e-2 if dtype in ("float16", "bfloat16") else 2e-5
        np.testing.assert_allclose(out.astype("float64").ravel(), np.array(values, "float64"), exact, exact)


NO_GRADIENT = ("tf.segment_prod", "tf.unsorted_segment_prod")
"""What JAX does not differentiate."""

DIFFERENTIABLE = [case for case in CASES if RECORDED["answers"][case]["grads"] and not case.startswith(NO_GRADIENT)]


@pytest.mark.parametrize("expression", mostly_slow(DIFFERENTIABLE, *DIFFERENTIABLE[::100]))
def test_gradients_are_those_of_tensorflow(expression):
    """By each array of floats in the expression."""
    made = in_a_call(lambda: evaluated(expression)[1])
    grads = jax.grad(lambda made: in_a_call(lambda: total(made, expression)))(made)
    found = [float(jnp.sum(grad * weights(grad.shape))) for grad in grads]
    # Fewer where a branch was not traced, which in TensorFlow it always is.
    np.testing.assert_allclose(found, RECORDED["answers"][expression]["grads"][: len(found)], 1e-4, 1e-4)


@pytest.mark.parametrize("name", sorted(set(ROWS) & set(RECORDED["arguments"])))
def test_arguments_are_those_of_tensorflow(name):
    """Their names, their order, and their defaults; what is optional there is optional here."""
    function = tf1
    for part in name.split("."):
        function = getattr(function, part)
    ours = [[p.name, p.default] for p in inspect.signature(function).parameters.values()]
    theirs = RECORDED["arguments"][name]
    assert [argument for argument, _ in ours] == [argument for argument, _ in theirs]
    for (argument, default), (_, wanted) in zip(ours, theirs, strict=True):
        assert (default is inspect.Parameter.empty) == (wanted is None), argument


def test_every_operation_has_a_case():
    """Either an expression calls it, or it is among those that cannot be compared."""
    called = {name for case in CASES for name in re.findall(r"tf\.([a-zA-Z_.0-9]+)\(", case)}
    assert set(ROWS) - called - NOT_COMPARED == set()
    assert set(ROWS) >= NOT_COMPARED


def test_the_guide_lists_all_operations():
    """In `docs/from_tf1.md`, by namespace, each on its own line; and says how many they are, as the releases do."""
    text = (Path(__file__).parents[2] / "docs" / "from_tf1.md").read_text(encoding="utf8")
    listed = text.partition("<summary>All operations</summary>")[2].partition("</details>")[0]
    names = set()
    for paragraph in listed.strip().split("\n\n"):
        home, *rest = re.findall(r"`([a-zA-Z0-9_.]+)`", paragraph)
        names |= {f"{home.removeprefix('tf').removeprefix('.')}.{name}".lstrip(".") for name in rest}
    whole = {name for name in WHOLE if not name.startswith(("contrib", "__"))}
    assert names == set(ROWS) | whole
    assert f"There are {len(names)} of them" in text
    assert f"{len(names)} operations" in (Path(__file__).parents[2] / "docs" / "releases.md").read_text(encoding="utf8")
