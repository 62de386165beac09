"""Thirty tricky sequences, with the output that TensorFlow 2.21 gave.

Where jscope differs on purpose (the table of decisions), the docstring says how.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import tf1
from tests.tf1.tools import EXISTS, MISSING, A, counts, err, gv, initial, names, run, store, vs


def opened(name):
    with vs(None, name) as scope:
        return scope.name


def test_t1_default_names_start_anew_when_a_scope_is_entered_again():
    """By string or by object."""

    def f():
        with vs("s") as s:
            first = opened("d"), opened("d")
        with vs("s"):
            second = opened("d")
        with vs(s):
            return first, second, (opened("d"), opened("d"))

    assert run(f) == (("s/d", "s/d_1"), "s/d", ("s/d", "s/d_1"))


def test_t2_a_jump_into_an_open_scope_goes_on_counting_and_then_forgets():
    """So the name inside the jump is given a second time after it."""

    def f():
        with vs("m") as m:
            with vs(None, "layer"):
                first = gv("w", []).name
            with vs(m), vs(None, "layer"):
                second = gv("w", []).name
            with vs(None, "layer") as x:
                return first, second, x.name, err(lambda: gv("w", []))

    assert run(f) == ("m/layer/w:0", "m/layer_1/w:0", "m/layer_1", EXISTS.format("m/layer_1/w"))


def test_t3_a_jump_to_the_root_takes_the_roots_counters_back():
    """From inside another scope, too."""

    def f():
        root = tf1.get_variable_scope()
        with vs("o"), vs(root), vs(None, "d") as s:
            first = s.name
            gv("w", [1])
        with vs(None, "d") as s:
            return first, s.name, err(lambda: gv("w", [1]))

    assert run(f) == ("d", "d", EXISTS.format("d/w"))


def test_t4_explicit_names_take_the_numbers_of_default_names():
    """And are never numbered themselves."""

    def f():
        with vs("f"):
            pass
        with vs("e_1"):
            pass
        made = opened("f"), opened("e"), opened("e")
        opened("g")
        with vs("g") as x:
            return *made, x.name

    assert run(f) == ("f_1", "e", "e_2", "g")


def test_t5_entering_a_captured_scope_counts():
    """As an opening of its name."""

    def f():
        with vs("a") as a:
            pass
        with vs(a):
            pass
        seen = counts()
        with vs(None, "a") as x:
            return seen, x.name

    assert run(f) == ({"a": 2}, "a_1")


def test_t6_a_name_of_two_parts_counts_as_one():
    """`a/b` leaves a count for `b` inside `a`, until an `a` is left."""

    def f():
        with vs("a/b"):
            pass
        with vs("a"):
            first = opened("b")
        with vs("a"):
            return first, opened("b")

    assert run(f) == ("a/b_1", "a/b")


def test_t7_reuse_is_inherited_and_the_two_kinds_override_each_other():
    """False and None do nothing inside."""

    def f(outer, inner):
        with vs("o", reuse=outer), vs("i", reuse=inner) as s:
            return s.reuse

    asked = [(True, False), (True, None), (True, A), (A, True), (A, False)]
    assert run(lambda: [f(*pair) for pair in asked]) == [True, True, A, True, A]


def test_t8_in_a_jump_the_captured_flag_counts():
    """The flag around it is not inherited."""

    def f():
        with vs("c") as c:
            pass
        with vs("amb", reuse=True):
            with vs(c) as s:
                jumped = s.reuse, gv("new", [1]).name
            with vs("plain") as p:
                return *jumped, p.reuse

    assert run(f) == (False, "c/new:0", True)


def test_t9_reuse_variables_reaches_children_opened_by_name():
    """Not those entered again by object."""

    def f():
        with vs("a") as a:
            with vs("b") as b:
                gv("v", [1])
            a.reuse_variables()
            with vs("b") as s:
                by_name = s.reuse, gv("v", [1]).name
            with vs(b) as s:
                return *by_name, s.reuse, err(lambda: gv("v", [1]))

    assert run(f) == (True, "a/b/v:0", False, EXISTS.format("a/b/v"))


def test_t10_setters_change_the_object_not_the_name():
    """Entered by name they are gone, by object they are there, in a copy."""

    def f():
        with vs("s") as s:
            s.reuse_variables()
            s.set_dtype(jnp.float64)
        with vs("s") as x:
            by_name = x.reuse, np.dtype(x.dtype).name
        with vs(s) as y:
            by_object = y.reuse, np.dtype(y.dtype).name, y is s
            y.set_dtype(jnp.int32)
        return by_name, by_object, np.dtype(s.dtype).name

    assert run(f) == ((False, "float32"), (True, "float64", False), "float64")


def test_t11_nothing_leaves_reuse_mode():
    """Not `variable_scope(get_variable_scope(), reuse=False)` either."""

    def f():
        gv("w", [1])
        tf1.get_variable_scope().reuse_variables()
        with vs(tf1.get_variable_scope(), reuse=False):
            return err(lambda: gv("q", [1]))

    assert run(f) == MISSING.format("q")


def test_t12_a_default_name_does_not_go_with_reuse():
    """But default names replay in a scope that is entered with reuse."""

    def f():
        made = [err(lambda: vs(None, "d", reuse=True).__enter__()), err(lambda: vs(None, "d", reuse=A).__enter__())]

        def block():
            with vs(None, "d"):
                a = gv("w", [1]).name
            with vs(None, "d"):
                return a, gv("w", [1]).name

        with vs("m"):
            first = block()
        with vs("m", reuse=True):
            return made, first, block(), err(block)

    refused = "ValueError: reuse=True cannot be used without a name_or_scope"
    pair = ("m/d/w:0", "m/d_1/w:0")
    assert run(f) == ([refused, refused], pair, pair, MISSING.format("m/d_2/w"))


def test_t13_constraint_alone_is_not_inherited():
    """Neither by nesting nor by a jump."""

    def f():
        def c(x):
            return x

        i = tf1.zeros_initializer()
        with vs("a", constraint=c, initializer=i) as a:
            own = gv("v", [1]).constraint is c
            with vs("b") as b:
                nested = b.constraint, b.initializer is i
        with vs(a) as a2:
            return own, nested, (a2.constraint, a2.initializer is i)

    assert run(f) == (True, (None, True), (None, True))


def test_t14_a_jump_ignores_all_defaults_around_it():
    """It has those of the captured scope."""

    def f():
        with vs("A", initializer=tf1.zeros_initializer()) as a:
            pass
        with vs("B", initializer=tf1.ones_initializer(), dtype=jnp.float16, reuse=True), vs(a):
            gv("v", [1])

    assert initial(f) == {"A/v": jnp.zeros(1)}
    assert initial(f)["A/v"].dtype == jnp.float32


def test_t15_reuse_of_an_int_variable_needs_its_dtype():
    """What is not given is the scope's float32, and that is compared."""

    def f():
        def step(**options):
            with vs("m", reuse=A):
                return gv("step", initializer=0, **options)

        return step().dtype.name, err(step), step(dtype=jnp.int32).name

    refused = "ValueError: Trying to share variable m/step, but specified dtype float32 and found dtype int32."
    assert run(f) == ("int32", refused, "m/step:0")


