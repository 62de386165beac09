"""Runs the model files of public code bases on TensorFlow and on jscope, and says how far they are apart.

    pip install "tensorflow-cpu==2.21.*" tf_keras tf_slim six chex "jax>=0.10"
    python -m tests.tf1.oracle.model_files FOLDER [NAME ...]

FOLDER holds a checkout of each repository of `checkouts.py` and its four kin, as `owner+name`. Their files
are read as they are; only the import of TensorFlow is another one. Variables get values that follow from their names.
Compared are the names and shapes of all variables in the order of their creation, whether they are trained, outputs,
gradients, and what three steps of batch normalization leave behind. Where outputs or gradients are more than 1e-5
apart, it says how far TensorFlow's own are from those in double precision: no two ways of rounding can be nearer to
each other than to the truth.
"""

# ruff: noqa: T201 - a program prints.

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import sys
import time
import traceback
import types
import unittest.mock
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jscope
from jscope import tf1
from tests.tf1.oracle.checkouts import CASES
from tests.tf1.oracle.fed_checkouts import FED
from tests.tf1.oracle.further_checkouts import FURTHER
from tests.tf1.oracle.later_checkouts import LATER
from tests.tf1.oracle.more_checkouts import MORE
from tests.tf1.oracle.shim import build

IMPORTS = [
    (r"^(\s*)import tensorflow(\.compat\.v1)? as (tf\w*)\b(?!,)", r"\1from {package} import {name} as \3"),
    (r"^(\s*)import tensorflow as tf, (.+)", r"\1from {package} import {name} as tf\n\1import \2"),
    (r"^(\s*)import tensorflow\.contrib as (\w+)", r"\1from {root} import contrib as \2"),
    (r"^(\s*)import tf_slim as slim\b", r"\1from {root}.contrib import slim"),
    (
        r"^from tensorflow\.contrib\.framework\.\S+ import variables$",
        r"from {root}.contrib import framework as variables",
    ),
    (r"^(\s*)from tensorflow\.contrib\.(framework|layers)\.python\.\S+ import", r"\1from {root}.contrib.\2 import"),
    (r"^(\s*)from tensorflow\.contrib(\S*) import", r"\1from {root}.contrib\2 import"),
    (r"^(\s*)import tensorflow\.contrib\.(\S+) as (\w+)", r"\1from {root}.contrib import \2 as \3"),
    # Parts of what is public in `tf`, some of which TensorFlow 2.21 does not have there any more.
    (r"^from tensorflow\.python\.ops import nn$", r"from {root} import nn"),
    (r"^from tensorflow\.python\.ops import nn_ops$", r"from {root} import nn as nn_ops"),
    (
        r"^from tensorflow\.python\.(?:framework|ops) import (\w+_ops?|dtypes|ops|variable_scope)$",
        r"from {package} import {name} as \1",
    ),
    (r"^(\s*)from tensorflow\.python(\S*) import", r"\1from {python}\2 import"),
    (r"^(\s*)from \. import", r"\1from nets import"),
]


class Code:
    """Imports the files of a checkout with another TensorFlow."""

    def __init__(self, folder, package, name):
        self.folder, self.names = folder, {"package": package, "name": name, "root": f"{package}.{name}".lstrip(".")}
        self.names["python"] = "jscope.tf1.python" if package == "jscope" else "tensorflow.python"
        self.loaded = {}

    def __call__(self, path, argv=None):
        if path in self.loaded:
            return self.loaded[path]
        source = (self.folder / f"{path}.py").read_text(encoding="utf-8-sig")
        # A program that would begin to train when it is imported.
        source = re.sub(r"^main\(\)$", "", source, flags=re.MULTILINE)
        for old, new in IMPORTS:
            source = re.sub(old, new.format(**self.names).replace("\\\\", "\\"), source, flags=re.MULTILINE)
        module = types.ModuleType(path.replace("/", "."))
        module.__file__ = str(self.folder / f"{path}.py")
        # Under its full name, under its last part (where no folder has that name), and in the module of its folder.
        names = {module.__name__.rpartition(".")[2]: module} | self.known() | {module.__name__: module}
        with unittest.mock.patch.object(sys, "argv", argv or ["program"]), missing_modules(names):
            exec(compile(source, module.__file__, "exec"), vars(module))
        self.loaded[path] = module
        return module

    def known(self):
        found = {}
        for path, module in self.loaded.items():
            parts = path.split("/")
            found[parts[-1]] = found[".".join(parts)] = module
            for depth in range(1, len(parts)):
                parent, child = (
                    found.setdefault(".".join(names), types.ModuleType(".".join(names)))
                    for names in (parts[:depth], parts[: depth + 1])
                )
                parent.__path__ = []
                setattr(parent, parts[depth], child)
            found.setdefault("nets", types.ModuleType("nets")).__dict__[parts[-1]] = module
        return found


