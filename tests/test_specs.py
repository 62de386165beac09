"""Laws of specs: everything that is a function of what variables are."""

from __future__ import annotations

import json

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings

import jscope
from jscope import Specs, constraints, errors, initializers, regularizers
from jscope._spec import StackAxis, VariableSpec
from jscope._specs import specs_of
from tests.models import KEY, MODELS

l2 = regularizers.l2(0.5)


def dense(s):
    s.get_variable("w", (2, 3), regularizer=l2, axes=("embed", None), collections=("big", "matrices"))
    s.get_variable("b", (3,), jnp.bfloat16, initializers.zeros, constraint=constraints.non_neg)


def model(s):
    dense(s / "enc")
    dense(s / "dec")
    s.get_variable("mean", (3,), initializer=initializers.ones, trainable=False, regularizer=l2)


SPECS = jscope.specs(model)
PARAMS, STATE = jscope.transform_with_state(model).init(KEY(0))


def test_specs_map_paths():
    """By path, or part by part; iteration gives paths, in the order of creation."""
    assert SPECS["enc"]["w"] is SPECS["enc/w"]
    assert list(SPECS) == ["enc/w", "enc/b", "dec/w", "dec/b", "mean"]
    assert "enc" in SPECS
    assert "x" not in SPECS
    assert len(SPECS["enc"]) == 2
    assert list(SPECS.flat()) == ["enc/w", "enc/b", "dec/w", "dec/b", "mean"]
    with pytest.raises(KeyError, match="enc/x"):
        SPECS["enc/x"]


@pytest.mark.parametrize("name", MODELS)
def test_shape_dtype_is_what_init_gives(name):
    """For every model, the abstract values have the structure, shapes and dtypes of the initial ones."""
    model = MODELS[name]
    specs, variables = model.transformed.specs(*model.args), model.init()
    abstract = [specs.params.shape_dtype(), specs.state.shape_dtype()][: len(variables)]
    for expected, found in zip(variables, abstract, strict=True):
        chex.assert_trees_all_equal_shapes_and_dtypes(expected, found)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if not model.data])
def test_materialize_gives_what_init_gives(name):
    """For every model whose initial values depend on no data, bit for bit."""
    model = MODELS[name]
    specs, variables = model.transformed.specs(*model.args), model.init(KEY(5))
    made = [specs.params.materialize(KEY(5)), specs.state.materialize(KEY(5))][: len(variables)]
    chex.assert_trees_all_equal(tuple(made), variables)


def test_a_part_can_be_materialized_alone():
    """A selection gives the values that the whole gives."""
    made = SPECS.select("^dec/").materialize(KEY(0))
    chex.assert_trees_all_equal(made, {"dec": PARAMS["dec"]})


