"""The Python stack tells messages where a call came from, and inside which JAX transform.

Only names and numbers are taken from it: a frame that was kept alive would keep its arrays and tracers alive.
"""

from __future__ import annotations

import sys
import types


def call_site() -> str:
    """Returns `file:line` of the innermost Python frame outside jscope."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_of(frame, "jscope"):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_of(frame: types.FrameType, package: str) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] == package


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
    while frame is not None and not (found and not _is_of(frame, "jax")):
        if _is_of(frame, "jax"):
            found = _LIFTS.get(frame.f_code.co_name, found)
        frame = frame.f_back
    return f"jscope.{found or 'jit'}"