@contextlib.contextmanager
def missing_modules(own):
    """While files are imported: their own modules, and in the place of what is not installed, mocks."""
    finder = types.SimpleNamespace(find_spec=find_mock)
    sys.meta_path.append(finder)
    before = dict(sys.modules)
    sys.modules.update(own)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name not in before]:
            if name in own or isinstance(sys.modules[name], unittest.mock.MagicMock):
                del sys.modules[name]


def find_mock(name, path=None, target=None):
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    # Libraries that are installed ask for others, of which they do without.
    asker, ours = frame.f_code.co_filename, ("jax", "jscope", "tensorflow", "numpy", "tf_slim", "tf_keras", "absl")
    if "site-packages" in asker or asker.startswith(sys.base_prefix) or name.partition(".")[0] in ours:
        return None
    spec = importlib.machinery.ModuleSpec(name, None)
    made = unittest.mock.MagicMock(__path__=[], __spec__=spec, __all__=[])
    spec.loader = types.SimpleNamespace(create_module=lambda _: made, exec_module=lambda _: None)
    return spec


def value_of(name, shape):
    """What a variable is set to."""
    random = np.random.RandomState(zlib.crc32(name.encode()) % 2**31)
    drawn = random.normal(size=shape)
    last = name.rpartition("/")[2]
    if last == "moving_variance":
        return (1.0 + 0.3 * np.abs(drawn)).astype("float32")
    # A flow is inverted: three times the exponential of the one is a scale, and the inverse of the other is taken.
    if last == "logs":
        return (0.05 * drawn).astype("float32")
    if "invconv" in name:
        return np.linalg.qr(drawn)[0].astype("float32")
    if len(shape) < 2:
        return ((last in ("gamma", "g", "gx", "gh", "gc")) + 0.1 * drawn).astype("float32")
    return (drawn * np.sqrt(1.5 / np.prod(shape[:-1]))).astype("float32")


def flat(out):
    """The floats in what a model returns."""
    if isinstance(out, dict):
        out = [out[key] for key in sorted(out)]
    if isinstance(out, list | tuple):
        return [leaf for item in out for leaf in flat(item)]
    return [out]


def weights(shape):
    return np.cos(np.arange(np.prod(shape), dtype="float32")).reshape([int(size) for size in shape])


STEPS = 3


def on_tensorflow(tf, case, load, inputs):
    with tf.Graph().as_default(), tf.Session() as session:
        model = case(tf, load)
        outs = flat(model(*map(tf.constant, inputs)))
        variables = tf.global_variables()
        listed = tf.trainable_variables()
        # Some models list their statistics among them, which are not trained.
        trained = [v for v in listed if v.trainable]
        floats = [out for out in outs if out.dtype.base_dtype == tf.float32]
        total = sum(tf.reduce_sum(out * weights(out.shape.as_list())) for out in floats)
        grads = tf.gradients(total, trained) if trained and floats else [None] * len(trained)
        updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
        penalty = tf.losses.get_regularization_loss()
        session.run([v.initializer for v in variables])
        for v in variables:
            v.load(value_of(v.op.name, v.shape.as_list()).astype(v.dtype.as_numpy_dtype), session)
        start = {v.op.name: session.run(v) for v in variables if v not in trained}
        # In one step: some models write their averages wherever they are run, and the gradients would be of others.
        dense = [tf.constant(0.0) if g is None else tf.convert_to_tensor(g) for g in grads]
        found = session.run([outs, penalty, dense])
        for v in variables:
            v.load(start.get(v.op.name, value_of(v.op.name, v.shape.as_list())), session)
        for _ in range(STEPS):
            session.run([outs, updates])
        return {
            "variables": [(v.op.name, v.shape.as_list(), v in listed) for v in variables],
            "outs": found[0],
            "penalty": found[1],
            "grads": dict(zip([v.op.name for v in trained], found[2], strict=True)),
            "state": {v.op.name: session.run(v) for v in variables if v not in trained},
        }


def on_jscope(case, load, inputs, compiled=True):
    def run(*arrays):
        outs = flat(case(tf1, load)(*arrays))
        penalty = tf1.losses.get_regularization_loss()
        listed = tf1.trainable_variables()
        run.order = [(v.op.name, v in listed) for v in tf1.global_variables()]
        return outs, penalty

    model = tf1.transform_with_state(run)
    specs = model.specs(*inputs).flat()
    order = list(run.order)
    split = [{}, {}]
    for name, spec in specs.items():
        split[not spec.trainable][name] = jnp.asarray(value_of(name, spec.shape), spec.dtype)
    params, state = map(jscope.tree.unflatten, split)

    def loss(params, state):
        (outs, penalty), after = model.with_rng(jax.random.key(0)).apply(params, state, *inputs)
        total = sum((jnp.sum(out * weights(out.shape)) for out in outs if out.dtype == jnp.float32), jnp.float32(0))
        return total, (outs, penalty, after)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True)) if compiled else jax.value_and_grad(loss, has_aux=True)
    start = time.perf_counter()
    (_, (outs, penalty, after)), grads = step(params, state)
    for _ in range(STEPS - 1):
        after = step(params, after)[0][1][2]
    return {
        "variables": [(name, list(specs[name].shape), trained) for name, trained in order],
        "outs": list(map(np.asarray, outs)),
        "penalty": float(penalty),
        "grads": jscope.tree.flatten(grads),
        "state": jscope.tree.flatten(after),
        "seconds": time.perf_counter() - start,
    }


