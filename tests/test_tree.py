"""Laws of `jscope.tree`."""

import dataclasses
import os
import pickle
import subprocess
import sys

import chex
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from jax.sharding import NamedSharding, PartitionSpec

from jscope import tree
from jscope.errors import (
    InvalidArgumentError,
    InvalidNameError,
    MissingVariableError,
    NameConflictError,
    StructureMismatchError,
)
from tests.crossed import mostly_slow

NAMES = st.one_of(st.sampled_from(["a", "b", "w", "0", "10", "~"]), st.text(min_size=1, max_size=4)).filter(
    lambda name: name.isprintable() and "/" not in name
)
LEAVES = st.one_of(st.none(), st.integers(), st.lists(st.integers(), max_size=2), st.builds(object))
DTYPES = st.sampled_from(["float32", "bfloat16", "int8", "uint32", "bool", "complex64"])
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)
ARRAYS = st.builds(np.ones, SHAPES, DTYPES.map(jnp.dtype))
STRUCTS = st.builds(jax.ShapeDtypeStruct, SHAPES, DTYPES)


def given(*strategies):
    """Draws a few examples: trees go wrong in few ways, and small ones show all of them."""
    return lambda test: settings(max_examples=25, deadline=None)(hypothesis.given(*strategies)(test))


def trees(leaves=LEAVES):
    """Nested dicts without empty sub-dicts (which no function of `jscope.tree` keeps)."""
    levels = st.recursive(leaves, lambda t: st.dictionaries(NAMES, t, min_size=1, max_size=2), max_leaves=4)
    return st.dictionaries(NAMES, levels, max_size=3)


def assert_same_leaves(found, expected):
    """The same objects at the same paths."""
    found, expected = tree.flatten(found), tree.flatten(expected)
    assert found.keys() == expected.keys()
    assert all(found[path] is expected[path] for path in expected)


def layers_of(leaves):
    """One to three layers, alike in structure, shapes and dtypes, with different values."""
    return st.tuples(trees(leaves).filter(bool), st.integers(1, 3)).map(
        lambda drawn: {
            str(i): tree.map_with_path(lambda _, x, i=i: np.full_like(x, i) if hasattr(x, "nbytes") else x, drawn[0])
            for i in range(drawn[1])
        }
    )


# Names, and the flat and the nested form.


@given(trees())
def test_unflatten_is_the_inverse_of_flatten(t):
    """`unflatten(flatten(t))` has the same leaves, at the same paths, in the same order."""
    again = tree.unflatten(tree.flatten(t))
    assert again == t
    assert_same_leaves(again, t)
    assert tree.names(again) == tree.names(t)


@given(trees())
def test_flatten_is_the_inverse_of_unflatten(t):
    """A flat tree comes back from its nested form."""
    flat = tree.flatten(t)
    assert list(tree.flatten(tree.unflatten(flat)).items()) == list(flat.items())


@given(trees())
def test_names_are_the_keys_of_the_flat_form(t):
    """`names` lists what `flatten` gives leaves to."""
    assert tree.names(t) == list(tree.flatten(t))


@given(trees())
def test_leaves_and_items_are_in_the_order_of_names(t):
    """The tree's own order, not that of JAX, which sorts keys; the leaves are the same objects."""
    flat = tree.flatten(t)
    assert tree.items(t) == list(zip(tree.names(t), tree.leaves(t), strict=True))
    assert all(leaf is flat[path] for path, leaf in tree.items(t))
    assert len(tree.leaves(t)) == len(flat)


def test_leaves_keep_the_order_that_jax_changes():
    """A user who zips names with `jax.tree.leaves` gets wrong pairs."""
    t = {"enc": {"w": 1, "b": 2}, "dec": 3}
    assert (tree.leaves(t), jax.tree.leaves(t)) == ([1, 2, 3], [3, 2, 1])


@given(trees())
def test_flat_and_nested_form_are_the_same_tree(t):
    """What a function says of `t` it says of `flatten(t)`."""
    flat = tree.flatten(t)
    assert tree.flatten(flat) == flat
    assert tree.partition(flat, "a") == tree.partition(t, "a")
    assert tree.map_with_path(lambda path, *_: path, flat, t) == tree.map_with_path(lambda path, *_: path, t)
    assert not tree.diff(flat, t)


