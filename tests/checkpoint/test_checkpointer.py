"""`Checkpointer`: what was saved comes back, steps are whole, and mistakes are named. For both stores."""

from __future__ import annotations

import collections
import concurrent.futures
import enum
import errno
import json
import os
import shutil
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jscope
from jscope import checkpoint, errors
from jscope.checkpoint import Checkpointer, _checkpointer, _fit, _leaves
from tests.models import KEY, MODELS

STORES = ["safetensors", "orbax"]
MESH = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
ROWS, WHOLE = (jax.NamedSharding(MESH, spec) for spec in (jax.P("d"), jax.P()))


@pytest.fixture(params=STORES)
def store(request):
    return request.param


@pytest.fixture
def open_run(tmp_path, store):
    """Makes a `Checkpointer` of the same directory."""
    return lambda **options: Checkpointer(tmp_path / "run", store=store, **options)


def training():
    """Params, state, the optimizer's state: what a training has."""
    model = MODELS["convnet"]
    specs = model.transformed.specs(*model.args)
    params, state = model.init()
    masked = optax.masked(optax.adamw(1e-3), specs.params.mask("w$"))
    return specs, params, state, optax.chain(optax.clip(1.0), masked)


def test_a_training_comes_back(open_run):
    """From concrete likes, from specs, and from abstract values; leaf by leaf, with its structure."""
    specs, params, state, optimizer = training()
    items = {"params": params, "state": state, "optimizer": optimizer.init(params), "key": KEY(3), "epoch": 4}
    with open_run() as checkpoints:
        assert checkpoints.save(7, specs=specs, **items)
        back = checkpoints.restore(7, **items)
        abstract = jax.eval_shape(optimizer.init, specs.params.shape_dtype())
        again = checkpoints.restore(params=specs.params, state=specs.state, optimizer=abstract, key=KEY(0))
    assert jax.tree.structure(back) == jax.tree.structure(items)
    assert jax.tree.structure(again["optimizer"]) == jax.tree.structure(items["optimizer"])
    for found in (back, again):
        key = found.pop("key")
        assert key.dtype == KEY(3).dtype
        chex.assert_trees_all_equal(jax.random.key_data(key), jax.random.key_data(KEY(3)))
        chex.assert_trees_all_equal(found, {name: items[name] for name in found})
        chex.assert_trees_all_equal_shapes_and_dtypes(found["params"], params)


class Mode(enum.IntEnum):
    TRAIN = 1
    EVAL = 2


class Part(enum.StrEnum):
    HEAD = "the head"


class Rate(float):
    pass


