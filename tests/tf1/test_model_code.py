"""What old model files do that no single operation shows: batch norms by hand, lists that loops write, absent parts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import tf1 as tf
from tests.crossed import mostly_slow
from tests.tf1.tools import KEY

X = jnp.arange(8.0).reshape(4, 2)


def batch_norm(x, training):
    """As hundreds of files have it: averages of two tensors, moved in one branch and read in the other."""
    with tf.variable_scope("bn"):
        mean, variance = tf.nn.moments(x, [0])
        average = tf.train.ExponentialMovingAverage(0.5)
        moved = tf.cond(training, lambda: average.apply([mean, variance]), lambda: tf.no_op())
        with tf.control_dependencies([moved]):
            use = tf.cond(
                training, lambda: (mean, variance), lambda: (average.average(mean), average.average(variance))
            )
        return tf.nn.batch_normalization(x, *use, None, None, 1e-3)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_of_a_known_cond_both_branches_create_and_one_writes(training, compiled):
    """The averages are called as TensorFlow calls them, and stay as they are where nothing trains."""
    model = tf.transform_with_state(lambda x: batch_norm(x, tf.constant(training)))
    _, state = model.init(KEY, X)
    home = "bn/bn/moments/Squeeze"
    ends = ["/ExponentialMovingAverage", "_1/ExponentialMovingAverage"]
    assert jscope.tree.names(state) == [home + end for end in ends]
    out, after = (jax.jit(model.apply) if compiled else model.apply)({}, state, X)
    mean, variance = (jscope.tree.flatten(after)[home + end] for end in ends)
    np.testing.assert_allclose(mean, X.mean(0) / 2 if training else 0.0)
    np.testing.assert_allclose(variance, X.var(0) / 2 if training else 0.0)
    x = np.asarray(X)
    shown = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3) if training else x / np.sqrt(1e-3)
    np.testing.assert_allclose(out, shown, rtol=1e-5)


def test_the_branch_that_is_not_taken_may_not_fit():
    """Shapes are known here, so it may fail where TensorFlow's would not be run."""
    model = tf.transform(lambda x: tf.cond(tf.equal(tf.shape(x)[0], 1), lambda: tf.squeeze(x, [0]), lambda: x[0]))
    assert model.apply({}, X).tolist() == [0.0, 1.0]


def test_the_branch_that_is_not_taken_may_not_create_twice():
    """Whatever the shapes are, in TensorFlow's graph there would be both."""

    def twice():
        return tf.get_variable("w", [2]) + tf.get_variable("w", [2])

    model = tf.transform(lambda x: tf.cond(tf.constant(True), lambda: x, twice))
    with pytest.raises(ValueError, match="Variable w already exists"):
        model.init(KEY, X)
    fine = tf.transform(lambda x: x * tf.get_variable("v", [2]))
    assert jscope.tree.names(fine.init(KEY, X)) == ["v"]


def test_what_an_idle_branch_does_has_no_effect(capfd):
    """It prints nothing, runs a loop once, and what it writes, sows and puts into collections is undone."""
    steps = []

    def idle(count):
        scope = tf.current_scope()
        scope.assign("count", count.value() + 1.0)
        scope.sow("seen", count.value(), jnp.add)
        tf.add_to_collection("losses", count * 2.0)
        tf.print("idle", tf.Print(count, [count], "idle"))
        tf.while_loop(lambda _: count < 9.0, lambda _: steps.append(1) or count.assign_add(1.0), [0.0])
        return tf.get_variable("late", [], initializer=tf.ones_initializer()) * 1.0

    def model():
        count = tf.get_variable("count", [], initializer=tf.zeros_initializer(), trainable=False)
        tf.current_scope().sow("seen", jnp.float32(7.0), jnp.add)
        return tf.cond(tf.constant(False), lambda: idle(count), lambda: 1.0 * count), len(tf.get_collection("losses"))

    model = tf.transform_with_state(model)
    params, state = model.init(KEY)
    assert jscope.tree.names(params) == ["late"]
    for apply in (model.apply, jax.jit(model.apply)):
        steps.clear()
        assert apply(params, state) == ((0.0, 0), {"count": 0.0})
        assert len(steps) == 1
    assert "idle" not in capfd.readouterr().out
    ((_, sown), _) = model.capture("seen").apply(params, state)
    assert sown == {"seen": 7.0}


