"""The benchmarks run, compare only what agrees, and report what they measured."""

import dataclasses
import doctest
import gc
import json
import re
import subprocess
import types

import jax
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import _agree, _decoder, _measures, _report, _run, _timing, checkpoint, gpu
from benchmarks._goals import GOALS, Results
from benchmarks._layers import LAYERS
from benchmarks._libraries import LIBRARIES
from benchmarks._measures import MEASURES, operations, program
from benchmarks._sizes import FULL, SIZES, TINY
from benchmarks.models._models import Decoder, Transformer, UnsupportedError, Wide

OURS = ("explicit", "tf1")
SMALL = (
    Transformer(1, 8),
    Transformer(2, 8, form="scanned"),
    Transformer(2, 8, form="jitted"),
    Decoder(1, 8),
    Wide(20),
)


@pytest.fixture(autouse=True)
def promotion():
    """Models are written as users write them: `x + b` broadcasts."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module", autouse=True)
def _frozen():
    """What is timed thaws the garbage that `conftest.py` keeps out of collections."""
    yield
    gc.freeze()


def measured(*names):
    """What measures that need no process of their own find about jscope, in the smallest size."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return {name: list(MEASURES[name].function("explicit", TINY)) for name in names}


def numbers(value, unit="s"):
    """One metric of one library, without a spread."""
    return {"unit": unit, "median": value, "ratio": value, "ratio_low": value, "ratio_high": value}


def results(metrics):
    """Results of a run in which `explicit` had these numbers."""
    about = {
        "date": "2030-01-01",
        "processor": "abacus",
        "cores": 1,
        "load": 0.1,
        "python": "3",
        "versions": {"jax": "1"},
    }
    metrics = {key: {"explicit": numbers(value)} for key, value in metrics.items()}
    return about | {"size": "tiny", "seconds": 60, "metrics": metrics}


@pytest.mark.parametrize("model", SMALL, ids=lambda model: model.label)
def test_adapters_agree_with_jax_by_hand(model):
    """jscope, explicit and ambient, has the variables and the outputs of nested dicts by hand."""
    _agree.check(OURS, [model])


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name not in ("raw", *OURS)])
def test_adapters_of_other_libraries_agree(name):
    """So do those of the others, as far as they are installed."""
    if not LIBRARIES[name].installed:
        pytest.skip(f"{name} is not installed")
    _agree.check([name], (SMALL[0], SMALL[-1]))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_compared_with_the_same_program(name):
    """With layers or by hand, the jaxprs are equal, and the names beside each equation."""
    ours, theirs = (trace().pretty_print(name_stack=True) for trace in LAYERS[name].traced(repeated=1))
    assert ours == theirs


def test_disagreement_is_refused(monkeypatch):
    """A library that computes something else is not compared, but named."""
    built = LIBRARIES["explicit"].build(SMALL[0])
    wrong = type(built)(built.init, lambda params, x: built.apply(params, x) + 1e-3, built.load)
    monkeypatch.setattr(type(LIBRARIES["raw"]), "build", lambda self, _: built if self.name == "raw" else wrong)
    with pytest.raises(_agree.DisagreementError, match=r"explicit.*differ.* by up to 0\.001"):
        _agree.check(["explicit"], SMALL[:1])


def test_a_train_step_is_the_same_program():
    """A train step on scopes differs from that by hand in names alone; other programs differ in more."""
    same = {sample.key: sample.values for sample in measured("train")["train"] if sample.unit == "bool"}
    assert same == {"step/same HLO/transformer-2": [True], "step/same operations/transformer-2": [True]}
    one, other = (program(jax.jit(function).lower(1.0)) for function in (jax.numpy.sin, jax.numpy.cos))
    assert one != other
    assert operations(one) != operations(other)


