"""Runs random programs on TensorFlow and on jscope, and says where they differ.

    pip install "tensorflow-cpu==2.21.*" chex "jax>=0.10"
    python -m tests.tf1.oracle.compare --programs 2000 --seed 0

Not part of the default test run, because TensorFlow is large. What differs by decision (`docs/from_tf1.md`) is made
equal first: shards `v/part_0` count as `v`, names are keys of the store and not names of ops.
"""

# ruff: noqa: T201 - a program prints.

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import tempfile

import jax.numpy as jnp
import numpy as np

import jscope
from jscope import tf1
from tests.tf1.oracle.generate import TENSORS, Generator
from tests.tf1.programs import ATTRIBUTES, Run

PART = re.compile(r"/part_\d+$")


class Wide(Run):
    """A run of the ops that `generate` adds, on either side."""

    def __init__(self, tf, total, key):
        super().__init__(tf, total)
        self.key, self.templates = key, {}

    def make_dtype(self, name):
        return getattr(self.tf, name)

    def make_partitioner(self, count):
        return self.tf.fixed_size_partitioner(count)

    def manager(self, op):
        target = op["name"] if "captured" not in op else self.scopes[op["captured"]]
        options = self.options(op, (*ATTRIBUTES, "partitioner"))
        if "auxiliary_name_scope" in op:
            options["auxiliary_name_scope"] = op["auxiliary_name_scope"]
        reuse = self.tf.AUTO_REUSE if op["reuse"] == "auto" else op["reuse"]
        return self.tf.variable_scope(target, op["default_name"], reuse=reuse, **options)

    def do_scope(self, op, times=1):
        if op.get("captured", "s") not in self.scopes and "captured" in op:
            return
        try:
            manager = self.manager(op)
        except Exception as error:
            self.failed(error)
            return
        for _ in range(times):
            try:
                scope = manager.__enter__()
            except Exception as error:
                self.failed(error)
                continue
            self.scopes[op["as"]] = scope
            self.events.append({"entered": scope.name, "original_name_scope": scope.original_name_scope})
            self.block(op["body"])
            manager.__exit__(None, None, None)

    def do_again(self, op):
        self.do_scope(op, times=2)

    def do_name_scope(self, op):
        try:
            with self.tf.name_scope(op["name"]) as entered:
                self.events.append({"name_scope": entered})
                self.block(op["body"])
        except Exception as error:
            self.failed(error)

    def do_get(self, op, get=None):
        options = self.options(op, ("initializer", "dtype", "regularizer", "constraint", "partitioner"))
        options |= {name: op[name] for name in ("trainable", "collections") if name in op}
        if "collections" in options:
            options["collections"] = list(options["collections"])
        if "value" in op:
            options["initializer"] = op["value"]
        try:
            variable = (get or self.tf.get_variable)(op["name"], op["shape"], **options)
        except Exception as error:
            self.failed(error)
        else:
            self.events.append({"get": self.key(variable)})

    def do_local(self, op):
        self.do_get(op, self.tf.get_local_variable)

    def do_collection(self, op):
        current = self.tf.get_variable_scope()
        found = (
            current.get_collection(op["key"])
            if op["scope"] == "current"
            else self.tf.get_collection(op["key"], op["scope"])
        )
        self.events.append({"collection": list(dict.fromkeys(map(self.key, found)))})

    def do_set(self, op):
        for role in ("initializer", "dtype", "regularizer", "custom_getter"):
            if role in op:
                getattr(self.tf.get_variable_scope(), f"set_{role}")(self.function(role, op[role]))

    def do_template(self, op):
        try:
            made = self.tf.make_template(op["name"], lambda: self.block(op["body"]), op["now"], op["unique"])
        except Exception as error:
            self.failed(error)
        else:
            self.templates[op["as"]] = made

    def do_call(self, op):
        if op["template"] not in self.templates:
            return
        template = self.templates[op["template"]]
        try:
            template()
        except Exception as error:
            self.failed(error)
        names = [self.key(v) for v in template.trainable_variables]
        self.events.append({"template": template.variable_scope_name, "variables": list(dict.fromkeys(names))})

    def failed(self, error):
        super().failed(error)
        sentence = str(error).splitlines()[0] if isinstance(error, ValueError) and str(error) else ""
        known = ("already exists", "does not exist", "Trying to", "did not get", "do not specify shape", "not valid")
        self.events[-1]["message"] = next((part for part in known if part in sentence), "")


