"""A table that makes all of ours from all of theirs is used as a whole; nothing less is."""

from __future__ import annotations

import re

import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import checkpoint, nn
from jscope.checkpoint import Conversion, Function, Rule, safetensors, tables
from jscope.cli import main
from jscope.errors import InvalidArgumentError
from tests.checkpoint.layer_tables import CASES, TABLES, ours, theirs
from tests.checkpoint.test_plan import Arrays
from tests.checkpoint.test_tables import IDS, transformer
from tests.crossed import mostly_slow

# Of a convolution by itself, a window may be as long as there are channels.
TOLD = ("dense", "batch_norm", "lstm", "gru", "rnn", "layer_norm")
NAMED = [case for case in CASES if not case[1].endswith("_deep")]
"""Which of several layers each of ours is, nothing tells but the caller."""
QUICK = [case for case in NAMED if case[1] in ("lstm", "batch_norm", "conv_transpose")]


def grades(proposal):
    return {row.ours: row.grade for row in proposal.rows}


@pytest.mark.parametrize("case", mostly_slow(NAMED, *QUICK), ids="-".join)
def test_a_file_of_a_library_is_recognized(case):
    """With layers of ours and arrays that were recorded, what is proposed makes what the table does."""
    library, name = case
    _, specs, _, table = ours(library, name)
    arrays, _ = theirs(library, name)
    proposal = checkpoint.plan(specs, Arrays(arrays))
    assert proposal.recognized is not None
    assert {row.reason.split("`")[1].split(",")[0] for row in proposal.rows} <= {f"tables.{each}" for each in TABLES}
    assert not jscope.tree.diff(jscope.tree.convert(arrays, proposal.conversion), jscope.tree.convert(arrays, table))
    if name in TOLD:
        assert {*grades(proposal).values()} == {"certain"}


def stored(library="pytorch", scanned=True):
    """A model, and its arrays as a library has them."""
    specs = jscope.specs(transformer(scanned), IDS)
    random = np.random.default_rng(0)
    values = specs.map(lambda spec: random.random(spec.shape, np.float32))
    return specs, jscope.tree.flatten(jscope.tree.convert(values, TABLES[library](specs).inverse)), values


@pytest.mark.parametrize("scanned", [True, False])
@pytest.mark.parametrize("library", TABLES)
def test_a_model_of_layers_is_recognized(library, scanned):
    """Matrices that are square and those that are not, stacked or not; each row says of which table it is."""
    specs, arrays, values = stored(library, scanned)
    proposal = checkpoint.plan(specs, Arrays(arrays))
    assert {(row.grade, row.reason) for row in proposal.rows} == {("certain", f"`tables.{library}` matches as a whole")}
    assert {name for row in proposal.rows for name in row.names} == {*specs}
    assert not jscope.tree.diff(jscope.tree.convert(arrays, proposal.conversion), values)
    assert not proposal.unused
    assert Conversion.from_toml(proposal.to_toml()) == proposal.conversion


def extra(arrays):
    arrays["extra"] = np.ones(3)


def missing(arrays):
    del arrays["layers.1.norm.weight"]


def wider(arrays):
    arrays["head.bias"] = np.ones(12)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (extra, "it has no rule for `extra`"),
        (missing, r"rule: Rule `layers/norm/gamma` .* not 1"),
        (wider, "`head/bias` does not fit"),
    ],
)
def test_a_table_that_matches_in_part_is_not_used(change, told):
    """But it is told what does not fit: in print, in the TOML, and nowhere else."""
    specs, arrays, _ = stored()
    change(arrays)
    proposal = checkpoint.plan(specs, Arrays(arrays))
    assert proposal.recognized is None
    assert not any("as a whole" in row.reason for row in proposal.rows)
    (note,) = proposal.notes
    assert note.startswith("`tables.pytorch` matches in part only: ")
    for text in (note, str(proposal), proposal.to_toml()):
        assert re.search(told, text)