CONSTANT = "ValueError: If initializer is a constant, do not specify shape."


def test_t16_constant_initializers_say_shape_and_dtype():
    """A scope's constant drops the dtype that was asked for; on reuse a constant's shape is not compared."""

    def f():
        a = err(lambda: gv("a", [1], initializer=1.0))
        b = err(lambda: gv("b", initializer=1, dtype=jnp.float32))
        with vs("s", initializer=np.float32(0.1)):
            c, d = err(lambda: gv("c", [1])), gv("d", dtype=jnp.float16).dtype.name
        gv("e", initializer=np.zeros((2, 3), "f"))
        with vs("", reuse=True):
            return a, b, c, d, gv("e", initializer=np.zeros((9, 9), "f")).shape

    differs = "ValueError: Initializer type '<dtype: 'int32'>' and explicit dtype '<dtype: 'float32'>' don't match."
    assert run(f) == (CONSTANT, differs, CONSTANT, "float32", (2, 3))


def test_t17_reuse_ignores_everything_but_shape_and_dtype():
    """Initializer, trainable, regularizer, constraint, collections: without a word."""

    def f():
        def g(initializer, **options):
            with vs("m", reuse=A):
                return gv("v", [2], initializer=initializer, **options)

        a = g(tf1.zeros_initializer())
        b = g(tf1.ones_initializer(), trainable=False, regularizer=jnp.sum, constraint=lambda x: x)
        return a is b, b.trainable, b.constraint, len(tf1.get_collection("regularization_losses"))

    assert run(f) == (True, True, None, 0)


def test_t18_which_error_comes_first():
    """A shape beside a constant, then what exists, then the shape, then the dtype."""

    def f():
        gv("v", [2])
        first = err(lambda: gv("v", [3], dtype=jnp.int32)), err(lambda: gv("v", [2], initializer=1.0))
        with vs("", reuse=True):
            missing = err(lambda: gv("nope", [2], initializer=1.0))
            return *first, err(lambda: gv("v", [9], dtype=jnp.int32)), missing

    shape = "ValueError: Trying to share variable v, but specified shape (9,) and found shape (2,)."
    assert run(f) == (EXISTS.format("v"), CONSTANT, shape, CONSTANT)


