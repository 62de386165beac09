"""A rule: two names, and how the axes of one array become those of the other.

What is written here is checked here, as far as one rule tells; what its placeholders mean is settled in `_bound`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from jscope.checkpoint._conversions import _axes
from jscope.checkpoint._errors import ConversionError

Where: TypeAlias = Mapping[str, "int | Sequence[str | int] | Mapping[str, str] | Mapping[str, int]"]
"""What is known of placeholders and axes: a size, values in order, spellings (ours: theirs), or unequal sizes."""

LARGEST = 1 << 40
"""The largest size that a rule may name: more elements than any array has."""

INVERSE = ".inverse"
"""What follows the name of a function that is to be undone."""


@dataclass(frozen=True, slots=True)
class Function:
    """What a table can only name: the caller gives it, as `Conversion(..., functions={"name": Function(...)})`.

    >>> from jscope.checkpoint import Conversion, Function, Rule
    >>> percent = Function(lambda x: x / 100, inverse=lambda x: x * 100)
    >>> table = Conversion([Rule("rate", "percentage", function="percent")], functions={"percent": percent})
    >>> jscope.tree.convert({"percentage": jnp.array([25.0])}, table)["rate"].tolist()
    [0.25]

    Attributes:
      forward: From the array as the pattern of the rule leaves it, to ours.
      inverse: From ours back. Without it, the conversion has no inverse.
      shape: From shape and dtype of what `forward` is given to those of what it returns, as a
        `jax.ShapeDtypeStruct`. Where it is not given, `forward` is traced.
      inverse_shape: The same of `inverse`.
      lossy: Whether what comes back may differ from what was given.
    """

    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any] | None = None
    shape: Callable[[Any], Any] | None = None
    inverse_shape: Callable[[Any], Any] | None = None
    lossy: bool = False


@dataclass(frozen=True)
class Rule:
    """One row of a `Conversion`: which of their arrays become which of ours, and how.

    >>> from jscope.checkpoint import Rule
    >>> Rule(
    ...     "layers/{part}/kernel",
    ...     "h.{i}.qkv.weight",
    ...     "d (part h k) -> i d h k",
    ...     where={"part": ["query", "key", "value"], "h": 12},
    ... ).inverse
    Rule(ours='h.{i}.qkv.weight', theirs='layers/{part}/kernel', axes='i d h k -> d (part h k)', ...)

    A placeholder that only their name has is an axis of ours, and the other way round: here the layers `{i}` are
    stacked, and their one array is split into three of ours. What both names have tells apart, and is kept.

    Attributes:
      ours: The name in the model.
      theirs: The name on the other side.
      axes: From their axes to ours, as in einops; the empty one changes nothing. `1` is an axis of size 1.
      where: What is known of placeholders and axes, by name: a size (`12`); the values of a placeholder, in the order
        of the axis (`["query", "key"]`); its spellings, by ours (`{"query": "q"}`); or unequal sizes of an axis, by the
        values of a placeholder (`{"query": 32, "key": 8}`).
      order: For an axis that both sides have, which of their indices becomes each of ours: `{"gate": [1, 0, 2]}`.
      tied: Whether one array may have another name in another rule, too. Both are checked to be equal.
      optional: Whether their arrays may be absent.
      dtype: The dtype of ours, `"float32"`, or those of both, `"bfloat16 -> float32"`.
      function: The name of a function of the caller's, applied to ours after all else.

    Raises:
      ConversionError: It contradicts itself.
    """

    ours: str
    theirs: str
    axes: str = ""
    where: Where = field(default_factory=dict, kw_only=True)
    order: Mapping[str, Sequence[int]] = field(default_factory=dict, kw_only=True)
    tied: bool = field(default=False, kw_only=True)
    optional: bool = field(default=False, kw_only=True)
    dtype: Any = field(default=None, kw_only=True)
    function: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        for name, kind in (("ours", str), ("theirs", str), ("axes", str), ("function", str)):
            self._check_type(name, kind, getattr(self, name))
        for name in ("tied", "optional"):
            self._check_type(name, bool, getattr(self, name))
        for name in ("where", "order"):
            self._check_type(name, Mapping, getattr(self, name))
        try:
            # Written in one way only, so that rules are equal if they say the same, and TOML comes back as it was.
            object.__setattr__(self, "axes", _axes.written(_axes.parsed(self.axes)))
        except ConversionError as error:
            raise self.error(str(error)) from None
        object.__setattr__(self, "where", {name: self._where(name, value) for name, value in self.where.items()})
        object.__setattr__(self, "order", {name: self._order(name, value) for name, value in self.order.items()})
        object.__setattr__(self, "dtype", _dtypes_text(self.dtypes))
        if not self.function.removesuffix(INVERSE).isidentifier() and self.function:
            raise self.error(f"`{self.function}` cannot be the name of a function")

    def __hash__(self) -> int:
        # Without `where` and `order`, which are dicts.
        return hash((self.ours, self.theirs, self.axes, self.dtype, self.function))

    @property
    def inverse(self) -> Rule:
        """The rule from ours to theirs."""
        sides = _axes.parsed(self.axes)
        # Sizes go by our spelling of a value; seen from the other side, ours is the other spelling.
        respelled = [value for value in self.where.values() if is_spelling(value)]
        function = self.function and (
            self.function.removesuffix(INVERSE) if self.function.endswith(INVERSE) else self.function + INVERSE
        )
        return replace(
            self,
            ours=self.theirs,
            theirs=self.ours,
            axes=_axes.written(sides and (sides[1], sides[0])),
            where={name: _inverted(value, respelled) for name, value in self.where.items()},
            order={name: np.argsort(value).tolist() for name, value in self.order.items()},
            dtype=_dtypes_text((self.dtypes[1], self.dtypes[0])),
            function=function,
        )

    @property
    def dtypes(self) -> tuple[str, str]:
        """The names of the dtypes of theirs and of ours; empty ones are whatever they are."""
        if self.dtype is None:
            return "", ""
        left, arrow, right = str(self.dtype).partition("->") if isinstance(self.dtype, str) else ("", "", self.dtype)
        return (self._dtype(left), self._dtype(right)) if arrow else ("", self._dtype(left or right))

    @property
    def lossy(self) -> str:
        """Why what it makes cannot be taken back bit for bit; empty where it can."""
        theirs, ours = self.dtypes
        # Only a dtype that ours is made of can lose bits; whether it does depends on theirs, which may be any.
        if not ours or theirs == ours:
            return ""
        if theirs and np.can_cast(np.dtype(theirs), np.dtype(ours), "safe") and _bits_kept(theirs, ours):
            return ""
        return f"{theirs or 'any dtype'} becomes {ours}"

    def error(self, text: str) -> ConversionError:
        """Returns an error that begins with this rule."""
        return ConversionError(f"Rule `{self.ours}` from `{self.theirs}`: {text}.")

    def _check_type(self, name: str, kind: type, value: Any) -> None:
        if not isinstance(value, kind):
            wanted = {str: "a string", bool: "true or false"}.get(kind, "a dict by name")
            raise self.error(f"`{name}` must be {wanted}, not {value!r}")

    def _where(self, name: str, value: Any) -> Any:
        """Returns one entry of `where` in its plain form."""
        if not isinstance(name, str):
            raise self.error(f"`where` is by name, not by {name!r}")
        if isinstance(value, Mapping) and value:
            # Exact types: to Python, `true` in a table is an int, and would be the size 1.
            kinds = {type(each) for each in value.values()}
            if kinds == {str} and all(isinstance(each, str) for each in value):
                self._check_values(name, list(value.values()))
                return dict(value)
            if kinds == {int}:
                return {str(key): self._size(name, each) for key, each in value.items()}
        if type(value) is int:
            return self._size(name, value)
        if isinstance(value, list | tuple) and value and all(type(each) in (str, int) for each in value):
            # Also numbers, `[0, 2, 5]`: in a name they are text.
            values = tuple(map(str, value))
            self._check_values(name, list(values))
            return values
        raise self.error(
            f"`where` has {value!r} for `{name}`; it can be a size, a list of values, a table of spellings (texts), or "
            "one of sizes (ints), neither of them empty"
        )

    def _check_values(self, name: str, values: list[str]) -> None:
        if twice := sorted(each for each, n in Counter(values).items() if n > 1):
            raise self.error(f"`where` has the value {twice[0]!r} of `{name}` twice")
        if odd := [each for each in values if not each.isprintable() or not each]:
            raise self.error(f"`where` has the value {odd[0]!r} for `{name}`; values must be printable, and not empty")

    def _size(self, name: str, size: int) -> int:
        if not 1 <= size <= LARGEST:
            raise self.error(f"`where` has the size {size} for `{name}`; sizes are from 1 to {LARGEST}")
        return size

    def _order(self, name: str, value: Any) -> list[int]:
        # An array has no truth value and no `==` that is one; as a list, it is what TOML gives.
        found = value if isinstance(value, list | tuple) else list(value) if isinstance(value, np.ndarray) else None
        if found is None or sorted(map(_as_int, found)) != list(range(len(found))) or not found:
            raise self.error(f"`order` has {value!r} for `{name}`; it must have each of 0 to n-1 once")
        return [int(each) for each in found]

    def _dtype(self, name: Any) -> str:
        name = name.strip() if isinstance(name, str) else name
        try:
            return np.dtype(name).name if name else ""
        except TypeError as error:
            raise self.error(f"`dtype` has {name!r}, which NumPy and JAX do not know") from error


def is_spelling(value: Any) -> bool:
    """Whether an entry of `where` tells the spellings of values.

    >>> is_spelling({"query": "q"}), is_spelling({"query": 32})
    (True, False)
    """
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _inverted(value: Any, spellings: list[Any]) -> Any:
    """Returns an entry of `where` as the inverse rule has it: sizes are by the values that are ours there."""
    if is_spelling(value):
        return {theirs: ours for ours, theirs in value.items()}
    if isinstance(value, dict):
        spelling = next((each for each in spellings if set(each) == set(value)), {})
        return {spelling.get(key, key): size for key, size in value.items()}
    return value


def _as_int(value: Any) -> int:
    return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else -1


def _dtypes_text(names: tuple[str, str]) -> str | None:
    theirs, ours = names
    if not theirs:
        return ours or None
    return f"{theirs} -> {ours}".strip()


def _bits_kept(small: str, large: str) -> bool:
    """Whether every value of one dtype has a place in another.

    NumPy takes int64 to float64 to be safe, which loses some.
    """
    integer, floating = jnp.issubdtype(small, jnp.integer), jnp.issubdtype(large, jnp.inexact)
    if not (integer and floating):
        return True
    return jnp.iinfo(small).bits <= jnp.finfo(large).nmant + 1
