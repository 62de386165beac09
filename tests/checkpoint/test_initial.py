"""Initial values in files: those of `materialize` bit for bit, with one variable at a time in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jscope
from jscope import checkpoint, errors, initializers
from jscope.checkpoint import Constant, Conversion, Rule, _blocks, _initial
from tests.checkpoint.layer_tables import TABLES
from tests.checkpoint.test_tables import IDS, transformer
from tests.crossed import mostly_slow
from tests.models import KEY, MODELS

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
WAYS = {"file": ("x.safetensors", None), "shards": ("x", 100), "directory": ("x", None)}


def mixed(s):
    """Dtypes of all sizes, scalars, values, no elements, layers in one array, and state."""
    for dtype in ("bfloat16", "float16", "float8_e4m3fn", "int8", "int4", "bool", "complex64"):
        s.get_variable(dtype, (3, 5), dtype, initializer=initializers.ones)
    s.get_variable("drawn", (3, 5), "bfloat16", initializer=initializers.normal(1.0))
    s.get_variable("scalar", (), initializer=initializers.uniform(0.0, 1.0))
    s.get_variable("value", initializer=np.arange(6.0, dtype=np.float32))
    s.get_variable("empty", (0, 3))
    s.get_variable("count", (), "int32", initializer=initializers.zeros, trainable=False)
    jscope.layers(lambda s, x: x + s.get_variable("w", (4, 4)).sum(), 3)(s / "deep", jnp.zeros(()))


def fail(key, shape, dtype):
    raise RuntimeError("no value today")


def with_last(initializer):
    """Specs of which the last variable has this initializer."""

    def model(s):
        s.get_variable("a", (64, 64))
        s.get_variable("b", (8, 8), initializer=initializer)

    return jscope.specs(model)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["mlp", "mixed"])
def test_a_file_has_the_values_of_materialize(tmp_path, name, way):
    """Bit for bit, with names, dtypes and shapes, in the order of creation; as what is returned, and as restored."""
    specs = jscope.specs(mixed) if name == "mixed" else MODELS[name].transformed.specs(*MODELS[name].args)
    file, shard_bytes = WAYS[way]
    expected = specs.materialize(KEY(0))
    returned = specs.materialize(KEY(0), to=tmp_path / file, shard_bytes=shard_bytes)
    assert jscope.tree.names(returned) == jscope.tree.names(expected)
    assert all(isinstance(each, np.ndarray) for each in jax.tree.leaves(returned))
    for found in (returned, checkpoint.restore(specs, tmp_path / file)):
        chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
        same = jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), found, expected)
        assert all(jax.tree.leaves(same)), same


def tied(s):
    """Layers in one stack and one by one, with an embedding that is there once."""
    s.get_variable("embedding", (5, 4))
    s.get_variable("count", (), "int32", initializer=initializers.zeros, trainable=False)

    def layer(s, x):
        for part, size in (("query", 4), ("key", 2)):
            (s / part).get_variable("kernel", (4, size, 3), "bfloat16", initializer=initializers.normal(1.0))
        for part in ("gate", "up"):
            (s / part).get_variable("kernel", (4, 3))
        return x

    jscope.layers(layer, 3)(s / "deep", jnp.zeros(()))
    jscope.layers(layer, 2, scanned=False)(s / "flat", jnp.zeros(()))


TIED = Conversion(
    [
        Rule("embedding", "wte.weight", "v d -> v d"),
        Rule("embedding", "lm_head.weight", "v d -> v d", tied=True),
        Rule(
            "deep/{part}/kernel",
            "h.{i}.qk",
            "(part h k) d -> i d h k",
            where={"part": ["query", "key"], "h": {"query": 4, "key": 2}},
        ),
        Rule("deep/{part}/kernel", "h.{i}.mlp", "(part r) c -> i r c", where={"part": ["gate", "up"]}),
        Rule("flat/{i}/{part}/kernel", "stack.{part}", "r i c -> r c", where={"part": ["gate", "up"]}),
        Rule("flat/{i}/query/kernel", "stack.query", "k h i d -> d h k"),
        Rule("flat/{i}/key/kernel", "stack.key", "i k h d -> d h k"),
    ],
    constants=[Constant("ids", "range", "int64", (1, 4))],
    added=[Constant("count", 0, "int32")],
)
"""Unstacked and fused, of unequal parts and of equal ones; stacked along the first axis, and others; tied; what only
one side has."""


@pytest.mark.parametrize("way", mostly_slow(WAYS, "file"))
def test_a_file_has_other_names_and_layouts(monkeypatch, tmp_path, way):
    """Bit for bit those of the values in memory, converted; each variable is drawn once, whatever it becomes."""
    specs, (file, shard_bytes) = jscope.specs(tied), WAYS[way]
    monkeypatch.setattr(_blocks, "_LIMIT", 16 if way == "file" else 1 << 22)
    back = TIED.inverse
    values = specs.materialize(KEY(0))
    expected = jscope.tree.convert(values, back)
    returned = specs.materialize(KEY(0), to=tmp_path / file, shard_bytes=shard_bytes, conversion=back)
    assert sorted(jscope.tree.names(returned)) == sorted(jscope.tree.names(expected))
    assert not jscope.tree.diff(returned, expected)
    assert not jscope.tree.diff(checkpoint.restore(specs, tmp_path / file, conversion=TIED), values)


@pytest.mark.slow
@pytest.mark.parametrize("library", TABLES)
@pytest.mark.parametrize("scanned", [True, False])
def test_a_file_is_as_a_library_has_it(tmp_path, library, scanned):
    """The tables that ship, for layers that are stacked here or not."""
    specs = jscope.specs(transformer(scanned), IDS)
    table = TABLES[library](specs).inverse
    found = specs.materialize(KEY(0), to=tmp_path / "x.safetensors", conversion=table)
    assert not jscope.tree.diff(found, jscope.tree.convert(specs.materialize(KEY(0)), table))


def test_each_variable_is_drawn_once(monkeypatch, tmp_path):
    """Those of which many arrays are made as well as those of which many make one, in however many blocks."""
    monkeypatch.setattr(_blocks, "_LIMIT", 16)
    drawn = []

    def value(spec, key):
        drawn.append(spec.path)
        return np.zeros(spec.shape, spec.dtype)

    monkeypatch.setattr(_initial, "_value", value)
    specs = jscope.specs(tied)
    specs.materialize(KEY(0), to=tmp_path / "x.safetensors", conversion=TIED.inverse)
    assert sorted(drawn) == sorted(name for name in specs if name != "count")


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_every_kind_of_key_and_every_part_of_the_specs(tmp_path, impl):
    """`specs["enc"]` has shorter names and the same values, with any generator."""
    specs = jscope.specs(lambda s: [(s / name).get_variable("w", (4, 4)) for name in ("enc", "dec")])
    key = jax.random.key(3, impl=impl)
    part = specs["enc"].materialize(key, to=tmp_path / "x.safetensors")
    chex.assert_trees_all_equal(part, specs.materialize(key)["enc"])


def test_the_library_reads_the_shards(tmp_path):
    """The index is that of Hugging Face: which file has which array, and how many bytes there are in all."""
    specs = jscope.specs(
        lambda s: [s.get_variable(name, (size,)) for name, size in {"a": 2, "b": 2, "c": 9, "d": 1}.items()]
    )
    specs.materialize(KEY(0), to=tmp_path / "x", shard_bytes=16)
    files = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert sorted(os.listdir(tmp_path / "x")) == [*files, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "x" / "model.safetensors.index.json").read_text("utf8"))
    assert index["weight_map"] == {"a": files[0], "b": files[0], "c": files[1], "d": files[2]}
    assert index["metadata"] == {"total_size": 56}
    read = {n: v for file in files for n, v in safetensors.numpy.load_file(tmp_path / "x" / file).items()}
    chex.assert_trees_all_equal(read, jax.device_get(specs.materialize(KEY(0))))


@pytest.mark.parametrize("way", ["file", "shards"])
def test_an_error_on_the_way_changes_nothing(tmp_path, way):
    """What was there before is still there, and nothing else."""
    file, shard_bytes = WAYS[way]
    if way == "file":
        checkpoint.safetensors.save(tmp_path / file, {"old": np.ones(3)})
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match="no value today"):
        with_last(fail).materialize(KEY(0), to=tmp_path / file, shard_bytes=shard_bytes)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


KILLED = """
import os, signal
import jax, jscope