@pytest.mark.parametrize("pred", [True, False])
def test_what_is_drawn_does_not_depend_on_what_is_known(pred):
    """In a branch, and after it."""

    def model(pred):
        inside = tf.cond(pred, lambda: tf.random_normal([]), lambda: tf.random_normal([]) + 0.0 * tf.random_normal([]))
        return inside, tf.random_normal([])

    model = tf.transform(model).with_rng(KEY)
    known, eager = model.apply({}, pred), model.apply({}, jnp.array(pred))
    assert known == eager == jax.jit(model.apply)({}, jnp.array(pred)) == model.apply({}, not pred)


def test_two_tensors_of_one_name_have_no_averages():
    """They would share one."""

    def model(x):
        tf.train.ExponentialMovingAverage(0.5).apply([tf.reduce_mean(x), tf.reduce_mean(x * x)])

    with pytest.raises(ValueError, match=r"both called `Mean:0`.\nGive each the name that it has in TensorFlow"):
        tf.transform_with_state(model).init(KEY, X)


def test_a_shape_equals_a_list():
    """As it equals a tuple, on either side, and it has one hash."""
    shape = tf.TensorShape([2, 3])
    assert shape == [2, 3] == shape
    assert shape != [2, 4]
    assert shape.__ne__([2, 3]) is False
    assert {shape: 1}[(2, 3)] == 1


def powers(x, steps, **options):
    """The powers of `x` in a `TensorArray`, and how many there are."""
    array = tf.TensorArray(tf.float32, name="powers", **options)
    start = [tf.constant(0), tf.ones_like(x), array]
    body = lambda i, power, array: (i + 1, power * x, array.write(i, power))  # noqa: E731
    array = tf.while_loop(lambda i, *_: i < steps, body, start)[2]
    return array.stack(), array.size()


@pytest.mark.parametrize("known", [True, False])
def test_a_loop_writes_a_tensor_array(known):
    """Compiled or not, and whether or not it is known how often the loop runs."""
    model = tf.transform(lambda x, steps: powers(x, 3 if known else steps, size=4))
    for apply in (model.apply, jax.jit(model.apply)):
        stacked, size = apply({}, jnp.array([2.0, 3.0]), 3)
        assert stacked.tolist() == [[1, 1], [2, 3], [4, 9], [0, 0]]
        assert size == 4


def test_a_tensor_array_grows_where_the_index_is_known():
    """Also under `jit` and `grad`; where it is not known it says what to do, as JAX would write nothing."""
    model = tf.transform(lambda x, steps: powers(x, steps, size=0, dynamic_size=True)[0])
    assert model.apply({}, jnp.array([2.0]), 3).shape == (3, 1)
    fixed = jax.jit(lambda x: model.apply({}, x, 3).sum())
    np.testing.assert_allclose(jax.grad(fixed)(jnp.array([2.0])), [1 + 2 * 2.0])
    with pytest.raises(ValueError, match=r"not known at which index\.\nGive it the `size`"):
        jax.jit(model.apply)({}, jnp.array([2.0]), 3)


