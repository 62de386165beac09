"""Writing: assignments, variables made by hand, averages, the global step, and variables in parts.

What TensorFlow gives is compared in `test_layers.py`, with the programs `writing/...`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, tf1
from tests.crossed import mostly_slow
from tests.tf1.tools import KEY, err, gv, run, vs


def networks(x):
    """An online and a target network; the target follows the other."""
    online, target = gv("online", [2]), gv("target", [2])
    tf1.assign(target, 0.5 * target + 0.5 * online)
    return tf1.reduce_sum(x * target)


def test_what_a_caller_says_is_state_is_written():
    """It is no param, so gradients leave it alone; to TensorFlow's functions it stays trainable."""
    trainable = []

    def f(x):
        out = networks(x)
        trainable.append([v.name for v in tf1.trainable_variables()])
        return out

    model = tf1.transform_with_state(f, state="^target$")
    params, state = model.init(KEY, jnp.ones(2))
    assert (list(params), list(state)) == (["online"], ["target"])
    grads, new = jax.grad(model.apply, has_aux=True)(params, state, jnp.ones(2))
    np.testing.assert_allclose(new["target"], (params["online"] + state["target"]) / 2, rtol=1e-6)
    np.testing.assert_allclose(grads["online"], 0.0)
    assert trainable == [["online:0", "target:0"]] * 2


def by_average(v, x):
    average = tf1.train.ExponentialMovingAverage(0.9)
    average.apply([x])
    return average.average(x)


