"""What all layers have in common: how their variables start, in which dtype they compute, and what their errors say.

A layer is a plain function of a scope; there is nothing to register and nothing to inherit from. It is decorated with
`named`, so that profiles and HLO carry the path of its scope. Variables that start at random are asked for by `weight`:
the keyword of the layer comes first, then the scope's default, then what Keras has. Variables that start as a constant,
such as biases and the scales of norms, are asked for by `vector`, and the scope's default is not for them: it is meant
for matrices, and a norm with random scales does not train.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NoReturn, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope import initializers
from jscope._check import described as described
from jscope._defaults import OFF, Off
from jscope._scope import Scope
from jscope._transform import named as named
from jscope._types import Axes, DType, Initializer, Shape
from jscope._util._compiled import one_operation as one_operation
from jscope._util._text import scope_at
from jscope.errors import InvalidArgumentError

Activation: TypeAlias = Callable[[jax.Array], jax.Array]
"""What is applied to each element of a result, such as `jax.nn.relu`."""

GLOROT = initializers.glorot_uniform()
"""How Keras's kernels start; made once, since to make it takes longer than to read a variable."""

UNIFORM = initializers.uniform(-0.05, 0.05)
"""How Keras's embeddings start."""

ORTHOGONAL = initializers.orthogonal()
"""How Keras's recurrent kernels start."""


def weight(
    scope: Scope, name: str, shape: Shape, given: Initializer | Off | None, keras: Initializer, axes: Axes | None = None
) -> jax.Array:
    """Returns a param that starts at random: as `given`, else as the scope's default says, else as in Keras."""
    return scope.get_variable(name, shape, initializer=given, fallback_initializer=keras, axes=axes)


def vector(
    scope: Scope,
    name: str,
    shape: Shape,
    given: Initializer | Off | None,
    keras: Initializer,
    axes: Axes | None = None,
    *,
    dtype: DType = None,
    trainable: bool = True,
) -> jax.Array:
    """Returns a variable that starts as a constant: as `given`, else as in Keras, whatever the scope's default is."""
    start = keras if given is None or given is OFF else given
    return scope.get_variable(name, shape, dtype, start, axes=axes, trainable=trainable)


def in_one_dtype(x: jax.Array, *variables: jax.Array) -> tuple[jax.Array, ...]:
    """Returns `x` and variables in the dtype in which a layer computes: that of `x`.

    What is not floating is taken to the dtype of the first variable, and what is real to complex where that is needed.
    So an input in bfloat16 gives an output in bfloat16, in whatever dtype the variables are stored.
    """
    dtype = x.dtype
    # The narrow floats of `ml_dtypes`, bfloat16 among them, are of kind "V", and take the longer way.
    if dtype.kind == "f":
        for variable in variables:
            if variable.dtype != dtype:
                break
        else:  # Nearly always; what follows takes as long to trace as the layer itself.
            return (x, *variables)
    # The input decides, and nothing is promoted, which is what Flax does: there, one float32 bias makes float32 of a
    # whole network in bfloat16, unless each layer is told its dtype.
    dtype = dtype if jnp.issubdtype(dtype, jnp.inexact) else variables[0].dtype
    for variable in variables:
        if jnp.issubdtype(variable.dtype, jnp.complexfloating):
            dtype = np.promote_types(dtype, variable.dtype)
    return tuple(each.astype(dtype) for each in (x, *variables))


def cast(x: jax.Array, dtype: DType) -> jax.Array:
    """Returns `x.astype(dtype)`, without asking JAX where there is nothing to do: that takes time in each trace."""
    return x if x.dtype == dtype else x.astype(dtype)


def times(x: jax.Array, kernel: jax.Array, precision: jax.lax.PrecisionLike = None) -> jax.Array:
    """Returns `jnp.matmul(x, kernel)` of one dtype and a matrix: the same equation, in two thirds of the time."""
    return contracted(x, kernel, (x.ndim - 1,), (0,), precision)


@functools.partial(one_operation, static_argnums=(2, 3, 4))
def contracted(
    x: jax.Array,
    kernel: jax.Array,
    of_x: tuple[int, ...],
    of_kernel: tuple[int, ...],
    precision: jax.lax.PrecisionLike,
) -> jax.Array:
    """Returns the product of two arrays of one dtype, summed over these axes of each."""
    axes = ((of_x, of_kernel), ((), ()))
    return jax.lax.dot_general(x, kernel, axes, precision=precision, preferred_element_type=x.dtype)


def along(vector: jax.Array, ndim: int, axis: int = -1) -> jax.Array:
    """Returns a vector with axes of size 1 around it, so that it lies along one axis of an array of rank `ndim`."""
    return spread(vector, ndim, (axis % ndim,))


def spread(array: jax.Array, ndim: int, axes: tuple[int, ...]) -> jax.Array:
    """Returns an array with axes of size 1 between its own, which become `axes` (in order) of an array of rank `ndim`.

    This is the equation that `jnp.expand_dims` makes, in half the time: layers add a bias in each trace.
    """
    if len(axes) == ndim:
        return array
    shape = [1] * ndim
    for axis, size in zip(axes, array.shape, strict=True):
        shape[axis] = size
    return jax.lax.broadcast_in_dim(array, shape, axes)


def add_bias(scope: Scope, y: jax.Array, given: Initializer | Off | None, axes: Axes | None) -> jax.Array:
    """Adds `bias` along the last axis; its logical name is the last of the kernel's."""
    b = vector(scope, "bias", y.shape[-1:], given, initializers.zeros, None if axes is None else tuple(axes)[-1:])
    return plus(*in_one_dtype(y, b), (y.ndim - 1,))