def on_jscope(program):
    def key(item):
        name = item.op.name if isinstance(item, tf1.Variable) else item.name
        return name.partition("/Regularizer")[0]

    run = Wide(tf1, lambda v: jnp.sum(v.astype(jnp.float32)), key)
    losses = []

    def model():
        run.block(program)
        losses.extend(map(key, tf1.losses.get_regularization_losses()))

    specs = jscope.specs(tf1.scoped(model)).flat()
    variables = {path: [list(spec.shape), spec.dtype.name, spec.trainable] for path, spec in specs.items()}
    return {"events": run.events, "variables": variables, "losses": losses, "getter_calls": run.getter_calls}


def on_tensorflow(tf, program):
    from_store = importlib.import_module("tensorflow.python.ops.variable_scope")._get_default_variable_store

    def key(item):
        keys = [name for name, known in from_store()._vars.items() if known is item]
        return PART.sub("", keys[0] if keys else item.name.partition("/Regularizer")[0])

    run = Wide(tf, lambda v: tf.reduce_sum(tf.cast(v, tf.float32)), key)
    with tf.Graph().as_default():
        run.block(program)
        store = from_store()
        losses = dict.fromkeys(
            PART.sub("", t.name.partition("/Regularizer")[0]) for t in tf.losses.get_regularization_losses()
        )
        variables = {}
        for name, v in store._vars.items():
            whole, shape = PART.sub("", name), v.shape.as_list()
            if whole != name:
                shape = store._partitioned_vars[whole].get_shape().as_list()
            variables[whole] = [shape, v.dtype.base_dtype.name, v.trainable]
    return {"events": run.events, "variables": variables, "losses": list(losses), "getter_calls": run.getter_calls}


def assigned_by_jscope(names, assignment):
    params = jscope._path.nested((name, jnp.zeros(1)) for name in names)
    old = {name: np.full(1, 100.0 + i, np.float32) for i, name in enumerate(TENSORS)}
    try:
        new = tf1.train.init_from_checkpoint(params, old, assignment)
    except Exception as error:
        return re.sub(r"(found in ).*", r"\1", str(error).splitlines()[0])
    return {name: float(value[0]) for name, value in jscope._path.items(new)}


def assigned_by_tensorflow(tf, checkpoint, names, assignment):
    with tf.Graph().as_default(), tf.Session() as session:
        made = {name: tf.get_variable(name, initializer=[0.0]) for name in names}
        try:
            tf.train.init_from_checkpoint(checkpoint, assignment)
        except Exception as error:
            return re.sub(r"(found in ).*", r"\1", str(error).splitlines()[0])
        session.run(tf.global_variables_initializer())
        return {name: float(value[0]) for name, value in session.run(made).items()}


def write_checkpoint(tf, folder):
    with tf.Graph().as_default(), tf.Session() as session:
        made = {name: tf.Variable([100.0 + i]) for i, name in enumerate(TENSORS)}
        session.run(tf.global_variables_initializer())
        return tf.train.Saver(made).save(session, os.path.join(folder, "model"))


def main():
    """Compares `--programs` programs; ends with an error if one differs."""
    parser = argparse.ArgumentParser(description="Compares jscope.tf1 with TensorFlow on random programs.")
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="how many differences to print in full")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = importlib.import_module("tensorflow").compat.v1
    tf.logging.set_verbosity(tf.logging.ERROR)
    differing = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(tf, folder)
        for seed in range(options.seed, options.seed + options.programs):
            generator = Generator(seed)
            program, assignment = generator.program(), generator.assignment()
            names = sorted(generator.random.sample(TENSORS, 4))
            ours, theirs = on_jscope(program), on_tensorflow(tf, program)
            ours["assigned"] = assigned_by_jscope(names, assignment)
            theirs["assigned"] = assigned_by_tensorflow(tf, checkpoint, names, assignment)
            if ours != theirs:
                differing.append(seed)
                if len(differing) <= options.show:
                    report(seed, program, [assignment, names], ours, theirs)
    print(f"{options.programs} programs, {len(differing)} differ: {differing[:20]}")
    raise SystemExit(bool(differing))


def report(seed, program, assignment, ours, theirs):
    print(f"--- seed {seed}\n{json.dumps(program)}")
    for part in ours:
        if ours[part] != theirs[part]:
            extra = assignment if part == "assigned" else ""
            print(f"{part} {extra}\n  jscope     {json.dumps(ours[part])}\n  tensorflow {json.dumps(theirs[part])}")


if __name__ == "__main__":
    main()
