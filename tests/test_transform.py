"""Laws of `transform` and of what is bound to it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jscope
from jscope import errors
from tests.models import KEY, MODELS, X, act_norm, autoencoder, decode, encode, linear, mlp

ones = jscope.initializers.ones


def counter(s, x):
    """State, randomness and a sown value."""
    n = s.get_variable("n", (), jnp.int32, trainable=False)
    s.assign("n", n + 1)
    y = linear(s / "a", x, 2)
    (s / "a").sow("y", y)
    s.sow("norm", jnp.sum(y * y))
    return y + jax.random.normal((s / "noise").rng(), y.shape)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_unpacks_as_init_and_apply(name):
    """`init, apply = model`; and both are attributes, too."""
    model = MODELS[name].transformed
    init, apply = model
    assert (init, apply) == (model.init, model.apply)


def test_a_model_is_an_immutable_value_with_a_readable_repr():
    """Binding options gives another model; this one is unchanged."""
    model = jscope.transform(mlp)
    model.with_rng(KEY(0)), model.capture("x"), model.with_axes(batch=2)
    assert (model.program.rng, model.program.pattern, model.program.axes) == (None, None, ())
    assert repr(model) == "Transformed(mlp)"
    assert repr(jscope.transform_with_state(mlp)) == "TransformedWithState(mlp)"


def test_arguments_are_the_users():
    """Positional, by keyword and by default, as in a call of the function itself."""

    def model(s, x, y=2.0, *args, function=3.0, **kwargs):
        return s.get_variable("w", (), initializer=ones) * (x + y + sum(args) + function + sum(kwargs.values()))

    params = jscope.init(model, KEY(0), 1.0, function=4.0, path=5.0)
    assert float(jscope.apply(model, params, 1.0, 2.0, 3.0, function=4.0, scope=5.0)) == 15.0
    assert float(jscope.transform(model).apply(params, x=1.0)) == 6.0


def test_the_users_keywords_may_have_any_name():
    """A model whose own keywords are `key`, `params` and `state` has them passed on."""

    def model(s, *, key, params, state):
        return s.get_variable("w", (), initializer=ones) + key + params + state

    init, apply = jscope.transform_with_state(model)
    variables = init(KEY(0), key=1.0, params=2.0, state=3.0)
    assert float(apply(*variables, key=1.0, params=2.0, state=3.0)[0]) == 7.0


def test_transform_with_state_returns_state():
    """`init` gives `(params, state)` as before any write; `apply` the output and the new state."""
    init, apply = jscope.transform_with_state(counter).with_rng(KEY(1))
    params, state = init(KEY(0), X)
    assert jscope.tree.names(params) == ["a/w", "a/b"]
    assert int(state["n"]) == 0
    for step in range(1, 3):
        _, state = apply(params, state, X)
        assert int(state["n"]) == step


def test_a_model_without_state_passes_state_through():
    """What a stateful apply does not write, it returns as it was."""
    _, state = jscope.transform_with_state(lambda s: None).apply({}, {"a": {"n": 1}})
    assert state == {"a": {"n": 1}}


def test_state_that_stands_still_is_the_same_object():
    """`apply` copies the dicts of the state, never its leaves."""
    state = {"a": {"n": jnp.ones(2)}}
    _, new = jscope.transform_with_state(lambda s: None).apply({}, state)
    assert new["a"]["n"] is state["a"]["n"]
    assert new["a"] is not state["a"]


def test_with_rng_gives_apply_a_key():
    """One key, one output; another key, another."""
    params, state = jscope.transform_with_state(counter).init(KEY(0), X)
    outs = [jscope.transform_with_state(counter).with_rng(KEY(i)).apply(params, state, X)[0] for i in (1, 1, 2)]
    chex.assert_trees_all_equal(outs[0], outs[1])
    assert not np.array_equal(outs[0], outs[2])


def test_a_bound_key_may_be_traced():
    """`model.with_rng(key).apply` inside the user's jit, with the key as its argument."""
    model = jscope.transform(lambda s: jax.random.normal(s.rng(), (2,)))
    jitted = jax.jit(lambda key: model.with_rng(key).apply({}))(KEY(4))
    chex.assert_trees_all_equal(jitted, model.with_rng(KEY(4)).apply({}))


