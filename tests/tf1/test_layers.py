"""TensorFlow 2.21 judges the layers: what it gives for the programs of `layer_cases.py` is recorded.

`oracle/regenerate_layers.py` records it again.
"""

from __future__ import annotations

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import tf1
from tests.crossed import mostly_slow
from tests.tf1.layer_cases import CASES, DATA, KEYS, value_of, weights_of

# JAX has 32 bits, unless it is told to have 64.
FACTS = json.loads((DATA / "layers.json").read_text(encoding="utf8").replace('"int64"', '"int32"'))
GROUPS = sorted({name.partition("/")[0] for name in CASES})


def arrays_of(name):
    """What TensorFlow computed in one case, by what it is."""
    with np.load(DATA / "layers.npz") as file:
        return {key.partition("|")[2]: file[key] for key in file.files if key.partition("|")[0] == name}


def noted(case):
    """Returns the program of a case, which notes what is compared by name."""
    facts = {}

    def program(x):
        y = case.program(tf1, x)
        shown = {key: [v.name for v in tf1.get_collection(key)] for key in KEYS if tf1.get_collection(key)}
        if "ends" in shown:
            shown["ends"] = list(tf1.contrib.slim.utils.convert_collection_to_dict("ends"))
        every = [v for key in KEYS for v in tf1.get_collection(key) if hasattr(v, "trainable")]
        variables = [[v.op.name, v.shape.as_list(), v.dtype.name, v.trainable] for v in dict.fromkeys(every)]
        updates = len(tf1.get_collection("update_ops") + tf1.get_collection("mine_ops"))
        facts.update(variables=variables, collections=shown, updates=updates)
        penalties = [jnp.asarray(loss, "float32") for loss in tf1.losses.get_regularization_losses()]
        return y, jnp.stack(penalties) if penalties else jnp.zeros(0)

    return tf1.transform_with_state(program, state=case.state), facts


@pytest.mark.parametrize("name", CASES)
def test_variables_and_collections_are_those_of_tensorflow(name):
    """Names, order, shapes, dtypes, trainability, collections and the number of updates; in `init` and in `apply`."""
    case = CASES[name]
    model, facts = noted(case)
    specs = model.specs(case.xs()[0])
    assert facts == FACTS[name]
    recorded = dict.fromkeys(path.partition("/part_")[0] for path, *_ in FACTS[name]["variables"])
    assert sorted(specs.flat()) == sorted(recorded)
    params, state = values_of(specs)
    jax.eval_shape(model.apply, params, state, case.xs()[0])
    assert facts == FACTS[name]


def values_of(specs):
    return (
        jscope.tree.map_with_path(lambda path, spec: value_of(path, spec.shape, spec.dtype), tree.shape_dtype())
        for tree in (specs.params, specs.state)
    )


def run(case):
    """Returns a function that computes what was recorded of a case, and its arguments."""
    model, _ = noted(case)
    params, state = values_of(model.specs(case.xs()[0]))

    def loss(params, x, state):
        (y, penalties), state = model.apply(params, state, x)
        return (y * weights_of(y)).sum(), (y, penalties, state)

    def compute(params, state, xs):
        (grads, dx), (y, penalties, after) = jax.grad(loss, (0, 1), has_aux=True)(params, xs[0], state)
        out = {"y": y, "penalties": penalties, "d x": dx}
        out |= {f"d {path}": each for path, each in jscope.tree.flatten(grads).items()}
        for x in xs[1:]:
            after = loss(params, x, after)[1][2]
        return out | {f"after {path}": each for path, each in jscope.tree.flatten(after).items()}

    return compute, (params, state, case.xs())


