"""Laws of tables and pictures."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, SingleDeviceSharding

from jscope import errors, sharding
from jscope.sharding import ShardingError
from tests.models import KEY
from tests.sharding.network import AUTO, MESH, SPECS, SPLIT, STRUCTS, P


def test_the_table_is_the_same_for_specs_structs_and_arrays():
    """It reads shapes and shardings, no values."""
    placed = sharding.shardings(SPECS, MESH, SPLIT)
    shown = sharding.show(SPECS, placed)
    assert shown.splitlines()[1:3] == [
        "b             float32[16]          data             4       2        16",
        "layers/n      float32[2, 16]       -, -             1       8        128",
    ]
    assert shown.splitlines()[-1] == "4 arrays of 8,384 bytes: 1,168 bytes on each of 8 devices"
    rows = set(shown.splitlines())
    assert set(sharding.show(sharding.shape_dtype(SPECS, placed)).splitlines()) == rows
    assert set(sharding.show(SPECS.shape_dtype(), placed).splitlines()) == rows
    assert set(sharding.show(SPECS.materialize(KEY(0), sharding=placed)).splitlines()) == rows


def test_the_table_takes_any_pytree():
    """An optimizer's state, arrays on one device, and keys."""
    state = optax.adam(1e-3).init(jax.tree.map(lambda x: jnp.zeros(x.shape), STRUCTS))
    shown = sharding.show({"opt": state, "key": KEY(0)})
    assert "opt/0/mu/enc/w   float32[8, 16]" in shown
    assert "key              key<fry>[]" in shown
    placed = sharding.like(state, STRUCTS)
    assert "opt/0/mu/enc/w   float32[8, 16]   data, model" in sharding.show({"opt": state}, {"opt": placed})
    with pytest.raises(ShardingError, match=r"`w` \(ndarray\) has no sharding"):
        sharding.show({"w": np.zeros(3)})
    with pytest.raises(errors.StructureMismatchError, match="no sharding: `w`\n  no variable: `v`"):
        sharding.show({"w": np.zeros(3)}, {"v": NamedSharding(MESH, P())})


def test_bytes_are_those_that_devices_hold():
    """As the arrays' own pieces tell; devices may differ."""
    params = SPECS.materialize(KEY(0), sharding=sharding.shardings(SPECS, MESH, SPLIT))
    params["alone"] = jax.device_put(jnp.zeros(3), jax.devices()[2])
    counted = dict.fromkeys(jax.devices(), 0)
    for shard in (shard for array in jax.tree.leaves(params) for shard in array.addressable_shards):
        counted[shard.device] += shard.data.nbytes
    assert sharding.bytes_per_device(params) == counted
    assert sharding.show(params).endswith("1,168 to 1,180 bytes on each of 8 devices")


def test_a_picture_shows_who_holds_what():
    """Rows for the first axis that is split, columns for the others; nothing split, one cell."""
    picture = partial(sharding.picture, jnp.zeros((8, 4)))
    assert picture(NamedSharding(MESH, P("data", "model"))).splitlines() == [
        "float32[8, 4]: data, model",
        "axis 0   axis 1: 0:2   axis 1: 2:4",
        "0:2      0             1",
        "2:4      2             3",
        "4:6      4             5",
        "6:8      6             7",
    ]
    assert picture(NamedSharding(MESH, P(None, "data"))).splitlines()[1:3] == ["axis 1   cpu", "0:1      0, 1"]
    assert picture(NamedSharding(MESH, P())).splitlines() == [
        "float32[8, 4]: -, -",
        "all   cpu",
        "      0, 1, 2, 3, 4, 5, 6, 7",
    ]
    assert picture(SingleDeviceSharding(jax.devices()[1])).splitlines()[-1] == "      1"
    cube = sharding.picture(
        jax.ShapeDtypeStruct((2, 2, 2), "int8"),
        NamedSharding(jax.make_mesh((2, 2, 2), ("a", "b", "c"), axis_types=(AUTO,) * 3), P("a", "b", "c")),
    )
    assert "axis 1: 0:1, axis 2: 1:2" in cube
