"""What a lift takes: all that JAX's takes, keywords, None, symbolic sizes, and variables that are not the body's."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from tests.crossed import mostly_slow
from tests.models import KEY, X

ONES = jscope.initializers.ones


def scaled(scope, x, mask=None, *, shift=None, double=False):
    """`x` times a variable; what is None or False changes nothing."""
    w = jnp.broadcast_to(scope.get_variable("w", x.shape[-1:], initializer=ONES), x.shape)
    y = x * w if mask is None else jnp.where(mask, x * w, 0.0)
    y = y if shift is None else y + shift
    return 2 * y if double else y


BATCH = jnp.arange(12.0).reshape(3, 4)
MASK = jnp.array([True, False, True])

MAPPED = {
    "a None": lambda f, s: f(s, BATCH, None),
    "no optional argument": lambda f, s: f(s, BATCH),
    "a static keyword": lambda f, s: f(s, BATCH, double=True),
    "an array keyword": lambda f, s: f(s, BATCH, shift=jnp.arange(3.0)),
    "a None keyword": lambda f, s: f(s, BATCH, None, shift=None),
}


@pytest.mark.parametrize("variables", ["shared", "stacked"])
@pytest.mark.parametrize("case", MAPPED)
def test_vmap_takes_none_and_keywords(case, variables):
    """As `jax.vmap` does: None is an empty tree, arrays by keyword are mapped; what is not an array stays as it is."""
    lifted = jscope.transform(lambda s: MAPPED[case](jscope.vmap(scaled, variables=variables), s))
    params = lifted.init(KEY(0))
    one = params if variables == "shared" else jax.tree.map(lambda w: w[0], params)
    sliced = [lambda s, *args, i=i, **kwargs: scaled(s, *row(i, args), **row(i, kwargs)) for i in range(3)]
    expected = [jscope.apply(lambda s, f=f: MAPPED[case](f, s), one) for f in sliced]
    chex.assert_trees_all_close(lifted.apply(params), jnp.stack(expected))


def row(i, tree):
    """The i-th slices of the arrays in arguments or keywords."""
    take = lambda leaf: leaf[i] if isinstance(leaf, jax.Array) else leaf  # noqa: E731
    return jax.tree.map(take, tree) if isinstance(tree, dict) else tuple(map(take, tree))


NONES = [((0, None), None), ((0, 0), None), ((0, {"m": None}), {"m": None}), ((0, {"m": 0}), {"m": None})]


@pytest.mark.parametrize(("in_axes", "arg"), NONES)
def test_in_axes_may_have_none_where_the_argument_has(in_axes, arg):
    """For the argument itself, and inside of a dict."""
    f = jscope.vmap(lambda s, x, arg: scaled(s, x), in_axes, variables="shared")
    assert jscope.init(lambda s: f(s, BATCH, arg), KEY(0))["w"].shape == (4,)
    chex.assert_trees_all_close(jscope.apply(lambda s: f(s, BATCH, arg), {"w": jnp.ones(4)}), BATCH)


def twice(f):
    return lambda s, x, **keywords: ((y := f(s, x, **keywords)).sum(), y)


KEYWORDS = {
    "remat": jscope.remat,
    "jit": lambda f: jscope.jit(f, static_argnames="double"),
    "layers": lambda f: jscope.layers(f, 1),
    "layers, unrolled": lambda f: jscope.layers(f, 1, scanned=False),
    "grad": lambda f: lambda s, x, **k: jscope.grad(twice(f), None, argnums=1, has_aux=True)(s, x, **k)[1],
    "value_and_grad": lambda f: lambda s, x, **k: jscope.value_and_grad(twice(f), None, has_aux=True)(s, x, **k)[0][1],
    "vjp": lambda f: lambda s, x, **k: jscope.vjp(f, s, x, **k)[0],
}


@pytest.mark.parametrize("lift", KEYWORDS)
def test_lifts_take_keywords(lift):
    """They reach the function, in `init` and in `apply`."""
    keywords = {"shift": jnp.ones(4)} | ({} if lift == "remat" else {"double": True})
    model = lambda s, x: KEYWORDS[lift](scaled)(s, x, **keywords)  # noqa: E731
    params = jscope.init(model, KEY(0), X[0])
    chex.assert_trees_all_close(jscope.apply(model, params, X[0]), (X[0] + 1) * (2 if "double" in keywords else 1))


def test_custom_vjp_takes_static_arguments_and_keywords():
    """A string that JAX could not differentiate; the backward pass gets it first."""

    def power(scope, how, x):
        w = scope.get_variable("w", (4,), initializer=ONES)
        return x * w if how == "once" else x * w * w

    f = jscope.custom_vjp(power, nondiff_argnums=1)
    slopes = {"once": 1.0, "twice": 7.0}
    f.defvjp(lambda s, how, x: (power(s, how, x), x), lambda how, x, ct: ({"w": ct * slopes[how]}, ct))
    for how, slope in slopes.items():
        for call in (lambda s, x, how=how: f(s, how, x), lambda s, x, how=how: f(s, x=x, how=how)):
            params = jscope.init(call, KEY(0), X[0])
            grads = jax.grad(lambda p, call=call: jscope.apply(call, p, X[0]).sum())(params)
            chex.assert_trees_all_close(grads, {"w": jnp.full(4, slope)})


SYMBOLIC = {
    "map": lambda s, x: jscope.map(lambda s, row: scaled(s, row), s, x),
    "scan, shared": lambda s, x: jscope.scan(lambda s, c, row: (c, scaled(s, row)), s, 0.0, x, shared="")[1],
    "vmap, shared": lambda s, x: jscope.vmap(scaled, variables="shared")(s, x),
    "scan over layers": lambda s, x: jscope.scan(lambda s, x, _: (scaled(s, x), None), s, x, length=2)[0],
    "plain": scaled,
}


@pytest.mark.parametrize("case", SYMBOLIC)
def test_a_batch_of_symbolic_size_can_be_exported(case):
    """`specs` and `apply` take it; what was exported is serialized, read again, and run on batches of two sizes."""
    model = jscope.transform(SYMBOLIC[case])
    (batch,) = jax.export.symbolic_shape("b")
    x = jax.ShapeDtypeStruct((batch, 4), jnp.float32)
    params = model.specs(x).materialize(KEY(0))
    exported = jax.export.export(jax.jit(model.apply))(params, x)
    again = jax.export.deserialize(exported.serialize())
    for size in (1, 3):
        data = jnp.ones((size, 4))
        chex.assert_trees_all_close(again.call(params, data), model.apply(params, data))


def test_a_pullback_is_a_pytree():
    """It leaves `jax.jit`, enters `cond`, and is a leaf of nothing that cannot be traced."""
    params = {"w": jnp.arange(4.0)}

    def pulling(s, x):
        out, pullback = jscope.vjp(scaled, s, x)
        pullback = jax.lax.cond(x.sum() > 0, lambda p: p, lambda p: jax.tree.map(jnp.zeros_like, p), pullback)
        return out, pullback

    out, pullback = jax.jit(jscope.transform(pulling).apply)(params, X[0] + 9)
    grads, dx = pullback(jnp.ones_like(out))
    chex.assert_trees_all_close(grads, {"w": X[0] + 9})
    chex.assert_trees_all_close(dx, params["w"])
    jscope.init(pulling, KEY(0), X[0])


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("loop", ["scan", "vmap"])
def test_a_loop_over_a_scope_leaves_its_other_variables_alone(loop, size):
    """Over the root, say, where variables that are not the body's stand beside, whatever their sizes."""

    def model(s, x):
        if loop == "scan":
            x = jscope.scan(lambda s, x, _: (scaled(s, x), None), s, x, length=3)[0]
        else:
            x = jscope.vmap(scaled, in_axes=None, axis_size=3)(s, x).sum(0)
        later = s.get_variable("later", (size,), initializer=ONES)
        (s / "other").get_variable("n", (size, 2), initializer=0 * np.ones((size, 2), np.int32), trainable=False)
        return x + later.sum()

    run = jscope.transform_with_state(model)
    params, state = run.init(KEY(0), X[0])
    expected = X[0] * (1 if loop == "scan" else 3) + size
    chex.assert_trees_all_close(run.apply(params, state, X[0])[0], expected)