def test_the_same_stablehlo_is_the_same_program():
    """What is compared is what XLA compiles: where it is the same, so is what comes out, up to names."""
    steps = [_measures.step(LIBRARIES[name].build(SMALL[0])) for name in ("raw", "explicit")]
    lowered = [jax.jit(step).lower(_agree.weights(SMALL[0]), SMALL[0].x) for step in steps]
    assert program(lowered[0]) == program(lowered[1])
    compiled = [each.compile() for each in lowered]
    assert compiled[0].cost_analysis() == compiled[1].cost_analysis()
    assert compiled[0].memory_analysis().temp_size_in_bytes == compiled[1].memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_measures_give_numbers_and_goals_name_them():
    """Each gives positive ones, in pairs where JAX by hand ran beside it; keys tell measure, part and model.

    Every goal is reached from such keys: none is out of reach by a misspelling.
    """
    samples = measured("trace", "layers", "lifts", "eager", "dispatch", "loop", "growth", "train", "shallow")
    for name, found in samples.items():
        assert found, name
        for sample in found:
            assert min(sample.values) > 0
            assert len(sample.raw) in (0, len(sample.values))
            assert sample.key.count("/") == 2
    found = {sample.key: numbers(sample.values[0], sample.unit) for part in samples.values() for sample in part}
    deep = dict.fromkeys(("trace/apply", "init/cold", "init/compiles", "init/sharded"), FULL.deep)
    deep |= dict.fromkeys(("init/materialize", "init/memory", "start/scanned"), FULL.deep) | {
        "start/unrolled": FULL.shallow
    }
    deep |= {"init/jit": FULL.jit_init, "loop/jitted trace": FULL.loop, "loop/jitted StableHLO": FULL.loop}
    found |= {f"{part}/transformer-{depth}": numbers(1.0) for part, depth in deep.items()}
    found |= {"import/beyond jax": numbers(1.0)}
    metrics = {key: dict.fromkeys(("explicit", "tf1", "linen"), value) for key, value in found.items()}
    for goal in GOALS:
        assert isinstance(goal.measured(Results(metrics)), float | int), goal.what


def test_the_slowest_lift_is_told():
    """Of those that are named: `jit` is not `jit of a lambda`. What was not measured is an error."""
    ratios = {"scan": 1.2, "map": 1.5, "jit": 9.0, "jit of a lambda": 2.0}
    metrics = {
        f"lifts/{name}/blocks-8": {"explicit": numbers(1.0) | {"ratio": ratio}} for name, ratio in ratios.items()
    }
    assert Results(metrics).slowest_lift("scan", "map") == 1.5
    with pytest.raises(LookupError, match="list index out of range"):
        Results(metrics).slowest_lift("cond")


def test_results_say_how_they_were_had():
    """By the command that gives them again."""
    assert _report.where(results({})).startswith("`python -m benchmarks --tiny` on 2030-01-01, 1 minutes, abacus")
    assert _report.where(results({}) | {"size": "full"}).startswith("`python -m benchmarks` on")


@pytest.mark.parametrize("module", [_decoder, _measures, _report, _run, _timing], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module):
    """They are true."""
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 0) == (0, True)


def test_what_a_library_lacks_is_left_out():
    """TensorFlow 1's facade scans nothing: no sample, and no error."""
    with pytest.raises(UnsupportedError, match=r"jscope\.tf1: Transformer.*scanned"):
        LIBRARIES["tf1"].build(SMALL[1])
    assert not list(MEASURES["loop"].function("tf1", TINY))


def test_processes_give_samples():
    """The process that the parent starts writes what it measured."""
    (sample,) = _run.start_process("explicit", [_measures.shallow], TINY)
    assert sample["key"] == "init/compiles/transformer-2"


def test_a_process_that_fails_is_an_error(monkeypatch):
    """Its last words are in the message."""
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="KeyError: 'nonsense'")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(_run.FailedError, match=r"(?s)explicit: benchmarks._measures:trace failed.*KeyError"):
        _run.start_process("explicit", [_measures.trace], TINY)


