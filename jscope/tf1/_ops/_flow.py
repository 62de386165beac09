"""Control flow: `tf.cond`, `tf.while_loop`, `tf.map_fn`, `tf.scan`, folds.

Where a choice is known while JAX traces, Python makes it. Elsewhere `jax.lax` does: its bodies get arrays and return
arrays, and here they get tensors and may return them. Outside `jax.jit` loops run in Python, step by step, because JAX
would compile each of them anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jscope.errors import DuplicateVariableError, NameConflictError
from jscope.tf1 import _bridge
from jscope.tf1._ambient import current_or_none, is_idle
from jscope.tf1._arrays import ArrayLike
from jscope.tf1._errors import ArgumentError, ArgumentTypeError
from jscope.tf1._ops._call import as_tensors, never_static, plain, takes_tensors
from jscope.tf1._ops._drawing import key_for_loop, loop_key
from jscope.tf1._ops._tensor_array import is_unwritten, made_like
from jscope.tf1._tensors import Tensor, as_array, tensor

_UNROLLED = 64
"""How many steps of a loop run in Python at most, if their number is known and JAX could run the loop as well."""


def is_eager() -> bool:
    """Whether a call runs outside all of JAX's transforms."""
    ambient = current_or_none()
    return ambient is not None and ambient.watch.untraced


class Repetition:
    """Goes back, before each further run of a body, to what the call knew before the first.

    To TensorFlow a body is one piece of the graph, whose variables are created once. So Python may run it often.
    """

    def __init__(self) -> None:
        self._ambient = current_or_none()
        self._memory = None if self._ambient is None else self._ambient.memory.copied()
        self._started = False

    def next(self) -> None:
        """Is called before each run."""
        if self._started and self._ambient is not None and self._memory is not None:
            self._ambient.memory = self._memory.copied()
        self._started = True


def arrays_of(tree: Any) -> Any:
    """Returns a tree with JAX's arrays in place of tensors, variables and numbers."""
    return jax.tree.map(lambda leaf: jnp.asarray(plain(leaf)), tree, is_leaf=_is_tensor)


def tensors_of(tree: Any) -> Any:
    """Returns a tree with tensors in place of arrays."""
    return jax.tree.map(tensor, tree, is_leaf=_is_tensor)


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, ArrayLike)


@never_static
@takes_tensors
def cond(pred: Any, true_fn: Any, false_fn: Any) -> Any:
    """What `true_fn()` returns if `pred`, otherwise what `false_fn()` returns."""
    if not (callable(true_fn) and callable(false_fn)):
        raise ArgumentTypeError(f"true_fn and false_fn must be callable, but are {true_fn!r} and {false_fn!r}.")
    pred = plain(pred)
    # Whoever decides, and whichever branch is taken: the same is drawn, here and afterwards.
    key = key_for_loop()

    def run(branch: Callable[[], Any]) -> Any:
        with loop_key(key, repeats=False):
            return branch()

    if_true, if_false = functools.partial(run, true_fn), functools.partial(run, false_fn)
    if not isinstance(pred, jax.Array):
        return _known_branch(if_true, if_false) if bool(pred) else _known_branch(if_false, if_true, after=True)
    if not isinstance(pred, Tracer):
        return _both_branches(if_true, if_false)[0 if bool(pred) else 1]
    # Two functions, because JAX would take one function for one branch.
    return tensors_of(jax.lax.cond(jnp.reshape(pred, ()), lambda: arrays_of(if_true()), lambda: arrays_of(if_false())))


def _known_branch(taken: Callable[[], Any], other: Callable[[], Any], *, after: bool = False) -> Any:
    """Returns what the branch that is taken returns; the other one runs for the variables that it creates.

    In a graph there are both: a batch norm that is written with `tf.cond` creates its averages where it trains, and
    reads them where it does not.
    """
    ambient = current_or_none()

    def run_other() -> None:
        if ambient is None:
            return
        ambient.in_idle_branch += 1
        try:
            with _bridge.undone():
                other()
        except (DuplicateVariableError, NameConflictError):
            raise
        except Exception:
            # It may not fit to the shapes of this call at all. TensorFlow, which does not know them, does not notice.
            pass
        finally:
            ambient.in_idle_branch -= 1

    if after:
        run_other()
    found = taken()
    if not after:
        run_other()
    return found


