import base64
import hashlib
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from jscope.checkpoint import safetensors, tensorbundle
from jscope.cli import _view, main
from jscope.cli._values import distance, histogram, values_of

HOSTILE = "<script>alert(1)</script>"
OLD = {
    "net": {"w": np.array([[3.0, 0.0], [0.0, 4.0]], np.float32), "b": np.zeros(3, np.float32)},
    "gone": np.ones(2, np.float32),
    "kept": np.arange(4),
    "wider": np.ones(2, np.float32),
}
NEW = {
    "net": {"w": np.array([[3.0, 0.0], [0.0, 5.0]], np.float32), "b": np.array([0, np.nan, np.inf], np.float32)},
    "kept": np.arange(4),
    "wider": np.ones(3, np.float32),
    HOSTILE: np.zeros((), np.float32),
}


@pytest.fixture
def view(tmp_path):
    """Makes a page of one tree, or of two; returns its text."""

    def made(tree, against=None, **metadata):
        safetensors.save(tmp_path / "new.safetensors", tree, metadata=metadata)
        arguments = [str(tmp_path / "new.safetensors"), "--html", str(tmp_path / "page.html"), "--force"]
        if against is not None:
            safetensors.save(tmp_path / "old.safetensors", against)
            arguments += ["--against", str(tmp_path / "old.safetensors")]
        assert main(["view", *arguments]) == 0
        return (tmp_path / "page.html").read_text(encoding="utf8")

    return made


def data_of(page):
    """What the page gives to its script."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def rows_of(page):
    return {row["name"]: row for row in data_of(page)["variables"]}


def test_a_page_tells_what_the_values_are_like(view):
    """Norm, mean, extremes, zeros and what is not finite, with a histogram."""
    row = rows_of(view(OLD))["net/w"]
    assert (row["shape"], row["dtype"], row["bytes"]) == ([2, 2], "float32", 16)
    assert (row["norm"], row["mean"], row["least"], row["greatest"]) == (5.0, 1.75, 0.0, 4.0)
    assert (row["zeros"], row["not_finite"], sum(row["histogram"])) == (2, 0, 4)
    assert rows_of(view(NEW))["net/b"]["not_finite"] == 2


def test_a_page_of_two_tells_what_changed(view):
    """What is new, removed, of another shape, moved (by which norm), or the same."""
    rows = rows_of(view(NEW, OLD))
    assert {name: row["change"] for name, row in rows.items()} == {
        "net/w": "changed",
        "net/b": "changed",
        "kept": "same",
        "wider": "retyped",
        HOSTILE: "added",
        "gone": "removed",
    }
    assert (rows["net/w"]["moved"], rows["net/w"]["most"], rows["net/w"]["before"]) == (1.0, 1.0, 5.0)
    assert rows["wider"]["was"] == "float32[2]"


def test_names_are_data_and_only_our_script_may_run(view):
    """No name, and nothing of the metadata, stands in the page as markup; the policy names what may take effect."""
    page = view(NEW, note=f"</script>{HOSTILE}")
    assert HOSTILE not in page
    assert HOSTILE in rows_of(page)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    style, script = (
        re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1],
        page.split("<script>")[1].split("</script>")[0],
    )
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not re.findall(r"(?:src|href)=", page)


def test_the_title_is_text(tmp_path):
    """The name of the file, too, may be hostile."""
    path = tmp_path / "<b>&.safetensors"
    safetensors.save(path, {"w": np.zeros(1)})
    assert main(["view", str(path), "--html", str(tmp_path / "page.html")]) == 0
    assert "<title>&lt;b&gt;&amp;.safetensors</title>" in (tmp_path / "page.html").read_text(encoding="utf8")


def test_values_are_looked_at_some_at_a_time(monkeypatch):
    """As of the whole; ints, bools, narrow and complex floats are numbers, too."""
    values = np.random.default_rng(0).standard_normal(1000)
    whole, counts = values_of(values), histogram(values, values.min(), values.max())
    monkeypatch.setattr("jscope.cli._values.PIECE", 7)
    again = values_of(values)
    assert again.mean == pytest.approx(values.mean()) == whole.mean
    assert again.std == pytest.approx(values.std())
    assert again.norm == pytest.approx(np.linalg.norm(values))
    assert histogram(values, values.min(), values.max()) == counts
    assert distance(values, -values) == pytest.approx((2 * np.linalg.norm(values), 2 * np.abs(values).max()))
    for array in (np.array([True, False]), np.array([3 + 4j, 0j]), jnp.array([1, 0], jnp.bfloat16), np.int8([1, 0])):
        assert values_of(np.asarray(array)).zeros == 1
    assert values_of(np.zeros(0)).least is None
    assert sum(histogram(np.array([-1e308, 1e308]), -1e308, 1e308)) == 2
    assert distance(np.uint8([0]), np.uint8([255])) == (255.0, 255.0)


def test_numbers_that_float64_cannot_hold_are_left_out(view):
    """A page says what it can say; JSON has no infinity."""
    large, other = ({"w": np.array([1e200, sign * 1e308])} for sign in (1, -1))
    row = rows_of(view(large, other))["w"]
    assert (row["greatest"], row["least"], row["change"]) == (1e308, 1e200, "changed")
    assert not {"norm", "std", "before", "moved"} & {*row}


def test_text_has_no_statistics(tmp_path):
    """Nor does what cannot be read."""
    arrays = {"words": np.array([b"a", b"b"], object), "w": np.ones(2, np.float32)}
    tensorbundle.save(str(tmp_path / "model.ckpt"), arrays)
    assert main(["view", str(tmp_path / "model.ckpt"), "--html", str(tmp_path / "page.html")]) == 0
    rows = rows_of((tmp_path / "page.html").read_text(encoding="utf8"))
    assert (rows["words"]["dtype"], "norm" in rows["words"], rows["w"]["zeros"]) == ("string", False, 0)


def test_what_is_there_is_kept(view, tmp_path, capsys):
    """A file is replaced only by `--force`, and a checkpoint that is damaged leaves the old page."""
    page = view(OLD)
    path = str(tmp_path / "new.safetensors")
    assert main(["view", path, "--html", str(tmp_path / "page.html")]) == 2
    assert "`--force` replaces it" in capsys.readouterr().err
    (tmp_path / "bad.safetensors").write_bytes(b"12345678")
    assert main(["view", str(tmp_path / "bad.safetensors"), "--html", str(tmp_path / "page.html"), "--force"]) == 2
    assert (tmp_path / "page.html").read_text(encoding="utf8") == page
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad.safetensors", "new.safetensors", "page.html"]


def test_a_page_has_a_limit(view, tmp_path, capsys, monkeypatch):
    """A million variables are refused, with the way to choose."""
    monkeypatch.setattr(_view, "MOST", 3)
    safetensors.save(tmp_path / "x.safetensors", OLD)
    assert main(["view", str(tmp_path / "x.safetensors"), "--html", str(tmp_path / "page.html")]) == 2
    assert "There are 5 variables, and a page can show 3. Choose some of them with `--select" in capsys.readouterr().err
    assert main(["view", str(tmp_path / "x.safetensors"), "--html", str(tmp_path / "y.html"), "--select", "net"]) == 0
