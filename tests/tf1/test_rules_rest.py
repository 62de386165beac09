"""Rules 71 to 99 of variable scopes: getters, creators, partitioners, exits, templates, init_from_checkpoint."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import tf1
from tests.tf1.tools import EXISTS, KEY, MISSING, A, err, gv, names, run, store, vs

OPTIONS = {
    *(
        [
            "shape",
            "dtype",
            "initializer",
            "regularizer",
            "reuse",
            "trainable",
            "collections",
            "caching_device",
            "partitioner",
        ]
    ),
    *(["validate_shape", "use_resource", "synchronization", "aggregation", "constraint"]),
}


def test_rule_71_what_a_getter_is_given():
    """Once per call, on reuse too; by keyword, all resolved; `constraint` only if it takes it."""
    calls = []

    def getter(getter, name, **options):
        calls.append((name, options))
        return getter(name, **options)

    def bare(
        getter, name, shape, dtype, initializer, regularizer, reuse, trainable, collections, caching_device,
        partitioner, validate_shape, use_resource, synchronization, aggregation,
    ):  # fmt: skip
        return getter(name, shape)

    def f():
        with vs("a", custom_getter=getter, reuse=A, regularizer=abs, initializer=tf1.ones_initializer()) as a:
            gv("v", [1])
            gv("v", [1])
            resolved = calls[0][1]["initializer"] is a.initializer, calls[0][1]["regularizer"] is abs
        with vs("b", custom_getter=bare):
            return resolved, gv("v", [1], constraint=abs).name

    assert run(f) == ((True, True), "b/v:0")
    assert [name for name, _ in calls] == ["a/v", "a/v"]
    options = calls[0][1]
    assert set(options) == OPTIONS
    assert (options["shape"], options["dtype"], options["reuse"], options["trainable"]) == ([1], np.float32, A, True)


def test_rule_72_a_lone_getter_is_called_by_keyword():
    """So its parameters must be called `getter` and `name`."""

    def f():
        with vs("a", custom_getter=lambda g, *args, **options: None):
            return err(lambda: gv("v", [1]))

    assert run(f).startswith("TypeError: ")


def tagged(log, tag):
    def getter(getter, *args, **options):
        log.append(tag)
        return getter(*args, **options)

    return getter


def test_rule_73_the_innermost_getter_runs_first():
    """A jump drops those around it, and wraps the captured chain."""
    log = []

    def f():
        with vs("a", custom_getter=tagged(log, "a")), vs("b", custom_getter=tagged(log, "b")) as b:
            gv("v", [1])
        with vs("c", custom_getter=tagged(log, "c")), vs(b, custom_getter=tagged(log, "d")):
            gv("w", [1])

    run(f)
    assert log == ["b", "a", "d", "b", "a"]


def test_rule_74_what_a_getter_may_do():
    """Rename (absolutely), call several times, change options, return anything; without `reuse` it is AUTO_REUSE."""

    def twice(getter, name, **options):
        return getter(f"x/{name}", **options) + getter(f"y/{name}", **options)

    def forgetful(getter, name, shape, **_):
        return getter(name, shape)

    def f():
        with vs("a", custom_getter=twice):
            total = gv("v", [2])
        with vs("b", custom_getter=forgetful):
            same = gv("v", [1]) is gv("v", [1])
        with vs("c", custom_getter=lambda getter, **_: "anything"):
            return total.shape, same, gv("v", [1]), store()

    assert run(f) == ((2,), True, "anything", ["b/v", "x/a/v", "y/a/v"])


def test_rule_75_a_getter_must_be_callable():
    """Found out by `get_variable`, not on entry."""

    def f():
        with vs("a", custom_getter=3):
            return err(lambda: gv("v", [1]))

    assert run(f) == "ValueError: Passed a custom_getter which is not callable: 3"


def test_rule_76_creators():
    """The innermost first, on creation only, after the getters; what they return is stored; they run in `init` only."""
    log = []

    def creator(tag):
        def create(next_creator, **options):
            log.append((tag, options["name"], options["trainable"]))
            return next_creator(**{**options, "trainable": False})

        return create

    def f():
        with (
            tf1.variable_creator_scope(creator("outer")),
            tf1.variable_creator_scope(creator("inner")),
            vs("a", reuse=A),
        ):
            v = gv("v", [1])
            return gv("v", [1]) is v, v.trainable

    assert run(f) == (True, False)
    assert log == [("inner", "a/v", True), ("outer", "a/v", False)]
    model = tf1.transform_with_state(lambda: (f(), None)[1])
    params, state = model.init(KEY)
    log.clear()
    model.apply(params, state)
    assert (log, list(state)) == ([], ["a"])


def test_rule_76_a_creator_may_change_the_initial_value():
    """A callable without arguments, or a value."""

    def ones(next_creator, **options):
        return next_creator(**{**options, "initial_value": lambda: jnp.ones(2)})

    def f():
        with tf1.variable_creator_scope(ones):
            gv("v", [2])

    assert tf1.transform(f).init(KEY)["v"].tolist() == [1.0, 1.0]

    def other(next_creator, **options):
        return 3

    def g():
        with tf1.variable_creator_scope(other):
            gv("v", [2])

    with pytest.raises(TypeError, match="returned 3 for `v`, which is not a variable"):
        run(g)


def test_rule_76_creators_nest():
    """Leaving one that is not innermost is TensorFlow's error."""

    def f():
        first, second = (tf1.variable_creator_scope(lambda n, **o: n(**o)) for _ in range(2))
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)

    with pytest.raises(RuntimeError, match=r"^Exiting variable_creator_scope without proper nesting\."):
        run(f)