def test_t19_names_of_ops_never_change_those_of_variables():
    """`v.name` is the key and `:0`. TensorFlow renames the op: `k_1:0`, `case/x_1:0`."""

    def f():
        with vs("k"):
            pass
        k = gv("k", [1]).name
        with vs("Case"):
            gv("x", [1])
        with vs("case"):
            return k, gv("x", [1]).name, store()

    assert run(f) == ("k:0", "case/x:0", ["Case/x", "case/x", "k"])


def boom(*args, **kwargs):
    raise KeyError("boom")


def test_t20_what_fails_leaves_no_variable():
    """Neither a failed initializer nor (unlike TensorFlow) a failed regularizer."""

    def f():
        x = err(lambda: gv("x", [1], initializer=boom)), "x" in store(), err(lambda: gv("x", [1]))
        y = err(lambda: gv("y", [1], regularizer=boom)), "y" in store(), err(lambda: gv("y", [1]))
        return x, y

    assert run(f) == (("KeyError: 'boom'", False, "OK -> x:0"), ("KeyError: 'boom'", False, "OK -> y:0"))


def renaming(tag):
    return lambda getter, name, *args, **kwargs: getter(name + "_" + tag, *args, **kwargs)


def test_t21_the_inner_getter_runs_first():
    """A getter given to `get_variable` replaces them all."""

    def f():
        with vs("a", custom_getter=renaming("outer")) as a:
            with vs("b", custom_getter=renaming("inner")):
                inner = gv("v", [1]).name
            argument = gv("v", [1], custom_getter=renaming("arg")).name
        with vs("c", custom_getter=renaming("amb")), vs(a, custom_getter=renaming("new")):
            return inner, argument, gv("x", [1]).name

    assert run(f) == ("a/b/v_inner_outer:0", "a/v_arg:0", "a/x_new_outer:0")


def test_t22_a_lone_getter_is_called_by_keyword():
    """So its first parameter must be called `getter`; that of a nested one need not."""

    def f():
        def g(g, *args, **kwargs):
            return g(*args, **kwargs)

        with vs("s", custom_getter=g):
            alone = err(lambda: gv("v", [1]))
        with vs("t", custom_getter=lambda getter, *a, **k: getter(*a, **k)), vs("u", custom_getter=g):
            return alone, err(lambda: gv("v", [1]))

    alone, nested = run(f)
    assert alone.startswith("TypeError")
    assert "missing 1 required positional argument: 'g'" in alone
    assert nested == "OK -> t/u/v:0"


def test_t23_only_the_joined_string_matters():
    """Empty names and slashes at the end double the slash; the params nest it, and join back."""

    def f():
        with vs("a"):
            gv("b/c", [1])
        with vs("a/b"):
            again = err(lambda: gv("c", [1]))
        with vs("foo"), vs("") as s:
            foo = s.name, gv("v", [1]).name
        with vs("bar/") as s:
            bar = s.name, gv("v", [1]).name
        with vs("") as s:
            return again, foo, bar, s.name, gv("r", [1]).name

    assert run(f) == (EXISTS.format("a/b/c"), ("foo/", "foo//v:0"), ("bar/", "bar//v:0"), "", "r:0")
    params = tf1.transform(lambda: (f(), None)[1]).init(jax.random.key(0))
    assert params["foo"][""]["v"].shape == (1,)
    assert names(f) == [path for path, _ in jscope._path.items(params)] == ["a/b/c", "foo//v", "bar//v", "r"]


def test_t24_name_scopes_never_change_names_of_variables():
    """A jump opens only the last part of its name as a name scope."""

    def f():
        with tf1.name_scope("ns"), vs("deep"), vs("er") as e:
            first = gv("v", [1]).name, e.original_name_scope
        with vs(e), tf1.name_scope("c") as inner:
            second = gv("w", [1]).name, inner
        with vs(e, auxiliary_name_scope=False), tf1.name_scope(e.original_name_scope) as back:
            return first, second, back

    assert run(f) == (("deep/er/v:0", "ns/deep/er/"), ("deep/er/w:0", "er/c/"), "ns/deep/er/")


def test_t25_the_context_manager_remembers():
    """Entering it again is not making it anew: reuse sticks, a default name is kept."""

    def f():
        cm = vs("s")
        with vs("outer", reuse=True), cm as b:
            first = b.name, b.reuse
        with cm as c:
            second = c.name, c.reuse
        cm = vs(None, "dd")
        with cm as a:
            third = a.name
        with cm as a:
            return first, second, third, a.name

    assert run(f) == (("outer/s", True), ("s", True), "dd", "dd")


