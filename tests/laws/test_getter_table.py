"""Every getter under every lift, cast or not: what it stores, computes and writes is the same as without the lift."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import getters, initializers, partitioners
from tests.models import KEY

X = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)
HALF = getters.cast(jnp.bfloat16)

GETTERS = {
    "cast": HALF,
    "freeze": getters.freeze("w$"),
    "weight_norm": getters.weight_norm("w$|book$|ids$"),
    "lora": getters.lora(2, "w$|book$|ids$"),
    "spectral_norm": getters.spectral_norm(training=True),
    "quantized": getters.quantized(jnp.int8),
    "ema": getters.ema(0.5),
    "ema, read": getters.ema(0.5, average=True),
}
"""The getters, each with its own arguments; what they must leave alone is matched, too."""


def block(s, x):
    """A param, a codebook in state, integers, and state that is written."""
    w_dd = s.get_variable("w", (3, 3), axes=("embed", "mlp"))
    book_dd = s.get_variable("book", (3, 3), trainable=False, initializer=initializers.ones)
    ids_dd = s.get_variable("ids", (3, 3), jnp.int8, axes=("embed", "mlp"))
    steps = s.get_variable("steps", (), jnp.int32, trainable=False)
    s.assign("steps", steps + 1)
    return jnp.tanh(x @ w_dd.astype(jnp.float32) + x @ book_dd.astype(jnp.float32)) + ids_dd.sum().astype(jnp.float32)


def each(lift):
    """Two blocks at `h/0` and `h/1`, one after the other, each under a lift of its own."""

    def blocks(f, s, x):
        for i in range(2):
            x = lift(f)(s / str(i), x)
        return x

    return blocks


def side_by_side(f, s, x):
    return sum(f(s / str(i), x) for i in range(2))


LIFTS = {
    "remat": (each(lambda f: f), each(jscope.remat)),
    "jit": (each(lambda f: f), each(jscope.jit)),
    "cond": (each(lambda f: f), each(lambda f: lambda s, x: jscope.cond(x.sum() > -1e9, f, f, s, x))),
    "scan": (each(lambda f: f), lambda f, s, x: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=2)[0]),
    "layers": (each(lambda f: f), lambda f, s, x: jscope.layers(f, 2)(s, x)),
    "vmap": (side_by_side, lambda f, s, x: jscope.vmap(f, None, axis_size=2)(s, x).sum(0)),
    "shared scan": (
        lambda f, s, x: f(s.with_defaults(reuse=jscope.AUTO_REUSE), f(s, x)),
        lambda f, s, x: jscope.scan(lambda s, x, _: (f(s, x), None), s, x, length=2, shared="")[0],
    ),
}
"""For each lift: the model without it, and with it."""


@functools.cache
def specs_of(getter, use, cast):
    """The specs by name."""
    return jscope.specs(modelled(getter, use, cast), X).flat()


def modelled(getter, use, cast):
    def model(s, x):
        for each in [HALF, GETTERS[getter]] if cast else [GETTERS[getter]]:
            s = s.with_defaults(custom_getter=each)
        return use(block, s / "h", x)

    return model


@functools.cache
def run(getter, use, cast):
    """The variables, and what two steps give: outputs, gradients, state."""
    model = jscope.transform_with_state(modelled(getter, use, cast))
    params, state = model.init(KEY(0), X)
    floats, ints = jscope.tree.partition(params, lambda _, value: jnp.issubdtype(value.dtype, jnp.floating))

    def loss(floats, state):
        out, state = model.apply(jscope.tree.merge(floats, ints), state, X)
        return jnp.sum(out**2), state

    # Compiling takes nearly all the time of these tests.
    step = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options={"xla_backend_optimization_level": 0})
    (_, after), _ = step(floats, state)
    (value, after), grads = step(jax.tree.map(lambda leaf: leaf + 1.0, floats), after)
    return (params, state), (value, after, grads)


def unrolled(tree):
    """A tree of the model that stacks, as that of the model without the lift."""
    return jscope.tree.unstack(tree, at="h") if tree else tree


CASES = [(getter, lift) for getter in GETTERS for lift in LIFTS]


RUNS = [("ema", lift, False) for lift in LIFTS if lift not in ("jit", "layers")]
RUNS += [("lora", "vmap", False), ("quantized", "scan", True)]
MORE = [(getter, "scan", False) for getter in ("weight_norm", "lora", "spectral_norm", "ema, read")]
RUNS += [pytest.param(*run, marks=pytest.mark.slow) for run in [*MORE, ("ema", "scan", True)]]
"""What is run. Collecting is cheap, and all cases are collected below."""


@pytest.mark.parametrize(("getter", "lift", "cast"), RUNS)
def test_a_getter_does_the_same_under_a_lift(getter, lift, cast):
    """Initial values, outputs, gradients and state are those of the model without the lift, in both phases."""
    plain, lifted = LIFTS[lift]
    variables, outcome = run(getter, plain, cast)
    lifted_variables, (value, after, grads) = run(getter, lifted, cast)
    unstack = unrolled if lift in ("scan", "layers", "vmap") else lambda tree: tree
    tolerance = {"atol": 0.05, "rtol": 0.05} if cast or getter == "cast" else {"atol": 1e-5, "rtol": 1e-5}
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf, tuple(map(unstack, lifted_variables))), variables)
    chex.assert_trees_all_close((value, unstack(after), unstack(grads)), outcome, **tolerance)


@pytest.mark.parametrize(("getter", "lift"), CASES)
def test_what_is_stored_does_not_depend_on_how_it_is_read(getter, lift):
    """An outer cast to bfloat16 changes no spec: floats stay float32, averages too."""
    specs, cast = (specs_of(getter, LIFTS[lift][1], cast) for cast in (False, True))
    kinds = lambda specs: {name: (spec.shape, spec.dtype, spec.axes, spec.trainable) for name, spec in specs.items()}  # noqa: E731
    assert kinds(cast) == kinds(specs)
    assert {spec.dtype for spec in specs.values()} <= {jnp.dtype(d) for d in ("float32", "int32", "int8")}


@pytest.mark.parametrize(("getter", "lift"), CASES)
def test_state_and_integers_are_left_alone(getter, lift):
    """Nothing is stored beside them, nor instead of them."""
    names = {
        name.partition("h/")[2].removeprefix("0/").removeprefix("1/")
        for name in specs_of(getter, LIFTS[lift][1], False)
    }
    assert {"book", "ids", "steps"} <= names
    assert not [
        name for name in names if name.startswith(("book", "ids", "steps")) and name not in ("book", "ids", "steps")
    ]


BESIDE = {
    "weight_norm": {"w/v": ("embed", "mlp"), "w/g": ("mlp",)},
    "lora": {"w": ("embed", "mlp"), "w_lora/a": ("embed", None), "w_lora/b": (None, "mlp")},
    "spectral_norm": {"w": ("embed", "mlp"), "w_spectral/u": ("mlp",)},
    "quantized": {"w": ("embed", "mlp"), "w_quantized/scale": ("mlp",)},
    "ema": {"w": ("embed", "mlp"), "w_ema/average": ("embed", "mlp"), "w_ema/count": None},
}
"""The axes of what a getter makes beside `w`, whose axes are `("embed", "mlp")`."""


@pytest.mark.parametrize("by", ["axes", "names", "last"])
@pytest.mark.parametrize("getter", BESIDE)
def test_axes_follow_from_those_of_the_variable(getter, by):
    """Whether they are given one by one or by a partitioner, and in a stack."""
    partitioner = {"axes": None, "names": partitioners.names, "last": partitioners.last}[by]
    given = {"axes": ("embed", "mlp")} if partitioner is None else {"partitioner": partitioner("embed", "mlp")}

    def model(s, x):
        s = s.with_defaults(custom_getter=GETTERS[getter])
        body = lambda s, x, _: (x @ s.get_variable("w", (3, 3), **given), None)  # noqa: E731
        return jscope.scan(body, s / "h", body(s, x, None)[0], length=2, axis="layer")[0]

    specs = jscope.specs(model, X)
    for name, axes in BESIDE[getter].items():
        assert specs[name].axes == axes, name
        assert specs["h"][name].axes == (axes and ("layer", *axes)), name


def test_an_average_in_bfloat16_is_finite_and_exact():
    """It is computed in float32 from what is stored, also where all is read as bfloat16."""

    def model(s, average):
        s = s.with_defaults(custom_getter=HALF).with_defaults(custom_getter=getters.ema(0.999, average=average))
        return s.get_variable("w", ())

    init, apply = jscope.transform_with_state(model)
    params, state = init(KEY(0), average=False)
    for w in (1.0, 1.001, 1.002):
        out, state = apply({"w": jnp.float32(w)}, state, average=False)
    assert out.dtype == jnp.bfloat16
    exact = (1.0 * 0.999**2 + 1.001 * 0.999 + 1.002) / (1 + 0.999 + 0.999**2)
    assert abs(float(state["w_ema"]["average"]) / (1 - 0.999**3) - exact) < 1e-5
    assert apply(params, state, average=True)[0] == jnp.bfloat16(exact)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_an_average_has_the_dtype_of_its_param(stored):
    """Or the one that is asked for."""

    def model(s, dtype):
        return s.get_variable("w", (2,), stored, custom_getter=getters.ema(0.9, dtype=dtype))

    specs = [jscope.specs(model, dtype) for dtype in (None, jnp.float32)]
    assert [spec["w_ema/average"].dtype for spec in specs] == [jnp.dtype(stored), jnp.dtype("float32")]
    params, state = jscope.transform_with_state(model).init(KEY(0), jnp.float32)
    _, after = jscope.transform_with_state(model).apply(params, state, jnp.float32)
    chex.assert_trees_all_close(after["w_ema"]["average"], 0.1 * params["w"].astype(jnp.float32), rtol=1e-5)


@pytest.mark.parametrize("getter", [getters.lora(2), getters.ema(0.9), getters.weight_norm()])
def test_what_is_read_again_is_the_same_variable(getter):
    """With `reuse`, by shape; without a shape too, where the variable keeps its name."""

    def model(s):
        s = s.with_defaults(custom_getter=getter)
        again = s.with_defaults(reuse=True)
        first, second = s.get_variable("w", (3, 3)), again.get_variable("w", (3, 3))
        table = s.get_variable("table", (3, 3), trainable=False)
        if not isinstance(getter, getters.weight_norm):
            second = s.get_variable("w")
        return first - second, table - s.get_variable("table")

    model = jscope.transform_with_state(model)
    specs, (params, state) = model.specs(), model.init(KEY(0))
    assert not [name for name in specs.flat() if name.startswith("table") and name != "table"]
    chex.assert_trees_all_equal(model.apply(params, state)[0], (jnp.zeros((3, 3)),) * 2)


def test_a_scope_of_integers_is_left_alone():
    """Also where the dtype is the scope's default, which `apply` does not know."""

    def model(s):
        s = s.with_defaults(dtype=jnp.int32, custom_getter=getters.weight_norm())
        return s.get_variable("w", (3, 3)), s.get_variable("n", initializer=jnp.ones((2, 2), jnp.int8))

    params = jscope.init(model, KEY(0))
    assert jscope.tree.names(params) == ["w", "n"]
    chex.assert_trees_all_equal(jscope.apply(model, params), (params["w"], params["n"]))


def test_penalties_and_constraints_are_not_those_of_averages():
    """A default of the scope is meant for the variable."""

    def model(s):
        s = s.with_defaults(regularizer=jscope.regularizers.l2(1.0), constraint=jscope.constraints.non_neg)
        return s.get_variable("w", (2,), custom_getter=getters.ema(0.9))

    specs = jscope.specs(model).flat()
    assert [name for name, spec in specs.items() if spec.regularizer is not None or spec.constraint is not None] == [
        "w"
    ]
