"""Rules 48 to 70 of TensorFlow's variable scopes: `get_variable`, collections, regularization."""

from __future__ import annotations

import contextvars
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, tf1
from tests.tf1.tools import EXISTS, KEY, MISSING, A, err, gv, initial, names, run, store, vs

CONSTANT = "ValueError: If initializer is a constant, do not specify shape."


def test_rule_48_the_signature():
    """In TensorFlow's order; `get_local_variable` differs in the default of `trainable` alone."""
    order = (
        "name shape dtype initializer regularizer trainable collections caching_device partitioner validate_shape "
        "use_resource custom_getter constraint synchronization aggregation"
    )
    ours, local = (inspect.signature(f).parameters for f in (tf1.get_variable, tf1.get_local_variable))
    assert list(ours) == list(local) == order.split()
    assert [name for name in ours if ours[name].default != local[name].default] == ["trainable"]


def test_rule_49_the_order_of_the_checks():
    """Constant's dtype, getter, synchronization, partitioner, shape beside a constant, existence, shape, dtype."""

    def f():
        gv("v", [2])
        bad = {"initializer": 1, "dtype": jnp.float32}
        with vs("", reuse=True):
            return [
                err(lambda: gv("v", [9], custom_getter=3, **bad))[:24],
                err(lambda: gv("v", [9], custom_getter=3, synchronization=9)),
                err(lambda: gv("v", [9], synchronization=9, partitioner=3)),
                err(lambda: gv("v", [9], initializer=1.0)),
                err(lambda: gv("v", -1, dtype="nope"))[:30],
                err(lambda: gv("v", [9], dtype=jnp.int32)),
                err(lambda: gv("v", [2], dtype=jnp.int32)),
                err(lambda: gv("w", None)),
            ]

    assert run(f) == [
        "ValueError: Initializer ",
        "ValueError: Passed a custom_getter which is not callable: 3",
        "ValueError: Invalid variable synchronization mode: 9 for variable: v",
        CONSTANT,
        "TypeError: Cannot convert the ",
        "ValueError: Trying to share variable v, but specified shape (9,) and found shape (2,).",
        "ValueError: Trying to share variable v, but specified dtype int32 and found dtype float32.",
        MISSING.format("w"),
    ]


