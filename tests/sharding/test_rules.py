"""Laws of `Rules`: where the axes of one array go."""

from dataclasses import FrozenInstanceError, replace
from functools import partial

import jax
import numpy as np
import pytest

import jscope
from jscope import errors, sharding
from jscope.sharding import Rules, ShardingError
from tests.sharding.network import MESH, SPECS, SPLIT, P, X


def spec_of(rules, shape, axes=None, mesh=MESH, **options):
    """How a variable is split."""
    specs = jscope.specs(lambda s: s.get_variable("w", shape, axes=axes, **options))
    return sharding.shardings(specs, mesh, rules)["w"].spec


def test_a_name_goes_where_its_rule_says():
    """To one mesh axis, to several, or to none; an axis without a name stays whole."""
    rules = Rules({"a": "data", "b": ("data", "model"), "c": None})
    assert spec_of(rules, (8, 8), ("a", None)) == P("data", None)
    assert spec_of(rules, (8, 8), (None, "b")) == P(None, ("data", "model"))
    assert spec_of(rules, (8, 8), ("c", "a")) == P(None, "data")
    assert spec_of(rules, (), ()) == P()


def test_the_first_rule_that_fits_wins():
    """A mesh axis that is taken, or does not divide, does not fit; None always does."""
    rules = Rules([("a", "model"), ("b", "model"), ("b", "data"), ("b", None)])
    assert spec_of(rules, (8, 8), ("a", "b")) == P("model", "data")
    assert spec_of(rules, (8, 8), ("b", "a")) == P("data", "model"), "rules choose, not the order of the axes"
    assert spec_of(rules, (8, 6), ("a", "b")) == P("model", None)
    assert spec_of(rules, (8, 6), (None, "b")) == P(None, "model")


def test_what_fits_nowhere_is_an_error_or_whole():
    """As `fallback` says."""
    rules = Rules({"a": "data", "b": "data"})
    with pytest.raises(
        ShardingError,
        match=r"Axis 1 \(`b`\) of variable `w` \(created at .*'data' does not fit: `data` is taken by axis 0",
    ):
        spec_of(rules, (8, 8), ("a", "b"))
    with pytest.raises(
        ShardingError, match=r"6 is not a multiple of 4, the size of `data`.\nAdd a rule `\(\"a\", None\)`"
    ):
        spec_of(rules, (6, 8), ("a", None))
    forgiving = replace(rules, fallback="replicate")
    assert spec_of(forgiving, (8, 8), ("a", "b")) == P("data", None)
    assert spec_of(forgiving, (6, 8), ("a", "b")) == P(None, "data")


def test_a_mesh_axis_is_used_once_per_variable():
    """Even where one name stands twice."""
    with pytest.raises(ShardingError, match="`data` is taken by axis 0"):
        spec_of(Rules({"a": "data"}), (8, 8), ("a", "a"))
    assert spec_of(Rules([("a", "data"), ("a", "model")]), (8, 8), ("a", "a")) == P("data", "model")


def test_every_name_needs_a_rule():
    """Unless there is one for `...`, or no rule at all."""
    with pytest.raises(
        ShardingError, match=r"axis `mpl` of variable `w` .* Did you mean `mlp`\?\nAdd one: `\"mpl\": None`"
    ):
        spec_of(Rules({"mlp": "model"}), (8, 8), ("mpl", None))
    assert spec_of(Rules({...: None}), (8,), ("mpl",)) == P(None)
    assert spec_of(Rules({...: "data", "mlp": "model"}), (8, 8), ("x", "mlp")) == P("data", "model"), "`...` comes last"
    assert spec_of(Rules(), (8, 8), ("mpl", None)) == P(None, None)


def test_the_mesh_must_have_the_axes_of_the_rules():
    """Before any variable is looked at."""
    with pytest.raises(
        ShardingError, match=r"rule for `mlp` .* mesh axis `modle`, but the mesh has `data` \(size 4\), .*mean `model`"
    ):
        sharding.shardings(jscope.specs(lambda s: None), MESH, Rules({"mlp": "modle"}))
    with pytest.raises(ShardingError, match="rule for `fsdp`"):
        sharding.shardings(SPECS, MESH, Rules(fsdp="x"))
    with pytest.raises(errors.InvalidArgumentError, match=r"made by `jax.make_mesh`; 3 is not one"):
        sharding.shardings(SPECS, 3, Rules())


def test_paths_name_axes_for_code_that_does_not():
    """The first regex that matches; in place of the axes in the code; for one copy of what is stacked."""
    rules = replace(SPLIT, paths=(("up$", ("mlp", "embed")), ("/n$", ("embed",))))
    placed = sharding.shardings(SPECS, MESH, rules)
    assert placed["layers"]["up"].spec == P(None, "model", "data")
    assert placed["layers"]["n"].spec == P(None, "data")
    assert placed["layers"]["down"].spec == P(None, "model", "data")
    with pytest.raises(
        ShardingError, match=r"axes=\('mlp', 'embed'\) of variable `b` \(created at .*\) does not fit its shape \(16,\)"
    ):
        sharding.shardings(SPECS, MESH, replace(SPLIT, paths=(("^b$", ("mlp", "embed")),)))