def test_a_tensor_array_says_what_it_cannot_hold():
    """Beyond its end, of another shape, or nothing at all."""
    array = tf.TensorArray(tf.float32, 2)
    with pytest.raises(ValueError, match="write to index 2 but array is not resizeable and size is: 2"):
        array.write(2, [1.0])
    with pytest.raises(ValueError, match=r"have shape \(1,\) cannot take one of shape \(2,\)"):
        array.write(0, [1.0]).write(1, [1.0, 2.0])
    with pytest.raises(ValueError, match="`stack` of a TensorArray to which nothing was written"):
        array.stack()
    with pytest.raises(ValueError, match="size 2 cannot hold the 3 rows"):
        array.unstack([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="size 0 cannot hold the 1 rows"):
        tf.TensorArray(tf.float32, 0).unstack([1.0])
    for index in (-1, 2):
        with pytest.raises(ValueError, match=f"read from index {index} but array size is: 2"):
            array.write(0, 1.0).read(index)
    with pytest.raises(ValueError, match=r"read from index .* but array size is: 2"):
        array.write(0, 1.0).gather([0, 2])
    with pytest.raises(ValueError, match="write to index -1, which is negative"):
        array.write(-1, 1.0)
    with pytest.raises(TypeError, match=r"of dtype float32 cannot take a tensor of dtype int32: `tf\.cast` it"):
        array.write(0, tf.constant(1))
    with pytest.raises(ValueError, match=r"must have one shape here, but `lengths` is \(1, 2\)"):
        array.split([1.0, 2.0, 3.0], [1, 2])
    assert np.asarray(tf.TensorArray(tf.int32, 2, element_shape=[1]).write(1, [5]).stack()).tolist() == [[0], [5]]


@pytest.mark.parametrize(
    ("draw", "bounds"),
    [
        pytest.param(lambda x: tf.image.random_brightness(x, 0.1) - x, (-0.1, 0.1), marks=pytest.mark.slow),
        (lambda x: tf.image.random_contrast(x, 0.5, 0.9) - tf.image.adjust_contrast(x, 0.9), (-0.4, 0.4)),
        pytest.param(
            lambda x: tf.image.rgb_to_hsv(tf.image.random_saturation(x, 0.5, 0.9))[..., 1],
            (0.2, 0.5),
            marks=pytest.mark.slow,
        ),
        (lambda x: tf.image.rgb_to_hsv(tf.image.random_hue(x, 0.2))[..., 0] - 0.25, (-0.2, 0.2)),
    ],
)
def test_colors_change_at_random_within_bounds(draw, bounds):
    """Others with another key, and as far as one says."""
    image = tf.image.hsv_to_rgb(jnp.array([[[0.25, 0.5, 0.8], [0.25, 0.5, 0.7]]]))
    model = tf.transform(lambda: draw(tf.identity(image)))
    one, again, other = (np.asarray(model.with_rng(jax.random.key(seed)).apply({})) for seed in (0, 0, 1))
    assert (one == again).all()
    assert not np.allclose(one, other, atol=1e-5)
    assert (one > bounds[0] - 1e-5).all()
    assert (one < bounds[1] + 1e-5).all()


def test_colors_cannot_change_between_bounds_in_the_wrong_order():
    """As in TensorFlow."""
    with pytest.raises(ValueError, match=r"between 0\.9 and 0\.5"):
        tf.transform(lambda: tf.image.random_contrast(jnp.ones((2, 2, 3)), 0.9, 0.5)).apply({})


def test_what_old_loops_catch_is_there():
    """The classes of `tf.errors`, of which an assertion raises one."""
    with pytest.raises(tf.errors.OpError) as caught:
        tf.transform(lambda: tf.assert_equal(1, 2)).apply({})
    assert isinstance(caught.value, tf.errors.InvalidArgumentError)
    assert not isinstance(caught.value, tf.errors.OutOfRangeError)


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda: tf.contrib.seq2seq.dynamic_decode(None), "a loop over its steps"),
        (lambda: tf.metrics.accuracy([1], [1]), "Compute the value of a batch"),
        (lambda: tf.train.list_variables("x"), r"`jscope\.checkpoint\.list_variables`"),
        (lambda: tf.enable_eager_execution(), "Leave the call out"),
        (lambda: tf.image.non_max_suppression(None, None, 1), "choose outside"),
        (lambda: tf.contrib.data.map_and_batch(None), "pass arrays to"),
    ],
)
def test_what_is_not_there_says_what_to_use(call, advice):
    """When it is called: to name it, or to import it, is no error."""
    from jscope.tf1.contrib.data import prefetch_to_device

    assert "does not have" in repr(prefetch_to_device)
    with pytest.raises(AttributeError, match=rf"is not in `jscope\.tf1`.\n.*{advice}"):
        call()


def test_keras_has_its_initializers_only():
    """Old files give them to `tf.layers`. What Keras draws is narrower than what TensorFlow does, by default."""
    keras = tf.keras.initializers
    normal = {"he_normal": 2 / 50, "lecun_normal": 1 / 50, "glorot_normal": 2 / 150, "VarianceScaling": 1 / 50}
    uniform = {"he_uniform": 2 / 50, "lecun_uniform": 1 / 50, "glorot_uniform": 2 / 150, "RandomUniform": 0.05**2 / 3}
    cut = {"TruncatedNormal": 0.77 * 0.05**2, "truncated_normal": 0.77 * 0.05**2}
    wide = {"RandomNormal": 0.05**2, "random_normal": 0.05**2, "normal": 0.05**2, "uniform": 0.05**2 / 3}
    for name, variance in (normal | uniform | cut | wide).items():
        made = np.asarray(getattr(keras, name)(seed=0)([50, 100]))
        np.testing.assert_allclose(made.var(), variance, rtol=0.08, err_msg=name)
    assert keras.Constant(2.0)([2]).tolist() == [2.0, 2.0] == [2 * x for x in keras.Ones()([2]).tolist()]
    model = tf.transform(lambda x: tf.layers.dense(x, 2, kernel_initializer=keras.he_normal(), name="d"))
    assert model.init(KEY, X)["d"]["kernel"].any()
    assert tf.contrib.keras.initializers is keras
    with pytest.raises(AttributeError, match=r"`tf.contrib.keras.layers.Dense` is not in"):
        tf.contrib.keras.layers.Dense(3)
    with pytest.raises(AttributeError, match=r"`tf.keras.layers.Dense` is not in"):
        tf.keras.layers.Dense(3)


