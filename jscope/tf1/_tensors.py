"""Tensors: what operations return, an array with the methods that TensorFlow code asks a tensor for.

A tensor is an array and a name. NumPy's arrays in it are *static*: they are values at the time of tracing, such as a
shape, and what is computed of them is static again. So `tf.reshape(x, [tf.shape(x)[0], -1])` works under `jax.jit`.

A tensor is a pytree, but it does not come out of a JAX transform again: there it becomes the array it stands for. So
JAX's own functions, of which many are such transforms inside (`jax.nn.relu`), compute with what they expect.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.interpreters.partial_eval import DynamicJaxprTracer

from jscope import _path
from jscope.errors import MissingRngError
from jscope.tf1 import _dtypes
from jscope.tf1._ambient import current_or_none
from jscope.tf1._arrays import ArrayLike, absolute, is_array, is_list, unwrap
from jscope.tf1._dtypes import DType
from jscope.tf1._errors import ArgumentError
from jscope.tf1._shapes import TensorShape, as_shape, shape_of

Static = np.ndarray | np.generic


@dataclass(frozen=True, slots=True)
class Op:
    """All that a tensor or variable has of TensorFlow's op: the name."""

    name: str


class TensorLike(ArrayLike):
    """What tensors and variables have in common: shape and dtype as TensorFlow has them, and operators."""

    __slots__ = ()

    recipe: Callable[[], Any] | None = None

    @property
    def shape(self) -> TensorShape:
        """The shape, which has `as_list()`, `ndims` and, in each dimension, `value`."""
        return shape_of(self.value().shape)

    def get_shape(self) -> TensorShape:
        """Returns the shape."""
        return self.shape

    @property
    def dtype(self) -> DType:
        """The dtype, equal to NumPy's, with TensorFlow's `base_dtype`, `is_floating`, `as_numpy_dtype`."""
        value = self.value()
        # Arrays of JAX have it; only of the others has JAX to be asked, which takes longer.
        return _dtypes.wrapped(value.dtype if isinstance(value, jax.Array) else jnp.result_type(value))

    # What to compute with. Params may be NumPy's arrays, which are not static for that.
    operand = ArrayLike.__jax_array__

    def __getitem__(self, index: Any) -> Any:
        indices = tuple(map(_index, index)) if isinstance(index, tuple) else _index(index)
        if self.recipe is not None:
            return of_recipes(lambda x: x.operand()[indices], (self,), "strided_slice")
        return result(self, None, self.operand()[indices], "strided_slice")

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


class Tensor(TensorLike):
    """What an operation returns, and what a function given to `tf1.transform` gets in place of arrays.

    >>> x = tensor(jnp.ones((2, 3)))
    >>> x.get_shape().as_list(), x.shape[1:].as_list(), x.dtype.name, (1.0 + x).shape.ndims
    ([2, 3], [3], 'float32', 2)
    """

    __slots__ = ("_name", "_scope", "_value", "recipe")

    def __init__(self, value: Any, name: str | None = None, scope: str = "") -> None:
        self._value = value
        # Apart: almost nobody asks for the name of what an operator returns, so it is joined where somebody does.
        self._name, self._scope = name, scope
        # What makes the value again, with another key, where it was made of nothing but constants.
        self.recipe: Callable[[], Any] | None = None

    @property
    def name(self) -> str:
        """The name of the operation, below the name scope, with a colon and a zero."""
        return f"{self.op.name}:0"

    @property
    def op(self) -> Op:
        """An object that has the name of the operation as `.name`."""
        return Op(_path.child(self._scope, self._name or "Tensor"))

    # Models ask for it in each of their layers, so without `value()`.
    @property
    def shape(self) -> TensorShape:
        """The shape, which has `as_list()`, `ndims` and, in each dimension, `value`."""
        return shape_of(self._value.shape)

    def value(self) -> Any:
        """Returns the array."""
        return self._value

    operand = value

    def set_shape(self, shape: Any) -> None:
        """Raises `ValueError` unless the tensor has this shape: here shapes are known."""
        wanted = as_shape(shape)
        if wanted is not None and not wanted.is_compatible_with(self.shape):
            raise ArgumentError(f"Tensor's shape {self.shape} is not compatible with supplied shape {wanted}.")

    def __repr__(self) -> str:
        return f"<tf1.Tensor '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


