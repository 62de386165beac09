"""Finds what a name of TensorFlow's stands for: an operation of the table, or what to use in its place."""

from __future__ import annotations

import difflib
import functools
from typing import Any

from jscope.tf1._ops._absent import NotThereError, stand_in
from jscope.tf1._ops._call import operation
from jscope.tf1._ops._table import WHOLE, rows

ROWS = {name: (signature, kernel) for name, signature, kernel in rows()}
RENAMED = {
    "audio_summary": "summary.audio",
    "batch_matmul": "matmul",
    "complex_abs": "abs",
    "concat_v2": "concat",
    "histogram_summary": "summary.histogram",
    "image_summary": "summary.image",
    "inv": "reciprocal",
    "merge_all_summaries": "summary.merge_all",
    "merge_summary": "summary.merge",
    "mul": "multiply",
    "neg": "negative",
    "op_scope": "name_scope",
    "pack": "stack",
    "scalar_summary": "summary.scalar",
    "select": "where",
    "sub": "subtract",
    "train.SummaryWriter": "summary.FileWriter",
    "unpack": "unstack",
}
"""What TensorFlow 1.0 took away, and what it calls it. Old files ask whether these are there: they must not be."""

SHARED = ("math", "linalg", "random", "debugging")
"""Namespaces that have much of what `tf` itself has, under the same names."""

OTHER_NAMES = {
    "assert_true": "Assert",
    "contrib.framework.argsort": "argsort",
    "contrib.framework.is_tensor": "is_tensor",
    "contrib.framework.sort": "sort",
    "linalg.adjoint": "matrix_transpose",
    "linalg.transpose": "matrix_transpose",
    "manip.reshape": "reshape",
    "random.set_seed": "set_random_seed",
}


@functools.cache
def find(prefix: str, name: str) -> Any:
    """Returns `tf.<prefix>.<name>`.

    Raises:
      NotThereError: There is none, and nobody knows what it might be.
    """
    full = f"{prefix}.{name}" if prefix else name
    full = OTHER_NAMES.get(full, full)
    # `tf.math.add` is `tf.add`. What has a row of its own there (`tf.math.softplus`) was found by its full name.
    if full not in ROWS and full not in WHOLE and prefix in SHARED and (name in ROWS or name in WHOLE):
        full = name
    if full in WHOLE:
        return WHOLE[full]
    if full in ROWS:
        return operation(full, *ROWS[full])
    found = stand_in(full)
    if found is not None:
        return found
    raise NotThereError(f"`jscope.tf1` has no `{full}`.{_guess(full)}")


def names(prefix: str) -> list[str]:
    """Lists what `find` finds in a namespace."""
    known = [*ROWS, *WHOLE]
    if not prefix:
        return [name for name in known if "." not in name]
    own = [name.removeprefix(f"{prefix}.") for name in known if name.startswith(f"{prefix}.")]
    return sorted({*own, *(name for name in ROWS if "." not in name and prefix in SHARED)})


def _guess(full: str) -> str:
    if full in RENAMED:
        return f" TensorFlow 1.0 has taken it away: use `tf.{RENAMED[full]}`."
    # The same word in another namespace is the likelier mistake: TensorFlow 2 has moved much of what TensorFlow 1 has.
    near = difflib.get_close_matches(full, [*ROWS, *WHOLE], 1, 0.75)
    last = full.rpartition(".")[2]
    same = [name for name in ROWS if name.rpartition(".")[2] == last]
    guess = (same or near)[:1]
    hint = f" Did you mean `tf.{guess[0]}`?" if guess else ""
    return (
        f"{hint}\n`docs/from_tf1.md` lists the operations that it has. Tensors go into every function of `jax.numpy`; "
        "`tf.convert_to_tensor` makes tensors of what comes out."
    )
