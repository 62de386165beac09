"""What operations return, and what a TF1-style function is given in the place of arrays."""

from __future__ import annotations

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from jscope import tf1 as tf
from tests.crossed import mostly_slow
from tests.tf1.tools import KEY

X = jnp.arange(6.0).reshape(2, 3)


def given(function, *args):
    """What `function` returns inside of a call."""
    found = []
    tf.transform(lambda *args: found.append(function(*args))).apply({}, *args)
    return found[0]


def test_a_tensor_has_what_tensorflow_code_asks_for():
    """Shape, dtype and name."""
    x = given(lambda x: tf.add(x, 1.0, name="y"), X)
    assert isinstance(x, tf.Tensor)
    assert x.get_shape().as_list() == x.shape.as_list() == [2, 3]
    assert (x.get_shape()[1].value, x.shape[-1].value, x.shape.ndims, x.get_shape().num_elements()) == (3, 3, 2, 6)
    assert x.shape[1:].as_list() == [3]
    assert x.shape[:1].concatenate([4]).as_list() == [2, 4]
    assert (x.shape + [7]).as_list() == [2, 3, 7]  # noqa: RUF005 - it is not a list.
    assert (x.dtype.base_dtype.name, x.dtype.is_floating, x.dtype.as_numpy_dtype) == ("float32", True, np.float32)
    assert x.dtype == tf.float32 == np.float32 == jnp.float32
    assert np.dtype("float32") == x.dtype
    assert {x.dtype: 1}[np.dtype("float32")] == 1
    assert (x.name, x.op.name) == ("y:0", "y")
    x.set_shape([None, 3])
    with pytest.raises(ValueError, match="not compatible"):
        x.set_shape([3, 3])


def test_names_stand_below_the_name_scope():
    """As in TensorFlow, but without numbers."""

    def model(x):
        with tf.variable_scope("a"), tf.name_scope("b"):
            return tf.nn.relu(x, name="out").name, tf.matmul(x, x, transpose_b=True).op.name

    assert given(model, X) == ("a/b/out:0", "a/b/Matmul")


@pytest.mark.parametrize("other", [2.0, np.float32(2), np.full((2, 3), 2.0), [2.0, 2.0, 2.0]], ids=repr)
def test_a_tensor_stays_one_on_either_side_of_an_operator(other):
    """Whatever is on the other; but what stands at the left of an array of JAX's is for JAX to say."""
    for found in (given(lambda x: x * other, X), given(lambda x: other * x, X)):
        assert isinstance(found, tf.Tensor)
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, X * 2)


EQUATIONS = [f"x {sign} y" for sign in ("+", "-", "*", "/", "<", "<=", ">", ">=")]
EQUATIONS += ["x + 2.0", "2.0 - x", "x * 2", "x / True", "x < 2.0", "x + weak", "weak / x", "x + other"]
EQUATIONS += ["x + row", "row - x", "x * scalar", "row / x * y", "x + misfit"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
def test_operators_make_the_equations_of_jax_numpy(dtype):
    """Or raise its errors: real numbers of one dtype, which go another way, as well as all others."""
    shapes = {"x": (2, 3), "y": (2, 3), "row": 3, "scalar": (), "misfit": 2}
    arrays = {name: jnp.ones(shape, dtype) for name, shape in shapes.items()}
    arrays |= {"weak": jnp.asarray(2.0), "other": jnp.ones((2, 3), "float16")}

    def traced(code, wrap):
        def run(arrays):
            found = eval(code, {name: wrap(value) for name, value in arrays.items()})
            return found.value() if isinstance(found, tf.Tensor) else found

        try:
            return str(jax.make_jaxpr(run)(arrays))
        except (TypeError, ValueError) as error:
            return str(error).partition("\n")[0]

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for code in EQUATIONS:
            assert traced(code, tf.convert_to_tensor) == traced(code, lambda value: value), code


def test_constants_take_the_dtype_of_tensors():
    """Also NumPy's, which in JAX would widen the sum."""
    x = tf.constant([1.0, 2.0], tf.bfloat16)
    narrow = given(lambda y: (y + np.float32(1), np.ones(2) - y, tf.multiply(y, np.ones(2))), x.value())
    assert [each.dtype for each in narrow] == [jnp.bfloat16] * 3


def test_functions_of_jax_numpy_take_tensors():
    """And transforms of JAX's: a tensor is a tree whose leaf is its array."""
    x = tf.convert_to_tensor(X)
    np.testing.assert_array_equal(jnp.sum(x, 0), X.sum(0))
    assert jax.tree.leaves(x)[0] is X
    # Many of JAX's functions are transforms inside.
    np.testing.assert_array_equal(jax.grad(lambda y: jax.nn.relu(tf.convert_to_tensor(y)).sum())(X), X > 0)
    np.testing.assert_allclose(jax.jit(lambda y: y * 2)(x), X * 2)


def test_an_error_of_lax_says_what_to_do():
    """Since its functions take no tensors."""
    with pytest.raises(ValueError, match="__jax_array__") as caught:
        tf.transform(jax.lax.exp).apply({}, X)
    assert "jnp.asarray(x)" in caught.value.__notes__[0]


def test_transform_takes_arrays_and_gives_arrays():
    """In dicts, too; keys, strings and numbers are what they were."""
    seen = {}

    def model(batch, key, training, scale=1):
        seen.update(batch=batch, key=key, training=training, scale=scale)
        w = tf.get_variable("w", [3])
        return {"y": batch["x"] * w, "w": w, "shape": tf.shape(batch["x"])}

    init, apply = tf.transform(model)
    params = init(KEY, {"x": np.ones((2, 3), "float32")}, KEY, True)
    out = apply(params, {"x": np.ones((2, 3), "float32")}, KEY, True)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(out))
    assert isinstance(seen["batch"]["x"], tf.Tensor)
    assert (seen["key"] is KEY, seen["training"], seen["scale"]) == (True, True, 1)


