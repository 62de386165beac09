"""A mistake with scopes that JAX or Python find first ends in their words; a note adds what to do about it.

What is recognised are their messages, which may change with their versions. So a note is all that depends on them: it
says "if" where the message leaves a doubt, and the error stays what it is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

_SCOPE_FIRST = (
    "a function of a scope takes the scope first, then its inputs: `def dense(scope, x)`, called as "
    '`dense(scope / "hidden", x)`. A scope is not an array; its variables are: `scope.get_variable(name, shape)`.'
)
_MAPPED = (
    "if a scope is among what is mapped over here, pass it whole: `jax.vmap(f, in_axes=(None, 0))(scope, x)`. The body "
    "of `jax.lax.scan` or `jax.lax.map` closes over it. Where each element has variables of its own, use "
    "`jscope.vmap`, `jscope.scan` or `jscope.map`."
)
_GRAD = (
    "if this differentiates by a scope: its state and a random key are among its leaves. `jscope.grad` and "
    "`jscope.value_and_grad` differentiate by the params; for JAX's own, pass `scope.with_rng(None)`."
)
_UNBOUND = "a mapped axis has its name only inside of what maps; `model.with_axes(batch=8)` is for `init` and `specs`."
_CALLED = "`zeros` and `ones` are initializers already: pass them without a call, `initializer=zeros`."
_NOTES = (
    (
        AttributeError | TypeError,
        r"'Scope'|\.Scope'>|attribute '?(get_variable|variable_scope|_path|_frame|collecting)\b",
        _SCOPE_FIRST,
    ),
    (TypeError, r"^(grad|jacfwd|jacrev) (requires|with) |^primal .* jax\.jvp do not match", _GRAD),
    (TypeError, r"for /: .* and 'str'|ufunc 'divide' (did not contain a loop|not supported)", _SCOPE_FIRST),
    (TypeError, r"missing \d required positional arguments: 'key' and 'shape'", _CALLED),
    (NameError, r"unbound axis name", _UNBOUND),
    (ValueError, r"^(vmap|pmap|scan|map) .*(its argument along|inconsistent sizes|different leading axis)", _MAPPED),
)


def hint(error: Exception) -> None:
    """Adds what is known about an error that left a function of a scope."""
    for kind, pattern, note in _NOTES:
        if isinstance(error, kind) and re.search(pattern, str(error)):
            add(error, note)
    if isinstance(error, IndexError) and str(error) == "tuple index out of range" and _is_raised_by_jax(error):
        add(error, _MAPPED)


def add(error: Exception, note: str) -> None:
    """Adds a note, once: calls may be nested."""
    if f"jscope: {note}" not in getattr(error, "__notes__", ()):
        error.add_note(f"jscope: {note}")


@contextlib.contextmanager
def noting(note: str) -> Iterator[None]:
    """Adds a note that says where it happened to any error that is raised inside."""
    try:
        yield
    except Exception as error:
        add(error, note)
        raise


def _is_raised_by_jax(error: Exception) -> bool:
    # `jax.lax.map` over what has no axes asks for the first one all the same. JAX removes its frames, and says so.
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    module = at.tb_frame.f_globals.get("__name__", "") if at is not None else ""
    removed = any("JAX has removed" in note for note in getattr(error, "__notes__", ()))
    return removed or module.partition(".")[0] == "jax"
