"""What is true of every lift: it changes how a function runs, not what it computes or what its variables are called."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import initializers
from tests.crossed import crossed, mostly_slow
from tests.models import KEY, MODELS, X, linear


def everything(scope, x):
    """A block with a param, state, randomness and a sown value; keeps the shape of `x`."""
    w_dd = scope.get_variable("w", (x.shape[-1], x.shape[-1]), axes=("in", "out"))
    mean_d = scope.get_variable("mean", x.shape[-1:], initializer=initializers.zeros, trainable=False)
    scope.assign("mean", 0.5 * mean_d + x.reshape(-1, x.shape[-1]).mean(0))
    keep = jax.random.bernoulli((scope / "drop").rng(), 0.5, x.shape) if scope.has_rng else jnp.ones(x.shape, bool)
    y = jnp.tanh(x @ w_dd + jnp.broadcast_to(mean_d, x.shape))
    scope.sow("y", y)
    return jnp.where(keep, y, 0.0)


SAME = {
    "plain": lambda f, s, x: f(s, x),
    "remat": lambda f, s, x: jscope.remat(f)(s, x),
    "remat with a policy": lambda f, s, x: jscope.remat(f, policy=jax.checkpoint_policies.dots_saveable)(s, x),
    "jit": lambda f, s, x: jscope.jit(f)(s, x),
    "pure in jax.jit": lambda f, s, x: pure_in_jit(f, s, x),
    "cond": lambda f, s, x: jscope.cond(x.sum() > -1e9, f, f, s, x),
    "switch": lambda f, s, x: jscope.switch(1, [f, f, f], s, x),
    "vjp": lambda f, s, x: jscope.vjp(f, s, x)[0],
    "jvp": lambda f, s, x: jscope.jvp(f, s, (x,), (x,))[0],
    "custom_vjp": lambda f, s, x: with_its_own_rules(f)(s, x),
    "value_and_grad": lambda f, s, x: jscope.value_and_grad(with_aux(f), has_aux=True)(s, x)[0][1],
    "shard_map": lambda f, s, x: jscope.shard_map(
        f,
        mesh=jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,)),
        in_specs=(jax.P(),),
        out_specs=jax.P(),
        check_vma=False,
    )(s, x),
    "remat in jit": lambda f, s, x: jscope.jit(jscope.remat(f))(s, x),
    "jit in remat": lambda f, s, x: jscope.remat(jscope.jit(f))(s, x),
    "cond in remat in jit": lambda f, s, x: jscope.jit(
        jscope.remat(lambda s, x: jscope.cond(x.sum() > -1e9, f, f, s, x))
    )(s, x),
}


@functools.cache
def run_block(lift, keyed):
    """Names, initial variables, and the outcome of eager `apply`, traced before under a check for leaks."""
    model = jscope.transform_with_state(lambda scope, x: SAME[lift](everything, scope / "a", x))
    with jax.checking_leaks():
        specs = model.specs(X)
        applied = model.with_rng(KEY(1) if keyed else None).capture()
        jax.eval_shape(applied.apply, specs.params.shape_dtype(), specs.state.shape_dtype(), X)
    variables = model.init(KEY(0), X)
    return specs.flat().keys(), variables, applied.apply(*variables, X)


@functools.cache
def gradient(lift):
    """The gradient of the block's loss by its params."""
    model = jscope.transform_with_state(lambda scope, x: SAME[lift](everything, scope / "a", x))
    params, state = model.init(KEY(0), X)
    return jax.grad(lambda p: jnp.sum(model.with_rng(KEY(1)).apply(p, state, X)[0] ** 2))(params)


def with_aux(f):
    def loss(scope, x):
        y = f(scope, x)
        return jnp.sum(y), y

    return loss


def pure_in_jit(f, s, x):
    out, effects = jax.jit(jscope.pure(f))(s, x)
    jscope.commit(s, effects)
    return out


def with_its_own_rules(f):
    g = jscope.custom_vjp(f)

    def forward(s, x):
        return f(s, x), ({name: s.get_variable(name) for name in ("w",)}, x)

    g.defvjp(forward, lambda saved, ct: (jax.tree.map(jnp.ones_like, saved[0]), ct))
    return g


