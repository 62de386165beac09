"""Errors of the facade.

Each says first what TensorFlow would say, and then what jscope knows beyond that: where the variable was created, which
scope set reuse. Each is both an error of jscope's and of TensorFlow's class, so that old `except ValueError:` blocks
still work.
"""

from __future__ import annotations

from jscope.errors import JscopeError, MissingVariableError


class MissingReuseError(MissingVariableError, ValueError):
    """A variable that does not exist was asked for under `reuse=True`. TensorFlow's class is `ValueError`."""


class ArgumentError(JscopeError, ValueError):
    """An argument has a value that TensorFlow refuses with a `ValueError`."""


class ArgumentTypeError(JscopeError, TypeError):
    """An argument has a type that TensorFlow refuses with a `TypeError`."""


class NestingError(JscopeError, RuntimeError):
    """A scope was left while another one, which was entered later, was still open."""


class NoGraphError(JscopeError, RuntimeError):
    """A function of the facade was called outside `tf1.transform`."""


def advised(sentence: str, *advice: str) -> str:
    """Returns a message: TensorFlow's sentence, and below it what to do.

    >>> print(advised("Variable v does not exist.", "", "Create it first."))
    Variable v does not exist.
    Create it first.
    """
    return "\n".join([sentence, *filter(None, advice)])