def test_files_find_what_contrib_has_of_tensorflow_itself():
    """`tf.contrib.framework.sort`, the home of its variables; and scales of losses, which say what to do instead."""
    from jscope.tf1.contrib.framework import argsort, model_variable, sort
    from jscope.tf1.contrib.framework.python.ops import variables
    from jscope.tf1.contrib.framework.python.ops.variables import get_or_create_global_step
    from jscope.tf1.contrib.mixed_precision import LossScaleOptimizer

    ordered, order = tf.transform(lambda x: (sort(x), argsort(x))).apply({}, jnp.array([3.0, 1.0]))
    assert (ordered.tolist(), order.tolist()) == ([1.0, 3.0], [1, 0])
    assert variables.model_variable is model_variable
    assert get_or_create_global_step is tf.train.get_or_create_global_step
    with pytest.raises(AttributeError, match="divide its gradients by it"):
        LossScaleOptimizer(None)


def test_switches_between_the_versions_of_tensorflow_do_nothing():
    """Old programs begin with them."""
    assert tf.disable_v2_behavior() is tf.disable_eager_execution() is None
    assert tf.executing_eagerly() is False
    assert tf.test.is_gpu_available() is (jax.default_backend() == "gpu")


def test_operations_take_tuples_whose_parts_have_names():
    """As lists of tensors: the state of an LSTM cell, say."""
    state = tf.nn.rnn_cell.LSTMStateTuple
    model = tf.transform(lambda c, h: tf.concat(state(c, h), 1) + tf.add_n(list(state(c, h)))[:, :1])
    assert jax.jit(model.apply)({}, jnp.ones((2, 1)), jnp.zeros((2, 1))).tolist() == [[2.0, 1.0]] * 2


def test_what_an_initializer_returns_in_a_model_is_a_tensor():
    """In `init` and `apply`, with a shape that was computed; outside of models it is an array."""

    def f(x):
        start = tf.zeros_initializer()(tf.stack([tf.shape(x)[0], 3]), tf.float32)
        start.get_shape().assert_has_rank(2)
        return start + x

    model = tf.transform(f)
    assert jax.jit(model.apply)(model.init(KEY, jnp.ones((2, 1))), jnp.ones((2, 1))).tolist() == [[1.0] * 3] * 2
    assert isinstance(tf.zeros_initializer()([2]), jax.Array)


def test_the_condition_of_slim_gives_tensors():
    """Also where only the running program knows it."""
    choose = tf.contrib.layers.utils.smart_cond
    model = tf.transform(lambda x: [*choose(x[0] > 0.0, lambda: x, lambda: -x).get_shape().as_list(), x])
    assert jax.jit(model.apply)({}, jnp.ones(2))[0] == 2


def test_the_name_scope_has_a_name():
    """Without the slash at its end; empty outside of all."""
    with_scopes = []

    def f():
        with_scopes.append(tf.contrib.framework.get_name_scope())
        with tf.variable_scope("a"), tf.name_scope("b"):
            with_scopes.append(tf.contrib.framework.get_name_scope())

    tf.transform(f).apply({})
    assert with_scopes == ["", "a/b"]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_placeholder_with_a_default_is_its_default(compiled):
    """Nothing is fed here. What is known of the default stays known, and gradients go through it."""

    def model(x):
        training = tf.placeholder_with_default(False, [], "training")
        rate = tf.placeholder_with_default(tf.constant(0.5), shape=[])
        scale = tf.placeholder_with_default(tf.get_variable("scale", [2]), [None], name="scale")
        assert scale.name == "scale:0"
        # Of a branch that is known not to count, only what it creates is there.
        return tf.cond(training, lambda: x[:1], lambda: rate * x * tf.identity(scale))

    model = tf.transform(model)
    apply = jax.jit(model.apply) if compiled else model.apply
    params = {"scale": jnp.array([2.0, 4.0])}
    np.testing.assert_allclose(apply(params, X), np.asarray(X) * [1.0, 2.0])
    grads = jax.grad(lambda params: apply(params, X).sum())(params)
    np.testing.assert_allclose(grads["scale"], 0.5 * X.sum(0))
    with pytest.raises(ValueError, match="not compatible with"):
        tf.transform(lambda: tf.placeholder_with_default(tf.zeros([2]), [3])).apply({})