@pytest.mark.parametrize(("lift", "keyed"), crossed(SAME, [True, False]))
def test_a_lift_keeps_names_outputs_state_and_sown_values(lift, keyed):
    """Lifted or not: the same specs, initial values, outputs, state updates, sown values and random numbers."""
    specs, variables, out = run_block(lift, keyed)
    plain_specs, plain_variables, plain_out = run_block("plain", keyed)
    assert specs == plain_specs
    chex.assert_trees_all_equal(variables, plain_variables)
    chex.assert_trees_all_close(out, plain_out, atol=1e-6)


SMOOTH = [name for name in SAME if name != "custom_vjp"]


@pytest.mark.parametrize("lift", mostly_slow(SMOOTH, "plain", "remat", "jit", "cond", "vjp", "jvp", "value_and_grad"))
def test_a_lift_keeps_gradients(lift):
    """The gradient through a lifted function is that of the function."""
    chex.assert_trees_all_close(gradient(lift), gradient("plain"), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "lift"), crossed([name for name, model in MODELS.items() if not model.data], ["remat", "jit", "cond"])
)
def test_every_model_can_be_lifted(name, lift):
    """Each model of the table gives the same variables and outputs under a lift."""
    model = MODELS[name]
    make = jscope.transform_with_state
    lifted = make(lambda scope, *args: SAME[lift](model.scoped, scope, *args))
    plain = make(model.scoped)
    variables = plain.init(KEY(0), *model.args)
    chex.assert_trees_all_equal(lifted.init(KEY(0), *model.args), variables)
    chex.assert_trees_all_close(lifted.apply(*variables, *model.args), plain.apply(*variables, *model.args), atol=1e-5)


def scanned(scope, x, n=4, **options):
    return jscope.scan(lambda s, x, _: (everything(s, x), x.sum()), scope / "layers", x, length=n, **options)


def unrolled(scope, x, n=4):
    ys = []
    for i in range(n):
        ys.append(x.sum())
        x = everything(scope / f"layers/{i}", x)
    return x, jnp.stack(ys)


@functools.cache
def variables_and_outputs(f):
    model = jscope.transform_with_state(f)
    made = model.init(KEY(0), X)
    with jax.checking_leaks():
        jax.eval_shape(model.with_rng(KEY(1)).capture().apply, *made, X)
    return made, outputs(f, *made)


def outputs(f, params, state):
    return jax.jit(jscope.transform_with_state(f).with_rng(KEY(1)).capture().apply)(params, state, X)


STACKED = {
    "scan": scanned,
    "scan unrolled twice": lambda s, x: scanned(s, x, unroll=2),
    "remat in scan": lambda s, x: jscope.scan(
        lambda s, x, _: (jscope.remat(everything)(s, x), x.sum()), s / "layers", x, length=4
    ),
    "scan in remat": lambda s, x: jscope.remat(scanned)(s, x),
    "scan in jit": lambda s, x: jscope.jit(scanned)(s, x),
    "cond in scan": lambda s, x: jscope.scan(
        lambda s, x, _: (jscope.cond(x.sum() > -1e9, everything, everything, s, x), x.sum()), s / "layers", x, length=4
    ),
    "layers": lambda s, x: (jscope.layers(everything, 4)(s / "layers", x), unrolled_sums(s, x)),
}


def unrolled_sums(scope, x):
    """`layers` returns no sums; the law compares those of the unrolled model with themselves."""
    return jnp.zeros(4)


@pytest.mark.parametrize("lift", mostly_slow(STACKED, "scan", "layers"))
def test_stacked_is_unrolled(lift):
    """Stacked variables equal unrolled ones bit for bit; outputs, dropout masks, state and sown values agree too."""
    (params, state), ((out, captured), new_state) = variables_and_outputs(STACKED[lift])
    (u_params, u_state), ((u_out, u_captured), u_new_state) = variables_and_outputs(unrolled)
    unstack = jscope.tree.unstack
    chex.assert_trees_all_equal(unstack(params, at="layers"), u_params)
    chex.assert_trees_all_equal(unstack(state, at="layers"), u_state)
    chex.assert_trees_all_close(out[0], u_out[0], atol=1e-6)
    chex.assert_trees_all_close(unstack(new_state, at="layers"), u_new_state, atol=1e-6)
    chex.assert_trees_all_close(unstack(captured, at="layers"), u_captured, atol=1e-6)
    masks = np.asarray(captured["layers"]["y"][:-1] != 0)
    assert masks.any()