ODD = {
    "big-endian": {
        "f4": np.arange(4, dtype=">f4"),
        "c16": np.array([1 + 2j], ">c16"),
        "scalar": np.array(3, ">i8"),
        "strided": np.arange(6, dtype=">u2")[::2],
    },
    "keys of dicts": {
        "ints": {0: np.ones(2), 10: 1},
        "tuples": {(1, "b"): {-3: 4}},
        "others": {None: 5},
        "floats": {1.5: [6, {7: 8}]},
        "members": {Part.HEAD: 9},
    },
    "subclasses": {"mode": Mode.EVAL, "rate": Rate(0.5), "list": [Mode.TRAIN]},
    "numpy": {"scalar": np.float32(2.5), "i64": np.array([2**40]), "f64": np.array(0.1), "c128": np.array([1 + 2j])},
    "layouts": {"fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "strided": np.arange(10)[::3]},
    "empty arrays": {"a": np.zeros((0, 3), np.int8), "b": jnp.zeros((2, 0)), "c": jnp.ones(2)},
    "only empty arrays": {"a": jnp.zeros(0)},
    "long but empty": {"a": np.zeros((0, 2**40), np.float32), "b": np.zeros((2**40, 0), np.int8)},
    "nothing": {"a": {}, "b": None, "c": [], "d": optax.EmptyState()},
    "numbers": {"i": 3, "f": 0.5, "t": True, "c": 1 + 2j, "nested": [1, (None, 2.0)]},
    "narrow": {
        n: jnp.arange(6).astype(n) % 2 for n in ("int4", "uint4", "int2", "float8_e4m3", "float8_e4m3fn", "bfloat16")
    },
    "narrow numpy": {
        n: (np.arange(6) % 2).astype(n) for n in ("uint4", "int2", "uint2", "float8_e4m3", "float4_e2m1fn")
    },
    "keys": {"typed": jax.random.split(KEY(1), 3), "raw": jax.random.PRNGKey(1), "rbg": jax.random.key(0, impl="rbg")},
    "names": {"a.b": 1, "a": {"b": 2}, "..": 3, "%2E": 4, "\u00e9": 5, "e\u0301": 6, "x" * 10_000: 7, "a b": 8, "~": 9},
    "sharded": {"rows": jax.device_put(jnp.arange(32.0).reshape(16, 2), ROWS), "whole": jax.device_put(1.0, WHOLE)},
}


@pytest.mark.parametrize("case", ODD)
def test_odd_things_come_back(open_run, case):
    """What stores lack or confuse: with a like, and as stored."""
    with open_run() as checkpoints:
        checkpoints.save(0, x=ODD[case])
        back = checkpoints.restore(x=ODD[case])["x"]
        stored = checkpoints.restore(x=...)["x"]
    assert jax.tree.structure(back) == jax.tree.structure(ODD[case])
    for old, new in zip(jax.tree.leaves(ODD[case]), jax.tree.leaves(back), strict=True):
        same_leaf(old, new)
    flat = _leaves.flatten(ODD[case])
    assert jscope.tree.flatten(stored).keys() == flat.keys()
    for name, new in jscope.tree.flatten(stored).items():
        same_leaf(flat[name] if _leaves.number_type(flat[name]) is None else _leaves.number_type(new)(flat[name]), new)


def same_leaf(old, new):
    if isinstance(old, jax.Array) and isinstance(new, jax.Array):
        assert old.sharding.is_equivalent_to(new.sharding, old.ndim)
    if isinstance(old, jax.Array) and jax.dtypes.issubdtype(old.dtype, jax.dtypes.prng_key):
        assert old.dtype == new.dtype
        old, new = jax.random.key_data(old), jax.random.key_data(new)
    if not hasattr(old, "dtype"):
        assert type(old) is type(new)
    old, new = np.asarray(old), np.asarray(new)
    old = old.astype(old.dtype.newbyteorder("="))
    assert (old.dtype, old.shape) == (new.dtype, new.shape)
    np.testing.assert_array_equal(old, new)  # By value: what the unused bits of an `int2` are is nobody's business.


def test_any_pytree_comes_back(open_run):
    """Whatever JAX can name: registered classes, lists in mappings that JAX looks into, empty parts."""
    box = jax.tree_util.Partial(len, {"w": [jnp.ones(2), {3: np.arange(2)}]}, mode=(1.5, None))
    items = {
        "box": box,
        "deep": [{"a": ({}, [collections.OrderedDict(b=1)])}],
        "state": collections.defaultdict(int, {1: 2}),
    }
    with open_run() as checkpoints:
        checkpoints.save(0, **items)
        back = checkpoints.restore(**items)
    assert jax.tree.structure(back) == jax.tree.structure(items)
    chex.assert_trees_all_equal(back, items)


def test_the_state_of_nnx_comes_back(open_run):
    """With lists in it."""
    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):
        def __init__(self):
            self.layers = nnx.List([nnx.Linear(2, 2, rngs=nnx.Rngs(i)) for i in range(2)])

    state = nnx.split(Model())[1]
    with open_run() as checkpoints:
        checkpoints.save(0, state=state)
        back = checkpoints.restore(state=state)["state"]
        assert checkpoints.restore()["state"]["layers"]["1"].keys() == {"kernel", "bias"}
    assert jax.tree.structure(back) == jax.tree.structure(state)
    chex.assert_trees_all_equal(back, state)


def test_a_number_that_is_not_of_the_type_is_named(open_run):
    """The member of an enumeration that is gone, say."""
    with open_run() as checkpoints:
        checkpoints.save(0, x={"mode": 7})
        with pytest.raises(
            errors.DTypeMismatchError, match=r"`x/mode` is 7, and is wanted as a `Mode`.*\nAsk for a plain `int`"
        ):
            checkpoints.restore(x={"mode": Mode.EVAL})
        assert checkpoints.restore(x={"mode": 0}) == {"x": {"mode": 7}}


def test_arrays_may_change_once_save_has_returned(open_run):
    """Donated to the next step, or overwritten: what is saved is what was given."""
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    tree, host = {"w": jnp.zeros(1 << 16)}, np.zeros(1 << 16)
    with open_run() as checkpoints:
        checkpoints.save(0, tree=tree, host=host)
        for _ in range(3):
            tree = step(tree)
        host += 1
        saved = checkpoints.restore(0)
    assert not saved["tree"]["w"].any()
    assert not saved["host"].any()