def test_a_path_may_be_split_between_keys():
    """Keys of several names, as Haiku makes them, become nested dicts."""
    assert tree.unflatten({"mlp/~/linear": {"w": 1}, "mlp": {"b": 2}}) == {"mlp": {"~": {"linear": {"w": 1}}, "b": 2}}


def test_empty_dicts_are_not_there():
    """A tree is its leaves: a sub-dict without any is dropped."""
    assert tree.flatten({"a": {}, "b": {"c": {}, "w": 1}}) == {"b/w": 1}
    assert tree.map_with_path(lambda _, x: x, {"a": {}, "w": 1}) == {"w": 1}


@pytest.mark.parametrize("leaf", [None, [1, {"a": 2}], (), "text", {1, 2}], ids=repr)
def test_what_is_no_mapping_is_a_leaf(leaf):
    """Lists, None and the like are not looked into."""
    assert tree.flatten({"a": {"w": leaf}})["a/w"] is leaf


def test_inputs_are_never_changed():
    """Results share no dict with what they are made of."""
    t = {"a": {"w": np.zeros(2)}, "layers": {"0": {"w": np.zeros(2)}}}
    before = tree.flatten(t)
    for result in (
        tree.unflatten(t),
        tree.filter(t, ""),
        tree.merge(t, t),
        tree.rename(t, lambda path: path),
        tree.stack(t, at="layers"),
    ):
        result["a"]["new"] = result["new"] = 0
    assert_same_leaves(t, before)


# Choosing, merging, mapping.


@given(trees(), NAMES)
def test_merge_is_the_inverse_of_partition(t, name):
    """The two parts of a tree make it up, leaf by leaf."""
    parts = tree.partition(t, lambda path, _: name in path)
    assert_same_leaves(tree.merge(*parts), t)
    assert_same_leaves(tree.merge(*reversed(parts)), t)


@given(trees(), NAMES)
def test_filter_is_the_first_part_of_partition(t, name):
    """What `filter` keeps is what `partition` calls matching."""
    assert tree.filter(t, lambda path, _: name in path) == tree.partition(t, lambda path, _: name in path)[0]


@given(trees())
def test_merging_a_tree_with_itself_changes_nothing(t):
    """The same object on both sides is no conflict."""
    assert_same_leaves(tree.merge(t, t), t)
    assert_same_leaves(tree.merge({}, t), t)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("enc", ["enc/w", "enc/b", "my_enc/w"]),
        ("^enc/", ["enc/w", "enc/b"]),
        ("/w$", ["enc/w", "my_enc/w"]),
        ("", ["enc/w", "enc/b", "my_enc/w"]),
        (lambda path, leaf: leaf == 2, ["enc/b"]),
    ],
)
def test_a_regex_is_searched_for_in_the_path(where, expected):
    """A `Where` that is a string matches anywhere, unless anchored; a predicate sees path and leaf."""
    assert tree.names(tree.filter({"enc": {"w": 1, "b": 2}, "my_enc": {"w": 3}}, where)) == expected


@given(trees())
def test_mapping_the_identity_changes_nothing(t):
    """`map_with_path` of `(path, x) -> x` gives the same leaves."""
    assert_same_leaves(tree.map_with_path(lambda _, x: x, t), t)


@given(trees())
def test_map_gives_every_leaf_its_path(t):
    """The path that `fn` sees is where its result goes."""
    assert all(path == leaf for path, leaf in tree.flatten(tree.map_with_path(lambda path, _: path, t)).items())


def test_map_takes_leaves_of_several_trees_together():
    """`fn` gets the leaves of all trees at one path, whatever the order of their keys."""
    total = tree.map_with_path(lambda _, *xs: sum(xs), {"a": 1, "b": 2}, {"b": 20, "a": 10}, {"a": 100, "b": 200})
    assert total == {"a": 111, "b": 222}


# Renaming.


@given(trees())
def test_renaming_by_the_identity_changes_nothing(t):
    """The identity, as a function or as no pattern at all, gives the same leaves."""
    assert_same_leaves(tree.rename(t, lambda path: path), t)
    assert_same_leaves(tree.rename(t, {}), t)