def test_with_rng_none_takes_the_key_away():
    """And changes nothing about `init`."""
    model = jscope.transform(lambda s: s.has_rng).with_rng(KEY(0)).with_rng(None)
    assert model.apply({}) is False


def test_capture_gives_what_was_sown():
    """Under paths that match, nested; everything by default."""
    model = jscope.transform_with_state(counter).with_rng(KEY(0))
    params, state = model.init(KEY(0), X)
    (out, captured), new = model.capture().apply(params, state, X)
    y = jscope.apply(linear, params["a"], X, 2)
    chex.assert_trees_all_close(captured, {"a": {"y": y}, "norm": jnp.sum(y * y)}, rtol=1e-6)
    chex.assert_trees_all_equal((out, new), model.apply(params, state, X))
    (_, captured), _ = model.capture("^norm$").apply(params, state, X)
    assert list(captured) == ["norm"]


def test_captured_values_can_be_jitted_and_differentiated():
    """They are outputs like any other."""
    model = jscope.transform(lambda s, x: s.sow("h", s.get_variable("w", (), initializer=ones) * x)).capture()
    grads = jax.grad(lambda params: jax.jit(model.apply)(params, 3.0)[1]["h"])({"w": jnp.float32(2.0)})
    assert float(grads["w"]) == 3.0


def test_without_capture_sowing_does_nothing():
    """The output is the output alone."""
    assert jscope.apply(lambda s: s.sow("h", 1), {}) is None


def centered(s, x):
    return (x - jax.lax.pmean(x, "batch")) * s.get_variable("w", x.shape, initializer=ones)


def test_with_axes_lets_collectives_be_collected():
    """A function with `lax.pmean(x, "batch")` has specs and initial values, and runs under `vmap`."""
    model = jscope.transform(centered).with_axes(batch=3)
    assert model.specs(X[0])["w"].shape == (4,)
    params = model.init(KEY(0), X[0])
    out = jax.vmap(model.apply, (None, 0), axis_name="batch")(params, X)
    chex.assert_trees_all_close(out, X - X.mean(0, keepdims=True), atol=1e-6)


def test_with_axes_serves_shard_map():
    """The same model runs on a mesh whose axis has that name."""
    model = jscope.transform(centered).with_axes(batch=2)
    params = model.init(KEY(0), jax.ShapeDtypeStruct((1, 4), X.dtype))
    x, mesh = X[:2], Mesh(np.array(jax.devices()[:2]), ("batch",))
    specs = (PartitionSpec(), PartitionSpec("batch"))
    out = jax.shard_map(model.apply, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("batch"))(params, x)
    chex.assert_trees_all_close(out, x - x.mean(0, keepdims=True), atol=1e-6)


def test_data_dependent_values_may_use_collectives():
    """They are computed under the bound axes, on which the data is replicated."""
    model = jscope.transform(lambda s, x: s.get_variable("m", initializer=jax.lax.pmean(x, "batch"))).with_axes(batch=2)
    chex.assert_trees_all_close(model.init(KEY(0), X)["m"], X)


def test_the_unbound_functions_are_those_of_transform():
    """`jscope.init(f, ...)`, `jscope.apply(f, ...)`, `jscope.specs(f, ...)`."""
    model = jscope.transform(mlp)
    params = jscope.init(mlp, KEY(0), X)
    chex.assert_trees_all_equal(params, model.init(KEY(0), X))
    chex.assert_trees_all_equal(jscope.apply(mlp, params, X), model.apply(params, X))
    assert str(jscope.specs(mlp, X)) == str(model.specs(X))


def test_unbound_specs_include_state():
    """Whether a variable is trained makes no difference to its having a spec."""
    assert list(jscope.specs(counter, X).flat()) == ["n", "a/w", "a/b"]