def _both_branches(true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> tuple[Any, Any]:
    """Runs both, since in a graph there are both: what one creates counts for the names of the other."""
    ambient = current_or_none()
    if ambient is None:
        return true_fn(), false_fn()
    ambient.in_branch += 1
    try:
        return true_fn(), false_fn()
    finally:
        ambient.in_branch -= 1


@never_static
@takes_tensors
def case(pairs: Any, default: Any) -> Any:
    """What the function of the first predicate that is true returns."""
    items = list(pairs.items() if isinstance(pairs, dict) else pairs)
    if default is None:
        *items, (_, default) = items
    found = default
    for pred, function in reversed(items):
        found = functools.partial(cond, pred, function, found)
    return found()


@never_static
@takes_tensors
def while_loop(condition: Any, body: Any, loop_vars: Any, invariants: Any, maximum: Any, same_structure: bool) -> Any:
    """The loop variables, after `body` ran as long as `condition` holds."""
    state = list(loop_vars) if isinstance(loop_vars, list | tuple) else [loop_vars]
    limit = None if maximum is None else int(plain(maximum))
    if is_idle():
        # Once, as it is in a graph: what would end the loop may be written in it, which has no effect here.
        limit = 1
    state, steps, done = _unroll(condition, body, tensors_of(state), limit, _changes_shapes(invariants))
    if not done:
        state = _lax_while(condition, body, state, None if limit is None else limit - steps)
    return state if len(state) > 1 or same_structure or isinstance(loop_vars, tuple) else state[0]


def _unroll(condition: Any, body: Any, state: Any, limit: int | None, all_of_it: bool) -> tuple[Any, int, bool]:
    """Runs steps in Python as long as it is known whether there is one more; says how many, and if that was all."""
    first, steps, repetition = state, 0, Repetition()
    while limit is None or steps < limit:
        going = plain(condition(*state))
        if isinstance(going, Tracer) or not (all_of_it or is_eager() or steps < _UNROLLED):
            # From the beginning: what was traced so far is not needed, and JAX leaves it out.
            return (first, 0, False) if steps < 2 or not isinstance(going, Tracer) else (state, steps, False)
        if not going:
            break
        repetition.next()
        with loop_key(None, steps):
            state = _next(body, state)
        steps += 1
    return state, steps, True


def _next(body: Any, state: list[Any]) -> list[Any]:
    found = body(*state)
    found = list(found) if isinstance(found, list | tuple) and len(state) == len(found) else [found]
    if len(found) != len(state):
        raise ArgumentError(f"body returned {len(found)} loop variables in place of {len(state)}.")
    return tensors_of(found)


def _changes_shapes(invariants: Any) -> bool:
    shapes = jax.tree.leaves(invariants, is_leaf=lambda leaf: isinstance(leaf, tuple))
    return any(None in tuple(shape) for shape in shapes if isinstance(shape, tuple | list))


def _lax_while(condition: Any, body: Any, state: list[Any], limit: int | None) -> Any:
    start, key = arrays_of(state), key_for_loop()
    if any(map(is_unwritten, jax.tree.leaves(start, is_leaf=is_unwritten))):
        # Of which shape they will be JAX wants to know before the first step.
        after = jax.eval_shape(lambda values: arrays_of(_next(body, tensors_of(values))), start)
        start = jax.tree.map(
            lambda old, new: made_like(old, new) if is_unwritten(old) else old, start, after, is_leaf=is_unwritten
        )

    def going(carry: Any) -> Any:
        step, values = carry
        with loop_key(None if key is None else jax.random.fold_in(key, step)):
            found = jnp.reshape(jnp.asarray(plain(condition(*tensors_of(values)))), ())
        return found if limit is None else found & (step < limit)

    def run(carry: Any) -> Any:
        step, values = carry
        with loop_key(None if key is None else jax.random.fold_in(key, step)):
            found = arrays_of(_next(body, tensors_of(values)))
        # A body that adds numbers of Python's may return another dtype, which JAX refuses in a carry.
        return step + 1, jax.tree.map(lambda old, new: new.astype(old.dtype), values, found)

    return tensors_of(jax.lax.while_loop(going, run, (jnp.int32(0), start))[1])


def loop(step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, length: int, reverse: bool = False) -> Any:
    """Runs `carry, y = step(carry, x)` over the first axis of `xs`; returns the last carry, and the `y`s stacked."""
    key = key_for_loop()
    keys = None if key is None else jax.random.split(key, length)

    def run(carry: Any, at: Any) -> tuple[Any, Any]:
        x, own = at
        with loop_key(own):
            after, y = step(tensors_of(carry), tensors_of(x))
        after, y = arrays_of(after), arrays_of(y)
        return jax.tree.map(lambda old, new: new.astype(old.dtype), carry, after), y

    carry, xs = arrays_of(carry), arrays_of(xs)
    if not is_eager():
        carry, ys = jax.lax.scan(run, carry, (xs, keys), length, reverse)
        return tensors_of(carry), tensors_of(ys)
    found, repetition = [None] * length, Repetition()
    # What TensorFlow creates once, in the body of its graph, Python meets in every step; `Repetition` makes one of
    # them.
    for i in reversed(range(length)) if reverse else range(length):
        repetition.next()
        carry, found[i] = run(carry, (jax.tree.map(lambda x, i=i: x[i], xs), None if keys is None else keys[i]))
    return tensors_of(carry), tensors_of(jax.tree.map(lambda *ys: jnp.stack(ys), *found) if length else None)


def _length(elems: Any) -> int:
    return np.shape(plain(jax.tree.leaves(elems, is_leaf=_is_tensor)[0]))[0]


@never_static
@takes_tensors
def map_fn(fn: Any, elems: Any) -> Any:
    """What `fn` returns for each entry of `elems` along the first axis, stacked."""
    return loop(lambda _, x: (None, fn(x)), None, elems, _length(elems))[1]


@never_static
@takes_tensors
def scan(fn: Any, elems: Any, initializer: Any, reverse: bool) -> Any:
    """What `fn(accumulated, x)` returns for each entry, stacked."""

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        after = fn(carry, x)
        return after, after

    if initializer is not None:
        return loop(step, initializer, elems, _length(elems), reverse)[1]
    # Without an initial value the first entry is one, and the first result as well.
    elems, at = arrays_of(elems), -1 if reverse else 0
    first = jax.tree.map(lambda x: x[at], elems)
    rest = jax.tree.map(lambda x: x[:-1] if reverse else x[1:], elems)
    found = loop(step, first, rest, _length(elems) - 1, reverse)[1]
    ends = (lambda y, f: [y, f[None]]) if reverse else (lambda y, f: [f[None], y])
    return tensors_of(jax.tree.map(lambda f, y: jnp.concatenate(ends(y, f)), first, arrays_of(found)))


def fold(*, reverse: bool) -> Callable[..., Any]:
    """Returns the kernel of `tf.foldl` or `tf.foldr`."""

    def kernel(fn: Any, elems: Any, initializer: Any) -> Any:
        elems = arrays_of(elems)
        if initializer is None:
            at = -1 if reverse else 0
            initializer = jax.tree.map(lambda x: x[at], elems)
            elems = jax.tree.map(lambda x: x[:-1] if reverse else x[1:], elems)
        step = lambda carry, x: (fn(carry, x), None)  # noqa: E731
        return loop(step, initializer, elems, _length(elems), reverse)[0]

    return never_static(takes_tensors(kernel))


@takes_tensors
def tuple_(tensors: Any) -> Any:
    """The tensors as they are: here everything runs in the order of the program."""
    return list(tensors)


@takes_tensors
def identity(value: Any) -> Any:
    """The tensor under another name."""
    return (
        value.__jax_array__()
        if not isinstance(value, Tensor) and isinstance(value, ArrayLike)
        else _plain_or_array(value)
    )


def _plain_or_array(value: Any) -> Any:
    found = plain(value)
    return found if isinstance(found, jax.Array | np.ndarray) else as_array(found)


@takes_tensors
def identity_n(values: Any) -> Any:
    """Tensors under other names."""
    return [identity(value) for value in values]


@takes_tensors
def stop_gradient(value: Any) -> Any:
    """The value, as a constant where gradients are taken."""
    found = plain(value)
    return jax.lax.stop_gradient(found) if isinstance(found, jax.Array) else as_tensors(found)


def custom_gradient(f: Any) -> Any:
    """TensorFlow's `tf.custom_gradient`: `f(*args)` returns its value and the function of the gradient.

    The gradient of variables that `f` reads goes around it, as `jax.custom_vjp` does not see them.
    """

    @functools.wraps(f)
    def run(*args: Any) -> Any:
        @jax.custom_vjp
        def pure(*arrays: Any) -> Any:
            return arrays_of(f(*tensors_of(arrays))[0])

        def forward(*arrays: Any) -> tuple[Any, Any]:
            return pure(*arrays), arrays

        def backward(arrays: Any, grads: Any) -> tuple[Any, ...]:
            # `f` runs again, because its function of the gradient holds on to tensors of the trace in which it was
            # made, and these must not get out of it. What both runs compute XLA computes once.
            back = f(*tensors_of(arrays))[1]
            found = back(*tensors_of(grads)) if isinstance(grads, list | tuple) else back(tensors_of(grads))
            found = found if isinstance(found, list | tuple) else (found,)
            return tuple(
                jnp.zeros_like(a) if g is None else arrays_of(g).astype(a.dtype)
                for a, g in zip(arrays, found, strict=True)
            )

        pure.defvjp(forward, backward)
        return tensors_of(pure(*arrays_of(args)))

    return run


def recompute_grad(f: Any) -> Any:
    """TensorFlow's `tf.recompute_grad`: what `f` computes is not kept for the gradient, but computed again."""

    @functools.wraps(f)
    def run(*args: Any) -> Any:
        return tensors_of(jax.checkpoint(lambda *arrays: arrays_of(f(*tensors_of(arrays))))(*arrays_of(args)))

    return run
