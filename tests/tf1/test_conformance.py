"""The 600 programs that TensorFlow 2.21 has answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tf1.programs import outcome

CASES = Path(__file__).with_name("conformance")


def cases():
    for path in sorted(CASES.glob("level*.json")):
        for case in json.loads(path.read_text(encoding="utf8")):
            yield pytest.param(case, id=f"{path.stem}-{case['seed']}")


@pytest.mark.parametrize("case", list(cases()))
def test_a_program_does_what_it_does_in_tensorflow(case):
    """Events, variables, regularization losses and getter calls are those of TensorFlow."""
    assert outcome(case["program"]) == case["expect"]
