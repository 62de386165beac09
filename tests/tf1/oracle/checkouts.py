"""The model files of public code bases, as `model_files.py` runs them: where they are, and how they are called.

Each case is a function of TensorFlow (or `jscope.tf1`) and of a `load` that imports the code base's own files. It
returns what is to be called with the arrays that stand beside it.
"""

from __future__ import annotations

import functools
import types
import unittest.mock

import numpy as np

RANDOM = np.random.RandomState(0)


def ints(high, *shape):
    return RANDOM.randint(0, high, shape).astype("int32")


def floats(*shape):
    return RANDOM.uniform(0.0, 1.0, shape).astype("float32")


def bert(tf, load, training=False):
    modeling = load("modeling")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = modeling.BertConfig(
        vocab_size=50, hidden_act="gelu", max_position_embeddings=16, type_vocab_size=2, **sizes
    )

    def model(ids, mask, types):
        made = modeling.BertModel(config, training, ids, mask, types, use_one_hot_embeddings=False)
        return made.get_sequence_output(), made.get_pooled_output(), made.get_all_encoder_layers()[0]

    return model


def gpt2(tf, load):
    model = load("src/model")
    hparams = model.default_hparams()
    hparams.override_from_dict({"n_vocab": 40, "n_ctx": 16, "n_embd": 16, "n_head": 2, "n_layer": 2})
    return lambda tokens: model.model(hparams=hparams, X=tokens)


def gpt2_past(tf, load):
    model = load("src/model")
    hparams = model.default_hparams()
    hparams.override_from_dict({"n_vocab": 40, "n_ctx": 16, "n_embd": 16, "n_head": 2, "n_layer": 2})

    def run(first, second):
        past = model.model(hparams=hparams, X=first)["present"]
        return model.model(hparams=hparams, X=second, past=past, reuse=tf.AUTO_REUSE)["logits"]

    return run


def gpt2_greedy(tf, load):
    load("src/model")
    sample = load("src/sample")
    hparams = load("src/model").default_hparams()
    hparams.override_from_dict({"n_vocab": 40, "n_ctx": 16, "n_embd": 16, "n_head": 2, "n_layer": 2})
    return lambda context: sample.sample_sequence(hparams=hparams, length=4, context=context, batch_size=1, top_k=1)


def finetune(tf, load):
    for name in ("opt", "datasets", "analysis", "text_utils", "utils"):
        load(name)
    train = load("train")
    vars(train).update(n_vocab=30, n_special=3, n_ctx=8, n_embd=16, n_head=2, n_layer=2, clf_token=31, afn="gelu")
    # It is made by a part of TensorFlow that is not public, and makes a dense array of the gradient.
    vars(train).update(convert_gradient_to_tensor=lambda x: x)
    vars(train).update(embd_pdrop=0.1, attn_pdrop=0.1, resid_pdrop=0.1, clf_pdrop=0.1)
    return lambda x, m, y: train.model(x, m, y, train=False)


def baselines_cnn(tf, load):
    load("baselines/a2c/utils")
    models = load("baselines/common/models")

    def policy(observations):
        h = models.nature_cnn(observations)
        with tf.variable_scope("pi"):
            return load("baselines/a2c/utils").fc(h, "pi", 4, init_scale=0.01), models.mlp()(h)

    return policy


def baselines_lstm(tf, load):
    utils = load("baselines/a2c/utils")

    def policy(x, masks, state):
        steps, masks = utils.batch_to_seq(x, 2, 3), utils.batch_to_seq(masks, 2, 3)
        one, after = utils.lstm(list(steps), list(masks), state, "lstm", 8)
        other, last = utils.lnlstm(one, list(masks), after, "lnlstm", 8)
        return utils.seq_to_batch(other), last, utils.cat_entropy(utils.seq_to_batch(other))

    return policy


def baselines_impala(tf, load):
    load("baselines/a2c/utils")
    models = load("baselines/common/models")
    return lambda x: models.build_impala_cnn(x, depths=[4, 8])


def baselines_layer_norm(tf, load):
    load("baselines/a2c/utils")
    models = load("baselines/common/models")
    return lambda x: models.mlp(num_hidden=16, layer_norm=True)(x)


def dcgan(tf, load, training=True):
    load("utils"), load("ops")
    module = load("model")
    self = types.SimpleNamespace(
        y_dim=None, output_height=16, output_width=16, batch_size=4, gf_dim=4, df_dim=4, c_dim=3
    )
    vars(self).update({f"{k}_bn{i}": None for k in "gd" for i in range(4)})

    def gan(z, images):
        ops = load("ops")
        for name in vars(self):
            if "_bn" in name:
                setattr(self, name, ops.batch_norm(name=name))
        fake = module.DCGAN.generator(self, z)
        real, logits = module.DCGAN.discriminator(self, images)
        return fake, real, logits, module.DCGAN.discriminator(self, fake, reuse=True)[1]

    return gan