def cut(*result):
    return lambda shape, dtype: list(result)


def test_rule_77_scalars_are_not_partitioned():
    """Where the shape is a literal empty list; as a TensorShape it is refused."""
    p = tf1.fixed_size_partitioner(2)
    assert names(lambda: gv("v", [], partitioner=p)) == ["v"]
    with pytest.raises(ValueError, match=r"^A partitioned Variable must have rank at least 1, shape: \(\)"):
        run(lambda: gv("v", tf1.TensorShape([]), partitioner=p))


def test_rule_78_the_shape_must_be_known():
    """An array of JAX supplies it, one of NumPy does not, as in TensorFlow."""
    p = tf1.fixed_size_partitioner(2)
    with pytest.raises(
        ValueError, match=r"^Shape of a new partitioned variable must be fully defined, but instead was <unk"
    ):
        run(lambda: gv("v", initializer=np.ones(4), partitioner=p))
    assert tuple(run(lambda: gv("v", initializer=jnp.ones(4), partitioner=p)).shape) == (4,)


CHECKS = {
    "Partitioner must be callable, but received: 3": 3,
    "Partitioner must return a sequence, but saw: 2": lambda shape, dtype: 2,
    r"Partitioner returned a partition list that does not match the Variable's rank: \[2, 1, 1\] vs. \(4, 4\)": cut(
        2, 1, 1
    ),
    r"Partitioner returned zero partitions for some axes: \[0, 1\]": cut(0, 1),
    r"Can only slice a variable along one dimension: shape: \(4, 4\), partitioning: \[2, 2\]": cut(2, 2),
    r"Expected 0 <= offset < shape but found offset=4, shape=4 for var_offset=\[4, 0\], full_shape=\[4, 4\]": cut(5, 1),
}


@pytest.mark.parametrize("message", CHECKS)
def test_rule_79_what_a_partitioner_may_return(message):
    """Checked as in TensorFlow; nothing stays behind."""

    def f():
        with pytest.raises(ValueError, match=f"^{message}"):
            gv("v", [4, 4], partitioner=CHECKS[message])
        return store()

    assert run(f) == []


