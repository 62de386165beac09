"""How a compiler splits what it keeps is how it is planned."""

from __future__ import annotations

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import NamedSharding, PartitionSpec

import jscope
from jscope import nn, sharding
from jscope.sharding._spread import Spread
from tests.crossed import mostly_slow
from tests.sharding.network import mesh_of

P = PartitionSpec
MESH = mesh_of()


def struct(shape, *partition, mesh=MESH, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P(*partition)))


def on_a_device(aval, place):
    return math.prod(place.shard_shape(aval.shape)) * aval.dtype.itemsize


# Where it counts, sizes are all different, so that axes which only are of one size are not taken for the same.
X, W = struct((8, 16), "data"), struct((16, 32), None, "model")
IMAGES = struct((8, 6, 6, 4), "data")
IDS = struct((8, 3), "data", dtype=jnp.int32)
CASES = {
    "elementwise": (lambda x, y: (jnp.tanh(x) + 1.0, x * y, jnp.where(x > 0, y, 0.0)), X, struct((8, 16))),
    "backward": (lambda x: (jnp.sin(m := jnp.arange(128.0).reshape(8, 16) * x[0, 0]) * x, m), X),
    "broadcast": (lambda x, b: (x[:, None] + b[None, None], jnp.broadcast_to(b, (8, 16))), X, struct((16,), "model")),
    "conflict": (lambda x, b: (x + b[None], x[:, None] * b[None, None]), X, struct((16,), "data")),
    "reduce": (lambda x: (x.sum(0), x.max(1, keepdims=True), x.argmax(1)), struct((8, 16), "data", "model")),
    "transpose": (lambda x: (x.T, jnp.moveaxis(x[None], 1, 2)), X),
    "merge": (lambda x: (x.reshape(8, 2, 8), x.reshape(128)), X),
    "heads": (lambda h: (h.reshape(6, 4, 2, 5), h.reshape(6, 40)), struct((6, 8, 5), None, ("data", "model"))),
    "inner": (lambda x: (x.reshape(128), x.reshape(8, 4, 4), x[:, None]), struct((8, 16), None, "data")),
    "dot": (lambda x, w, v: (h := x @ w, h @ v, w.T @ x.T), X, W, struct((32, 16), "model")),
    "contracted": (lambda x, w: (jnp.cos(x) @ w, jnp.cos(x)), struct((8, 16)), struct((16, 32), "data")),
    "batched": (
        lambda q, k: jnp.einsum("bthd,bshd->bhts", q, k),
        struct((8, 5, 2, 4), "data", None, "model"),
        struct((8, 7, 2, 4), "data", None, "model"),
    ),
    "conv": (
        partial(
            jax.lax.conv_general_dilated,
            window_strides=(2, 2),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        IMAGES,
        struct((3, 3, 4, 10), None, None, None, "model"),
    ),
    "conv by channel": (
        partial(
            jax.lax.conv_general_dilated,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=4,
        ),
        struct((8, 6, 6, 4), "data", None, None, "model"),
        struct((3, 3, 1, 4)),
    ),
    "embedding": (lambda table, ids: table[ids], struct((20, 16), None, "model"), IDS),
    "embedding, split": (lambda table, ids: jnp.take(table, ids, axis=0), struct((20, 16), "model"), IDS),
    "along": (lambda x, ids: jnp.take_along_axis(x, ids, axis=1), X, IDS),
    "along, from the array": (lambda x, ids: jnp.take_along_axis(x, ids, axis=1), X, struct((8, 3), dtype=jnp.int32)),
    "scatter": (lambda x, ids: jnp.zeros((8, 16)).at[ids[:, 0]].add(x), X, struct((8, 3), dtype=jnp.int32)),
    "slices": (lambda x: (x[:, :4], jnp.pad(x, ((0, 0), (1, 1))), jnp.concatenate([x, x], 1)), X),
    "scan": (lambda x, ws: jax.lax.scan(lambda c, w: (jnp.tanh(c @ w), c), x, ws), X, struct((3, 16, 16))),
    "scan, from nothing": (
        lambda x: jax.lax.scan(lambda c, x: (c + x, c.sum(1)), jnp.zeros((8, 16)), x),
        struct((3, 8, 16), None, "data"),
    ),
    "scan, crosswise": (
        lambda x: jax.lax.scan(lambda c, _: ((c[1], c[0] * 2.0), None), (x, jnp.ones((8, 16))), length=3),
        X,
    ),
    "while, crosswise": (
        lambda x: jax.lax.while_loop(lambda c: c[0][0, 0] < 9, lambda c: (c[1], c[0] * 2.0), (x, jnp.ones((8, 16)))),
        X,
    ),
    "while": (
        lambda x: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, jnp.ones((8, 16)))),
        X,
    ),
    "cond": (lambda x: jax.lax.cond(x[0, 0] > 0, jnp.sin, lambda x: jnp.ones((8, 16)), x), X),
    "nested": (jax.jit(jax.checkpoint(lambda x, w: jax.nn.silu(x @ w))), X, W),
    "constraint": (lambda x: jax.lax.with_sharding_constraint(x.T, NamedSharding(MESH, P("model"))), X),
    "unconstrained": (
        lambda x: jax.lax.with_sharding_constraint(x, NamedSharding(MESH, P(P.UNCONSTRAINED, "model"))),
        X,
    ),
    "shard_map": (jax.shard_map(jnp.sin, mesh=MESH, in_specs=P("data"), out_specs=P("data")), struct((8, 16))),
    "empty": (lambda x: (x[:, :0].reshape(0), x), X),
}
QUICK = {"elementwise", "heads", "dot", "contracted", "conv", "embedding", "scan", "scan, from nothing", "constraint"}