@given(trees())
def test_renaming_there_and_back_changes_nothing(t):
    """An injective renaming is undone by its inverse; leaves stay the same objects."""
    there = tree.rename(t, lambda path: "root/" + path)
    assert_same_leaves(tree.rename(there, lambda path: path.removeprefix("root/")), t)


def test_patterns_apply_one_after_the_other():
    """Each pattern sees what the ones before it made; groups can be used."""
    assert tree.rename({"a": {"kernel": 1}}, {"kernel": "w", r"^(\w+)/w$": r"\1/x/w"}) == {"a": {"x": {"w": 1}}}


def test_two_names_can_be_swapped_by_a_function():
    """Where patterns in sequence would collide, a function does not."""
    assert tree.rename({"a": 1, "b": 2}, {"a": "b", "b": "a"}.__getitem__) == {"b": 1, "a": 2}


# Layers.


@given(layers_of(st.one_of(ARRAYS, STRUCTS)))
def test_unstack_is_the_inverse_of_stack(layers):
    """Layers of NumPy arrays and `ShapeDtypeStruct`s come back as they were."""
    again = tree.unstack(tree.stack(layers))
    assert not tree.diff(again, layers)
    assert list(map(type, tree.flatten(again).values())) == list(map(type, tree.flatten(layers).values()))


@given(trees(st.one_of(ARRAYS, STRUCTS)).filter(bool), st.integers(1, 3))
def test_stack_is_the_inverse_of_unstack(t, count):
    """A stacked tree comes back from its layers."""
    stacked = tree.stack({str(i): t for i in range(count)})
    assert not tree.diff(tree.stack(tree.unstack(stacked)), stacked)


@given(layers_of(ARRAYS), trees().filter(lambda t: "path" not in t))
def test_at_changes_what_is_below_it_and_keeps_the_rest(layers, rest):
    """With `at`, the rest of the tree keeps its leaves, and the layers do as they would alone."""
    whole = {"path": {"to": layers, "sibling": 1}, **rest}
    stacked = tree.stack(whole, at="path/to")
    assert not tree.diff(stacked["path"]["to"], tree.stack(layers))
    assert_same_leaves(tree.filter(stacked, "^(?!path/to/)"), tree.filter(whole, "^(?!path/to/)"))
    assert not tree.diff(tree.unstack(stacked, at="path/to"), whole)


@pytest.mark.parametrize("dtype", mostly_slow(["float32", "bfloat16", "int8", "bool"], "float32", "bool"))
def test_stack_stacks_jax_arrays(dtype):
    """The stacked leaf is `jnp.stack` of the layers, of the same dtype, eager and jitted."""
    layers = {str(i): {"w": jnp.full((2, 3), i, dtype), "b": jnp.full((), i, dtype)} for i in range(12)}
    stacked = tree.stack(layers)
    assert stacked["w"].dtype == dtype
    chex.assert_trees_all_equal(stacked, jax.tree.map(lambda *xs: jnp.stack(xs), *layers.values()))
    chex.assert_trees_all_equal(jax.jit(tree.stack)(layers), stacked)
    chex.assert_trees_all_equal(tree.unstack(stacked), layers)
    chex.assert_trees_all_equal(jax.jit(tree.unstack)(stacked), layers)


def test_typed_keys_can_be_stacked():
    """Random keys are leaves like any other."""
    layers = {str(i): {"key": jax.random.key(i)} for i in range(3)}
    stacked = tree.stack(layers)
    assert stacked["key"].shape == (3,)
    assert not tree.diff(tree.unstack(stacked), layers)


def test_stack_commutes_with_eval_shape():
    """Stacking specs gives the spec of what is stacked."""
    layers = {"0": {"w": jnp.zeros(3)}, "1": {"w": jnp.ones(3)}}
    assert tree.stack(jax.eval_shape(lambda: layers)) == jax.eval_shape(lambda: tree.stack(layers))


def test_the_new_axis_of_a_struct_is_not_sharded():
    """The sharding of a `ShapeDtypeStruct` gets one leading axis, and loses it again."""
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    layer = {"w": jax.ShapeDtypeStruct((4, 2), "float32", sharding=NamedSharding(mesh, PartitionSpec("x")))}
    stacked = tree.stack({"0": layer, "1": layer})
    assert stacked["w"].sharding == NamedSharding(mesh, PartitionSpec(None, "x"))
    assert tree.unstack(stacked) == {"0": layer, "1": layer}


