"""Conversions of files: read onto devices, written back, one array at a time, by one process or several."""

import os
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jscope
from jscope import checkpoint
from jscope.checkpoint import Conversion, Function, Rule, safetensors, tensorbundle
from jscope.cli import main
from tests import processes
from tests.checkpoint.tables import conversions
from tests.checkpoint.test_conversions import equal

MESH = Mesh(np.array(jax.devices()).reshape(2, 4), ("x", "y"))

GPT2 = Conversion(
    [
        Rule(
            "layers/attention/{part}/kernel",
            "h.{i}.attn.c_attn.weight",
            "d (part h k) -> i d h k",
            where={"part": ["query", "key", "value"], "h": 4},
        ),
        Rule(
            "layers/{norm}/gamma",
            "h.{i}.{norm}.weight",
            "d -> i d",
            where={"norm": {"attention_norm": "ln_1", "mlp_norm": "ln_2"}},
        ),
        Rule("norm/gamma", "ln_f.weight"),
    ],
    drop=["h.{i}.attn.bias"],
)


def gpt2(layers=3, width=8):
    """Arrays under OpenAI's names, without what is dropped."""
    random = np.random.default_rng(0)
    shapes = {"ln_f.weight": (width,)}
    for i in range(layers):
        shapes[f"h.{i}.attn.c_attn.weight"] = (width, 3 * width)
        shapes |= {f"h.{i}.{norm}.weight": (width,) for norm in ("ln_1", "ln_2")}
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def wanted(arrays, sharding=None):
    """What stands for arrays, on a sharding."""
    return {
        name: jax.ShapeDtypeStruct(each.shape, each.dtype, sharding=sharding and sharding(each))
        for name, each in arrays.items()
    }


def spread(array):
    """A sharding over as many axes as can be divided over the devices."""
    left = ["x", "y"]
    sizes = {"x": 2, "y": 4}
    axes = [left.pop() if left and size % sizes[left[-1]] == 0 and size else None for size in array.shape]
    return NamedSharding(MESH, PartitionSpec(*axes))


def check_files(case, directory):
    """A random table makes what it must of a file, written array by array, and its inverse takes that back."""
    conversion, theirs, ours = case
    there, here, back = (directory / f"{name}.safetensors" for name in ("there", "here", "back"))
    safetensors.save(there, theirs)
    reader = checkpoint.load_checkpoint(there)
    safetensors.save(here, {name: reader.get_tensor(name) for name in theirs}, conversion=conversion)
    found = checkpoint.load_checkpoint(here)
    equal({name: found.get_tensor(name) for name in found.get_variable_to_shape_map()}, ours)
    restored = checkpoint.restore(wanted(theirs), here, conversion=conversion.inverse)
    equal(jscope.tree.flatten(restored), theirs)
    safetensors.save(back, restored)
    equal({name: checkpoint.load_variable(back, name) for name in theirs}, theirs)


@settings(max_examples=40)
@given(conversions(rules=2))
def test_random_tables_are_taken_back_from_files(tmp_path_factory, case):
    """From file to file, and from a file onto a device."""
    check_files(case, tmp_path_factory.mktemp("files"))


@pytest.mark.slow
@settings(max_examples=int(os.environ.get("JSCOPE_TABLES", "400")))
@given(conversions(rules=2))
def test_many_random_tables_are_taken_back_from_files(tmp_path_factory, case):
    """The same, of as many tables as `JSCOPE_TABLES` says."""
    check_files(case, tmp_path_factory.mktemp("files"))


def check_devices(case, directory):
    """A random table makes what it must on eight devices, each of which gets its part."""
    conversion, theirs, ours = case
    for each, source, made in ((conversion, theirs, ours), (conversion.inverse, ours, theirs)):
        safetensors.save(directory / "x.safetensors", source)
        restored = checkpoint.restore(wanted(made, spread), directory / "x.safetensors", conversion=each)
        equal(jscope.tree.flatten(restored), made)
        for name, array in jscope.tree.flatten(restored).items():
            assert array.sharding == spread(made[name])


@settings(max_examples=15)
@given(conversions(rules=1))
def test_random_tables_on_eight_devices(tmp_path_factory, case):
    """Sharded over axes of all kinds: stacked ones, composed ones, those in another order."""
    check_devices(case, tmp_path_factory.mktemp("devices"))


