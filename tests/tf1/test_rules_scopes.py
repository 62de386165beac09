"""Rules 1 to 47 of TensorFlow's variable scopes: names, counters, reuse, inheritance, name scopes, arguments."""

from __future__ import annotations

import concurrent.futures

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jscope import errors, tf1
from tests.tf1.tools import EXISTS, MISSING, A, counts, err, gv, names, run, store, vs


def opened(name):
    with vs(None, name) as scope:
        return scope.name


def test_rule_1_each_call_has_a_store_of_its_own():
    """A new call starts empty; within one, what was created stays."""
    model = lambda: (gv("v", [1]), None)[1]  # noqa: E731
    assert names(model) == names(model) == ["v"]
    assert run(lambda: (gv("v", [1]), store())[1]) == ["v"]


def test_rule_2_the_state_at_the_root():
    """No name, no reuse, float32, no counts."""
    scope, seen = run(lambda: (tf1.get_variable_scope(), counts()))
    assert (scope.name, scope.reuse, np.dtype(scope.dtype), seen) == ("", False, np.float32, {})


def test_rule_3_reuse_gives_the_same_object_by_joined_name():
    """Structure is irrelevant, case is not."""

    def f():
        with vs("a"):
            first = gv("b/c", [1])
        with vs("a/b", reuse=True):
            same = gv("c", [1]) is first
        with vs("A", reuse=True):
            return same, first == first, len({first, first}), err(lambda: gv("b/c", [1]))

    assert run(f) == (True, True, 1, MISSING.format("A/b/c"))


def test_rule_4_get_variable_does_not_find_a_variable_made_by_hand():
    """It takes the name, and `get_variable` creates another, for which there is no room in a dict: an error says so."""

    def f():
        w = tf1.Variable(1.0, name="w")
        with vs("", reuse=True):
            return w.name, store(), err(lambda: gv("w")), err(lambda: gv("x", [1]))

    assert run(f)[:2] == ("w:0", [])
    assert run(f)[2].startswith("ValueError: Variable w")
    with pytest.raises(errors.DuplicateVariableError, match=r"`tf1\.Variable` made it"):
        run(lambda: (tf1.Variable(1.0, name="w"), gv("w", [1])))


def test_rule_5_a_name_is_used_as_it_is():
    """Never numbered; it may have slashes."""

    def f():
        with vs("a/b") as first:
            pass
        with vs("a/b") as second, vs("c") as inner:
            return first.name, second.name, inner.name

    assert run(f) == ("a/b", "a/b", "a/b/c")


def test_rule_6_names_are_joined_as_they_are():
    """Empty names and slashes at the end are kept."""

    def f():
        with vs("foo"), vs("") as s:
            first = s.name, gv("v", [1]).op.name
        with vs("bar/"):
            return first, gv("v", [1]).op.name

    assert run(f) == (("foo/", "foo//v"), "bar//v")


def test_rule_7_an_empty_name_at_the_root():
    """Stays at the root, is no jump, and beats the default name."""

    def f():
        with vs("", reuse=True), vs("", "d") as s:
            return s.name, s.reuse

    assert run(f) == ("", True)


def test_rule_8_a_jump_goes_to_the_captured_name():
    """Wherever it starts; to the root as well."""

    def f():
        root = tf1.get_variable_scope()
        with vs("a") as a:
            pass
        with vs("b"), vs(a) as again, vs(root) as top:
            return again.name, top.name

    assert run(f) == ("a", "")


ROOT = r"is not a valid root scope name. A root scope name has to match the following pattern: \^\[A-Za-z0-9.\]"
NESTED = r"is not a valid scope name. A scope name has to match the following pattern: \^\[A-Za-z0-9_."


