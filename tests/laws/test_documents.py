"""What documents say of the code."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

import jscope
from benchmarks import lines
from jscope._util import _lazy

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", (ROOT / "docs/how_it_works.md").read_text("utf8"))


@pytest.mark.parametrize(("file", "names"), NAMED)
def test_tests_that_a_document_names_exist(file, names):
    """Each is in the file that is named before it."""
    source = (ROOT / file).read_text("utf8")
    missing = [name for name in re.findall(r"\w+", names) if f"def {name}(" not in source]
    assert not missing


def table(path, *first):
    """The rows of the table in a document whose first columns are these: `{column: first word}`, by their names."""
    lines = iter((ROOT / path).read_text("utf8").splitlines())
    columns = next(
        cells for line in lines if line.startswith("|") and (cells := split(line))[1 : 1 + len(first)] == [*first]
    )
    _, *rows = (split(line) for line in takewhile(lambda line: line.startswith("|"), lines))
    return {row[0]: {name: cell.split(" ")[0] for name, cell in zip(columns[1:], row[1:], strict=True)} for row in rows}


def split(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("path", ["README.md", "docs/compare.md"])
@pytest.mark.parametrize(
    ("row", "measured"),
    [("trace `apply`", "trace, apply, transformer-96"), ("first `init` of a process", "init, cold, transformer-96")],
)
def test_pages_have_the_figures_of_the_benchmarks(path, row, measured):
    """After a new run, change them."""
    shown = table(path, "jscope", "Equinox")[row]
    assert shown.items() <= table("docs/benchmarks.md", "JAX by hand", "jscope", "jscope.tf1")[measured].items()


def test_the_versions_that_are_promised_are_those_that_are_tested():
    """What pip may install, what the package says of itself, and what runs for each change."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    pythons = re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"]))
    promised = table("docs/stability.md", "oldest", "newest")
    assert [promised["Python"][column] for column in ("oldest", "newest")] == [pythons[0], pythons[-1]]
    assert project["requires-python"] == f">={promised['Python']['oldest']}"
    assert f"jax>={promised['JAX']['oldest']}" in project["dependencies"]
    assert list(table("docs/stability.md", "JAX", "What is tested")) == pythons
    assert f"python: {json.dumps(pythons)}" in (ROOT / ".github/workflows/ci.yml").read_text("utf8")


def test_the_gallery_has_all_examples_and_counts_their_lines():
    """Programs by their names, models by those of their files."""
    shown = {}
    for folder, second in (("", "What it does"), ("models/", "File")):
        for name, row in table("docs/gallery.md", second).items():
            file = row.get("File", name)
            shown[folder + re.search(r"`(\w+\.py)`", file)[1]] = int(row["Lines"])
    examples = ROOT / "examples"
    files = [*examples.glob("*.py"), *examples.glob("models/*.py")]
    assert shown == {path.relative_to(examples).as_posix(): lines.code_lines(path.read_text("utf8")) for path in files}


@pytest.mark.slow
def test_the_gallery_shows_what_summaries_say():
    """Up to what JAX decides: its versions differ in what they keep for a gradient, and compute in it."""
    text, names, totals = (ROOT / "docs/gallery.md").read_text("utf8"), {}, []
    for code, shown in re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", text, re.DOTALL):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, names)
        rows = without_gradients(printed.getvalue())
        assert rows == without_gradients(shown)
        totals += [(row[2].split()[0], row[5].split()[0]) for row in rows if row[0] == "total"]
    assert [(row["Params"], row["Operations"]) for row in table("docs/gallery.md", "File").values()] == totals


def without_gradients(text):
    """The cells of a summary's rows, without the last three columns."""
    return [re.split(r"\s{2,}", line)[:-3] for line in text.splitlines()]


def test_the_reference_has_all_that_is_public():
    """A page for each namespace, and on that of `jscope` each of its names, once in a table and once in full."""
    pages = re.findall(r"^reference/(\w+)$", (ROOT / "docs/api.md").read_text("utf8"), re.MULTILINE)
    assert sorted(pages) == sorted(["jscope", *_lazy.NAMESPACES])
    text = (ROOT / "docs/reference/jscope.md").read_text("utf8")
    listed = [name for line in re.findall(r"names:: jscope\n\n {3}(.*)", text) for name in line.split()]
    told = re.findall(r"auto\w+:: jscope\.(\w+)$", text, re.MULTILINE)
    public = [name for name, value in vars(jscope).items() if name[0] != "_" and not inspect.ismodule(value)]
    public += _lazy.FUNCTIONS
    assert sorted(listed) == sorted(told) == sorted({*public} - {"TYPE_CHECKING"})


@pytest.mark.parametrize("path", sorted((ROOT / "docs/notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path):
    """They are run when the site is built, so that what is shown is what came out."""
    cells = [cell for cell in json.loads(path.read_text("utf8"))["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * len(cells)