def test_t26_every_created_variable_is_regularized():
    """Also local and not trainable ones; the regularizer is called twice. Names end in `/Regularizer`."""

    def f():
        n = []

        def reg(v):
            n.append(v)
            return jnp.sum(v)

        with vs("a", regularizer=reg):
            gv("v", [2])
            calls = len(n)
            tf1.get_local_variable("l", [2])
            gv("nt", [2], trainable=False)
            gv("x", [2], regularizer=tf1.no_regularizer)
        return calls, [t.name for t in tf1.get_collection("regularization_losses")]

    assert run(f) == (2, ["a/v/Regularizer:0", "a/l/Regularizer:0", "a/nt/Regularizer:0"])


def test_t27_a_partitioned_variable_is_one_array():
    """With TensorFlow's checks of reuse; its name is its own, and nothing stays behind an error."""

    def f():
        def p(shape, dtype):
            return [2] + [1] * (len(shape) - 1)

        v = gv("v", [5, 2], partitioner=p)
        with vs("", reuse=True):
            again = gv("v") is v, err(lambda: gv("v", partitioner=p))
        with vs("", reuse=A):
            without = err(lambda: gv("v", [5, 2]))
        big = err(lambda: gv("big", [2], partitioner=lambda shape, dtype: [3]))
        return v.name, tuple(v.shape), again, without, big, store()

    undefined = "ValueError: Shape of a new partitioned variable must be fully defined, but instead was <unknown>."
    without = (
        "ValueError: No partitioner was provided, but a partitioned version of the variable was found: v/part_0. "
        "Perhaps a "
        "variable of the same name was already created with partitioning?"
    )
    big = "ValueError: Expected 0 <= offset < shape but found offset=2, shape=2 for var_offset=[2], full_shape=[2]"
    assert run(f) == ("v", (5, 2), (True, undefined), without, big, ["v"])


def test_t28_a_template_keeps_the_scope_of_its_first_call():
    """An exception in the first call poisons it."""

    def f():
        def make():
            return gv("d", [1])

        t = tf1.make_template("t", make)
        with vs("A"):
            first = t().name
        with vs("B"):
            second = t().name
        failures = [KeyError("first")]

        def flaky():
            gv("a", [1])
            if failures:
                raise failures.pop()

        fl = tf1.make_template("fl", flaky)
        poisoned = err(fl)[:16], err(fl)
        r = tf1.make_template("r", make)
        with vs("R", reuse=True):
            inside = err(r)
        return first, second, poisoned, inside, err(r)

    missing = MISSING.format("R/r/d")
    assert run(f) == ("A/t/d:0", "A/t/d:0", ("KeyError: 'first", EXISTS.format("fl/a")), missing, missing)


def test_t29_collections_and_local_variables():
    """An explicit list replaces `GLOBAL_VARIABLES`; the caller's list is appended to."""

    def f():
        def n(key):
            return [v.name for v in tf1.get_collection(key)]

        gv("c", [1], collections=["foo"])
        gv("e", [1], collections=[])
        mine = ["foo"]
        tf1.get_local_variable("l", [1], collections=mine, trainable=True)
        first = n("variables"), n("trainable_variables"), n("foo"), n("local_variables"), mine
        gv("a", [1])
        with vs("", reuse=True):
            tf1.get_local_variable("a", [1])
        return first, n("local_variables")

    first = ([], ["c:0", "e:0"], ["c:0", "l:0"], ["l:0"], ["foo", "local_variables"])
    assert run(f) == (first, ["l:0"])


def test_t30_init_from_checkpoint_goes_by_prefix():
    """With TensorFlow's rules and errors, but on params, and an error changes nothing."""
    old = {"a/x": np.float32(1.0), "z/x": np.float32(26.0)}
    params = {"m": {"x": jnp.float32(-1.0), "y": jnp.float32(-2.0)}}

    def load(assignment):
        return tf1.train.init_from_checkpoint(params, old, assignment)

    with pytest.raises(ValueError, match=r"^Tensor a/y \(y in a/\) is not found in dict checkpoint"):
        load({"a/": "m/"})
    assert load({"a/": "nosuch/"}) == params
    only = r"^Assignment map with scope only name m should map to scope only a/x. Should be 'scope/': 'other_scope/'."
    with pytest.raises(ValueError, match=only):
        load({"a/x": "m/nope"})
    with pytest.raises(ValueError, match=r"^Tensor a//x \(/x in a/\) is not found in dict checkpoint"):
        load({"a/": "m"})
    assert load([("z/x", "m/x"), ("a/x", "m/x")])["m"]["x"] == 26.0
