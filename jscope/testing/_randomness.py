"""Laws of what is random in a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jscope._types import Key
from jscope.errors import MissingRngError
from jscope.testing._case import break_law, case, unequal


def key_decides(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """The same key gives the same output and state, bit by bit.

    >>> key_decides(lambda scope: jax.random.bits(scope.rng()))

    Raises:
      LawError: With a line for each array that differs.
    """
    its = case(model, args, kwargs, key)
    keyed = replace(its, model=its.model.with_rng(its.key))
    # Bit by bit, since one program runs twice on the same numbers.
    first, second = (keyed.plain(*its.variables) for _ in range(2))
    if lines := unequal(first, second, tolerance=0.0):
        break_law("key_decides", lines, "Draw only by `scope.rng()`: nothing else knows the key of the call.")


def without_key_nothing_is_random(
    model: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, key: Key | None = None
) -> None:
    """Without a key, a model says that it needs one, or gives the same output and state twice.

    >>> without_key_nothing_is_random(lambda scope: jax.random.bits(scope.rng()))

    Raises:
      LawError: With a line for each array that differs.
    """
    its = case(model, args, kwargs, key)
    unkeyed = replace(its, model=its.model.with_rng(None))
    try:
        first, second = (unkeyed.plain(*its.variables) for _ in range(2))
    # To ask for a key is right, too: what must not be is a model that draws without one.
    except MissingRngError:
        return
    if lines := unequal(first, second, tolerance=0.0):
        break_law("without_key_nothing_is_random", lines, "Without a key, ask `scope.has_rng`, and draw nothing.")