def pix2pix(tf, load):
    module = load("pix2pix", argv=["pix2pix", "--mode", "train", "--output_dir", "x", "--ngf", "4", "--ndf", "4"])

    def run(image):
        # Which is on whenever it is run.
        with unittest.mock.patch.object(tf.nn, "dropout", lambda x, keep_prob: x):
            return module.create_generator(image, 3)

    return run


def transformer_xl(tf, load, use_tpu=True):
    model = load("tf/model")

    def run(inputs, targets, *mems):
        loss, after = model.transformer(
            *(inputs, targets, list(mems), 60, 2, 16, 16, 2, 8, 32, 0.0, 0.0),
            tf.random_normal_initializer(stddev=0.1),
            False,
            mem_len=4,
            cutoffs=[0, 20, 60][1:-1] if not use_tpu else [],
            div_val=1,
            tie_projs=[False, False],
            use_tpu=use_tpu,
            untie_r=True,
        )
        return loss, after

    return run


def xlnet(tf, load):
    modeling = load("modeling")

    def run(ids, segments, mask):
        return modeling.transformer_xl(
            *(ids, 60, 2, 16, 2, 8, 32, 0.0, 0.0, "bi", False),
            tf.random_normal_initializer(stddev=0.1),
            False,
            input_mask=mask,
            seg_id=segments,
            untie_r=True,
            use_tpu=False,
            ff_activation="gelu",
        )[0]

    return run


def rnet(tf, load):
    func = load("func")

    def run(x, lengths, mask):
        rnn = func.native_gru(2, 6, 2, 5)
        out = rnn(x, lengths)
        attended = func.dot_attention(out, out, mask, hidden=6, keep_prob=1.0, is_train=None)
        summed = func.summ(attended, 6, mask)
        return out, attended, summed, func.ptr_net(2, 48)(summed, attended, 6, mask)

    return run


def qanet(tf, load):
    layers = load("layers")

    def run(x, mask):
        y = layers.highway(layers.conv(x, 8, name="project"), scope="highway")
        block = {"num_blocks": 1, "num_conv_layers": 2, "kernel_size": 3, "num_filters": 8, "num_heads": 2}
        return layers.residual_block(y, mask=mask, seq_len=None, scope="encoder", bias=False, dropout=0.0, **block)

    return run


def generator(tf, load):
    load("utils"), load("ops")
    module = load("WGAN_GP")
    self = types.SimpleNamespace(batch_size=8)

    def run(z, images):
        fake = module.WGAN_GP.generator(self, z, is_training=True)
        return fake, module.WGAN_GP.discriminator(self, images, is_training=True)[1]

    return run


def slim_net(file, scope, net=None, **options):
    def case(tf, load):
        for helper in ("resnet_utils", "inception_utils"):
            load(f"nets/{helper}")
        nets = load(f"nets/{file}")

        def run(images):
            with tf.contrib.slim.arg_scope(getattr(nets, scope)()):
                return getattr(nets, net or file)(images, num_classes=6, **options)[0]

        return run

    return case


def east(tf, load):
    load("nets/resnet_utils")
    load("nets/resnet_v1")
    model = load("model")
    getattr(tf.app.flags.FLAGS, "mark_as_parsed", bool)()
    return lambda images: model.model(images, is_training=False)


def wavenet(tf, load):
    load("wavenet/ops")
    model = load("wavenet/model")

    def run(waves, samples, speakers):
        net = model.WaveNetModel(
            *(2, [1, 2, 4, 1, 2], 2, 6, 6, 8, 16),
            use_biases=True,
            global_condition_channels=4,
            global_condition_cardinality=3,
        )
        encoded = net._one_hot(samples)
        logits = net._create_network(encoded, net._embed_gc(speakers))
        return net.loss(waves, speakers, l2_regularization_strength=0.01), logits, net.predict_proba(samples, speakers)

    return run


def glow(tf, load, **options):
    z, _ = load("tfops"), load("optim")
    module = load("model")
    hps = types.SimpleNamespace(n_levels=2, depth=2, width=8, n_y=3, **options)

    def run(images, labels):
        with tf.variable_scope("model"):
            encoder, decoder = module.codec(hps)
            x = z.squeeze2d(images - 0.5, 2)
            top, objective, eps = encoder(x, tf.zeros_like(images)[:, 0, 0, 0])
            hps.top_shape = z.int_shape(top)[1:]
            logp, _, _ = module.prior("prior", tf.one_hot(labels, 3), hps)
            objective += logp(top)
        with tf.variable_scope("model", reuse=True):
            again = decoder(top, eps=eps)
        return top, objective, z.unsqueeze2d(again, 2)

    return run


NETS = "Zehaos/MobileNet"
"""A repository with a copy of the networks of TensorFlow's slim library."""