def test_numpy_stays_numpy():
    """Layers of NumPy arrays, also of scalars' shape, never go to a device."""
    stacked = tree.stack({"0": {"w": np.zeros((), np.float64)}, "1": {"w": np.ones((), np.float64)}})
    assert type(stacked["w"]) is np.ndarray
    assert type(tree.unstack(stacked)["0"]["w"]) is np.ndarray
    assert stacked["w"].dtype == np.float64


# Sizes.


@given(trees(ARRAYS), trees(ARRAYS))
def test_sizes_add_up(a, b):
    """The size of two trees together is the sum of their sizes; abstract leaves count as much as arrays."""
    both = {"a": a, "b": b}
    abstract = tree.map_with_path(lambda _, x: jax.ShapeDtypeStruct(x.shape, x.dtype), both)
    assert tree.size(both) == tree.size(a) + tree.size(b) == tree.size(abstract)
    assert tree.bytes(both) == sum(x.nbytes for x in tree.flatten(both).values()) == tree.bytes(abstract)


def test_a_typed_key_is_one_element_of_as_many_bytes_as_its_data():
    """Keys can be counted, as arrays and abstractly."""
    keys = {"key": jax.random.split(jax.random.key(0), 3)}
    for t in (keys, jax.eval_shape(lambda: keys)):
        assert (tree.size(t), tree.bytes(t)) == (3, jax.random.key_data(keys["key"]).nbytes)


# Differences.


@given(trees(st.one_of(LEAVES, ARRAYS, STRUCTS)))
def test_a_tree_does_not_differ_from_itself(t):
    """The report on equal trees is false and says so."""
    report = tree.diff(t, tree.unflatten(t))
    assert not report
    assert str(report) == "no difference"


@given(trees(ARRAYS), trees(ARRAYS))
def test_diff_is_symmetric(a, b):
    """Exchanging the trees exchanges the two sides of the report."""
    there, back = tree.diff(a, b), tree.diff(b, a)
    assert (there.only_in_a, there.only_in_b) == (back.only_in_b, back.only_in_a)
    assert {(path, y, x) for path, x, y in there.changed} == set(back.changed)
    assert set(there.values) == set(back.values)


@pytest.mark.parametrize(
    ("dtype", "x", "y", "gap"),
    [
        ("uint8", 0, 255, 255.0),
        ("int8", -128, 127, 255.0),
        ("int64", -(2**63), 2**63 - 1, 2.0**64),
        ("uint64", 2**64 - 1, 2**64 - 2, 1.0),
        ("int4", -8, 7, 15.0),
        ("bool", False, True, 1.0),
        ("bfloat16", 1, 1.0078125, 0.0078125),
        ("float16", -65504, 65504, 131008.0),
        ("float8_e4m3fn", -448, 448, 896.0),
        ("float32", -3e38, 3e38, float(2 * np.float64(np.float32(3e38)))),
        ("complex64", 3, 4j, 5.0),
        ("float32", np.inf, -np.inf, np.inf),
        ("float32", np.nan, 0, np.inf),
    ],
)
def test_differences_do_not_overflow(dtype, x, y, gap):
    """The largest absolute difference is exact, where the dtype itself could not hold it."""
    a, b = ({"w": np.array([0, value], jnp.dtype(dtype))} for value in (x, y))
    assert tree.diff(a, b).values == (("w", gap),)
    assert tree.diff(b, a).values == (("w", gap),)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_equal_nans_and_infinities_in_the_same_place_are_equal(dtype):
    """Only other values than these make a difference."""
    a = {"w": jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1], dtype)}
    assert not tree.diff(a, jax.tree.map(jnp.copy, a))
    assert tree.diff(a, {"w": a["w"].at[3].set(3)}).values == (("w", 2.0),)


