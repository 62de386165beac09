"""Where arrays go when they are read: to the host, to JAX's default device, or onto a sharding."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
import numpy as np
from jax.sharding import Sharding, SingleDeviceSharding

from jscope.checkpoint._reader import Reader


class Host(enum.Enum):
    """Stands for the host: the array stays one of NumPy."""

    HOST = "host"


HOST = Host.HOST
Place: TypeAlias = "Sharding | Host | None"
"""A sharding, `HOST`, or None: JAX's default device."""

_MANY, _SMALL, _BATCH = 1000, 1 << 12, 64
"""From so many arrays of one kind on, of up to so many bytes, it pays to compile how so many of them are parted."""


@runtime_checkable
class Placing(Protocol):
    """A reader that puts arrays in their places itself, each process its own parts: Orbax."""

    def load(self, places: Mapping[str, Place], /) -> dict[str, Any]:
        """Returns the arrays of these names, each in its place."""
        ...


@runtime_checkable
class Batched(Protocol):
    """A reader that reads several arrays faster than one after the other."""

    def get_arrays(self, names: Any, /) -> dict[str, np.ndarray]:
        """Returns the arrays of these names."""
        ...


def place_of(leaf: Any) -> Place:
    """Returns the place of an array, or that which an abstract array asks for.

    >>> place_of(np.zeros(2)), place_of(jax.ShapeDtypeStruct((2,), "float32"))
    (<Host.HOST: 'host'>, None)
    """
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf.sharding
    if isinstance(leaf, np.ndarray | np.generic | bool | int | float | complex):
        return HOST
    if isinstance(leaf, jax.Array) and not leaf.committed:
        return None
    return getattr(leaf, "sharding", None)


def load(reader: Reader, places: Mapping[str, Place]) -> dict[str, Any]:
    """Reads arrays and puts them in their places."""
    if isinstance(reader, Placing):
        return reader.load(places)
    if isinstance(reader, Batched):
        return put(reader.get_arrays(places), places)
    return put({name: reader.get_tensor(name) for name in places}, places)


def put(arrays: Mapping[str, np.ndarray], places: Mapping[str, Place]) -> dict[str, Any]:
    """Returns arrays of NumPy in their places; on the host, copies that one may write to.

    >>> put({"a": np.ones(2), "b": np.ones(2)}, {"a": HOST, "b": None})
    {'a': array([1., 1.]), 'b': Array([1., 1.], dtype=float32)}
    """
    placed: dict[str, Any] = {}
    groups: dict[Any, list[str]] = {}
    targets: dict[Place, Any] = {}
    for name, place in places.items():
        if place is HOST:
            placed[name] = np.array(arrays[name])
        elif place is None or place.is_fully_addressable:
            if place not in targets:
                targets[place] = _device(place)
            groups.setdefault((targets[place], arrays[name].shape, arrays[name].dtype), []).append(name)
        else:
            placed[name] = jax.make_array_from_callback(arrays[name].shape, place, arrays[name].__getitem__)
    # What is compiled under a mesh would be on all of it.
    one = jax.sharding.get_abstract_mesh().empty
    for (target, *_), names in groups.items():
        alike = [arrays[name] for name in names]
        small = len(alike) >= _MANY and alike[0].nbytes <= _SMALL
        is_device = target is None or isinstance(target, jax.Device)
        moved = _moved_together if small and one and is_device else jax.device_put
        placed |= zip(names, moved(alike, target), strict=True)
    return placed


def _moved_together(arrays: list[np.ndarray], device: Any) -> list[Any]:
    """Returns what `jax.device_put` would, in a fifth of its time for each array: it moves several as one."""
    batches = (arrays[start : start + _BATCH] for start in range(0, len(arrays), _BATCH))
    return [array for batch in batches for array in _parted(jax.device_put(np.stack(batch), device))]


@jax.jit
def _parted(stacked: jax.Array) -> list[jax.Array]:
    return [stacked[i] for i in range(len(stacked))]


def _device(place: Sharding | None) -> Any:
    """Returns what `jax.device_put` is fastest with: one device, where that says the same."""
    if isinstance(place, SingleDeviceSharding):
        (device,) = place.device_set
        if place.memory_kind in (None, device.default_memory().kind):
            return device
    return place