def test_handles_have_the_same():
    """`v.dtype.base_dtype`, `v.shape[1:].as_list()`; with tensors they make tensors, with arrays arrays."""

    def model(x):
        w = tf.get_variable("w", [3, 2])
        assert (w.dtype.base_dtype.name, w.shape[1:].as_list()) == ("float32", [2])
        return type(x @ w), type(w * 2.0), type(w[0]), type(X @ w)

    out = []
    tf.transform(lambda x: out.extend(model(x))).init(KEY, X)
    assert out[:3] == [tf.Tensor] * 3
    assert out[3] is not tf.Tensor


def test_shapes_are_static_under_jit():
    """What is computed of shapes is known, and is not in the program."""

    def model(x):
        batch, size = tf.unstack(tf.shape(x))
        y = tf.reshape(x, [batch // 2, size * 2]) + tf.zeros([batch // 2, tf.reduce_prod(tf.shape(x)) // batch * 2])
        return tf.tile(y, tf.stack([1, size - 1])), tf.cast(size, tf.float32) * x

    y, scaled = jax.jit(tf.transform(model).apply)({}, X)
    assert (y.shape, scaled.shape) == ((1, 12), (2, 3))


def test_places_that_are_one_hot_are_known_under_jit():
    """Whoever asks which layers are not used marks those that are. Large ones, and fractions, are arrays as before."""

    def model(x):
        used = tf.add_n([tf.one_hot(place, 4, dtype=tf.int32) for place in (tf.constant([0, 2])[1], 0)])
        kept = tf.reshape(tf.where(tf.equal(used, 0)), [-1])
        made = tf.one_hot([0, 2, 7], 3, 5, axis=0), tf.one_hot([tf.cast(x[0, 0], tf.int32), 1], 3)
        assert not isinstance(tf.one_hot(np.zeros(100, int), 100, dtype=tf.int32).value(), np.ndarray)
        return tf.gather(tf.constant([10, 11, 12, 13]), kept), *made

    kept, places, rows = jax.jit(tf.transform(model).apply)({}, X)
    assert kept.tolist() == [11, 13]
    assert (places.dtype, places.tolist()) == (jnp.int32, [[5, 0, 0], [0, 0, 0], [0, 5, 0]])
    assert rows.tolist() == np.eye(3)[[int(X[0, 0]), 1]].tolist()


def test_import_is_lazy():
    """Who uses scopes only does not import the operations; `dir` knows them all the same."""
    code = "import sys; from jscope import tf1; print([n for n in sys.modules if n.startswith('jscope.tf1._ops')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert {"matmul", "nn", "variable_scope"} <= set(dir(tf))
    assert "conv2d" in dir(tf.nn)
    assert "reduce_sum" in dir(tf.math)


@pytest.mark.parametrize(
    ("use", "advice"),
    [
        (lambda: tf.placeholder(tf.float32, [None, 3], name="images"), r"def f\(images\).*apply\(params, images\)"),
        (lambda: tf.Session(), r"model\.apply\(params, x\)"),
        (lambda: tf.train.Saver(), r"jscope\.checkpoint\.init_from_checkpoint"),
        (lambda: tf.gradients(1, 2), r"jax\.grad\(lambda x: jnp\.sum\(critic\(x\)\)\)\(x\)"),
        (lambda: tf.train.AdamOptimizer(0.1), r"optax\.adam"),
        (lambda: tf.data.Dataset.from_tensor_slices([1]), r"model\.apply\(params, x\)"),
        (lambda: tf.sparse_tensor_dense_matmul(1, 2), r"is `tf\.matmul`; or a `jax\.experimental\.sparse\.BCOO`"),
        (lambda: tf.sparse.placeholder(tf.float32), r"Pass a dense one"),
        (lambda: tf.nn.reluu(1), r"Did you mean `tf\.nn\.relu`"),
        (lambda: tf.get_variables, r"docs/from_tf1\.md"),
        (lambda: tf.boolean_mask(X, jax.jit(lambda: tf.boolean_mask(X, X > 1))()), r"not known while JAX traces"),
    ],
)
def test_what_is_not_there_says_what_to_use(use, advice):
    """Where it is called, since old files name many things that they do not use."""
    with pytest.raises((AttributeError, TypeError), match=f"(?s){advice}"):
        use()


def test_naming_what_is_not_there_is_no_error():
    """As a base class, a default argument, a flag."""

    class Optimizer(tf.train.Optimizer):
        pass

    assert not hasattr(tf, "no_such_thing")
    assert tf.estimator.ModeKeys.TRAIN == "train"
    with pytest.raises(errors.JscopeError, match="optax"):
        Optimizer("name")


@pytest.mark.parametrize("largest", [np.inf, np.nan])
def test_clipping_by_a_norm_that_is_not_finite_gives_nan(largest):
    """Everywhere, as TensorFlow 2.21 does, so that a diverging step is seen."""
    clipped = given(lambda x: tf.clip_by_global_norm([x, tf.ones([2])], 1.0)[0], jnp.asarray([largest, 1.0]))
    assert np.isnan(np.concatenate(clipped)).all()


def test_a_cell_without_a_step_says_what_to_define():
    """Where it is called, by the name of its class."""

    class Cell(tf.nn.rnn_cell.RNNCell):
        state_size = output_size = 3

    with pytest.raises(NotImplementedError, match=r"`Cell` has no `call\(inputs, state\)`"):
        given(lambda x: Cell()(x, x), X)


def test_random_numbers_come_from_the_key_of_the_call():
    """Each draw is another one; without a key it is an error, unless there is a seed."""
    model = tf.transform(lambda: (tf.random_normal([4]), tf.random_normal([4]), tf.random_uniform([4], 2, 9, tf.int32)))
    first, second, whole = model.with_rng(KEY).apply({})
    assert (first != second).all()
    assert ((whole >= 2) & (whole < 9)).all()
    np.testing.assert_array_equal(first, jax.jit(model.with_rng(KEY).apply)({})[0])
    with pytest.raises(errors.MissingRngError, match="with_rng"):
        model.apply({})
    assert tf.transform(lambda: tf.random_normal([2], seed=1)).apply({}).shape == (2,)


@pytest.mark.parametrize("known", mostly_slow([True, False], True))
def test_operations_of_one_seed_draw_the_same_numbers(known):
    """In any scope, layer and branch, as in TensorFlow; only where a loop runs an operation again they do not."""

    def drawn(seed=7):
        return tf.random_uniform([3], seed=seed)

    def model(chosen):
        with tf.variable_scope("a"):
            same = [drawn()]
        same += [drawn(), tf.cond(chosen, drawn, lambda: drawn(8)), tf.cond(chosen, lambda: drawn(7), drawn)]
        layers = tf.layers.dropout, tf.contrib.layers.dropout
        mode = "training", "is_training"
        dropped = [f(tf.ones([50]), 0.5, seed=3, **{name: True}) for f, name in zip(layers, mode, strict=True)]
        after = lambda n, rows: (n + 1, tf.stack([rows[1], drawn()]))  # noqa: E731
        grown = tf.while_loop(lambda n, _: n < 2, after, [0, tf.zeros([2, 3])])
        # In a step, two operations and a branch.
        steps = tf.map_fn(lambda x: tf.stack([x + drawn(), drawn(), tf.cond(x < 1, drawn, drawn)]), tf.zeros([2]))
        return same, dropped, [*tf.unstack(grown[1]), *tf.unstack(steps), [drawn()] * 3, [drawn(8)] * 3]

    run = tf.transform(model).with_rng(KEY).apply
    same, dropped, other = run({}, True) if known else jax.jit(run)({}, jnp.array(True))
    for group in (same, dropped, *(rows for rows in other if np.ndim(rows) == 2)):
        assert all((one == group[0]).all() for one in group)
    first = [tuple(np.ravel(rows)[:3].tolist()) for rows in other]
    assert len({*first, tuple(run({}, False)[2][-1][0].tolist())}) == len(first) == 6
    assert (tf.transform(model).with_rng(jax.random.key(1)).apply({}, True)[0][0] != same[0]).all()


def test_an_image_and_its_mask_are_cropped_alike_by_one_seed():
    """So old code changes them together."""

    def model(image):
        crop = lambda x, channels: tf.random_crop(x, [4, 4, channels], seed=2)  # noqa: E731
        return crop(image, 1), crop(tf.tile(image, [1, 1, 3]), 3)

    image = jnp.arange(256.0).reshape(16, 16, 1)
    one, three = tf.transform(model).with_rng(KEY).apply({}, image)
    np.testing.assert_array_equal(np.broadcast_to(one, three.shape), three)


@pytest.mark.slow
def test_distributions():
    """Their means, deviations and limits."""

    def model():
        return {
            "normal": tf.random_normal([4000], 1.0, 2.0),
            "truncated": tf.truncated_normal([4000], stddev=0.5),
            "uniform": tf.random_uniform([4000], -1.0, 1.0),
            "gamma": tf.random_gamma([4000], 2.0, 4.0),
            "poisson": tf.random_poisson(3.0, [4000]),
            "categorical": tf.multinomial(tf.log([[0.2, 0.8]]), 4000),
            "shuffled": tf.random_shuffle(tf.range(50)),
            "cropped": tf.random_crop(tf.reshape(tf.range(100), [10, 10]), [3, 3]),
            "dropped": tf.nn.dropout(tf.ones([4000]), keep_prob=0.25),
            "flipped": tf.image.random_flip_left_right(tf.ones([2, 2, 3])),
        }

    out = tf.transform(model).with_rng(KEY).apply({})
    means = {"normal": 1, "truncated": 0, "uniform": 0, "gamma": 0.5, "poisson": 3, "categorical": 0.8, "dropped": 1}
    for name, mean in means.items():
        assert abs(float(jnp.mean(out[name].astype(jnp.float32))) - mean) < 0.15, name
    assert jnp.abs(out["truncated"]).max() <= 1.0
    assert set(np.unique(out["dropped"]).tolist()) == {0.0, 4.0}
    assert sorted(out["shuffled"].tolist()) == list(range(50))
    assert (out["cropped"][:, 1:] - out["cropped"][:, :-1] == 1).all()


def branching(x):
    def true():
        with tf.variable_scope(None, "layer"):
            return x * tf.get_variable("w", [3])

    def false():
        with tf.variable_scope(None, "layer"):
            return x + tf.get_variable("w", [3])

    return tf.cond(tf.reduce_sum(x) > 0.0, true, false)


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
def test_both_branches_of_a_cond_count_for_names(compiled):
    """Whichever is taken, and whether that is known or not."""
    model = tf.transform(branching)
    params = model.init(KEY, X)
    assert jscope.tree.names(params) == ["layer/w", "layer_1/w"]
    params = {"layer": {"w": jnp.full(3, 2.0)}, "layer_1": {"w": jnp.full(3, 5.0)}}
    apply = jax.jit(model.apply) if compiled else model.apply
    np.testing.assert_array_equal(apply(params, X), X * 2)
    np.testing.assert_array_equal(apply(params, -X), -X + 5)


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
def test_a_loop_creates_its_variables_once(compiled):
    """However often Python runs the body."""

    def dense(x):
        with tf.variable_scope(None, "dense"):
            return x * tf.get_variable("w", [3], initializer=tf.constant_initializer(2.0))

    def model(x):
        grown = tf.while_loop(lambda n, y: n < 3, lambda n, y: (n + 1, dense(y)), (tf.constant(0), x))[1]
        mapped = tf.map_fn(dense, x)
        return grown, mapped, tf.while_loop(lambda y: tf.reduce_sum(y) < 100.0, dense, [x])

    model = tf.transform(model)
    params = model.init(KEY, X)
    assert jscope.tree.names(params) == ["dense/w", "dense_1/w", "dense_2/w"]
    grown, mapped, long = (jax.jit(model.apply) if compiled else model.apply)(params, X)
    np.testing.assert_array_equal(grown, X * 8)
    np.testing.assert_array_equal(mapped, X * 2)
    np.testing.assert_array_equal(long, X * 8)


def test_a_branch_may_not_assign():
    """Because both run, and only one of them counts."""

    def model(x):
        n = tf.get_variable("n", [], initializer=tf.zeros_initializer(), trainable=False)
        return tf.cond(tf.reduce_sum(x) > 0.0, lambda: n.assign(1.0), lambda: n.assign(2.0))

    model = tf.transform_with_state(model)
    with pytest.raises(errors.NativeTransformError, match="branch"):
        model.apply({}, {"n": jnp.zeros(())}, X)


def test_assertions_hold_of_what_is_known():
    """Of tracers nothing is known."""
    tf.assert_equal(tf.shape(X)[0], 2)
    tf.assert_rank(X, 2)
    tf.assert_positive([1.0, 2.0])
    with pytest.raises(ValueError, match="did not hold"):
        tf.assert_less(tf.shape(X)[1], 3, message="too long")
    with pytest.raises(ValueError, match="rank"):
        tf.assert_rank_at_least(X, 3)
    with pytest.raises(TypeError, match="integer"):
        tf.assert_integer(X)
    jax.jit(lambda x: tf.assert_equal(x, 0.0))(X)


def test_gradients_of_ones_own():
    """`tf.custom_gradient` and `tf.recompute_grad`."""

    @tf.custom_gradient
    def halved(x):
        return x * 1.0, lambda dy: dy * 0.5

    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(jnp.asarray(halved(x))))(X), jnp.full((2, 3), 0.5))
    again = tf.recompute_grad(lambda x: tf.square(x))
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(jnp.asarray(again(x))))(X), 2 * X)


