"""The digest of an array that may be in parts: the same on host and devices, and another one for other values."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jscope.checkpoint._orbax import _sum
from jscope.checkpoint._orbax._sum import element_sum
from tests.crossed import crossed

SHAPES = [(8, 3), (), (1,), (5,), (3, 4), (2, 3, 4)]
"""The first is cut over devices."""
DTYPES = [
    "float32",
    "bool",
    "int4",
    "uint2",
    "float4_e2m1fn",
    "int8",
    "uint16",
    "bfloat16",
    "float8_e4m3fn",
    "complex64",
    "float64",
    "int64",
    "complex128",
]


def random_array(shape, dtype):
    """Returns random bytes as an array; of dtypes of fewer bits, all values."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    low, high = {"bool": (0, 2), "int4": (-8, 8), "uint2": (0, 4), "float4_e2m1fn": (0, 16)}.get(
        dtype.name, (-128, 128)
    )
    return np.random.default_rng(size).integers(low, high, size, dtype=np.int8).view(dtype).reshape(shape)


def digest_on_devices(array):
    """Returns what `element_sum` does for an array that is sharded over processes."""
    return _sum._shown(_sum._on_devices(array))


@pytest.mark.parametrize(("dtype", "shape"), crossed(DTYPES, SHAPES), ids=str)
def test_devices_sum_what_the_host_sums(dtype, shape):
    """Also over parts on several devices, and whatever the strides."""
    mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.enable_x64(True):
        array = random_array(shape, dtype)
        place = jax.NamedSharding(mesh, jax.P("d") if shape == SHAPES[0] else jax.P())
        assert element_sum(array) == digest_on_devices(jax.device_put(array, place))
        assert element_sum(array.T.copy().T) == element_sum(jnp.asarray(array)) == element_sum(array)


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32", "float64"])
def test_every_bit_counts(dtype):
    """In both lanes."""
    array = random_array((3, 5), dtype)
    good = element_sum(array)
    for at in range(array.nbytes):
        for bit in range(8):
            bad = array.copy()
            bad.view(np.uint8).reshape(-1)[at] ^= 1 << bit
            found = element_sum(bad)
            assert found[4:12] != good[4:12]
            assert found[12:] != good[12:]


def test_every_place_counts():
    """Swapped elements, rows, blocks of a long axis, and another shape of the same numbers."""
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    others = [array[::-1], array[:, ::-1], array[[1, 0, 2]], array.T, array.reshape(4, 3), array.reshape(-1)]
    assert len({element_sum(each) for each in (array, *others)}) == 1 + len(others)
    size = 3 * _sum._BLOCK + 5
    long = np.zeros(size, np.uint8)
    digests = {element_sum(long)}
    for at in (0, 1, _sum._BLOCK - 1, _sum._BLOCK, 2 * _sum._BLOCK, 2 * _sum._BLOCK + 1, size - 1):
        one = long.copy()
        one[at] = 1
        digests.add(element_sum(one))
    assert len(digests) == 8


@pytest.mark.parametrize(
    "shape", [(1, 1, _sum._SMALL + 1), (2, _sum._BLOCK + 3), (3 * _sum._BLOCK, 2), (5 * _sum._PIECE // 4,)]
)
def test_large_arrays_are_summed_in_pieces(shape):
    """To what they are as a whole, on devices; in the memory of the host, too."""
    array = np.random.default_rng(0).random(shape, np.float32)
    place = jax.NamedSharding(jax.make_mesh((1,), ("d",)), jax.P(), memory_kind="pinned_host")
    assert element_sum(array) == digest_on_devices(array) == digest_on_devices(jax.device_put(array, place))


def test_a_digest_stays_what_it_is():
    """Checkpoints have it."""
    assert element_sum(np.float32([[1, 2], [3, 4]])) == "sum:647762c01c8252c0"
    assert (
        element_sum(jnp.ones(3, ml_dtypes.bfloat16))
        == element_sum(np.ones(3, ml_dtypes.bfloat16))
        == "sum:dcdc5c8033541680"
    )
