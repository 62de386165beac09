"""What TensorFlow 1 has and JAX does not need: an error that says what stands in its place.

Old files name such things far from where they use them (a default argument, a base class), so naming one is not yet an
error: calling it is.
"""

from __future__ import annotations

from typing import Any

import jax

from jscope.errors import JscopeError
from jscope.tf1._errors import advised
from jscope.tf1._ops import _keras_initializers
from jscope.tf1._ops._rarely_asked import ALIKE, RARE


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
_STRING = "JAX has no arrays of strings: keep them in Python."
_RECORDS = (
    "Read records with a library for that, such as `grain` or `tfds`, and pass arrays to `model.apply(params, x)`."
)
_METRICS = (
    "A metric adds up over batches, in variables of a session. Compute the value of a batch in the model, such as "
    "`tf.reduce_mean(tf.cast(tf.equal(predictions, labels), tf.float32))`, and add up outside."
)
_TRAINING = "Write the loop of training yourself: `jax.jit(jax.value_and_grad(model.apply))`, and `optax`."
_TPU = "JAX runs on TPUs as it does elsewhere: `jax.jit(model.apply)`, and `jscope.sharding` for several of them."
_DECODING = (
    "Cells are in `tf.nn.rnn_cell`. Write the decoder as a loop over its steps: a cell that attends is called by "
    "`tf.nn.dynamic_rnn`, one that is fed its own output by `tf.while_loop` with a `tf.TensorArray`."
)
_EAGER = "There is one mode: an `apply` that is not under `jax.jit` computes at once. Leave the call out."
_QUEUES = "JAX needs no queues or threads: " + _INPUT

