"""Model files whose classes make their own placeholders and optimizers, and more kinds, for `model_files.py`.

`fed` gives arrays in the place of placeholders, and of what trains: neither is a part of the model.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
import unittest.mock

import numpy as np

from tests.tf1.oracle.checkouts import floats, ints

OPTIMIZERS = ("AdamOptimizer", "AdagradOptimizer", "GradientDescentOptimizer", "RMSPropOptimizer", "Saver")


@contextlib.contextmanager
def fed(tf, *arrays):
    """While a class is made: its placeholders are these arrays, in their order, and nothing of it trains."""
    given = iter(arrays)
    with contextlib.ExitStack() as stack:
        put = lambda home, name, value: stack.enter_context(unittest.mock.patch.object(home, name, value))  # noqa: E731
        put(tf, "placeholder", lambda *_, **__: tf.convert_to_tensor(next(given)))
        put(tf, "gradients", lambda _, variables, **__: [tf.zeros_like(each) for each in variables])
        for name in ("Session", "ConfigProto", "Graph", "global_variables_initializer"):
            put(tf, name, unittest.mock.MagicMock())
        for name in OPTIMIZERS:
            put(tf.train, name, unittest.mock.MagicMock())
        yield


@contextlib.contextmanager
def standing_in(modules):
    """While a file is imported: modules that it asks for, and which need not be there."""
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def text_cnn(tf, load):
    module = load("text_cnn")

    def run(x, y):
        with fed(tf, x, y, np.float32(1.0)):
            net = module.TextCNN(9, 3, 30, 6, [2, 3], 4, l2_reg_lambda=0.1)
        return net.scores, net.loss, net.accuracy

    return run


def gcn(tf, load):
    flags = types.SimpleNamespace(hidden1=6, weight_decay=5e-4, learning_rate=0.1)
    load("gcn/inits")
    layers, _ = load("gcn/layers"), load("gcn/metrics")
    # Its features and its graph are sparse. Here they are dense.
    vars(layers).update(sparse_dropout=lambda x, keep_prob, shape: x)
    module = load("gcn/models")
    vars(module).update(FLAGS=flags)

    def run(features, graph, labels, mask):
        vars(layers)["_LAYER_UIDS"].clear()
        given = {"features": features, "support": [graph], "dropout": 0.0, "labels": labels, "labels_mask": mask}
        with fed(tf), unittest.mock.patch.object(tf, "sparse_tensor_dense_matmul", tf.matmul):
            net = module.GCN(given | {"num_features_nonzero": None}, input_dim=5)
        return net.outputs, net.loss, net.predict()

    return run


def graphsage(tf, load, kind="MeanAggregator"):
    inits, layers = load("graphsage/inits"), load("graphsage/layers")
    module = load("graphsage/aggregators")
    del inits

    def run(own, neighbours):
        vars(layers)["_LAYER_UIDS"].clear()
        return getattr(module, kind)(5, 4, concat=True, dropout=0.0)((own, neighbours))

    return run


def memn2n(tf, load):
    with unittest.mock.patch.object(tf, "Session", unittest.mock.MagicMock()):
        module = load("memn2n/memn2n")

    def run(stories, queries, answers):
        with fed(tf, stories, queries, answers, np.float32(0.1)):
            net = types.SimpleNamespace(_batch_size=2, _vocab_size=20, _sentence_size=5, _memory_size=4, _hops=3)
            vars(net).update(_embedding_size=6, _init=tf.random_normal_initializer(stddev=0.1), _name="MemN2N")
            net._nonlin = None
            module.MemN2N._build_inputs(net)
            module.MemN2N._build_vars(net)
            net._encoding = tf.constant(module.position_encoding(5, 6))
            logits = module.MemN2N._inference(net, net._stories, net._queries)
        labels = tf.cast(net._answers, tf.float32)
        return logits, tf.nn.softmax_cross_entropy_with_logits(logits=logits, labels=labels)

    return run


def dqn(tf, load):
    ops = load("dqn/ops")

    def run(x, action):
        with tf.variable_scope("prediction"):
            options = {"initializer": tf.truncated_normal_initializer(0, 0.02), "activation_fn": tf.nn.relu}
            one = ops.conv2d(x, 8, [8, 8], [4, 4], name="l1", **options)[0]
            two = ops.conv2d(one, 8, [4, 4], [2, 2], name="l2", **options)[0]
            shape = two.get_shape().as_list()
            flat = tf.reshape(two, [-1, functools.reduce(lambda a, b: a * b, shape[1:])])
            q = ops.linear(ops.linear(flat, 16, activation_fn=tf.nn.relu, name="l4")[0], 4, name="q")[0]
        return q, ops.clipped_error(2.0 - tf.reduce_sum(q * tf.one_hot(action, 4, 1.0, 0.0), reduction_indices=1))

    return run


def deepfm(tf, load):
    # It derives from two classes of a library that need not be there.
    classes = {"sklearn.base": types.SimpleNamespace(BaseEstimator=Exception, TransformerMixin=object)}
    with standing_in(classes):
        module = load("DeepFM")

    def run(index, value, label):
        ones = np.ones(3, "float32")
        options = {"feature_size": 20, "field_size": 4, "embedding_size": 5, "deep_layers": [8, 6], "l2_reg": 0.1}
        with fed(tf, index, value, label, ones, ones, np.array(True)):
            net = module.DeepFM(**options, dropout_fm=[1.0, 1.0], dropout_deep=[1.0] * 3)
        return net.out, net.loss

    return run


def language_model(tf, load):
    load("tutorials/rnn/ptb/util")
    module = load("tutorials/rnn/ptb/ptb_word_lm", argv=["ptb"])
    vars(module).update(FLAGS=types.SimpleNamespace(use_fp16=False))
    config = types.SimpleNamespace(hidden_size=6, vocab_size=20, keep_prob=1.0, num_layers=2, batch_size=2)
    vars(config).update(rnn_mode="block", init_scale=0.1, max_grad_norm=5.0)

    def run(words, targets):
        given = types.SimpleNamespace(batch_size=2, num_steps=4, input_data=words, targets=targets)
        net = module.PTBModel(False, config, given)
        return net.cost, net.final_state

    return run


def char_rnn(tf, load, kind="lstm"):
    module = load("model")
    args = types.SimpleNamespace(model=kind, num_layers=2, rnn_size=6, batch_size=2, seq_length=4, vocab_size=10)
    vars(args).update(output_keep_prob=1.0, input_keep_prob=1.0, grad_clip=5.0)

    def run(words, targets):
        with fed(tf, words, targets):
            net = module.Model(args)
        return net.logits, net.cost, net.probs

    return run


def vtrace(tf, load):
    module = load("vtrace")

    def run(behaviour, target, actions, discounts, rewards, values, bootstrap):
        return tuple(module.from_logits(behaviour, target, actions, discounts, rewards, values, bootstrap))

    return run


def ugatit(tf, load):
    load("ops"), load("utils")
    module = load("UGATIT")

    def run(images):
        self = types.SimpleNamespace(ch=4, n_res=4, smoothing=True, light=False, batch_size=2, n_dis=5, sn=True)
        for name in ("MLP", "discriminator_local", "discriminator_global"):
            setattr(self, name, functools.partial(getattr(module.UGATIT, name), self))
        fake, cam, _ = module.UGATIT.generator(self, images)
        return fake, cam, *module.UGATIT.discriminator(self, fake)[:2]

    return run


def video(tf, load):
    load("research/video_prediction/lstm_ops")
    module = load("research/video_prediction/prediction_model")

    def run(images, actions, states):
        parts = [tf.unstack(each, axis=0) for each in (images, actions, states)]
        made, found = module.construct_model(*parts, num_masks=2)
        return made, found

    return run


SMALL = {"num_classes": 6, "is_training": False}


def slim_research(file, net, scope=None, **options):
    def case(tf, load):
        for helper in ("resnet_utils", "inception_utils"):
            load(f"research/slim/nets/{helper}")
        nets = load(f"research/slim/nets/{file}")

        def run(images):
            scoped = tf.contrib.slim.arg_scope(getattr(nets, scope)()) if scope else contextlib.nullcontext()
            with scoped:
                return getattr(nets, net)(images, **options)[0]

        return run

    return case


def tacotron2(tf, load):
    module = load("tacotron/models/modules")
    hp = types.SimpleNamespace(enc_conv_num_layers=2, enc_conv_kernel_size=3, enc_conv_channels=6)
    vars(hp).update(tacotron_dropout_rate=0.0, batch_norm_position="after")
    vars(hp).update(postnet_num_layers=2, postnet_kernel_size=3, postnet_channels=6, encoder_lstm_units=5)

    def run(x, lengths):
        h = module.EncoderConvolutions(True, hp, activation=tf.nn.relu)(x)
        out = module.EncoderRNN(False, size=5, zoneout=0.1)(h, lengths)
        cbhg = module.CBHG(3, 6, 2, [6, 6], 3, 2, 5, 4, "after", True, name="CBHG")(x, None)
        return out, cbhg, module.Postnet(True, hp, activation=tf.tanh)(x)

    return run


def din(tf, load):
    layers = load("din/Dice")

    def run(x):
        return layers.dice(layers.dice(x, name="a"), name="b"), layers.parametric_relu(x)

    return run


def t2t(tf, load):
    contrib = types.SimpleNamespace(slim=lambda: tf.contrib.slim, layers=lambda: tf.contrib.layers)
    vars(contrib).update(framework=lambda **_: tf.contrib.framework)
    with standing_in({"tensor2tensor.utils.contrib": contrib}):
        layers = load("tensor2tensor/layers/common_layers")
        load("tensor2tensor/utils/expert_utils")
        load("tensor2tensor/layers/area_attention")
        attention = load("tensor2tensor/layers/common_attention")
    vars(layers).update(contrib=contrib)
    vars(attention).update(contrib=contrib)
    hp = types.SimpleNamespace(layer_preprocess_sequence="n", layer_postprocess_sequence="da", norm_type="layer")
    vars(hp).update(norm_epsilon=1e-6, layer_prepostprocess_dropout=0.0, hidden_size=8)
    vars(hp).update(layer_prepostprocess_dropout_broadcast_dims="")

    def run(x, memory):
        bias = attention.attention_bias_lower_triangle(6)
        y = attention.add_timing_signal_1d(x)
        y = attention.multihead_attention(layers.layer_preprocess(y, hp), None, bias, 8, 8, 8, 2, 0.0)
        y = attention.multihead_attention(y, memory, None, 8, 8, 8, 2, 0.0, name="cross")
        y = layers.dense_relu_dense(y, 16, 8)
        z = layers.conv_block(tf.expand_dims(y, 2), 8, [((1, 1), (3, 1))], padding="SAME", name="conv")
        return y, z, layers.layer_norm(y)

    return run


def tagging(tf, load):
    load("model/base_model")
    module = load("model/ner_model")

    def run(words, lengths, chars, sizes, labels):
        config = types.SimpleNamespace(embeddings=None, nwords=20, dim_word=6, use_chars=True, nchars=10, dim_char=4)
        vars(config).update(hidden_size_char=4, hidden_size_lstm=5, ntags=3, use_crf=False)
        self = types.SimpleNamespace(config=config, logger=unittest.mock.MagicMock())
        with fed(tf, words, lengths, chars, sizes, labels, np.float32(1.0), np.float32(0.1)):
            module.NERModel.add_placeholders(self)
            module.NERModel.add_word_embeddings_op(self)
            module.NERModel.add_logits_op(self)
            module.NERModel.add_pred_op(self)
            return self.logits, self.labels_pred

    return run


def pointer_generator(tf, load):
    load("attention_decoder")
    # What it imports for TensorBoard.
    plugins = {f"{tf.__name__}.contrib.tensorboard.plugins": unittest.mock.MagicMock()}
    with standing_in(plugins):
        module = load("model")
    sizes = {"batch_size": 2, "max_dec_steps": 3, "emb_dim": 5, "hidden_dim": 6, "max_enc_steps": 4}
    rest = {"rand_unif_init_mag": 0.02, "trunc_norm_init_std": 1e-4, "cov_loss_wt": 1.0, "pointer_gen": True}
    hps = types.SimpleNamespace(mode="train", coverage=True, lr=0.1, max_grad_norm=2.0, adagrad_init_acc=0.1, **sizes)
    vars(hps).update(rest)
    flags = types.SimpleNamespace(pointer_gen=True, coverage=True)
    vars(module).update(FLAGS=flags, xrange=range)
    module.SummarizationModel._add_emb_vis = lambda *_: None

    def run(encoded, lengths, mask, extended, decoded, target, padding):
        vocabulary = types.SimpleNamespace(size=lambda: 12, id2word=str)
        with fed(tf, encoded, lengths, mask, extended, np.int32(2), decoded, target, padding):
            net = module.SummarizationModel(hps, vocabulary)
            net._add_placeholders()
            net._add_seq2seq()
        return net._loss, net._coverage_loss, net._total_loss

    return run


def sketch(tf, load, kind="layer_norm"):
    load("magenta/models/sketch_rnn/rnn")
    module = load("magenta/models/sketch_rnn/model")

    def run(lengths, strokes):
        hps = types.SimpleNamespace(is_training=False, dec_model=kind, enc_model=kind, use_recurrent_dropout=False)
        vars(hps).update(use_input_dropout=False, use_output_dropout=False, dec_rnn_size=8, enc_rnn_size=6)
        vars(hps).update(recurrent_dropout_prob=0.9, conditional=True, batch_size=2, max_seq_len=4, z_size=3)
        vars(hps).update(kl_tolerance=0.2, num_mixture=2, kl_weight_start=0.01, kl_weight=0.5)
        zeros = lambda shape, *_, **__: tf.zeros(shape)  # noqa: E731
        with fed(tf, lengths, strokes), unittest.mock.patch.object(tf, "random_normal", zeros):
            net = module.Model(hps)
        return net.pi, net.mu1, net.sigma1, net.corr, net.pen_logits, net.r_cost, net.kl_cost

    return run


SEQUENCES = [ints(20, 2, 4), np.array([4, 3], "int32"), ints(10, 2, 4, 3), ints(3, 2, 4) + 1, ints(3, 2, 4)]
ARTICLES = [ints(12, 2, 4), np.array([4, 3], "int32"), np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "float32")]
ARTICLES += [ints(14, 2, 4), ints(12, 2, 3), ints(12, 2, 3), np.array([[1, 1, 1], [1, 1, 0]], "float32")]
EDGES = [floats(7, 5), floats(7, 7), np.eye(3, dtype="float32")[ints(3, 7)], np.array([1, 1, 0, 1, 0, 1, 1], "float32")]
NEIGHBOURS = [floats(6, 5), floats(6, 4, 5)]
STORIES = [ints(20, 2, 4, 5), ints(20, 2, 5), np.eye(20, dtype="int32")[ints(20, 2)]]
STROKES = [np.array([4, 3], "int32"), floats(2, 5, 5)]
CLICKS = [ints(20, 3, 4), floats(3, 4), np.array([[0], [1], [1]], "float32")]
STEPS = [floats(4, 2, 3), floats(4, 2, 3), ints(3, 4, 2), floats(4, 2), floats(4, 2), floats(4, 2), floats(2)]
MODELS = "Sarasra/models"
"""A copy of TensorFlow's repository of models."""