def test_ratios_are_those_of_neighbours():
    """A machine that slows down by ten in the middle of a run changes no ratio."""
    sample = {"key": "k", "unit": "s", "values": [2.0, 20.0, 2.0], "raw": [1.0, 10.0, 1.0]}
    found = _run.condensed([("explicit", 0, sample)])["k"]["explicit"]
    assert (found["ratio"], found["ratio_low"], found["ratio_high"]) == (2.0, 2.0, 2.0)


def test_ratios_between_processes_are_those_of_a_round():
    """What runs once in a process is compared to JAX by hand of the same round."""
    samples = [
        (library, number, {"key": "k", "unit": "s", "values": [seconds], "raw": []})
        for library, number, seconds in (("raw", 0, 1.0), ("explicit", 0, 0.5), ("raw", 1, 10.0), ("explicit", 1, 5.0))
    ]
    assert _run.condensed(samples)["k"]["explicit"]["ratio"] == 0.5


def test_growth_is_told_from_quadratic():
    """Time per variable, the largest model against the second largest."""
    run = results({"growth/init/wide-100": 9.0, "growth/init/wide-1000": 1.0, "growth/init/wide-10000": 100.0})
    assert Results(run["metrics"]).growing("growth/init") == 10.0


def test_the_report_says_which_goals_are_met():
    """Met, not met, and not measured are three things."""
    _, rows = _report.goals(results({"trace/apply/transformer-96": 1.02, "dispatch/call/wide-1000": 1.5}))
    met = {what: verdict for what, _, _, verdict in rows}
    assert met["trace `apply`, 96 layers / by hand"] == "yes"
    assert met["dispatch of a jitted function / by hand"] == "**no**"
    assert met["cold `init`, 96 layers / best peer"] == "not measured"
    assert list(met) == [goal.what for goal in GOALS]


def test_results_go_between_the_markers(tmp_path):
    """The rest of the document stays; so does a second rewriting."""
    page, source = tmp_path / "page.md", tmp_path / "run.json"
    page.write_text("before\n<!-- cpu: begin -->\nstale\n<!-- cpu: end -->\nafter\n", encoding="utf8")
    source.write_text(json.dumps(results({"trace/apply/mlp": 1.0})), encoding="utf8")
    for _ in range(2):
        _report.rewrite(page, source)
    text = page.read_text(encoding="utf8")
    assert text.startswith("before\n<!-- cpu: begin -->\n")
    assert text.endswith("<!-- cpu: end -->\nafter\n")
    assert "stale" not in text
    assert text.count("| trace, apply, mlp | 1.00 |") == 1


def test_a_document_without_markers_is_an_error(tmp_path):
    """Nothing is overwritten by guess."""
    page, source = tmp_path / "page.md", tmp_path / "run.json"
    page.write_text("text", encoding="utf8")
    source.write_text(json.dumps(results({})), encoding="utf8")
    with pytest.raises(ValueError, match="lacks the lines <!-- cpu: begin -->"):
        _report.rewrite(page, source)


