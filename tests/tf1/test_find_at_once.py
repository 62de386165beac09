"""What `apply` finds at once is what it finds by the long way."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, tf1
from jscope.tf1 import _creating
from tests.tf1.programs import Run
from tests.tf1.test_conformance import CASES
from tests.tf1.tools import err

PROGRAMS = [
    case["program"] for path in sorted(CASES.glob("level*.json")) for case in json.loads(path.read_text())[::12]
]


def known(variable):
    facts = variable.facts
    return facts._replace(site=str(facts.site), constraint=getattr(facts.constraint, "tag", facts.constraint))


def applied(program, variables):
    """What happens where `apply` runs the program, and all that is known of its variables afterwards."""
    run, found = Run(), []

    def model():
        run.block(program)
        memory = tf1._ambient.current("test").memory
        found.extend((name, known(v), v.shape) for name, v in memory.store.items())
        found.append({key: [item.name for item in items] for key, items in memory.collections.items()})
        found.append((memory.names_in_use, dict(memory.counts)))

    tf1.transform_with_state(model).apply(*variables)
    return run.events, run.getter_calls, found


def test_programs_apply_alike(monkeypatch):
    """Events, getter calls, facts of the handles, collections, names in use: with the short way and without."""
    taken, short = [], _creating.find_at_once
    for program in PROGRAMS:
        variables = tf1.transform_with_state(lambda program=program: Run().block(program)).init(jax.random.key(0))
        monkeypatch.setattr(_creating, "find_at_once", lambda *a: taken.append(short(*a)) or taken[-1])
        quick = applied(program, variables)
        monkeypatch.setattr(_creating, "find_at_once", lambda *a: None)
        assert quick == applied(program, variables)
    assert sum(variable is not None for variable in taken) > 50


W = jnp.ones((2, 3))
REQUESTS = {
    "found": lambda: tf1.get_variable("w", (2, 3)),
    "other shape": lambda: tf1.get_variable("w", (3, 2)),
    "shape of floats": lambda: tf1.get_variable("w", (2.5, 3)),
    "shape of whole floats": lambda: tf1.get_variable("w", (2.0, np.float64(3))),
    "unknown dimension": lambda: tf1.get_variable("w", (None, 3)),
    "list": lambda: tf1.get_variable("w", [2, 3]),
    "shape of a tensor": lambda: tf1.get_variable("w", tf1.ones((2, 3, 4)).shape[:2]),
    "dimensions of a tensor": lambda: tf1.get_variable("w", (tf1.ones(2).shape[0], 3)),
    "unknown dimension in a shape": lambda: tf1.get_variable("w", tf1.TensorShape([None, 3])),
    "made by hand": lambda: (tf1.Variable(W, name="w"), tf1.get_variable("w", (2, 3))),
    "missing": lambda: tf1.get_variable("v", (2, 3)),
    "prefix": lambda: tf1.get_variable("s", (2, 3)),
    "bad name": lambda: tf1.get_variable("a b", (2, 3)),
    "no name": lambda: tf1.get_variable("", (2, 3)),
    "twice": lambda: (tf1.get_variable("w", (2, 3)), tf1.get_variable("w", (2, 3))),
    "bad dtype": lambda: tf1.get_variable("w", (2, 3), dtype="no"),
    "constant and shape": lambda: tf1.get_variable("w", (2, 3), initializer=1.0),
    "trainable by number": lambda: tf1.get_variable("w", (2, 3), trainable=0),
    "state": lambda: tf1.get_variable("n", (), trainable=False),
    "state as param": lambda: tf1.get_variable("n", ()),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_requests_end_alike(request_, monkeypatch):
    """The same handle or the same error."""
    model = tf1.transform_with_state(lambda: out.append((err(REQUESTS[request_]), facts())))
    out = []
    variables = {"w": W, "a b": W, "s": {"w": W}}, {"n": jnp.ones(())}
    model.apply(*variables)
    monkeypatch.setattr(_creating, "find_at_once", lambda *a: None)
    model.apply(*variables)
    assert out[0] == out[1]


TREES = {
    "one key": {"a/b": W},
    "one key and two": {"a/b": W, "a": {"b": 2 * W}},
    "below": {"s": {"a/b": W}},
    "empty": {"": W, "Variable": 2 * W},
    "only empty": {"": W},
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("tree", TREES)
def test_names_with_several_parts_or_none_are_found_alike(tree, compiled, monkeypatch):
    """A slash parts names, also where a key has one; of a variable without a name, the name is `Variable`."""

    def found():
        messages = {}

        def values():
            out = {}
            for name in ("a/b", "", "s/a/b"):
                try:
                    out[name] = tf1.get_variable(name, (2, 3)).value()
                except errors.JscopeError as error:
                    messages[name] = str(error).splitlines()[0]
            return out

        apply = tf1.transform(values).apply
        return (jax.jit(apply) if compiled else apply)(TREES[tree]), messages

    (quick, quick_messages) = found()
    monkeypatch.setattr(_creating, "find_at_once", lambda *a: None)
    values, messages = found()
    assert messages == quick_messages
    assert set(quick) == {"one key and two": {"a/b"}, "empty": {""}}.get(tree, set())
    jax.tree.map(np.testing.assert_array_equal, quick, values)
    assert all((value == 2.0).all() for value in quick.values())


@pytest.mark.parametrize("compiled", [False, True])
def test_an_empty_name_below_a_scope_is_a_part_of_the_path(compiled):
    """`foo//v` is not `foo/v`, also where `foo` is the scope that the code runs under."""

    def f():
        first = tf1.get_variable("v", [2])
        with tf1.variable_scope(""):
            return first.value(), tf1.get_variable("v", [2]).value()

    model = jscope.transform(lambda scope: tf1.scoped(f)(scope / "foo"))
    params = model.init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == {"foo": {"v": (2,), "": {"v": (2,)}}}
    first, second = (jax.jit(model.apply) if compiled else model.apply)(params)
    np.testing.assert_array_equal(first, params["foo"]["v"])
    np.testing.assert_array_equal(second, params["foo"][""]["v"])


def facts():
    return [known(v) for v in tf1.global_variables()]