@pytest.mark.slow
@settings(max_examples=int(os.environ.get("JSCOPE_TABLES", "200")))
@given(conversions(rules=1))
def test_more_random_tables_on_eight_devices(tmp_path_factory, case):
    """The same, of as many tables as `JSCOPE_TABLES` says."""
    check_devices(case, tmp_path_factory.mktemp("devices"))


def test_what_follows_reads_what_the_first_makes(tmp_path):
    """The names that a model wants are those of the last; a size that only the model tells is found there, too."""
    first = Conversion([Rule("a.{i}", "x/{i}")], separators=(".", "/"))
    both = first.then(Conversion([Rule("w", "a.{i}", "(h k) -> i h k")]))
    theirs = {f"x/{i}": np.arange(6.0, dtype=np.float32) + i for i in range(2)}
    safetensors.save(tmp_path / "x.safetensors", theirs)
    likes = {"w": jax.ShapeDtypeStruct((2, 3, 2), np.float32)}
    both.check(likes, theirs)
    params = checkpoint.restore(likes, tmp_path / "x.safetensors", conversion=both)
    np.testing.assert_array_equal(params["w"], np.stack(list(theirs.values())).reshape(2, 3, 2))
    assert not jscope.tree.diff(both.inverse.arrays(params), theirs)


def test_a_table_reads_writes_and_checks(tmp_path):
    """GPT-2: its names are read into stacked, split arrays, and written back, in both formats."""
    theirs = gpt2() | {"h.0.attn.bias": np.ones((1, 1), np.float32)}
    ours = GPT2.arrays(theirs)
    safetensors.save(tmp_path / "a.safetensors", theirs)
    likes = jscope.tree.unflatten(wanted(ours))
    params = checkpoint.restore(likes, tmp_path / "a.safetensors", conversion=GPT2)
    chex.assert_trees_all_equal(params, jscope.tree.unflatten(ours))
    safetensors.save(tmp_path / "b.safetensors", params, conversion=GPT2.inverse)
    tensorbundle.save(tmp_path / "c.ckpt", params, conversion=GPT2.inverse)
    for name in ("b.safetensors", "c.ckpt"):
        found = checkpoint.load_checkpoint(tmp_path / name)
        equal({each: found.get_tensor(each) for each in found.get_variable_to_shape_map()}, gpt2())
        again = checkpoint.restore(likes, tmp_path / name, conversion=GPT2)
        chex.assert_trees_all_equal(again, params)


def test_what_does_not_fit_is_one_report_of_both_sides(tmp_path):
    """Names of theirs that no rule takes, rules without arrays, and what the model lacks or has in another shape."""
    theirs = gpt2() | {"h.0.extra": np.ones(2)}
    del theirs["ln_f.weight"]
    safetensors.save(tmp_path / "a.safetensors", theirs)
    likes = wanted(GPT2.arrays(gpt2()))
    likes["layers/mlp_norm/gamma"] = jax.ShapeDtypeStruct((3, 4), np.float32)
    with pytest.raises(jscope.errors.StructureMismatchError) as caught:
        checkpoint.restore(likes, tmp_path / "a.safetensors", conversion=GPT2)
    for line in (
        "no array:   `ln_f.weight`, which is to be `norm/gamma`.",
        "unmatched:  `h.0.extra` float64[2]",
        "missing:    `norm/gamma` float32[8]",
        "shape:      `layers/mlp_norm/gamma` is float32[3, 8], expected float32[3, 4]",
    ):
        assert line in str(caught.value)
    with pytest.raises(jscope.errors.StructureMismatchError) as checked:
        GPT2.check(likes, checkpoint.load_checkpoint(tmp_path / "a.safetensors"))
    assert str(caught.value).splitlines()[1:5] == str(checked.value).splitlines()[1:5]