def test_rule_80_one_array_with_a_sharded_axis():
    """The partitioner's result names the axis; initializers are told of the whole; a constant may have a shape."""
    told = []

    def init(shape, dtype=None, partition_info=None):
        told.append((tuple(shape), tuple(partition_info.full_shape), tuple(partition_info.var_offset)))
        return jnp.zeros(shape, dtype)

    def f():
        with vs("s", partitioner=tf1.fixed_size_partitioner(2, axis=1)):
            gv("v", [3, 4], initializer=init)
            gv("c", [2, 2], initializer=np.arange(4.0).reshape(2, 2))

    with pytest.raises(ValueError, match=r"initial value of partitioned variable v has shape \(\), of which no slice"):
        run(lambda: gv("v", [2], initializer=1.0, partitioner=tf1.fixed_size_partitioner(2)))
    specs = jscope.specs(tf1.scoped(f))
    assert specs["s/v"].axes == (None, "partition")
    assert told[0] == ((3, 4), (3, 4), (0, 0))
    assert specs.materialize(KEY)["s"]["c"].tolist() == [[0.0, 1.0], [2.0, 3.0]]


def test_rule_81_reuse_of_partitioned_variables():
    """TensorFlow's checks and sentences."""

    def f():
        p, q = cut(2, 1), cut(4, 1)
        v = gv("v", [4, 2], partitioner=p)
        gv("u", [4, 2])
        found = [err(lambda: gv("v", [4, 2], partitioner=p)), err(lambda: gv("u", [4, 2], partitioner=p))]
        with vs("", reuse=True):
            found += [gv("v") is v, gv("v", [4, 2], partitioner=p) is v]
            found += [err(lambda: gv("v", [4, 2], partitioner=q)), err(lambda: gv("w", [4, 2], partitioner=p))]
            found += [err(lambda: gv("v", [4, 2], partitioner=lambda shape, dtype: (2, 1)))]
        with vs("", reuse=A):
            return [*found, err(lambda: gv("v", [4, 2]))]

    reuse = (
        "ValueError: Trying to reuse partitioned variable v, but specified partitions {} and found partitions [2, 1]."
    )
    assert run(f) == [
        (
            "ValueError: Partitioned variable with name v already exists. Did you mean to set reuse=True or "
            "reuse=tf.AUTO_REUSE in VarScope?"
        ),
        (
            "ValueError: A partitioner was provided, but an unpartitioned version of the variable was found: u.  "
            "Perhaps a variable of the same name was already created without partitioning?"
        ),
        True,
        True,
        reuse.format("[4, 1]"),
        (
            "ValueError: PartitionedVariable w does not exist, or was not created with tf.get_variable(). Did you mean "
            "to set reuse=False or reuse=tf.AUTO_REUSE in VarScope?"
        ),
        reuse.format("(2, 1)"),
        (
            "ValueError: No partitioner was provided, but a partitioned version of the variable was found: v/part_0. "
            "Perhaps a "
            "variable of the same name was already created with partitioning?"
        ),
    ]


def test_rule_82_the_stock_partitioners():
    """Of TensorFlow's arithmetic; every variable in the scope is partitioned."""
    shape = tf1.TensorShape([10, 4])
    assert tf1.fixed_size_partitioner(16)(shape=shape, dtype="float32") == [10, 1]
    assert tf1.variable_axis_size_partitioner(64)(shape=shape, dtype="float32") == [3, 1]
    assert tf1.variable_axis_size_partitioner(64, max_shards=2)(shape=shape, dtype="float32") == [2, 1]
    assert tf1.min_max_variable_partitioner(8, min_slice_size=40)(shape=shape, dtype="float32") == [4, 1]
    assert tf1.min_max_variable_partitioner(8, axis=1, min_slice_size=8)(shape=shape, dtype="float32") == [1, 4]
    with pytest.raises(ValueError, match=r"^Both max_shard_bytes and bytes_per_string_element must be positive"):
        tf1.variable_axis_size_partitioner(0)
    with pytest.raises(ValueError, match=r"^Cannot partition variable along axis 2"):
        tf1.min_max_variable_partitioner(axis=2)(shape=shape, dtype="float32")

    def f():
        with vs("s", partitioner=tf1.fixed_size_partitioner(2)):
            return gv("w", [4, 2]).facts.partitions, gv("b", [4], jnp.int32).facts.partitions

    assert run(f) == ([2, 1], [2])


