"""The site as it was built: its links, and its pages in headless Chromium, on two widths, in light and dark.

sphinx-build -q docs build/site
JSCOPE_SITE=build/site python -m pytest -m slow tests/test_site.py
"""

from __future__ import annotations

import os
import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

SITE = Path(os.environ.get("JSCOPE_SITE", "missing")).absolute()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = sorted(path for path in SITE.rglob("*.html") if not {"_modules", "_static"}.intersection(path.parts))
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PAGES, reason="no site was built: see JSCOPE_SITE")]

# Elements that reach beyond the right edge, unless something around them scrolls.
OUTSIDE = """() => [...document.querySelectorAll("article *")].filter((element) => {
  if (element.getBoundingClientRect().right <= document.documentElement.clientWidth + 1) return false
  for (let around = element.parentElement; around.tagName !== "BODY"; around = around.parentElement)
    if (getComputedStyle(around).overflowX !== "visible") return false
  return true
}).map((element) => element.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_links_within_the_site_lead_somewhere():
    """To a file that is there, and to a place that the file has."""
    texts = {path: path.read_text("utf8") for path in SITE.rglob("*.html")}
    broken = []
    # Not those in sources, which go back to the page where something would be documented by the name that it has there.
    for page in PAGES:
        for link in re.findall(r"""(?:href|src)=["']([^"']+)["']""", texts[page]):
            target, _, place = unquote(unescape(link)).partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = (page.parent / target.partition("?")[0]).resolve() if target else page
            if not path.exists() or (place and path in texts and f'id="{place}"' not in unescape(texts[path])):
                broken.append(f"{page.relative_to(SITE)}: {link}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_need_no_network(browser, width, scheme):
    """Nothing is wider than the screen, nothing is asked of another place, and no script fails."""
    page, bad = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme), []
    page.on("pageerror", lambda error: bad.append(str(error)))
    page.on("console", lambda message: bad.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: bad.append(request.url) if not request.url.startswith(("file:", "data:")) else 0)
    for path in PAGES:
        page.goto(path.as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth") - width
        bad += [f"{path.relative_to(SITE)}: {each}" for each in page.evaluate(OUTSIDE)]
        bad += [f"{path.relative_to(SITE)}: {wide} too wide"] if wide > 0 else []
    page.close()
    assert not bad, "\n".join(bad)


def test_search_finds(browser):
    """What a page is about."""
    page = browser.new_page()
    page.goto((SITE / "search.html").as_uri() + "?q=conversion")
    page.get_by_role("link", name="Conversions", exact=True).last.wait_for(timeout=10_000)
    page.close()
