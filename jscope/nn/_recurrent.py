"""A recurrent network is a cell, scanned over time: one set of variables, one step compiled.

`recurrent` runs any cell `cell(scope, carry, x, ...) -> (carry, y)`, yours as well. Time is the second axis of inputs
and outputs, and outputs stand where their inputs stood, in both directions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jscope._scope import Scope
from jscope.lift import scan
from jscope.nn._cells import gru, lstm, rnn
from jscope.nn._conv_lstm import conv_lstm, zero_image
from jscope.nn._gates import MASKS, pair_of_zeros, zeros_for
from jscope.nn._layer import check_rank, check_size, described, refuse

Merge = Literal["concat", "sum", "mul", "ave"]


def recurrent(
    cell: Callable[..., tuple[Any, Any]],
    scope: Scope,
    xs: jax.Array,
    *args: Any,
    lengths: jax.Array | None = None,
    reverse: bool = False,
    initial: Any = None,
    unroll: int | bool = 1,
    **options: Any,
) -> tuple[Any, Any]:
    """Runs a cell over time: `(batch, time, ...) -> (batch, time, ...)`, and its last carry.

    >>> model = jscope.transform(lambda scope, xs_btd: jscope.nn.recurrent(jscope.nn.lstm, scope / "lstm", xs_btd, 5))
    >>> xs_btd = jnp.ones((2, 7, 3))
    >>> params = model.init(jax.random.key(0), xs_btd)
    >>> ys_btu, (h_bu, c_bu) = model.apply(params, xs_btd)
    >>> ys_btu.shape, h_bu.shape, params["lstm"]["kernel"].shape
    ((2, 7, 5), (2, 5), (3, 20))

    Args:
      cell: `nn.lstm`, `nn.gru`, `nn.rnn`, `nn.conv_lstm`, a `functools.partial` of one, or a function of your own. All
        steps draw the same random keys from the streams `"dropout"` and `"recurrent_dropout"`, so that what these cells
        drop is the same in all steps (Gal and Ghahramani, 2016, https://arxiv.org/abs/1512.05287); others differ.
      scope: That of the cell; all steps share its variables.
      xs: The inputs, of shape (batch, time, ...).
      *args: What the cell takes after its input, such as `units`.
      lengths: How many steps of each example count, integers of shape (batch,). Afterwards the carry stays as it is,
        and outputs are zero.
      reverse: Whether to run from the last step (of those that count) to the first.
      initial: The first carry; zeros if None, which a cell of your own has to be given.
      unroll: How many steps one step of the compiled loop takes.
      **options: The keywords of the cell.

    Returns:
      The outputs, and the carry after the last step that counts.
    """
    _check_order("recurrent", cell, scope)
    check_rank(scope, "recurrent", xs, "(batch, time, ...)", least=2)
    _check_lengths(scope, xs, lengths)

    # For messages, it is the cell.
    @functools.wraps(cell)
    def step(scope: Scope, carry: Any, x: Any) -> tuple[Any, Any]:
        x, time = (x, None) if lengths is None else x
        out = cell(scope, carry, x, *args, **options)
        if not isinstance(out, tuple | list) or len(out) != 2:
            refuse(scope, "recurrent", f"the cell returned {described(out)}", "It should return a pair, `(carry, y)`.")
        after, y = out
        if time is None:
            return after, y
        counts = time < lengths
        # Backwards, the steps that do not count come first, and leave the initial carry alone. So nothing has to be
        # turned around by lengths, as Flax does it.
        kept = jax.tree.map(lambda new, old: _where(counts, new, old), after, carry)
        return kept, jax.tree.map(lambda y: _where(counts, y, jnp.zeros_like(y)), y)

    # Not `named`, as other layers are: the first argument is the cell.
    with scope:
        if initial is None:
            one = jax.ShapeDtypeStruct((xs.shape[0], *xs.shape[2:]), xs.dtype)
            initial = zero_carry(scope, cell, one, args, options)
        # Time is second in Keras and the data of most people; a scan runs over what is first.
        steps = jnp.moveaxis(xs, 1, 0)
        inputs = steps if lengths is None else (steps, jnp.arange(len(steps), dtype=jnp.int32))
        # All steps share all variables (the regex `""` matches any), and the keys of what is dropped.
        carry, ys = scan(step, scope, initial, inputs, reverse=reverse, unroll=unroll, shared="", rng=MASKS)
        return jax.tree.map(lambda y: jnp.moveaxis(y, 0, 1), ys), carry


def bidirectional(
    cell: Callable[..., tuple[Any, Any]],
    scope: Scope,
    xs: jax.Array,
    *args: Any,
    merge_mode: Merge | None = "concat",
    lengths: jax.Array | None = None,
    initial: tuple[Any, Any] = (None, None),
    unroll: int | bool = 1,
    **options: Any,
) -> tuple[Any, tuple[Any, Any]]:
    """Runs a cell over time in both directions, with variables of its own for each: in `forward` and `backward`.

    >>> model = jscope.transform(lambda scope, xs_btd: jscope.nn.bidirectional(jscope.nn.gru, scope, xs_btd, 5))
    >>> params = model.init(jax.random.key(0), jnp.ones((2, 7, 3)))
    >>> ys, (last, first) = model.apply(params, jnp.ones((2, 7, 3)))
    >>> list(params), ys.shape
    (['forward', 'backward'], (2, 7, 10))

    Args:
      cell: As for `recurrent`.
      scope: Where the two scopes are.
      xs: The inputs, of shape (batch, time, ...).
      *args: What the cell takes after its input, such as `units`.
      merge_mode: What is made of the two outputs at each step: they are concatenated, added, multiplied or averaged; a
        pair if None.
      lengths: As for `recurrent`: the backward run begins at the last step that counts.
      initial: The first carry of each direction.
      unroll: As for `recurrent`.
      **options: The keywords of the cell.

    Returns:
      The outputs, and the last carry of each direction.

    (Keras's `Bidirectional`; Schuster and Paliwal, 1997, https://doi.org/10.1109/78.650093)
    """
    if merge_mode is not None and merge_mode not in _MERGE:
        refuse(scope, "bidirectional", f"`merge_mode` is {merge_mode!r}", f"It should be one of {[*_MERGE, None]}.")
    _check_order("bidirectional", cell, scope)
    if not isinstance(initial, tuple | list) or len(initial) != 2:
        refuse(
            scope,
            "bidirectional",
            f"`initial` is {described(initial)}",
            "Give a pair, the first carry of each direction.",
        )
    run = functools.partial(recurrent, cell, lengths=lengths, unroll=unroll)
    with scope:
        ys, last = run(scope / "forward", xs, *args, initial=initial[0], **options)
        zs, first = run(scope / "backward", xs, *args, initial=initial[1], reverse=True, **options)
        merged = (ys, zs) if merge_mode is None else jax.tree.map(_MERGE[merge_mode], ys, zs)
    return merged, (last, first)


def zero_carry(
    scope: Scope, cell: Callable[..., Any], x: jax.ShapeDtypeStruct, args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Returns the carry that a cell of ours starts with."""
    while isinstance(cell, functools.partial):
        cell, args, options = cell.func, (*cell.args, *args), {**cell.keywords, **options}
    if cell not in _ZEROS:
        refuse(
            scope,
            "recurrent",
            f"nothing says what the carry of `{getattr(cell, '__name__', cell)}` is before the first step",
            "Pass it as `initial=`, arrays of the shapes and dtypes that the cell returns.",
        )
    make, sizes, others = _ZEROS[cell]
    given = dict(zip(sizes, args, strict=False)) | options
    for name in sizes:
        if name not in given:
            advice = f"Say it after the inputs: `nn.recurrent(nn.{cell.__name__}, scope, xs, {', '.join(sizes)})`."
            refuse(scope, "recurrent", f"`nn.{cell.__name__}` is not told its `{name}`", advice)
    check_size(scope, cell.__name__, sizes[0], given[sizes[0]])
    return make(scope, x, **{name: given[name] for name in (*sizes, *others) if name in given})


_ZEROS: dict[Callable[..., Any], tuple[Callable[..., Any], tuple[str, ...], tuple[str, ...]]] = {
    rnn: (lambda _, x, units: zeros_for(x, units), ("units",), ()),
    gru: (lambda _, x, units: zeros_for(x, units), ("units",), ()),
    lstm: (lambda _, x, units: pair_of_zeros(x, units), ("units",), ()),
    conv_lstm: (zero_image, ("filters", "kernel_size"), ("strides", "padding", "dilation")),
}
"""How the carry of each cell starts, and on which of the cell's arguments it depends: those it needs, and options."""

_MERGE: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "concat": lambda y, z: jnp.concatenate([y, z], axis=-1),
    "sum": jnp.add,
    "mul": jnp.multiply,
    "ave": lambda y, z: (y + z) / 2,
}


def _where(counts_b: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(jnp.expand_dims(counts_b, tuple(range(1, new.ndim))), new, old)


def _check_order(layer: str, cell: Any, scope: Any) -> None:
    if not isinstance(scope, Scope) or not callable(cell):
        problem = f"it is given {described(cell)} and {described(scope)} first"
        refuse(None, layer, problem, f"Give the cell, its scope and the inputs: `nn.{layer}(nn.lstm, scope, xs, 32)`.")


def _check_lengths(scope: Scope, xs: jax.Array, lengths: jax.Array | None) -> None:
    if lengths is None:
        return
    is_array = hasattr(lengths, "shape") and hasattr(lengths, "dtype")
    if not is_array or lengths.shape != xs.shape[:1] or not jnp.issubdtype(lengths.dtype, jnp.integer):
        kind = type(lengths).__name__
        found = f"have shape {lengths.shape} and dtype {lengths.dtype}" if is_array else f"are a `{kind}`"
        advice = f"They should be an array of integers of shape {xs.shape[:1]}, one for each example of a batch."
        refuse(scope, "recurrent", f"the lengths {found}", advice)