FED = {
    "text cnn": (
        "dennybritz/cnn-text-classification-tf",
        text_cnn,
        [ints(30, 4, 9), np.eye(3, dtype="float32")[ints(3, 4)]],
    ),
    "gcn": ("tkipf/gcn", gcn, EDGES),
    **{
        f"graphsage: {kind}": ("williamleif/GraphSAGE", functools.partial(graphsage, kind=kind), NEIGHBOURS)
        for kind in ("MeanAggregator", "GCNAggregator", "SeqAggregator")
    },
    "memn2n": ("domluna/memn2n", memn2n, STORIES),
    "dqn": ("devsisters/DQN-tensorflow", dqn, [floats(2, 36, 36, 4), ints(4, 2)]),
    "deepfm": ("ChenglongChen/tensorflow-DeepFM", deepfm, CLICKS),
    "din": ("zhougr1993/DeepInterestNetwork", din, [floats(3, 4)]),
    "tagging": ("guillaumegenthial/sequence_tagging", tagging, SEQUENCES),
    "pointer generator": ("abisee/pointer-generator", pointer_generator, ARTICLES),
    **{
        f"sketch-rnn: {kind}": ("tensorflow/magenta", functools.partial(sketch, kind=kind), STROKES)
        for kind in ("lstm", "layer_norm", "hyper")
    },
    "char rnn": ("sherjilozair/char-rnn-tensorflow", char_rnn, [ints(10, 2, 4), ints(10, 2, 4)]),
    "ptb": (MODELS, language_model, [ints(20, 2, 4), ints(20, 2, 4)]),
    "vtrace": ("deepmind/scalable_agent", vtrace, STEPS),
    "ugatit": ("taki0112/UGATIT", ugatit, [floats(2, 64, 64, 3)]),
    "tensor2tensor": ("tensorflow/tensor2tensor", t2t, [floats(2, 6, 8), floats(2, 5, 8)]),
    "tacotron 2": ("Rayhane-mamah/Tacotron-2", tacotron2, [floats(2, 6, 6), np.array([6, 4], "int32")]),
    "video": (MODELS, video, [floats(4, 1, 64, 64, 3), floats(4, 1, 5), floats(4, 1, 5)]),
    "mobilenet v1": (
        MODELS,
        slim_research("mobilenet_v1", "mobilenet_v1", "mobilenet_v1_arg_scope", **SMALL, depth_multiplier=0.25),
        [floats(1, 224, 224, 3)],
    ),
    "overfeat": (
        MODELS,
        slim_research("overfeat", "overfeat", "overfeat_arg_scope", **SMALL),
        [floats(1, 231, 231, 3)],
    ),
    "cifarnet": (MODELS, slim_research("cifarnet", "cifarnet", "cifarnet_arg_scope", **SMALL), [floats(2, 32, 32, 3)]),
    "slim dcgan": (MODELS, slim_research("dcgan", "generator", depth=4, final_size=32), [floats(4, 8)]),
    "slim dcgan, critic": (MODELS, slim_research("dcgan", "discriminator", depth=4), [floats(4, 32, 32, 3)]),
    "slim cyclegan": (
        MODELS,
        slim_research("cyclegan", "cyclegan_generator_resnet", num_filters=4, num_resnet_blocks=2),
        [floats(1, 32, 32, 3)],
    ),
    "slim pix2pix": (
        MODELS,
        slim_research("pix2pix", "pix2pix_discriminator", "pix2pix_arg_scope", num_filters=[4, 8, 8]),
        [floats(1, 64, 64, 3)],
    ),
}
"""What to run: the repository, the case, and the arrays that it is called with."""