@pytest.mark.parametrize("group", mostly_slow(GROUPS, *(set(GROUPS) - {"contrib", "contrib norm", "network", "slim"})))
def test_layers_compute_what_tensorflow_computes(group):
    """Outputs, gradients, penalties, and the state after three steps."""
    runs = {name: run(case) for name, case in CASES.items() if name.partition("/")[0] == group}
    # One program for all of them: to compile takes longer than to run.
    together = jax.jit(lambda given: {name: compute(*given[name]) for name, (compute, _) in runs.items()})
    for name, found in together({name: given for name, (_, given) in runs.items()}).items():
        for what, value in arrays_of(name).items():
            if group == "parts" and what == "penalties":
                # TensorFlow penalizes each part of a variable by itself, which comes to the same.
                found[what], value = found[what].sum(), value.sum()
            assert found[what].shape == value.shape, (name, what)
            scale = max(1.0, np.abs(value).max(initial=0))
            np.testing.assert_allclose(found[what], value, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{name}: {what}")


LAYERS = {
    "conv2d": lambda x, form: tf1.layers.conv2d(x, 4, 3, (2, 1), "same", form),
    "conv2d_transpose": lambda x, form: tf1.layers.conv2d_transpose(x, 4, 3, (2, 1), "same", form),
    "separable_conv2d": lambda x, form: tf1.layers.separable_conv2d(x, 4, 3, 1, "same", form),
    "max_pooling2d": lambda x, form: tf1.layers.max_pooling2d(x, 2, 1, "same", form),
    "average_pooling2d": lambda x, form: tf1.layers.average_pooling2d(x, 2, 2, "valid", form),
    "batch_normalization": lambda x, form: tf1.layers.batch_normalization(
        x, 1 if form == "channels_first" else -1, training=True
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_channels_first_is_channels_last_with_other_axes(name):
    """TensorFlow has no such convolutions on CPUs, so this is not compared with it."""
    last, first = (
        tf1.transform_with_state(lambda x, form=form: LAYERS[name](x, form))
        for form in ("channels_last", "channels_first")
    )
    x = jax.random.normal(jax.random.key(1), (2, 5, 6, 3))
    params, state = last.init(jax.random.key(0), x)
    turned = first.apply(params, state, jnp.moveaxis(x, -1, 1))
    straight = last.apply(params, state, x)
    np.testing.assert_allclose(jnp.moveaxis(turned[0], 1, -1), straight[0], rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), turned[1], straight[1])


@pytest.mark.parametrize("norm", [tf1.layers.batch_normalization, tf1.contrib.layers.batch_norm])
@pytest.mark.parametrize("flag", [True, False])
def test_batch_norm_takes_a_flag_that_only_the_running_program_knows(norm, flag):
    """It gives what the flag would have given that was known."""
    name = "training" if norm is tf1.layers.batch_normalization else "is_training"
    model = tf1.transform_with_state(lambda x, flag: norm(x, **{name: flag}))
    x = jax.random.normal(jax.random.key(1), (6, 3))
    params, state = model.init(jax.random.key(0), x, flag)
    traced = jax.jit(model.apply)(params, state, x, jnp.asarray(flag))
    known = model.apply(params, state, x, flag)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), traced, known)


@pytest.mark.parametrize("dropped", [tf1.layers.dropout, tf1.contrib.layers.dropout])
def test_dropout_draws_anew_each_time(dropped):
    """Two layers of a call drop other elements; with one seed they do not, with a key or without."""
    name = "training" if dropped is tf1.layers.dropout else "is_training"

    def f(x, seed):
        return [dropped(x, 0.5, seed=seed, **{name: True}) for _ in range(2)]

    model = tf1.transform(f).with_rng(jax.random.key(0))
    one, other = model.apply({}, jnp.ones((4, 100)), None)
    assert set(np.unique(one)) == {0.0, 2.0}
    assert (one != other).any()
    for keyed in (model, tf1.transform(f)):
        one, other = keyed.apply({}, jnp.ones((4, 100)), 3)
        assert (one == other).all()


def test_a_layer_made_once_serves_many_calls():
    """It remembers nothing of one call in the next, not even where an error ended it."""
    layer = tf1.layers.Dense(3, name="d")

    def f(x, fail=False):
        with tf1.variable_scope("s"):
            y = layer(x)
        if fail:
            raise KeyError("here")
        return layer(y @ jnp.ones((3, 2)))

    model = tf1.transform(f)
    with pytest.raises(KeyError):
        model.init(jax.random.key(0), jnp.ones((1, 2)), fail=True)
    params = model.init(jax.random.key(0), jnp.ones((1, 2)))
    assert jscope.tree.names(params) == ["s/d/kernel", "s/d/bias"]
    with jax.checking_leaks():
        jax.jit(model.apply)(params, jnp.ones((1, 2)))
    assert not layer.built
    assert layer.variables == []


