"""The page of `jscope view` in headless Chromium: clicked through, typed into, and fed with hostile names."""

import json
import shutil
import struct

import numpy as np
import pytest

from jscope.checkpoint import safetensors
from jscope.cli import main

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]

HOSTILE = "<img src=x onerror=alert(1)>"


def layers(seed, count=100):
    random = np.random.default_rng(seed)
    tree = {f"layer_{i}": {"w": random.standard_normal((4, 4)), "b": np.zeros(4)} for i in range(count)}
    return tree | {HOSTILE: {"<script>": np.array([1.0, np.nan])}}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of some trees; fails if anything is logged, asked of the network, or said in a dialog."""
    bad, page = [], browser.new_page(viewport={"width": 1200, "height": 900})
    page.on("console", lambda message: bad.append(message.text))
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("dialog", lambda dialog: bad.append(dialog.message))
    page.on("request", lambda request: bad.append(request.url) if not request.url.startswith("file:") else None)

    def open_page(tree, against=None):
        if isinstance(tree, bytes):  # `save` refuses the names that some of these have.
            (tmp_path / "new.safetensors").write_bytes(tree)
        else:
            safetensors.save(tmp_path / "new.safetensors", tree)
        arguments = [str(tmp_path / "new.safetensors"), "--html", str(tmp_path / "page.html")]
        if against is not None:
            safetensors.save(tmp_path / "old.safetensors", against)
            arguments += ["--against", str(tmp_path / "old.safetensors")]
        assert main(["view", *arguments]) == 0
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield open_page
    assert not bad
    page.close()


def rows(page):
    return page.locator("[role=treeitem]")


def test_scopes_open_and_close(opened):
    """By a click and by keys; a variable tells its details."""
    page = opened(layers(0))
    assert rows(page).count() == 101
    rows(page).first.click()
    assert rows(page).count() == 103
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert "standard deviation" in page.locator("dl:visible").inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert rows(page).count() == 101
    page.get_by_role("button", name="Open all").click()
    assert rows(page).count() == 302


def test_names_are_found(opened):
    """By a part of the name, by a regex; what matches nothing is said."""
    page = opened(layers(0))
    page.keyboard.press("/")
    page.keyboard.type("LAYER_7/")
    assert rows(page).count() == 2
    page.locator("#search").fill("/^layer_1\\d/w$/")
    assert rows(page).count() == 10
    page.locator("#search").fill("/(/")
    assert page.locator("#none").is_visible()
    page.keyboard.press("Escape")
    assert rows(page).count() == 101


def test_hostile_names_are_text(opened):
    """They are shown as they are, and nothing runs."""
    page = opened(layers(0))
    page.get_by_role("button", name="Open all").click()
    assert page.get_by_text(HOSTILE).is_visible()
    assert page.get_by_text("<script>", exact=True).is_visible()
    assert page.locator("img").count() == 0


def test_what_cannot_be_seen_is_escaped(opened):
    """A name that is turned around is not taken for another."""
    header = json.dumps({"\u202elive\x1b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    data = struct.pack("<Q", len(header)) + header + b"\0" * 4
    page = opened(data)
    assert rows(page).first.inner_text().startswith("\\u{202e}live\\u{1b}")


def test_changes_come_first_if_asked(opened):
    """The variable that moved most, relative to its norm."""
    new, old = layers(0), layers(0)
    new["layer_5"]["w"] = -old["layer_5"]["w"]
    page = opened(new, old)
    page.locator("#order").select_option("by change")
    assert "layer_5/w" in rows(page).first.inner_text()
    assert "moved 200 %" in rows(page).first.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ten_thousand_variables_are_shown_in_parts(opened, scheme):
    """Also on a phone: nothing is wider than the screen."""
    page = opened({f"w{i}": np.full(4, i, np.float32) for i in range(10_000)})
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 380, "height": 800})
    assert rows(page).count() == 501
    rows(page).last.click()
    assert rows(page).count() == 1001
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
