import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jscope.checkpoint import load_checkpoint, safetensors, tensorbundle
from jscope.cli import _contents, _output, main

DATA = Path(__file__).parent / "checkpoint/data"
TREE = {"net": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.float32)}, "step": np.int64(7)}


@pytest.fixture
def model(tmp_path):
    """A safetensors file."""
    safetensors.save(tmp_path / "model.safetensors", TREE, metadata={"license": "CC0"})
    return str(tmp_path / "model.safetensors")


@pytest.fixture
def jscope_main(capsys):
    """Runs a command; returns exit status, stdout and stderr."""

    def run(*arguments):
        status = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def flat(path):
    reader = load_checkpoint(path)
    return {name: reader.get_tensor(name).tolist() for name in reader.get_variable_to_shape_map()}


def test_ls(jscope_main, model):
    """Names, shapes, dtypes, and the sum; what is stored beside, if asked for."""
    status, out, err = jscope_main("ls", model, "--select", "net", "--metadata")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "name    shape   dtype",
        "net/w   2, 3    float32",
        "net/b   3       float32",
        "2 variables, 9 elements, 36 bytes",
        "license: CC0",
    ]


def test_ls_stats(jscope_main, tmp_path, monkeypatch):
    """Of finite values, of absolutes where complex; of large arrays as of small ones."""
    values = np.float32([1e6 + 1, np.nan, 1e6 + 3, 1e6 + 5, np.inf])
    tree = {"w": values, "z": np.complex64([3 + 4j]), "e": np.zeros(0, np.float32), "q": np.array([1, -1], jnp.int4)}
    safetensors.save(tmp_path / "m.safetensors", tree | {"nan": np.float32([np.nan])})
    whole = jscope_main("ls", "--stats", tmp_path / "m.safetensors")[1]
    monkeypatch.setattr("jscope.cli._values.PIECE", 2)
    assert jscope_main("ls", "--stats", tmp_path / "m.safetensors")[1] == whole
    rows = {line.split()[0]: line.split()[-5:] for line in whole.splitlines()}
    assert rows["w"] == ["1e+06", "1.633", "1e+06", "1e+06", "2"]
    assert rows["z"] == ["5", "0", "5", "5", "0"]
    assert rows["q"] == ["0", "1", "-1", "1", "0"]
    assert rows["e"][-1] == "0"
    assert rows["nan"][-1] == "1"


def test_tensorflow_is_seen_as_its_variables(jscope_main):
    """Under their paths and without slots; `--raw` shows all."""
    _, out, err = jscope_main("ls", DATA / "objects")
    assert "\nmodel/layer/w " in out
    assert "left out 3 that are not variables" in err
    _, out, err = jscope_main("ls", DATA / "objects", "--raw")
    assert err == ""
    assert "\n_CHECKPOINTABLE_OBJECT_GRAPH " in out
    assert "\nmodel/layer/w/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE " in out


def test_diff(jscope_main, model, tmp_path, monkeypatch):
    """Exit status 0, 1 or 2; a line for each difference, told by kind; pieces of large arrays are all looked at."""
    monkeypatch.setattr("jscope.cli._diff.PIECE", 2)
    assert jscope_main("diff", model, model) == (0, "no difference in 3 variables\n", "")
    other = {"net": {"w": TREE["net"]["w"].copy(), "c": np.zeros(3)}, "step": np.int32(7)}
    other["net"]["w"][1, 2] += 0.5
    tensorbundle.save(tmp_path / "other.ckpt", other)
    status, out, err = jscope_main("diff", model, tmp_path / "other.ckpt")
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "what        name    difference",
        "only in A   net/b   float32[3]",
        "only in B   net/c   float64[3]",
        "changed     step    int64[] -> int32[]",
        "values      net/w   up to 0.5",
    ]
    assert jscope_main("diff", model, tmp_path / "other.ckpt", "--select", "net/w", "--tolerance", "0.5")[0] == 0
    assert jscope_main("diff", model, tmp_path / "nothing")[0] == 2


