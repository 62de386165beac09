"""A partitioner is a value that names the axes of variables by their shapes.

`axes=("embed", "mlp")` names the axes of one variable where it is created. A partitioner, `(shape, dtype) -> axes`,
names those of all variables below a scope: `scope.with_defaults(partitioner=names("embed", "mlp"))`. It returns None
for a shape that it has no names for. What the names mean for a mesh is the matter of `jscope.sharding.Rules`. Two
partitioners that were made by the same call are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jscope._types import Axes, DType, Partitioner, Shape
from jscope.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True, init=False, repr=False)
class _Named:
    axes: Axes

    def __init__(self, *axes: str | None) -> None:
        for axis in axes:
            if not (axis is None or isinstance(axis, str)):
                kind = type(self).__name__
                # A tuple of names, most likely.
                raise InvalidArgumentError(f'{kind}: axes are named one by one, {kind}("embed", "mlp"); got {axis!r}.')
        object.__setattr__(self, "axes", axes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.axes))})"


class names(_Named):
    """Names the axes of variables that have as many axes as there are names; a name may be None.

    >>> f = names("embed", "mlp")
    >>> f((64, 256), "float32"), f((256,), "float32")
    (('embed', 'mlp'), None)

    Raises:
      InvalidArgumentError: A name is neither a string nor None.
    """

    __slots__ = ()

    def __call__(self, shape: Shape, dtype: DType, /) -> Axes | None:
        return self.axes if len(shape) == len(self.axes) else None


class last(_Named):
    """Names the last axes, whatever comes before them; a variable with fewer axes gets the last of the names.

    >>> f = last("embed", "mlp")
    >>> f((3, 3, 64, 256), "float32"), f((256,), "float32")
    ((None, None, 'embed', 'mlp'), ('mlp',))

    Raises:
      InvalidArgumentError: A name is neither a string nor None.
    """

    __slots__ = ()

    def __call__(self, shape: Shape, dtype: DType, /) -> Axes:
        rest = len(shape) - len(self.axes)  # Negative where the variable has fewer axes than there are names.
        return (*(None,) * rest, *self.axes[max(-rest, 0) :])


@dataclass(frozen=True, slots=True)
class largest:
    """Names the largest axis (of equal ones, the first) of variables with at least `min_size` elements.

    >>> f = largest("fsdp", min_size=1024)
    >>> f((64, 256), "float32"), f((256,), "float32")
    ((None, 'fsdp'), None)

    Args:
      axis: The name.
      min_size: Variables with fewer elements than this get no names.
      multiple_of: Axes whose size is not a multiple of this number are left out of account.
    """

    axis: str
    min_size: int = 1
    multiple_of: int = 1

    def __call__(self, shape: Shape, dtype: DType, /) -> Axes | None:
        fitting = [i for i, size in enumerate(shape) if size % self.multiple_of == 0]
        if not fitting or math.prod(shape) < self.min_size:
            return None
        chosen = max(fitting, key=lambda i: shape[i])
        return tuple(self.axis if i == chosen else None for i in range(len(shape)))


@dataclass(frozen=True, slots=True, init=False, repr=False)
class first:
    """Asks several partitioners in order, and takes the first answer that is not None.

    >>> f = first(names("embed", "mlp"), names("mlp"))
    >>> f((64, 256), "float32"), f((256,), "float32"), f((), "float32")
    (('embed', 'mlp'), ('mlp',), None)

    Raises:
      InvalidArgumentError: One of them cannot be called.
    """

    partitioners: tuple[Partitioner, ...]

    def __init__(self, *partitioners: Partitioner) -> None:
        for each in partitioners:
            if not callable(each):
                raise InvalidArgumentError(f"`first` takes partitioners, `(shape, dtype) -> axes`, not {each!r}.")
        object.__setattr__(self, "partitioners", partitioners)

    def __call__(self, shape: Shape, dtype: DType, /) -> Axes | None:
        answers = (each(shape, dtype) for each in self.partitioners)
        return next((axes for axes in answers if axes is not None), None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.partitioners))})"