def test_checkpoints_move_between_scanned_and_unrolled():
    """`tree.unstack` of a scanned model's variables runs unrolled with the same outputs, and back."""
    (params, state), scanned_out = variables_and_outputs(scanned)
    unstacked = [jscope.tree.unstack(tree, at="layers") for tree in (params, state)]
    unrolled_out = outputs(unrolled, *unstacked)
    chex.assert_trees_all_close(scanned_out[0][0], unrolled_out[0][0], atol=1e-6)
    back = [jscope.tree.stack(tree, at="layers") for tree in unstacked]
    chex.assert_trees_all_equal(back, [params, state])


def test_dropout_differs_between_iterations():
    """Each iteration of a scan draws random numbers of its own."""

    def model(scope, x):
        def body(s, carry, _):
            return carry, jax.random.bernoulli(s.rng(), 0.5, (20,))

        return jscope.scan(body, scope, x, length=5)[1]

    masks = jscope.transform(model).with_rng(KEY(0)).apply({}, 0.0)
    assert len({mask.tobytes() for mask in np.asarray(masks)}) == 5


NESTED = {
    "remat in scan in vmap": lambda s, x: jscope.vmap(
        lambda s, x: jscope.scan(lambda s, x, _: (jscope.remat(everything)(s, x), None), s, x, length=2)[0]
    )(s, jnp.stack([x, x])),
    "scan in scan": lambda s, x: jscope.scan(
        lambda s, x, _: jscope.scan(lambda s, x, _: (everything(s, x), None), s / "inner", x, length=2), s, x, length=3
    )[0],
    "vmap in scan": lambda s, x: jscope.scan(lambda s, x, _: (jscope.vmap(everything)(s, x), None), s, x, length=2)[0],
    "vmap in vmap": lambda s, x: jscope.vmap(jscope.vmap(everything), axis_size=2, in_axes=None)(s, x),
    "grad in scan": lambda s, x: jscope.scan(
        lambda s, x, _: (x, jscope.grad(lambda s, x: everything(s, x).sum())(s, x)["w"]), s, x, length=2
    )[1],
    "jit in scan in jit": lambda s, x: jscope.jit(
        lambda s, x: jscope.scan(lambda s, x, _: (jscope.jit(everything)(s, x), None), s / "l", x, length=2)[0]
    )(s, x),
    "while in cond in scan": lambda s, x: jscope.scan(
        lambda s, x, _: (jscope.cond(x.sum() > -1e9, lambda s, x: fori(s, x), lambda s, x: fori(s, x), s, x), None),
        s,
        x,
        length=2,
    )[0],
}


def quiet(scope, x):
    """`everything` but for the sown value, for which an open loop has no place."""
    w_dd = scope.get_variable("w", (x.shape[-1], x.shape[-1]))
    n = scope.get_variable("n", initializer=0.0, trainable=False)
    scope.assign("n", n + x.sum())
    return jnp.tanh(x @ w_dd) * n


def fori(scope, x):
    return jscope.fori_loop(0, 2, lambda s, i, x: quiet(s, x), scope, x)


@pytest.mark.parametrize("nest", mostly_slow(NESTED, "remat in scan in vmap", "while in cond in scan"))
def test_lifts_nest(nest):
    """Lifts nest in any order that JAX allows: eager and jitted agree, state moves, nothing leaks."""
    model = jscope.transform_with_state(lambda s, x: NESTED[nest](s / "a", x))
    params, state = model.init(KEY(0), X)
    with jax.checking_leaks():
        model.specs(X).check(params, state)
        jax.eval_shape(model.with_rng(KEY(1)).apply, params, state, X)
    out, new_state = model.with_rng(KEY(1)).apply(params, state, X)
    jitted = jax.jit(model.with_rng(KEY(1)).apply)(params, state, X)
    chex.assert_trees_all_close((out, new_state), jitted, atol=1e-5)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, new_state)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (state, new_state)), strict=True))


def test_nested_stacking_is_unrolled():
    """Two nested scans give the variables of two nested loops, bit for bit."""

    def loops(scope, x):
        for i in range(3):
            for j in range(2):
                x = everything(scope / f"a/{i}/inner/{j}", x)
        return x

    stacked, _ = variables_and_outputs(lambda s, x: NESTED["scan in scan"](s / "a", x))
    flat, _ = variables_and_outputs(loops)
    for tree, expected in zip(stacked, flat, strict=True):
        inner = {i: jscope.tree.unstack(t, at="inner") for i, t in jscope.tree.unstack(tree["a"]).items()}
        chex.assert_trees_all_equal({"a": inner}, expected)