ADVICE: dict[str, str] = {
    "AggregationMethod": _GRADIENTS,
    "ConfigProto": _SESSION,
    "Example": _RECORDS,
    "FIFOQueue": _QUEUES,
    "FixedLenFeature": _RECORDS,
    "FixedLenSequenceFeature": _RECORDS,
    "GPUOptions": _SESSION,
    "Graph": _GRAPH,
    "GraphDef": _GRAPH,
    "GraphOptions": _SESSION,
    "IndexedSlices": "Gradients are dense arrays here, which XLA adds up without making them.",
    "InteractiveSession": _SESSION,
    "OptimizerOptions": _SESSION,
    "RandomShuffleQueue": _QUEUES,
    "RegisterGradient": "Use `tf.custom_gradient`.",
    "RunMetadata": _SESSION,
    "RunOptions": _SESSION,
    "SequenceExample": _RECORDS,
    "Session": _SESSION,
    "SparseTensor": _SPARSE,
    "SparseTensorValue": _SPARSE,
    "Summary": "Write what the model returns with a library for that, such as `clu` or `tensorboardX`.",
    "TFRecordReader": _RECORDS,
    "VarLenFeature": _RECORDS,
    "as_string": _STRING,
    "contrib.cluster_resolver": _TPU,
    "contrib.cudnn_rnn": "Use the cells of `tf.nn.rnn_cell` with `tf.nn.dynamic_rnn`.",
    "contrib.data": _INPUT,
    "contrib.distributions": "Use `distrax`, `tensorflow_probability.substrates.jax` or `jax.scipy.stats`.",
    "contrib.learn": _TRAINING,
    "contrib.lookup": _STRING,
    "contrib.losses": "Use `tf.losses`, whose functions take the labels first.",
    "contrib.metrics": _METRICS,
    "contrib.mixed_precision": "Multiply the loss by a number, and divide its gradients by it; bfloat16 needs neither.",
    "contrib.seq2seq": _DECODING,
    "contrib.summary": "Write what the model returns with a library for that, such as `clu` or `tensorboardX`.",
    "contrib.tpu": _TPU,
    "data": _INPUT,
    "decode_raw": _INPUT,
    "distributions": "Use `distrax`, `tensorflow_probability.substrates.jax` or `jax.scipy.stats`.",
    "enable_eager_execution": _EAGER,
    "enable_v2_behavior": _EAGER,
    "estimator": _TRAINING,
    "function": "`jax.jit(model.apply)` compiles; a function that a model calls needs nothing around it.",
    "get_default_graph": _GRAPH,
    "get_default_session": _SESSION,
    "global_variables_initializer": "`params = model.init(key, x)` runs the initializers.",
    "gradients": _GRADIENTS,
    "hessians": _GRADIENTS.replace("jax.grad", "jax.hessian"),
    "image.decode_image": _INPUT,
    "image.decode_jpeg": _INPUT,
    "image.decode_png": _INPUT,
    "image.encode_jpeg": _INPUT,
    "image.encode_png": _INPUT,
    "image.non_max_suppression": (
        "How many boxes it keeps depends on values, so it cannot be compiled. Return boxes and scores from the model, "
        "and choose outside, with NumPy."
    ),
    "image.sample_distorted_bounding_box": _INPUT,
    "import_graph_def": _GRAPH,
    "initialize_all_variables": "`params = model.init(key, x)` runs the initializers.",
    "io": _RECORDS,
    "keras": _KERAS,
    "load_op_library": "Write the operation with `jax.numpy`, or call C++ through `jax.ffi`.",
    "local_variables_initializer": "`params, state = model.init(key, x)` runs the initializers.",
    "metrics": _METRICS,
    "nn.ctc_loss": "Use `optax.ctc_loss`.",
    "nn.nce_loss": "Draw the samples with `tf.random_uniform`, and use `tf.nn.sigmoid_cross_entropy_with_logits`.",
    "nn.sampled_softmax_loss": "Use `tf.nn.sparse_softmax_cross_entropy_with_logits` over all classes.",
    "parse_example": _INPUT,
    "parse_single_example": _INPUT,
    "parse_single_sequence_example": _INPUT,
    "placeholder": (
        "A placeholder is an argument: write a function, `def f({name}): ...`, and pass the array to "
        "`tf1.transform(f).apply(params, {name})` in the place of `feed_dict`."
    ),
    "profiler": "`jscope.summary` counts parameters, `jax.profiler` measures time.",
    "py_function": "Use `jax.pure_callback(func, jax.ShapeDtypeStruct(shape, dtype), *inputs)`.",
    "python_io": _RECORDS,
    "read_file": _INPUT,
    "report_uninitialized_variables": "`params = model.init(key, x)` gives a value to each.",
    "reset_default_graph": _GRAPH,
    "saved_model": "`jax.export` writes a model as a file; `jscope.checkpoint.save(path, params)` writes its params.",
    "sparse": _SPARSE,
    "sparse_placeholder": _SPARSE,
    "sparse_retain": _SPARSE,
    "sparse_tensor_dense_matmul": _SPARSE,
    "sparse_tensor_to_dense": _SPARSE,
    "string": _STRING,
    "string_join": _STRING,
    "string_split": _STRING,
    "strings": _STRING,
    "summary.FileWriter": "Write what the model returns with a library for that, such as `clu` or `tensorboardX`.",
    "tables_initializer": _INPUT,
    "test": "Use `pytest`, and compare with `numpy.testing`.",
    "train.AdadeltaOptimizer": _OPTIMIZER,
    "train.AdagradOptimizer": _OPTIMIZER,
    "train.AdamOptimizer": _OPTIMIZER,
    "train.BytesList": _RECORDS,
    "train.Coordinator": _QUEUES,
    "train.Example": _RECORDS,
    "train.Feature": _RECORDS,
    "train.Features": _RECORDS,
    "train.FloatList": _RECORDS,
    "train.FtrlOptimizer": _OPTIMIZER,
    "train.GradientDescentOptimizer": _OPTIMIZER,
    "train.Int64List": _RECORDS,
    "train.MomentumOptimizer": _OPTIMIZER,
    "train.MonitoredTrainingSession": _SESSION,
    "train.NewCheckpointReader": "Use `jscope.checkpoint.load_checkpoint`.",
    "train.Optimizer": _OPTIMIZER,
    "train.RMSPropOptimizer": _OPTIMIZER,
    "train.Saver": _SAVER,
    "train.Scaffold": _SESSION,
    "train.SessionRunHook": _SESSION,
    "train.Supervisor": _SESSION,
    "train.batch": _INPUT,
    "train.cosine_decay": "Use `optax.cosine_decay_schedule`.",
    "train.exponential_decay": "Use `optax.exponential_decay`.",
    "train.get_checkpoint_state": _SAVER,
    "train.global_step": "`model.apply` returns the state, which has `global_step`.",
    "train.import_meta_graph": _GRAPH,
    "train.latest_checkpoint": _SAVER,
    "train.list_variables": "Use `jscope.checkpoint.list_variables`.",
    "train.load_checkpoint": "Use `jscope.checkpoint.load_checkpoint`.",
    "train.load_variable": "Use `jscope.checkpoint.load_variable`.",
    "train.piecewise_constant": "Use `optax.piecewise_constant_schedule`.",
    "train.polynomial_decay": "Use `optax.polynomial_schedule`.",
    "train.replica_device_setter": "`jscope.sharding` says where params are.",
    "train.shuffle_batch": _INPUT,
    "train.slice_input_producer": _INPUT,
    "train.start_queue_runners": _QUEUES,
    "train.string_input_producer": _INPUT,
    "variables_initializer": "`params = model.init(key, x)` runs the initializers.",
}
"""What to use in the place of a name, or of all names below it."""


