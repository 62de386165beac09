"""What can go wrong, one class per thing a user might want to catch.

    JscopeError
    ├── InvalidNameError       (ValueError)    a name that is no path component
    ├── InvalidArgumentError   (TypeError)     an argument of the wrong kind
    ├── DuplicateVariableError (ValueError)    created twice without reuse
    ├── MissingVariableError   (KeyError)      asked for, but not there
    ├── NameConflictError      (ValueError)    both a variable and a prefix of others
    ├── MismatchError          (ValueError)    found something other than what was asked
    │   ├── ShapeMismatchError
    │   ├── DTypeMismatchError
    │   └── StructureMismatchError             the one report of `Specs.check`
    ├── InitializerError       (ValueError)    an initial value that cannot be had
    ├── StateError             (RuntimeError)  state written or needed where it cannot be
    ├── MissingRngError        (RuntimeError)  randomness asked for without a key
    ├── ScopeEndedError        (RuntimeError)  a scope used outside the call it belongs to
    └── NativeTransformError   (RuntimeError)  a side effect inside a plain JAX transform

Every message says what, where (the full path), found versus asked, and what to do next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class JscopeError(Exception):
    """The base of every error that jscope raises on purpose."""


class InvalidNameError(JscopeError, ValueError):
    """A name is not a non-empty string of non-empty parts."""


class InvalidArgumentError(JscopeError, TypeError):
    """An argument is of the wrong kind: an initializer that cannot be called, params that are no dict."""


class DuplicateVariableError(JscopeError, ValueError):
    """A variable was created a second time where nothing allowed sharing it."""


class MissingVariableError(JscopeError, KeyError):
    """A variable was asked for that does not exist."""

    __str__ = Exception.__str__  # A KeyError would show the message as a quoted literal.


class NameConflictError(JscopeError, ValueError):
    """One path is both a variable and a prefix of other variables."""


class MismatchError(JscopeError, ValueError):
    """What was found differs from what was asked."""


class ShapeMismatchError(MismatchError):
    """A shape differs."""


class DTypeMismatchError(MismatchError):
    """A dtype differs."""


class StructureMismatchError(MismatchError):
    """Params do not fit the specs; the message is a complete report."""


class InitializerError(JscopeError, ValueError):
    """An initializer gave the wrong shape or dtype, or needs data that is not there."""


class StateError(JscopeError, RuntimeError):
    """State was written or needed where it cannot be."""


class MissingRngError(JscopeError, RuntimeError):
    """Randomness was asked for in a call that was given no key."""


class ScopeEndedError(JscopeError, RuntimeError):
    """A scope was used to create or write outside the `init` or `apply` call it belongs to."""


class NativeTransformError(JscopeError, RuntimeError):
    """Something was written inside a plain JAX transform, where it could only leak."""


@contextlib.contextmanager
def noting(note: str) -> Iterator[None]:
    """Adds to any error raised inside where it happened."""
    try:
        yield
    except Exception as error:
        error.add_note(f"jscope: {note}")
        raise