def test_materialize_puts_values_where_it_is_told():
    """One sharding for all, or one for each."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[1])
    other = jax.sharding.SingleDeviceSharding(jax.devices()[2])
    everywhere = SPECS.materialize(KEY(0), device)
    assert {leaf.sharding for leaf in jax.tree.leaves(everywhere)} == {device}
    each = SPECS.params.materialize(KEY(0), SPECS.params.map(lambda spec: other if spec.name == "w" else device))
    assert (each["enc"]["w"].sharding, each["enc"]["b"].sharding) == (other, device)
    chex.assert_trees_all_equal(jax.device_get(each), jax.device_get(PARAMS))


def test_regularization_loss_sums_all_penalties():
    """Of params; of state only where it is given; in float32."""
    by_hand = sum(0.5 * jnp.sum(PARAMS[name]["w"] ** 2) for name in ("enc", "dec"))
    loss = SPECS.regularization_loss(PARAMS)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)
    np.testing.assert_allclose(SPECS.regularization_loss(PARAMS, STATE), by_hand + 1.5, rtol=1e-6)


def test_without_regularizers_the_loss_is_zero():
    """And still a float32 scalar that can be differentiated."""
    specs = jscope.specs(lambda s: s.get_variable("w", (2,)))
    assert float(jax.grad(lambda p: specs.regularization_loss(p))({"w": jnp.ones(2)})["w"].sum()) == 0.0


def test_regularization_works_under_jit_and_grad():
    """Its gradient is that of the penalties."""
    grads = jax.jit(jax.grad(SPECS.regularization_loss))(PARAMS)
    np.testing.assert_allclose(grads["enc"]["w"], PARAMS["enc"]["w"], rtol=1e-6)
    np.testing.assert_array_equal(grads["enc"]["b"].astype(jnp.float32), jnp.zeros(3))


def stacked_specs(**options):
    spec = VariableSpec("layers/w", (4, 2), np.dtype("float32"), initializers.ones, **options)
    return specs_of([VariableSpec(**{f: getattr(spec, f) for f in spec.__slots__} | {"stack": (StackAxis(1, 4),)})])


def test_a_stacked_variable_pays_for_each_copy():
    """Penalties and constraints see one copy at a time."""
    params = {"layers": {"w": jnp.arange(8.0).reshape(4, 2)}}
    norm = stacked_specs(regularizer=lambda w: jnp.sqrt(jnp.sum(w * w)), constraint=constraints.unit_norm())
    expected = jnp.linalg.norm(params["layers"]["w"], axis=1).sum()
    np.testing.assert_allclose(norm.regularization_loss(params), expected, rtol=1e-6)
    shapes = []
    stacked_specs(constraint=lambda w: shapes.append(w.shape) or w).apply_constraints(params)
    assert shapes == [(2,)]


def test_constraints_project_what_they_constrain():
    """And leave every other leaf as the same object."""
    params = {"enc": {"w": PARAMS["enc"]["w"], "b": jnp.array([-1, 0, 2], jnp.bfloat16)}, "dec": PARAMS["dec"]}
    projected = SPECS.apply_constraints(params)
    assert projected["enc"]["w"] is params["enc"]["w"]
    assert projected["enc"]["b"].tolist() == [0, 0, 2]
    assert projected["enc"]["b"].dtype == jnp.bfloat16
    assert params["enc"]["b"].tolist() == [-1, 0, 2]


def test_check_accepts_what_init_gives():
    """Arrays, numpy arrays and abstract values."""
    SPECS.check(PARAMS)
    SPECS.check(PARAMS, STATE)
    SPECS.check(jax.device_get(PARAMS))
    SPECS.check(SPECS.params.shape_dtype())


def test_check_reports_everything_at_once():
    """Missing, unexpected, mis-shaped and mis-typed, with the nearest names."""
    wrong = {
        "enc": {"weight": jnp.ones((2, 3)), "w": jnp.ones((2, 4)), "b": PARAMS["enc"]["b"]},
        "dec": {"kernel_1": jnp.ones(1), "b": jnp.ones(3), "w": [1.0]},
        "dce": {"w": jnp.ones(1)},
    }
    specs = jscope.specs(lambda s: (model(s), (s / "dec").get_variable("kernel", (1,)))[0])
    with pytest.raises(errors.StructureMismatchError) as caught:
        specs.check(wrong)
    assert str(caught.value).splitlines() == [
        "The params do not fit the model:",
        "  missing:    `dec/kernel` float32[1] (near: `dec/kernel_1`)",
        "  unexpected: `enc/weight` float32[2, 3]",
        "  unexpected: `dec/kernel_1` float32[1] (near: `dec/kernel`)",
        "  unexpected: `dce/w` float32[1]",
        "  shape:      `enc/w` is float32[2, 4], expected float32[2, 3]",
        "  shape:      `dec/w` is a `list`, expected float32[2, 3]",
        "  dtype:      `dec/b` is float32[3], expected bfloat16[3]",
    ]


def block(s, x):
    x = x + s.get_variable("w", (2,), initializer=initializers.normal(1.0))
    return x + (s / "b").get_variable("v", (2,), initializer=initializers.normal(1.0), axes=("mlp",))


def scanned(s):
    s.get_variable("w", (2,))
    return jscope.layers(lambda s, x: jscope.layers(block, 2)(s / "in", x), 3)(s / "layers", jnp.ones(2))


def unrolled(s):
    s.get_variable("w", (2,))
    return [block(s / f"layers/{i}/in/{j}", jnp.ones(2)) for i in range(3) for j in range(2)]


def test_check_says_once_that_only_one_side_is_stacked():
    """Instead of a line for each variable of each layer; what differs besides is listed as ever."""
    by_step = jscope.specs(lambda s: [block(s / "enc/layers" / str(i), 0.0) for i in range(3)])
    at_once = jscope.specs(lambda s: jscope.layers(block, 3)(s / "enc/layers", jnp.ones(2)))
    for specs, other, line in (
        (at_once, by_step, "`enc/layers/w` and 1 more are stacked in the model, but not here: `jscope.tree.stack"),
        (by_step, at_once, "`enc/layers/w` and 1 more are stacked here, but not in the model: `jscope.tree.unstack"),
    ):
        with pytest.raises(errors.StructureMismatchError) as caught:
            specs.check({**other.materialize(KEY(0)), "more": jnp.ones(2)})
        assert str(caught.value).splitlines() == [
            "The params do not fit the model:",
            f'  layers:     {line}(params, at="enc/layers")`',
            "  unexpected: `more` float32[2]",
        ]


def test_a_likeness_of_names_is_not_a_stack():
    """Another number of copies, or numbers that mean something else, are reported one by one."""
    at_once = jscope.specs(lambda s: jscope.layers(block, 3)(s / "layers", jnp.ones(2)))
    with pytest.raises(errors.StructureMismatchError, match=r"missing:    `layers/w`(?s:.*)unexpected: `layers/1/w`"):
        at_once.check({"layers": {str(i): {"w": jnp.ones(2)} for i in range(2)}})


def test_unstacked_specs_are_those_of_the_unrolled_model():
    """With the same paths, shapes, axes and initial values, also where stacks are in stacks; and of a part, too."""
    specs = jscope.specs(scanned)
    assert jscope.tree.names(jscope.tree.unstack(specs["layers/in"])) == [
        f"{i}/{n}" for i in range(3) for n in ("w", "b/v")
    ]
    one = jscope.tree.unstack(specs, at="layers")
    for i in range(3):
        one = jscope.tree.unstack(one, at=f"layers/{i}/in")
    one, expected = Specs(one), jscope.specs(unrolled)
    assert [(s.path, s.shape, s.axes, s.stack) for s in one.flat().values()] == [
        (s.path, s.shape, s.axes, s.stack) for s in expected.flat().values()
    ]
    chex.assert_trees_all_equal(one.materialize(KEY(3)), expected.materialize(KEY(3)))


def test_specs_that_no_lift_stacked_cannot_be_unstacked():
    """Their leading axis is one of the variable."""
    with pytest.raises(errors.StructureMismatchError, match="leading axes of one size, at least 1; `w` is"):
        jscope.tree.unstack(jscope.specs(lambda s: s.get_variable("w", (3,))))


def test_check_reports_missing_state():
    """Where state is given, it is checked as well."""
    with pytest.raises(errors.StructureMismatchError, match=r"missing: +`mean` float32\[3\]"):
        SPECS.check(PARAMS, {})


def test_select_takes_a_regex_a_predicate_or_a_collection():
    """Selections are specs again, in the order of creation."""
    assert list(SPECS.select("w$").flat()) == ["enc/w", "dec/w"]
    assert list(SPECS.select(lambda spec: spec.size == 3).flat()) == ["enc/b", "dec/b", "mean"]
    assert list(SPECS.select(collection="big").flat()) == ["enc/w", "dec/w"]
    assert list(SPECS.select("enc", collection="big").flat()) == ["enc/w"]
    assert list(SPECS.params.flat()) == ["enc/w", "enc/b", "dec/w", "dec/b"]
    assert list(SPECS.state.flat()) == ["mean"]


def test_a_mask_says_where_select_would_choose():
    """For every variable, true or false, nested like the params."""
    assert SPECS.mask("w$") == {"enc": {"w": True, "b": False}, "dec": {"w": True, "b": False}}


def test_masks_serve_optax_masked():
    """Weight decay on what the mask chooses, and on nothing else."""
    decay = optax.masked(optax.add_decayed_weights(0.1), SPECS.mask("enc/w"))
    updates, _ = decay.update(jax.tree.map(jnp.zeros_like, PARAMS), decay.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["enc"]["w"], 0.1 * PARAMS["enc"]["w"], rtol=1e-6)
    chex.assert_trees_all_equal(updates["dec"], jax.tree.map(jnp.zeros_like, PARAMS["dec"]))


def test_labels_serve_optax_multi_transform():
    """The first pattern that matches gives the label; the rest get the default."""
    labels = SPECS.labels({"^enc/w": "fast", "^enc": "slow"}, default="frozen")
    assert labels == {"enc": {"w": "fast", "b": "slow"}, "dec": {"w": "frozen", "b": "frozen"}}
    rates = {"fast": optax.sgd(1.0), "slow": optax.sgd(0.5), "frozen": optax.set_to_zero()}
    optimizer = optax.multi_transform(rates, labels)
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, PARAMS), optimizer.init(PARAMS))
    assert [float(updates[a][b].ravel()[0]) for a, b in (("enc", "w"), ("enc", "b"), ("dec", "w"))] == [-1, -0.5, 0]


def test_every_variable_needs_a_label():
    """Without a default, one that nothing matches is an error."""
    with pytest.raises(errors.InvalidArgumentError, match=r"No label for `dec/w`.*\['\^enc'\].*`default=`"):
        SPECS.labels({"^enc": "slow"})


@pytest.mark.parametrize("name", MODELS)
def test_masks_and_labels_have_the_structure_of_the_params(name):
    """For every model, also one with state; that of the state, where it is asked for."""
    model = MODELS[name]
    specs, (params, *state) = model.transformed.specs(*model.args), model.init()
    for made in (specs.mask("w"), specs.labels({}, default="all")):
        chex.assert_trees_all_equal_structs(made, params)
    if state and state[0]:
        for made in (specs.state.mask(), specs.state.labels({"": "all"})):
            chex.assert_trees_all_equal_structs(made, state[0])


@pytest.mark.parametrize("name", MODELS)
def test_json_and_back(name):
    """For every model: all but callables and places comes back, callables by name; and once more, the same text."""
    model = MODELS[name]
    specs = model.transformed.specs(*model.args)
    text = specs.to_json()
    back = Specs.from_json(text)
    assert back.to_json() == text
    assert back.shape_dtype() == specs.shape_dtype()
    assert list(back.flat()) == sorted(specs.flat())
    assert sorted(str(back).splitlines()) == sorted(str(specs).splitlines())


@settings(max_examples=25)
@given(st.data())
def test_json_keeps_every_field(data):
    """Paths, shapes, dtypes, axes, collections and stacks are what they were."""
    text = st.text(max_size=4)
    spec = VariableSpec(
        path=data.draw(st.lists(text.filter(lambda t: t and "/" not in t), min_size=1, max_size=3).map("/".join)),
        shape=data.draw(st.lists(st.integers(0, 9), max_size=3).map(tuple)),
        dtype=np.dtype(data.draw(st.sampled_from(["float32", "int8", "bool", jnp.bfloat16]))),
        initializer=data.draw(text),
        trainable=data.draw(st.booleans()),
        regularizer=data.draw(st.none() | text),
        axes=data.draw(st.none() | st.lists(st.none() | text, max_size=3).map(tuple)),
        collections=data.draw(st.lists(text, max_size=2).map(tuple)),
        stack=data.draw(
            st.lists(st.builds(StackAxis, st.integers(0, 3), st.integers(1, 9), text), max_size=2).map(tuple)
        ),
    )
    back = Specs.from_json(specs_of([spec]).to_json())
    assert list(back.flat().values()) == [spec]


def test_specs_from_json_check_params_but_make_none():
    """They know names, shapes and dtypes; what makes values they know by name only."""
    back = Specs.from_json(SPECS.to_json())
    back.check(PARAMS)
    with pytest.raises(errors.InitializerError, match=r"`dec/b` is known only by name.*\n.*model\.specs"):
        back.materialize(KEY(0))
    with pytest.raises(errors.InvalidArgumentError, match=r"regularizer of `dec/w` is known only by name.*\n.*specs"):
        back.regularization_loss(PARAMS)
    with pytest.raises(errors.InvalidArgumentError, match=r"constraint of `dec/b` is known only by name.*\n.*specs"):
        back.apply_constraints(PARAMS)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"jscope.specs": 99}', json.dumps({"jscope.specs": 1})])
def test_what_is_no_json_of_specs_is_refused(text):
    """With an error of jscope."""
    with pytest.raises(errors.InvalidArgumentError, match=r"not what `Specs.to_json` of jscope writes"):
        Specs.from_json(text)


def test_specs_print_as_a_table():
    """One aligned row for each variable, and a total."""
    assert str(SPECS).splitlines() == [
        "name    shape   dtype      kind    initializer",
        "enc/w   2, 3    float32    param   glorot_uniform()",
        "enc/b   3       bfloat16   param   zeros",
        "dec/w   2, 3    float32    param   glorot_uniform()",
        "dec/b   3       bfloat16   param   zeros",
        "mean    3       float32    state   ones",
        "5 variables, 21 elements, 72 bytes",
    ]
    assert repr(SPECS).startswith("<Specs of 5 variables>\nname")


def test_a_model_without_variables_has_empty_specs():
    """They print, materialize, and fit empty params."""
    specs = jscope.specs(lambda s: None)
    assert (dict(specs), specs.materialize(KEY(0)), specs.shape_dtype()) == ({}, {}, {})
    assert str(specs).endswith("0 variables, 0 elements, 0 bytes")
    specs.check({})


def test_specs_are_values_of_the_params_tree():
    """`map` gives a nested dict with the structure of the params."""
    assert SPECS.params.map(lambda spec: spec.size) == {"enc": {"w": 6, "b": 3}, "dec": {"w": 6, "b": 3}}
    chex.assert_trees_all_equal_structs(SPECS.params.map(lambda spec: 0), PARAMS)


def test_a_part_of_the_specs_takes_shardings_by_its_own_names():
    """What is missing, or no sharding, is named."""
    device = jax.sharding.SingleDeviceSharding(jax.devices()[1])
    part = jscope.specs(lambda s: (s / "enc").get_variable("w", (2,)))["enc"]
    assert part.materialize(jax.random.key(0), {"w": device})["w"].sharding == device
    with pytest.raises(errors.StructureMismatchError, match=r"missing: `w` float32\[2\] \(near: `ww`\)"):
        part.materialize(jax.random.key(0), {"ww": device})
    with pytest.raises(errors.InvalidArgumentError, match="sharding of `w` is 'data', not a `jax"):
        part.materialize(jax.random.key(0), {"w": "data"})


SELECTING = {
    "mask": lambda regex: SPECS.mask(regex),
    "labels": lambda regex: SPECS.labels({regex: "a"}, default="b"),
    "filter": lambda regex: jscope.tree.filter(PARAMS, regex),
    "capture": lambda regex: jscope.transform(lambda s: (s / "enc").sow("w", 1.0)).capture(regex).apply({}),
}


@pytest.mark.parametrize("select", SELECTING)
def test_a_regex_that_selects_nothing_is_warned_about(select):
    """It is a typo more often than not; where it changes a model it would be an error."""
    SELECTING[select]("enc")
    SELECTING[select]("")
    with pytest.warns(UserWarning, match=rf"{select}: 'enc/W' does not match any of \d+ paths. Did you mean `enc/w`"):
        SELECTING[select]("enc/W")
    with pytest.warns(UserWarning, match=r"'\^ecn' does not match any of \d+ paths. Did you mean `enc`"):
        SELECTING[select]("^ecn")