def test_losses_are_collected():
    """In `tf.GraphKeys.LOSSES`, by default."""

    def model(x):
        tf.losses.mean_squared_error(x, x + 1.0)
        tf.losses.absolute_difference(x, x + 2.0, loss_collection=None)
        return tf.losses.get_losses(), tf.losses.get_total_loss()

    losses, total = tf.transform(model).apply({}, X)
    assert (len(losses), float(total)) == (1, 1.0)


def test_old_files_find_their_helpers():
    """Logging, flags, summaries, trees, strings: what stands beside the model in its file."""
    tf.flags.DEFINE_integer("size", 3, "help")
    tf.app.flags.FLAGS.size += 1
    assert tf.flags.FLAGS.size == 4
    assert tf.summary.scalar("loss", 1.0) is None
    assert tf.nest.map_structure(lambda x: x + 1, [1, (2,)]) == [2, (3,)]
    assert tf.compat.v1 is tf
    assert tf.compat.as_text(b"a") == "a"
    assert tf.newaxis is None
    with tf.device("/cpu:0"):
        tf.logging.debug("message")
    with pytest.raises(AttributeError, match="No flag"):
        _ = tf.flags.FLAGS.missing


def test_shapes_are_checked_as_in_tensorflow():
    """By rank, by another shape, and dimension by dimension; with its errors."""
    shape, half = tf.TensorShape([2, 3]), tf.TensorShape([2, None])
    for passed in (shape.with_rank(2), shape.with_rank_at_least(1), shape.with_rank_at_most(2), shape.merge_with(half)):
        assert passed == [2, 3]
    assert half.merge_with([None, 3]) == half.merge_with(shape) == shape.merge_with(None) == [2, 3]
    for check in (shape.assert_has_rank, half.assert_has_rank):
        check(2)
    shape.assert_is_compatible_with(half)
    shape.assert_same_rank(half)
    shape.assert_is_fully_defined()
    assert shape[0].merge_with(None) == 2
    assert shape[1].is_compatible_with(3)
    failing = {
        "Shape (2, 3) must have rank 3": lambda: shape.with_rank(3),
        "Shape (2, 3) must have rank 1": lambda: shape.assert_has_rank(1),
        "Shape (2, 3) must have rank at least 3": lambda: shape.with_rank_at_least(3),
        "Shape (2, 3) must have rank at most 1": lambda: shape.with_rank_at_most(1),
        "Shapes (2, 3) and (2, 4) are incompatible": lambda: shape.assert_is_compatible_with([2, 4]),
        "Shapes (2, 3) and (2,) must have the same rank": lambda: shape.assert_same_rank([2]),
        "Shape (2, 3) and (3, 3) are not compatible": lambda: shape.merge_with([3, 3]),
        "Shape (2, None) is not fully defined": half.assert_is_fully_defined,
        "Dimensions 2 and 3 are not compatible": lambda: shape[0].assert_is_compatible_with(3),
    }
    for message, fails in failing.items():
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            fails()
