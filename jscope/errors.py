"""There is one class for each thing that a user might want to catch.

    JscopeError
    ├── InvalidNameError       (ValueError)    not a name: empty, with an empty part, or not a string
    ├── InvalidArgumentError   (TypeError)     an argument of the wrong kind
    ├── DuplicateVariableError (ValueError)    created twice without reuse
    ├── MissingVariableError   (KeyError)      asked for, but not there
    ├── NameConflictError      (ValueError)    both a variable and a prefix of others
    ├── MismatchError          (ValueError)    found something other than what was asked
    │   ├── ShapeMismatchError
    │   ├── DTypeMismatchError
    │   └── StructureMismatchError             two trees do not fit: the report of `Specs.check`
    ├── InitializerError       (ValueError)    an initial value that cannot be made
    ├── StateError             (RuntimeError)  state written or needed where it cannot be
    ├── MissingRngError        (RuntimeError)  randomness asked for without a key
    ├── ScopeEndedError        (RuntimeError)  a scope used outside the call it belongs to
    └── NativeTransformError   (RuntimeError)  a side effect inside a plain JAX transform

Every message says what is wrong, where (the full path), what was found and what was asked for, and what to do next.
"""

from __future__ import annotations


class JscopeError(Exception):
    """The base of every error that jscope raises on purpose."""


class InvalidNameError(JscopeError, ValueError):
    """A name is not a non-empty string of non-empty parts."""


class InvalidArgumentError(JscopeError, TypeError):
    """An argument is of the wrong kind: an initializer that cannot be called, params that are not a dict."""


class DuplicateVariableError(JscopeError, ValueError):
    """A variable was created a second time, and nothing allowed sharing it."""


class MissingVariableError(JscopeError, KeyError):
    """A requested variable does not exist."""

    __str__ = Exception.__str__  # A KeyError would show the message as a quoted literal.


class NameConflictError(JscopeError, ValueError):
    """One path is both a variable and a prefix of other variables."""


class MismatchError(JscopeError, ValueError):
    """What was found differs from what was asked for."""


class ShapeMismatchError(MismatchError):
    """A shape differs."""


class DTypeMismatchError(MismatchError):
    """A dtype differs."""


class StructureMismatchError(MismatchError):
    """Two trees do not fit each other, such as params and specs; the message lists everything that differs."""


class InitializerError(JscopeError, ValueError):
    """An initializer cannot serve a shape or dtype, returned another one, or needs data that is not there."""


class StateError(JscopeError, RuntimeError):
    """State was written or needed where it cannot be."""


class MissingRngError(JscopeError, RuntimeError):
    """A random key was asked for in a call that was not given one."""


class ScopeEndedError(JscopeError, RuntimeError):
    """A scope was used to create or write outside the `init` or `apply` call it belongs to."""


class NativeTransformError(JscopeError, RuntimeError):
    """Something was written inside a plain JAX transform, where it could only leak."""
