"""What each device holds, planned on shapes, is what it holds."""

from __future__ import annotations

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

import jscope
from examples.models import llama
from jscope import errors, nn, sharding

AUTO = (AxisType.Auto,) * 2
RULES = {
    "fsdp": sharding.fsdp(),
    "tensor_parallel": sharding.tensor_parallel(),
    "both": sharding.tensor_parallel() | sharding.fsdp(min_size=0),
    "nothing": sharding.Rules({"batch": "data", ...: None}),
}
X = jax.ShapeDtypeStruct((64, 32), jnp.float32)


def model(scope, x):
    for i in range(3):
        x = x + nn.mlp(scope / f"block_{i}", nn.layer_norm(scope / f"norm_{i}", x), hidden=128)
    return nn.batch_norm(scope / "norm", x, training=True)


def mesh():
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=AUTO)


def on_one_device(tree):
    device = jax.devices()[0]
    shards = [s for leaf in jax.tree.leaves(tree) for s in leaf.addressable_shards if s.device == device]
    return sum(s.data.nbytes for s in shards)


@pytest.mark.parametrize("name", RULES)
def test_what_is_planned_is_what_devices_hold(name):
    """Params, state, the optimizer's state, gradients and the batch, on eight fake devices: to the byte."""
    rules, specs, adam = RULES[name], jscope.specs(model, X), optax.adam(1e-3)
    plan = sharding.memory(specs, mesh(), rules, optimizer=adam, batch=X)
    places = sharding.shardings(specs, mesh(), rules)
    params, state = jscope.transform_with_state(model).sharded(places).init(jax.random.key(0), X)
    optimizer = jax.eval_shape(adam.init, params)
    optimizer = jax.jit(adam.init, out_shardings=sharding.like(optimizer, params))(params)
    batch = jax.device_put(
        np.zeros(X.shape, np.float32), NamedSharding(mesh(), rules.partition(("batch", None), mesh()))
    )
    held = [on_one_device(each) for each in (params, state, optimizer, params, batch)]
    assert [plan.params, plan.state, plan.optimizer, plan.gradients, plan.batch] == held


@pytest.mark.parametrize("name", ["fsdp", "nothing"])
def test_activations_are_those_that_live_between_the_passes(name):
    """Within 10 % of the arrays that `jax.vjp` leaves on a device, and of the compiler's memory analysis."""
    rules, specs = RULES[name], jscope.specs(model, X)
    plan = sharding.memory(specs, mesh(), rules, summary=jscope.summary(model, X))
    place = NamedSharding(mesh(), rules.partition(("batch", None), mesh()))
    apply = jscope.transform_with_state(model).apply

    def forward(params, state, x):
        _, back, _ = jax.vjp(lambda p: apply(p, state, x), params, has_aux=True)
        kept = [leaf for leaf in jax.tree.leaves(back) if leaf.ndim == 2 and leaf.shape[0] == 64]
        return [jax.lax.with_sharding_constraint(leaf, place) for leaf in kept]

    params, state = specs.params.materialize(jax.random.key(0)), specs.state.materialize(jax.random.key(0))
    x = jax.device_put(jnp.ones(X.shape), place)
    program = jax.jit(forward).lower(params, state, x).compile()
    # The input is there anyway, and some of what is kept is kept twice by name.
    live = on_one_device({id(leaf): leaf for leaf in program(params, state, x)})
    assert plan.activations == pytest.approx(live, rel=0.1)
    assert plan.activations == pytest.approx(program.memory_analysis().output_size_in_bytes, rel=0.1)