def test_a_table_of_the_callers_is_recognized(tmp_path):
    """Also for a model that is known by its shapes only; its constants and drops, functions and steps are kept."""
    safetensors.save(
        tmp_path / "x.safetensors", {"a.w": np.arange(6, dtype=np.float32).reshape(2, 3), "mask": np.ones(1)}
    )
    like = {"w": jnp.zeros((5, 2))}
    pad = Function(lambda x: np.pad(x, ((0, 2), (0, 0))), shape=lambda x: x.update(shape=(x.shape[0] + 2, x.shape[1])))
    first = Conversion([Rule("v", "a.w", "a b -> b a")], drop=["mask"])
    table = first.then(Conversion([Rule("w", "v", function="pad")], functions={"pad": pad}))
    proposal = checkpoint.plan(like, tmp_path / "x.safetensors", tables={"mine": table})
    assert [(row.ours, row.grade, row.reason) for row in proposal.rows] == [
        ("w", "certain", "`mine` matches as a whole")
    ]
    assert proposal.conversion is table
    assert "# certain: `mine` matches as a whole" in proposal.to_toml()
    restored = checkpoint.restore(like, tmp_path / "x.safetensors", conversion=proposal.conversion)
    assert restored["w"].tolist() == [[0, 3], [1, 4], [2, 5], [0, 0], [0, 0]]
    with pytest.raises(InvalidArgumentError, match=r"`tables` has 'mine.toml' for `mine`, which is not a `Conversion`"):
        checkpoint.plan(like, tmp_path / "x.safetensors", tables={"mine": "mine.toml"})


def test_of_two_tables_that_differ_none_is_used():
    """The rows that both make are as names tell them; those that differ are undecided. `check` may decide."""
    like = {"q": np.zeros((4, 2, 3)), "o": np.zeros((2, 5))}
    arrays = {"q": np.arange(24.0).reshape(6, 4), "o": np.ones((5, 2))}
    one = Conversion([Rule("q", "q", "(h k) d -> d h k"), Rule("o", "o", "a b -> b a")])
    other = Conversion([Rule("q", "q", "(k h) d -> d h k"), Rule("o", "o", "a b -> b a")])
    both = {"halves": one, "pairs": other}
    proposal = checkpoint.plan(like, Arrays(arrays), tables=both)
    assert proposal.recognized is None
    assert grades(proposal)["q"] == "undecided"
    assert proposal.notes == ("`halves` and `pairs` both match as a whole, and differ in `q`: see `check`",)
    # What a function would make of a large array is not computed only to compare.
    called = Function(lambda x: pytest.fail("called"), shape=lambda x: x)
    rules = [Rule("q", "q", "(h k) d -> d h k"), Rule("o", "o", "a b -> b a", function="f")]
    third = Conversion(rules, functions={"f": called})
    proposal = checkpoint.plan(like, Arrays(arrays), tables={"halves": one, "third": third})
    (note,) = proposal.notes
    assert note.startswith("`halves` and `third` both match as a whole, and may differ in `o` (a function makes it")
    assert {row.ours: row.reason for row in proposal.rows}["o"] == "tables that match as a whole may differ here"
    assert "differ" not in {row.ours: row.reason for row in proposal.rows}["q"]
    # What does differ is told first, also beside a function.
    fourth = Conversion([Rule("q", "q", "(k h) d -> d h k"), *rules[1:]], functions={"f": called})
    (note,) = checkpoint.plan(like, Arrays(arrays), tables={"halves": one, "fourth": fourth}).notes
    assert note == "`halves` and `fourth` both match as a whole, and differ in `q`: see `check`"
    # Under another name, it is the same.
    again = Conversion([Rule("q", "q", "(a b) c -> c a b"), Rule("o", "o", "x y -> y x")])
    assert checkpoint.plan(like, Arrays(arrays), tables={"halves": one, "again": again}).recognized == one


def test_what_is_tied_has_a_row():
    """So that each array of the file is somewhere among the rows."""
    table = Conversion([Rule("e", "embedding"), Rule("e", "head", tied=True)])
    arrays = {"embedding": np.ones((2, 3)), "head": np.ones((2, 3))}
    rows = checkpoint.plan({"e": np.ones((2, 3))}, Arrays(arrays), tables={"mine": table}).rows
    assert [row.rules[0].theirs for row in rows] == ["embedding", "head"]