def test_a_part_of_a_model_runs_on_a_part_of_its_params():
    """Sub-tree application: the function at its own root."""
    params = jscope.init(mlp, KEY(0), X)
    hidden = jscope.apply(linear, params["hidden"], X, 5)
    out = jscope.apply(linear, params["out"], jnp.tanh(hidden), 2)
    chex.assert_trees_all_equal(out, jscope.apply(mlp, params, X))


def test_at_runs_a_method_on_the_whole_params():
    """Models with several methods: each at its path, all on the same params."""
    params = jscope.init(autoencoder, KEY(0), X)
    z = jscope.apply(jscope.at("encoder", encode), params, X)
    out = jscope.apply(jscope.at("decoder", decode), params, z)
    chex.assert_trees_all_equal(out, jscope.apply(autoencoder, params, X))
    assert list(jscope.specs(jscope.at("a/b", encode), X).flat()) == ["a/b/w", "a/b/b"]


def test_wrappers_keep_name_docstring_and_signature():
    """`at` and `named` give functions that help users as the original would."""
    for wrapped in (jscope.at("a", counter), jscope.named(counter)):
        assert (wrapped.__name__, wrapped.__doc__) == ("counter", counter.__doc__)
        assert list(inspect.signature(wrapped).parameters) == ["s", "x"]


def test_named_functions_are_named_in_the_program():
    """The name stack of jaxpr and HLO carries the paths of the scopes."""

    @jscope.named
    def layer(s, x):
        return jnp.sin(x * s.get_variable("w", ()))

    def model(s, x):
        return jnp.cos(layer(s / "enc" / "l1", layer(s / "enc" / "l0", x)))

    params = {"enc": {"l0": {"w": jnp.float32(1)}, "l1": {"w": jnp.float32(2)}}}
    apply = jscope.transform(model).apply
    x = jnp.float32(1)
    stacks = [str(eqn.source_info.name_stack) for eqn in jax.make_jaxpr(apply)(params, x).eqns]
    assert stacks == ["enc/l0", "enc/l0", "enc/l1", "enc/l1", ""]
    assert "enc/l1/sin" in jax.jit(apply).lower(params, x).as_text(debug_info=True)


def test_named_functions_nest():
    """An inner name adds what the outer one does not say yet, natively jitted or not."""

    @jscope.named
    def inner(s, x):
        return jnp.sin(x)

    @jscope.named
    def outer(s, x):
        return jnp.cos(inner(s / "b", x))

    jaxpr = jax.make_jaxpr(jscope.transform(lambda s, x: outer(s / "a", x)).apply)({}, 1.0)
    assert [str(eqn.source_info.name_stack) for eqn in jaxpr.eqns] == ["a/b", "a"]


@pytest.mark.parametrize("lift", [jscope.remat, jscope.jit])
def test_names_go_on_in_the_body_of_a_lift(lift):
    """The lift enters the name of its scope outside, so that the body says only what is below."""

    @jscope.named
    def inner(s, x):
        return jnp.sin(x)

    @jscope.named
    def outer(s, x):
        return lift(lambda s, x: inner(s / "c", x))(s / "b", x)

    jaxpr = jax.make_jaxpr(jscope.transform(lambda s, x: outer(s / "a", x)).apply)({}, 1.0)
    (body,) = (eqn.params["jaxpr"] for eqn in jaxpr.eqns)
    (sin,) = getattr(body, "jaxpr", body).eqns
    assert str(sin.source_info.name_stack) == "c"
    assert [str(eqn.source_info.name_stack) for eqn in jaxpr.eqns] == ["a/b"]


LIFTS = {
    "scan": lambda f, s, x: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=3)[0],
    "layers": lambda f, s, x: jscope.layers(f, 3)(s, x),
    "remat": lambda f, s, x: jscope.remat(f)(s, x),
    "jit": lambda f, s, x: jscope.jit(f)(s, x),
    "vmap": lambda f, s, x: jscope.vmap(f)(s, x),
    "cond": lambda f, s, x: jscope.cond(x[0] > 0, f, lambda s, x: f(s, -x), s, x),
    "switch": lambda f, s, x: jscope.switch(1, [f, lambda s, x: f(s, -x)], s, x),
    "while_loop": lambda f, s, x: jscope.while_loop(lambda s, x: x[0] < 0, f, s, x),
    "fori_loop": lambda f, s, x: jscope.fori_loop(0, 3, lambda s, i, x: f(s, x), s, x),
    "vjp": lambda f, s, x: jscope.vjp(f, s, x)[0],
    "at": lambda f, s, x: jscope.at("inner", f)(s, x),
}