def apart(ours, theirs):
    """The largest difference between two arrays, relative to the largest number."""
    ours, theirs = np.asarray(ours, "float64"), np.asarray(theirs, "float64")
    if ours.shape != theirs.shape:
        ours = np.broadcast_to(ours, theirs.shape) if not ours.ndim else np.full(1, np.inf)
        theirs = theirs if ours.shape == theirs.shape else np.zeros(1)
    scale = max(np.abs(theirs).max(initial=0.0), 1e-3)
    return float(np.abs(ours - theirs).max(initial=0.0) / scale)


def all_apart(ours, theirs):
    """The length of the difference of all gradients, relative to their length."""
    length = lambda grads: np.sqrt(sum(np.sum(np.square(np.asarray(g, "float64"))) for g in grads.values()))  # noqa: E731
    if not length(theirs):
        return 0.0
    return float(length({k: np.asarray(ours.get(k, 0.0), "float64") - g for k, g in theirs.items()}) / length(theirs))


def rounding_of(case, load, inputs, theirs):
    """How far TensorFlow's outputs and gradients are from those that jscope computes in double precision."""
    model = tf1.transform_with_state(lambda *arrays: flat(case(tf1, load)(*arrays)))
    specs = model.specs(*inputs).flat()
    with jax.enable_x64(True):
        wide = lambda x: jnp.asarray(x, "float64" if np.asarray(x).dtype == np.float32 else None)  # noqa: E731
        split = [{}, {}]
        for name, spec in specs.items():
            split[not spec.trainable][name] = wide(value_of(name, spec.shape))
        params, state = map(jscope.tree.unflatten, split)

        def loss(params):
            outs = model.with_rng(jax.random.key(0)).apply(params, state, *map(wide, inputs))[0]
            return sum((jnp.sum(o * weights(o.shape)) for o in outs if o.dtype == jnp.float64), jnp.float64(0)), outs

        grads, outs = jax.jit(jax.grad(loss, has_aux=True))(params)
        return max(map(apart, theirs["outs"], outs)), all_apart(theirs["grads"], jscope.tree.flatten(grads))


def compared(ours, theirs):
    names = "yes" if ours["variables"] == theirs["variables"] else "NO"
    outs = max(map(apart, ours["outs"], theirs["outs"]), default=0.0)
    if len(ours["outs"]) != len(theirs["outs"]):
        outs = float("inf")
    state = max((apart(ours["state"].get(k, np.inf), v) for k, v in theirs["state"].items()), default=0.0)
    return names, outs, all_apart(ours["grads"], theirs["grads"]), apart(ours["penalty"], theirs["penalty"]), state


def main():
    parser = argparse.ArgumentParser(description="Runs public model files on TensorFlow and on jscope.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--show", action="store_true", help="print errors, and names that differ")
    options = parser.parse_args()
    tf = build()
    print("| model file | variables | names equal | outputs | gradients | TensorFlow | penalty | state | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    cases = CASES | FURTHER | FED | LATER | MORE
    for name in options.names or cases:
        repository, case, inputs = cases[name]
        folder = options.folder / repository.replace("/", "+")
        try:
            theirs = on_tensorflow(tf, case, Code(folder, "tests.tf1.oracle.shim", "tf"), inputs)
            ours = on_jscope(case, Code(folder, "jscope", "tf1"), inputs)
        except Exception as error:
            print(
                f"| {name} | | {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} | | | | | |"
            )
            if options.show:
                traceback.print_exc(limit=-8)
            continue
        same, outs, grads, penalty, state = compared(ours, theirs)
        rounding = ""
        if max(outs, grads) > 1e-5:
            # A model that makes arrays of single precision may not compute with others.
            with contextlib.suppress(TypeError):
                found = rounding_of(case, Code(folder, "jscope", "tf1"), inputs, theirs)
                rounding = "; ".join(f"{x:.1e}" for x in found)
        print(
            f"| {name} | {len(theirs['variables'])} | {same} | {outs:.1e} | {grads:.1e} | {rounding} | {penalty:.1e} | "
            f"{state:.1e} | {ours['seconds']:.1f} |",
            flush=True,
        )
        if options.show and same == "NO":
            for one, other in zip(ours["variables"], theirs["variables"], strict=False):
                if one != other:
                    print("   ", one, "is in TensorFlow", other)
                    break


if __name__ == "__main__":
    main()
