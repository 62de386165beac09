"""What fewer old files name, and `jscope.tf1` does not have: for most of it stands what stands for another name."""

from __future__ import annotations

_GROUPS: dict[str, tuple[str, ...]] = {
    "Graph": (
        *("contrib.compiler", "contrib.graph_editor", "contrib.quantize", "contrib.tensorrt", "graph_util"),
        *("python.framework.graph_util", "python.framework.test_util", "train.export_meta_graph", "train.write_graph"),
    ),
    "RandomShuffleQueue": ("PaddingFIFOQueue", "train.QueueRunner", "train.add_queue_runner", "train.queue_runner"),
    "Session": (
        *("DeviceSpec", "contrib.nccl", "contrib.staging", "train.ChiefSessionCreator", "train.ClusterSpec"),
        *("train.MonitoredSession", "train.Server", "train.SessionRunArgs", "train.SingularMonitoredSession"),
        "train.WorkerSessionCreator",
    ),
    "SparseTensor": ("sparse_reduce_sum", "sparse_reshape", "sparse_segment_sum", "sparse_transpose"),
    "Summary": (
        *("HistogramProto", "contrib.tensorboard", "summary.Event", "summary.FileWriterCache", "summary.Summary"),
        "train.summary_iterator",
    ),
    "TFRecordReader": (
        *("FixedLengthRecordReader", "TextLineReader", "WholeFileReader", "train.FeatureList", "train.FeatureLists"),
        "train.SequenceExample",
    ),
    "as_string": (
        *("lookup", "python.ops.lookup_ops", "reduce_join", "regex_replace", "string_to_hash_bucket_fast"),
        "string_to_number",
    ),
    "contrib.learn": (
        *("contrib.gan", "contrib.slim.evaluation", "contrib.slim.learning", "train.CheckpointSaverHook"),
        *("train.GlobalStepWaiterHook", "train.LoggingTensorHook", "train.NanTensorHook", "train.ProfilerHook"),
        *("train.SecondOrStepTimer", "train.StepCounterHook", "train.StopAtStepHook", "train.SummarySaverHook"),
    ),
    "contrib.losses": ("contrib.slim.losses",),
    "contrib.seq2seq": ("nn.raw_rnn",),
    "data": (
        *("contrib.slim.dataset", "contrib.slim.dataset_data_provider", "contrib.slim.parallel_reader"),
        *("contrib.slim.prefetch_queue", "contrib.slim.queues", "contrib.slim.tfexample_decoder", "decode_csv"),
        *("contrib.training.batch_sequences_with_states", "contrib.training.bucket_by_sequence_length"),
        *("feature_column", "image.decode_and_crop_jpeg", "image.draw_bounding_boxes", "image.extract_jpeg_shape"),
        *("train.batch_join", "train.input_producer", "train.range_input_producer", "write_file"),
    ),
    "enable_eager_execution": ("contrib.eager",),
    "global_variables_initializer": ("initialize_variables", "initializers.global_variables"),
    "gradients": ("GradientTape",),
    "keras": ("contrib.keras",),
    "local_variables_initializer": ("initialize_local_variables", "initializers.local_variables"),
    "nn.nce_loss": (
        *("nn.fixed_unigram_candidate_sampler", "nn.learned_unigram_candidate_sampler"),
        *("nn.log_uniform_candidate_sampler", "nn.uniform_candidate_sampler"),
    ),
    "profiler": ("contrib.memory_stats", "contrib.slim.model_analyzer", "contrib.tfprof", "python.client.timeline"),
    "report_uninitialized_variables": ("assert_variables_initialized", "is_variable_initialized"),
    "saved_model": ("lite",),
    "train.AdamOptimizer": (
        *("contrib.layers.OPTIMIZER_CLS_NAMES", "contrib.layers.optimize_loss", "contrib.opt", "train.experimental"),
        *("train.ProximalAdagradOptimizer", "train.ProximalGradientDescentOptimizer", "train.SyncReplicasOptimizer"),
    ),
    "train.NewCheckpointReader": (
        *("contrib.framework.list_variables", "contrib.framework.load_checkpoint", "contrib.framework.load_variable"),
        "python.pywrap_tensorflow",
    ),
    "train.Saver": (
        *("contrib.framework.assign_from_checkpoint", "contrib.framework.assign_from_checkpoint_fn"),
        *("contrib.slim.assign_from_checkpoint", "contrib.slim.assign_from_checkpoint_fn", "train.Checkpoint"),
        *("train.checkpoint_exists", "train.update_checkpoint_state"),
    ),
}