def test_shardings_are_those_of_the_like(open_run):
    """Onto another mesh than that which it was saved from, and to the host."""
    w = jax.device_put(jnp.arange(64.0).reshape(16, 4), ROWS)
    small = jax.make_mesh((2, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2, devices=jax.devices()[4:])
    there = jax.NamedSharding(small, jax.P("b", "a"))
    with open_run() as checkpoints:
        checkpoints.save(0, w=w)
        moved = checkpoints.restore(w=jax.ShapeDtypeStruct((16, 4), jnp.float32, sharding=there))["w"]
        host = checkpoints.restore(w=np.zeros((16, 4), np.float32))["w"]
    assert moved.sharding == there
    assert type(host) is np.ndarray
    assert host.flags.writeable
    chex.assert_trees_all_equal(np.asarray(moved), np.asarray(w), host)


def test_old_steps_make_room(open_run):
    """`keep` is how many stay; `every` which are saved; `force` saves anyway. Later steps are never deleted."""
    with open_run(keep=2, every=10) as checkpoints:
        assert [checkpoints.save(step, x=step) for step in (0, 5, 10, 20, 25, 30)] == [
            True,
            False,
            True,
            True,
            False,
            True,
        ]
        assert checkpoints.save(33, force=True, x=33)
        checkpoints.wait()
        assert (checkpoints.steps(), checkpoints.latest_step()) == ([30, 33], 33)
    with open_run(keep=1) as checkpoints:
        checkpoints.save(31, x=31)
        checkpoints.wait()
        assert checkpoints.steps() == [31, 33]
        assert checkpoints.restore(31, x=0) == {"x": 31}


def test_a_later_layout_is_not_guessed_at(open_run, monkeypatch):
    """What a newer jscope saves in another way is refused by its version."""
    monkeypatch.setattr(_checkpointer, "CURRENT", "2")
    with open_run() as checkpoints:
        checkpoints.save(0, x=1)
        with pytest.raises(
            checkpoint.UnsupportedCheckpointError, match="in version 2 of the layout, and this jscope knows only 1"
        ):
            checkpoints.restore()


def test_specs_are_kept_beside(open_run, tmp_path):
    """As JSON, with callables by their names; where they were given."""
    specs, params, _, _ = training()
    with open_run() as checkpoints:
        checkpoints.save(1, specs=specs, params=params)
        checkpoints.save(2, params=params)
        assert checkpoints.specs(1).to_json() == specs.to_json()
        with pytest.raises(checkpoint.MissingCheckpointError, match="saved without specs"):
            checkpoints.specs()
    metadata = checkpoint.load_checkpoint(tmp_path / "run" / "1").metadata
    assert (metadata["jscope.step"], metadata["jscope.version"]) == ("1", "1")


def test_specs_are_readable_beside_a_safetensors_step(tmp_path):
    """In a file of their own; damage of it is found."""
    specs, params, _, _ = training()
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, specs=specs, params=params)
        file = tmp_path / "1" / "specs.json"
        assert json.loads(file.read_text())["variables"]["conv/w"]["dtype"] == "float32"
        file.write_text(file.read_text().replace("float32", "float16"))
        with pytest.raises(checkpoint.CorruptCheckpointError, match="is not what was saved"):
            checkpoints.specs()
        file.unlink()
        with pytest.raises(checkpoint.CorruptCheckpointError, match="is gone"):
            checkpoints.specs()


def test_a_step_is_never_overwritten(open_run):
    """Nor is what else has its name."""
    with open_run() as checkpoints:
        checkpoints.save(1, x=1)
        with pytest.raises(checkpoint.CheckpointExistsError, match=r"1` is there already, and a step is never"):
            checkpoints.save(1, x=2)
        (checkpoints.path(2)).mkdir()
        with pytest.raises(FileExistsError, match="is there already"):
            checkpoints.save(2, x=2)
        assert checkpoints.restore(x=0) == {"x": 1}