def test_rule_9_names_of_scopes():
    """Checked by the name scope: at the root more strictly. Without a name scope, the first variable fails."""

    def f(name):
        with vs(name) as s:
            return s.name

    for bad in ("_x", "-x", "/a", "a b", "a:0"):
        with pytest.raises(ValueError, match=ROOT):
            run(lambda bad=bad: f(bad))

    def nested(name):
        with vs("s"):
            return f(name)

    assert [run(lambda n=n: nested(n)) for n in ("_x", "-x", "/a")] == ["s/_x", "s/-x", "s//a"]
    with pytest.raises(ValueError, match=NESTED):
        run(lambda: nested("a b"))

    def unchecked():
        with vs("_x", auxiliary_name_scope=False) as s:
            return s.name, err(lambda: gv("v", [1]))[:40]

    assert run(unchecked) == ("_x", "ValueError: '_x/v' is not a valid root s")


def test_rule_10_names_of_variables():
    """Checked on the full name; some of what TensorFlow takes, it takes by accident."""
    assert names(lambda: gv("a/b", [1])) == ["a/b"]
    for bad in ("_v", "v w", "v:0", "/v"):
        with pytest.raises(ValueError, match=ROOT):
            run(lambda bad=bad: gv(bad, [1]))

    def inside(name):
        with vs("s"):
            return gv(name, [1]).op.name

    assert [run(lambda n=n: inside(n)) for n in ("/v", "_v", "")] == ["s//v", "s/_v", "s/"]
    with pytest.raises(TypeError, match=r'^can only concatenate str \(not "NoneType"\) to str'):
        run(lambda: inside(None))
    assert run(lambda: gv(None, [1]).name) == "Variable:0"
    with pytest.raises(TypeError, match="name of a variable must be a string"):
        run(lambda: gv(3, [1]))
    assert run(lambda: gv(b"v", [1]).name) == "v:0"
    with pytest.raises(TypeError, match="can only concatenate str"):
        run(lambda: inside(b"v"))


def test_rule_11_name_scope_never_affects_get_variable():
    """`variable_scope` affects both."""

    def f():
        with tf1.name_scope("ns"), vs("a") as a:
            return gv("v", [1]).op.name, a.original_name_scope

    assert run(f) == ("a/v", "ns/a/")


def test_rule_12_the_name_is_the_key():
    """No op takes it away. In TensorFlow `v.name` would be `k_1:0`."""

    def f():
        with tf1.name_scope("k"):
            pass
        return gv("k", [1]).name

    assert run(f) == "k:0"


def test_rule_13_a_default_name_is_free_among_scopes():
    """Not among variables, nor among name scopes."""

    def f():
        gv("d", [1])
        with tf1.name_scope("d"):
            pass
        return opened("d"), opened("d"), opened("d")

    assert run(f) == ("d", "d_1", "d_2")


def test_rule_14_every_entry_counts():
    """Explicit names, default names and jumps take numbers; explicit names are never numbered."""

    def f():
        with vs("f") as f:
            pass
        with vs("e_1"):
            pass
        with vs(f):
            pass
        made = opened("f"), opened("e"), opened("e"), counts()["f"]
        with vs("e") as e:
            return *made, e.name

    assert run(f) == ("f_1", "e", "e_2", 2, "e")


def test_rule_15_leaving_a_scope_resets_what_is_below():
    """Not itself, nor a neighbour with a longer name."""

    def f():
        with vs("s1"):
            opened("x")
            with vs("s1"):
                pass
        with vs("s"):
            opened("d")
        return counts()

    assert run(f) == {"s1": 1, "s1/x": 0, "s1/s1": 0, "s": 1, "s/d": 0}

    def neighbours():
        with vs("s1/y"):
            pass
        with vs("s"):
            pass
        with vs(""):
            pass
        return counts()["s1/y"]

    assert run(neighbours) == 1


def test_rule_16_a_jump_restores_all_counts():
    """As they were just after its entry was counted."""

    def f():
        with vs("m") as m:
            opened("d")
            with vs(m):
                inside = opened("d")
                with vs("x"):
                    pass
            return inside, counts()

    assert run(f) == ("m/d_1", {"m": 2, "m/d": 1})