@pytest.mark.parametrize("loop", ["scan", "vmap"])
def test_a_stacked_variable_of_another_size_is_reported(loop):
    """Where the body asks for it; the message has both sizes."""
    f = {
        "scan": lambda s: jscope.scan(lambda s, c, _: (c, s.get_variable("w", (4,))), s / "a", 0.0, length=3),
        "vmap": lambda s: jscope.vmap(lambda s: s.get_variable("w", (4,)), axis_size=3)(s / "a"),
    }[loop]
    with pytest.raises(errors.ShapeMismatchError, match=r"scope `a` needs one leading size, .*3.*variable `a/w`: 5"):
        jscope.apply(f, {"a": {"w": jnp.ones((5, 4))}})


def test_state_is_written_through_one_scope():
    """The second scope of a lift cannot write; the error says to give the lift one scope around both."""

    def write(a, b):
        b.assign("n", b.get_variable("n", initializer=0, trainable=False) + 1)

    model = jscope.transform_with_state(lambda s: jscope.remat(write)(s / "a", s / "b"))
    with pytest.raises(errors.NativeTransformError, match=r"`b/n`, inside .* lift, .*\nGive the lift a scope"):
        model.apply({}, {"b": {"n": jnp.asarray(0)}})


def streams(scope):
    """Draws from two streams, at the scope and below it."""
    return [jax.random.key_data((scope / "d").rng(stream)) for stream in ("mask", "noise")]