def test_rule_83_an_exception_leaves_through_the_exit():
    """Scope, flags and counts are restored."""

    def f():
        try:
            with vs("a", reuse=True), vs(None, "d"):
                raise KeyError("x")
        except KeyError:
            scope = tf1.get_variable_scope()
            with vs("a"), vs(None, "d") as d, tf1.name_scope("n") as n:
                return scope.name, scope.reuse, d.name, n

    assert run(f) == ("", False, "a/d", "a_1/d/n/")


def test_rule_84_scopes_are_left_in_reverse_order():
    """Otherwise an error; the current scope stays, so that the right exits can follow."""

    def f():
        outer, inner = vs("a"), vs("b")
        outer.__enter__()
        inner.__enter__()
        wrong = err(lambda: outer.__exit__(None, None, None))
        here = tf1.get_variable_scope().name
        inner.__exit__(None, None, None)
        outer.__exit__(None, None, None)
        return wrong, here, tf1.get_variable_scope().name

    assert run(f) == ("RuntimeError: Improper nesting of variable_scope.", "a/b", "")


def test_rule_87_a_template_opens_its_scope_at_the_first_call():
    """Or when it is made, if asked to; two of one name are numbered; kwargs are bound."""

    def f():
        def fn(x=0):
            return gv("v", [1]).op.name, x

        with vs("a"):
            now = tf1.make_template("s", fn, create_scope_now_=True, x=5)
            later = tf1.make_template("s", fn)
        with vs("b"):
            first = now(), later()
        return first, now(), later(), tf1.make_template("s", fn)()

    assert run(f) == ((("a/s/v", 5), ("b/s/v", 0)), ("a/s/v", 5), ("b/s/v", 0), ("s/v", 0))

    def two():
        fn = lambda: gv("v", [1]).op.name  # noqa: E731
        return tf1.make_template("s1", fn)(), tf1.make_template("s1", fn)()

    assert run(two) == ("s1/v", "s1_1/v")


def test_rule_88_a_unique_name_is_not_numbered():
    """A second template of that name collides; a name is required."""

    def f():
        fn = lambda: gv("v", [1]).op.name  # noqa: E731
        first = tf1.make_template("s", fn, unique_name_="u")()
        return first, err(tf1.make_template("s", fn, unique_name_="u"))

    assert run(f) == ("u/v", EXISTS.format("u/v"))
    with pytest.raises(ValueError, match=r"^name cannot be None"):
        tf1.make_template(None, lambda: None)


def test_rule_89_a_template_captures_its_surroundings():
    """At the first call, with the reuse flag."""

    def f():
        t = tf1.make_template("t", lambda: gv("v", [1]).dtype.name)
        with vs("a", dtype=jnp.int32):
            first = t()
        u = tf1.make_template("u", lambda: gv("v", [1]).op.name)
        with vs("b", reuse=A):
            return first, t(), u()

    assert run(f) == ("int32", "int32", "b/u/v")


def test_rule_89_a_scope_opened_at_once_has_the_librarys_dtype():
    """With `create_scope_now_` all is inherited but the dtype. Found by `oracle/`."""

    def f():
        with vs("a", dtype=jnp.int32, initializer=tf1.ones_initializer()):
            return tf1.make_template("t", lambda: gv("v", [1]), create_scope_now_=True)().dtype.name

    assert run(f) == "float32"


