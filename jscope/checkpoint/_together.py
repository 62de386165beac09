"""The processes of one program: where one of them cannot go on, none does.

Otherwise the others would wait for it, for as long as JAX lets them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from jscope.checkpoint._errors import CheckpointError


@contextmanager
def together(what: str, *, shared: bool) -> Iterator[None]:
    """Runs a block in all processes; where one raises an error, the others raise one that names it.

    If it is not `shared`, by all processes, this does nothing.

    Raises:
      CheckpointError: `what` failed in another process.
    """
    problem = None
    try:
        yield
    except Exception as error:
        problem = error
    if shared and jax.process_count() > 1:
        troubled = np.flatnonzero(multihost_utils.process_allgather(np.array(problem is not None)))
        if problem is None and troubled.size:
            problem = CheckpointError(
                f"{what}: process {troubled[0]} of {jax.process_count()} cannot, and has raised an error that says why."
            )
    if problem is not None:
        raise problem