def jitted_step(scope, carry, _):
    return carry, jscope.jit(streams)(scope)


def inner_scan(scope, carry, _):
    return carry, jscope.scan(jitted_step, scope, 0.0, length=2)[1]


SHARING = {
    "scan": lambda s, rng: jscope.scan(lambda s, c, _: (c, streams(s)), s, 0.0, length=3, rng=rng)[1],
    "map": lambda s, rng: jscope.map(lambda s, _: streams(s), s, jnp.arange(3), rng=rng),
    "vmap": lambda s, rng: jscope.vmap(streams, axis_size=3, rng=rng)(s),
    "scan of jit": lambda s, rng: jscope.scan(jitted_step, s, 0.0, length=3, rng=rng)[1],
    "scan of scan": lambda s, rng: [rows[:, 0] for rows in jscope.scan(inner_scan, s, 0.0, length=3, rng=rng)[1]],
    "fori_loop": lambda s, rng: jscope.fori_loop(0, 3, put, s, [jnp.zeros((3, 2), jnp.uint32)] * 2, rng=rng),
    "while_loop": lambda s, rng: jscope.while_loop(
        lambda s, v: v[0] < 3,
        lambda s, v: (v[0] + 1, put(s, v[0], v[1])),
        s,
        (0, [jnp.zeros((3, 2), jnp.uint32)] * 2),
        rng=rng,
    )[1],
}


def put(scope, i, rows):
    return [row.at[i].set(drawn) for row, drawn in zip(rows, streams(scope), strict=True)]


@pytest.mark.parametrize("loop", mostly_slow(SHARING, "scan", "vmap", "while_loop"))
def test_copies_may_share_a_stream(loop):
    """One mask for all steps, and noise that differs. All split and all shared are the other choices."""

    def run(rng):
        drawn = jscope.transform(lambda s: SHARING[loop](s / "h", rng)).with_rng(KEY(0)).apply({})
        return [np.asarray(keys) for keys in drawn]

    different = {rng: [len(np.unique(rows, axis=0)) for rows in run(rng)] for rng in ("split", "shared", ("mask",))}
    assert different == {"split": [3, 3], "shared": [1, 1], ("mask",): [1, 3]}
    with pytest.raises(errors.InvalidArgumentError, match=r"rng='mask' must be \"split\", \"shared\", or the names"):
        run("mask")


def test_a_shared_stream_draws_other_keys_than_the_path_itself():
    """So that a mask inside the loop is not the one outside."""

    def model(s):
        inside = jscope.scan(lambda s, c, _: (c, streams(s)), s / "h", 0.0, length=3, rng=("mask",))[1]
        return [*inside, *streams(s / "h")]

    inside, _, outside, _ = jscope.transform(model).with_rng(KEY(0)).apply({})
    assert inside[0].tolist() != outside.tolist()


def plus(s, x):
    return x + s.get_variable("w", (4,)).sum()