def test_differences_up_to_the_tolerance_do_not_count():
    """The tolerance is the largest absolute difference that is none; a NaN on one side is above any."""
    a, b, c = ({"w": np.array([value])} for value in (1.0, 1.5, np.nan))
    assert not tree.diff(a, b, tolerance=0.5)
    assert tree.diff(a, b, tolerance=0.4)
    assert tree.diff(a, c, tolerance=1e300)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (jnp.zeros(2), np.zeros(2, np.float32)),
        (jnp.zeros(2), jax.ShapeDtypeStruct((2,), "float32")),
        (float("nan"), float("nan")),
        ([jnp.zeros(2), None], [jnp.zeros(2), None]),
        (np.array(["text"]), np.array(["text"])),
        (jax.random.key(0), jax.random.key(0)),
        (np.zeros((0, 3)), np.zeros((0, 3))),
    ],
    ids=str,
)
def test_what_is_equal_though_not_the_same_makes_no_difference(x, y):
    """Arrays compare by value; with abstract leaves only shape and dtype; other leaves by `==`."""
    assert not tree.diff({"w": x}, {"w": y})


@pytest.mark.parametrize(
    ("x", "y", "change"),
    [
        (np.zeros(2, np.int8), np.zeros(3, np.int8), ("int8[2]", "int8[3]")),
        (np.zeros(2, np.int8), jnp.zeros(2, "bfloat16"), ("int8[2]", "bfloat16[2]")),
        (np.zeros((), np.int8), 0, ("int8[]", "0")),
        (None, [], ("None", "[]")),
        (1, True, ("1", "True")),
        ([np.zeros(1)], [np.ones(1)], ("[array([0.])]", "[array([1.])]")),
        (jax.random.key(0), np.zeros((), np.int8), ("key<fry>[]", "int8[]")),
        (np.array(["a"]), np.array(["b"]), ("array(['a'], dtype='<U1')", "array(['b'], dtype='<U1')")),
        (jax.ShapeDtypeStruct((2,), "int8"), jax.ShapeDtypeStruct((), "int8"), ("int8[2]", "int8[]")),
    ],
    ids=str,
)
def test_a_change_of_kind_is_shown_from_both_sides(x, y, change):
    """Shapes and dtypes that differ are reported as such, and so is what is no array of numbers."""
    assert tree.diff({"w": x}, {"w": y}).changed == (("w", *change),)


def test_keys_that_differ_are_different():
    """Typed keys compare by their data."""
    assert tree.diff({"key": jax.random.key(0)}, {"key": jax.random.key(1)}).values == (("key", 1.0),)


def test_a_diff_is_an_immutable_value():
    """Reports can be compared, hashed and pickled, but not changed."""
    report = tree.diff({"w": np.zeros(2), "a": 1}, {"w": np.ones(2), "b": 1})
    assert report == pickle.loads(pickle.dumps(report))
    assert hash(report) == hash(dataclasses.replace(report))
    with pytest.raises(dataclasses.FrozenInstanceError, match="values"):
        report.values = ()


def test_a_diff_prints_as_a_table():
    """One row for each difference, with its path."""
    a = {"enc": {"w": np.zeros(2), "b": np.zeros(2, np.int8)}, "old": 1}
    b = {"enc": {"w": np.full(2, 0.25), "b": np.zeros(3, np.int8)}, "new": 1}
    assert str(tree.diff(a, b)).splitlines() == [
        "only in a  old",
        "only in b  new",
        "changed    enc/b  int8[2] -> int8[3]",
        "values     enc/w  differs by up to 0.25",
    ]


# Errors.

W = np.zeros(2, np.float32)