IMPORTED: dict[str, tuple[str, ...]] = {
    "contrib.data": (
        *("AUTOTUNE", "batch_and_drop_remainder", "group_by_window", "ignore_errors", "map_and_batch"),
        *("parallel_interleave", "prefetch_to_device", "shuffle_and_repeat", "unbatch"),
    ),
    "contrib.mixed_precision": (
        *("ExponentialUpdateLossScaleManager", "FixedLossScaleManager", "LossScaleManager", "LossScaleOptimizer"),
    ),
    "contrib.seq2seq": (
        *("AttentionMechanism", "AttentionWrapper", "AttentionWrapperState", "BahdanauAttention", "BasicDecoder"),
        *("BasicDecoderOutput", "BeamSearchDecoder", "CustomHelper", "Decoder", "GreedyEmbeddingHelper", "Helper"),
        *("InferenceHelper", "LuongAttention", "LuongMonotonicAttention", "BahdanauMonotonicAttention"),
        *("SampleEmbeddingHelper", "ScheduledEmbeddingTrainingHelper", "TrainingHelper", "dynamic_decode"),
        *("hardmax", "safe_cumprod", "tile_batch"),
    ),
}
"""What old files import by name from a module of which nothing is there."""


class ModeKeys:
    """`tf.estimator.ModeKeys`, which models compare with."""

    TRAIN, EVAL, PREDICT = "train", "eval", "infer"


def _has_gpu(*_: Any, **__: Any) -> bool:
    return jax.default_backend() == "gpu"


PRESENT: dict[str, dict[str, Any]] = {
    "contrib.keras": {"initializers": _keras_initializers},
    "estimator": {"ModeKeys": ModeKeys},
    "keras": {"initializers": _keras_initializers},
    # By which models choose the order of the axes.
    "test": {"is_built_with_cuda": staticmethod(_has_gpu), "is_gpu_available": staticmethod(_has_gpu)},
}
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
    home, _, last = full.rpartition(".")
    alike = ALIKE.get(full, full)
    known = alike if alike in ADVICE else home if last in IMPORTED.get(home, ()) else None
    advice = RARE.get(full) if known is None else ADVICE[known]
    return None if advice is None else _made(full, advice)


def _made(full: str, advice: str) -> Any:
    def refuse(cls: Any, *_: Any, **options: Any) -> Any:
        said = advice.replace("{name}", str(options.get("name") or "x"))
        raise NotThereError(advised(f"`tf.{full}` is not in `jscope.tf1`.", said))

    # A class, because old files derive from some of these (`tf.train.SessionRunHook`) where they are imported.
    members = {"__new__": refuse, "full": full, "advice": advice, "__doc__": advice, **PRESENT.get(full, {})}
    return _Absent(full.rpartition(".")[2], (), members)
