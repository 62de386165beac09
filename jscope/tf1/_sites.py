"""Where in a user's code something was asked for, kept unread until somebody is told."""

from __future__ import annotations

import sys
import types

from jscope._util._stack import is_of


class Site(tuple[types.CodeType, int]):
    """Where a call stands, as a code and an instruction of it: `str` of it is `file:line`, as `call_site` returns it.

    That takes longer to work out than all the rest of reading a variable, and hardly any is ever shown.
    """

    __slots__ = ()

    def __str__(self) -> str:
        code, instruction = self
        lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
        return f"{code.co_filename}:{next(lines)}"


def site_above(level: int) -> Site:
    """Returns the site of the innermost Python frame outside jscope; so many frames, this one included, are inside."""
    frame = sys._getframe(level)
    # In this order: to ask for the frame around one takes longer than to look into it.
    while is_of(frame, "jscope") and frame.f_back is not None:
        frame = frame.f_back
    return Site((frame.f_code, frame.f_lasti))