MISTAKES = {
    "no tree of axes": (lambda s: jscope.vmap(plus, ({"a": 0},))(s, BATCH), r"has {'a': 0} for argument 0, .*\(3, 4\)"),
    "an axis that is no int": (lambda s: jscope.vmap(plus, "0")(s, BATCH), r"has '0' for argument 0, .*\nGive an int"),
    "a size that is no int": (
        lambda s: jscope.vmap(plus, None, axis_size=3.0)(s, BATCH),
        r"axis_size=3.0 must be a Py",
    ),
    "a negative size": (
        lambda s: jscope.vmap(plus, None, axis_size=-3)(s, BATCH),
        "axis_size=-3 must be .* at least 0",
    ),
    "a scope for the axes": (lambda s: jscope.vmap(plus, s, BATCH), r"returns a function.*`jscope.vmap\(f\)\(scope, x"),
    "a number of the stacked axis": (lambda s: jscope.vmap(plus, axis=0)(s, BATCH), "axis=0 must be the logical name"),
    "the same of layers": (
        lambda s: jscope.layers(plus, 3, axis=0)(s, BATCH),
        "layers: axis=0 must be the logical name",
    ),
    "layers by half": (lambda s: jscope.layers(plus, 1.5, scanned=False)(s, BATCH), "n=1.5 must be a Python int"),
    "fewer layers than none": (
        lambda s: jscope.layers(plus, -1, scanned=False)(s, BATCH),
        "n=-1 must be .* at least 0",
    ),
    "the number before the body": (
        lambda s: jscope.layers(3, plus)(s, BATCH),
        "n=<function plus .* must be a Python int",
    ),
    "one branch": (
        lambda s: jscope.switch(0, plus, s, BATCH),
        "switch over the root scope: the branches must be a list",
    ),
    "no auxiliary value": (
        lambda s: jscope.grad(lambda s, x: plus(s, x).sum(), has_aux=True)(s, BATCH),
        r"has_aux=True needs a function that returns a pair `\(value, aux\)`, not",
    ),
    "a number of what to differentiate by": (
        lambda s: jscope.grad(lambda s, x: plus(s, x).sum(), 0)(s, BATCH),
        "wrt=0 is not a regular expression",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
@pytest.mark.parametrize("phase", ["init", "apply"])
def test_what_a_lift_cannot_take_is_refused(case, phase):
    """In both phases, by its name, with what it should be."""
    run, message = MISTAKES[case]
    with pytest.raises(errors.InvalidArgumentError, match=message):
        jscope.init(run, KEY(0)) if phase == "init" else jscope.apply(run, {"w": jnp.ones(4)})


def test_what_is_told_of_a_body_is_its_name():
    """Where JAX puts the function into a message, not all that it is made of."""
    with pytest.raises(TypeError, match=r"^(?!.*parts=)(.|\n)*`jscope.jit` of `plus` \(.*test_arguments.py:\d+\) over"):
        jscope.apply(lambda s: jscope.jit(plus)(s, "mode"), {"w": jnp.ones(4)})


def test_shared_state_that_differs_is_explained_by_its_name():
    """With what to write instead, for a batch norm and for code of one's own."""
    norm = jscope.vmap(lambda s, x: jscope.nn.batch_norm(s, x, training=True), variables="shared")
    model = jscope.transform_with_state(lambda s, x: norm(s / "bn", x))
    x = jnp.ones((2, 3, 4))
    advice = r"share the state `bn/moving_mean`, .*`nn.batch_norm\(..., axis_name=\"batch\"\)`.*`jax.lax.pmean"
    with pytest.raises(ValueError, match=rf"(?s){advice}"):
        model.apply(*model.init(KEY(0), x), x)


DERIVATIVES = {
    "jacfwd": lambda f, s: jax.jacfwd(f)(s),
    "jvp": lambda f, s: jax.jvp(f, (s,), (s,)),
    "an int in the state": lambda f, s: jax.grad(f)(s.with_rng(None)),
}


@pytest.mark.parametrize("use", DERIVATIVES)
def test_other_derivatives_by_a_scope_name_what_to_use_too(use):
    """Whether a key or the dtype of state is what JAX finds fault with."""
    model = jscope.transform_with_state(lambda s: DERIVATIVES[use](lambda s: s.get_variable("w", ()) ** 2, s))
    with pytest.raises(TypeError, match=r"(?s)jscope: if this differentiates by a scope.*`jscope.grad` and"):
        model.with_rng(KEY(0)).apply({"w": jnp.ones(())}, {"n": jnp.int32(0)})


@pytest.mark.parametrize("use", [jax.grad, jax.value_and_grad])
@pytest.mark.parametrize("phase", ["init", "apply"])
def test_a_gradient_by_a_scope_with_a_key_names_what_to_use(use, phase):
    """JAX's own error speaks of `key<fry>`; the note, of `jscope.grad`."""
    model = lambda s: use(lambda s: s.get_variable("w", (), initializer=ONES) ** 2)(s / "a")  # noqa: E731
    with pytest.raises(TypeError, match="key<fry>") as raised:
        jscope.init(model, KEY(0)) if phase == "init" else jscope.transform(model).with_rng(KEY(0)).apply(
            {"a": {"w": 1.0}}
        )
    assert any("`jscope.grad`" in note for note in raised.value.__notes__)
