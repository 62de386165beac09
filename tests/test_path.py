"""Laws of names and paths."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from jscope import _path
from jscope._util import _text
from jscope.errors import InvalidNameError

NAMES = st.text(min_size=1, max_size=4).filter(lambda name: name.isprintable() and "/" not in name)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
few = settings(max_examples=25)


@few
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_split_undoes_join(names):
    """Joining names and splitting the path gives the names."""
    assert _path.split(_path.join(*names)) == tuple(names)


@few
@given(PATHS)
def test_parent_and_last_make_the_path(path):
    """A path is its last name below its parent."""
    assert _path.child(_path.parent(path), _path.basename(path)) == path


@few
@given(PATHS, PATHS)
def test_relative_undoes_join(prefix, path):
    """What is below a prefix, seen from there, is what was joined to it."""
    assert _path.relative(_path.join(prefix, path), prefix) == path
    assert _path.relative(path, "") == path


def test_a_longer_name_is_not_below_a_shorter_one():
    """`ab/w` is not below `a`."""
    assert _path.relative("ab/w", "a") is None


@few
@given(PATHS)
def test_prefixes_are_the_parents(path):
    """The proper prefixes of a path are its parents, shortest first."""
    parents = []
    while path := _path.parent(path):
        parents.append(path)
    assert list(_path.prefixes(_path.join(*parents[:1], "w"))) == parents[::-1]


@few
@given(st.dictionaries(NAMES, st.one_of(st.integers(), st.dictionaries(NAMES, st.integers(), min_size=1)), max_size=3))
def test_nested_undoes_items(tree):
    """Taking a nested dict apart and building it again gives it."""
    assert _path.nested(_path.items(tree)) == tree


@few
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(), min_size=1), max_size=3))
def test_walk_finds_every_item(tree):
    """Every path that `items` gives leads to its leaf."""
    assert all(_path.walk(tree, _path.parts(path)) == leaf for path, leaf in _path.items(tree))


def test_walk_ends_where_the_tree_does():
    """A path through a leaf, or past the end, leads to None."""
    assert _path.walk({"a": 1}, ("a", "b")) is None
    assert _path.walk({"a": {}}, ("a", "b")) is None


def test_a_copy_shares_leaves_but_no_dicts():
    """Writing into a copy leaves the original as it was."""
    leaf = object()
    tree = {"a": {"w": leaf}}
    copy = _path.copy(tree)
    assert copy["a"]["w"] is leaf
    _path.insert(copy, ("a", "v"), 1)
    assert tree == {"a": {"w": leaf}}


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", "a\n", "\0rng", None, 3, b"a", ("a",)])
def test_what_is_no_name_is_refused(name):
    """A name is a non-empty string of non-empty parts."""
    for check in (_path.split, _path.check):
        with pytest.raises(InvalidNameError, match=r"non-empty string"):
            check(name)


def test_the_nearest_name_comes_first():
    """A misspelt path finds the path that was meant."""
    assert _text.nearest("encoder/wieght", ["encoder/bias", "encoder/weight", "decoder/weight"])[0] == "encoder/weight"
    assert _text.nearest("zzz", ["encoder/w"]) == []


@pytest.mark.parametrize("bad", ["", "/a", "a/", "a//b", "a\nb", "/"])
@pytest.mark.parametrize("names", ["{}", "x,{}", "{},x", "x,{},y/z"])
def test_many_names_are_checked_as_each(bad, names):
    """Wherever the bad one stands, it is the one that the error tells."""
    with pytest.raises(InvalidNameError, match=re.escape(repr(bad))):
        _path.check_all(names.format(bad).split(","))