@functools.partial(one_operation, static_argnums=2)
def plus(y: jax.Array, summand: jax.Array, over: tuple[int, ...]) -> jax.Array:
    """Adds what lies along the axes `over` of `y`, in the dtype of `y`."""
    # By `lax`, here and in all layers: it takes less than half the time of `+` to trace, and refuses two dtypes or
    # ranks where `+` would promote them without a word.
    return jax.lax.add(y, spread(cast(summand, y.dtype), y.ndim, over))


def refuse(scope: Scope | None, layer: str, problem: str, advice: str) -> NoReturn:
    """Raises the error of a layer: where it happened, what was found and asked for, and what to do."""
    where = "" if scope is None else f" in {scope_at(scope.path)}"
    raise InvalidArgumentError(f"`nn.{layer}`{where}: {problem}.\n{advice}")


def check_rank(scope: Scope | None, layer: str, x: jax.Array, form: str, *ranks: int, least: int | None = None) -> None:
    """Raises unless the rank of `x` is one of `ranks`, or at least `least`. `form` says what its axes should be."""
    rank = getattr(x, "ndim", None)
    if rank is None:
        advice = "A layer is called with its scope and an array: `jnp.asarray` makes one."
        refuse(scope, layer, f"the input is a `{type(x).__name__}`", advice)
    if rank not in ranks and (least is None or rank < least):
        wanted = " or ".join(map(str, ranks)) if ranks else f"at least {least}"
        advice = f"Its axes should be {form}; `jnp.expand_dims` and `reshape` add those that are missing."
        refuse(scope, layer, f"the input has shape {x.shape}, of rank {x.ndim}, where rank {wanted} is needed", advice)


def check_size(scope: Scope | None, layer: str, name: str, size: Any, least: int = 1) -> int:
    """Returns a size as an int, after checking that it is one and at least `least`."""
    # For speed: `isinstance` with an abstract class takes longer than the comparison, and lets bools pass.
    if size.__class__ is int and size >= least:
        return size
    if isinstance(size, Tracer):
        advice = "It is part of a shape, so it must be known: make it static, or bind it by `functools.partial`."
        refuse(scope, layer, f"`{name}` is traced", advice)
    if not isinstance(size, Integral) or isinstance(size, bool) or int(size) < least:
        refuse(scope, layer, f"`{name}` is {size!r}", f"It should be an int of at least {least}.")
    return int(size)


def checked_number(
    scope: Scope | None, layer: str, name: str, number: Any, least: float = 0.0, most: float = math.inf
) -> Any:
    """Returns a number that is known, after checking its limits; None for one that only the running program knows."""
    if number.__class__ is float and least <= number <= most:  # Nearly always.
        return number
    if isinstance(number, Tracer):
        return None
    # Under `jit`, JAX traces also what is done with arrays that it knows.
    # And a bfloat16 of NumPy's is not a `Real`.
    scalar = isinstance(number, jax.Array | np.ndarray | np.generic) and number.ndim == 0
    known: Any = number.item() if scalar else number
    if not isinstance(known, Real) or not least <= float(known) <= most:
        wanted = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        refuse(scope, layer, f"`{name}` is {number!r}", f"It should be a number {wanted}.")
    return known


def check_function(scope: Scope | None, layer: str, name: str, function: Any, advice: str) -> None:
    """Raises unless an argument is a function."""
    if not callable(function):
        refuse(scope, layer, f"`{name}` is {function!r}, which is not a function", advice)


def activated(scope: Scope, layer: str, y: jax.Array, activation: Activation | None) -> jax.Array:
    """Returns the result of a layer with its activation, if it has one."""
    if activation is None:
        return y
    check_activations(scope, layer, activation=activation)
    return activation(y)


def check_activations(scope: Scope, layer: str, **activations: Activation) -> None:
    """Raises unless activations are functions; where one is the name of one, as in Keras, the error says which."""
    for name, given in activations.items():
        known = given if isinstance(given, str) and hasattr(jax.nn, given) else "relu"
        check_function(scope, layer, name, given, f"Pass the function itself, such as `{name}=jax.nn.{known}`.")


def check_shape(scope: Scope, layer: str, role: str, y: Any, shape: tuple[Any, ...], form: str) -> None:
    """Raises unless what a function of the user returned has this shape, in which None stands for any size."""
    found = getattr(y, "shape", None)
    if found is None or len(found) != len(shape) or any(w not in (None, s) for s, w in zip(found, shape, strict=True)):
        refuse(scope, layer, f"{role} returned {described(y)}", f"That should be an array of shape {form}.")


def check_training(scope: Scope, layer: str, training: Any) -> None:
    """Raises unless `training` is known and says yes or no."""
    # A tracer would only fail at the first `if`, with a message that knows neither the layer nor the remedy.
    if not isinstance(training, bool):
        advice = "It is True or False, known when the model is traced; under `jax.jit`, make it a static argument."
        refuse(scope, layer, f"`training` is {training!r}", advice)


def checked_axis(scope: Scope | None, layer: str, axis: Any, ndim: int) -> int:
    """Returns an axis counted from the front, after checking that the input has it."""
    if not isinstance(axis, Integral) or not -ndim <= int(axis) < ndim:
        advice = f"Axes count from 0 to {ndim - 1}, or from -{ndim} to -1."
        refuse(scope, layer, f"`axis` is {axis!r}, but the input has {ndim} axes", advice)
    return int(axis) % ndim