def test_layers_work_in_loops_of_jax():
    """A body that JAX traces twice creates its variables once; a layer that was made outside of it is one layer."""
    layer = tf1.layers.Dense(2, name="outer")

    runs = []

    def f(x):
        def body(carry, _):
            runs.append(carry)
            x, scale = carry
            return (jnp.asarray(layer(x) + tf1.layers.dense(x, 2)), scale * 0.5), None

        # The scale goes in as an integer and comes out as a float, so that JAX runs the body once more.
        return jax.lax.scan(body, (jnp.asarray(x), 1), None, length=3)[0][0]

    model = tf1.transform(f)
    params = model.init(jax.random.key(0), jnp.ones((1, 2)))
    assert len(runs) == 2
    assert sorted(jscope.tree.names(params)) == ["dense/bias", "dense/kernel", "outer/bias", "outer/kernel"]
    out = jax.jit(model.apply)(params, jnp.ones((1, 2)))
    y = jnp.ones((1, 2))
    for _ in range(3):
        y = y @ (params["outer"]["kernel"] + params["dense"]["kernel"])
    np.testing.assert_allclose(out, y, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_variables_have_the_dtype_of_the_first_input(dtype):
    """But those of batch norm have 32 bits, in which it computes; the output is what the input was."""

    def f(x):
        return tf1.layers.batch_normalization(tf1.layers.dense(x, 3, name="d"), training=True, name="n")

    model = tf1.transform_with_state(f)
    x = jnp.ones((4, 2), dtype)
    specs = model.specs(x)
    assert {path: str(spec.dtype) for path, spec in specs.flat().items() if path.startswith("d")} == {
        "d/kernel": dtype,
        "d/bias": dtype,
    }
    assert {str(spec.dtype) for path, spec in specs.flat().items() if path.startswith("n")} == {"float32"}
    assert model.apply(*model.init(jax.random.key(0), x), x)[0].dtype == dtype


def test_what_a_layer_tells_of_itself():
    """Its variables, penalties and writes belong to the running call."""

    def f(x):
        layer = tf1.layers.BatchNormalization(gamma_regularizer=tf1.contrib.layers.l2_regularizer(0.1))
        assert (layer.name, layer.built, layer.variables) == ("batch_normalization_1", False, [])
        with pytest.raises(ValueError, match="No name available for layer scope"):
            layer.scope_name  # noqa: B018
        layer(x, training=True)
        assert (layer.scope_name, layer.built, layer.dtype.name) == ("batch_normalization", True, "float32")
        assert [v.op.name.rpartition("/")[2] for v in layer.variables] == [
            *("gamma", "beta"),
            *("moving_mean", "moving_variance"),
        ]
        assert [len(each) for each in (layer.trainable_variables, layer.losses, layer.updates)] == [2, 1, 2]

    tf1.transform_with_state(f).init(jax.random.key(0), jnp.ones((4, 2)))


WRONG = {
    "renorm": (lambda x: tf1.layers.batch_normalization(x, renorm=True), "`renorm` of batch normalization"),
    "rank": (lambda x: tf1.layers.conv2d(x, 2, 3), "expected min_ndim=4, found ndim=2"),
    "activation": (lambda x: tf1.layers.dense(x, 2, "rleu"), "Unknown activation function: rleu"),
    "rank of a pool": (lambda x: tf1.layers.max_pooling2d([x], 2, 1), "expected ndim=4, found ndim=3"),
    "rank of vectors": (lambda x: tf1.layers.dense(x[0], 2), r"expected min_ndim=2, found ndim=1. .*: \(2,\)"),
    "sizes of a pool": (lambda x: tf1.layers.max_pooling2d(x, 2, [1, 2, 3]), "`strides` argument must be a tuple of 2"),
    "sizes": (lambda x: tf1.layers.conv2d(x, 2, [1, 2, 3]), "must be a tuple of 2 integers"),
    "format": (lambda x: tf1.layers.conv2d(x, 2, 3, data_format="NCHW"), "`data_format` argument must be one of"),
    "option": (lambda x: tf1.layers.Dense(2, activaton=None)(x), "`Dense` has no argument `activaton`"),
    "strides": (lambda x: tf1.layers.max_pooling2d(x, 2, None), "`strides` must not be None"),
    "debias": (
        lambda x: tf1.contrib.layers.batch_norm(x, zero_debias_moving_mean=True, is_training=x[0, 0] > 0.0),
        "`zero_debias_moving_mean` of `batch_norm` needs an `is_training` that is known",
    ),
    "not decorated": (
        lambda x: tf1.contrib.slim.arg_scope([len], a=1).__enter__(),
        "not decorated with @add_arg_scope",
    ),
    "scope and defaults": (lambda x: tf1.contrib.slim.arg_scope({}, a=1).__enter__(), "kwargs must be empty"),
    "outputs": (lambda x: tf1.contrib.slim.fully_connected(x, 2.5), "num_outputs type"),
    "training": (lambda x: tf1.layers.batch_normalization(x, training="yes"), "`training` must be a bool"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_what_is_wrong(name):
    """Those of TensorFlow begin with its sentence."""
    function, message = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=message):
        jscope.specs(tf1.scoped(function), jnp.ones((4, 2)))


def test_scopes_do_without_layers():
    """What they need is not imported before it is used."""
    code = "import sys; from jscope import tf1; tf1.contrib; print([m for m in sys.modules if m.startswith('jscope')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "jscope.tf1._scopes" in loaded
    for room in ("jscope.nn", "jscope.tf1.layers", "jscope.tf1.contrib.layers", "jscope.tf1._ops"):
        assert f"'{room}" not in loaded


@pytest.mark.parametrize("lift", ["plain", "remat", "jit", "scan"])
def test_layers_under_lifts(lift):
    """A block of layers has the names, the values and the state that it has without the lift."""

    def block(x):
        y = tf1.layers.dense(x, 3, activation=jnp.tanh, name="d")
        return jnp.asarray(tf1.layers.batch_normalization(y, training=True, name="n"))

    def f(x):
        if lift == "plain":
            return block(x)
        scope = tf1.current_scope()
        if lift == "scan":
            return jscope.scan(lambda s, c, _: (tf1.scoped(block)(s, c), None), scope, x, length=1)[0]
        return getattr(jscope, lift)(tf1.scoped(block))(scope, x)

    x = jax.random.normal(jax.random.key(1), (4, 3))
    plain, lifted = tf1.transform_with_state(block), tf1.transform_with_state(f)
    params, state = plain.init(jax.random.key(0), x)
    one = jax.tree.map(lambda leaf: leaf[None], (params, state)) if lift == "scan" else (params, state)
    assert jax.tree.map(jnp.shape, lifted.init(jax.random.key(0), x)) == jax.tree.map(jnp.shape, one)
    expected, found = plain.apply(params, state, x), jax.jit(lifted.apply)(*one, x)
    squeezed = jax.tree.map(lambda leaf: leaf[0], found[1]) if lift == "scan" else found[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), (found[0], squeezed), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: tf1.layers.dense(x), "missing a required argument: 'units'"),
        (lambda x: tf1.layers.dense(units=3), "missing a required argument: 'inputs'"),
        (lambda x: tf1.layers.dense(x, 3, unit=4), "unexpected keyword argument 'unit'"),
        (lambda x: tf1.layers.dense(x, 3, units=4), "multiple values for argument 'units'"),
        (lambda x: tf1.layers.flatten(x, "f", "channels_last", 3), "too many positional arguments"),
    ],
)
def test_a_wrong_argument_of_a_layer_is_named(call, message):
    """As Python names it, though the function has no code of its own."""
    with pytest.raises(TypeError, match=message):
        tf1.transform(call).init(jax.random.key(0), jnp.ones((2, 4)))


def test_mixed_precision_by_a_getter():
    """A custom getter that casts: variables keep 32 bits, layers compute in the dtype of the input."""

    def cast(getter, *args, **kwargs):
        return tf1.cast(getter(*args, **kwargs), "bfloat16")

    def f(x):
        with tf1.variable_scope("s", custom_getter=cast, dtype="float32"):
            return tf1.layers.dense(x, 3), tf1.contrib.layers.fully_connected(x, 3)

    model, x = tf1.transform(f), jnp.ones((2, 4), "float32")
    params = model.init(jax.random.key(0), x)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(params)} == {"float32"}
    assert jscope.tree.names(params)[2:] == ["s/fully_connected/weights", "s/fully_connected/biases"]
    assert [str(y.dtype) for y in model.apply(params, x)] == ["float32"] * 2