class Undrawn(Tensor):
    """A tensor of random numbers in a call without a key. To use it is an error, to begin a variable with it is not."""

    __slots__ = ("_error",)

    def __init__(self, error: Exception, name: str | None) -> None:
        super().__init__(None, name)
        self._error = error

    def value(self) -> Any:
        """Raises the error that says how to give the call a key."""
        raise self._error

    operand = value

    @property
    def shape(self) -> TensorShape:
        """Raises the same error."""
        return shape_of(self.value().shape)


def tensor(value: Any, name: str | None = None) -> Any:
    """Returns `value` as a tensor; tensors and variables are returned as they are, unless they get a name.

    >>> tensor(jnp.ones(2), "a").name, tensor([1, 2]).dtype.name, tensor(2.5).shape
    ('a:0', 'int32', ())
    """
    if isinstance(value, ArrayLike):
        if name is None:
            return value
        value = value.operand() if isinstance(value, TensorLike) else value.value()
    if not is_array(value):
        value = _dtypes.as_constant(value)
        # Static values have the dtype that they would have in JAX, which is that of what is computed with them.
        value = np.asarray(value, _dtypes.canonical(value.dtype))
    return Tensor(value, None) if name is None else _named(value, name)


def _named(value: Any, name: str) -> Tensor:
    ambient = current_or_none()
    return Tensor(value, name, "" if ambient is None else ambient.memory.name_stack)


def as_array(value: Any) -> Any:
    """Returns an array of JAX's; where it is one already, at once, which `jnp.asarray` does not."""
    return value if is_array(value) else jnp.asarray(value)


def is_static(value: Any) -> bool:
    """Whether a value is known while JAX traces."""
    return not is_array(value)


def is_remakable(value: Any) -> bool:
    """Whether a value is static or has a recipe, or all in a list are or do."""
    if value.__class__ is Tensor:
        return value.recipe is not None or is_static(value.value())
    if is_list(value):
        return all(map(is_remakable, value))
    return value.recipe is not None if isinstance(value, TensorLike) else is_static(value)


def remade(value: Any) -> Any:
    """Returns a value with new ones in the place of those that have a recipe."""
    if is_list(value):
        return [remade(item) for item in value]
    recipe = value.recipe if isinstance(value, TensorLike) else None
    return value if recipe is None else tensor(recipe())


def of_recipes(compute: Callable[..., Any], given: tuple[Any, ...], name: str | None) -> Any:
    """Returns the tensor of `compute(*given)`, of which something has a recipe; so has the tensor, where it can."""
    try:
        out = tensor(compute(*given), name)
    except MissingRngError as error:
        out = Undrawn(error, name)
    if is_remakable(list(given)):
        out.recipe = lambda: compute(*map(remade, given))
    return out


def below_name_scope(name: str) -> str:
    """Returns the full name of an operation."""
    ambient = current_or_none()
    scope = ambient.memory.name_stack if ambient is not None else ""
    return _path.child(scope, name) if scope else name


def result(one: Any, other: Any, value: Any, name: str) -> Any:
    """Returns what an operator has computed: a tensor, unless a variable met an array of JAX's."""
    # Code that computes with JAX's arrays goes on with them; only tensors, which stand on TensorFlow's side, spread.
    return value if not isinstance(one, Tensor) and is_array(other) else tensor(value, name)


def _index(index: Any) -> Any:
    if isinstance(index, slice):
        return slice(_index(index.start), _index(index.stop), _index(index.step))
    index = index.operand() if isinstance(index, TensorLike) else index
    # NumPy's arrays without axes are indices of their own kind to JAX, which do not fit into slices.
    return int(index) if isinstance(index, Static) and not np.ndim(index) and index.dtype.kind in "iu" else index