# fmt: off
@pytest.mark.parametrize(("error", "match", "call"), [
    (InvalidArgumentError, r"string keys, not \[1\]", lambda: tree.names([1])),
    (InvalidArgumentError, "string keys, not float32", lambda: tree.merge({}, W)),
    (InvalidArgumentError, "Key 0 in `a/b` must be a string, not `int`", lambda: tree.flatten({"a": {"b": {0: 1}}})),
    (InvalidArgumentError, "Key None in the root", lambda: tree.size({None: 1})),
    (InvalidNameError, "'a/' is not a name", lambda: tree.flatten({"a": {"": 1}})),
    (InvalidNameError, "'a//b' is not a name", lambda: tree.unflatten({"a//b": 1})),
    (NameConflictError, "`a` is a leaf, but also a prefix of `a/b`", lambda: tree.unflatten({"a/b": 1, "a": 2})),
    (NameConflictError, "`a/b` is there twice", lambda: tree.names({"a/b": 1, "a": {"b": 2}})),
    (InvalidArgumentError, r"'\(' is not a regular expression", lambda: tree.filter({"a": 1}, "(")),
    (InvalidArgumentError, "3 is not a regular expression", lambda: tree.partition({"a": 1}, 3)),
    (NameConflictError, "leaves at `a/w`, `b`", lambda: tree.merge({"a/w": 1, "b": 2}, {"a/w": 3, "b": 4})),
    (NameConflictError, "`a` is a leaf", lambda: tree.merge({"a": 1}, {"a": {"w": 1}})),
    (NameConflictError, "and 92 more", lambda: tree.merge(*({str(i): [] for i in range(100)} for _ in range(2)))),
    (StructureMismatchError, r"`rest\[1\]` \(b\).*:\nonly in a  a\nonly in b  b",
     lambda: tree.map_with_path(max, {"a": 1}, {"a": 1}, {"b": 1})),
    (NameConflictError, "`a` and `b` would both become `c`", lambda: tree.rename({"a": 1, "b": 2}, {"a|b": "c"})),
    (NameConflictError, "`b` is a leaf", lambda: tree.rename({"a": 1, "b/c": 2}, {"a": "b"})),
    (InvalidNameError, "'/w' is not a name", lambda: tree.rename({"a/w": 1}, {"a": ""})),
    (InvalidNameError, "must be a non-empty string, not None", lambda: tree.rename({"a": 1}, lambda path: None)),
    (MissingVariableError, r"`\^encodr` is not found in any path. Did you mean.*`encoder`",
     lambda: tree.rename({"my/encoder/w": 1}, {"^encodr": ""})),
    (MissingVariableError, "There is `a`", lambda: tree.rename({"a": 1}, {"xyz": ""})),
    (InvalidArgumentError, "a dict of regex: replacement, not 'b'", lambda: tree.rename({"a": 1}, "b")),
    (InvalidArgumentError, r"a dict of regex: replacement, not \{'a': 1\}", lambda: tree.rename({"a": 1}, {"a": 1})),
    (InvalidArgumentError, r"`\(path, leaf\) -> leaf` first, not \{'a': 1\}", lambda: tree.map_with_path({"a": 1}, {})),
    (InvalidArgumentError, r"`jscope.checkpoint.Conversion`, not \{'a': 'b'\}", lambda: tree.convert({}, {"a": "b"})),
    (InvalidArgumentError, r"`b` has no size: it is \[1\]", lambda: tree.size({"a": W, "b": [1]})),
    (InvalidArgumentError, "`a/step` has no size: it is 3", lambda: tree.bytes({"a": {"step": 3}})),
])
def test_an_error_says_what_and_where(error, match, call):
    """Every mistake is reported with its path, and with what was found there."""
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(("error", "match", "call"), [
    (MissingVariableError, "below the root. There is nothing", lambda: tree.stack({})),
    (MissingVariableError, "below `blok`. Did you mean `block`", lambda: tree.stack({"block/0/w": W}, at="blok")),
    (InvalidArgumentError, r"`a` is not a subtree, but a leaf: float32\[2\]", lambda: tree.unstack({"a": W}, at="a")),
    (InvalidArgumentError, "at=None must be the path of a subtree", lambda: tree.unstack({"a": W}, at=None)),
    (InvalidArgumentError, "at=3 must be the path of a subtree", lambda: tree.stack({"0/w": W}, at=3)),
    (StructureMismatchError, "found `0`, `2`, but not `1`", lambda: tree.stack({"0/w": W, "2/w": W})),
    (StructureMismatchError, "of `a`.*found `00`, but not `0`", lambda: tree.stack({"a/00/w": W}, at="a")),
    (StructureMismatchError, "`0`, `1`, `b`, but not `2`", lambda: tree.stack({"0/w": W, "1/w": W, "b": W})),
    (InvalidArgumentError, r"Layer `a/0` must be a mapping, not float32", lambda: tree.stack({"a/0": W}, at="a")),
    (InvalidArgumentError, "`0/w` is None, neither an array", lambda: tree.stack({"0/w": None})),
    (InvalidArgumentError, "`a/n` is 3, neither an array", lambda: tree.unstack({"a": {"n": 3}}, at="a")),
    (StructureMismatchError, r"0 \(a\) and 1 \(b\).*\nonly in b", lambda: tree.stack({"0/w": W, "1/w": W, "1/b": W})),
    (StructureMismatchError, r"w  float32\[2\] -> float32\[1\]", lambda: tree.stack({"0/w": W, "1/w": W[:1]})),
    (StructureMismatchError, r"w  float32\[2\] -> int8\[2\]", lambda: tree.stack({"0/w": W, "1/w": np.int8([1, 2])})),
    (StructureMismatchError, "-> Shape", lambda: tree.stack({"0/w": W, "1/w": jax.ShapeDtypeStruct((2,), W.dtype)})),
    (StructureMismatchError, r"is float32\[2\], but `b` is float32\[1\]", lambda: tree.unstack({"w": W, "b": W[:1]})),
    (StructureMismatchError, r"`w` is float32\[\]", lambda: tree.unstack({"w": W[0]})),
    (StructureMismatchError, r"`w` is float32\[0\]", lambda: tree.unstack({"w": W[:0]})),
])
def test_layers_that_do_not_fit_are_reported(error, match, call):
    """Stacking says which layers differ, and in which paths; unstacking, which leading sizes do."""
    with pytest.raises(error, match=match):
        call()