@pytest.mark.parametrize("tolerance", ["nan", "-1"])
def test_a_tolerance_is_a_distance(jscope_main, model, tolerance):
    """Any other number would make everything equal, or nothing."""
    status, _, err = jscope_main("diff", model, model, f"--tolerance={tolerance}")
    assert (status, "must be a non-negative number" in err) == (2, True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4", "uint8", "complex64", "bool"])
def test_diff_of_every_kind_of_dtype(jscope_main, tmp_path, dtype):
    """The distance is that of the numbers, whatever their dtype can hold."""
    dtype = np.dtype(getattr(jnp, dtype))
    for name, value in {"a": 0, "b": 1}.items():
        safetensors.save(tmp_path / f"{name}.safetensors", {"w": np.full(3, value).astype(dtype)})
    status, out, _ = jscope_main("diff", tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert (status, out.split()[-3:]) == (1, ["up", "to", "1"])


def test_diff_of_strings_and_nan(jscope_main, tmp_path):
    """A NaN equals itself; strings are compared, too."""
    for name, text in {"a": "x", "b": "y"}.items():
        tensorbundle.save(tmp_path / f"{name}.ckpt", {"nan": np.float32([np.nan]), "s": np.array([text])})
    status, out, _ = jscope_main("diff", tmp_path / "a.ckpt", tmp_path / "b.ckpt")
    assert (status, out.count("\n")) == (1, 2)
    assert "changed   s" in out


def test_convert_there_and_back(jscope_main, model, tmp_path):
    """Through TensorFlow's format and back: the same arrays, bit by bit."""
    assert jscope_main("convert", model, tmp_path / "m.ckpt-7")[0] == 0
    assert tensorbundle.open(tmp_path).path == str(tmp_path / "m.ckpt-7")
    assert jscope_main("convert", tmp_path, tmp_path / "back.safetensors")[0] == 0
    assert jscope_main("diff", model, tmp_path / "back.safetensors")[0] == 0
    assert jscope_main("convert", model, tmp_path / "odd", "--to", "tensorflow")[0] == 0
    assert jscope_main("convert", tmp_path / "odd.index", tmp_path / "odd.bin", "--to", "safetensors")[0] == 0
    assert flat(tmp_path / "odd.bin") == flat(model)


def test_convert_to_orbax_and_back(jscope_main, model, tmp_path):
    """A directory with the metadata, which not even `--force` replaces."""
    pytest.importorskip("orbax.checkpoint")
    target = tmp_path / "orbax"
    assert jscope_main("convert", model, target, "--to", "orbax")[0] == 0
    assert jscope_main("diff", model, target)[0] == 0
    assert jscope_main("convert", target, tmp_path / "back.safetensors")[0] == 0
    assert flat(tmp_path / "back.safetensors") == flat(model)
    assert load_checkpoint(tmp_path / "back.safetensors").metadata["license"]
    status, _, err = jscope_main("convert", model, target, "--to", "orbax", "--force")
    assert (status, "is there already. Give another name, or delete it first" in err) == (2, True)


def test_convert_says_what_it_leaves_out(jscope_main, model, tmp_path):
    """Metadata, where there is no place for it; slots, unless they are asked for."""
    assert "left out the metadata (license)" in jscope_main("convert", model, tmp_path / "m.ckpt")[2]
    status, _, err = jscope_main("convert", DATA / "partitioned", tmp_path / "p.safetensors")
    assert status == 0
    assert "left out 8 that are not variables" in err
    assert list(flat(tmp_path / "p.safetensors")) == [
        *("beta1_power", "beta2_power", "global_step"),
        *("net/b", "net/w", "net/wide"),
    ]
    assert jscope_main("convert", DATA / "partitioned", tmp_path / "p.ckpt", "--raw")[0] == 0
    assert "net/w/Adam" in flat(tmp_path / "p.ckpt")


def test_nothing_is_replaced_unasked(jscope_main, model, tmp_path):
    """Neither format; `--force` replaces, even the source itself."""
    for target in (model, tmp_path / "m.ckpt"):
        jscope_main("convert", model, tmp_path / "m.ckpt")
        status, _, err = jscope_main("convert", model, target)
        assert (status, "is there already. Give another name, or --force" in err) == (2, True)
    (tmp_path / "m.ckpt.index").unlink()
    status, _, err = jscope_main("convert", model, tmp_path / "m.ckpt")
    assert (status, "m.ckpt.data-00000-of-00001` is there already" in err) == (2, True)
    before = flat(model)
    assert jscope_main("rename", model, model, "--force", "--map", "net=body")[0] == 0
    assert flat(model) == {name.replace("net", "body"): value for name, value in before.items()}


def test_rename(jscope_main, model, tmp_path):
    """Variables, scopes, regular expressions, in order; metadata and kinds come along."""
    rules = ("--map", "net/=body/layer", "--regex", r"layer/(\w)", r"layer_\1", "--map", "step=count")
    status, out, err = jscope_main("rename", model, tmp_path / "new.safetensors", *rules, "--dry-run")
    assert (status, err, (tmp_path / "new.safetensors").exists()) == (0, "", False)
    assert out.splitlines()[1:] == ["net/w   body/layer_w", "net/b   body/layer_b", "step    count"]
    assert jscope_main("rename", model, tmp_path / "new.safetensors", *rules)[0] == 0
    assert flat(tmp_path / "new.safetensors") == {
        "body/layer_w": TREE["net"]["w"].tolist(),
        "body/layer_b": [0, 0, 0],
        "count": 7,
    }
    assert load_checkpoint(tmp_path / "new.safetensors").metadata == {"license": "CC0"}


def test_keys_and_numbers_keep_their_kind(jscope_main, tmp_path):
    """Under their new names."""
    safetensors.save(tmp_path / "a.safetensors", {"key": jax.random.key(3), "count": 5})
    assert jscope_main("rename", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--map", "=x")[0] == 0
    found = safetensors.load(tmp_path / "b.safetensors")["x"]
    assert type(found["count"]) is int
    assert jnp.issubdtype(found["key"].dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["--map", "nett=x"], "`--map nett=x` does not match any name. Did you mean `net/"),
        (["--map", "net/w=net/b"], "`net/w` and `net/b` would both become `net/b`"),
        (["--map", "step=net"], "`net` is a leaf, but also a prefix of `net/w`"),
        (["--map", "step="], "is not a name"),
        (["--regex", "(", "x"], "--regex '(' is not a regular expression"),
        (["--regex", "net", r"\3"], "cannot take the place of 'net': invalid group reference 3"),
        (["--select", "nothing"], "There is nothing to write: 'nothing' does not match any name"),
    ],
)
def test_rules_that_cannot_be(jscope_main, model, tmp_path, rules, message):
    """Each is told before anything is written."""
    status, out, err = jscope_main("rename", model, tmp_path / "new.safetensors", *rules)
    assert (status, out) == (2, "")
    assert message in err
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_a_format_that_is_not_told(jscope_main, model, tmp_path):
    """By suffix or by option."""
    assert "does not tell a format" in jscope_main("convert", model, tmp_path / "x")[2]


@pytest.mark.parametrize("arguments", [[], ["ls"], ["rename", "a", "b", "--map", "no-equals-sign"], ["unknown"]])
def test_usage(arguments, capsys):
    """Exit status 2, as for every error."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: jscope" in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(jscope_main, tmp_path, monkeypatch):
    """Nor is there one that stdout cannot encode, nor one so long that it widens every line."""
    names = {"a\x1b[31mred": 0, "long" * 100: 0, "w": 0, "fake   1   float32\nv": 0}
    reader = tf_like({name: np.zeros(1) for name in names})
    monkeypatch.setattr(_contents, "load_checkpoint", lambda path: reader)
    _, out, _ = jscope_main("ls", "anything")
    assert "\x1b" not in out
    assert r"a\x1b[31mred" in out
    assert r"fake   1   float32\nv" in out
    assert len(out.splitlines()) == 1 + len(names) + 1
    assert max(len(line) for line in out.splitlines() if not line.startswith("long")) < 120


def tf_like(tensors):
    """A reader that is not one of ours."""

    class Reader:
        path, metadata = "anything", {}
        get_tensor = tensors.__getitem__

        def get_variable_to_shape_map(self):
            return {name: list(value.shape) for name, value in tensors.items()}

        def get_variable_to_dtype_map(self):
            return {name: value.dtype for name, value in tensors.items()}

        def close(self):
            pass

    return Reader()


def test_a_terminal_gets_tables_and_bars(jscope_main, model, monkeypatch):
    """By rich, where it is installed: names fold, they are never cut, and brackets are not markup."""
    pytest.importorskip("rich")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(_output, "_BIG", 0)
    status, out, _ = jscope_main("ls", model, "--stats")
    assert status == 0
    assert all(name in out for name in ("net/w", "float32", "2.5"))


def test_rich_takes_nothing_for_markup(capsys):
    """A name may have brackets."""
    rich = pytest.importorskip("jscope._rich")
    rich.print_table(("name",), [("[bold]w[/bold]",)])
    assert "[bold]w[/bold]" in capsys.readouterr().out


def test_without_rich(jscope_main, model, monkeypatch):
    """Everything works on a terminal, in plain columns."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.delitem(sys.modules, "jscope._rich", raising=False)
    assert jscope_main("ls", model)[1].startswith("name    shape   dtype\nnet/w   2, 3    float32\n")


def test_ls_prints_json_for_programs(jscope_main, tmp_path):
    """One object, in ASCII, with statistics where they are asked for."""
    safetensors.save(tmp_path / "x", {"w": np.float32([1, 3]), "\u00e9": np.zeros((0, 2))}, metadata={"run": "17"})
    status, out, _ = jscope_main("ls", tmp_path / "x", "--json", "--stats")
    assert status == 0
    assert out.isascii()
    found = json.loads(out)
    assert found["metadata"] == {"run": "17"}
    expected = {"mean": 2, "std": 1, "min": 1, "max": 3, "not finite": 0}
    assert found["variables"]["w"] == {"shape": [2], "dtype": "float32", "bytes": 8} | expected
    assert found["variables"]["\u00e9"]["mean"] is None
    safetensors.save(tmp_path / "y", {"large": np.array([1e308, -1e200, 0.1])})
    large = json.loads(jscope_main("ls", tmp_path / "y", "--json", "--stats")[1], parse_constant=pytest.fail)
    assert large["variables"]["large"] | {"std": None, "min": -1e200, "max": 1e308} == large["variables"]["large"]
    assert json.loads(jscope_main("ls", tmp_path / "x", "--json", "--select", "w")[1])["variables"].keys() == {"w"}


def test_as_a_program(model, tmp_path):
    """Exit statuses, one clean paragraph on stderr, and silence where a pipe is closed early."""
    environment = os.environ | {"JAX_PLATFORMS": "nonexistent"}  # No device is ever touched.
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(Path(model).read_bytes()[:-1])
    program = f"{sys.executable} -m jscope"
    script = f"{program} ls {model} | true; {program} diff {model} {damaged}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"jscope: .*damaged\.safetensors", done.stderr)
    assert "Traceback" not in done.stderr


def test_the_document(tmp_path, monkeypatch, capfd):
    """What `docs/command_line.md` shows is what is printed, on stdout or stderr."""
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "docs/command_line.md").read_text(encoding="utf8")
    (setup,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(setup, {})
    sessions = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    status = None
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(sessions), re.MULTILINE):
        if command == "echo $?":
            assert shown == f"{status}\n"
            continue
        assert command.startswith("python -m jscope ")
        status = main(command.split()[3:])
        out, err = capfd.readouterr()
        assert shown in (out, err)
    assert status == 2
