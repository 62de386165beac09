"""Equations such as `btd,dhk->bthk`: what they say about the kernel, read once and not in each trace."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jscope import initializers
from jscope._scope import Scope
from jscope._types import Initializer, Shape
from jscope.nn._layer import contracted, refuse


@dataclass(frozen=True, slots=True)
class Equation:
    """The axes of a product of an input with a kernel, one letter each.

    Attributes:
      text: The equation as it was written.
      inputs: The axes of the input; `...` may stand among them.
      kernel: The axes of the kernel.
      out: The axes of the output; `...` may stand among them.
      new: The axes of the kernel that the input lacks.
      keras: How the kernel starts: what is summed over are inputs, what is new are outputs, the rest are neither.
      summed: What is summed over, if the output has the other axes of the input and then those of the kernel.
    """

    text: str
    inputs: str
    kernel: str
    out: str
    new: str
    keras: Initializer
    summed: str | None

    def sizes(self, scope: Scope, shape: Shape) -> dict[str, int]:
        """Returns the sizes of the axes of the input that have letters, after checking that it has as many axes."""
        before, dots, after = self.inputs.partition("...")
        count = len(before) + len(after)
        if count > len(shape) or (count < len(shape) and not dots):
            problem = f"the input has shape {shape}, but in {self.text!r} the axes {self.inputs!r}"
            advice = "Write one letter for each axis, with `...` for those that are only passed on."
            refuse(scope, "einsum", problem, advice)
        named = (*shape[: len(before)], *shape[len(shape) - len(after) :]) if dots else shape
        return dict(zip(before + after, named, strict=True))

    def places(self, letters: str, ndim: int) -> tuple[int, ...]:
        """Returns where some axes of the output are, whose rank is `ndim`."""
        each = _spelled_out(self.out, ndim)
        return tuple([i for i, letter in enumerate(each) if letter in letters])

    def of(self, x: jax.Array, kernel: jax.Array, precision: jax.lax.PrecisionLike) -> jax.Array:
        """Returns the product. Where no axis is moved, it is one `dot_general`, which `jnp.einsum` finds slowly."""
        if self.summed is None:
            return jnp.einsum(self.text, x, kernel, precision=precision)
        axes = _spelled_out(self.inputs, x.ndim)
        of_x, of_kernel = (tuple([each.index(letter) for letter in self.summed]) for each in (axes, self.kernel))
        with jax.named_scope(self.text):  # As `jnp.einsum` does.
            return contracted(x, kernel, of_x, of_kernel, precision)


def equation_of(scope: Scope, text: str) -> Equation:
    """Returns what an equation says, after checking it."""
    found = _read(text)
    return found if isinstance(found, Equation) else refuse(scope, "einsum", *found)


# What is wrong is returned, not raised: the message names a scope, of which a cache for all must know nothing.
@functools.lru_cache(maxsize=1024)
def _read(text: str) -> Equation | tuple[str, str]:
    """Returns what an equation says; or what is wrong with it, and what to do."""
    sides, arrow, out = text.replace(" ", "").partition("->")
    inputs, _, kernel = sides.partition(",")
    named, given = inputs.replace("...", ""), out.replace("...", "")
    plain = bool(arrow) and kernel.isalpha() and (named + given).isalpha()
    if not plain or any(len(set(part)) < len(part) for part in (named, kernel, given)):
        advice = "Write the axes of the input, the kernel and the output, each once: `btd,dhk->bthk`, `...d,df->...f`."
        return f"the equation is {text!r}", advice
    if lost := sorted({*kernel} - {*named, *given}) + sorted({*given} - {*named, *kernel}):
        advice = "Each axis of the kernel is in the input, the output or both; each of the output in one of the others."
        return f"in {text!r}, the axis `{lost[0]}` stands by itself", advice
    new = "".join(letter for letter in kernel if letter not in named)
    keras = initializers.glorot_uniform(
        tuple(i for i, letter in enumerate(kernel) if letter not in given),
        tuple(i for i, letter in enumerate(kernel) if letter in new),
        tuple(i for i, letter in enumerate(kernel) if letter in given and letter not in new),
    )
    # One `dot_general` sums over all that input and kernel have in common, and has the rest of both one after the
    # other. So an axis that all three have, or outputs in another order, are left to `jnp.einsum`.
    summed = "".join(letter for letter in inputs if letter in kernel)
    straight = out == "".join(letter for letter in inputs if letter not in summed) + new
    return Equation(text, inputs, kernel, out, new, keras, summed if straight else None)


def _spelled_out(axes: str, ndim: int) -> str:
    """Returns axes with a space for each that an ellipsis stands for, so that they are in their places."""
    # Three, since the dots are letters to `len`.
    return axes.replace("...", " " * (ndim + 3 - len(axes))) if "." in axes else axes
