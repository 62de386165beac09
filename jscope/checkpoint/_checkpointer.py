"""Saving the steps of a training, and going on from one."""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, SupportsIndex

import jax

from jscope import _path, tree
from jscope._specs import Specs
from jscope._util._gc import gc_paused
from jscope.checkpoint import _fit, _leaves, _processes
from jscope.checkpoint._errors import (
    CheckpointError,
    CheckpointExistsError,
    CorruptCheckpointError,
    UnsupportedCheckpointError,
)
from jscope.checkpoint._files import is_temporary, refusals
from jscope.checkpoint._processes import Lock, together
from jscope.checkpoint._reader import Reader
from jscope.checkpoint._step import (
    CURRENT,
    SPECS,
    STEP,
    VERSION,
    is_step,
    missing_step,
    open_step,
    read_specs,
    steps,
    write_step,
)
from jscope.errors import InvalidArgumentError
from jscope.tree._words import quoted

_ADVICE = "If this is what you mean: `jscope.checkpoint.restore(like, path)` can rename, select, initialize and cast."


class Checkpointer:
    """The checkpoints of one training, in one directory.

    >>> import tempfile
    >>> from jscope.checkpoint import Checkpointer
    >>> directory = tempfile.mkdtemp()
    >>> with Checkpointer(directory, keep=2) as checkpoints:
    ...     for step in range(3):
    ...         saved = checkpoints.save(step, params={"w": np.full(2, step)}, key=jax.random.key(0), loss=0.5)
    >>> checkpoints.steps()
    [1, 2]
    >>> checkpoints.restore(params={"w": np.zeros(2, int)}, loss=0.0)
    {'params': {'w': array([2, 2])}, 'loss': 0.5}

    A step is there when it is complete, and not before: whenever the process or the machine stops, the steps that were
    saved before can be read. Older ones are deleted only then. Several threads may save: one does after the other.

    Attributes:
      directory: Where steps are, each in a directory of its number.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        keep: int | None = None,
        every: int = 1,
        store: Literal["safetensors", "orbax"] = "safetensors",
    ) -> None:
        """Makes a checkpointer; the directory is made when the first step is saved.

        Args:
          directory: Where steps are, or will be. One `Checkpointer` at a time writes to it, from its first `save` on.
          keep: How many steps to keep; None is all.
          every: `save` does nothing at steps that are not a multiple of this.
          store: `"safetensors"` writes one file, and returns when it is on the disk. `"orbax"` returns when the arrays
            may change again, and writes on; it also takes arrays that are sharded over processes (all of them call
            `save`, with a directory that all of them see).
        """
        _check_count("keep", keep if keep is not None else 1)
        _check_count("every", every)
        if store not in ("safetensors", "orbax"):
            raise InvalidArgumentError(f'store={store!r} is neither "safetensors" nor "orbax".')
        self.directory = Path(
            directory
        ).absolute()  # A program that changes its working directory goes on saving there.
        self._keep, self._every = keep, every
        self._orbax = importlib.import_module("jscope.checkpoint._orbax._store") if store == "orbax" else None
        self._lock: Lock | None = None
        self._pending: Any = None
        self._saving = -1
        # Reentrant, since `save` waits for the one before.
        self._mutex = threading.RLock()
        _processes.disown_after_fork(self._disown)

    def save(self, step: SupportsIndex, /, *, specs: Specs | None = None, force: bool = False, **items: Any) -> bool:
        """Saves what was given by name as this step: params, state, the optimizer's state, a random key, ...

        Args:
          step: Its number, which no finished step has: an int, also one of NumPy or JAX.
          specs: The specs of the model, kept beside as JSON: see `specs`.
          force: Whether to save even where `every` says not to: the last step, say.
          **items: Any pytrees of arrays, random keys and Python numbers.

        Returns:
          Whether it was saved, or saving has begun; False where `every` says not to save.

        Raises:
          CheckpointExistsError: This step is there already.
          CheckpointLockedError: Another `Checkpointer` writes to the directory.
          CheckpointWriteError: The disk is full, or the directory read-only; from Orbax perhaps only at the next call.
          UnsupportedCheckpointError: A leaf cannot be saved, or needs the other store.
        """
        step = _checked_step(step)
        if step % self._every and not force:
            return False
        with self._mutex:
            self._save(step, specs, items)
        return True

    def _save(self, step: int, specs: Specs | None, items: dict[str, Any]) -> None:
        with together(f"`{self.path(step)}` is not saved", shared=self._orbax is not None):
            self.wait()
            arrays, kinds = _leaves.to_arrays(_leaves.flatten(items))
            self._check_processes(arrays)
            # After all that may be wrong with the arrays: who is refused leaves no lock and no directory behind.
            self._prepare(step)
        metadata = _leaves.with_kinds({VERSION: CURRENT, STEP: str(step)}, kinds)
        if self._orbax is None:
            write_step(self.path(step), arrays, metadata, specs)
            self._prune(step)
            return
        entries = metadata if specs is None else metadata | {SPECS: specs.to_json()}
        self._pending, self._saving = self._orbax.save(self.path(step), arrays, entries), step
        if not _processes.awaited(self.wait):
            self.wait()

    @gc_paused()
    def restore(self, step: SupportsIndex | None = None, /, **like: Any) -> dict[str, Any]:
        """Returns what was saved as a step, by name; of the latest step, if none is given.

        Args:
          step: The number of the step.
          **like: For each item that is wanted, its structure: `Specs`, or a pytree of arrays or
            `jax.ShapeDtypeStruct`s, whose shardings tell where to put values. `...` returns an item as it was stored,
            in nested dicts of NumPy arrays. Without any, all items come so.

        Raises:
          MissingCheckpointError: There is no such step; the message lists those that there are.
          StructureMismatchError: One report of everything missing, unexpected, mis-shaped and mis-typed.
          CorruptCheckpointError: Files are damaged.
        """
        return self._read(step, lambda reader: self._restored(reader, like))

    def steps(self) -> list[int]:
        """Returns the numbers of the finished steps, in order."""
        return steps(self.directory)

    def latest_step(self) -> int | None:
        """Returns the highest number of a finished step, whenever it was saved, or None where there is none."""
        return max(self.steps(), default=None)

    def specs(self, step: SupportsIndex | None = None, /) -> Specs:
        """Returns the specs that were saved with a step, with callables by their names."""
        return self._read(step, lambda reader: read_specs(self.path(int(reader.metadata[STEP])), reader))

    def path(self, step: SupportsIndex, /) -> Path:
        """Returns the directory of a step: for `restore`, or to copy it elsewhere."""
        return self.directory / str(_checked_step(step))

    def wait(self) -> None:
        """Waits until what is being saved is on the disk, and raises what went wrong."""
        with self._mutex:
            pending, self._pending = self._pending, None
            if pending is not None:
                _processes.forget(self.wait)
                pending.result()
                self._prune(self._saving)

    def close(self) -> None:
        """Waits, and lets others write to the directory."""
        with self._mutex:
            try:
                self.wait()
            finally:
                self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Checkpointer({str(self.directory)!r}, {len(self.steps())} steps)"

    def _disown(self) -> None:
        """In a forked child: the lock is the parent's, and so are the threads that save."""
        self._pending, self._mutex = None, threading.RLock()  # The old one may be held by a thread that is not here.
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _read(self, step: SupportsIndex | None, read: Callable[[Reader], Any]) -> Any:
        """Returns what `read` makes of a step; where a writer deletes the latest meanwhile, of the next latest."""
        self.wait()
        while True:
            found = self.latest_step() if step is None else _checked_step(step)
            if found is None or not is_step(self.path(found)):
                raise missing_step(self.directory, found)
            try:
                return read(self._open(found))
            except CheckpointError:
                # A step that is deleted loses its name first: what is still there has another fault.
                if is_step(self.path(found)):
                    raise

    def _open(self, step: int) -> Reader:
        reader = open_step(self.path(step))
        if VERSION not in reader.metadata:
            raise CorruptCheckpointError(
                f"`{self.path(step)}` lacks the metadata of a `Checkpointer`: they are damaged, or another program "
                "saved it. In the second case, `jscope.checkpoint.restore` reads it."
            )
        return reader

    def _restored(self, reader: Reader, like: Mapping[str, Any]) -> dict[str, Any]:
        names = list(reader.get_variable_to_dtype_map())
        items = {name: _path.parts(name)[0] for name in names}
        like = dict(like) or dict.fromkeys(items.values(), ...)
        # Items that are not named are neither unexpected nor read.
        stored = {name: name for name in names if like.get(items[name], None) is ...}
        shaped = {item: each for item, each in like.items() if each is not ...}
        wanted = {name: _fit.wanted_leaf(name, leaf) for name, leaf in _leaves.flatten(shaped).items()}
        asked = {name: name for name in names if items[name] in shaped}
        title = f"Step {reader.metadata.get(STEP)} in `{self.directory}` is not what is to be restored:"
        advice = _advice(like, items.values()) if wanted.keys() - asked.keys() else _ADVICE
        _fit.check(wanted, _fit.found_leaves(reader, asked), title=title, advice=advice)
        values = _fit.take(reader, asked | stored, wanted | _fit.found_leaves(reader, stored))
        as_stored = tree.unflatten({name: values[name] for name in stored})
        rebuilt = _leaves.rebuild(shaped, values.__getitem__)
        return {item: as_stored.get(item, {}) if each is ... else rebuilt[item] for item, each in like.items()}

    def _prepare(self, step: int) -> None:
        """Gets the lock, clears what an interrupted save left, and makes sure that the step is new."""
        if self._is_first() and self._lock is None:
            self._lock = Lock(self.directory)
            with refusals(self.directory):
                left = [entry for entry in self.directory.iterdir() if is_temporary(entry.name)]
            for entry in left:
                shutil.rmtree(entry, ignore_errors=True)
        if self.path(step).exists():
            raise CheckpointExistsError(
                f"`{self.path(step)}` is there already, and a step is never overwritten.\n"
                "To go on from it, restore it; to start anew, take another directory."
            )

    def _prune(self, saved: int) -> None:
        """Deletes the oldest of the steps before the one that was just saved."""
        if self._keep is None or not self._is_first():
            return
        # Later steps stay: they may be what a run that has gone back to an earlier one will be compared with.
        before = [step for step in self.steps() if step < saved]
        for step in before[: max(len(before) + 1 - self._keep, 0)]:
            # First it loses its name, at once, so that no reader meets a step of which a part is gone.
            doomed = self.path(step).with_name(f".{step}.tmp-deleted")
            with contextlib.suppress(OSError):  # It is tried again when the next lock is taken.
                os.rename(self.path(step), doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _is_first(self) -> bool:
        """Whether this process does what only one should."""
        return self._orbax is None or jax.process_index() == 0

    def _check_processes(self, arrays: Mapping[str, Any]) -> None:
        shared = next((name for name, array in arrays.items() if isinstance(array, jax.Array)), None)
        if self._orbax is None and shared is not None and jax.process_count() > 1:
            raise UnsupportedCheckpointError(
                f"`{shared}` is an array of a program of {jax.process_count()} processes, and safetensors files are "
                f'written by one. Use `Checkpointer({str(self.directory)!r}, store="orbax")`.'
            )


def _advice(like: Mapping[str, Any], items: Iterable[str]) -> str:
    """Returns what to do where something is missing: a misspelt item is missing as a whole, or a model's state."""
    there = dict.fromkeys(items)
    lines = [] if like.keys() <= there.keys() else [f"The items of this step are {quoted(there)}."]
    both = [item for item, each in like.items() if isinstance(each, Specs) and each.params and each.state]
    lines += [f"The specs for `{item}` list params and state; `specs.params` lists the former." for item in both]
    return "\n".join([*lines, _ADVICE])


def _checked_step(step: Any) -> int:
    """Returns a step as an int: what `operator.index` takes is one, but for true and false."""
    try:
        number = -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        number = -1
    if number < 0:
        raise InvalidArgumentError(f"A step must be a non-negative int, not {step!r} of type `{type(step).__name__}`.")
    return number


def _check_count(role: str, count: Any) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InvalidArgumentError(f"{role}={count!r} must be a positive int.")
