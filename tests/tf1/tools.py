"""What the tests of the facade have in common."""

from __future__ import annotations

import jax

import jscope
from jscope import tf1

vs, gv = tf1.variable_scope, tf1.get_variable
A = tf1.AUTO_REUSE
KEY = jax.random.key(0)


def run(function):
    """Runs a TF1-style function as `specs` does; returns what it returns, if that is no array."""
    out = []
    jscope.specs(tf1.scoped(lambda: out.append(function())))
    return out[0]


def names(function):
    """The names of the variables that a TF1-style function creates, in order."""
    return list(jscope.specs(tf1.scoped(function)).flat())


def initial(function):
    """The initial values of the variables of a TF1-style function, by name."""
    params, state = tf1.transform_with_state(function).init(KEY)
    return {path: value for tree in (params, state) for path, value in jscope._path.items(tree)}


def err(call):
    """What `call` does, as an experiment on TensorFlow prints it."""
    try:
        result = call()
    except Exception as error:
        kind = next(k for k in (ValueError, KeyError, TypeError, RuntimeError, Exception) if isinstance(error, k))
        return f"{kind.__name__}: {str(error).splitlines()[0]}"
    return f"OK -> {getattr(result, 'name', result)}"


def store():
    """The full names in the store of the running call."""
    return sorted(tf1._ambient.current("test").memory.store)


def counts():
    """How often each scope was opened in the running call."""
    return dict(tf1._ambient.current("test").memory.counts)


EXISTS = (
    "ValueError: Variable {} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in "
    "VarScope?"
)
MISSING = (
    "ValueError: Variable {} does not exist, or was not created with tf.get_variable(). Did you mean to set "
    "reuse=tf.AUTO_REUSE in VarScope?"
)