def test_constraints_are_heeded_where_a_summary_knows_them():
    """It is made where the mesh and the rules are ambient; elsewhere `constrain` does nothing."""

    def function(scope, x):
        w = scope.get_variable("w", (32, 128), axes=("embed", "mlp"))
        return jnp.sin(sharding.constrain(jnp.sin(x) @ w, ("batch", None))).sum()

    rules, specs = RULES["tensor_parallel"], jscope.specs(function, X)
    with jax.sharding.use_abstract_mesh(mesh().abstract_mesh), sharding.using(rules):
        inside = jscope.summary(function, X)
    plans = [sharding.memory(specs, mesh(), rules, summary=each) for each in (jscope.summary(function, X), inside)]
    # The cosine of the product is kept, and the sine of the inputs.
    assert [plan.activations for plan in plans] == [16 * 64 * 4 + 16 * 32 * 4, 16 * 128 * 4 + 16 * 32 * 4]


def test_a_mesh_axis_splits_the_batch_first():
    """Where a variable asks for the same: sums over its axis are split, too."""

    def function(scope, x):
        w = scope.get_variable("w", (32, 128), axes=("embed", "mlp"))
        return jnp.exp(jnp.exp(x @ w).sum(1)).sum()

    rules, summary = sharding.Rules({"batch": "data", "mlp": "data", ...: None}), jscope.summary(function, X)
    plan = sharding.memory(summary.specs, mesh(), rules, summary=summary)
    assert plan.activations == summary.total.kept_bytes / 4 == (64 * 128 + 64) * 4 / 4


def test_what_is_not_as_long_as_a_batch_is_not_split():
    """Arguments beside the batch, of which `batch` says how long it is."""
    table = jax.ShapeDtypeStruct((32, 8), jnp.float32)
    function = lambda s, x, table: (x @ (s.get_variable("w", (32, 8)) * jnp.sin(table))).sum()  # noqa: E731
    summary = jscope.summary(function, X, table)
    plan = sharding.memory(summary.specs, mesh(), sharding.Rules({"batch": "data"}), summary=summary, batch=X)
    assert plan.activations == summary.total.kept_bytes == 32 * 8 * 4


def test_a_plan_needs_no_devices():
    """A decoder of 406 billion params on 64 x 128 devices."""
    config = llama.Config(layers=126, dim=16384, heads=128, kv_heads=8, hidden=53248, vocab=128256)
    ids = jax.ShapeDtypeStruct((64, 8192), jnp.int32)
    big = AbstractMesh((64, 128), ("data", "model"))
    specs = jscope.specs(llama.llama, ids, config)
    rules = sharding.Rules(
        {"heads": "model", "kv_heads": None, "mlp": "model", "vocab": "model", "batch": "data", ...: None}
    )
    options = {"optimizer": optax.adam(1e-3), "summary": jscope.summary(llama.llama, ids, config), "batch": ids}
    plan = sharding.memory(specs, big, rules | sharding.fsdp(), **options)
    assert plan.devices == 8192
    # What is as long as the model is wide is whole: of 8 heads of keys, groups of 16 queries, all else is split.
    kept = options["summary"].total.kept_bytes
    assert kept / 8192 < plan.activations < kept / 64 / 8
    whole = jscope.tree.bytes(specs.shape_dtype())
    assert whole / 8192 <= plan.params < 4 * whole / 8192
    assert plan.optimizer == pytest.approx(2 * plan.params, rel=0.01)
    text = sharding.show(specs, sharding.shardings(specs, big, rules))
    assert "on each of 8192 devices" in text


def test_each_rule_is_told_what_it_does():
    """How much more there were without it."""
    specs, rules = jscope.specs(model, X), RULES["both"]
    plan = sharding.memory(specs, mesh(), rules)
    assert set(plan.rules) == {"`mlp` -> `model`", "fsdp over `data`"}
    without = sharding.memory(specs, mesh(), sharding.Rules({"mlp": None}) | rules)
    assert plan.rules["`mlp` -> `model`"] == without.total - plan.total
    assert "Without the rule fsdp over `data`: " in str(plan)


def test_advice_names_what_could_be_split():
    """The axis and the mesh axis that divides it; what is split as far as it goes is not named."""
    specs = jscope.specs(lambda s, x: s.get_variable("w", (512, 6), axes=("embed", "mlp")), X)
    (advice, *_) = sharding.memory(specs, mesh(), RULES["tensor_parallel"]).advice
    assert advice == "`w` takes 6,144 B of each device, and could be split more: axis 0 (embed, 512) fits `data`."
    assert sharding.memory(specs, mesh(), RULES["both"]).advice == ()