@pytest.mark.parametrize("three", [3.0, np.float32(3), np.float64(3)])
def test_whole_floats_are_dimensions(three):
    """`channels / groups`, or a multiplier that is 1.0, as TensorFlow 1 took them. Fractions are errors."""

    def model(x):
        w = tf.get_variable("w", [three, 2])
        assert w.shape.as_list() == [3, 2]
        x = tf.contrib.slim.separable_conv2d(x, None, [1, 1], depth_multiplier=three, scope="a")
        return tf.layers.separable_conv2d(x, 2, 1, depth_multiplier=three, name="b"), w

    model = tf.transform(model)
    params = jscope.tree.flatten(model.init(KEY, jnp.ones((1, 2, 2, 2))))
    shapes = {name: w.shape for name, w in params.items() if "depthwise" in name}
    assert shapes == {"a/depthwise_weights": (1, 1, 2, 3), "b/depthwise_kernel": (1, 1, 6, 3)}
    with pytest.raises(TypeError, match="Dimension value must be integer"):
        tf.transform(lambda: tf.get_variable("w", [three / 2])).init(KEY)
    fraction = tf.transform(lambda x: tf.layers.separable_conv2d(x, 2, 1, depth_multiplier=1.5))
    with pytest.raises(TypeError, match=r"got value '1\.5'"):
        fraction.init(KEY, jnp.ones((1, 2, 2, 2)))