ALIKE = {name: like for like, names in _GROUPS.items() for name in names}
"""Names, each with the one whose advice stands for it, too."""

_BRANCH = "Use `tf.cond(pred, true_fn, false_fn)`."
_CELL = (
    "Derive it from `tf.nn.rnn_cell.RNNCell`, with a `call(inputs, state)` that asks `tf.get_variable` for the names "
    "that a checkpoint has."
)
_MEAN_OF_WORDS = (
    "Pass ids as a dense array with a mask: `tf.nn.embedding_lookup(params, ids)`, and the mean over the words that "
    "count."
)
_SCHEDULE = "Use a schedule of `optax`, such as `optax.cosine_decay_schedule`."
_SHARDING = "Use `jscope.sharding` with `jax.jit`: one program runs on all devices."
_SIGNAL = "Use `jax.scipy.signal`, such as `jax.scipy.signal.stft`, or `jnp.fft`."
_STATELESS = "Use `jax.random`, whose functions take a key."
_TRANSPOSED = "Use `tf.nn.conv2d_transpose`, or `jax.vjp` of the convolution."

RARE: dict[str, str] = {
    "autograph": "`if` and `for` need values that are known; for others use `tf.cond` and `tf.while_loop`.",
    "bitwise": "Use the operators `&`, `|`, `^`, `~`, `<<` and `>>` of tensors.",
    "contrib.crf": "Return the logits from the model, and compute the likelihood of a chain with `jax.lax.scan`.",
    "contrib.distribute": _SHARDING,
    "contrib.image": "Use `tf.image`, or `jax.scipy.ndimage.map_coordinates`.",
    "contrib.layers.bow_encoder": _MEAN_OF_WORDS,
    "contrib.layers.safe_embedding_lookup_sparse": _MEAN_OF_WORDS,
    "contrib.rnn.AttentionCellWrapper": _CELL,
    "contrib.rnn.ConvLSTMCell": _CELL,
    "contrib.rnn.EmbeddingWrapper": _CELL,
    "contrib.rnn.GRUBlockCell": "Use `tf.nn.rnn_cell.GRUCell`, whose variables have other names.",
    "contrib.rnn.GRUBlockCellV2": "Use `tf.nn.rnn_cell.GRUCell`, whose variables have the same names.",
    "contrib.rnn.HighwayWrapper": _CELL,
    "contrib.rnn.IndRNNCell": _CELL,
    "contrib.rnn.IndyGRUCell": _CELL,
    "contrib.rnn.IndyLSTMCell": _CELL,
    "contrib.rnn.InputProjectionWrapper": _CELL,
    "contrib.rnn.NASCell": _CELL,
    "contrib.rnn.OutputProjectionWrapper": _CELL,
    "contrib.rnn.PhasedLSTMCell": _CELL,
    "contrib.rnn.SRUCell": _CELL,
    "contrib.rnn.UGRNNCell": _CELL,
    "contrib.signal": _SIGNAL,
    "contrib.slim.nets": "Import the files of the networks themselves, which run on `jscope.tf1`.",
    "contrib.stateless": _STATELESS,
    "distribute": _SHARDING,
    "image.psnr": "Use `dm_pix.psnr`.",
    "image.ssim": "Use `dm_pix.ssim`.",
    "merge": _BRANCH,
    "nn.conv2d_backprop_filter": _TRANSPOSED,
    "nn.conv3d_backprop_filter": _TRANSPOSED,
    "nn.embedding_lookup_sparse": _MEAN_OF_WORDS,
    "nn.safe_embedding_lookup_sparse": _MEAN_OF_WORDS,
    "python.ops.control_flow_util": _BRANCH,
    "python.ops.inplace_ops": "Arrays do not change: `x = tf.tensor_scatter_nd_update(x, indices, updates)`.",
    "python.util.tf_inspect": "Use `inspect`.",
    "random.stateless_normal": _STATELESS,
    "random.stateless_uniform": _STATELESS,
    "setdiff1d": "How many there are depends on values, so it cannot be compiled. Use NumPy, outside of the model.",
    "signal": _SIGNAL,
    "switch": _BRANCH,
    "train.cosine_decay_restarts": _SCHEDULE,
    "train.inverse_time_decay": _SCHEDULE,
    "train.linear_cosine_decay": _SCHEDULE,
    "train.natural_exp_decay": _SCHEDULE,
    "train.noisy_linear_cosine_decay": _SCHEDULE,
}
"""What to use in the place of a name, where nothing else has the same advice."""