def test_advice_for_activations_and_optimizers():
    """A batch that is whole, activations that outweigh all else, an optimizer that could be on the host."""
    specs, summary = jscope.specs(model, X), jscope.summary(model, X)
    whole = sharding.memory(specs, mesh(), sharding.Rules({...: None}), summary=summary, optimizer=optax.adam(1e-3))
    assert any('by a rule for "batch"' in each for each in whole.advice)
    split = sharding.memory(specs, mesh(), RULES["both"], summary=summary)
    assert any("jscope.remat" in each for each in split.advice)
    trained = sharding.memory(specs, mesh(), RULES["both"], optimizer=optax.adam(1e-3))
    assert any("pinned_host" in each for each in trained.advice)
    loop = lambda s, x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x + x, x @ s.get_variable("w", (32, 4)))  # noqa: E731
    (advice,) = sharding.memory(
        jscope.specs(lambda _: None), mesh(), RULES["both"], summary=jscope.summary(loop, X)
    ).advice
    assert advice.startswith("No activations are counted, since JAX has no gradient of this model (Reverse-mode")


def test_rules_choose_the_kind_of_memory():
    """By path: shardings say it, arrays are there, and a plan counts them apart."""
    rules = sharding.Rules({"batch": "data", ...: None}, memory={"block_0/": "pinned_host"})
    specs = jscope.specs(model, X)
    places = sharding.shardings(specs, mesh(), sharding.fsdp() | rules)
    kinds = {path: place.memory_kind for path, place in jscope.tree.items(places)}
    assert {path for path, kind in kinds.items() if kind == "pinned_host"} == {p for p in kinds if "block_0/" in p}
    plan = sharding.memory(specs, mesh(), rules)
    assert plan.host == jscope.tree.bytes(specs["block_0"].shape_dtype())
    assert plan.total == sum((plan.params, plan.state, plan.gradients)) - plan.host
    assert "on the host" in str(plan)


def refused(**options):
    sharding.memory(jscope.specs(model, X), mesh(), RULES["fsdp"], **options)


def summarized():
    return jscope.summary(lambda s, x: x @ s.get_variable("w", (32, 4)), X)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("needs the specs of a model", lambda: sharding.memory({}, mesh(), RULES["fsdp"])),
        ("must have `init", lambda: refused(optimizer=3)),
        ("a batch is arrays", lambda: refused(batch={"x": "y"})),
        ("must be what `jscope", lambda: refused(summary=3)),
        ("was pickled or copied", lambda: refused(summary=copy.copy(summarized()))),
        (r"batch are \[8\] long.* with \[64\]", lambda: refused(summary=summarized(), batch=jnp.ones(8))),
        ("not the name of one", lambda: sharding.Rules(memory={"w": 3})),
        ("not a regular expression", lambda: sharding.Rules(memory={"(": "pinned_host"})),
        ("memory must be a mapping", lambda: sharding.Rules(memory=3)),
        (r"rules must be `jscope\.sharding\.Rules`", lambda: sharding.memory(jscope.specs(model, X), mesh(), {})),
    ],
)
def test_bad_arguments_are_refused(message, call):
    """With what was found and what is needed."""
    with pytest.raises(errors.InvalidArgumentError, match=message):
        call()


def test_an_axis_that_the_mesh_lacks_is_an_error():
    """As for shardings."""
    with pytest.raises(sharding.ShardingError, match="model"):
        sharding.memory(jscope.specs(model, X), AbstractMesh((8,), ("data",)), RULES["tensor_parallel"])


def test_partition_spec_is_what_it_was():
    """Rules without memory give shardings in the default memory."""
    place = sharding.shardings(jscope.specs(model, X), mesh(), RULES["fsdp"])["block_0"]["out"]["kernel"]
    assert place == NamedSharding(mesh(), PartitionSpec("data", None))