def test_rule_90_later_calls_create_nothing_trainable():
    """By `get_variable`: "does not exist"."""

    def f():
        asked = ["a"]
        t = tf1.make_template("t", lambda: [gv(name, [1]) for name in asked])
        t()
        asked.append("b")
        return err(t)

    assert run(f) == MISSING.format("t/b")

    def around():
        with vs("auto", reuse=A) as auto:
            pass
        inside = []

        def fn():
            gv("a", [1])
            if inside:
                with vs(auto):
                    gv("late", [1])

        t = tf1.make_template("t", fn)
        t()
        inside.append(1)
        return err(t)

    assert run(around).startswith("ValueError: Trainable variable created when calling a template after the first time")


def test_rule_91_exceptions_say_where_the_template_was_made():
    """Of the same type; a first call that fails before creating anything can be tried again."""

    def f():
        fail = [True]

        def fn():
            if fail:
                raise KeyError(fail.pop())
            return gv("v", [1]).op.name

        t = tf1.make_template("t", fn)
        with pytest.raises(KeyError, match=r"originally defined at:.*test_rules_rest\.py"):
            t()
        return t()

    assert run(f) == "t/v"


def test_rule_92_what_a_template_knows():
    """Its scope and its variables; nothing before the first call."""

    def f():
        log = []

        def fn():
            gv("v", [1])
            gv("n", [1], trainable=False)
            tf1.get_local_variable("l", [1])
            tf1.make_template("inner", lambda: gv("w", [1]))()

        t = tf1.make_template("t", fn, custom_getter_=tagged(log, "g"))
        before = t.variable_scope, t.variable_scope_name, t.variables
        t()
        t()
        kinds = (t.trainable_variables, t.non_trainable_variables, t.global_variables, t.local_variables, t.variables)
        return before, t.variable_scope_name, [[v.op.name for v in kind] for kind in kinds], len(log)

    before, name, kinds, calls = run(f)
    assert before == (None, None, [])
    assert name == "t/"
    assert kinds[:2] == [["t/v", "t/inner/w"], ["t/n"]]
    assert kinds[2:] == [["t/v", "t/n", "t/inner/w"], ["t/l"], ["t/v", "t/n", "t/inner/w", "t/l"]]
    assert calls == 8


global_template = tf1.make_template("g", lambda x: x * gv("w", []))


def test_a_template_made_outside_begins_anew_in_each_call():
    """In each `init` and each `apply`."""
    model = tf1.transform(lambda x: global_template(x) + global_template(2 * x))
    params = model.init(KEY, 1.0)
    assert jscope.tree.names(params) == jscope.tree.names(model.init(KEY, 1.0)) == ["g/w"]
    for w in (2.0, 3.0):
        assert float(model.apply({"g": {"w": w}}, 1.0)) == 3 * w


PARAMS = {"m": {"x": jnp.zeros(2), "y": jnp.zeros(3)}, "m_1": {"x": jnp.zeros(2)}}
OLD = {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate({"a/x": 2, "a/y": 3, "z": 2}.items(), 1)}


def load(assignment, params=PARAMS, old=OLD):
    new = tf1.train.init_from_checkpoint(params, old, assignment)
    return {path: float(value[0]) for path, value in jscope._path.items(new)}


def test_rule_93_sorted_by_the_names_in_the_checkpoint():
    """A specific entry of the same prefix overrides; a list may name one tensor twice."""
    assert load({"z": "m/x", "a/": "m/"}) == {"m/x": 3.0, "m/y": 2.0, "m_1/x": 0.0}
    assert load([("z", "m/x"), ("z", "m_1/x")]) == {"m/x": 3.0, "m/y": 0.0, "m_1/x": 3.0}


