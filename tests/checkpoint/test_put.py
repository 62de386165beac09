"""Arrays in their places: many small ones of one kind go another way than few, to the same end."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jscope.checkpoint import _put
from jscope.checkpoint._put import HOST, put


def on_mesh(kind, spec):
    return jax.NamedSharding(jax.make_mesh((4,), ("d",), axis_types=(kind,)), spec)


PLACES = {
    "default": lambda: None,
    "device": lambda: jax.sharding.SingleDeviceSharding(jax.devices()[1]),
    "cut": lambda: on_mesh(jax.sharding.AxisType.Auto, jax.P("d")),
    "explicit": lambda: on_mesh(jax.sharding.AxisType.Explicit, jax.P("d")),
    "everywhere": lambda: on_mesh(jax.sharding.AxisType.Auto, jax.P()),
}


@pytest.fixture(autouse=True)
def _fewer_are_many(monkeypatch):
    """As many as fill a few batches, and some more; a thousand take a second to compile."""
    monkeypatch.setattr(_put, "_BATCH", 8)
    monkeypatch.setattr(_put, "_MANY", 20)


@pytest.mark.parametrize("kind", PLACES)
def test_many_small_arrays(kind):
    """As `jax.device_put` puts them: dtype, place, whether committed."""
    place = PLACES[kind]()
    count = _put._MANY
    arrays = {f"w{i}": np.full(8, i, np.float32) for i in range(count + 5)}
    arrays |= {f"n{i}": np.full(4, i % 100, np.int8) for i in range(count)}
    arrays |= {f"b{i}": np.full((4, 2), i, ml_dtypes.bfloat16) for i in range(3)}
    arrays |= {f"h{i}": np.full(4, i) for i in range(3)}
    asked = {name: HOST if name[0] == "h" else place for name in arrays}
    found = put(arrays, asked)
    assert found.keys() == arrays.keys()
    for name in [*[*found][::3], f"w{count + 4}", "b2", "h2"]:
        np.testing.assert_array_equal(found[name], arrays[name])
        assert found[name].dtype == arrays[name].dtype
        if name[0] == "h":
            assert type(found[name]) is np.ndarray
            continue
        expected = jnp.asarray(arrays[name]) if place is None else jax.device_put(arrays[name], place)
        assert found[name].sharding == expected.sharding
        assert found[name].committed == expected.committed


def test_the_default_device_is_asked_for_each_time():
    """What is compiled for one is not taken for another."""
    arrays = {f"w{i}": np.full(8, i, np.float32) for i in range(_put._MANY)}
    for device in jax.devices()[:3]:
        with jax.default_device(device):
            assert put(arrays, dict.fromkeys(arrays))["w3"].devices() == {device}


def test_no_memory_is_shared():
    """Even where `jax.device_put` would: arrays may be views of a file that is closed, or replaced."""
    count = _put._MANY + 5
    buffer = np.zeros((count + 1) * 64, np.uint8)
    lines = buffer[-buffer.ctypes.data % 64 :][: count * 64].view(np.float32).reshape(count, 16)
    found = put({f"w{i}": line for i, line in enumerate(lines)}, {f"w{i}": None for i in range(len(lines))})
    lines[:] = 1
    assert not any(array.any() for array in found.values())


def test_under_a_mesh_or_without_jit():
    """One device is one device, and an array is one of JAX."""
    arrays = {f"w{i}": np.full(8, i, np.float32) for i in range(_put._MANY)}
    device = jax.sharding.SingleDeviceSharding(jax.devices()[1])
    with jax.set_mesh(jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))):
        for place in (None, device):
            found = put(arrays, dict.fromkeys(arrays, place))["w3"]
            assert (len(found.devices()), found.committed) == (1, place is not None)
    for setting in (jax.disable_jit, lambda: jax.transfer_guard("disallow")):
        with setting():
            assert put(arrays, dict.fromkeys(arrays, device))["w3"].sharding == device