def operands(one: Any, other: Any) -> tuple[Any, Any]:
    """Returns two arrays that fit each other as TensorFlow would have them: constants take the dtype of tensors."""
    x = one.operand() if isinstance(one, TensorLike) else unwrap(one)
    y = other.operand() if isinstance(other, TensorLike) else unwrap(other)
    # Of two arrays, which is what most operators get, neither is a constant.
    if is_array(x) and is_array(y):
        return (x, y) if x.ndim == y.ndim else of_one_rank(x, y)
    return of_one_rank(_constant(one, x, y), _constant(other, y, x))


# JAX makes the attributes of its settings when it runs, so that type checkers don't know them.
_ranks: Callable[[], str] = lambda: getattr(jax.config, "jax_numpy_rank_promotion")  # noqa: B009, E731


def of_one_rank(x: Any, y: Any) -> tuple[Any, Any]:
    """Returns two arrays with as many axes in front of the smaller one as JAX asks for."""
    rank, wanted = np.ndim(x), np.ndim(y)
    # TensorFlow adds axes of itself. So does JAX, unless it is set to refuse; then it is done here.
    if rank == wanted or not rank or not wanted or _ranks() == "allow":
        return x, y
    return with_axes(x, wanted), with_axes(y, rank)


def with_axes(x: Any, rank: int) -> Any:
    """Returns an array of at least this rank, with axes of size 1 in front where it had fewer."""
    added = rank - x.ndim
    if added <= 0:
        return x
    shape = (1,) * added + x.shape
    # Static values stay static. Of others this is the equation that `jax.numpy` makes.
    return x.reshape(shape) if isinstance(x, Static) else lax.broadcast_in_dim(x, shape, range(added, rank))


def _constant(given: Any, value: Any, other: Any) -> Any:
    """Returns an operand; if it was given as a constant of NumPy's or as a list, in the dtype of the other one."""
    if isinstance(given, Static | list | tuple):
        value = np.asarray(jax.tree.map(unwrap, given)) if isinstance(given, list | tuple) else value
        dtype = getattr(other, "dtype", value.dtype)
        fits = jnp.issubdtype(dtype, jnp.inexact) or jnp.issubdtype(value.dtype, jnp.integer)
        value = np.asarray(value, dtype) if fits and value.dtype != bool else value
    elif (
        value.__class__ is int
        and not -(2**31) <= value < 2**31
        and jnp.issubdtype(getattr(other, "dtype", int), jnp.inexact)
    ):
        # The mask of many an attention (`-2 ** 32 + 1`): JAX takes an int for one of 32 bits whatever it meets.
        value = float(value)
    # JAX's arrays do not mix with static ones of any dtype that NumPy has.
    return jnp.asarray(value) if isinstance(value, Static) and isinstance(other, jax.Array) else value


_ON_LAX = {"add": lax.add, "sub": lax.sub, "mul": lax.mul, "truediv": lax.div}
_ON_LAX |= {"lt": lax.lt, "le": lax.le, "gt": lax.gt, "ge": lax.ge}
_ARRAYS: set[type] = set()
"""The classes of the arrays that were met so far: JAX has no public name for that of arrays that are not traced."""

_REAL = (np.float32, np.float64, np.float16, jnp.bfloat16.dtype.type)


# Once for both sides: `x + y` and `y + x` are one program to compile.
@functools.cache
def _compiled(word: str) -> Callable[[Any, Any], Any]:
    """Returns `operator.<word>` of two arrays, compiled."""
    # Where nothing is traced, this is called at once, and saves half of what `jax.numpy` takes to get to its own `jit`.
    return jax.jit(getattr(operator, word))


@functools.cache
def _computing(word: str) -> Callable[[Any, Any], Any]:
    """Returns `operator.<word>` of two operands: what `jax.numpy` computes, without its way to it."""
    function, on_lax, compiled = getattr(operator, word), _ON_LAX.get(word), _compiled(word)

    def compute(x: Any, y: Any) -> Any:
        if isinstance(x, Tracer) or isinstance(y, Tracer):
            ready = None if on_lax is None else _ready_for_lax(x, y)
            return function(x, y) if on_lax is None or ready is None else on_lax(*ready)
        # Of static values, the result is static.
        if not (isinstance(x, jax.Array) and isinstance(y, jax.Array)):
            return function(x, y)
        _ARRAYS.update((x.__class__, y.__class__))
        return compiled(x, y)

    return compute


