"""Weights of eight bits: what is stored is small numbers, and a scale for each output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jscope import _path, initializers
from jscope._defaults import AUTO_REUSE, OFF
from jscope._types import DType, Tree
from jscope.errors import InvalidArgumentError, MissingVariableError
from jscope.getters._beside import Matching, asked_dtype, is_float, known, uncast


@dataclass(frozen=True, slots=True)
class quantized(Matching):
    """Reads matrices from eight bits: `w = q * scale`, with `q` in `w` and one scale per output in `w_quantized/scale`.

    `dtype` is `jnp.int8`, or a float8 such as `jnp.float8_e4m3fn`. `q` has the shape `(..., out)` of `w`, the scale
    `(out,)`; the product is computed in float32, and has the dtype that the model asks for. The values come from
    trained params, by `quantize`; those of `init` are zeros. Params that were not quantized are read as they are, and
    so are state, integers, and variables with fewer than two axes. JAX does not differentiate by integers: train
    what is beside them (`lora`, say), and leave them out of what `jax.grad` is given. (Dettmers et al., 2022,
    https://arxiv.org/abs/2208.07339, and Micikevicius et al., 2022, https://arxiv.org/abs/2209.05433)

    >>> import jax, jax.numpy as jnp, jscope
    >>> def model(scope, getter):
    ...     return scope.with_defaults(custom_getter=getter).get_variable("w", (3, 2))
    >>> getter = jscope.getters.quantized(jnp.int8)
    >>> specs = jscope.specs(model, getter)
    >>> small = jscope.getters.quantize({"w": jnp.array([[1.0, 0.5], [-2.0, 0.25], [0.0, 1.0]])}, specs)
    >>> small["w"].tolist()
    [[64, 64], [-127, 32], [0, 127]]
    >>> [[round(float(x), 1) for x in row] for row in jscope.apply(model, small, getter)]
    [[1.0, 0.5], [-2.0, 0.3], [0.0, 1.0]]
    """

    dtype: DType
    match: str = ""

    def __post_init__(self) -> None:
        Matching.__post_init__(self)
        if jnp.dtype(self.dtype).itemsize != 1 or jnp.dtype(self.dtype) == jnp.bool_:
            raise InvalidArgumentError(f"quantized: dtype={self.dtype!r} must be of eight bits: int8 or a float8.")

    def __call__(self, getter: Any, name: str, /, **options: Any) -> Any:
        about, wanted = known(getter, name, options), asked_dtype(options)
        if not (about.trainable and self.matches(name) and is_float(jnp.float32 if wanted is None else wanted)):
            return getter(name, **options)
        new = is_float(about.dtype or jnp.int8) and about.dtype != jnp.dtype(self.dtype)
        # Only `init` decides what is stored; in `apply`, params that nobody has quantized are read as they are.
        if getter.scope.collecting and new and len(_tuple(about.shape)) >= 2:
            options = {**options, "shape": about.shape, "dtype": self.dtype, "initializer": initializers.zeros}
        value = getter(name, **options)
        exact = uncast(getter, name, value, options)
        if exact.dtype != jnp.dtype(self.dtype):
            return value
        plain = {"reuse": AUTO_REUSE, "regularizer": OFF, "constraint": OFF, "partitioner": OFF}
        plain |= {"axes": about.named(about.axis(-1)), "collections": ("quantized",), "initializer": initializers.ones}
        # In float32, unless the model asks for another dtype.
        plain |= {"dtype": about.dtype if about.dtype != exact.dtype else None, "shape": exact.shape[-1:]}
        scale_name = f"{name}_quantized/scale"
        read = getter(scale_name, **plain)
        scale = uncast(getter, scale_name, read, plain)
        return _times(exact.astype(jnp.float32), scale.astype(jnp.float32)).astype(read.dtype)


def quantize(params: Tree, specs: Any) -> dict[str, Any]:
    """Returns trained params as the params of a model that reads them by `quantized`.

    `specs` are those of that model, `model.specs(*inputs)`: they say what is to be quantized, to which dtype, and what
    is stacked (each layer of a stack, of shape `(layers, ..., out)`, has scales of its own, `(layers, out)`). The
    largest absolute value of each output channel becomes the largest number of the dtype. Other params are passed on.
    `quantized` has an example.

    Raises:
      MissingVariableError: The params lack a variable, or the specs have nothing that is quantized.
    """
    flat, known_specs = dict(_path.items(params)), specs.flat()
    scales = {path: f"{path}_quantized/scale" for path in known_specs if f"{path}_quantized/scale" in known_specs}
    if not scales:
        raise MissingVariableError(
            "quantize: nothing is quantized in these specs. Pass those of the model that reads so."
        )
    if missing := [path for path in scales if path not in flat]:
        raise MissingVariableError(
            f"quantize: the params lack `{missing[0]}`. Pass those of the model that was trained."
        )
    out = {}
    for path, value in flat.items():
        spec = known_specs.get(path)
        if path in scales and spec is not None:
            out[path], scale = _quantized(jnp.asarray(value, jnp.float32), spec.dtype, len(spec.stack))
            out[scales[path]] = scale.astype(known_specs[scales[path]].dtype)
        else:
            out[path] = value
    return _path.nested(out.items())


def _quantized(value: jax.Array, dtype: DType, stacked: int) -> tuple[jax.Array, jax.Array]:
    whole = bool(jnp.issubdtype(dtype, jnp.integer))
    limit = float(jnp.iinfo(dtype).max if whole else jnp.finfo(dtype).max)
    largest = jnp.max(jnp.abs(value), axis=tuple(range(stacked, value.ndim - 1)))
    # A channel of zeros is zero at any scale.
    scale = jnp.where(largest > 0, largest / limit, 1.0)
    small = jnp.clip(_times(value, 1 / scale), -limit, limit)
    return (jnp.round(small) if whole else small).astype(dtype), scale


def _times(value: jax.Array, scale: jax.Array) -> jax.Array:
    """Multiplies each output channel by its scale; both may have the same stacked axes in front."""
    between = value.ndim - scale.ndim
    return value * scale.reshape(*scale.shape[:-1], *(1,) * between, scale.shape[-1])


def _tuple(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape or ())