def gae(tf, load):
    flags = types.SimpleNamespace(hidden1=6, hidden2=4)
    load("gae/initializations")
    layers = load("gae/layers")
    # Its features and its graph are sparse. Here they are dense.
    vars(layers).update(dropout_sparse=lambda x, keep_prob, num_nonzero_elems: x)
    model = load("gae/model")
    vars(model).update(FLAGS=flags)

    def run(features, graph):
        vars(layers)["_LAYER_UIDS"].clear()
        given = {"features": features, "adj": graph, "dropout": 0.0}
        with unittest.mock.patch.object(tf, "sparse_tensor_dense_matmul", tf.matmul):
            made = model.GCNModelAE(given, 5, None, name="model_ae")
        return made.embeddings, made.reconstructions

    return run


GLOW = {"flow_permutation": 2, "flow_coupling": 1, "learntop": True, "ycond": True}

CASES = {
    "bert": ("google-research/bert", bert, [ints(50, 2, 8), ints(2, 2, 8), ints(2, 2, 8)]),
    "gpt-2": ("openai/gpt-2", gpt2, [ints(40, 2, 7)]),
    "gpt-2, with a past": ("openai/gpt-2", gpt2_past, [ints(40, 2, 5), ints(40, 2, 3)]),
    "gpt-2, sampling": ("openai/gpt-2", gpt2_greedy, [ints(40, 1, 3)]),
    "finetune-transformer-lm": (
        "openai/finetune-transformer-lm",
        finetune,
        [np.stack([ints(30, 2, 2, 8), ints(8, 2, 2, 8) + 33], -1), np.ones((2, 2, 8), "float32"), ints(2, 2)],
    ),
    "baselines: cnn": ("openai/baselines", baselines_cnn, [255 * floats(2, 84, 84, 4)]),
    "baselines: lstm": (
        "openai/baselines",
        baselines_lstm,
        [floats(6, 5), ints(2, 6).astype("float32"), floats(2, 16)],
    ),
    "baselines: impala": ("openai/baselines", baselines_impala, [255 * floats(2, 16, 16, 3)]),
    "baselines: mlp": ("openai/baselines", baselines_layer_norm, [floats(2, 5)]),
    "dcgan": ("carpedm20/DCGAN-tensorflow", dcgan, [floats(4, 10) - 0.5, floats(4, 16, 16, 3)]),
    "pix2pix": ("affinelayer/pix2pix-tensorflow", pix2pix, [floats(1, 256, 256, 3)]),
    "transformer-xl": (
        "kimiyoung/transformer-xl",
        transformer_xl,
        [ints(60, 5, 2), ints(60, 5, 2), floats(4, 2, 16), floats(4, 2, 16)],
    ),
    "xlnet": ("zihangdai/xlnet", xlnet, [ints(60, 6, 2), ints(2, 6, 2), np.zeros((6, 2), "float32")]),
    "r-net": (
        "HKUST-KnowComp/R-Net",
        rnet,
        [floats(2, 4, 5), np.array([4, 3], "int32"), np.array([[1, 1, 1, 1], [1, 1, 1, 0]], "bool")],
    ),
    "qanet": ("NLPLearn/QANet", qanet, [floats(2, 6, 5), np.ones((2, 6), "bool")]),
    "wgan-gp": ("hwalsuklee/tensorflow-generative-model-collections", generator, [floats(8, 8), floats(8, 28, 28, 1)]),
    "east": ("argman/EAST", east, [255 * floats(1, 64, 64, 3)]),
    "lenet": (NETS, slim_net("lenet", "lenet_arg_scope"), [floats(2, 28, 28, 1)]),
    "vgg_a": (NETS, slim_net("vgg", "vgg_arg_scope", "vgg_a", is_training=False), [floats(1, 224, 224, 3)]),
    "resnet_v1_50": (
        NETS,
        slim_net("resnet_v1", "resnet_arg_scope", "resnet_v1_50", is_training=True),
        [floats(4, 64, 64, 3)],
    ),
    "resnet_v2_50": (
        NETS,
        slim_net("resnet_v2", "resnet_arg_scope", "resnet_v2_50", is_training=False),
        [floats(2, 64, 64, 3)],
    ),
    "inception_v1": (
        NETS,
        slim_net("inception_v1", "inception_v1_arg_scope", is_training=False),
        [floats(1, 224, 224, 3)],
    ),
    "inception_v3": (
        NETS,
        slim_net("inception_v3", "inception_v3_arg_scope", is_training=False),
        [floats(1, 299, 299, 3)],
    ),
    "mobilenet": (
        NETS,
        slim_net("mobilenet", "mobilenet_arg_scope", is_training=True, width_multiplier=0.25),
        [floats(4, 224, 224, 3)],
    ),
    "wavenet": ("ibab/tensorflow-wavenet", wavenet, [floats(2, 40), ints(16, 2, 40), ints(3, 2)]),
    "glow": ("openai/glow", functools.partial(glow, **GLOW), [floats(2, 8, 8, 3), ints(3, 2)]),
    "gae": ("tkipf/gae", gae, [floats(7, 5), floats(7, 7)]),
}
"""What to run: the repository, the case, and the arrays that it is called with."""
