"""The benchmarks run, compare only what agrees, and report what they measured."""

import doctest
import json
import subprocess

import jax
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import _agree, _grid, _hlo, _measures, _plot, _report, _run, _timing, gpu
from benchmarks._goals import GOALS, Results
from benchmarks._hlo import bare, operations
from benchmarks._libraries import LIBRARIES
from benchmarks._measures import MEASURES, label
from benchmarks._sizes import SIZES, TINY
from benchmarks.models._models import Decoder, Mlp, ResNet, Transformer, UnsupportedError, Wide

OURS = ("explicit", "tf1")
SMALL = (Mlp(2, 4), Transformer(1, 8), Transformer(2, 8, form="scanned"), Decoder(1, 8), ResNet((1,), 4, 8), Wide(20))


@pytest.fixture(autouse=True)
def promotion():
    """Models are written as users write them: `x + b` broadcasts."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def measured(*names):
    """What measures that need no process of their own find about jscope, in the smallest size."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        return {name: list(MEASURES[name]("explicit", TINY)) for name in names}


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


@pytest.mark.parametrize("model", SMALL, ids=label)
def test_adapters_agree_with_jax_by_hand(model):
    """jscope, explicit and ambient, has the variables and the outputs of nested dicts by hand."""
    _agree.check(OURS, [model])


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name not in ("raw", *OURS)])
def test_adapters_of_other_libraries_agree(name):
    """So do those of the others, as far as they are installed."""
    if not LIBRARIES[name].installed:
        pytest.skip(f"{name} is not installed")
    _agree.check([name], SMALL[:2])


def test_disagreement_is_refused(monkeypatch):
    """A library that computes something else is not compared, but named."""
    built = LIBRARIES["explicit"].build(SMALL[0])
    wrong = type(built)(built.init, lambda params, x: built.apply(params, x) + 1e-3, built.load)
    monkeypatch.setattr(type(LIBRARIES["raw"]), "build", lambda self, _: built if self.name == "raw" else wrong)
    with pytest.raises(_agree.DisagreementError, match=r"explicit.*differ.* by up to 0\.001"):
        _agree.check(["explicit"], SMALL[:1])


def test_a_train_step_is_the_same_program():
    """Compiled, a train step on scopes differs from that by hand in names alone; other steps differ in more."""
    same = {sample.key: sample.values for sample in measured("train")["train"] if sample.unit == "bool"}
    assert same == {"step/same HLO/transformer-2": [True], "step/same operations/transformer-2": [True]}
    one, other = (jax.jit(function).lower(1.0).compile().as_text() for function in (jax.numpy.sin, jax.numpy.cos))
    assert bare(one) != bare(other)
    assert operations(one) != operations(other)


def test_measures_give_numbers_and_goals_name_them():
    """Each gives positive ones, in pairs where JAX by hand ran beside it; keys tell measure, part and model.

    Every goal is reached from such keys: none is out of reach by a misspelling.
    """
    samples = measured("trace", "eager", "dispatch", "loop", "growth", "train", "shallow")
    for name, found in samples.items():
        assert found, name
        for sample in found:
            assert min(sample.values) > 0
            assert len(sample.raw) in (0, len(sample.values))
            assert sample.key.count("/") == 2
    found = {sample.key: numbers(sample.values[0], sample.unit) for part in samples.values() for sample in part}
    full = SIZES["full"]
    deep = {"trace/apply": full.trace[-1], "init/cold": full.init, "init/compiles": full.init}
    deep |= {"init/jit": full.jit_init, "init/sharded": full.sharded}
    deep |= {"loop/jitted trace": full.loop, "loop/jitted StableHLO": full.loop}
    found |= {f"{part}/transformer-{depth}": numbers(1.0) for part, depth in deep.items()}
    found |= {"import/beyond jax": numbers(1.0)}
    metrics = {key: dict.fromkeys(("explicit", "tf1", "linen"), value) for key, value in found.items()}
    unmeasured = [goal.what for goal in GOALS if goal.measured(Results(metrics)) is None]
    assert not unmeasured