def test_rule_17_counts_at_the_root_are_never_reset():
    """So a default name does not exist under reuse the second time."""

    def block():
        with vs(None, "d"):
            return gv("w", [1]).name

    def f():
        first = block()
        tf1.get_variable_scope().reuse_variables()
        return first, err(block)

    assert run(f) == ("d/w:0", MISSING.format("d_1/w"))


def test_rule_18_counts_stay_after_an_error():
    """Unless entering itself failed."""

    def fails():
        with vs(None, "d"):
            raise KeyError("x")

    def f():
        first = err(fails), opened("d")
        return *first, err(lambda: vs("a b").__enter__())[:15], counts()

    assert run(f) == ("KeyError: 'x'", "d_1", "ValueError: 'a ", {"d": 1, "d_1": 1})


def test_rule_19_default_names_replay_under_reuse():
    """One call more does not exist (True) or is created (AUTO_REUSE)."""

    def block(count):
        found = []
        for _ in range(count):
            with vs(None, "d"):
                found.append(gv("w", [1]).op.name)
        return found

    def f():
        with vs("m"):
            block(2)
        with vs("m", reuse=True):
            same = block(2)
        with vs("m", reuse=True):
            missing = err(lambda: block(3))
        with vs("m", reuse=A):
            return same, missing, block(3)[-1]

    assert run(f) == (["m/d/w", "m/d_1/w"], MISSING.format("m/d_2/w"), "m/d_2/w")


def test_rule_20_a_name_of_two_parts_counts_once():
    """Until its first part is left."""

    def f():
        with vs("a/b"):
            seen = counts()
        with vs("a"):
            return seen, opened("b")

    assert run(f) == ({"a/b": 1}, "a/b_1")


def test_rule_21_name_scopes_count_by_themselves():
    """Over the whole call, whatever the case."""

    def f():
        with vs("s"), vs(None, "d") as first:
            pass
        with vs("s"), vs(None, "d") as second:
            pass
        with tf1.name_scope("S") as upper:
            return first.original_name_scope, second.name, second.original_name_scope, upper

    assert run(f) == ("s/d/", "s/d", "s_1/d/", "S_2/")


def test_rule_22_default_name_and_reuse():
    """Refused on entry; with a name the default is ignored; reuse around it is inherited."""

    def f():
        refused = err(lambda: vs(None, "d", reuse=True).__enter__())
        with vs("x", "d", reuse=True) as x, vs(None, "d", reuse=False) as d:
            return refused, x.name, d.reuse

    assert run(f) == ("ValueError: reuse=True cannot be used without a name_or_scope", "x", True)


@pytest.mark.parametrize("reuse", [1, 0, "True", np.bool_(True)])
def test_rule_23_reuse_is_true_false_none_or_auto(reuse):
    """Anything else is refused when the context manager is made."""
    with pytest.raises(ValueError, match=r"^The reuse parameter must be True or False or None\."):
        vs("a", reuse=reuse)


FLAGS = [False, None, True, A]


@pytest.mark.parametrize("outer", FLAGS)
@pytest.mark.parametrize("inner", FLAGS)
def test_rule_24_reuse_of_a_name(outer, inner):
    """The argument, or what is around it."""

    def f():
        with vs("o", reuse=outer), vs("i", reuse=inner) as s:
            return s.reuse

    assert run(f) == (inner or outer or False)


@pytest.mark.parametrize("ambient", FLAGS)
@pytest.mark.parametrize("captured", FLAGS)
@pytest.mark.parametrize("argument", FLAGS)
def test_rule_25_reuse_of_a_jump(ambient, captured, argument):
    """The argument, or the captured flag."""

    def f():
        with vs("c", reuse=captured) as c:
            pass
        with vs("o", reuse=ambient), vs(c, reuse=argument) as s:
            return s.reuse

    assert run(f) == (argument or captured or False)


def test_rule_26_a_hand_made_scope_switches_reuse_off():
    """As leaving does, and a jump."""

    def f():
        with vs("o", reuse=True):
            with vs(tf1.VariableScope(reuse=False, name="h")) as h:
                inside = h.reuse
            return inside, tf1.get_variable_scope().reuse

    assert run(f) == (False, True)