# fmt: on


def test_importing_the_module_touches_no_backend():
    """`jscope.tree` can be imported where JAX has no device to offer."""
    subprocess.run([sys.executable, "-c", "import jscope.tree"], env=os.environ | {"JAX_PLATFORMS": "none"}, check=True)


TREE = {
    "a": {"b": {"w": np.array([3.0, -4.0], np.float32)}, "n": np.array([12], np.int32)},
    "c": jnp.ones((2,), jnp.bfloat16),
}


def test_stats_are_of_all_that_is_below_each_scope():
    """As NumPy computes them of the values put together; under `jit`, too."""
    for found in (tree.stats(TREE), jax.jit(tree.stats)(TREE)):
        expected = {"": [3, -4, 12, 1, 1], "a": [3, -4, 12], "a/b": [3, -4]}
        assert len(found) == 5 * len(expected)
        for scope, values in expected.items():
            start = f"{scope}/" if scope else ""
            assert found[f"{start}norm"] == pytest.approx(np.linalg.norm(values))
            assert found[f"{start}mean"] == pytest.approx(np.mean(values))
            assert (found[f"{start}min"], found[f"{start}max"]) == (min(values), max(values))
            assert found[f"{start}nonfinite"] == 0


def test_stats_leave_out_what_is_not_finite_and_count_it():
    """So that one NaN does not hide all the rest."""
    found = tree.stats({"w": jnp.array([1.0, jnp.nan, -jnp.inf, 3.0])})
    assert {name: float(value) for name, value in found.items()} == {
        "norm": pytest.approx(10**0.5),
        "mean": 2.0,
        "min": 1.0,
        "max": 3.0,
        "nonfinite": 2.0,
    }
    assert tree.stats({"w": jnp.full((3,), jnp.nan)})["nonfinite"] == 3


def test_stats_leave_out_what_is_not_a_number():
    """Random keys, strings, empty arrays; of complex numbers, absolutes count."""
    assert tree.stats({"key": jax.random.key(0), "name": "x", "empty": np.zeros((0, 3))}) == {}
    assert tree.stats({"w": jnp.array([3.0 + 4.0j])})["max"] == 5.0


@pytest.mark.parametrize(("depth", "count"), [(0, 5), (1, 10), (2, 15), (None, 15)])
def test_stats_to_a_depth(depth, count):
    """The numbers of a scope do not depend on it."""
    found, whole = tree.stats(TREE, depth=depth), tree.stats(TREE)
    assert len(found) == count
    assert {name: float(value) for name, value in found.items()}.items() <= {
        n: float(v) for n, v in whole.items()
    }.items()


def test_stats_refuse_a_negative_depth():
    """There is no such scope."""
    with pytest.raises(InvalidArgumentError, match="depth=-1 must be a non-negative int"):
        tree.stats(TREE, depth=-1)
