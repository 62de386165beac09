"""What is known of a variable before it has a value.

A `VariableSpec` records one `get_variable` call: everything about the variable but its value. Initial
values, shardings, summaries, penalties and checkpoint structure are functions of specs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import numpy as np

from jscope import _path
from jscope._types import Axes, Constraint, DType, Initializer, Key, Regularizer, Shape
from jscope.errors import InitializerError


@dataclass(frozen=True, slots=True)
class StackAxis:
    """One leading axis that a lift added: `size` copies, told apart by an index after `depth` path parts.

    Copy 3 of `layers/w`, stacked at depth 1, is the variable `layers/3/w` of the unrolled model.
    """

    depth: int
    size: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """What was asked for in the `get_variable` call that created a variable.

    >>> spec = jscope.specs(lambda scope: (scope / "a").get_variable("w", (2, 3), axes=("in", "out")))["a/w"]
    >>> spec.path, spec.shape, spec.axes, spec.trainable
    ('a/w', (2, 3), ('in', 'out'), True)

    Attributes:
      path: Full name, such as `encoder/layer_0/w`.
      shape: Shape of the value, stacked axes included.
      dtype: Its dtype.
      initializer: What makes its initial value: a callable, or a concrete array. In specs that were read from
        JSON, its name, as for the other callables.
      trainable: Whether it is a param (true) or state.
      regularizer: Its penalty, if any.
      constraint: The projection onto its allowed values, if any.
      axes: A logical name for each axis, for shardings.
      collections: Names of the collections it belongs to.
      stack: The leading axes that lifts added, outermost first.
      site: Where it was created, as `file:line`.
    """

    path: str
    shape: Shape
    dtype: Any
    initializer: Initializer | jax.Array | np.ndarray | str
    trainable: bool = True
    regularizer: Regularizer | str | None = None
    constraint: Constraint | str | None = None
    axes: Axes | None = None
    collections: tuple[str, ...] = ()
    stack: tuple[StackAxis, ...] = ()
    site: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return _path.basename(self.path)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes of the value."""
        return self.size * np.dtype(self.dtype).itemsize

    @property
    def unstacked_shape(self) -> Shape:
        """Shape of one copy, as the initializer sees it."""
        return self.shape[len(self.stack) :]

    def shape_dtype(self) -> jax.ShapeDtypeStruct:
        """Returns the abstract value."""
        return jax.ShapeDtypeStruct(self.shape, self.dtype)

    @property
    def kind(self) -> str:
        """`"param"` or `"state"`."""
        return "param" if self.trainable else "state"

    def __str__(self) -> str:
        return f"{self.kind} `{self.path}`: {np.dtype(self.dtype).name}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class DataDependent:
    """Stands in a spec for an initial value that needs the data: only `init` with real inputs can make it.

    It keeps the path, not the traced value, which is of no use once its trace has ended.
    """

    path: str

    # It can stand where an initializer stands: whoever runs it is told what to do.
    def __call__(self, key: Key, shape: Shape, dtype: DType, /) -> NoReturn:
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raises the error that says what to do."""
        raise InitializerError(
            f"The initial value of `{self.path}` depends on the model's inputs, which are not known here.\n"
            "Call `model.init(key, *inputs)` with arrays as inputs. If the value does not depend on the inputs after "
            "all, give `get_variable` an initializer function or a numpy array instead of a traced `jax.numpy` value."
        )

    def __str__(self) -> str:
        return "data-dependent"