@pytest.mark.parametrize("name", LIFTS)
def test_names_are_said_once_under_every_lift(name):
    """The program that is compiled says `block` for what a lift over it does, and `block/layer` for its layer, once."""

    @jscope.named
    def layer(s, x):
        return jnp.sin(x) * s.get_variable("w", (3,))

    run = lambda s, x: LIFTS[name](lambda s, x: layer(s / "layer", x) * 2.0, s / "block", x)  # noqa: E731
    x = jnp.ones(3)
    params = jscope.init(run, KEY(0), x)
    program = jax.jit(jscope.transform(run).apply).lower(params, x).compile()
    names = {name for name in re.findall(r'op_name="([^"]*)"', program.as_text()) if re.search("(sin|mul)$", name)}
    assert {name.count("block") for name in names} == {1}
    assert {name.count("layer") for name in names} == {0, 1}


def test_data_dependent_values_are_those_of_the_data():
    """ActNorm: after `init` the outputs of the first batch have mean zero and deviation one."""
    params = jscope.init(act_norm, KEY(0), X)
    out = jscope.apply(act_norm, params, X)
    chex.assert_trees_all_close((out.mean(0), out.std(0)), (jnp.zeros(3), jnp.ones(3)), atol=1e-5)


def test_data_dependent_values_build_on_each_other():
    """A later one sees the earlier ones' values, not placeholders."""

    def model(s, x):
        x = x - s.get_variable("mean", initializer=x.mean(0))[None]
        return x / s.get_variable("std", initializer=x.std(0))[None]

    params = jscope.init(model, KEY(0), 3.0 * X + 1.0)
    out = jscope.apply(model, params, 3.0 * X + 1.0)
    chex.assert_trees_all_close((out.mean(0), out.std(0)), (jnp.zeros(4), jnp.ones(4)), atol=1e-5)


def test_data_dependent_values_leave_others_as_they_are():
    """The ordinary variables of such a model are those of the model without them."""
    params = jscope.init(act_norm, KEY(0), X)
    chex.assert_trees_all_equal(params["in"], jscope.init(lambda s, x: linear(s / "in", x, 3), KEY(0), X)["in"])


def test_data_dependent_values_draw_from_the_key_of_their_path():
    """An initializer that closes over data and draws random numbers gets the key that any initializer gets."""

    def model(s, x):
        s.get_variable("a/w", (4,), initializer=lambda key, *_: jax.random.normal(key, (4,)) + 0 * x[0])
        s.get_variable("b", initializer=x.mean(0))

    params = jscope.init(model, KEY(0), X)
    plain = jscope.init(
        lambda s: s.get_variable("a/w", (4,), initializer=lambda key, *_: jax.random.normal(key, (4,))), KEY(0)
    )
    chex.assert_trees_all_close(params["a"], plain["a"], rtol=1e-6)


def test_state_may_depend_on_data():
    """`init` returns it as it was created, before any `assign`."""

    def model(s, x):
        s.get_variable("m", initializer=x.mean(0), trainable=False)
        s.assign("m", 9.0 * x.mean(0))

    _, state = jscope.transform_with_state(model).init(KEY(0), X)
    chex.assert_trees_all_close(state["m"], X.mean(0))


def test_data_dependent_values_need_data_in_materialize():
    """Specs have no data: the error names the path and what to call."""
    specs = jscope.specs(act_norm, X)
    with pytest.raises(errors.InitializerError, match=r"`norm/mean` depends on the model's inputs.*\n.*model\.init"):
        specs.materialize(KEY(0))
    assert "data-dependent" in str(specs)