DRAWN = {
    "normal": lambda n: tf.random_normal_initializer(n(0.5), stddev=n(0.25)),
    "truncated": lambda n: tf.truncated_normal_initializer(stddev=n(0.25)),
    "uniform": lambda n: tf.random_uniform_initializer(-n(0.25), n(0.25)),
    "scaling": lambda n: tf.variance_scaling_initializer(scale=n(0.25)),
    "contrib": lambda n: tf.contrib.layers.variance_scaling_initializer(n(0.25)),
    "orthogonal": lambda n: tf.orthogonal_initializer(gain=n(0.25)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_numbers_of_initializers_may_be_computed_by_operations(name):
    """`stddev=tf.rsqrt(...)` gives the values of the number that it is."""
    make = DRAWN[name]
    by_tensor = tf.transform(lambda: tf.get_variable("w", [3, 4], initializer=make(lambda x: tf.rsqrt(1 / x**2))))
    by_number = tf.transform(lambda: tf.get_variable("w", [3, 4], initializer=make(float)))
    np.testing.assert_array_equal(by_tensor.init(KEY)["w"], by_number.init(KEY)["w"])


def test_a_number_of_an_initializer_that_depends_on_data_is_refused():
    """It has to be known, and the message says of what."""
    model = tf.transform(lambda x: tf.get_variable("w", [3], initializer=tf.random_normal_initializer(stddev=x[0, 1])))
    with pytest.raises(jscope.errors.InvalidArgumentError, match="`stddev` of `normal` must be a finite number"):
        model.init(KEY, X)


def test_sequences_are_embedded():
    """The variable's name and place are those of TensorFlow 1; `reuse` needs no sizes."""
    layers = tf.contrib.layers
    ids = np.array([[0, 4, 1]])

    def model(ids):
        first = layers.embed_sequence(ids, 5, 2, initializer=tf.ones_initializer(), regularizer=tf.nn.l2_loss)
        again = layers.embed_sequence(ids, 5, 2, scope="words")
        shared = layers.embed_sequence(ids, scope="words", reuse=True)
        assert [v.name for v in tf.model_variables()] == ["EmbedSequence/embeddings:0", "words/embeddings:0"]
        return first, again - shared, tf.losses.get_regularization_loss()

    model = tf.transform(model)
    params = model.init(KEY, ids)
    first, same, penalty = model.apply(params, ids)
    assert first.tolist() == [[[1.0, 1.0]] * 3]
    assert not same.any()
    assert penalty == 5.0
    table = params["words"]["embeddings"]
    np.testing.assert_array_equal(
        tf.transform(lambda: layers.embed_sequence([3], 5, 2)).apply({"EmbedSequence": {"embeddings": table}}),
        table[3:4],
    )
    with pytest.raises(ValueError, match="Must specify vocab size and embedding dimension"):
        tf.transform(lambda: layers.embed_sequence(ids, 5)).init(KEY)


def test_points_are_where_the_features_are():
    """Of one large feature, its row and column, from -1 to 1; the layout must be one of two."""
    features = np.zeros((1, 5, 3, 2), "float32")
    features[0, 4, 1, 0] = features[0, 0, 2, 1] = 100.0
    points = tf.transform(lambda x: tf.contrib.layers.spatial_softmax(x))
    params = points.init(KEY, features)
    assert jscope.tree.names(params) == ["spatial_softmax/temperature"]
    np.testing.assert_allclose(points.apply(params, features), [[1.0, 0.0, -1.0, 1.0]], atol=1e-6)
    with pytest.raises(ValueError, match="data_format has to be either NCHW or NHWC"):
        tf.transform(lambda x: tf.contrib.layers.spatial_softmax(x, data_format="NWHC")).init(KEY, features)


def newer_parts(x):
    """Points, embedded words, a fused cell, a default and a counter: with and without variables, and with state."""
    layers = tf.contrib.layers
    with tf.variable_scope(tf.get_variable_scope(), reuse=tf.AUTO_REUSE):
        tf.get_variable("n", [], trainable=False, initializer=tf.zeros_initializer()).assign_add(1.0)
        rate = tf.placeholder_with_default(tf.constant(0.5), [])
        points = layers.spatial_softmax(tf.reshape(x, [1, 2, 2, 1]), name="points")
        start = tf.random_normal_initializer(stddev=tf.rsqrt(4.0))
        words = layers.embed_sequence([[0, 1]], 4.0, 2, scope="words", initializer=start)
        cell = tf.contrib.rnn.LSTMBlockFusedCell(2, name="cell")
        outs, state = cell(tf.transpose(words, [1, 0, 2]), dtype=words.dtype, sequence_length=[1])
    total = (
        tf.reduce_sum(points) + tf.reduce_sum(tf.cast(outs, tf.float32)) + tf.reduce_sum(tf.cast(state.c, tf.float32))
    )
    return rate * x + tf.cast(total, x.dtype)


LIFTS = {
    "plain": lambda f, s, x: f(s, x),
    "jit": lambda f, s, x: jscope.jit(f)(s, x),
    "remat": lambda f, s, x: jscope.remat(f)(s, x),
    "cond": lambda f, s, x: jscope.cond(x.sum() > -99, f, lambda s, x: f(s, x), s, x),
    "scan": lambda f, s, x: jscope.scan(lambda s, c, _: (f(s, c), None), s, x, length=1)[0],
    "vmap": lambda f, s, x: jscope.vmap(f, axis_size=1)(s, x[None])[0],
}


@pytest.mark.parametrize("lift", mostly_slow(LIFTS, "jit", "scan"))
@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_newer_parts_meet_lifts_getters_and_state(lift, dtype):
    """Values, state and gradients are those of no lift at all, with `jit` around and without."""
    x = jnp.array([1.0, 2.0, -1.0, 0.5])

    def made(lift):
        def model(scope, x):
            scope = scope / "a" / str(1)
            cast = jscope.getters.cast(dtype)
            return LIFTS[lift](tf.scoped(newer_parts), scope.with_defaults(custom_getter=cast), x)

        return jscope.transform_with_state(model).with_rng(KEY)

    def found(model, params, state, compiled):
        apply = jax.jit(model.apply) if compiled else model.apply
        grads = jax.grad(lambda params: apply(params, state, x)[0].sum())(params)
        return [np.ravel(leaf).astype("float32") for leaf in jax.tree.leaves((apply(params, state, x), grads))]

    plain, lifted = made("plain"), made(lift)
    params, state = plain.init(KEY, x)
    expected = found(plain, params, state, compiled=False)
    # A lift may stack what is created inside; the values are those of the other model.
    own = jax.tree.map(lambda one, other: other.reshape(one.shape), lifted.init(KEY, x), (params, state))
    for compiled in (False, True):
        for one, other in zip(found(lifted, *own, compiled), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5 if dtype == jnp.float32 else 2e-2)
