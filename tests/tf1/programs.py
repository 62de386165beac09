"""Runs the programs of `conformance/` on `jscope.tf1`, and says what happened in TensorFlow's terms.

The format is described in `conformance/README.md`; `test_conformance.py` and `oracle/` both use it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import jscope
from jscope import tf1

ATTRIBUTES = ("initializer", "dtype", "regularizer", "constraint", "custom_getter")


class Run:
    """One run of one program; `events` and `getter_calls` say what happened."""

    def __init__(self, tf=tf1, total=lambda v: jnp.sum(v.astype(jnp.float32))):
        self.tf, self.total = tf, total
        self.events, self.getter_calls, self.losses, self.scopes = [], [], [], {}
        self.functions = {}

    def function(self, role, tag):
        """The one function object that a tag stands for."""
        if (role, tag) not in self.functions:
            self.functions[role, tag] = getattr(self, f"make_{role}")(tag)
        return self.functions[role, tag]

    def make_initializer(self, value):
        return self.tf.constant_initializer(value)

    def make_dtype(self, name):
        return name

    def make_regularizer(self, tag):
        return lambda v: self.total(v)

    def make_constraint(self, tag):
        def constraint(v):
            return v

        constraint.tag = tag
        return constraint

    def make_custom_getter(self, tag):
        def custom_getter(getter, name, *args, **kwargs):
            self.getter_calls.append([tag, name])
            return getter(name, *args, **kwargs)

        return custom_getter

    def options(self, op, names):
        return {name: self.function(name, op[name]) for name in names if op.get(name) is not None}

    def block(self, ops):
        for op in ops:
            getattr(self, f"do_{op['op']}")(op)

    def do_scope(self, op):
        target = op["name"]
        if "captured" in op:
            if op["captured"] not in self.scopes:
                return
            target = self.scopes[op["captured"]]
        options = self.options(op, ATTRIBUTES)
        try:
            reuse = self.tf.AUTO_REUSE if op["reuse"] == "auto" else op["reuse"]
            manager = self.tf.variable_scope(target, op["default_name"], reuse=reuse, **options)
            scope = manager.__enter__()
        except Exception as error:
            self.failed(error)
            return
        self.scopes[op["as"]] = scope
        self.block(op["body"])
        manager.__exit__(None, None, None)

    def do_get(self, op):
        options = self.options(op, ("initializer", "dtype", "regularizer", "constraint"))
        if "trainable" in op:
            options["trainable"] = op["trainable"]
        try:
            variable = self.tf.get_variable(op["name"], op["shape"], **options)
        except Exception as error:
            self.failed(error)
        else:
            self.events.append({"get": variable.op.name})

    def do_reuse_variables(self, op):
        self.tf.get_variable_scope().reuse_variables()

    def do_probe(self, op):
        scope = self.tf.get_variable_scope()
        reuse = "auto" if scope.reuse is self.tf.AUTO_REUSE else scope.reuse
        self.events.append({"scope": scope.name, "reuse": reuse, "original_name_scope": scope.original_name_scope})

    def failed(self, error):
        kinds = [kind for kind in (ValueError, TypeError, KeyError, RuntimeError) if isinstance(error, kind)]
        self.events.append({"error": kinds[0].__name__ if kinds else type(error).__name__})


def outcome(program):
    """What the program does, in the form of `expect`."""
    run = Run()

    def model():
        run.block(program)
        run.losses = [loss.variable.op.name for loss in tf1.losses.get_regularization_losses()]

    specs = jscope.specs(tf1.scoped(model)).flat()
    return {
        "events": run.events,
        "variables": {path: described(spec) for path, spec in specs.items()},
        "regularization_losses": run.losses,
        "getter_calls": run.getter_calls,
    }


def described(spec):
    """A variable in the form of `expect`; only constants are computed."""
    made, value = spec.initializer, None
    if isinstance(made, tf1.initializers.constant | tf1.initializers.zeros | tf1.initializers.ones):
        value = np.unique(made(jax.random.key(0), spec.shape, spec.dtype)).astype(float)
        value = value.item() if value.size == 1 else None
    return {
        "shape": list(spec.shape),
        "dtype": spec.dtype.name,
        "trainable": spec.trainable,
        "constraint": getattr(spec.constraint, "tag", None),
        "value": value,
    }
