"""Tables crossed with tables, which grow fast: a part of the pairs always runs, the others are slow tests."""

import itertools

import pytest


def mostly_slow(table, *quick):
    """Returns the names of a table as parameters; all but those that are quick to run, or tell most, are slow."""
    assert set(quick) <= set(table)
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in table]


def crossed(rows, columns):
    """Returns all pairs as parameters; those are slow that are not in the first row, the first column or the diagonal.

    So put first what tells most: every row and every column meets the first of the others.
    """
    return [
        pytest.param(row, column, marks=() if 0 in (i, j) or i == j else pytest.mark.slow)
        for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns))
    ]