def test_bodies_are_collected_once_per_level():
    """Nesting lifts six deep traces the innermost body a few times, not 2 to the depth."""
    runs = []

    def body(scope, x):
        runs.append(1)
        return linear(scope, x, 4)

    f = body
    for _ in range(6):
        f = jscope.remat(lambda s, x, f=f: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=1)[0])
    params = jscope.init(f, KEY(0), X)
    assert params["w"].shape == (1, 1, 1, 1, 1, 1, 4, 4)
    assert len(runs) <= 2


def test_the_program_does_not_grow_with_depth():
    """The jaxpr of a scanned model, and the number of compiles of its init, are the same for 2 and for 96 layers."""

    def program(depth):
        model = jscope.transform(lambda s, x: jscope.layers(lambda s, x: linear(s, x, 4), depth)(s / "l", x))
        params = model.init(KEY(0), X)
        return len(str(jax.make_jaxpr(model.apply)(params, X)).splitlines())

    assert program(2) == program(96)


def test_scan_and_remat_are_the_hand_written_programs():
    """Without state, the jaxpr of a lifted model is that of `lax.scan` and `jax.checkpoint` by hand."""

    def body(s, x):
        return jnp.tanh(x @ s.get_variable("w", (4, 4)))

    def model(scope, x):
        return jscope.scan(lambda s, x, _: (jscope.remat(body)(s, x), None), scope / "l", x, length=3)[0]

    def by_hand(params, x):
        block = jax.checkpoint(lambda p, x: jnp.tanh(x @ p["w"]))
        return jax.lax.scan(lambda x, p: (block(p, x), None), x, params["l"], length=3)[0]

    params = jscope.init(model, KEY(0), X)
    scoped = jax.make_jaxpr(jscope.transform(model).apply)(params, X)
    assert str(scoped).replace("block", "f") == str(jax.make_jaxpr(by_hand)(params, X)).replace("block", "f")


def test_tied_variables_are_reached_by_a_captured_scope():
    """A lifted body reads a shared variable through an outer scope; its gradients are summed."""

    def model(scope, x):
        tied = scope / "tied"
        w = tied.get_variable("w", (4, 4))

        def body(s, x, _):
            return jnp.tanh(x @ tied.get_variable("w") @ s.get_variable("v", (4, 4))), None

        return jscope.scan(body, scope.with_defaults() / "l", x, length=3)[0] @ w

    def by_hand(p, x):
        def body(x, v):
            return jnp.tanh(x @ p["tied"]["w"] @ v), None

        return jax.lax.scan(body, x, p["l"]["v"])[0] @ p["tied"]["w"]

    model_auto = jscope.transform(lambda s, x: model(s.with_defaults(reuse=jscope.AUTO_REUSE), x))
    params = model_auto.init(KEY(0), X)
    assert jscope.tree.names(params) == ["tied/w", "l/v"]
    grads, expected = (jax.grad(lambda p, f=f: f(p, X).sum())(params) for f in (model_auto.apply, by_hand))
    chex.assert_trees_all_close(grads, expected, atol=1e-5)


def test_equal_layers_share_one_trace_and_one_function():
    """48 equal blocks under `jscope.jit`: one trace, one lowered function."""
    traces = []

    @jscope.jit
    def block(scope, x):
        traces.append(1)
        return everything(scope, x)

    def model(scope, x):
        for i in range(48):
            x = block(scope / f"layer_{i}", x)
        return x

    transformed = jscope.transform_with_state(model)
    variables = transformed.init(KEY(0), X)
    traces.clear()
    text = jax.jit(transformed.with_rng(KEY(0)).apply).lower(*variables, X).as_text()
    assert len(traces) == 1
    assert text.count("func.func private @everything") + text.count("func.func private @block") <= 2
    plain = jscope.transform_with_state(lambda s, x: [x := everything(s / f"layer_{i}", x) for i in range(48)][-1])
    chex.assert_trees_all_close(
        transformed.with_rng(KEY(0)).apply(*variables, X), plain.with_rng(KEY(0)).apply(*variables, X), atol=1e-5
    )


def test_stacked_axes_are_named():
    """A lift puts the name of its axis before the axes of the variables it stacks."""
    model = jscope.transform_with_state(lambda s, x: scanned(s, x, axis="layers"))
    spec = model.specs(X)["layers/w"]
    assert (spec.axes, spec.shape, spec.unstacked_shape) == (("layers", "in", "out"), (4, 4, 4), (4, 4))