@pytest.mark.parametrize("name", mostly_slow(CASES, *QUICK))
def test_results_are_split_as_a_compiler_splits_them(name):
    """For each kind of equation: the bytes of its results on one device."""
    function, *inputs = CASES[name]
    program = jax.make_jaxpr(function)(*inputs)
    places = jax.tree.leaves(jax.jit(function).lower(*inputs).compile().output_shardings)
    spread = Spread(program, MESH, {i: each.sharding.spec for i, each in enumerate(inputs)})
    found = [spread.nbytes(variable) for variable in program.jaxpr.outvars]
    assert found == [on_a_device(v.aval, place) for v, place in zip(program.jaxpr.outvars, places, strict=True)]


def test_the_batch_comes_first():
    """Where variables would split other axes; and what is settled is not split by what it meets."""
    inputs = map(jnp.ones, [(16, 32), (8,), (8, 16)])
    program = jax.make_jaxpr(lambda w, b, x: ((x @ w + b[:, None]).sum(1), jnp.sin(b)))(*inputs).jaxpr
    spread = Spread(program, MESH, {2: P("data")}, {0: P(None, "data"), 1: P()})
    assert list(map(spread.nbytes, program.outvars)) == [4 * 8 // 4, 4 * 8]


def test_two_axes_share_one_of_the_mesh():
    """As groups of heads do: the outer one is split as far as it goes. A compiler does so inside of programs only."""

    def function(x):
        out, kept = jax.lax.scan(lambda c, _: (c * 2.0, jnp.sin(c.reshape(2, 4, 16))), x, length=3)
        return jax.lax.scan(lambda c, y: (c * y.reshape(8, 16), None), out, kept)[0]

    program = jax.make_jaxpr(function)(X).jaxpr
    kept = next(v for equation in program.eqns for v in equation.outvars if v.aval.shape == (3, 2, 4, 16))
    assert Spread(program, MESH, {0: P("data")}).nbytes(kept) == 4 * math.prod((3, 1, 2, 16))
    assert "f32[3,1,2,16]" in jax.jit(function).lower(X).compile().as_text()


def transformer(scope, ids_bt, repeated):
    """An encoder with a loss. Its layers go through `repeated`, as do those of the others."""
    # Without a mask: made of constants, it is computed where it is used, and is whole only as a result of its own.
    feed_forward = partial(nn.mlp, hidden=128)
    x_btd = nn.embedding(scope / "embedding", ids_bt, 128, 32, axes=("vocab", "embed"))
    x_btd = repeated(lambda s, x: nn.transformer_block(s, x, 8, feed_forward), scope, x_btd)
    logits_btv = nn.dense(scope / "logits", x_btd, 128, axes=("embed", "vocab"))
    return -jax.nn.log_softmax(logits_btv)[..., 0].mean()


def mlp(scope, x_bd, repeated):
    """A residual network."""
    block = lambda s, x: x + nn.mlp(s / "mlp", nn.layer_norm(s / "norm", x), 128)  # noqa: E731
    return jnp.square(repeated(block, scope, x_bd)).mean()


def convnet(scope, x_bhwc, repeated):
    """The same with convolutions and norms over the batch."""

    def block(scope, x_bhwc):
        h_bhwf = nn.conv(scope / "in", x_bhwc, 32, 3, padding="same", axes=(None, None, "embed", "mlp"))
        h_bhwf = jax.nn.relu(nn.batch_norm(scope / "norm", h_bhwf, training=True, axes=("mlp",)))
        return x_bhwc + nn.conv(scope / "out", h_bhwf, 16, 3, padding="same", axes=(None, None, "mlp", "embed"))

    x_bhwc = repeated(block, scope, nn.conv(scope / "stem", x_bhwc, 16, 3, padding="same"))
    return -jax.nn.log_softmax(nn.dense(scope / "logits", x_bhwc.mean((1, 2)), 16))[:, 0].mean()


def unrolled(block, scope, x):
    """Two blocks, each with a name of its own."""
    for i in range(2):
        x = block(scope / str(i), x)
    return x


def scanned(block, scope, x):
    """Two blocks in a loop."""
    return jscope.scan(lambda scope, x, _: (block(scope, x), None), scope / "layers", x, length=2)[0]


MODELS = {
    mlp: jax.ShapeDtypeStruct((32, 32), jnp.float32),
    transformer: jax.ShapeDtypeStruct((16, 16), jnp.int32),
    convnet: jax.ShapeDtypeStruct((16, 8, 8, 3), jnp.float32),
}
FORMS = {
    "unrolled": unrolled,
    "scanned": scanned,
    "unrolled, remat": lambda block, scope, x: unrolled(jscope.remat(block), scope, x),
    "scanned, remat": lambda block, scope, x: scanned(jscope.remat(block), scope, x),
}
TENSOR = sharding.tensor_parallel()
RULES = {
    "tensor_parallel": (TENSOR, None),
    "fsdp": (sharding.fsdp(min_size=0), sharding.Gathered(sharding.Rules({"batch": "data", ...: None}))),
    "both": (TENSOR | sharding.fsdp(min_size=0), sharding.Gathered(TENSOR)),
}
"""How variables are stored, and what says how they are computed with."""


def planned_and_compiled(model, form, shape, name):
    """The bytes of activations that are planned, and those that a compiler keeps on a device for a gradient."""
    mesh, (rules, getter), x = mesh_of(shape=shape), RULES[name], MODELS[model]

    def function(scope, x):
        return model(scope if getter is None else scope.with_defaults(custom_getter=getter), x, FORMS[form])

    with jax.set_mesh(mesh):
        summary = jscope.summary(function, x)
        plan = sharding.memory(summary.specs, mesh, rules, summary=summary, batch=x)
        program, kept = summary.programs.gradient, summary.programs.kept
        stored = dict(jscope.tree.items(sharding.shardings(summary.specs, mesh, rules)))
        places = [stored[path] for path in summary.programs.variables]
        # Behind the variables stand the batch, and the cotangent of the loss.
        places += [
            NamedSharding(mesh, rules.partition(("batch", *[None] * (x.ndim - 1)), mesh)),
            NamedSharding(mesh, P()),
        ]
        inputs = [
            jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype, sharding=place)
            for v, place in zip(program.invars, places, strict=True)
        ]
        constants = [np.zeros(v.aval.shape, v.aval.dtype) for v in program.constvars]
        run = jaxpr_as_fun(ClosedJaxpr(program.replace(outvars=[*program.outvars, *kept]), constants))
        found = jax.jit(run).lower(*inputs).compile().output_shardings[-len(kept) :]
    return plan.activations, sum(on_a_device(v.aval, place) for v, place in zip(kept, found, strict=True))


def some_of_all():
    """Every model in every form, each with another mesh and other rules; only the first is no slow test."""
    meshes, names = itertools.cycle([(4, 2), (2, 4), (8, 1), (1, 8), (2, 4)]), itertools.cycle(RULES)
    for i, (model, form) in enumerate(itertools.product(MODELS, FORMS)):
        yield pytest.param(
            model, form, next(meshes), next(names), marks=pytest.mark.slow if i else (), id=f"{model.__name__}, {form}"
        )


@pytest.mark.parametrize(("model", "form", "shape", "name"), list(some_of_all()))
def test_what_is_planned_is_what_a_compiler_keeps(model, form, shape, name):
    """Within 2 %, for networks whose layers are split as well as the batch."""
    planned, compiled = planned_and_compiled(model, form, shape, name)
    assert planned == pytest.approx(compiled, rel=0.02)
