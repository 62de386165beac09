"""What each device holds, as text made from shapes and shardings, never from values.

So it works for arrays whose parts are on other machines, and for specs with shardings, which have no values yet.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
from jax.sharding import AbstractMesh, NamedSharding, Sharding

from jscope import _path
from jscope._specs import Specs
from jscope._types import Shape
from jscope._util._show import table
from jscope.sharding._rules import ShardingError
from jscope.sharding._shardings import flat, matched

Device: TypeAlias = Any
"""A `jax.Device`, which type checkers do not take for a type."""


@dataclass(frozen=True, slots=True)
class Held:
    """An array as its devices hold it."""

    name: str
    shape: Shape
    dtype: Any
    sharding: Sharding

    @property
    def part(self) -> Shape:
        """The shape of what one device holds."""
        return self.sharding.shard_shape(self.shape)

    @property
    def cuts(self) -> list[int]:
        """The number of parts that each axis is cut into."""
        # An axis of size 0 has parts of size 0.
        return [size // part if part else 1 for size, part in zip(self.shape, self.part, strict=True)]

    @property
    def bytes(self) -> int:
        """The number of bytes on one device."""
        return math.prod(self.part) * self.dtype.itemsize

    @property
    def split(self) -> str:
        """What each axis is split over, or `-`."""
        if isinstance(self.sharding, NamedSharding):
            # A `PartitionSpec` may be shorter than the shape: the last axes are whole then.
            spec = (*self.sharding.spec, *(None,) * len(self.shape))[: len(self.shape)]
            return ", ".join(" + ".join(each) if isinstance(each, tuple) else each or "-" for each in spec) or "()"
        return ", ".join(f"1/{cut}" if cut > 1 else "-" for cut in self.cuts) or "()"

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def show(tree: Any, shardings: Any = None) -> str:
    """Returns a table that shows how each variable is split, and how many bytes each device holds.

    >>> mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    >>> def layer(scope):
    ...     w = scope.get_variable("w", (16, 64), axes=("embed", "mlp"))
    ...     return w, scope.get_variable("b", (64,), axes=("mlp",))
    >>> rules = jscope.sharding.tensor_parallel() | jscope.sharding.fsdp()
    >>> specs = jscope.specs(layer)
    >>> print(show(specs, jscope.sharding.shardings(specs, mesh, rules)))
    name   array             split         parts   copies   bytes on a device
    w      float32[16, 64]   data, model   8       1        512
    b      float32[64]       model         2       4        128
    2 arrays of 4,352 bytes: 640 bytes on each of 8 devices

    Args:
      tree: Any pytree of arrays (also of those that are spread over several processes) or of
        `jax.ShapeDtypeStruct`s with shardings; or specs.
      shardings: For specs and other trees whose leaves have no shardings: what `jscope.sharding.shardings` returns,
        or one sharding for all. Their mesh may be a `jax.sharding.AbstractMesh`.

    Raises:
      ShardingError: A leaf has no sharding.
      StructureMismatchError: `tree` and `shardings` differ in their names.
    """
    held, rows = list(_held(tree, shardings)), []
    for one in held:
        parts = math.prod(one.cuts)  # How many different parts there are; each may be on several devices.
        copies = one.sharding.num_devices // parts
        rows.append((one.name, str(one), one.split, str(parts), str(copies), f"{one.bytes:,}"))
    header = ("name", "array", "split", "parts", "copies", "bytes on a device")
    return f"{table(header, rows)}\n{_summary(held)}"


def bytes_per_device(tree: Any, shardings: Any = None) -> dict[Device, int]:
    """Returns how many bytes each device holds; the arguments are those of `show`.

    >>> mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    >>> sorted(bytes_per_device({"w": jnp.zeros(16)}, split).values())
    [8, 8, 8, 8, 8, 8, 8, 8]
    """
    return _loads(_held(tree, shardings))


def picture(array: Any, sharding: Sharding | None = None) -> str:
    """Returns a map of one array that shows the ids of the devices that hold each part.

    >>> mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    >>> split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("model", None))
    >>> print(picture(jnp.zeros((8, 4)), split))
    float32[8, 4]: model, -
    axis 0   cpu
    0:4      0, 2, 4, 6
    4:8      1, 3, 5, 7

    The rows are the parts of the first axis that is split, the columns those of the other split axes. Where there are
    several processes, `1:2048` is device 2048, in process 1.

    Args:
      array: An array, a `jax.ShapeDtypeStruct` or a spec.
      sharding: Its sharding, where `array` does not have one.

    Raises:
      ShardingError: There is no sharding.
    """
    (one,) = _held({"array": array}, sharding)
    split = [i for i, cut in enumerate(one.cuts) if cut > 1]
    cells: dict[tuple[Any, ...], list[Device]] = {}
    # A cell of the map is one part; several devices are in it where they hold copies of that part.
    for device, index in one.sharding.devices_indices_map(one.shape).items():
        cells.setdefault(tuple(_range(index[i], one.shape[i]) for i in split), []).append(device)
    starts = [range(0, one.shape[i], one.part[i]) for i in split]
    labels = [[f"{start}:{start + one.part[i]}" for start in each] for i, each in zip(split, starts, strict=True)]
    columns = list(itertools.product(*labels[1:]))
    platform = next(iter(one.sharding.device_set)).platform
    names = [
        ", ".join(f"axis {i}: {at}" for i, at in zip(split[1:], each, strict=True)) or platform for each in columns
    ]
    rows = [(row, *(_ids(cells[(row, *each)]) for each in columns)) for row in labels[0]] if split else []
    corner = f"axis {split[0]}" if split else "all"
    return f"{one}: {one.split}\n" + table((corner, *names), rows or [("", _ids(cells[()]))])


def _held(tree: Any, shardings: Any) -> Iterator[Held]:
    """Yields every array of a tree with its sharding; specs in the order in which they were created."""
    for name, leaf, sharding in _with_shardings(tree, shardings):
        if not isinstance(sharding, Sharding):
            raise ShardingError(
                f"`{name}` ({type(leaf).__name__}) has no sharding.\n"
                "Pass the shardings as the second argument, `jscope.sharding.show(specs, shardings)`, "
                "or pass arrays that are on their devices."
            )
        yield Held(name, tuple(leaf.shape), leaf.dtype, sharding)


def _with_shardings(tree: Any, shardings: Any) -> list[tuple[str, Any, Any]]:
    """Returns `(path, leaf, sharding)` of every leaf; the sharding is None where there is none."""
    leaves = dict(flat(tree)) if isinstance(tree, Specs) else _named(tree)
    if shardings is None:
        return [(name, leaf, getattr(leaf, "sharding", None)) for name, leaf in leaves.items()]
    found = matched(leaves, shardings if isinstance(shardings, Sharding) else _named(shardings))
    return [(name, leaf, found[name]) for name, leaf in leaves.items()]


def _named(tree: Any) -> dict[str, Any]:
    """Returns the leaves of any pytree by path."""
    # Not `tree.flatten`: the state of an optimizer has tuples and dataclasses in it.
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator=_path.SEPARATOR): leaf for path, leaf in leaves}


def _is_abstract(sharding: Sharding) -> bool:
    return isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, AbstractMesh)


def _loads(held: Iterable[Held]) -> dict[Device, int]:
    loads: Counter[Device] = Counter()
    for one in held:
        loads.update(dict.fromkeys(one.sharding.device_set, one.bytes))
    return {device: loads[device] for device in sorted(loads, key=lambda device: device.id)}


def _summary(held: list[Held]) -> str:
    total = sum(math.prod(one.shape) * one.dtype.itemsize for one in held)
    # The devices of a mesh that has none yet all hold the same.
    abstract = [one for one in held if _is_abstract(one.sharding)]
    same = [sum(one.bytes for one in held)] * max((one.sharding.num_devices for one in abstract), default=0)
    loads = same or _loads(held).values()
    least, most = min(loads, default=0), max(loads, default=0)
    each = f"{most:,} bytes on each" if least == most else f"{least:,} to {most:,} bytes on each"
    return f"{_count(len(held), 'array')} of {total:,} bytes: {each} of {_count(len(loads), 'device')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _range(index: slice, size: int) -> str:
    start, stop, _ = index.indices(size)
    return f"{start}:{stop}"


def _ids(devices: list[Device]) -> str:
    several = jax.process_count() > 1  # With one process, its number would only be noise.
    return ", ".join(f"{device.process_index}:{device.id}" if several else str(device.id) for device in devices)