NOT_VALID = (
    "ValueError: The initializer passed is not valid. It should be a callable with no arguments and the shape should "
    "not be "
    "provided or an instance of `tf.keras.initializers.*' and `shape` should be fully defined."
)
MESSAGES = {
    EXISTS.format("v"): lambda: gv("v", [2, 3]),
    "ValueError: Variable n did not get an initializer, so its `shape` argument must be specified.": lambda: gv("n"),
    "ValueError: An initializer for variable n of <dtype: 'complex64'> is required": lambda: gv(
        "n", [1], jnp.complex64
    ),
    "ValueError: In this `tf.Variable` creation, the initial value's shape ((4,)) is not compatible with the "
    "explicitly "
    "supplied `shape` argument ((3,)).": lambda: gv("n", [3], initializer=lambda shape, dtype: jnp.zeros(4, dtype)),
    "TypeError: Cannot convert the argument `type_value`: 'nope' to a TensorFlow DType.": lambda: gv("n", [1], "nope"),
    "ValueError: Dimension -1 must be >= 0": lambda: gv("n", [-1]),
    "TypeError: Dimension value must be integer or None or have an __index__ method, got value '2.5' with type '<class "
    "'float'>'": lambda: gv("n", [2.5]),
    "TypeError: Dimension value must be integer or None or have an __index__ method, got value '<tf1.Tensor 'Const:0' "
    "shape=() dtype=int32>' with type '<class 'jscope.tf1._tensors.Tensor'>'": lambda: gv("n", [tf1.constant(2)]),
    "TypeError: Dimension value must be integer or None or have an __index__ method, got value ''2'' with type '<class "
    "'str'>'": lambda: gv("n", "23"),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_rule_50_the_messages(message):
    """The first line is TensorFlow's sentence."""

    def f():
        gv("v", [2, 3])
        return err(MESSAGES[message])

    assert run(f) == message


def test_rule_50_partial_shapes_need_another_initializer():
    """Of a function that takes arguments, too."""
    assert run(lambda: err(lambda: gv("n", [None, 3]))) == NOT_VALID
    assert run(lambda: err(lambda: gv("n", initializer=lambda shape, dtype: 0))) == NOT_VALID
    assert run(lambda: err(lambda: gv("n", [1], initializer=1.0))) == CONSTANT
    assert run(lambda: err(lambda: gv("n", [], initializer=1.0))) == CONSTANT


def test_errors_are_those_of_both_worlds_and_say_where():
    """TensorFlow's builtin class and jscope's; the site of the creation; the scope that set reuse."""

    def twice():
        gv("v", [1])
        gv("v", [1])

    with pytest.raises(
        errors.DuplicateVariableError, match=r"(?s)It was created at .*test_rules_variables\.py:\d+"
    ) as info:
        run(twice)
    assert isinstance(info.value, ValueError)

    def missing():
        with vs("m"):
            gv("weight", [1])
        with vs("m", reuse=True), vs("n"):
            pass
        with vs("m", reuse=True):
            gv("wieght", [1])

    cause = r"(?s)Reuse was set by `variable_scope` of `m` at .*:\d+.*Did you mean `m/weight`\?"
    with pytest.raises(errors.MissingVariableError, match=cause) as info:
        run(missing)
    assert isinstance(info.value, ValueError)


def test_rule_51_forms_of_shapes():
    """An int, sequences, arrays, TensorShape, dimensions; scalars; nothing at all."""
    forms = [3, [3], (3,), np.array([3]), tf1.TensorShape([3]), [tf1.Dimension(3)], [np.int64(3)], np.int32(3)]
    assert run(lambda: [tuple(gv(f"v{i}", form).shape) for i, form in enumerate(forms)]) == [(3,)] * len(forms)
    assert run(lambda: [tuple(gv(f"v{i}", s).shape) for i, s in enumerate(([], (), [0, 2]))]) == [(), (), (0, 2)]


def test_rule_52_reuse_compares_what_is_known():
    """A partial shape passes where it fits; a dtype that is not given is the scope's."""

    def f():
        gv("v", [2, 3])
        gv("i", [1], jnp.int32)
        with vs("", reuse=True):
            same = [gv("v", shape).shape for shape in (None, [None, 3], [2, None])]
            rank = err(lambda: gv("v", [None]))
            return same, rank, err(lambda: gv("i")), gv("i", dtype="int32").dtype.name

    shape = "ValueError: Trying to share variable v, but specified shape (None,) and found shape (2, 3)."
    dtype = "ValueError: Trying to share variable i, but specified dtype float32 and found dtype int32."
    assert run(f) == ([(2, 3)] * 3, shape, dtype, "int32")


def test_rule_53_constants_say_their_dtype():
    """Whatever the scope's is; on reuse their own shape is not compared."""

    def f():
        with vs("s", dtype=jnp.float16):
            values = [4, 4.5, True, [1, 2], [[1.0, 2]], np.zeros(2, "int8"), jnp.ones(2, jnp.bfloat16)]
            kinds = [(v.dtype.name, tuple(v.shape)) for v in (gv(f"v{i}", initializer=x) for i, x in enumerate(values))]
        with vs("t", initializer=np.float32(0.5)):
            return kinds, gv("w", dtype=jnp.float64).dtype.name

    kinds, dropped = run(f)
    assert kinds == [
        ("int32", ()),
        ("float32", ()),
        ("bool", ()),
        ("int32", (2,)),
        ("float32", (1, 2)),
        ("int8", (2,)),
        ("bfloat16", (2,)),
    ]
    assert dropped == "float32"


def test_rule_53_a_variable_can_be_an_initial_value():
    """Its value is copied."""

    def f():
        a = gv("a", [2])
        gv("b", initializer=a)

    values = initial(f)
    np.testing.assert_array_equal(values["a"], values["b"])


def test_rule_54_how_initializers_are_called():
    """With a list and a dtype by keyword; with `partition_info` if they name it; a class is made into an object."""
    calls = []

    def plain(shape, dtype=None):
        calls.append((shape, dtype))
        return jnp.ones(shape, dtype)

    def informed(shape, dtype=None, partition_info=None):
        calls.append(partition_info)
        return np.ones(shape)

    values = initial(lambda: (gv("a", (2,), initializer=plain), gv("b", [2], initializer=informed)))
    assert calls[0] == ([2], np.float32)
    assert None in calls
    assert [v.tolist() for v in values.values()] == [[1.0, 1.0]] * 2
    assert initial(lambda: gv("c", [1], initializer=tf1.ones_initializer))["c"].tolist() == [1.0]
    assert initial(lambda: gv("d", initializer=lambda: [1, 2]))["d"].dtype == jnp.int32
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtype'"):
        run(lambda: gv("e", [1], initializer=lambda shape: 0))
    with pytest.raises(ValueError, match=r"^Tensor conversion requested dtype float32 for Tensor with dtype int32"):
        run(lambda: gv("f", [1], initializer=lambda shape, dtype: jnp.ones(shape, jnp.int32)))


def test_rule_54_jscopes_and_jaxs_initializers_work_too():
    """Those whose first parameter is a key."""
    values = initial(
        lambda: (
            gv("a", [2], initializer=jscope.initializers.ones),
            gv("b", [2], initializer=jax.nn.initializers.ones),
            gv("c", [2], initializer=lambda key, shape, dtype: jnp.ones(shape, dtype)),
        )
    )
    assert [v.tolist() for v in values.values()] == [[1.0, 1.0]] * 3


def test_rule_54_an_initializer_may_draw_by_others():
    """TensorFlow-style functions draw with the variable's own key: the same in each run, others for other variables."""

    def doubled(shape, dtype=None):
        draw = tf1.random_normal_initializer()
        return draw(shape, dtype) + draw(shape, dtype)

    model = lambda: (gv("a", [4], initializer=doubled), gv("b", [4], initializer=doubled))  # noqa: E731
    first, again = initial(model), initial(model)
    np.testing.assert_array_equal(first["a"], again["a"])
    assert not np.array_equal(first["a"], first["b"])
    with pytest.raises(errors.MissingRngError, match="was called without a key"):
        tf1.random_normal_initializer()([2])
    assert tf1.random_normal_initializer(seed=1)([2]).shape == (2,)


def test_rule_55_default_initializers():
    """Glorot's uniform for floats, zeros for integers and bool; nothing for strings, which JAX has not."""
    values = initial(lambda: (gv("w", [200, 300]), gv("i", [2], jnp.int32), gv("b", [2], bool)))
    assert float(abs(values["w"]).max()) == pytest.approx(0.10954, abs=1e-4)
    assert float(values["w"].std()) == pytest.approx(0.10954 / 3**0.5, rel=0.02)
    assert not values["i"].any()
    assert not values["b"].any()
    for bad in ("string", str, object):
        with pytest.raises(TypeError, match="JAX has no arrays of"):
            run(lambda bad=bad: gv("s", [1], bad))
    with pytest.raises(TypeError, match="JAX has no arrays of"):
        run(lambda: gv("s", initializer="hello"))


def test_rule_56_the_scopes_initializer_serves_any_dtype():
    """Ones of int32."""

    def f():
        with vs("s", initializer=tf1.ones_initializer()):
            gv("i", [2], jnp.int32)

    assert initial(f)["s/i"].tolist() == [1, 1]


def test_rule_57_creation_inside_control_flow():
    """The variable is there; a value computed inside cannot be its initial value."""

    def loop(make):
        return lambda: jax.lax.fori_loop(0, 2, lambda i, x: x + make(x), jnp.zeros(3))

    assert names(loop(lambda x: gv("w", [3]))) == ["w"]
    with pytest.raises(errors.NativeTransformError, match="depends on data inside a JAX transform"):
        run(loop(lambda x: gv("w", initializer=x)))


def test_rule_58_a_failed_initializer_leaves_nothing():
    """No variable, nothing in collections, the scope as it was."""

    def fails(*args, **kwargs):
        raise KeyError("no")

    def f():
        with vs("a") as a:
            error = err(lambda: gv("v", [1], initializer=fails))
            return error, store(), tf1.global_variables(), tf1.get_variable_scope() is a

    assert run(f) == ("KeyError: 'no'", [], [], True)


def test_rule_59_synchronization_and_aggregation():
    """Checked; `ON_READ` makes a variable not trainable unless it is said to be."""
    on_read = tf1.VariableSynchronization.ON_READ

    def f():
        return (
            gv("a", [1], synchronization=on_read).trainable,
            gv("b", [1], synchronization=on_read, trainable=True).trainable,
            gv("c", [1], synchronization=None, aggregation=None).trainable,
            err(lambda: gv("d", [1], synchronization="x")),
            err(lambda: gv("d", [1], aggregation="x")),
        )

    assert run(f) == (
        False,
        True,
        True,
        "ValueError: Invalid variable synchronization mode: x for variable: d",
        "ValueError: Invalid variable aggregation mode: x for variable: d",
    )


def test_rule_60_placement_is_accepted():
    """`caching_device` is kept with the variable; nothing else has an effect."""
    v = run(lambda: gv("v", [1], caching_device="gpu", use_resource=True, validate_shape=False).facts)
    assert v.caching_device == "gpu"


def keys():
    return {key: [v.op.name for v in tf1.get_collection(key)] for key in ("variables", "trainable_variables", "k")}


def test_rule_61_collections_of_a_new_variable():
    """A list replaces the default; trainable ones are in theirs whatever it says; a string is refused."""

    def f():
        gv("a", [1])
        gv("b", [1], collections=["k"], trainable=False)
        gv("c", [1], collections=[])
        bad = err(lambda: gv("d", [1], collections="k"))
        return keys(), bad

    found, bad = run(f)
    assert found == {"variables": ["a"], "trainable_variables": ["a", "c"], "k": ["b"]}
    assert bad.startswith("ValueError: collections argument to Variable constructor must be a list, tuple, or set.")
    specs = jscope.specs(tf1.scoped(f))
    assert list(specs.select(collection="k").flat()) == ["b"]


def test_rule_62_local_variables():
    """Never trainable; the list is appended to; an existing global one does not become local."""

    def f():
        g, mine = gv("g", [1]), ["k"]
        v = tf1.get_local_variable("l", [1], trainable=True, collections=mine)
        with vs("", reuse=True):
            same = tf1.get_local_variable("g", [1]) is g
        return v.trainable, mine, same, [x.op.name for x in tf1.local_variables()], keys()["variables"]

    assert run(f) == (False, ["k", "local_variables"], True, ["l"], ["g"])


def test_rule_63_collections_filter_by_name():
    """A regex at the start: `foo` catches `foo_1`, `a.b` catches `aXb`; a scope's own ask with a slash."""

    def f():
        for name in ("foo", "foo_1", "aXb", "a.b"):
            with vs(name) as scope:
                gv("w", [1])
                tf1.get_local_variable("l", [1])
        with vs("foo") as foo:
            pass
        return (
            [v.op.name for v in tf1.global_variables("foo")],
            [v.op.name for v in foo.global_variables()],
            [v.op.name for v in foo.trainable_variables()],
            [v.op.name for v in foo.local_variables()],
            [v.op.name for v in scope.get_collection("variables")],
            len(tf1.get_variable_scope().global_variables()),
        )

    assert run(f) == (["foo/w", "foo_1/w"], ["foo/w"], ["foo/w"], ["foo/l"], ["aXb/w", "a.b/w"], 4)


def test_collections_belong_to_the_call():
    """What is put in is there, in order; a reference is the list itself; the next call starts empty."""

    def f():
        tf1.add_to_collection("k", 1)
        tf1.add_to_collections(["k", "m"], 2)
        tf1.get_collection("k").append(3)
        tf1.get_collection_ref("k").append(4)
        return tf1.get_collection("k"), tf1.get_collection("m"), tf1.get_collection("none")

    assert run(f) == run(f) == ([1, 2, 4], [2], [])

    def leaks(x):
        return jax.jit(lambda y: (tf1.add_to_collection("k", y), y)[1])(x)

    with pytest.raises(errors.NativeTransformError, match="Return the value from the transformed function"):
        tf1.transform(leaks).init(KEY, 1.0)


def half(v):
    return 0.5 * jnp.sum(v)


def test_rule_64_regularized_when_created():
    """Not on reuse, even if the regularizer is first given then."""

    def f():
        gv("v", [2])
        with vs("", reuse=A):
            gv("v", [2], regularizer=half)
            gv("w", [2], regularizer=half)
            gv("w", [2], regularizer=half)
        return [loss.name for loss in tf1.losses.get_regularization_losses()]

    assert run(f) == ["w/Regularizer:0"]


def test_rule_65_every_variable_is_regularized():
    """Also one that is not trainable, local, of integers."""

    def f():
        with vs("s", regularizer=lambda v: jnp.sum(v)):
            gv("a", [1], trainable=False)
            tf1.get_local_variable("b", [1])
            gv("c", [1], jnp.int32)
        return [loss.name[:3] for loss in tf1.losses.get_regularization_losses()]

    assert run(f) == ["s/a", "s/b", "s/c"]


def test_rule_66_no_penalty():
    """Of a falsy regularizer, or of one that returns None: neither here nor in the specs, nor in `apply`."""

    def f():
        gv("a", [1], regularizer=None)
        gv("b", [1], regularizer=lambda v: None)
        gv("c", [1], regularizer=half)
        return tf1.losses.get_regularization_losses()

    model = tf1.transform(f)
    params = model.init(KEY)
    assert len(model.apply(params)) == len(jax.jit(model.apply)(params)) == 1
    assert [path for path, spec in model.specs().flat().items() if spec.regularizer] == ["c"]


def test_rule_67_the_regularizer_is_called_twice():
    """When the variable is created: once to see whether it gives anything."""
    calls = []
    run(lambda: gv("v", [1], regularizer=lambda v: calls.append(v)))
    assert len(calls) == 1
    run(lambda: gv("v", [1], regularizer=lambda v: (calls.append(v), jnp.sum(v))[1]))
    assert len(calls) == 3


def test_rule_68_the_sum_of_the_penalties():
    """Filtered by name; zero without any; an error where dtypes differ. The same as the specs say."""

    def f():
        for name in ("a", "b"):
            with vs(name, regularizer=half, initializer=tf1.ones_initializer()):
                gv("v", [4])
        losses = tf1.losses
        return (
            losses.get_regularization_loss(),
            losses.get_regularization_loss("a/"),
            losses.get_regularization_loss("c"),
        )

    model = tf1.transform(f)
    params = model.init(KEY)
    total, one, none = model.apply(params)
    assert (float(total), float(one), float(none)) == (4.0, 2.0, 0.0)
    assert float(model.specs().regularization_loss(params)) == 4.0
    grads = jax.grad(lambda p: model.apply(p)[0])(params)
    assert grads["a"]["v"].tolist() == [0.5] * 4

    def mixed():
        gv("a", [1], regularizer=jnp.sum)
        gv("b", [1], jnp.int32, regularizer=jnp.sum)
        tf1.losses.get_regularization_loss()

    with pytest.raises(ValueError, match=r"have types .*'float32', 'int32'.* that don't all match"):
        run(mixed)


def test_rule_69_a_failed_regularizer_leaves_no_variable():
    """In TensorFlow it does: a retry there gives "already exists"."""

    def fails(v):
        raise KeyError("no")

    assert run(lambda: (err(lambda: gv("v", [1], regularizer=fails)), store())) == ("KeyError: 'no'", [])


def test_rule_70_a_partitioned_variable_pays_once():
    """It is one array; the sum over its shards is the same."""

    def f():
        gv("v", [4, 2], partitioner=tf1.fixed_size_partitioner(2), regularizer=half)
        return [loss.name for loss in tf1.losses.get_regularization_losses()]

    assert run(f) == ["v/Regularizer:0"]


def test_losses_of_other_kinds():
    """`add_loss`, `get_losses`, `get_total_loss`."""

    def f():
        gv("v", [2], initializer=tf1.ones_initializer(), regularizer=half)
        tf1.losses.add_loss(jnp.float32(3.0))
        return len(tf1.losses.get_losses()), tf1.losses.get_total_loss(), tf1.losses.get_total_loss(False)

    model = tf1.transform(f)
    assert [float(x) for x in model.apply(model.init(KEY))] == [1.0, 4.0, 3.0]


def test_contribs_regularizers():
    """Their sums, their errors, and none for a scale of zero."""
    layers, x = tf1.contrib.layers, jnp.array([1.0, -2.0])
    assert float(layers.l1_regularizer(0.5)(x)) == 1.5
    assert jax.grad(layers.l1_regularizer(0.5))(jnp.array([1.0, -2.0, 0.0])).tolist() == [0.5, -0.5, 0.0]
    assert float(layers.l2_regularizer(0.5)(x)) == 1.25
    assert float(layers.l1_l2_regularizer(0.5, 0.5)(x)) == 2.75
    assert layers.l2_regularizer(0.0)(x) is None
    with pytest.raises(ValueError, match=r"^scale cannot be an integer: 1"):
        layers.l2_regularizer(1)
    with pytest.raises(ValueError, match=r"^Setting a scale less than 0 on a regularizer: -1"):
        layers.l1_regularizer(-1.0)


def test_handles_stand_for_their_values():
    """In arithmetic from both sides, in `jax.numpy`, with NumPy, in JAX's transforms, in comparisons and indexing."""

    def f(x):
        w = gv("w", [3], initializer=tf1.constant_initializer([1.0, 2.0, 3.0]))
        n = np.ones(3, np.float32)
        return {
            "arithmetic": [
                w + x,
                x + w,
                w - 1,
                1 - w,
                2 * w,
                w / 2,
                2 / w,
                w**2,
                -w,
                abs(w),
                w @ x,
                x @ w,
                n + w,
                n @ w,
            ],
            "numpy": [jnp.sum(w), jnp.stack([w, x]), jnp.where(w > 1, w, x), jnp.dot(w, w), jnp.sin(w).sum()],
            "methods": [w.sum(), w.T, w[1], w[:2], w.reshape(3, 1), w.astype(jnp.int32), len(w)],
            "jit": jax.jit(lambda a, b: a * b)(w, x),
            "cond": jax.lax.cond(True, lambda v: v + 1, lambda v: v * 1, w),
            "scan": jax.lax.scan(lambda c, v: (c + v, c), jnp.float32(0), w.value())[0],
            "grad": jax.grad(lambda v: jnp.sum(v * v))(w).value(),
            "vmap": jax.vmap(lambda v: v * 2)(w),
            "read": [w.value(), w.read_value(), w.shape.as_list(), w.get_shape().num_elements(), w.ndim],
        }

    x = jnp.arange(3.0)
    model = tf1.transform(f)
    params = model.init(KEY, x)
    out, compiled = model.apply(params, x), jax.jit(model.apply)(params, x)
    w = jnp.array([1.0, 2.0, 3.0])
    assert [np.asarray(a).tolist() for a in out["arithmetic"][:3]] == [
        (w + x).tolist(),
        (x + w).tolist(),
        [0.0, 1.0, 2.0],
    ]
    assert float(out["arithmetic"][-1]) == 6.0
    np.testing.assert_array_equal(out["grad"], 2 * w)
    for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_assigning_writes_state():
    """`assign`, `assign_add`, `assign_sub` of what is not trainable; reads see it; a param refuses."""

    def f():
        n = gv("n", [], jnp.int32, trainable=False)
        first = n.assign_add(2)
        n.assign(n * 10)
        n.assign_sub(1)
        return first, n

    model = tf1.transform_with_state(f)
    params, state = model.init(KEY)
    (first, last), after = model.apply(params, state)
    assert (int(first), int(last), int(state["n"]), int(after["n"])) == (2, 19, 0, 19)
    assert int(jax.jit(model.apply)(params, after)[1]["n"]) == 209
    with pytest.raises(errors.StateError, match="`w` was assigned, but it is a param"):
        tf1.transform_with_state(lambda: gv("w", []).assign(1.0)).init(KEY)
    with pytest.raises(errors.NativeTransformError, match=r"assigned `n`.*inside a JAX transform"):
        tf1.transform_with_state(
            lambda: jax.jit(lambda x: gv("n", [], trainable=False).assign(x))(jnp.float32(1.0))
        ).init(KEY)


def test_a_handle_does_not_outlive_its_call():
    """What a function returns is the value; a handle kept elsewhere says that its call is over."""
    kept = []
    model = tf1.transform(lambda: kept.append(gv("v", [1])) or kept[0])
    assert isinstance(model.apply({"v": jnp.ones(1)}), jax.Array)
    with pytest.raises(errors.ScopeEndedError, match="`v` was read after"):
        kept[0].value()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_call_is_over_whatever_keeps_it(compiled):
    """A traceback, which has its frames; a generator that was not finished; a context that a task inherits."""
    kept = {}

    def f():
        kept["v"] = gv("v", [1])
        kept["context"] = contextvars.copy_context()
        kept["steps"] = in_scope()
        next(kept["steps"])
        gv("v", [1])

    def in_scope():
        with vs("s"):
            yield gv("v", [1])

    apply = tf1.transform(f).apply
    with pytest.raises(ValueError, match="Variable s/v already exists") as caught:
        (jax.jit(apply) if compiled else apply)({"v": jnp.ones(1), "s": {"v": jnp.ones(1)}})
    kept["error"] = caught.value.with_traceback(caught.tb)
    for use in (lambda: kept["v"].value(), lambda: kept["v"] + 1, lambda: kept["v"].assign(jnp.zeros(1))):
        with pytest.raises(errors.ScopeEndedError, match=r"`v` was \w+ after the `init` or `apply` call it belongs to"):
            use()
    with pytest.raises(tf1.NoGraphError):
        kept["context"].run(lambda: gv("v", [1]))


def test_a_mask_of_handles_has_nothing_in_their_places():
    """As `jax.tree.map` makes one for other arrays."""

    def f():
        mask = jax.tree.map(lambda _: None, {"v": gv("v", [1])})
        return len(jax.tree.leaves(mask)), jax.tree.map(lambda x: x + 1, {"v": gv("w", [1])})["v"]

    assert tf1.transform(f).apply({"v": jnp.ones(1), "w": jnp.ones(1)}) == (0, 2.0)


def test_explicit_and_ambient_code_share_variables():
    """Under one scope, both ways, with the reuse of the current variable scope."""

    def dense(scope, x):
        return x * scope.get_variable("w", ())

    def f(x):
        with vs("a"):
            x = dense(tf1.current_scope(), x)
        with vs("a"):
            again = err(lambda: gv("w", []))
        with vs("a", reuse=True):
            same = gv("w", [])
            return dense(tf1.current_scope(), x * same), again

    out = []
    specs = jscope.specs(tf1.scoped(lambda x: out.append(f(x)[1])), 1.0)
    assert out == [EXISTS.format("a/w")]
    assert list(specs.flat()) == ["a/w"]
    assert float(tf1.transform(lambda x: f_apply(dense, x)).apply({"a": {"w": 2.0}}, 1.0)) == 8.0


def f_apply(dense, x):
    with vs("a"):
        x = dense(tf1.current_scope(), x)
    with vs("a", reuse=True):
        return dense(tf1.current_scope(), x * gv("w", []))


def test_a_scoped_function_calls_a_tf1_style_one():
    """Under its own scope: the variable scope begins there."""

    def old(x):
        with vs("b"):
            return x * gv("w", []), tf1.get_variable_scope().name

    def model(scope, x):
        return tf1.scoped(lambda x: old(x)[0])(scope / "a", x)

    assert jscope.tree.names(jscope.init(model, KEY, 1.0)) == ["a/b/w"]
    assert float(jscope.apply(model, {"a": {"b": {"w": 3.0}}}, 2.0)) == 6.0
    assert jscope.apply(lambda s: tf1.scoped(old)(s / "a", 1.0)[1], {"a": {"b": {"w": 3.0}}}) == "a/b"


DRAWS = {
    "random_uniform": (tf1.random_uniform_initializer(-2.0, 4.0), 1.0, 12**-0.5 * 6, (-2.0, 4.0)),
    "random_normal": (tf1.random_normal_initializer(1.0, 0.5), 1.0, 0.5, None),
    "truncated_normal": (tf1.truncated_normal_initializer(1.0, 0.5), 1.0, 0.5 * 0.87962566, (0.0, 2.0)),
    "uniform_unit_scaling": (tf1.uniform_unit_scaling_initializer(2.0), 0.0, 2.0 / 200**0.5, (-0.245, 0.245)),
    "variance_scaling": (tf1.variance_scaling_initializer(3.0, "fan_out"), 0.0, (3 / 300) ** 0.5, (-0.228, 0.228)),
    "glorot_normal": (tf1.glorot_normal_initializer(), 0.0, (2 / 500) ** 0.5, (-0.144, 0.144)),
    "glorot_uniform": (tf1.glorot_uniform_initializer(), 0.0, (2 / 500) ** 0.5, (-0.1096, 0.1096)),
    "he_uniform": (tf1.initializers.he_uniform(), 0.0, (2 / 200) ** 0.5, (-0.1733, 0.1733)),
    "lecun_normal": (tf1.initializers.lecun_normal(), 0.0, (1 / 200) ** 0.5, (-0.161, 0.161)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_initializers_have_tensorflows_distributions(name):
    """Mean, standard deviation and bounds, for 200 inputs and 300 outputs."""
    initializer, mean, stddev, bounds = DRAWS[name]
    values = np.asarray(initial(lambda: gv("w", [200, 300], initializer=initializer))["w"])
    assert values.mean() == pytest.approx(mean, abs=5 * stddev / 60000**0.5)
    assert values.std() == pytest.approx(stddev, rel=0.02)
    if bounds:
        assert bounds[0] <= values.min()
        assert values.max() <= bounds[1]
        assert values.max() > bounds[0] + 0.95 * (bounds[1] - bounds[0])


def test_initializers_refuse_what_they_cannot_make():
    """As TensorFlow does, when the variable is asked for."""
    for initializer, shape, message in (
        (tf1.orthogonal_initializer(), [3], "must be at least two-dimensional"),
        (tf1.initializers.identity(), [3], "must be at least two-dimensional"),
        (tf1.constant_initializer([1, 2, 3]), [2], "Too many elements provided"),
        (tf1.random_uniform_initializer(), [2], "Must specify maxval for integer dtype"),
    ):
        dtype = jnp.int32 if "maxval" in message else jnp.float32
        with pytest.raises(ValueError, match=message):
            run(lambda i=initializer, s=shape, d=dtype: gv("v", s, d, i))
    with pytest.raises(ValueError, match=r"^Argument `scale` must be a positive float"):
        tf1.variance_scaling_initializer(0.0)
    with pytest.raises(ValueError, match=r"^Argument `mode` should be one of"):
        tf1.variance_scaling_initializer(mode="x")
    w = initial(lambda: gv("w", [4, 6], initializer=tf1.orthogonal_initializer(2.0)))["w"]
    np.testing.assert_allclose(w @ w.T, 4 * np.eye(4), atol=1e-5)