def test_rule_27_reuse_variables_sets_the_live_object():
    """On the root it stays for the call."""

    def f():
        with vs("a") as a:
            with vs("b") as b:
                pass
            a.reuse_variables()
            with vs("b") as by_name, vs(b) as by_object:
                return by_name.reuse, by_object.reuse, hasattr(a, "set_reuse")

    assert run(f) == (True, False, False)


def test_rule_28_what_each_flag_looks_up():
    """None, of a hand-made scope, is as AUTO_REUSE."""

    def f():
        found = []
        for reuse in (False, None, A, True):
            with vs(tf1.VariableScope(reuse=reuse, name="h")):
                found.append(err(lambda: gv("v", [1])))
        with vs("h"):
            return *found, err(lambda: gv("v", [1]))

    ok = "OK -> h/v:0"
    assert run(f) == (ok, ok, ok, ok, EXISTS.format("h/v"))


def test_rule_29_reuse_checks_shape_and_dtype_only():
    """All the rest is ignored."""

    def f():
        v = gv("v", [1], trainable=True)
        with vs("", reuse=True):
            return v is gv("v", [1], initializer=lambda: 1 / 0, trainable=False, collections=["x"])

    assert run(f)


def test_rule_30_entering_an_unknown_scope_with_reuse_is_fine():
    """Only the variable fails."""

    def f():
        with vs("x", reuse=True) as x:
            return x.name, err(lambda: gv("v", [1]))

    assert run(f) == ("x", MISSING.format("x/v"))


ROLES = {
    "initializer": tf1.zeros_initializer(),
    "regularizer": jnp.sum,
    "caching_device": "cpu",
    "partitioner": tf1.fixed_size_partitioner(1),
    "dtype": jnp.float16,
    "use_resource": True,
}


def seen(scope):
    return {role: getattr(scope, role) for role in ROLES}


def test_rule_31_a_name_inherits_from_around():
    """What is not None overrides."""

    def f():
        with vs("a", **ROLES), vs("b", dtype=jnp.int32) as b:
            return seen(b)

    assert run(f) == {**ROLES, "dtype": jnp.int32}


def test_rule_32_a_jump_inherits_from_the_captured_scope():
    """And from nothing around it."""

    def f():
        with vs("a", **ROLES) as a:
            pass
        with vs("b", dtype=jnp.int32, caching_device="x"), vs(a, use_resource=False) as again:
            return seen(again)

    assert run(f) == {**ROLES, "use_resource": False}


def test_rule_33_constraint_is_not_inherited():
    """And there is no setter."""

    def f():
        with vs("a", constraint=abs) as a, vs("b") as b, vs(a) as again:
            return a.constraint, b.constraint, again.constraint, hasattr(a, "set_constraint")

    assert run(f) == (abs, None, None, False)


def test_rule_34_none_switches_nothing_off():
    """`no_regularizer` and other falsy values do, and setters."""

    def f():
        with vs("a", regularizer=jnp.sum, initializer=tf1.ones_initializer(), caching_device="x"):
            with vs("b", regularizer=None, caching_device="") as b:
                gv("u", [1])
                kept = b.regularizer is jnp.sum, b.caching_device
            gv("v", [1], regularizer=tf1.no_regularizer)
            gv("w", [1], regularizer=False)
            tf1.get_variable_scope().set_initializer(None)
            return *kept, tf1.get_variable_scope().initializer, len(tf1.losses.get_regularization_losses())

    assert run(f) == (True, "", None, 1)


def test_rule_35_an_argument_beats_the_scope():
    """And the scope beats the library."""

    def f():
        with vs("a", dtype=jnp.int32):
            return gv("v", [1]).dtype.name, gv("w", [1], dtype=jnp.float16).dtype.name

    assert run(f) == ("int32", "float16")
    assert run(lambda: gv("v", [1]).dtype.name) == "float32"