def die(key, shape, dtype):
    os.kill(os.getpid(), signal.SIGKILL)

def model(s):
    s.get_variable("a", (64, 64))
    s.get_variable("b", (8, 8), initializer=die)

jscope.specs(model).materialize(jax.random.key(0), to={!r}, shard_bytes={})
"""
"""Ends as a loss of power would, while the last of two variables is made."""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("way", mostly_slow(["file", "shards"], "file"))
def test_a_process_that_is_killed_leaves_the_old_file(tmp_path, way):
    """And a directory is not there at all."""
    checkpoint.safetensors.save(tmp_path / "x.safetensors", {"old": np.ones(3)})
    command = [sys.executable, "-c", KILLED.format(*WAYS[way])]
    done = subprocess.run(command, cwd=tmp_path, env=ENV, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert jscope.tree.names(checkpoint.safetensors.load(tmp_path / "x.safetensors")) == ["old"]
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_written_says_so_first(tmp_path):
    """Before a file is touched or a value is drawn."""
    drawn = []

    def count(key, shape, dtype):
        drawn.append(shape)
        return jnp.zeros(shape, dtype)

    specs, key, file = with_last(count), KEY(0), tmp_path / "x.safetensors"
    (tmp_path / "there").mkdir()
    refused = errors.InvalidArgumentError
    with pytest.raises(refused, match=r"shard_bytes=9 is about files: say where, `to=`"):
        specs.materialize(key, shard_bytes=9)
    with pytest.raises(refused, match=r"one file, which `shard_bytes=9` cannot divide"):
        specs.materialize(key, to=file, shard_bytes=9)
    for shard_bytes in (0, 1.5, True):
        with pytest.raises(refused, match="is not a positive int"):
            specs.materialize(key, to=tmp_path / "x", shard_bytes=shard_bytes)
    with pytest.raises(refused, match=r"`conversion=` is about files: say where, `to=`"):
        specs.materialize(key, conversion=Conversion([Rule("{name}", "{name}")]))
    with pytest.raises(errors.StructureMismatchError, match="unmatched:  `b`"):
        specs.materialize(key, to=file, conversion=Conversion([Rule("c", "a")]))
    with pytest.raises(errors.NameConflictError):
        specs.materialize(key, to=file, conversion=Conversion([Rule("c", "a"), Rule("c/d", "b")]))
    with pytest.raises(refused, match=r"to devices .* or to files"):
        specs.materialize(key, jax.sharding.SingleDeviceSharding(jax.devices()[0]), to=file)
    with pytest.raises(refused, match="`key` is being traced"):
        jax.jit(lambda key: specs.materialize(key, to=file))(key)
    with pytest.raises(checkpoint.CheckpointExistsError, match="there already"):
        specs.materialize(key, to=tmp_path / "there")
    with pytest.raises(errors.InitializerError, match="known only by name"):
        jscope.Specs.from_json(specs.to_json()).materialize(key, to=file)
    assert (os.listdir(tmp_path), drawn) == (["there"], [])


def test_a_file_becomes_shards_and_other_shards(tmp_path):
    """From file to file, with the metadata and with what is not an array; `load` reads nothing before it is written."""
    st = checkpoint.safetensors
    tree = {"key": jax.random.key(1), "step": 3, "w": np.arange(12.0).reshape(3, 4), "x": np.arange(3)}
    st.save(tmp_path / "x.safetensors", tree, metadata={"license": "CC0"})
    st.save(tmp_path / "a", st.load(tmp_path / "x.safetensors"), shard_bytes=32, metadata={"license": "CC0"})
    st.save(tmp_path / "b", st.load(tmp_path / "a"), shard_bytes=130)
    st.save(tmp_path / "y.safetensors", st.load(tmp_path / "b" / "model.safetensors.index.json"))
    assert len(os.listdir(tmp_path / "a")) > len(os.listdir(tmp_path / "b")) > 2
    assert st.open(tmp_path / "a").metadata["license"] == "CC0"
    back = st.load(tmp_path / "y.safetensors")
    assert jax.random.key_data(back["key"]).tolist() == jax.random.key_data(tree["key"]).tolist()
    assert back["step"] == 3
    assert type(back["step"]) is int
    chex.assert_trees_all_equal({n: back[n] for n in "wx"}, {n: tree[n] for n in "wx"})


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize("way", ["file", "shards", "stacked"])
def test_memory_is_that_of_one_variable(tmp_path, way):
    """Of 16 of 32 MiB each: what drawing one takes, about four times its size, and no more; see `initial.py`."""
    program = Path(__file__).parent / "initial.py"
    command = [sys.executable, program, tmp_path, way]
    done = subprocess.run(command, capture_output=True, text=True, env=ENV, check=False)
    assert done.returncode == 0, done.stderr
    beyond, largest = map(int, done.stdout.split())
    assert beyond < 6 * largest, done.stdout
