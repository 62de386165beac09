"""The examples of TensorFlow's documentation of `variable_scope`, in their own words."""

# ruff: noqa: RET504, SIM117 - the words are those of the documentation.

from __future__ import annotations

import pytest

from jscope import tf1 as tf
from tests.tf1.tools import run


def test_how_to_create_a_new_variable():
    """Simple example of how to create a new variable."""

    def example():
        with tf.variable_scope("foo"), tf.variable_scope("bar"):
            v = tf.get_variable("v", [1])
            assert v.name == "foo/bar/v:0"

    run(example)


def test_how_to_reenter_a_premade_variable_scope_safely():
    """With `auxiliary_name_scope=False`, in the original name scope."""

    def example():
        with tf.variable_scope("foo") as vs:
            pass

        # Re-enter the variable scope.
        with tf.variable_scope(vs, auxiliary_name_scope=False) as vs1:
            # Restore the original name_scope.
            with tf.name_scope(vs1.original_name_scope) as scope:
                v = tf.get_variable("v", [1])
                assert v.name == "foo/v:0"
                assert scope == "foo/"

    run(example)


def test_keep_in_mind_that_the_counters_are_discarded():
    """Once the parent scope is exited; so a default name collides after it is entered again."""

    def example():
        with tf.variable_scope("foo") as vs:
            with tf.variable_scope(None, default_name="bar"):
                v = tf.get_variable("a", [1])
                assert v.name == "foo/bar/a:0", v.name
            with tf.variable_scope(None, default_name="bar"):
                v = tf.get_variable("b", [1])
                assert v.name == "foo/bar_1/b:0"

        with tf.variable_scope(vs), tf.variable_scope(None, default_name="bar"):
            v = tf.get_variable("c", [1])
            assert v.name == "foo/bar/c:0"  # Uses bar instead of bar_2!

    run(example)


def test_basic_example_of_sharing_a_variable_auto_reuse():
    """The second call gives the same variable."""

    def foo():
        with tf.variable_scope("foo", reuse=tf.AUTO_REUSE):
            v = tf.get_variable("v", [1])
        return v

    def example():
        v1 = foo()  # Creates v.
        v2 = foo()  # Gets the same, existing v.
        assert v1 == v2

    run(example)


def test_basic_example_of_sharing_a_variable_with_reuse_true():
    """The scope is entered a second time with reuse."""

    def example():
        with tf.variable_scope("foo"):
            v = tf.get_variable("v", [1])
        with tf.variable_scope("foo", reuse=True):
            v1 = tf.get_variable("v", [1])
        assert v1 == v

    run(example)


def test_sharing_a_variable_by_capturing_a_scope_and_setting_reuse():
    """`scope.reuse_variables()`."""

    def example():
        with tf.variable_scope("foo") as scope:
            v = tf.get_variable("v", [1])
            scope.reuse_variables()
            v1 = tf.get_variable("v", [1])
        assert v1 == v

    run(example)


def test_an_existing_variable_in_a_non_reusing_scope_raises():
    """To prevent accidental sharing of variables."""

    def example():
        with tf.variable_scope("foo"):
            v = tf.get_variable("v", [1])
            v1 = tf.get_variable("v", [1])
            #  Raises ValueError("... v already exists ...").
            return v, v1

    with pytest.raises(ValueError, match="v already exists"):
        run(example)


def test_a_variable_that_does_not_exist_in_reuse_mode_raises():
    """Similarly."""

    def example():
        with tf.variable_scope("foo", reuse=True):
            tf.get_variable("v", [1])
            #  Raises ValueError("... v does not exists ...").

    with pytest.raises(ValueError, match="v does not exist"):
        run(example)


def test_the_reuse_flag_is_inherited():
    """If we open a reusing scope, then all its sub-scopes become reusing as well."""

    def example():
        with tf.variable_scope("root"):
            # At start, the scope is not reusing.
            assert tf.get_variable_scope().reuse is False
            with tf.variable_scope("foo"):
                # Opened a sub-scope, still not reusing.
                assert tf.get_variable_scope().reuse is False
            with tf.variable_scope("foo", reuse=True):
                # Explicitly opened a reusing scope.
                assert tf.get_variable_scope().reuse is True
                with tf.variable_scope("bar"):
                    # Now sub-scope inherits the reuse flag.
                    assert tf.get_variable_scope().reuse is True
            # Exited the reusing scope, back to a non-reusing one.
            assert tf.get_variable_scope().reuse is False

    run(example)


def test_a_note_about_name_scoping():
    """A captured scope keeps its names of variables, wherever it is entered."""

    def example():
        with tf.variable_scope("foo") as foo_scope:
            assert foo_scope.name == "foo"
        with tf.variable_scope("bar"), tf.variable_scope("baz") as other_scope:
            assert other_scope.name == "bar/baz"
            with tf.variable_scope(foo_scope) as foo_scope2:
                assert foo_scope2.name == "foo"  # Not changed.

    run(example)