def test_nothing_is_written_unless_all_fits(tmp_path):
    """The old file stays."""
    safetensors.save(tmp_path / "a.safetensors", {"x": np.ones(2)})
    with pytest.raises(jscope.errors.StructureMismatchError, match=r"no array: .*norm/gamma"):
        safetensors.save(tmp_path / "a.safetensors", {"y": np.ones(2)}, conversion=GPT2.inverse)
    with pytest.raises(jscope.errors.StructureMismatchError, match=r"no array: .*norm/gamma"):
        tensorbundle.save(tmp_path / "b.ckpt", {"y": np.ones(2)}, conversion=GPT2.inverse)
    assert sorted(os.listdir(tmp_path)) == ["a.safetensors"]
    assert checkpoint.list_variables(tmp_path / "a.safetensors") == [("x", [2])]


def test_the_command_converts_by_a_table(tmp_path, capsys):
    """There and back, into both formats."""
    rules, a, b, c = (str(tmp_path / name) for name in ("rules.toml", "a.safetensors", "b.ckpt", "c.safetensors"))
    Path(rules).write_text(GPT2.to_toml(), encoding="utf8")
    safetensors.save(a, gpt2())
    assert main(["convert", a, b, "--rules", rules]) == 0
    assert "cannot be taken back: `h.{i}.attn.bias` is dropped" in capsys.readouterr().err
    assert main(["convert", b, c, "--rules", rules, "--inverse"]) == 0
    assert main(["diff", a, c]) == 0
    assert main(["convert", a, c, "--rules", rules, "--inverse", "--force"]) == 2
    assert "does not fit" in capsys.readouterr().err
    Path(rules).write_text("[[rule]]\nour = 1", encoding="utf8")
    assert main(["convert", a, c, "--rules", rules, "--force"]) == 2
    assert "has the key `our`, which means nothing. Did you mean `ours`" in capsys.readouterr().err


def test_init_from_checkpoint_takes_a_conversion(tmp_path):
    """The map is about the names that the table makes."""
    safetensors.save(tmp_path / "a.safetensors", gpt2() | {"unknown": np.ones(1)})
    params = {"net": {"scale": np.zeros(8, np.float32)}}
    for source in (tmp_path / "a.safetensors", gpt2()):
        new = checkpoint.init_from_checkpoint(params, source, {"norm/gamma": "net/scale"}, conversion=GPT2)
        np.testing.assert_array_equal(new["net"]["scale"], gpt2()["ln_f.weight"])


def test_what_is_only_renamed_keeps_its_kind(tmp_path):
    """Random keys and Python numbers come back as what they were."""
    table = Conversion([Rule("key", "rng"), Rule("step", "count")])
    safetensors.save(tmp_path / "a.safetensors", {"key": jax.random.key(3), "step": 7}, conversion=table.inverse)
    like = {"key": jax.random.key(0), "step": 0}
    back = checkpoint.restore(like, tmp_path / "a.safetensors", conversion=table)
    assert back["step"] == 7
    assert back["key"] == jax.random.key(3)


def test_initial_values_complete_what_a_table_makes(tmp_path):
    """`missing="init"` and `select=` go with a conversion as they go with `rename=`."""
    model = jscope.transform(lambda s: [(s / name).get_variable("w", (2, 3)) for name in ("old", "new")])
    safetensors.save(tmp_path / "a.safetensors", {"fc.weight": np.ones((3, 2), np.float32), "more": np.ones(1)})
    table = Conversion([Rule("old/w", "fc.weight", "o i -> i o")])
    new = checkpoint.restore(
        model.specs(),
        tmp_path / "a.safetensors",
        conversion=table,
        select="^old/",
        missing="init",
        key=jax.random.key(0),
    )
    np.testing.assert_array_equal(new["old"]["w"], np.ones((2, 3)))
    np.testing.assert_array_equal(new["new"]["w"], model.init(jax.random.key(0))["new"]["w"])


def test_a_function_gets_all_of_its_array(tmp_path):
    """From a file, onto a sharding, and back."""
    pad = Function(lambda x: np.pad(x, ((0, 3), (0, 0))), lambda x: x[:5], lambda s: s.update(shape=(8, 2)))
    table = Conversion([Rule("w", "embed", function="pad")], functions={"pad": pad})
    safetensors.save(tmp_path / "a.safetensors", {"embed": np.arange(10.0, dtype=np.float32).reshape(5, 2)})
    sharding = NamedSharding(MESH, PartitionSpec("y", "x"))
    like = {"w": jax.ShapeDtypeStruct((8, 2), np.float32, sharding=sharding)}
    params = checkpoint.restore(like, tmp_path / "a.safetensors", conversion=table)
    np.testing.assert_array_equal(params["w"], np.arange(16.0).reshape(8, 2) * (np.arange(8) < 5)[:, None])
    safetensors.save(tmp_path / "b.safetensors", params, conversion=table.inverse)
    assert checkpoint.load_variable(tmp_path / "b.safetensors", "embed").tolist() == [
        [2.0 * i, 2 * i + 1] for i in range(5)
    ]