def test_what_reading_adds_is_told_per_variable():
    """In microseconds: of 3 ms for 100 variables, 2 ms are those of JAX by hand."""
    metrics = {"trace/read/wide-100": {"explicit": numbers(0.003) | {"ratio": 1.5}}}
    assert Results(metrics).added("trace/read") == pytest.approx(10.0)
    assert Results({}).added("trace/read") is None


def test_results_say_how_they_were_had():
    """By the command that gives them again."""
    assert _report.where(results({})).startswith("`python -m benchmarks --tiny` on 2030-01-01, 1 minutes, abacus")
    assert _report.where(results({}) | {"size": "full"}).startswith("`python -m benchmarks` on")


def test_a_model_that_is_not_measured_need_not_agree():
    """The convnet takes long to compile."""
    chosen = {name: {type(model) for model in _agree.small(size)} for name, size in SIZES.items()}
    assert chosen["full"] - chosen["quick"] == {ResNet}
    assert not any(isinstance(pair.model, ResNet) for pair in _measures.pairs("raw", _measures.zoo(TINY, (1,), 20)))


@pytest.mark.parametrize("module", [_grid, _hlo, _measures, _report, _run, _timing, gpu], ids=lambda m: m.__name__)
def test_examples_in_docstrings(module):
    """They are true."""
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 0) == (0, True)


def test_what_a_library_lacks_is_left_out():
    """TensorFlow 1's facade scans nothing: no sample, and no error."""
    with pytest.raises(UnsupportedError):
        jax.eval_shape(LIBRARIES["tf1"].build(SMALL[2]).init, jax.random.key(0), SMALL[2].x)
    assert not list(MEASURES["loop"]("tf1", TINY))


def test_processes_give_samples(tmp_path):
    """The worker that the parent starts writes what it measured."""
    (sample,) = _run.start_process("explicit", ["shallow"], TINY, tmp_path)
    assert sample["key"] == "init/compiles/transformer-2"


def test_a_process_that_fails_is_an_error(tmp_path, monkeypatch):
    """Its last words are in the message."""
    failed = subprocess.CompletedProcess([], returncode=1, stdout="", stderr="KeyError: 'nonsense'")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(_run.FailedError, match=r"(?s)explicit: nonsense failed.*KeyError"):
        _run.start_process("explicit", ["nonsense"], TINY, tmp_path)


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


def test_the_figure_shows_the_deepest_models(tmp_path):
    """One group of bars per kind of metric, whatever was left out of a run."""
    run = results(
        {"trace/apply/transformer-2": 1.5, "trace/apply/transformer-96": 1.0, "init/cold/transformer-96": 0.5}
    )
    assert list(_plot.deepest(run)) == ["trace/apply/transformer-96", "init/cold/transformer-96"]
    _plot.draw(run, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_the_command_line_knows_its_names(capsys):
    """A misspelled measure is an error that lists the right ones; JAX by hand always takes part."""
    assert command.arguments(["--quick", "--libraries", "tf1"]).libraries == ["raw", "tf1"]
    with pytest.raises(SystemExit):
        command.arguments(["--only", "tracing"])
    assert "unknown: tracing; known: trace, eager" in capsys.readouterr().err


def test_every_measure_is_run():
    """The parent's groups hold each measure once, and sizes say how much of it there is."""
    assert sorted(_run.NAMES) == sorted([*MEASURES, "import"])
    assert set(SIZES) == {"tiny", "quick", "full"}


def test_the_decoder_trains_and_is_the_program_by_hand(tmp_path, capsys):
    """`benchmarks.gpu --tiny`: the loss falls, and jscope's train step is the same program as by hand."""
    gpu.main(["--tiny", "--libraries", "raw,explicit", "--attention", "xla", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    (path,) = tmp_path.glob("*-decoder.json")
    found = json.loads(path.read_text(encoding="utf8"))["decoder"]
    assert found["explicit"]["same_program"] == "yes"
    assert found["explicit"]["losses"][-1] < found["explicit"]["losses"][0]
    np.testing.assert_allclose(found["raw"]["losses"][0], np.log(64), rtol=0.05)
    assert "is not known here" in printed
    page = tmp_path / "page.md"
    page.write_text("<!-- gpu: begin --><!-- gpu: end -->", encoding="utf8")
    _report.rewrite(page, path)
    assert "| jscope | " in page.read_text(encoding="utf8")