def test_a_step_that_does_not_exist_lists_those_that_do(open_run):
    """And an empty or absent directory is not an error before one restores."""
    checkpoints = open_run()
    assert (checkpoints.steps(), checkpoints.latest_step()) == ([], None)
    with pytest.raises(checkpoint.MissingCheckpointError, match=r"has no checkpoint: `latest_step\(\)` is None"):
        checkpoints.restore()
    with checkpoints:
        checkpoints.save(3, x=1)
        checkpoints.save(12, x=1)
        with pytest.raises(FileNotFoundError, match="has no step 4; there are the steps 3, 12"):
            checkpoints.restore(4)
    assert "2 steps" in repr(checkpoints)


def test_what_does_not_fit_is_one_report(open_run, monkeypatch):
    """Before anything is read."""
    with open_run() as checkpoints:
        checkpoints.save(5, params={"enc": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}, "old": 1.5}, key=KEY(0), lr=0.5)
        checkpoints.wait()
        monkeypatch.setattr(_fit, "read_onto", None)
        like = {"enc": {"W": jnp.ones((2, 3)), "b": jnp.ones(3, jnp.int8)}, "old": jnp.ones(2)}
        with pytest.raises(errors.StructureMismatchError) as caught:
            checkpoints.restore(params=like, key=jnp.ones(2), lr={"peak": 1.0})
    assert str(caught.value).splitlines() == [
        f"Step 5 in `{checkpoints.directory}` is not what is to be restored:",
        "  missing:    `params/enc/W` float32[2, 3] (near: `params/enc/w`)",
        "  missing:    `lr/peak` float64[]",
        "  unexpected: `params/enc/w` float32[2, 3] (near: `params/enc/W`)",
        "  unexpected: `lr` float64[]",
        "  dtype:      `params/enc/b` is float32[3], expected int8[3]",
        "  kind:       `params/old` is a Python `float`, expected an array float32[2]",
        "  kind:       `key` is a random key (threefry2x32), expected an array float32[2]",
        "If this is what you mean: `jscope.checkpoint.restore(like, path)` can rename, select, initialize and cast.",
    ]


def test_an_item_that_is_not_there_lists_those_that_are(open_run):
    """And specs with state, asked for as one item, are told apart: nobody saves the two in one tree."""
    specs, params, state, _ = training()
    with open_run() as checkpoints:
        checkpoints.save(0, params=params, state=state)
        with pytest.raises(errors.StructureMismatchError, match="items of this step are `params`, `state`"):
            checkpoints.restore(param=specs.params)
        with pytest.raises(errors.StructureMismatchError, match=r"specs for `params` list .* `specs\.params`"):
            checkpoints.restore(params=specs)


def test_what_cannot_be_divided_is_in_the_report(open_run, monkeypatch):
    """All of it, by name, before anything is read: JAX would name none, and Orbax call it corrupt."""
    with open_run() as checkpoints:
        checkpoints.save(0, a=np.ones((3, 8)), b=np.ones(8), c=np.ones((4, 3)))
        like = {name: jax.ShapeDtypeStruct(shape, float, sharding=ROWS) for name, shape in (("a", (3, 8)), ("b", (8,)))}
        like["c"] = jax.ShapeDtypeStruct((4, 3), float, sharding=ROWS)
        with jax.enable_x64(True):
            monkeypatch.setattr(_fit, "read_onto", None)
            with pytest.raises(errors.StructureMismatchError) as caught:
                checkpoints.restore(**like)
    reason = "and array axis 0 is partitioned 8 times, but the dimension size is"
    assert [line.replace("PartitionSpec", "P") for line in str(caught.value).splitlines()[1:-1]] == [
        f"  sharding:   `a` cannot be on P('d',): it has the shape [3, 8], {reason} 3",
        f"  sharding:   `c` cannot be on P('d',): it has the shape [4, 3], {reason} 4",
    ]


