"""The scopes that lifts hand to a body: the scope they were given, with other variables or at another place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import jax

from jscope import _path, _rng
from jscope._context import Lifted, crossing
from jscope._frame import Frame
from jscope._scope import Scope
from jscope._spec import StackAxis
from jscope._uses import INDEX, NOTHING, Carried
from jscope._write import running
from jscope.errors import InvalidArgumentError


def view(
    scope: Scope,
    params: Mapping[str, Any],
    state: Mapping[str, Any],
    *,
    carried: Carried | None = None,
    anchor: _rng.Anchor | None = None,
    frame: Frame | None = None,
) -> Scope:
    """Returns the scope with other variables, as if it had just crossed a boundary: what lifts hand to a body.

    It knows of random keys what is `carried`, by default all that was drawn below. With an `anchor` it is at that path,
    and with a `frame` it writes there.
    """
    context, path = scope._context, scope._path if anchor is None else anchor.path
    carried = uses_below(scope) if carried is None else carried
    inside = crossing(path, params, state, carried, keyed=context.key is not None)
    context = replace(
        context,
        collecting=False,
        crossing=inside if frame is None else frame.crossing,
        call=context.call if frame is None else frame.number,
        anchor=anchor or context.anchor,
        lifted=None,
    )
    return Scope(path, params, state, context.crossing.uses.root, context)


def lifted_view(scope: Scope, *stack: StackAxis, shared: str | None = None, refusal: str | None = None) -> Scope:
    """Returns a collecting scope for the body of a lift, which may write, and whose variables get the axes `stack`."""
    context = scope._context
    frame, before = running(context, "was given to a lift"), context.lifted
    outer = before.stack if before is not None else ()
    # The trace that runs now is the one that the lift's JAX transform made for the body.
    # A regex is given whole paths, so with one the body has looked at its own.
    path = scope.path if shared else scope._path
    lifted = Lifted(frame.trace(), (*outer, *((axis, shared) for axis in stack)), refusal)
    inside = crossing(path, scope._params, {}, Carried(scope._entry), keyed=context.key is not None)
    own = replace(context, crossing=inside, lifted=lifted)
    return Scope(path, scope._params, {}, scope._entry, own)


class PlaceMattersError(BaseException):
    """Something depends on the place of a block that runs for many places. No handler of the user's is to see it."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, slots=True)
class Anywhere(_rng.Anchor):
    """The anchor of a block that runs for many places: inside, paths begin at the block.

    Attributes:
      lift: What made it so.
    """

    lift: str = field(default="", metadata={"static": True})

    @property
    def is_known(self) -> bool:
        """Whether it has the hash of the place; it need not, where nothing is drawn."""
        return self.lanes is not None

    def lanes_of_path(self, path: str, stream: str | None = None) -> _rng.Lanes:
        """Hashes a path below the block."""
        if not self.is_known:
            raise PlaceMattersError
        return _rng.Anchor.lanes_of_path(self, path, stream)


def lift_of_block(scope: Scope) -> str | None:
    """Returns the lift whose block a scope is in, if that runs for many places."""
    anchor = scope._context.anchor
    return anchor.lift if isinstance(anchor, Anywhere) else None


def whole_path(scope: Scope) -> str:
    """Returns the path of a scope for what goes by whole paths; ends a block in which that is not known."""
    if lift_of_block(scope):
        raise PlaceMattersError
    return scope.path


Streams: TypeAlias = "tuple[str, ...] | None"
"""The random streams that all copies in a loop share; None for all of them."""


def sharing(scope: Scope, sharer: object) -> Scope:
    """Returns the scope with what JAX took from it on the way: which call switched reuse on."""
    return scope if sharer is None else scope._with(replace(scope._context, sharer=sharer))


def uses_below(scope: Scope) -> Carried:
    """Returns what a body has to know, so as to draw the keys that it would draw without the lift."""
    context = scope._context
    return NOTHING if context.key is None else context.crossing.uses.below(scope.below(), scope._entry)


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies of a scope that a loop makes: an index is one more part of their path.

    Attributes:
      number: Which entry below the scope they are.
      carried: What their bodies have to know about random keys.
    """

    number: int
    carried: Carried


def copies(scope: Scope, *, tells: bool) -> Copies:
    """Enters the copies of a scope. `tells`: whether the loop says afterwards what its body drew."""
    context = scope._context
    if context.key is None:
        return Copies(0, NOTHING)
    inside = context.crossing
    number = inside.count((_path.child(scope._path, INDEX), scope._entry))
    carry = inside.uses.below if tells else inside.uses.give_up
    return Copies(number, carry(_path.join(scope.below(), INDEX), (*scope._entry, number)))


def at_index(scope: Scope, index: Any, streams: tuple[str, ...] = ()) -> _rng.Anchor | None:
    """Returns the anchor of one copy of a scope, whose path has `index` as one more part, but for these streams."""
    if index is None:
        return None
    outer, shared = scope._context.anchor, {}
    for stream in {*streams, *(outer.shared if outer is not None else ())}:
        # A stream that the copies of a loop around share tells those of this loop apart, unless it is shared here, too.
        lanes = scope.lanes(stream) if stream in streams else _rng.extend(scope.lanes(stream), (index,))
        shared[stream] = _rng.anchor(scope._path, lanes)
    made = _rng.anchor(scope._path, _rng.extend(scope.lanes(), (index,)), shared)
    return replace(outer, path=made.path, lanes=made.lanes, shared=shared) if isinstance(outer, Anywhere) else made


def shared_streams(rng: Any, lift: str) -> Streams:
    """Returns the random streams that all copies share by an option `rng`: None for all of them."""
    if rng in ("split", "shared"):
        return () if rng == "split" else None
    if isinstance(rng, tuple | list | set | frozenset) and all(isinstance(stream, str) for stream in rng):
        return tuple(sorted(rng))
    raise InvalidArgumentError(
        f'{lift}: rng={rng!r} must be "split", "shared", or the names of the streams that are shared: ("dropout",).'
    )