@pytest.mark.slow
def test_two_processes_read_their_parts(tmp_path):
    """Each reads what its devices have of stacked and split arrays; see `converting.py`."""
    program, port = Path(__file__).parent / "converting.py", processes.free_port()
    processes.run(*([program, rank, 2, port, tmp_path] for rank in range(2)))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
@pytest.mark.parametrize("what", ["stack", "unstack", "file", "unfile"])
def test_memory_is_that_of_the_result_and_two_arrays(tmp_path, what):
    """Of 16 arrays of 16 MiB, stacked and taken apart, on a device and from file to file; see `memory.py`."""
    program = Path(__file__).parent / "memory.py"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, program, what, tmp_path], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    beyond, largest = map(int, done.stdout.split())
    assert beyond < 2 * largest, done.stdout


@pytest.mark.parametrize("store", ["safetensors", "orbax"])
def test_a_step_of_a_training_is_converted(tmp_path, store):
    """Of what a `Checkpointer` saved, its params; cast on the way, too, where that is allowed."""
    theirs = gpt2()
    with checkpoint.Checkpointer(tmp_path, store=store) as checkpoints:
        checkpoints.save(1, params=theirs, opt_state={"count": 3})
    ours = GPT2.arrays(theirs)
    likes = {name: jax.ShapeDtypeStruct(each.shape, "bfloat16", sharding=spread(each)) for name, each in ours.items()}
    back = checkpoint.restore(likes, tmp_path, conversion=GPT2, cast=True)
    chex.assert_trees_all_equal(back, jax.tree.map(lambda x: x.astype("bfloat16"), ours))


def test_slots_beside_variables_are_taken_where_a_rule_has_them(tmp_path):
    """In a checkpoint of TensorFlow."""
    tensorbundle.save(tmp_path / "a.ckpt", {"net/w": np.ones((2, 3)), "net/w/Adam": np.zeros((2, 3))})
    table = Conversion([Rule("w", "net/w", "i o -> o i"), Rule("m", "net/w/Adam", "i o -> o i")], separators=("/", "/"))
    for rules, names in ((table.rules[:1], ["w"]), (table.rules, ["w", "m"])):
        like = {name: np.zeros((3, 2)) for name in names}
        back = checkpoint.restore(like, tmp_path / "a.ckpt", conversion=Conversion(rules, separators=("/", "/")))
        assert {name: each.sum() for name, each in back.items()} == {name: 6 * (name == "w") for name in names}


def test_specs_are_converted():
    """Shapes, dtypes and logical axes follow the rules; initial values do not."""
    axes = ("in", "out")
    specs = jscope.transform(lambda s: (s / "fc").get_variable("w", (2, 3), axes=axes)).specs()
    there = specs.convert(Conversion([Rule("fc/w", "fc.weight", "o i -> i o", dtype="bfloat16 -> float32")]).inverse)
    spec = there["fc.weight"]
    assert (spec.shape, str(spec.dtype), spec.axes, spec.path) == ((3, 2), "bfloat16", ("out", "in"), "fc.weight")
    with pytest.raises(jscope.errors.InitializerError, match="converted from fc/w"):
        there.materialize(jax.random.key(0))


def test_a_conversion_can_be_differentiated():
    """The gradient of what is made is taken back by the inverse."""
    theirs = jax.device_put(gpt2())
    ours = GPT2.arrays(theirs)
    grads = jax.grad(lambda p: sum((x**2).sum() for x in jax.tree.leaves(jscope.tree.convert(p, GPT2))))(theirs)
    chex.assert_trees_all_close(grads, GPT2.inverse.arrays(jax.tree.map(lambda x: 2 * x, ours)))