def test_rule_36_a_name_makes_a_scope_a_jump_copies_one():
    """What changes the copy does not change the captured object; what changes that is seen by later jumps."""

    def f():
        with vs("a") as a:
            pass
        with vs(a) as copy:
            copy.set_dtype(jnp.int32)
        first = np.dtype(a.dtype).name
        a.set_dtype(jnp.float16)
        with vs(a) as later:
            pass
        with vs("a") as by_name:
            return copy is a, first, np.dtype(later.dtype).name, np.dtype(by_name.dtype).name

    assert run(f) == (False, "float32", "float16", "float32")


def test_rule_37_setters_act_at_once():
    """On the live object, which `get_variable_scope` gives; properties are read-only; a getter is replaced."""

    def f():
        with vs("a", custom_getter=lambda *a, **k: None) as a:
            scope = tf1.get_variable_scope()
            for role, value in ROLES.items():
                getattr(scope, f"set_{role}")(value)
            scope.set_custom_getter(lambda getter, name, *args, **kwargs: getter(name, *args, **kwargs))
            with pytest.raises(AttributeError, match="name"):
                a.name = "b"
            with vs("b") as b:
                return scope is a, seen(a) == ROLES == seen(b), gv("v", [2]).dtype.name

    assert run(f) == (True, True, "float16")


def test_rule_38_a_context_manager_can_be_entered_again():
    """Even nested in itself: a jump then stays where it is, a name fails on exit, as in TensorFlow."""

    def f():
        with vs("s") as s:
            pass
        jump = vs(s)
        with jump as first:
            first.set_dtype(jnp.int32)
        with jump as second:
            return first is second, np.dtype(second.dtype).name, callable(jump)

    assert run(f) == (True, "int32", False)

    def nested():
        cm = vs("s")
        with cm, cm:
            return

    with pytest.raises(RuntimeError, match=r"^Improper nesting of variable_scope\."):
        run(nested)


def test_rule_39_which_name_scope_is_opened():
    """The name; the default name before it is numbered; the last part of a captured one; none at the root."""

    def f():
        root = tf1.get_variable_scope()
        with vs("a"), vs("b") as b:
            pass
        with vs(None, "d") as d:
            pass
        with tf1.name_scope("n"):
            with vs(b), tf1.name_scope("x") as inside:
                pass
            with vs(root), tf1.name_scope("y") as at_root:
                return b.original_name_scope, d.original_name_scope, inside, at_root

    assert run(f) == ("a/b/", "d/", "n/b/x/", "n/y/")


def test_rule_40_original_name_scope_is_that_of_the_first_entry():
    """A jump keeps it; the root has none."""

    def f():
        with tf1.name_scope("n"), vs("a") as a:
            pass
        with vs(a) as again:
            return a.original_name_scope, again.original_name_scope

    assert run(f) == ("n/a/", "n/a/")
    assert run(tf1.get_variable_scope).original_name_scope == ""


def test_rule_41_without_an_auxiliary_name_scope():
    """The name scope stays; it is not inherited; the flag must be a bool."""

    def f():
        with tf1.name_scope("n"), vs("a", auxiliary_name_scope=False) as a, vs("b") as b:
            return a.original_name_scope, b.original_name_scope

    assert run(f) == ("n/", "n/b/")
    with pytest.raises(TypeError, match=r"^The auxiliary_name_scope must be `True` or `False`, while get 1"):
        vs("a", auxiliary_name_scope=1)


def test_rule_42_the_idiom_to_go_on_with_a_scope():
    """`variable_scope(s, auxiliary_name_scope=False)` and `name_scope(s.original_name_scope)`."""

    def f():
        with vs("a") as a:
            pass
        with vs(a, auxiliary_name_scope=False) as a1, tf1.name_scope(a1.original_name_scope) as same:
            return a1.name, same

    assert run(f) == ("a", "a/")


def test_rule_43_values_are_accepted():
    """There is one graph: the call."""

    def f():
        with vs("a", values=[jnp.ones(1)]) as a, tf1.variable_op_scope([], None, "b") as b:
            return a.name, b.name

    assert run(f) == ("a", "a/b")


