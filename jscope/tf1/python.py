"""`tf.python`: what old files import from where TensorFlow keeps it, such as `tensorflow.python.ops.array_ops`.

`from jscope.tf1.python.ops import array_ops` finds what `tf` itself has, under the same names: a module of TensorFlow's
stands here for the public namespaces that have what is in it. Only what has no public name is defined here.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from jscope.tf1 import gfile
from jscope.tf1._moving import assign_moving_average
from jscope.tf1._ops._absent import NotThereError, stand_in
from jscope.tf1._ops._checks import get_static_value
from jscope.tf1._ops._find import find
from jscope.tf1._ops._flow import custom_gradient
from jscope.tf1._shapes import as_shape

TF = __name__.rpartition(".")[0]


def with_dependencies(dependencies: Any, output_tensor: Any, name: str | None = None) -> Any:
    """Returns the tensor: what stands before it in the program has run."""
    return find("", "identity")(output_tensor, name=name)


def Defun(*_: Any, python_grad_func: Any = None, **__: Any) -> Any:  # noqa: N802 - TensorFlow's name.
    """Returns a decorator, which gives a function the gradient `python_grad_func(op, *dys)`; `op` has the `inputs`."""

    def decorate(function: Any) -> Any:
        if python_grad_func is None:
            return function

        def with_gradient(*inputs: Any) -> Any:
            op = types.SimpleNamespace(inputs=list(inputs))
            return function(*inputs), lambda *dys: python_grad_func(op, *dys)

        return custom_gradient(with_gradient)

    return decorate


_ROOT = ("array_ops", "check_ops", "clip_ops", "control_flow_ops", "data_flow_ops", "functional_ops", "gen_array_ops")
_MORE = ("gen_math_ops", "gen_random_ops", "gen_state_ops", "init_ops", "linalg_ops", "logging_ops", "math_ops")
_LAST = ("parsing_ops", "random_ops", "script_ops", "sparse_ops", "special_math_ops", "state_ops", "string_ops")
_NETS = ("candidate_sampling_ops", "embedding_ops", "gen_nn_ops", "nn", "nn_impl", "nn_ops", "rnn")
_FRAMEWORK = ("constant_op", "dtypes", "function", "ops", "random_seed", "sparse_tensor", "tensor_shape", "tensor_util")

HOMES: dict[str, str] = {
    "client.device_lib": "test",
    "client.session": "",
    "eager.context": "",
    **{f"framework.{name}": "" for name in _FRAMEWORK},
    "framework.errors": "errors",
    "framework.errors_impl": "errors",
    **{f"layers.{name}": "layers" for name in ("base", "convolutional", "core", "layers", "normalization", "pooling")},
    "layers.utils": "contrib.layers.utils",
    "lib.io.file_io": "gfile",
    "lib.io.tf_record": "python_io",
    **{f"ops.{name}": "" for name in (*_ROOT, *_MORE, *_LAST, "tensor_array_ops", "variable_scope", "variables")},
    **{f"ops.{name}": "nn" for name in _NETS},
    "ops.image_ops": "image",
    "ops.losses.losses": "losses",
    "ops.losses.losses_impl": "losses",
    "ops.losses.util": "losses",
    "ops.metrics": "metrics",
    "ops.rnn_cell": "nn.rnn_cell",
    "ops.rnn_cell_impl": "nn.rnn_cell",
    "platform.app": "app",
    "platform.flags": "flags",
    "platform.gfile": "gfile",
    "platform.googletest": "test",
    "platform.test": "test",
    "platform.tf_logging": "logging",
    "training.moving_averages": "train",
    "training.optimizer": "train",
    "training.saver": "train",
    "training.training": "train",
    "training.training_util": "train",
    "util.nest": "nest",
}
"""The public namespace that stands for a module."""


def read_file_to_string(filename: Any, binary_mode: bool = False) -> Any:
    """Returns what is in a file."""
    with gfile.GFile(filename, "rb" if binary_mode else "r") as file:
        return file.read()


OWN: dict[str, dict[str, Any]] = {
    "framework.function": {"Defun": Defun},
    "framework.tensor_shape": {"as_shape": as_shape},
    "framework.tensor_util": {"constant_value": get_static_value},
    "lib.io.file_io": {
        "create_dir": gfile.MkDir,
        "delete_file": gfile.remove,
        "delete_recursively": gfile.rmtree,
        "file_exists": gfile.exists,
        "get_matching_files": gfile.Glob,
        "is_directory": gfile.isdir,
        "list_directory": gfile.listdir,
        "read_file_to_string": read_file_to_string,
        "recursive_create_dir": gfile.makedirs,
    },
    "ops.control_flow_ops": {"with_dependencies": with_dependencies},
    "training.moving_averages": {"assign_moving_average": assign_moving_average},
}
"""What such a module has, and no public namespace."""


def public(path: str) -> Any:
    """Returns a namespace of `tf`, which is a module or has one above it."""
    found: Any = sys.modules[TF]
    for part in filter(None, path.split(".")):
        found = getattr(found, part)
    return found


def module(path: str) -> types.ModuleType:
    """Makes the module that stands for `tensorflow.python.<path>`, and those above it."""
    name = f"{__name__}.{path}"
    if name in sys.modules:
        return sys.modules[name]
    made = types.ModuleType(name, f"`tensorflow.python.{path}`, as far as `tf` has what is in it.")
    # What has a path is a package, below which Python looks for more.
    made.__dict__.update(OWN.get(path, {}), __path__=[], __getattr__=lambda asked: looked_up(path, asked))
    sys.modules[name] = made
    above, _, last = path.rpartition(".")
    setattr(module(above) if above else sys.modules[__name__], last, made)
    return made


def looked_up(path: str, name: str) -> Any:
    """Returns what a module of TensorFlow's has under this name."""
    # Python asks modules for names of its own.
    if path in HOMES and not name.startswith("__"):
        return getattr(public(HOMES[path]), name)
    found = stand_in(".".join(filter(None, ("python", path, name))))
    if found is not None:
        return found
    raise NotThereError(
        f"`{'.'.join(filter(None, ('tf.python', path)))}` has no `{name}` in `jscope.tf1`.\n"
        "It is a part of TensorFlow that is not public. Use what `tf` itself has for it."
    )


def __getattr__(name: str) -> Any:
    return looked_up("", name)


__path__: list[str] = []
for _path in HOMES:
    module(_path)
