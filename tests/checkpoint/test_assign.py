from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import tf1
from jscope.checkpoint import CorruptCheckpointError, MissingCheckpointError, safetensors, tensorbundle
from jscope.checkpoint._assign import init_from_checkpoint

DATA = Path(__file__).parent / "data"
OLD = {"a": {"x": np.full(2, 1, np.float32), "y": np.full(3, 2, np.float32)}, "z": np.full(2, 3, np.float32)}
PARAMS = {"m": {"x": jnp.zeros(2), "y": jnp.zeros(3)}, "m_1": {"x": jnp.zeros(2)}}


@pytest.fixture(params=[tensorbundle, safetensors], ids=lambda module: module.__name__.rpartition(".")[2])
def path(request, tmp_path):
    """The same checkpoint in each format."""
    path = tmp_path / ("model.safetensors" if request.param is safetensors else "model.ckpt-1")
    request.param.save(path, OLD)
    return path


def test_any_format(path):
    """Scopes and variables, a specific entry after a general one; the params themselves are as they were."""
    new = init_from_checkpoint(PARAMS, path, {"a/": "m/", "z": "m/x"})
    wanted = {"m": {"x": jnp.full(2, 3.0), "y": jnp.full(3, 2.0)}, "m_1": {"x": jnp.zeros(2)}}
    chex.assert_trees_all_equal(new, wanted)
    chex.assert_trees_all_equal(PARAMS, jax.tree.map(jnp.zeros_like, wanted))


def test_paths_are_strings_too(path):
    """And a reader or a dict of arrays does as well."""
    wanted = init_from_checkpoint(PARAMS, path, {"a/": "m/"})
    for checkpoint in (str(path), jscope.checkpoint.load_checkpoint(path), jscope.tree.flatten(OLD)):
        chex.assert_trees_all_equal(init_from_checkpoint(PARAMS, checkpoint, {"a/": "m/"}), wanted)


@pytest.mark.parametrize(
    ("assignment_map", "message"),
    [
        ({"a/": "m/", "no": "m/x"}, r"^Tensor no is not found in .*model\S* checkpoint"),
        ({"a/": "m/", "a/y": "m/x"}, r"^Shape of variable m/x:0 \(\(2,\)\) doesn't match with shape of tensor a/y"),
        ({"a/": "m/", "z": "nowhere"}, r"^Assignment map with scope only name"),
    ],
)
def test_errors_are_tensorflows(path, assignment_map, message):
    """And nothing is half done, since params are values."""
    with pytest.raises(ValueError, match=message):
        init_from_checkpoint(PARAMS, path, assignment_map)


def test_slices_and_unread_neighbours(tmp_path):
    """A partitioned variable comes back whole; what is not asked for need not be readable."""
    new = init_from_checkpoint({"w": jnp.zeros((7, 2), jnp.bfloat16)}, DATA / "partitioned", {"net/w": "w"})
    chex.assert_trees_all_equal(new, {"w": jnp.arange(14, dtype=jnp.bfloat16).reshape(7, 2)})
    tensorbundle.save(tmp_path / "m", OLD | {"s": np.array(["a"])})
    data = tmp_path / "m.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[0] ^= 1  # Of `a/x`, which comes first.
    data.write_bytes(content)
    assert init_from_checkpoint({"z": jnp.zeros(2)}, tmp_path / "m", {"/": "/"})["z"].tolist() == [3, 3]
    with pytest.raises(CorruptCheckpointError, match="`a/x` cannot be read"):
        init_from_checkpoint({"z": jnp.zeros(2)}, tmp_path / "m", {"a/x": "z"})
    with pytest.raises(ValueError, match="Tensor s holds strings"):
        init_from_checkpoint({"z": jnp.zeros(1)}, tmp_path / "m", {"s": "z"})


def test_variables_stay_where_they_are():
    """Spread over eight devices before, spread over them after."""
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.zeros(16), sharding), "b": jnp.zeros(16)}
    new = init_from_checkpoint(params, {"w": np.arange(16.0), "b": np.arange(16.0)}, {"/": "/"})
    assert new["w"].sharding == sharding
    assert len(new["b"].sharding.device_set) == 1
    chex.assert_trees_all_equal(new["w"], jnp.arange(16.0))


def test_no_checkpoint(tmp_path):
    """The error is about the path."""
    with pytest.raises(MissingCheckpointError, match="There is no checkpoint"):
        init_from_checkpoint(PARAMS, tmp_path / "no", {"/": "/"})


def test_the_facade_says_where_paths_are_taken():
    """`tf1.train` takes readers: it stands below the formats."""
    with pytest.raises(TypeError, match=r"'model\.ckpt' is a path.*\nCall `jscope\.checkpoint\.init_from_checkpoint`"):
        tf1.train.init_from_checkpoint(PARAMS, "model.ckpt", {"/": "/"})


def test_an_integer_that_does_not_fit_is_refused():
    """A value changes its dtype, never itself."""
    params = {"n": jnp.zeros((), jnp.int32)}
    assert init_from_checkpoint(params, {"n": np.int64(7)}, {"n": "n"})["n"] == 7
    with pytest.raises(ValueError, match="Tensor n holds values that int32"):
        init_from_checkpoint(params, {"n": np.int64(2**40)}, {"n": "n"})


def test_an_array_stays_where_it_was_put():
    """On one device, too."""
    there = jax.device_put(jnp.zeros(2), jax.devices()[3])
    new = init_from_checkpoint({"w": there}, {"w": np.ones(2, np.float32)}, {"w": "w"})
    assert (new["w"].devices(), new["w"].tolist()) == ({jax.devices()[3]}, [1, 1])


@pytest.mark.parametrize("assignment_map", [None, "net/"])
def test_a_map_is_a_dict_or_pairs(assignment_map):
    """Anything else is named."""
    with pytest.raises(TypeError, match="is neither a dict nor pairs"):
        init_from_checkpoint({}, {}, assignment_map)