def test_the_figure_shows_what_was_measured(tmp_path):
    """Whatever was left out of a run; also where nothing is left."""
    for metrics in ({"trace/apply/transformer-2": 1.5, "init/cold/transformer-96": 0.5}, {}):
        _report.draw(results(metrics), tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 1000


def test_the_record_is_readable():
    """The page shows what the committed results say: `--docs` changes nothing."""
    page = (_run.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf8")
    (name,) = re.findall(r"benchmarks/results/(.*-cpu-.*)\.png", page)
    found = json.loads((_run.ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf8"))
    tables = _report.tables(found)
    assert list(tables) == ["Goals", "Measurements"]
    assert all(_report.grid(*table) in page for table in tables.values())


def test_the_command_line_knows_its_names(capsys):
    """A misspelled measure is an error that lists the right ones; JAX by hand always takes part."""
    assert command.arguments(["--quick", "--libraries", "tf1"]).libraries == ["raw", "tf1"]
    with pytest.raises(SystemExit):
        command.arguments(["--only", "tracing"])
    assert "unknown: tracing; known: trace, eager" in capsys.readouterr().err


def test_every_measure_is_run():
    """A run starts processes for each measure; only those of every round come again, the libraries backwards."""
    processes = list(_run.plan(["raw", "explicit"], MEASURES, 2))
    assert {name for _, _, names in processes for name in names} == set(MEASURES)
    again = [(library, *names) for number, library, names in processes if number == 1]
    once_per_process = ("init", "memory", "first_step", "first_scanned_step")
    assert again == [(library, name) for name in once_per_process for library in ("explicit", "raw")]
    assert set(SIZES) == {"tiny", "quick", "full"}


def in_this_process(library, measures, size, platforms="cpu"):
    """Instead of `start_process`."""
    told = types.SimpleNamespace(**dataclasses.asdict(size), started=0.0)
    samples = [sample for measure in measures for sample in measure(library, told)]
    return [json.loads(json.dumps(dataclasses.asdict(sample))) for sample in samples]


def test_a_run_agrees_measures_and_condenses(monkeypatch):
    """What `python -m benchmarks --tiny --only train` does, without processes."""
    monkeypatch.setattr(_run, "start_process", in_this_process)
    asked = []
    monkeypatch.setattr(_run, "agree", lambda libraries, size: asked.append(libraries) or ())
    found = _run.run(["raw", "explicit"], {"train": MEASURES["train"]}, TINY)
    assert asked == ["raw,explicit"]
    assert found["size"] == "tiny"
    assert list(found["metrics"]) == ["step/same HLO/transformer-2", "step/same operations/transformer-2"]
    assert found["metrics"]["step/same HLO/transformer-2"]["explicit"]["median"] is True


@pytest.mark.slow
def test_the_decoder_trains_and_is_the_program_by_hand(tmp_path, capsys, monkeypatch):
    """`benchmarks.gpu --tiny`: the loss falls, and jscope's train step is the same program as by hand."""
    monkeypatch.setattr(_run, "start_process", in_this_process)
    monkeypatch.setattr(_run, "agree", lambda libraries, size: ())
    gpu.main(["--tiny", "--libraries", "explicit", "--attention", "xla", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    (path,) = tmp_path.glob("*-decoder.json")
    found = {key.split("/")[1]: each for key, each in json.loads(path.read_text(encoding="utf8"))["metrics"].items()}
    assert found["same program"]["explicit"]["median"] is True
    assert found["last loss"]["explicit"]["median"] < found["first loss"]["explicit"]["median"]
    np.testing.assert_allclose(found["first loss"]["explicit"]["median"], np.log(64), rtol=0.05)
    assert "is not known here" in printed
    page = tmp_path / "page.md"
    page.write_text("<!-- gpu: begin --><!-- gpu: end -->", encoding="utf8")
    _report.rewrite(page, path)
    text = page.read_text(encoding="utf8")
    assert "`python -m benchmarks.gpu --tiny` on" in text
    assert "| gpu, same program, decoder-2 | yes |" in text


def test_checkpoints_are_compared_with_the_library(tmp_path, monkeypatch, capsys):
    """Both in turns, of the same arrays; the goals name rows that there are."""
    monkeypatch.setattr(checkpoint, "TURNS", 1)
    rows = [*checkpoint.files(tmp_path, "1 GB", checkpoint.small(4))]
    assert [row["name"] for row in rows] == [
        name for name in checkpoint.GOALS if "1 GB" in name and "safetensors" in name
    ]
    assert [len(row["ours"]) for row in rows] == [1, 1, 1]
    assert rows[0]["ratio"] == rows[0]["ours"][0] / rows[0]["theirs"][0]
    assert "1 GB, save: safetensors" in capsys.readouterr().out
