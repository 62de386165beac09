"""The Python stack tells messages where a call came from, and inside which JAX transform.

Only names and numbers are taken from it: a frame that was kept alive would keep its arrays and tracers alive.
"""

from __future__ import annotations

import inspect
import operator
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


def call_site() -> str:
    """Returns `file:line` of the innermost Python frame outside jscope."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_of(frame, "jscope"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def is_of(frame: types.FrameType, *packages: str) -> bool:
    """Whether a frame runs code of one of these packages."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in packages


# JAX's functions by the names that they have on the stack: inside `jax.vmap(f)` that is `vmap_f`, for example.
_LIFTS = {
    "scan": "scan",
    "while_loop": "while_loop",
    "fori_loop": "fori_loop",
    "cond": "cond",
    "switch": "switch",
    "map": "map",
    "vmap_f": "vmap",
    "fun_remat": "remat",
    "grad_f": "grad",
    "grad_f_aux": "grad",
    "value_and_grad_f": "value_and_grad",
    "vjp": "vjp",
    "jvp": "jvp",
}


def lift_for_here() -> str:
    """Returns the lift to use instead of the JAX transform that was entered last."""
    frame, found = sys._getframe(1), None
    # Outwards from here, through the first run of JAX's frames that has a transform in it. The outermost match of the
    # run is the function that the user called: `jax.lax.map` runs `scan`, for example.
    while frame is not None and not (found and not is_of(frame, "jax")):
        if is_of(frame, "jax"):
            found = _LIFTS.get(frame.f_code.co_name, found)
        frame = frame.f_back
    return f"jscope.{found or 'jit'}"


_LOOPS = {name: lift for name, lift in _LIFTS.items() if lift in ("scan", "while_loop", "fori_loop", "map", "vmap")}
_NO_LOOPS = ("tree", "tree_util")
"""Modules of JAX that have a `map` which runs its function as often as it says."""


def depth() -> int:
    """Returns how many Python frames there are below the caller."""
    frame, count = sys._getframe(1), 0
    while frame is not None:
        frame, count = frame.f_back, count + 1
    return count


def loop_within(outside: int) -> str | None:
    """Returns the lift of a running loop of JAX that was entered at more than this depth, or None."""
    frame, within, found = sys._getframe(1), depth() - outside - 1, None
    for _ in range(within):
        if frame is None or (found and not is_of(frame, "jax")):
            break
        # As above, the outermost of a run of JAX's frames is what the user called.
        if is_of(frame, "jax") and frame.f_globals["__name__"].rpartition(".")[2] not in _NO_LOOPS:
            found = _LOOPS.get(frame.f_code.co_name, found)
        frame = frame.f_back
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a request stands that JAX may repeat, as it traces a body again. Of Python frames only numbers are kept.

    Attributes:
      way: The calls that lead to it from the function that JAX runs, innermost first.
      branch: The call of `cond` or `switch` that runs this function, if one does.
      rule: Whether the function is run for a rule of differentiation.
    """

    way: tuple[Any, ...]
    branch: Any
    rule: bool

    def repeats(self, first: Standing) -> bool:
        """Whether JAX may have run one function twice, for this request and for the first one."""
        if self.branch is not None and self.branch == first.branch:
            return True  # Only one of the branches will run.
        if self.rule or first.rule:
            return self.way[:1] == first.way[:1]  # A rule calls the function that it is a rule for, in its own way.
        return all(map(operator.eq, self.way, first.way))


def standing_here() -> Standing:
    """Returns where the request stands that is made here."""
    frame = sys._getframe(1)
    while frame is not None and is_of(frame, "jscope"):
        frame = frame.f_back
    way, branch, rule = [], False, False
    while frame is not None and not is_of(frame, "jax", "jscope"):
        way.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    while frame is not None and is_of(frame, "jax", "jscope"):
        if is_of(frame, "jax"):
            branch |= frame.f_code.co_name in ("cond", "switch")
            rule |= frame.f_globals["__name__"].endswith(".custom_derivatives")
        frame = frame.f_back
    return Standing(tuple(way), (frame.f_code, frame.f_lasti) if branch and frame is not None else None, rule)


_MARK = "__jscope_call__"


def call_here() -> object:
    """Returns what stands for the running call of the user's function: it equals only itself.

    It is kept among the local variables of the call, since Python gives the ids of calls that have ended to others.
    """
    frame = next(_users(sys._getframe(1)), None)
    return None if frame is None else frame.f_locals.setdefault(_MARK, object())


def call_from(maker: object, value: Any) -> object:
    """Returns what stands for the call that the call `maker` has made, of a function that works with `value`.

    Where `maker` does not run, that is the outermost call that got `value` as an argument, or one made by a call that
    has it otherwise.
    """
    inner, given = None, None
    for frame in _users(sys._getframe(1)):
        kept = frame.f_locals
        if maker is not None and kept.get(_MARK) is maker:
            given = inner or frame
            break
        names = [name for name, local in kept.items() if local is value]
        if names:
            code = frame.f_code
            given = frame if set(names) & set(code.co_varnames[: code.co_argcount]) else inner or frame
        inner = frame
    return None if given is None else given.f_locals.setdefault(_MARK, object())


def _users(frame: types.FrameType | None) -> Iterator[types.FrameType]:
    """Yields the frames of the user's functions, innermost first; comprehensions are parts of theirs."""
    while frame is not None:
        code = frame.f_code
        ours = is_of(frame, "jax", "jscope")
        # What is not a function has its globals for locals.
        if not ours and code.co_flags & inspect.CO_OPTIMIZED and code.co_name not in _COMPREHENSIONS:
            yield frame
        frame = frame.f_back


_COMPREHENSIONS = ("<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>")
