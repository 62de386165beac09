"""What TensorFlow 1 has and JAX does not need: an error that says what stands in its place.

Old files name such things far from where they use them (a default argument, a base class), so naming one is not yet an
error: calling it is.
"""

from __future__ import annotations

from typing import Any

from jscope.errors import JscopeError
from jscope.tf1._errors import advised


# Old code asks `hasattr(tf, name)` and `getattr(tf, name, default)` to tell versions of TensorFlow apart, and Python
# takes no other error for an answer than an `AttributeError`.
class NotThereError(JscopeError, AttributeError):
    """Something of TensorFlow's that `jscope.tf1` does not have. The message says what to use."""


_OPTIMIZER = "Use an optimizer of `optax`: `optax.adam(1e-3)` with `jax.value_and_grad(model.apply)(params, ...)`."
_SESSION = (
    "Here a model is a function: `model = tf1.transform(f)`, `params = model.init(key, x)`, and in the place of "
    "`session.run(y, feed)` stands `model.apply(params, x)`, or `jax.jit(model.apply)(params, x)`."
)
_SAVER = (
    "Params are a dict of arrays. `jscope.checkpoint.init_from_checkpoint(params, path, {'/': '/'})` reads a "
    "checkpoint of TensorFlow's into them; `jscope.checkpoint.save(path, params)` writes one."
)
_GRADIENTS = (
    "There is no graph to look at. Write what is differentiated as a function of what it is differentiated by:\n"
    "    gradient = jax.grad(lambda x: jnp.sum(critic(x)))(x)   # tf.gradients(critic(x), x)[0]\n"
    "    gradients = jax.grad(model.apply)(params, batch)       # tf.gradients(loss, tf.trainable_variables())"
)
_INPUT = "Read the data outside of the model, and pass arrays to `model.apply(params, x)`."
_KERAS = "Use `tf1.layers`, or the layers of `jscope.nn`."
_GRAPH = "There is no graph: one call of `model.init` or `model.apply` is what a graph was."
_SPARSE = (
    "JAX computes with dense arrays. Pass a dense one, for which `tf.sparse_tensor_dense_matmul` is `tf.matmul`; or a "
    "`jax.experimental.sparse.BCOO`, which has `@`."
)
_QUEUES = "JAX needs no queues or threads: " + _INPUT

