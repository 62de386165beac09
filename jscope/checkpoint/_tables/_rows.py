"""How a library has one variable of a layer: a rule, but for the scope and for the sizes, which depend on the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jscope import _path
from jscope.checkpoint._conversions import _axes
from jscope.checkpoint._errors import ConversionError
from jscope.checkpoint._tables._layers import Layer

_SPATIAL = {3: "w", 4: "h w", 5: "d h w"}
"""The axes along which a convolution slides, by the rank of its kernel."""


@dataclass(frozen=True)
class Row:
    """One variable of a layer, or several that the library has as one.

    Attributes:
      ours: Its name below the scope; `{part}` stands for the values that `where` lists.
      theirs: Theirs.
      axes: As in a `Rule`; `...` is all axes along which a convolution slides.
      where: As in a `Rule`, but for sizes.
      order: As in a `Rule`.
      flipped: Whether these axes run the other way there: the kernel is turned around.
      function: The name of one of the library's functions.
      ending: What follows `theirs`, unless the caller says with a `*` what does.
    """

    ours: str
    theirs: str
    axes: str = ""
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    order: Mapping[str, Sequence[int]] = field(default_factory=dict)
    flipped: bool = False
    function: str = ""
    ending: str = ""

    def names(self) -> list[str]:
        """Returns the names of ours, as many as there are parts."""
        parts = self.where.get("part", ()) if "{part}" in self.ours else ("",)
        return [self.ours.replace("{part}", part) for part in parts]

    def pattern(self, layer: Layer) -> str:
        """Returns the pattern for one layer, without its stacked axes."""
        return self.axes.replace("...", _SPATIAL.get(len(layer.shape(self.names()[0])), ""))

    def sizes(self, layer: Layer) -> dict[str, Any]:
        """Returns `where` for the sizes that shapes of theirs do not tell: in a composed axis, of all but the last."""
        sides = _axes.parsed(self.pattern(layer))
        # What a function is given may have other axes than ours.
        if sides is None or self.function:
            return {}
        known = [self._known(layer, name, sides[1]) for name in self.names()]
        found: dict[str, Any] = {}
        for composed in sides[0]:
            free = [axis for axis in composed if axis not in self.where and axis not in self.order]
            for axis in free:
                each = [sizes[axis] for sizes in known]
                if len(set(each)) > 1:
                    found[axis] = dict(zip(self.where["part"], each, strict=True))
                elif axis != free[-1]:
                    found[axis] = each[0]
        return found

    def orders(self, layer: Layer) -> dict[str, Sequence[int]]:
        """Returns `order` for one layer."""
        sides = _axes.parsed(self.pattern(layer))
        if not self.flipped or sides is None:
            return dict(self.order)
        sizes = self._known(layer, self.names()[0], sides[1])
        spatial = _SPATIAL[len(layer.shape(self.names()[0]))].split()
        return {axis: list(range(sizes[axis]))[::-1] for axis in spatial}

    def _known(self, layer: Layer, name: str, side: _axes.Side) -> dict[str, int]:
        """Returns the sizes of the axes of ours; in a composed one, of the one that nothing else tells."""
        shape = layer.shape(name)
        if len(shape) != len(side):
            raise ConversionError(
                f"`{_path.join(layer.scope, name)}` has the shape {list(shape)}, which that of a `{layer.kind}` cannot "
                "be. Say in `layers` what it is."
            )
        sizes = {}
        for composed, size in zip(side, shape, strict=True):
            listed = math.prod(len(self.where.get(axis, self.order.get(axis, ()))) or 1 for axis in composed)
            free = [axis for axis in composed if axis not in self.where and axis not in self.order]
            if len(free) == 1:
                sizes[free[0]] = size // listed
        return sizes


@dataclass(frozen=True)
class Also:
    """What a library has beside a variable, and jscope has not: a `Constant`.

    Attributes:
      beside: The variable's name there.
      ours: Its name here.
      theirs: The name of what is beside it.
      value: Its value.
      dtype: Its dtype.
      like: The rank that it has, if it is as long as the variable; 0 for a scalar.
    """

    beside: str
    ours: str
    theirs: str
    value: int
    dtype: str
    like: int = 0


@dataclass(frozen=True)
class Library:
    """How a library has layers.

    Attributes:
      name: What it is called.
      separator: What stands between the parts of its names.
      rows: The rows of a layer; None where the library has no such layer.
      also: What it has beside them.
      collections: What comes before all names, of params and of state.
      directions: What follows the names of the two cells of `nn.bidirectional`, which are in one layer there.
    """

    name: str
    separator: str
    rows: Callable[[Layer], Sequence[Row] | None]
    also: tuple[Also, ...] = ()
    collections: tuple[str, str] = ("", "")
    directions: Mapping[str, str] = field(default_factory=dict)
