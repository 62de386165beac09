"""What documents say of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)`: ((?:`test_\w+`(?:, )?)+)", (ROOT / "docs/how_it_works.md").read_text("utf8"))


@pytest.mark.parametrize(("file", "names"), NAMED)
def test_tests_that_a_document_names_exist(file, names):
    """Each is in the file that is named before it."""
    source = (ROOT / file).read_text("utf8")
    missing = [name for name in re.findall(r"\w+", names) if f"def {name}(" not in source]
    assert not missing