def test_a_step_that_is_deleted_while_it_is_read(open_run, monkeypatch):
    """By a writer's `keep=`: the next latest is read, or there is no such step; it is never corrupt."""
    with open_run() as checkpoints:
        for step in range(4):
            checkpoints.save(step, x=np.full(3, step))
    opening, reading = _checkpointer.open_step, _fit.read_onto

    def delete_first(path):
        shutil.rmtree(path)
        monkeypatch.setattr(_checkpointer, "open_step", opening)
        return opening(path)

    def delete_then(reader, targets):
        monkeypatch.setattr(_fit, "read_onto", reading)
        shutil.rmtree(checkpoints.path(int(reader.metadata["jscope.step"])))
        return reading(reader, targets)

    monkeypatch.setattr(_checkpointer, "open_step", delete_first)
    assert checkpoints.restore(x=np.zeros(3, int))["x"].tolist() == [2, 2, 2]
    monkeypatch.setattr(_fit, "read_onto", delete_then)
    # A file that is open can be read to its end, whatever happens to its name.
    assert checkpoints.restore(x=np.zeros(3, int))["x"].tolist() in ([1, 1, 1], [2, 2, 2])
    monkeypatch.setattr(_fit, "read_onto", delete_then)
    assert checkpoint.restore({"x": np.zeros(3, int)}, checkpoints.directory)["x"].tolist() in ([0, 0, 0], [1, 1, 1])
    monkeypatch.setattr(_checkpointer, "open_step", delete_first)
    with pytest.raises(checkpoint.MissingCheckpointError, match="has no step 0; there "):
        checkpoints.restore(0)


def test_values_that_jax_would_cut_are_reported(open_run):
    """64 bits come back on the host; JAX has them only with `jax_enable_x64`."""
    with open_run() as checkpoints:
        checkpoints.save(0, n=np.array([2**40]))
        with pytest.raises(errors.StructureMismatchError, match=r"`n` is wanted in int64, which .* `jax_enable_x64`"):
            checkpoints.restore(n=jax.ShapeDtypeStruct((1,), np.dtype("int64")))
        assert checkpoints.restore()["n"].tolist() == [2**40]
        with jax.enable_x64(True):
            assert checkpoints.restore(n=jnp.zeros(1, jnp.int64))["n"].tolist() == [2**40]


def test_python_numbers_take_the_dtype_that_is_wanted(open_run):
    """As in JAX: an int may become an int32 or an int; a float is not an int."""
    with open_run() as checkpoints:
        checkpoints.save(0, step=3, rate=0.5, count=jnp.int32(4))
        back = checkpoints.restore(step=jnp.int32(0), rate=np.float32(0), count=0)
        assert (back["step"].dtype, int(back["step"]), back["rate"], back["count"]) == (jnp.int32, 3, 0.5, 4)
        with pytest.raises(errors.StructureMismatchError, match="`rate` is a Python `float`, expected a Python `int`"):
            checkpoints.restore(rate=0)


def test_steps_are_whatever_is_an_index(open_run):
    """NumPy's and JAX's, too."""
    with open_run() as checkpoints:
        for step in (np.int64(1), jnp.int32(2), np.array(3)):
            checkpoints.save(step, x=int(step))
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2, 3]
        assert checkpoints.restore(jnp.int32(2), x=0) == {"x": 2}
        for wrong in (1.0, True, np.array([1]), -1):
            with pytest.raises(errors.InvalidArgumentError, match="A step must be a non-negative int"):
                checkpoints.save(wrong, x=1)


UNSAVABLE = {
    "long double": (np.longdouble(1), "`x/a` .*(float128|longdouble)"),
    "record": (np.zeros(2, [("a", "f4")]), "`x/a` "),
    "deleted": (None, r"`x/a` cannot be saved: it was deleted, or donated .*\nSave what that"),
}


@pytest.mark.parametrize("case", UNSAVABLE)
def test_what_cannot_be_saved_is_unsupported(open_run, case):
    """By name, before anything is written: no fault of the disk."""
    leaf, match = UNSAVABLE[case]
    if leaf is None:
        leaf = jnp.ones(3)
        jax.jit(lambda x: x + 1, donate_argnums=0)(leaf)
    with open_run() as checkpoints:
        with pytest.raises(checkpoint.UnsupportedCheckpointError, match=match):
            checkpoints.save(0, x={"a": leaf})
        checkpoints.save(0, x={"a": 1})


def test_there_is_one_writer(open_run):
    """From the first save to `close`, or until the process ends; reading is free."""
    with open_run() as first:
        first.save(0, x=1)
        second = open_run()
        first.wait()
        assert second.restore(x=0) == {"x": 1}
        with pytest.raises(
            checkpoint.CheckpointLockedError, match="written to by another `Checkpointer` of this process"
        ):
            second.save(1, x=2)
    second.save(1, x=2)
    second.close()
    assert second.steps() == [0, 1]


