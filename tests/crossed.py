"""Tables crossed with tables, which grow fast: a part of the pairs always runs, the others are slow tests."""

import itertools

import pytest


def crossed(rows, columns):
    """Returns all pairs as parameters; those are slow that are not in the first row, the first column or the diagonal.

    So put first what tells most: every row and every column meets the first of the others.
    """
    return [
        pytest.param(row, column, marks=() if 0 in (i, j) or i == j else pytest.mark.slow)
        for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns))
    ]


def some(rows, count):
    """Returns all rows as parameters; those after the first `count` are slow."""
    return [pytest.param(row, marks=() if i < count else pytest.mark.slow) for i, row in enumerate(rows)]
