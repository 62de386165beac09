"""Tables crossed with tables, which grow fast: a part of the pairs always runs, the others are slow tests."""

import itertools

import pytest


def mostly_slow(table, *quick):
    """Returns the names of a table as parameters; all but those that are quick to run, or tell most, are slow."""
    assert set(quick) <= set(table)
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in table]


def crossed(rows, columns):
    """Returns all pairs as parameters; those are slow that are not in the first column or on the diagonal.

    The diagonal goes on at the first row where the rows end. So put first the column that tells most: all rows meet it,
    and every other column meets one row.
    """
    rows = list(rows)
    return [
        pytest.param(row, column, marks=() if j == 0 or i == j % len(rows) else pytest.mark.slow)
        for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns))
    ]
