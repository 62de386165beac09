"""A model and its inputs, as words on a command line.

    package.module:model --input "float32[8,224,224,3]" --input training=false

An input is the type of an array, a value as JSON has it, or something in a module, as the model is. `NAME=` before it
makes it a keyword, and `()` after the name of something in a module calls it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import sys
from typing import Any

import jax
import numpy as np

from jscope._util import _text
from jscope.errors import InvalidArgumentError

_ARRAY = re.compile(r"(\w+)\[([\d,\s]*)\]")
_KEYWORD = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_OBJECT = re.compile(r"[\w.]+:[\w.]+(\(\))?")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the model and its inputs to a command."""
    parser.add_argument("model", metavar="MODULE:MODEL", help="a function of a scope, or what `transform` made of one")
    parser.add_argument(
        "--input",
        dest="inputs",
        action="append",
        default=[],
        metavar="[NAME=]VALUE",
        help='the type of an array ("float32[8,3]"), a value as JSON has it, or MODULE:NAME; several times for several',
    )


def loaded(arguments: argparse.Namespace) -> tuple[Any, list[Any], dict[str, Any]]:
    """Returns the model, its arguments and its keyword arguments.

    Raises:
      InvalidArgumentError: There is no such model, or an input cannot be read.
    """
    # As for `python -m`, a module may be in the working directory.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    args, kwargs = [], {}
    for text in arguments.inputs:
        if match := _KEYWORD.fullmatch(text):
            kwargs[match[1]] = value_of(match[2])
        else:
            args.append(value_of(text))
    model = find(arguments.model)
    if not callable(model) and not hasattr(model, "specs"):
        raise InvalidArgumentError(f"`{arguments.model}` is not a model, but {model!r}: a function of a scope is one.")
    return model, args, kwargs


def value_of(text: str) -> Any:
    """Returns an input.

    >>> value_of("float32[8,3]"), value_of("false"), value_of('"same"')
    (ShapeDtypeStruct(shape=(8, 3), dtype=float32), False, 'same')

    Raises:
      InvalidArgumentError: It is none.
    """
    text = text.strip()
    if match := _ARRAY.fullmatch(text):
        with contextlib.suppress(TypeError, ValueError):
            shape = tuple(int(size) for size in match[2].split(",") if size.strip())
            return jax.ShapeDtypeStruct(shape, np.dtype(match[1]))
    # Before JSON, in which a name with a colon is an error.
    if _OBJECT.fullmatch(text):
        return find(text)
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(
            f"`--input {text}` cannot be read. It should be the type of an array, such as `float32[8,224,224,3]`, a "
            'value as JSON has it (`3`, `true`, `null`, `"same"`), or something in a module, `package.module:name`.'
        ) from error


def find(text: str) -> Any:
    """Returns what stands for `package.module:name`, called where the name ends in `()`.

    >>> find("jscope.nn:dense").__name__
    'dense'

    Raises:
      InvalidArgumentError: There is no such module, or nothing of this name in it.
    """
    module, colon, name = text.removesuffix("()").partition(":")
    if not (colon and module and name):
        raise InvalidArgumentError(f"`{text}` does not name a model. Write `package.module:model`.")
    value = _imported(module)
    for part in name.split("."):
        if not hasattr(value, part):
            near = _text.did_you_mean(part, [each for each in vars(value) if not each.startswith("_")])
            raise InvalidArgumentError(f"There is no `{part}` in `{module}`.{near}")
        value = getattr(value, part)
    return value() if text.endswith("()") else value


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # What the module itself imports and does not find is an error of its own.
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise
        raise InvalidArgumentError(
            f"There is no module `{module}`. It is looked for in {os.getcwd()} and in what is installed."
        ) from error