def test_rule_44_a_name_or_a_default_name_is_required():
    """When the context manager is made."""
    with pytest.raises(TypeError, match=r"^If default_name is None then name_or_scope is required"):
        vs(None)


def test_rule_45_the_name_must_be_a_string_or_a_scope():
    """On entry; a context manager is neither."""
    for bad in (3, b"a", ["a"], vs("a")):
        with pytest.raises(TypeError, match=r"^VariableScope: name_or_scope must be a string or VariableScope\."):
            run(lambda bad=bad: vs(bad).__enter__())


def test_rule_46_a_scope_made_by_hand():
    """`reuse` is required; it has no original name scope."""
    with pytest.raises(TypeError, match="reuse"):
        tf1.VariableScope()

    def f():
        with vs(tf1.VariableScope(False, "h")) as h:
            return h.name, h.original_name_scope, gv("v", [1]).name

    assert run(f) == ("h", "", "h/v:0")


def test_rule_47_the_signatures():
    """In TensorFlow's order; `variable_op_scope` has `values` first."""

    def f():
        with vs("n", None, None, tf1.ones_initializer(), None, None, None, None, A, jnp.int32, None, abs, True) as s:
            pass
        with tf1.variable_op_scope([], "m", None, None, None, None, None, None, True) as m:
            return s.reuse, s.constraint, m.name, m.reuse

    assert run(f) == (A, abs, "m", True)


def test_threads_have_their_own_state():
    """Rule 85: two threads that trace at once do not mix their scopes."""

    def model(name):
        with vs(name):
            for _ in range(20):
                with vs(None, "d"):
                    gv("w", [1])

    expected = [[f"{n}/d/w", *(f"{n}/d_{i}/w" for i in range(1, 20))] for n in "abcd"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: names(lambda: model(n)), "abcd"))
    assert found == expected


def test_a_variable_and_a_prefix_of_one_name_are_refused():
    """TensorFlow allows `a` and `a/v`; a nested dict cannot hold them."""

    def f():
        gv("a", [1])
        with vs("a"):
            gv("v", [1])

    with pytest.raises(errors.NameConflictError, match=r"(?s)`a` is a variable.*prefix of `a/v`"):
        run(f)


def test_profiles_carry_the_name_scopes():
    """HLO has the names of variable scopes and name scopes."""

    def model(x):
        with vs("outer"), tf1.name_scope("inner"):
            return jnp.sin(x * gv("w", [], initializer=tf1.ones_initializer()))

    model = tf1.transform(model)
    text = jax.jit(model.apply).lower(model.init(jax.random.key(0), 1.0), 1.0).as_text(debug_info=True)
    assert "outer/inner" in text


def test_profiles_name_a_scope_once():
    """Entered again, a scope adds only what JAX is not in yet: layers enter theirs anew for each variable."""

    def model(x):
        with vs("outer") as outer:
            y = tf1.layers.dense(x, 2, name="d")
            with vs(outer, auxiliary_name_scope=False), tf1.name_scope("outer/inner/deep/"):
                return jnp.sin(y)

    model, x = tf1.transform(model), jnp.ones((1, 2))
    jaxpr = jax.make_jaxpr(model.apply)(model.init(jax.random.key(0), x), x)
    stacks = {str(eqn.primitive): str(eqn.source_info.name_stack) for eqn in jaxpr.eqns}
    assert (stacks["dot_general"], stacks["sin"]) == ("outer/d", "outer/inner/deep")


def test_jax_is_told_names_only_where_something_keeps_them(monkeypatch):
    """To enter JAX's name scope takes longer than all else that a scope does, and without a trace it has no effect."""
    told, named_scope = [], jax.named_scope
    monkeypatch.setattr(jax, "named_scope", lambda name: told.append(name) or named_scope(name))

    def model():
        with vs("outer"), tf1.name_scope("inner"), vs("outer/deep", reuse=tf1.AUTO_REUSE):
            return jax.jit(named)(1.0)

    def named(x):
        with tf1.name_scope("traced"):
            return x

    model = tf1.transform(model)
    model.apply({})
    assert told == ["traced"]
    jax.make_jaxpr(model.apply)({})
    assert told[1:] == ["outer", "inner", "outer/deep", "traced"]