ADVICE: dict[str, str] = {
    "ConfigProto": _SESSION,
    "FIFOQueue": _QUEUES,
    "GPUOptions": _SESSION,
    "Graph": _GRAPH,
    "InteractiveSession": _SESSION,
    "Session": _SESSION,
    "SparseTensor": _SPARSE,
    "SparseTensorValue": _SPARSE,
    "TensorArray": "Use `tf.scan` or `tf.map_fn`, which stack what each step returns.",
    "data": _INPUT,
    "estimator": "Write the loop of training yourself: `jax.jit(jax.value_and_grad(model.apply))`, and `optax`.",
    "get_default_graph": _GRAPH,
    "get_default_session": _SESSION,
    "global_variables_initializer": "`params = model.init(key, x)` runs the initializers.",
    "gradients": _GRADIENTS,
    "hessians": _GRADIENTS.replace("jax.grad", "jax.hessian"),
    "image.decode_jpeg": _INPUT,
    "image.decode_png": _INPUT,
    "image.resize_area": "Use `jax.image.resize(images, shape, 'linear', antialias=True)`.",
    "image.resize_bicubic": "Use `jax.image.resize(images, shape, 'cubic')`; its pixels are centered.",
    "initialize_all_variables": "`params = model.init(key, x)` runs the initializers.",
    "keras": _KERAS,
    "load_op_library": "Write the operation with `jax.numpy`, or call C++ through `jax.ffi`.",
    "local_variables_initializer": "`params, state = model.init(key, x)` runs the initializers.",
    "nn.ctc_loss": "Use `optax.ctc_loss`.",
    "nn.nce_loss": "Draw the samples with `tf.random_uniform`, and use `tf.nn.sigmoid_cross_entropy_with_logits`.",
    "nn.sampled_softmax_loss": "Use `tf.nn.sparse_softmax_cross_entropy_with_logits` over all classes.",
    "parse_example": _INPUT,
    "parse_single_example": _INPUT,
    "placeholder": (
        "A placeholder is an argument: write a function, `def f({name}): ...`, and pass the array to "
        "`tf1.transform(f).apply(params, {name})` in the place of `feed_dict`."
    ),
    "placeholder_with_default": "A placeholder is an argument: write `def f({name}=value): ...`.",
    "profiler": "`jscope.summary` counts parameters, `jax.profiler` measures time.",
    "py_function": "Use `jax.pure_callback(func, jax.ShapeDtypeStruct(shape, dtype), *inputs)`.",
    "reset_default_graph": _GRAPH,
    "sparse": _SPARSE,
    "sparse_placeholder": _SPARSE,
    "sparse_retain": _SPARSE,
    "sparse_tensor_dense_matmul": _SPARSE,
    "sparse_tensor_to_dense": _SPARSE,
    "string": "JAX has no arrays of strings: keep them in Python.",
    "summary.FileWriter": "Write what the model returns with a library for that, such as `clu` or `tensorboardX`.",
    "tables_initializer": _INPUT,
    "train.AdadeltaOptimizer": _OPTIMIZER,
    "train.AdagradOptimizer": _OPTIMIZER,
    "train.AdamOptimizer": _OPTIMIZER,
    "train.Coordinator": _QUEUES,
    "train.FtrlOptimizer": _OPTIMIZER,
    "train.GradientDescentOptimizer": _OPTIMIZER,
    "train.MomentumOptimizer": _OPTIMIZER,
    "train.MonitoredTrainingSession": _SESSION,
    "train.Optimizer": _OPTIMIZER,
    "train.RMSPropOptimizer": _OPTIMIZER,
    "train.Saver": _SAVER,
    "train.SessionRunHook": _SESSION,
    "train.Supervisor": _SESSION,
    "train.batch": _INPUT,
    "train.cosine_decay": "Use `optax.cosine_decay_schedule`.",
    "train.exponential_decay": "Use `optax.exponential_decay`.",
    "train.latest_checkpoint": _SAVER,
    "train.piecewise_constant": "Use `optax.piecewise_constant_schedule`.",
    "train.polynomial_decay": "Use `optax.polynomial_schedule`.",
    "train.shuffle_batch": _INPUT,
    "train.start_queue_runners": _QUEUES,
}
"""What to use in the place of a name, or of all names below it."""


class ModeKeys:
    """`tf.estimator.ModeKeys`, which models compare with."""

    TRAIN, EVAL, PREDICT = "train", "eval", "infer"


PRESENT: dict[str, dict[str, Any]] = {"estimator": {"ModeKeys": ModeKeys}}
"""What is there of that which is not."""


class _Absent(type):
    """The class of the classes that stand for what is not there: whatever is below one is not there, either."""

    full: str
    advice: str

    def __getattr__(cls, name: str) -> Any:
        # Python itself asks classes for such names, when it prints or copies them, and expects this answer.
        if name.startswith("_"):
            raise AttributeError(name)
        return _made(f"{cls.full}.{name}", cls.advice)

    def __repr__(cls) -> str:
        return f"<tf.{cls.full}, which `jscope.tf1` does not have>"


def stand_in(full: str) -> Any:
    """Returns a class that says what to use when it is called, or None if nobody knows."""
    return _made(full, ADVICE[full]) if full in ADVICE else None


def _made(full: str, advice: str) -> Any:
    def refuse(cls: Any, *_: Any, **options: Any) -> Any:
        said = advice.replace("{name}", str(options.get("name") or "x"))
        raise NotThereError(advised(f"`tf.{full}` is not in `jscope.tf1`.", said))

    # A class, because old files derive from some of these (`tf.train.SessionRunHook`) where they are imported.
    members = {"__new__": refuse, "full": full, "advice": advice, "__doc__": advice, **PRESENT.get(full, {})}
    return _Absent(full.rpartition(".")[2], (), members)