def test_what_a_table_of_layers_cannot_tell_is_likely():
    """Matrices of which none says how it lies, and a convolution that may be a transposed one."""
    specs = jscope.specs(lambda s, x: nn.dense(s / "a", nn.dense(s / "b", x, 4), 4), jnp.ones((1, 4)))
    arrays = {f"{name}.{leaf}": np.ones(shape) for name in "ab" for leaf, shape in (("weight", (4, 4)), ("bias", (4,)))}
    rows = checkpoint.plan(specs, Arrays(arrays)).rows
    assert {row.grade for row in rows if "kernel" in row.ours} == {"likely"}
    assert {row.grade for row in rows if "bias" in row.ours} == {"certain"}
    specs = jscope.specs(lambda s, x: nn.conv(s / "a", x, 4, 3, use_bias=False), jnp.ones((1, 5, 5, 4)))
    (row,) = checkpoint.plan(specs, Arrays({"params/a/kernel": np.ones((3, 3, 4, 4))})).rows
    assert row.grade == "likely"
    assert "another kind of layer" in row.reason


def test_a_reference_output_is_above_a_table():
    """What fits is used; what matches as a whole, and gives another output, is told by what gives the right one."""
    like = {"q": np.zeros((2, 2)), "k": np.zeros((2, 2))}
    arrays = {"q": np.array([[1.0, 2.0], [3.0, 4.0]]), "k": np.array([[1.0, 5.0], [6.0, 7.0]])}
    truth = {"q": arrays["q"].T, "k": arrays["k"]}
    right, wrong = (Conversion([Rule("q", "q", axes), Rule("k", "k")]) for axes in ("a b -> b a", ""))

    def far(params):
        return sum(abs(np.asarray(params[name]) - truth[name]).max() for name in truth)

    assert checkpoint.plan(like, Arrays(arrays), tables={"right": right}, check=far).recognized == right
    proposal = checkpoint.plan(like, Arrays(arrays), tables={"wrong": wrong}, check=far)
    assert proposal.recognized is None
    assert proposal.notes == ("`wrong` matches as a whole, but is off by 1",)
    assert not jscope.tree.diff(jscope.tree.convert(arrays, proposal.conversion), truth)


def test_the_command_line_knows_tables(tmp_path, capsys):
    """Those that ship, functions included, and those of `--table`; what it prints is what `convert` takes."""

    def run(*arguments):
        status = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    _, specs, _, table = ours("pytorch", "lstm")
    arrays, _ = theirs("pytorch", "lstm")
    here, there, rules = (tmp_path / name for name in ("specs.json", "theirs.safetensors", "rules.toml"))
    here.write_text(specs.to_json())
    safetensors.save(there, arrays)
    rules.write_text(run("plan", there, here))
    assert Conversion.from_toml(rules.read_text(), functions=tables.FUNCTIONS).rules == table.rules
    run("convert", there, tmp_path / "ours.safetensors", "--rules", rules)
    expected = jscope.tree.convert(arrays, table)
    assert not jscope.tree.diff(safetensors.load(tmp_path / "ours.safetensors"), expected)
    renamed = tmp_path / "renamed.safetensors"
    safetensors.save(renamed, {f"strange.{n}": array for n, array in enumerate(arrays.values())})
    rules.write_text(Conversion([Rule(f"{n}", f"strange.{n}") for n in range(len(arrays))]).to_toml())
    here.write_text(
        jscope.specs(lambda s: [s.get_variable(f"{n}", each.shape) for n, each in enumerate(arrays.values())]).to_json()
    )
    out = run("plan", renamed, here, "--table", rules)
    assert "certain" in out
    assert "rules.toml` matches as a whole" in out
    rules.write_text("[[rule]")
    assert main(["plan", str(renamed), str(here), "--table", str(rules)]) == 2
    assert "rules.toml`: The table is not TOML" in capsys.readouterr().err