def in_threads(count, function):
    """What a function returns, or raises, in each of several threads that begin at the same time."""
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait()
        try:
            return function(i)
        except Exception as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_threads_save_one_after_the_other(open_run):
    """All with one writer: none is lost, and none takes another for a stranger."""
    with open_run() as checkpoints:
        assert in_threads(4, lambda i: checkpoints.save(i, x=np.full(1000, i))) == [True] * 4
        checkpoints.wait()
        assert checkpoints.steps() == [0, 1, 2, 3]
        assert all((checkpoints.restore(i)["x"] == i).all() for i in range(4))


def test_writers_in_threads_are_two(open_run):
    """The first has the directory, whichever it is; the others are told."""
    writers = [open_run() for _ in range(4)]
    results = in_threads(4, lambda i: writers[i].save(i, x=i))
    assert results.count(True) == 1
    refused = [each for each in results if each is not True]
    assert all(isinstance(each, checkpoint.CheckpointLockedError) for each in refused), results
    for each in writers:
        each.close()
    assert open_run().steps() == [results.index(True)]


def test_the_newest_step_is_the_highest(open_run):
    """Whenever it was saved: who goes back to an earlier one, and on, keeps those before the one just saved."""
    with open_run(keep=2) as checkpoints:
        for step in (10, 20, 30):
            checkpoints.save(step, x=step)
        checkpoints.wait()
        assert checkpoints.steps() == [20, 30]
        for step in (22, 24):
            checkpoints.save(step, x=step)
        checkpoints.wait()
        assert (checkpoints.steps(), checkpoints.latest_step()) == ([22, 24, 30], 30)
        with pytest.raises(checkpoint.CheckpointExistsError):
            checkpoints.save(30, x=30)


def test_a_forgotten_writer_is_none(open_run):
    """A `Checkpointer` that nobody holds any more does not stand in the way."""
    first = open_run()
    first.save(0, x=1)
    first.wait()
    del first
    with open_run() as second:
        assert second.save(1, x=2)


def test_what_an_interrupted_save_left_is_no_step(open_run, store):
    """And it is cleared away by the next writer."""
    with open_run() as checkpoints:
        checkpoints.save(0, x=1)
    left = [".7.tmp-0123456789abcdef", "7.orbax-checkpoint-tmp"]
    for name in left:
        (checkpoints.directory / name).mkdir()
    for name in ("8", "09", "note", "-1"):
        (checkpoints.directory / name).mkdir()
    with open_run() as checkpoints:
        assert checkpoints.steps() == [0]
        checkpoints.save(1, x=1)
    assert not {entry.name for entry in checkpoints.directory.iterdir()} & {*left}


def test_swapped_steps_are_found(open_run):
    """A step knows its number."""
    with open_run() as checkpoints:
        checkpoints.save(1, x=1)
        checkpoints.save(2, x=2)
    os.rename(checkpoints.path(1), checkpoints.directory / "moved")
    os.rename(checkpoints.path(2), checkpoints.path(1))
    with pytest.raises(checkpoint.CorruptCheckpointError, match="holds step 2, not 1: files were swapped or renamed"):
        checkpoints.restore(1)
    copy = shutil.copytree(checkpoints.path(1), checkpoints.directory / "best")
    assert checkpoint.load_variable(copy, "x") == 2


def test_a_place_that_cannot_be_written_is_an_error(tmp_path, store):
    """A directory below a file here; a read-only one, where the user is not root."""
    (tmp_path / "file").write_text("")
    with pytest.raises(checkpoint.CheckpointWriteError, match=r"Nothing was saved to .*file"):
        Checkpointer(tmp_path / "file" / "run", store=store).save(0, x=1)
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o555)
        with pytest.raises(OSError, match=r"Make .* writable, or save elsewhere") as caught:
            Checkpointer(tmp_path / "locked" / "run", store=store).save(0, x=1)
        assert caught.value.errno == errno.EACCES


MISUSE = {
    "keep": (lambda d: Checkpointer(d, keep=0), "keep=0 must be a positive int"),
    "every": (lambda d: Checkpointer(d, every=True), "every=True must be"),
    "store": (lambda d: Checkpointer(d, store="zip"), "store='zip' is neither"),
    "negative": (lambda d: Checkpointer(d).save(-1), "A step must be a non-negative int, not -1"),
    "text": (lambda d: Checkpointer(d).save("1"), "not '1' of type `str`"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_told(tmp_path, case):
    """Arguments of the wrong kind."""
    call, match = MISUSE[case]
    with pytest.raises(errors.InvalidArgumentError, match=match):
        call(tmp_path)