@pytest.mark.parametrize(
    "written",
    [
        lambda v, x: v.assign(x),
        lambda v, x: v.assign([x[0], 2.0 * x[1]]),
        lambda v, x: tf1.assign_add(v, x),
        lambda v, x: v.assign_sub(x),
        lambda v, x: tf1.scatter_add(v, [0], x[:1]),
        lambda v, x: tf1.python.training.moving_averages.assign_moving_average(v, x, 0.9, zero_debias=False),
        lambda v, x: (v.assign(x), tf1.identity(v))[1],
        by_average,
    ],
    ids=["assign", "assign a list", "add", "subtract", "scatter", "moving average", "read later", "exponential"],
)
def test_no_gradient_goes_through_an_assignment(written):
    """TensorFlow's is None for each. What is computed beside the variable keeps its gradient."""

    def f():
        w, v = gv("w", [2]), gv("v", [2], trainable=False)
        x = tf1.identity(3.0 * w, name="x")
        return tf1.reduce_sum(written(v, x) ** 2.0) + tf1.reduce_sum(x)

    model = tf1.transform_with_state(f)
    params, state = model.init(KEY)
    grads, after = jax.jit(jax.grad(model.apply, has_aux=True))(params, state)
    np.testing.assert_allclose(grads["w"], 3.0)
    assert any((value != 0.0).any() for value in jscope.tree.flatten(after).values())


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
def test_getters_of_the_core_know_what_is_state(compiled):
    """In `apply` as in `init`: `cast` leaves it as it is stored, so that it can be added to."""

    def model(scope, x):
        def count():
            n, w = gv("n", [2], trainable=False, initializer=tf1.zeros_initializer()), gv("w", [2])
            n.assign(x * tf1.cast(w, tf1.float32))
            n.assign_add(n)
            return n.value(), w.value()

        return tf1.scoped(count)(scope.with_defaults(custom_getter=jscope.getters.cast(jnp.bfloat16)))

    init, apply = jscope.transform_with_state(model)
    state = init(KEY, jnp.ones(2))[1]
    (n, w), after = (jax.jit(apply) if compiled else apply)({"w": jnp.ones(2)}, state, jnp.ones(2))
    assert (n.dtype, w.dtype, after["n"].dtype) == (jnp.float32, jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(after["n"], [2.0, 2.0])


def test_an_initial_value_does_not_depend_on_what_is_state():
    """Only the tree in which it stands does."""
    plain = tf1.transform(lambda: (gv("online", [2]), gv("target", [2])))
    written = tf1.transform_with_state(lambda: (gv("online", [2]), gv("target", [2])), state="target")
    params, state = written.init(KEY)
    assert (plain.init(KEY)["target"] == state["target"]).all()
    assert (plain.init(KEY)["online"] == params["online"]).all()


def test_a_param_that_is_assigned_is_an_error_that_names_the_way_out():
    """In `init`, before anything is computed."""
    model = tf1.transform_with_state(networks)
    with pytest.raises(errors.StateError, match="`target` was assigned, but it is a param") as caught:
        model.init(KEY, jnp.ones(2))
    assert "`tf1.transform_with_state(f, state=regex)`" in "".join(caught.value.__notes__)
    with pytest.raises(errors.InvalidArgumentError, match="not a regular expression"):
        tf1.transform_with_state(networks, state="(")


def test_only_variables_are_assigned():
    """Not what was computed of them."""
    with pytest.raises(TypeError, match=r"`tf1.assign` writes a variable, not <tf1.Tensor"):
        run(lambda: tf1.assign(gv("v", [1]) * 2.0, [1.0]))


@pytest.mark.parametrize("lift", [jscope.remat, jscope.jit])
def test_what_is_state_is_so_under_lifts(lift):
    """A function that is given to a lift belongs to the call around it."""

    def f(x):
        with vs("s"):
            return lift(tf1.scoped(networks))(tf1.current_scope(), x)

    model = tf1.transform_with_state(f, state="target$")
    params, state = model.init(KEY, jnp.ones(2))
    assert (jscope.tree.names(params), jscope.tree.names(state)) == (["s/online"], ["s/target"])
    plain = tf1.transform_with_state(networks, state="target$")
    expected = plain.apply(params["s"], state["s"], jnp.ones(2))
    out, new = jax.jit(model.apply)(params, state, jnp.ones(2))
    np.testing.assert_allclose(out, expected[0], rtol=1e-6)
    np.testing.assert_allclose(new["s"]["target"], expected[1]["target"], rtol=1e-6)


def test_a_model_inside_a_model_has_its_own_state():
    """What the outer caller says of names is not said of the names of another model."""
    inner = tf1.transform(lambda: gv("target", [2]))
    model = tf1.transform_with_state(lambda p: (inner.apply(p), tf1.assign(gv("target", [2]), [1.0, 2.0])), state="t")
    given = {"target": jnp.ones(2)}
    (out, _), state = model.apply(*model.init(KEY, given), given)
    assert out.tolist() == [1.0, 1.0]
    assert state["target"].tolist() == [1.0, 2.0]


def test_operations_cross_jit():
    """A model may return what stands for several writes."""

    def f():
        n = tf1.Variable(0, trainable=False, name="n")
        with tf1.name_scope("a"):
            return tf1.group(n.assign_add(1), [tf1.no_op()], name="b"), n

    model = tf1.transform_with_state(f)
    (op, n), state = jax.jit(model.apply)(*model.init(KEY))
    assert (op.name, op.op is op, int(n), int(state["n"])) == ("a/b", True, 1, 1)


def test_variables_begin_with_what_is_drawn_with_their_own_keys():
    """Equal requests differ by name only; `apply` needs no key, and `specs` no values."""

    def f(x):
        a, b = (tf1.Variable(tf1.truncated_normal([3, 4], stddev=0.1), name=name) for name in "ab")
        return tf1.matmul(x, a) + tf1.matmul(x, b) + tf1.Variable(tf1.ones([4]))

    model = tf1.transform(f)
    x = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    params = model.specs(x).materialize(KEY)
    jax.tree.map(np.testing.assert_array_equal, params, model.init(KEY, jnp.ones((2, 3))))
    assert (params["a"] != params["b"]).any()
    assert 0.05 < params["a"].std() < 0.15
    assert model.apply(params, jnp.ones((2, 3))).shape == (2, 4)


def test_variables_begin_with_what_an_initializer_returns():
    """Called by hand, as `initializer(shape=shape)`: it draws with the variable's key, and `apply` needs none."""

    def f(x):
        initializer, start = tf1.contrib.layers.xavier_initializer_conv2d(), tf1.constant_initializer(2.0)
        a, b = (tf1.Variable(initializer(shape=[3, 4]), name=name) for name in "ab")
        return tf1.matmul(x, a) + tf1.matmul(x, b) + tf1.Variable(start(shape=[4]), name="c")

    model = tf1.transform(f)
    params = model.init(KEY, jnp.ones((2, 3)))
    assert (params["a"] != params["b"]).any()
    assert 0.0 < abs(params["a"]).max() < (6 / 7) ** 0.5
    assert model.apply(params, jnp.zeros((2, 3))).tolist() == [[2.0] * 4] * 2


DRAWN = {
    "product": lambda: tf1.random_normal([3, 4]) * 0.1,
    "reflected": lambda: 0.1 * tf1.random_normal([3, 4]),
    "negative": lambda: -tf1.abs(tf1.truncated_normal([3, 4])),
    "part": lambda: tf1.random_uniform([5, 4], 1.0, 2.0)[1:4],
    "of an operation": lambda: tf1.div(tf1.random_normal([3, 4]), np.sqrt(3.0)),
    "beside zeros": lambda: tf1.concat([tf1.zeros([1, 4]), tf1.random_normal([2, 4])], axis=0),
    "of an initializer": lambda: tf1.concat([tf1.zeros([1, 4]), tf1.random_normal_initializer()([2, 4])], 0) * 2.0,
    "of two": lambda: tf1.random_normal([3, 1]) + tf1.random_normal([1, 4]),
}


@pytest.mark.parametrize("asked", [tf1.Variable, lambda value, name: tf1.get_variable(name, initializer=value)])
@pytest.mark.parametrize("case", mostly_slow(DRAWN, "of an initializer"))
def test_variables_begin_with_what_is_made_of_what_is_drawn(case, asked):
    """It is made again with the variable's own key; `apply` needs none, nor does it ask what the values are."""

    def f():
        a, b = (asked(DRAWN[case](), name=name) for name in "ab")
        return a + b

    model = tf1.transform(f)
    params, other = model.init(KEY), model.init(jax.random.key(7))
    for one, two in ((params["a"], params["b"]), (params["a"], other["a"])):
        assert one.shape == (3, 4)
        assert not np.any(one[1:] == two[1:])
    np.testing.assert_allclose(jax.jit(model.init)(KEY)["a"], params["a"], 1e-6)
    for apply in (model.apply, jax.jit(model.apply), model.with_rng(KEY).apply):
        np.testing.assert_allclose(apply(params), params["a"] + params["b"], 1e-6)


def test_what_depends_on_data_is_not_made_again():
    """Nor hides that a key is missing: the error comes where the sum with the data is used."""
    model = tf1.transform(lambda x: tf1.Variable(x * tf1.random_normal([2], seed=1), name="v") + 0.0)
    assert model.init(KEY, jnp.zeros(2))["v"].tolist() == [0.0, 0.0]
    with pytest.raises(errors.MissingRngError, match="with_rng"):
        tf1.transform(lambda x: x + tf1.random_normal([2]) * 0.5).apply({}, jnp.ones(2))


def test_what_an_initializer_returns_is_an_error_where_it_is_used():
    """In `apply` nothing is known of it."""
    with pytest.raises(errors.MissingRngError, match="was called without a key"):
        tf1.transform(lambda: tf1.glorot_uniform_initializer()([2, 3]) + 1.0).apply({})


def test_random_numbers_without_a_key_are_an_error_where_they_are_used():
    """Not where they only say how a variable begins."""
    with pytest.raises(errors.MissingRngError, match="with_rng"):
        tf1.transform(lambda: tf1.random_normal([2]) + 1.0).apply({})


def test_a_variable_may_begin_with_anything():
    """A number, a list, a function, another variable, or a tensor that depends on data; with a dtype."""

    def f(x):
        first = tf1.Variable(2.5, name="number")
        tf1.Variable([1, 2], dtype=tf1.float32, name="list")
        tf1.Variable(lambda: np.ones(3), dtype="float32", name="function")
        tf1.Variable(first.initialized_value(), name="other")
        tf1.Variable(tf1.reduce_mean(x, 0), name="data")

    params = tf1.transform(f).init(KEY, jnp.arange(4.0).reshape(2, 2))
    assert {name: np.asarray(value).tolist() for name, value in params.items()} == {
        "number": 2.5,
        "list": [1.0, 2.0],
        "function": [1.0, 1.0, 1.0],
        "other": 2.5,
        "data": [1.0, 2.0],
    }
    assert params["list"].dtype == params["function"].dtype == jnp.float32
    assert run(lambda: err(tf1.Variable)) == "ValueError: initial_value must be specified."


def test_a_body_that_runs_twice_makes_its_variable_once():
    """Under the name of the first run."""

    def f(x):
        def body(carry, _):
            return jnp.asarray(carry * tf1.Variable(2.0), jnp.float32), None

        return jax.lax.scan(body, jnp.asarray(x), None, length=2)[0]

    model = tf1.transform(f)
    params = model.init(KEY, jnp.float32(1.0))
    assert list(params) == ["Variable"]
    assert float(jax.jit(model.apply)(params, jnp.float32(1.0))) == 4.0


def test_creators_see_variables_made_by_hand():
    """As in TensorFlow, with the name that they get."""
    seen = []

    def creator(next_creator, **options):
        seen.append(options["name"])
        return next_creator(**{**options, "trainable": False})

    def f():
        with tf1.variable_creator_scope(creator), vs("s"):
            return tf1.Variable(1.0)

    params, state = tf1.transform_with_state(f).init(KEY)
    assert (seen, params, jscope.tree.names(state)) == (["s/Variable"], {}, ["s/Variable"])


def test_an_average_begins_with_its_variable():
    """Whatever that begins with, and whether or not it needs a key."""

    def f():
        random, zero = gv("random", [3]), gv("zero", [2], initializer=tf1.zeros_initializer())
        tensor = random + 1.0
        average = tf1.train.ExponentialMovingAverage(0.75)
        average.apply([random, zero, tf1.identity(tensor, name="t")])
        return [average.average(each) for each in (random, zero)], average.average(gv("other", [1]))

    model = tf1.transform_with_state(f)
    params, state = model.init(KEY)
    flat = jscope.tree.flatten(state)
    assert list(flat) == [f"{name}/ExponentialMovingAverage" for name in ("random", "zero", "t")]
    np.testing.assert_array_equal(flat["random/ExponentialMovingAverage"], params["random"])
    moved = jax.tree.map(lambda leaf: leaf + 4.0, params)
    ((random, zero), none), state = jax.jit(model.apply)(moved, state)
    np.testing.assert_allclose(random, params["random"] + 1.0, rtol=1e-6)
    np.testing.assert_allclose(zero, 1.0)
    assert none is None


def test_what_has_no_average_says_so():
    """Integers, and what is no variable; an average without its bias."""
    average = tf1.train.ExponentialMovingAverage(0.9)
    message = "The variables must be half, float, or double"
    assert message in run(lambda: err(lambda: average.apply([gv("n", [], tf1.int32)])))
    assert "Only variables and tensors" in run(lambda: err(lambda: average.apply([3.0])))
    with pytest.raises(ValueError, match="`zero_debias` of `ExponentialMovingAverage` is not there"):
        tf1.train.ExponentialMovingAverage(0.9, zero_debias=True)


def test_the_global_step_is_one():
    """Under the scope in which it is asked for first; asked for a second time it is an error to create it."""

    def f():
        none = tf1.train.get_global_step()
        with vs("s"):
            step = tf1.train.get_or_create_global_step()
        same = tf1.contrib.framework.get_or_create_global_step() is step is tf1.train.get_global_step()
        tf1.train.assert_global_step(step)
        return none, step.name, same, err(tf1.train.create_global_step)

    assert run(f) == (None, "s/global_step:0", True, 'ValueError: "global_step" already exists.')


def cut(x):
    """A model whose matrix is cut into three parts."""
    with vs("s", partitioner=tf1.fixed_size_partitioner(3)):
        table = gv("table", [5, 2])
        y = tf1.layers.dense(tf1.matmul(x, table), 3, use_bias=False)
    return table, y


def test_a_variable_in_parts_is_one_array_and_a_list_of_parts():
    """The names, the collections and the shapes are those of TensorFlow; the params are whole."""

    def f(x):
        table, y = cut(x)
        assert isinstance(table, tf1.PartitionedVariable)
        assert (table.name, len(table), table.partitions) == ("s/table", 3, [3, 1])
        assert [part.name for part in table] == [f"s/table/part_{i}:0" for i in range(3)]
        assert [tuple(part.shape) for part in table] == [(2, 2), (2, 2), (1, 2)]
        assert list(table) == [v for v in tf1.trainable_variables() if v.op.name.startswith("s/table")]
        assert [v.op.name for v in tf1.global_variables("s/dense")] == [
            "s/dense/kernel/part_0",
            "s/dense/kernel/part_1",
        ]
        return table, list(table), table.as_tensor(), y

    model = tf1.transform(f)
    params = model.init(KEY, jnp.ones((1, 5)))
    assert jax.tree.map(jnp.shape, params) == {"s": {"table": (5, 2), "dense": {"kernel": (2, 3)}}}
    whole, parts, tensor, y = jax.jit(model.apply)(params, jnp.ones((1, 5)))
    np.testing.assert_array_equal(whole, params["s"]["table"])
    np.testing.assert_array_equal(jnp.concatenate(parts), tensor)
    np.testing.assert_allclose(y, params["s"]["table"].sum(0) @ params["s"]["dense"]["kernel"][None], rtol=1e-5)
    plain = tf1.transform(lambda x: gv("s/table", [5, 2]))
    np.testing.assert_array_equal(plain.init(KEY, jnp.ones((1, 5)))["s"]["table"], params["s"]["table"])


def test_gradients_and_pytrees_of_variables_in_parts():
    """A handle and its parts cross JAX's transforms as arrays."""

    def f(x):
        table, _ = cut(x)
        return jax.jit(lambda t, parts: (t * t).sum() + sum((p * p).sum() for p in parts))(table, list(table))

    model = tf1.transform(f)
    params = model.init(KEY, jnp.ones((1, 5)))
    grads = jax.grad(model.apply)(params, jnp.ones((1, 5)))
    np.testing.assert_allclose(grads["s"]["table"], 4 * params["s"]["table"], rtol=1e-6)


@pytest.mark.parametrize("writes", ["scatter_add", "scatter_sub", "scatter_update"])
def test_rows_are_written(writes):
    """Only those that are named, each as often as it is named."""

    def f():
        table = gv("table", [3, 2], initializer=tf1.ones_initializer(), trainable=False)
        return getattr(tf1, writes)(table, [2, 0], [[1.0, 2.0], [3.0, 4.0]])

    model = tf1.transform_with_state(f)
    out, state = model.apply(*model.init(KEY))
    rows = {"scatter_add": [[4, 5], [1, 1], [2, 3]], "scatter_sub": [[-2, -3], [1, 1], [0, -1]]}
    expected = rows.get(writes, [[3, 4], [1, 1], [1, 2]])
    np.testing.assert_array_equal(state["table"], expected)
    np.testing.assert_array_equal(out, expected)