def test_a_bad_name_is_refused_each_time():
    """Also where the object that has it is entered again."""

    def model(**options):
        scope = tf1.variable_scope("a b", **options)
        return [err(scope.__enter__) for _ in range(2)]

    for options in ({}, {"caching_device": ""}):
        first, second = tf1.transform(model).apply({}, **options)
        assert first == second
        assert "'a b' is not a valid root scope name" in first


def test_a_scope_below_a_name_that_only_nested_ones_may_have():
    """By a slash at its end, such a name is gone back to, and stands at the root. Scopes may be opened there."""

    def model():
        with tf1.name_scope("a"), tf1.name_scope("_b/"):
            with tf1.variable_scope("c") as first, tf1.name_scope("d") as inner:
                pass
            with tf1.variable_scope("C") as second:
                return (
                    first.original_name_scope,
                    inner,
                    second.original_name_scope,
                    err(tf1.variable_scope("e f").__enter__),
                )

    *names, error = tf1.transform(model).apply({})
    assert names == ["_b/c/", "_b/c/d/", "_b/C_1/"]
    assert "'e f' is not a valid scope name" in error


def test_a_variable_takes_its_name_whatever_the_case():
    """A name scope that comes after it gets another one; so does a variable after a name scope."""

    def model():
        tf1.get_variable("W", [])
        with tf1.name_scope("w") as first:
            pass
        with tf1.name_scope("v"):
            tf1.get_variable("V", [])
        with tf1.name_scope("v") as second:
            return first, second

    assert tf1.transform(model).apply({"W": 1.0, "V": 1.0}) == ("w_1/", "v_2/")


SEQUENCES = {
    "twice": lambda s, seen: [seen(s), seen(s)],
    "in itself": lambda s, seen: seen(s, lambda: seen(s, lambda: seen(s))),
    "in itself, and again": lambda s, seen: [seen(s, lambda: seen(s)), seen(s)],
    "below reuse, and outside": lambda s, seen: [seen(tf1.variable_scope("r", reuse=True), lambda: seen(s)), seen(s)],
    "outside, and below reuse": lambda s, seen: [
        seen(s),
        seen(tf1.variable_scope("r", reuse=True), lambda: seen(s)),
        seen(s),
    ],
    "left in the wrong order": lambda s, seen: [s.__enter__(), seen(tf1.variable_scope("a")), err(leave_wrongly(s))],
    "with a bad name": lambda s, seen: [seen(tf1.variable_scope("a b")), seen(s)],
}


def leave_wrongly(scope):
    """Leaves `scope` while another one is open."""

    def leave():
        tf1.variable_scope("inner").__enter__()
        scope.__exit__(None, None, None)

    return leave


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_name_alone_is_entered_like_a_name_with_options(sequence):
    """A scope without options is entered in one piece: names, flags, name scopes and errors are the same."""

    def events(**options):
        found = []

        def seen(scope, inside=lambda: None):
            try:
                with scope as entered:
                    memory = tf1._ambient.current("test").memory
                    found.append((entered.name, entered.reuse, entered.original_name_scope, memory.name_stack))
                    inside()
                    with tf1.variable_scope(None, "d") as numbered:
                        found.append(numbered.name)
            except (ValueError, RuntimeError) as error:
                found.append(str(error))

        def model():
            out = SEQUENCES[sequence](tf1.variable_scope("s", **options), seen)
            found.extend(each for each in out or () if isinstance(each, str))
            memory = tf1._ambient.current("test").memory
            found.append((memory.variable_scope.name, memory.name_stack, dict(memory.counts), memory.names_in_use))

        tf1.transform(model).apply({})
        return found

    assert events() == events(caching_device="")