def test_rule_94_a_string_is_first_a_variable():
    """`":0"` is no part of a name; handles are taken too."""
    assert load({"z": "m/x"})["m/x"] == 3.0
    with pytest.raises(ValueError, match=r"^Assignment map with scope only name m should map to scope only z"):
        load({"z": "m/x:0"})
    out = []
    tf1.transform(lambda: out.append(load({"z": gv("m/x")}))).apply(PARAMS)
    assert out[0]["m/x"] == 3.0


def test_rule_95_a_tensor_must_be_there_and_fit():
    """Absent, or of another shape."""
    with pytest.raises(ValueError, match=r"^Tensor no is not found in dict checkpoint \{'a/x': \[2\]"):
        load({"no": "m/x"})
    wrong = (
        r"^Shape of variable m/x:0 \(\(2,\)\) doesn't match with shape of tensor a/y \(\[3\]\) from checkpoint reader\."
    )
    with pytest.raises(ValueError, match=wrong):
        load({"a/y": "m/x"})


def test_rule_96_scopes_end_in_a_slash():
    """On both sides."""
    with pytest.raises(ValueError, match="Should be 'scope/': 'other_scope/'"):
        load({"a": "m/"})
    with pytest.raises(ValueError, match=r"^Tensor a//x \(/x in a/\) is not found"):
        load({"a/": "m"}, params={"m": {"x": jnp.zeros(2)}})


def test_rule_97_every_variable_of_the_scope_must_be_there():
    """`m/` does not catch `m_1/`; extra tensors are ignored; nothing to assign is fine. Atomic, unlike TensorFlow."""
    assert load({"a/": "m/"}) == {"m/x": 1.0, "m/y": 2.0, "m_1/x": 0.0}
    with pytest.raises(ValueError, match=r"^Tensor a/y \(y in a/\) is not found in dict checkpoint"):
        load({"a/": "m/"}, old={"a/x": OLD["a/x"]})
    assert load({"a/": "nosuch/"})["m/x"] == 0.0


def test_rule_98_the_root_and_shards():
    """`/` is the root on both sides; shards are put together along the axis that they were cut on."""
    assert load({"/": "m/"}, old={"x": np.ones(2), "y": np.ones(3)})["m/y"] == 1.0
    assert load({"/": "/"}, params={"z": jnp.zeros(2)}) == {"z": 3.0}
    assert load({"a/": "/"}, params={"x": jnp.zeros(2)}) == {"x": 1.0}
    shards = {"v/part_0": np.full((2, 2), 1.0), "v/part_1": np.full((2, 1), 2.0)}
    new = tf1.train.init_from_checkpoint({"v": jnp.zeros((2, 3))}, shards, {"v": "v"})
    assert new["v"].tolist() == [[1.0, 1.0, 2.0]] * 2


def test_rule_99_new_params_come_back():
    """The old ones are as they were; dtypes are those of the params; a reader need only have two methods."""

    class Reader:
        path = "model.ckpt"

        def get_variable_to_shape_map(self):
            return {"w": [2]}

        def get_tensor(self, name):
            return np.ones(2, np.float64)

    params = {"w": jnp.zeros(2, jnp.bfloat16)}
    new = tf1.train.init_from_checkpoint(params, Reader(), {"w": "w"})
    assert new["w"].dtype == jnp.bfloat16
    assert (new["w"].tolist(), params["w"].tolist()) == ([1.0, 1.0], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"is not found in model.ckpt checkpoint"):
        tf1.train.init_from_checkpoint(params, Reader(), {"v": "w"})


def test_values_of_old_checkpoints_load_by_name():
    """Names with empty parts, too: params join back to TensorFlow's names exactly."""

    def model(x):
        with vs("net"), vs(""):
            return x * gv("w", [2])

    model = tf1.transform(model)
    params = model.init(KEY, jnp.ones(2))
    new = tf1.train.init_from_checkpoint(params, {"net//w": np.array([3.0, 4.0])}, {"net/": "net/"})
    assert jax.jit(model.apply)(new, jnp.ones(2)).tolist() == [3.0, 4.0]
