"""From a row of the table to a function with TensorFlow's arguments.

A kernel is a function of arrays, which knows neither tensors nor names. `operation` gives it the signature that the row
says: the function takes tensors, variables, arrays and constants, and returns tensors. What is computed of static
values only is static.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from jscope.errors import MissingRngError
from jscope.tf1 import _dtypes
from jscope.tf1._arrays import LISTS, ArrayLike, is_list
from jscope.tf1._tensors import Tensor, TensorLike, Undrawn, is_remakable, remade, tensor

Kernel = Callable[..., Any]
"""A function of arrays, with positional arguments in the order of the signature, less `name`."""

_STATIC = (np.ndarray, np.generic)

Function = TypeVar("Function", bound=Callable[..., Any])


def takes_tensors(kernel: Function) -> Function:
    """Marks a kernel that is given tensors and constants as they are."""
    kernel.takes_tensors = True  # pyright: ignore[reportFunctionMemberAccess]
    return kernel


def never_static(kernel: Function) -> Function:
    """Marks a kernel that is asked for arrays, which may be large, though all that it is given is static."""
    kernel.never_static = True  # pyright: ignore[reportFunctionMemberAccess]
    return kernel


def operation(name: str, signature: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function of a row.

    The signature is Python's, with two additions: `~dim:axis` is a deprecated name, `dim`, of the argument `axis`;
    `-layout=None` is an argument that has no effect.

    >>> double = operation("double", "x, scale=2, name=None, ~factor:scale", jax.numpy.multiply)
    >>> double(2), double(3, factor=5, name="a").name
    (<tf1.Tensor 'Double:0' shape=() dtype=int32>, 'a:0')
    """
    parameters = [part.strip() for part in _split(signature)]
    shown = ", ".join(map(_parameter, parameters))
    given = "".join(f"{_argument(part, parameters)}, " for part in parameters if _is_passed(part))
    named = "name" if any(part.startswith("name") for part in parameters) else "None"
    scope = {"_call": call, "_kernel": kernel, "_op": _op_name(name), **_DEFAULTS}
    # As `namedtuple` does: a function that is made of its text has a true signature, and is as fast as any.
    made = eval(f"lambda {shown}: _call(_kernel, ({given}), {named} or _op)", scope)
    made.__name__, made.__qualname__, made.__module__ = name.rpartition(".")[2], name, "jscope.tf1"
    made.__doc__ = f"TensorFlow's `tf.{name}`."
    return made


def call(kernel: Callable[..., Any], arguments: tuple[Any, ...], name: str | None) -> Any:
    """Returns the tensors of what a kernel makes of the arguments."""
    if not (hasattr(kernel, "never_static") or any(map(_is_traced, arguments))):
        # Also under `jax.jit`: a shape that is computed of shapes must be known.
        with jax.ensure_compile_time_eval():
            return as_tensors(jax.tree.map(_as_static, _run(kernel, arguments)), name)
    try:
        out = as_tensors(_run(kernel, arguments), name)
    except MissingRngError as error:
        # An error only where it is used: `tf1.Variable(tf1.random_normal(shape))` needs no key but in `init`.
        out = Undrawn(error, name)
    # Nearly always the first argument was computed of data, which is the quickest to tell.
    if isinstance(out, Tensor) and not _is_of_data(arguments) and all(map(is_remakable, arguments)):
        # For `tf1.Variable(out)`: drawn again with the variable's own key, as TensorFlow runs the operation anew for
        # each initial value.
        out.recipe = lambda: _run(kernel, [remade(each) for each in arguments])
    return out


def _is_of_data(arguments: Sequence[Any]) -> bool:
    first: Any = arguments[0] if arguments else None
    return first.__class__ is Tensor and first.recipe is None and not isinstance(first.value(), _STATIC)


def _run(kernel: Kernel, arguments: Sequence[Any]) -> Any:
    return kernel(*(arguments if hasattr(kernel, "takes_tensors") else map(plain, arguments)))


def plain(value: Any) -> Any:
    """Returns an argument without tensors; of those in a list, their arrays."""
    # Nearly all arguments are tensors, and to ask by class is the quickest.
    if value.__class__ is Tensor:
        return value.value()
    if isinstance(value, ArrayLike):
        return value.operand() if isinstance(value, TensorLike) else value.value()
    return [plain(item) for item in value] if isinstance(value, LISTS) and is_list(value) else value


def as_tensors(out: Any, name: str | None = None) -> Any:
    """Returns what a kernel returned with tensors in place of arrays."""
    if isinstance(out, jax.Array | np.ndarray | np.generic):
        return tensor(out, name)
    if isinstance(out, list):
        return [as_tensors(item, name) for item in out]
    if isinstance(out, tuple):
        items = [as_tensors(item, name) for item in out]
        # Old code asks for the names of `top_k` and `unique`: their results stay named tuples.
        return out._make(items) if hasattr(out, "_make") else tuple(items)  # pyright: ignore[reportAttributeAccessIssue]
    return {key: as_tensors(item, name) for key, item in out.items()} if isinstance(out, dict) else out


def _is_traced(value: Any) -> bool:
    if isinstance(value, ArrayLike):
        # A variable is never static, even where the params are NumPy's arrays: under `jax.jit` they would not be.
        return value.__class__ is not Tensor or isinstance(value.value(), jax.Array)
    if isinstance(value, LISTS) and is_list(value):
        return any(map(_is_traced, value))
    return isinstance(value, jax.Array)


def _as_static(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, jax.Array) else value


def _split(signature: str) -> list[str]:
    """Splits at the commas that stand outside brackets."""
    parts, depth = [""], 0
    for letter in signature:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _parameter(part: str) -> str:
    return f"{part[1:].partition(':')[0]}=None" if part.startswith("~") else part.removeprefix("-")


def _is_passed(part: str) -> bool:
    return not part.startswith(("~", "-", "name="))


def _argument(part: str, parameters: list[str]) -> str:
    name = part.partition("=")[0]
    for other in parameters:
        old, _, new = other.removeprefix("~").partition(":")
        if other.startswith("~") and new == name:
            return f"({name} if {old} is None else {old})"
    return name


def _op_name(name: str) -> str:
    # Without a name TensorFlow calls an operation by its class: `tf.reduce_sum` makes `Sum`, `tf.nn.bias_add`
    # `BiasAdd`.
    words = name.rpartition(".")[2].removeprefix("reduce_").split("_")
    return "".join(word[:1].upper() + word[1:] for word in words)


_DEFAULTS = {**{name: getattr(_dtypes, name) for name in ("float32", "int32", "int64")}, "bool": _dtypes.bool_}