def test_paths_and_sizes_need_no_specs():
    """Arrays that came from elsewhere are split by their names and shapes."""
    arrays = {"h": {"0": {"c_attn": {"weight": np.zeros((8, 12))}}}, "wte": jax.ShapeDtypeStruct((64, 8), "float32")}
    rules = Rules({"mlp": "model"}, paths={"weight$": (None, "mlp")}, fsdp="data", min_size=0)
    placed = jscope.tree.flatten(sharding.shardings(arrays, MESH, rules))
    assert [place.spec for place in placed.values()] == [P("data", "model"), P("data", None)]


def test_fsdp_takes_the_largest_axis_that_is_whole_and_divides():
    """The first of equal ones, never a stacked one, and only of what is large enough."""
    rules = Rules(fsdp="data", min_size=64)
    assert spec_of(rules, (8, 16)) == P(None, "data")
    assert spec_of(rules, (8, 8)) == P("data", None)
    assert spec_of(rules, (8, 18)) == P("data", None)
    assert spec_of(rules, (7, 18)) == P(None, None)
    assert spec_of(rules, (63,)) == spec_of(rules, (32,)) == P(None)
    assert spec_of(replace(rules, fsdp=("data", "model")), (8, 12)) == P(("data", "model"), None)
    stacked = jscope.specs(lambda s: jscope.scan(lambda s, c, _: (c, s.get_variable("w", (4, 4))), s, None, length=64))
    assert sharding.shardings(stacked, MESH, rules)["w"].spec == P(None, "data", None)


def test_fsdp_comes_after_the_names():
    """On an axis that they left whole; not at all where they took its mesh axis."""
    rules = Rules({"embed": None, "mlp": "model", "vocab": "data"}, fsdp="data", min_size=0)
    assert spec_of(rules, (8, 64), ("embed", "mlp")) == P("data", "model")
    assert spec_of(rules, (8, 64), ("embed", "vocab")) == P(None, "data")


def test_worked_rules_join():
    """FSDP, tensor-parallel, and both by `|`, of which the left chooses first."""
    fsdp, tensor, both = (
        sharding.fsdp(min_size=0),
        sharding.tensor_parallel(),
        sharding.tensor_parallel() | sharding.fsdp(min_size=0),
    )
    layer = partial(spec_of, shape=(8, 64), axes=("embed", "mlp"))
    assert [layer(rules) for rules in (fsdp, tensor, both)] == [P(None, "data"), P(None, "model"), P("data", "model")]
    assert all(rules.partition(("batch", None), MESH) == P("data", None) for rules in (fsdp, tensor, both))
    assert (Rules({"a": "data"}) | Rules({"a": "model"})).partition(("a",), MESH) == P("data")
    assert (fsdp | replace(tensor, fallback="replicate")).fallback == "error"


def test_rules_are_values():
    """Frozen, hashable, equal where they say the same."""
    assert Rules({"a": "data", "b": ["data", "model"]}) == Rules([("a", ("data",)), ("b", ("data", "model"))])
    assert len({Rules({"a": "data"}), Rules({"a": "data"}), Rules({"a": None})}) == 2
    assert eval(repr(SPLIT), {"Rules": Rules}) == SPLIT
    with pytest.raises(FrozenInstanceError):
        SPLIT.fsdp = "data"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rules("embed"), "names must be a mapping or pairs"),
        (lambda: Rules([("a", "b", "c")]), "names must be a mapping or pairs"),
        (lambda: Rules(["ab"]), "names must be a mapping or pairs"),
        (lambda: Rules(3), "names must be a mapping or pairs"),
        (lambda: Rules(min_size="1"), "min_size='1' must be an int"),
        (lambda: sharding.shardings({}, MESH, {"mlp": "model"}), "rules must be `jscope.sharding.Rules`"),
        (lambda: Rules({3: "data"}), "3 must be the name of an axis"),
        (lambda: Rules({"a": 3}), "'a' goes to 3, which is neither a mesh axis"),
        (lambda: Rules({"a": ("data", "data")}), "nor a tuple of different ones"),
        (lambda: Rules(paths={"(": ("a",)}), r"Rules: '\(' is not a regular expression"),
        (lambda: Rules(paths={"w": "ab"}), "axes='ab' of the paths 'w' must be a tuple"),
        (lambda: Rules(fallback="ignore"), "fallback='ignore' must be one of"),
        (lambda: SPLIT.partition("batch", MESH), "axes='batch' of an array must be a tuple"),
        (lambda: SPLIT.partition((3,), MESH), r"axes=\(3,\) of an array must be a tuple"),
        (lambda: sharding.shardings(X, MESH, SPLIT), "Expected the specs of a model or a nested dict"),
        (lambda: sharding.shardings({"a": {"b": "c"}}, MESH, SPLIT), "`a/b` is 'c', which has no shape"),
        (lambda: sharding.constrain(X, ("batch", None), {"batch": "data"}), "rules must be `jscope.sharding.Rules`"),
        (lambda: sharding.using(None).__enter__(), "rules must be `jscope.sharding.Rules`"),
        (lambda: sharding.shape_dtype({"w": X}, {"w": "data"}), "The sharding of `w` is 'data', not a `jax"),
    ],
)
def test_mistakes_are_named(make, message):
    """What is of the wrong kind is said at once."""
    with pytest.raises(errors.InvalidArgumentError, match=message):
        make()