def _ready_for_lax(x: Any, y: Any) -> tuple[Any, Any] | None:
    """Returns traced operands, if they are of one dtype of real numbers, as `lax` takes them; else None."""
    # `jax.numpy` traces a `jit` of its own for each `x + y`, in which it promotes. Operands of one dtype, which is what
    # TensorFlow asks for, need none of that: `lax` makes the same equation in a third of the time. Not so inside of
    # `grad`: what `jit` caches of the derivative, `lax` computes anew, in twice the time. Integers and bools are left
    # to `jax.numpy`, since `/` and `+` mean something else for them; so are weak types beside others.
    traced, other = (x, y) if x.__class__ is DynamicJaxprTracer else (y, x)
    if traced.__class__ is not DynamicJaxprTracer or traced.dtype.type not in _REAL:
        return None
    if other.__class__ is DynamicJaxprTracer:
        if x.dtype != y.dtype or x.weak_type != y.weak_type:
            return None
        if x.ndim == y.ndim or not x.ndim or not y.ndim:
            return x, y
        # A bias, say. Of shapes that do not fit JAX should speak as they are.
        fits = all(map(operator.eq, reversed(x.shape), reversed(y.shape)))
        return (with_axes(x, y.ndim), with_axes(y, x.ndim)) if fits else None
    if other.__class__ is not float or traced.weak_type:
        return None
    number = traced.dtype.type(other)
    return (traced, number) if traced is x else (number, traced)


def _operator(word: str, name: str) -> Callable[[Any, Any], Any]:
    function, compiled = _computing(word), _compiled(word)
    compute = lambda self, other: function(*operands(self, other))  # noqa: E731

    # Where nothing is traced, what is done around a program takes longer than the program. So of two arrays of one rank
    # nothing is asked but what they are; everything else goes the long way, to the same end.
    def operate(self: Any, other: Any) -> Any:
        is_like = isinstance(other, TensorLike)
        if self.recipe is not None or (is_like and other.recipe is not None):
            return of_recipes(compute, (self, other), name)
        if is_like and self.__class__ is Tensor:
            x, y = self._value, other.value()
            if x.__class__ in _ARRAYS and y.__class__ in _ARRAYS and len(x.shape) == len(y.shape):
                return _named(compiled(x, y), name)
        return result(self, other, compute(self, other), name)

    return operate


def _reflected(word: str, name: str) -> Callable[[Any, Any], Any]:
    function = _computing(word)
    compute = lambda self, other: function(*operands(other, self))  # noqa: E731

    def operate(self: Any, other: Any) -> Any:
        # Of two tensors Python asks the first one, so here the other one has no recipe.
        if self.recipe is not None:
            return of_recipes(compute, (self, other), name)
        return result(self, other, compute(self, other), name)

    return operate


def _unary(function: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    compute = lambda self: function(self.operand())  # noqa: E731
    return lambda self: tensor(compute(self), name) if self.recipe is None else of_recipes(compute, (self,), name)


_BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift"]
for _word in _BINARY:
    _plain = _word.rstrip("_")
    setattr(TensorLike, f"__{_plain}__", _operator(_word, _plain))
    setattr(TensorLike, f"__r{_plain}__", _reflected(_word, _plain))
for _word, _name in {"lt": "Less", "le": "LessEqual", "gt": "Greater", "ge": "GreaterEqual"}.items():
    setattr(TensorLike, f"__{_word}__", _operator(_word, _name))
for _word, _name in {"neg": "Neg", "pos": "Pos", "invert": "LogicalNot"}.items():
    setattr(TensorLike, f"__{_word}__", _unary(getattr(operator, _word), _name))
TensorLike.__abs__ = _unary(absolute, "Abs")  # pyright: ignore[reportAttributeAccessIssue]


for _kind in (Tensor, Undrawn):
    jax.tree_util.register_pytree_node(_kind, lambda t: ((t.value(),), None), lambda _, children: children[0])