def test_data_dependent_values_need_inputs_on_the_devices_of_the_variables():
    """JAX's own error says what is where, ours what to do; inputs that are on no device in particular go along."""

    def model(s, x):
        h = x @ s.get_variable("w", (8, 8))
        return h * s.get_variable("scale", initializer=h.std(0))[None]

    mesh = jax.make_mesh((8,), ("d",))
    init = jscope.transform(model).sharded(jax.NamedSharding(mesh, jax.P("d"))).init
    params = init(KEY(0), jnp.ones((4, 8)))
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(params)} == {8}
    with pytest.raises(ValueError, match="incompatible devices") as error:
        init(KEY(0), jax.device_put(jnp.ones((4, 8)), jax.devices()[0]))
    assert "Put inputs on the devices of the variables." in error.value.__notes__[-1]


def test_data_dependent_values_need_data_in_init():
    """Abstract inputs have no data: the error names the path and what to call."""
    with pytest.raises(errors.InitializerError, match=r"`norm/mean` depends on the model's inputs.*\n.*arrays"):
        jscope.init(act_norm, KEY(0), jax.ShapeDtypeStruct(X.shape, X.dtype))


@pytest.mark.parametrize(
    "initializer", [lambda x: x.mean(0), lambda x: lambda key, shape, dtype: x.mean(0)], ids=["value", "function"]
)
@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint])
def test_data_inside_a_native_transform_cannot_be_an_initial_value(transform, initializer):
    """The error names the path and the call site, and says what to do."""

    def layer(s, x):
        return s.get_variable("m", (4,), initializer=initializer(x))

    with pytest.raises(
        errors.NativeTransformError,
        match=r"`a/m` \(created at .*test_transform.py:\d+\) depends on data inside a JAX",
    ):
        jscope.init(lambda s, x: transform(layer)(s / "a", x), KEY(0), X)


def test_a_traced_constant_inside_a_native_transform_is_no_error_for_closures_of_arrays():
    """An initializer that closes over a concrete array depends on no data."""
    scale = jnp.float32(3.0)

    def layer(s, x):
        return x * s.get_variable("w", (), initializer=lambda key, shape, dtype: jnp.asarray(scale, dtype))

    params = jscope.init(lambda s, x: jax.jit(layer)(s / "a", x), KEY(0), 1.0)
    assert float(params["a"]["w"]) == 3.0


MODELS_AS_VALUES = [
    pytest.param(jscope.transform(mlp), id="without state"),
    pytest.param(jscope.transform_with_state(mlp), id="with state"),
    pytest.param(jscope.transform(mlp).with_rng(KEY(0)).capture("w"), id="with options"),
]


@pytest.mark.parametrize("model", MODELS_AS_VALUES)
def test_a_model_does_not_fall_apart(model):
    """It is one leaf of a pytree and one field of a dataclass, though it unpacks as a pair."""
    init, apply = model
    assert (init, apply) == (model.init, model.apply)
    assert jax.tree.leaves({"model": model}) == [model]
    field = dataclasses.make_dataclass("Holder", ["model"])(model)
    assert type(dataclasses.asdict(field)["model"]) is type(model)


@pytest.mark.parametrize("model", MODELS_AS_VALUES)
def test_a_model_is_equal_only_to_itself_and_never_changes(model):
    """So it can be a key of a dict; and its functions are the same objects, by which JAX finds what it compiled."""
    assert {model: 1}[model] == 1
    assert model != copy.copy(model)
    assert model.apply is model.apply
    for name in ("program", "init", "anything"):
        with pytest.raises(AttributeError, match=f"is immutable: `{name}` cannot be set"):
            setattr(model, name, None)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_can_be_copied_and_pickled(copied):
    """What comes back computes the same, with the options that were bound."""
    model = jscope.transform(noisy).with_rng(KEY(3))
    assert repr(copied(model)) == repr(model)
    assert copied(model).apply({}) == model.apply({})


def noisy(scope):
    """A function that pickle finds by its name."""
    return jax.random.normal(scope.rng())
