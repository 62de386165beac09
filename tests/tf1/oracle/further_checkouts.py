"""More model files of public code bases, for `model_files.py`: of kinds that `checkouts.py` does not have.

On CPUs TensorFlow does not convolve what has its channels first; `channels_first` turns the arrays round for it.
"""

from __future__ import annotations

import contextlib
import functools
import types
import unittest.mock

import numpy as np

from tests.tf1.oracle.checkouts import floats, ints

SMALL_BERT = {"vocab_size": 50, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}


def albert(tf, load):
    modeling = load("modeling")
    config = modeling.AlbertConfig(
        embedding_size=12, num_hidden_layers=3, max_position_embeddings=16, type_vocab_size=2, **SMALL_BERT
    )

    def model(ids, mask, kinds):
        made = modeling.AlbertModel(config, False, ids, mask, kinds, use_one_hot_embeddings=True)
        return made.get_sequence_output(), made.get_pooled_output()

    return model


def electra(tf, load):
    modeling = load("model/modeling")
    config = modeling.BertConfig(num_hidden_layers=2, max_position_embeddings=16, type_vocab_size=2, **SMALL_BERT)

    def model(ids, mask, kinds):
        made = modeling.BertModel(config, False, ids, mask, kinds, use_one_hot_embeddings=False, embedding_size=16)
        return made.get_sequence_output(), made.get_pooled_output()

    return model


def transformer(tf, load):
    modules, model = load("modules"), load("model")
    sizes = {"d_model": 16, "d_ff": 32, "num_blocks": 2, "num_heads": 4, "maxlen1": 10, "maxlen2": 10}
    hp = types.SimpleNamespace(dropout_rate=0.3, **sizes)

    def run(x, y):
        self = types.SimpleNamespace(hp=hp, embeddings=modules.get_token_embeddings(30, 16), idx2token={})
        vars(model).update(convert_idx_to_token_tensor=lambda ids, _: ids)
        memory, _, masks = model.Transformer.encode(self, (x, None, None), training=False)
        return memory, *model.Transformer.decode(self, (y, y, None, None), memory, masks, training=False)[:2]

    return run


def pixel_cnn(tf, load):
    nn, model = load("pixel_cnn_pp/nn"), load("pixel_cnn_pp/model")

    def run(x, h):
        out = model.model_spec(x, h, dropout_p=0.0, nr_resnet=1, nr_filters=6, nr_logistic_mix=2)
        return out, nn.discretized_mix_logistic_loss(x, out)

    return run


def gat(tf, load):
    load("utils/layers"), load("models/base_gattn")
    net = load("models/gat").GAT

    def run(x, bias, labels):
        logits = net.inference(x, 3, 7, False, 0.0, 0.0, bias, [4, 5], [2, 2, 1], residual=True)
        shaped = net.preshape(logits, labels, 3)
        return logits, net.loss(*shaped, 3, np.ones(3, "float32"))

    return run


def capsules(tf, load):
    load("utils")
    layers, net = load("capsLayer"), load("capsNet")
    cfg = {"batch_size": 2, "iter_routing": 3, "stddev": 0.01, "m_plus": 0.9, "m_minus": 0.1, "lambda_val": 0.5}
    for module in (layers, net):
        vars(module).update(cfg=types.SimpleNamespace(regularization_scale=0.3, mask_with_y=True, **cfg))

    def run(images, labels):
        size = {"num_label": 10, "height": 28, "width": 28, "channels": 1}
        self = types.SimpleNamespace(X=images, labels=labels, Y=tf.one_hot(labels, 10), **size)
        net.CapsNet.build_arch(self)
        net.CapsNet.loss(self)
        return self.total_loss, self.v_length, self.decoded

    return run


def tacotron(tf, load):
    modules = load("models/modules")

    def run(x, lengths):
        encoded = modules.encoder_cbhg(modules.prenet(x, False, [16, 12]), lengths, True, 12)
        return encoded, modules.post_cbhg(x, 8, False, 12)

    return run


def dc_tts(tf, load):
    hp = load("hyperparams").Hyperparams
    hp.d, hp.e, hp.c, hp.n_mels, hp.max_N, hp.max_T, hp.n_fft = 8, 8, 8, 6, 9, 10, 16
    load("modules")
    net = load("networks")

    def run(text, mels):
        with tf.variable_scope("Text2Mel"):
            with tf.variable_scope("TextEnc"):
                keys, values = net.TextEnc(text, training=False)
            with tf.variable_scope("AudioEnc"):
                queries = net.AudioEnc(mels, training=False)
            with tf.variable_scope("Attention"):
                before = tf.zeros([2], tf.int32)
                found, alignments, _ = net.Attention(queries, keys, values, False, before)
            with tf.variable_scope("AudioDec"):
                y = net.AudioDec(found, training=False)[1]
        with tf.variable_scope("SSRN"):
            return alignments, y, net.SSRN(y, training=False)[1]

    return run


def yolo(tf, load):
    load("utils/layer_utils")
    module = load("model")
    sizes = [(10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326)]

    def run(images):
        net = module.yolov3(2, np.array(sizes, "float32"))
        return net.predict(net.forward(images, is_training=False))

    return run


def unet(tf, load):
    load("tf_unet/layers")
    module = load("tf_unet/unet")
    return lambda x: module.create_conv_net(x, 1.0, 3, 2, layers=2, features_root=4, summaries=False)[0]


def cyclegan(tf, load):
    load("ops"), load("utils")
    makers = load("generator"), load("discriminator")

    def run(images):
        generator = makers[0].Generator("G", True, ngf=4, image_size=32)
        discriminator = makers[1].Discriminator("D", True)
        fake = generator(images)
        return fake, discriminator(fake), discriminator(images), generator(fake)

    return run


def style_transfer(tf, load):
    module = load("src/transform")
    return lambda images: module.net(images * 255)


def memory(tf, load, kind="ntm_cell"):
    module = load(f"ntm/{kind}")

    def run(x):
        if kind == "ntm_cell":
            cell = module.NTMCell(12, 8, 5, 1, 1, addressing_mode="content_and_location", output_dim=4)
        else:
            cell = module.MANNCell(12, 8, 5, 2)
        state, outs = cell.zero_state(2, tf.float32), []
        for step in range(3):
            out, state = cell(x[step], state)
            outs.append(out)
        return outs, state["M"]

    return run


def actor_critic(tf, load, kind="sac"):
    core = load(f"spinup/algos/tf1/{kind}/core")
    space = types.SimpleNamespace(high=np.array([2.0, 2.0]))

    def run(x, actions):
        if kind == "ppo":
            policy = core.mlp_gaussian_policy
            return core.mlp_actor_critic(x, actions, policy=policy, action_space=space)[1::2]
        out = core.mlp_actor_critic(x, actions, action_space=space)
        # Not the actions that it draws.
        return (out[0], out[3], out[4]) if kind == "sac" else out

    return run


@contextlib.contextmanager
def channels_first(tf):
    if tf.__name__.startswith("jscope"):
        yield
        return
    names = ("avg_pool", "conv2d", "conv2d_transpose", "depthwise_conv2d", "max_pool")

    def swapped(function):
        def call(x, *args, data_format="NHWC", **options):
            if data_format == "NHWC":
                return function(x, *args, **options)
            turn = lambda numbers: [numbers[i] for i in (0, 2, 3, 1)]  # noqa: E731
            # The shape of the output may be given by position.
            args = [turn(each) if isinstance(each, list) else each for each in args]
            for key in {"strides", "ksize", "output_shape"} & set(options):
                options[key] = turn(options[key])
            return tf.transpose(function(tf.transpose(x, [0, 2, 3, 1]), *args, **options), [0, 3, 1, 2])

        return call

    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(unittest.mock.patch.object(tf.nn, name, swapped(getattr(tf.nn, name))))
        yield


GROWING = {"num_channels": 3, "resolution": 16, "label_size": 2, "fmap_base": 32, "fmap_max": 8}


def growing_gan(tf, load):
    module = load("networks")

    def run(z, images, labels):
        with channels_first(tf):
            with tf.variable_scope("G", reuse=tf.AUTO_REUSE):
                fake = module.G_paper(z, labels, latent_size=8, structure="recursive", **GROWING)
            with tf.variable_scope("D", reuse=tf.AUTO_REUSE):
                return fake, module.D_paper(images, structure="recursive", **GROWING)

    return run


def iaf(tf, load):
    layers = load("tf_utils/layers")

    def run(x):
        with channels_first(tf):
            y = layers.deconv2d("b", layers.conv2d("a", x, 6), 4)
        return y, layers.linear("l", tf.reshape(y, [2, -1]), 5)

    return run


def pointnet(tf, load):
    load("utils/tf_util"), load("models/transform_nets")
    module = load("models/pointnet_cls")

    def run(points, labels):
        # Its own are on in training.
        with unittest.mock.patch.object(tf.nn, "dropout", lambda x, *_: x):
            logits, end_points = module.get_model(points, tf.constant(True), bn_decay=0.9)
        return logits, module.get_loss(logits, labels, end_points)

    return run


def sagan(tf, load):
    load("utils"), load("ops")
    gan = load("SAGAN").SAGAN

    def run(z, images):
        self = types.SimpleNamespace(sn=True, layer_num=1, c_dim=3)
        self.google_attention = functools.partial(gan.google_attention, self)
        return gan.generator(self, z), gan.discriminator(self, images)

    return run


def enet(tf, load, training=False):
    module = load("enet")
    vars(module).update(xrange=range)

    def drop(x, keep_prob, noise_shape, seed, name):
        """Every seventh channel, in the place of random ones: it drops some whether it trains or not."""
        shape = tf.get_static_value(noise_shape)
        kept = np.arange(np.prod(shape)) % 7 > 0
        return x * kept.astype("float32").reshape(shape) / keep_prob

    def run(images):
        with unittest.mock.patch.object(tf.nn, "dropout", drop), tf.contrib.slim.arg_scope(module.ENet_arg_scope()):
            return module.ENet(images, 4, 2, is_training=training)

    return run


def official_resnet(tf, load):
    module = load("official/resnet/resnet_model")
    net = module.imagenet_resnet_v2_generator(module.bottleneck_block, [1, 1, 1, 1], 6, "channels_last")
    return lambda images: net(images, is_training=True)


def facenet(tf, load):
    module = load("src/models/inception_resnet_v1")
    return lambda images: module.inference(images, 1.0, phase_train=False, weight_decay=1e-4)[0]


class Halved(int):
    """A number that is divided as Python 2 did it."""

    __truediv__ = int.__floordiv__


def energy(tf, load):
    flags = {"cclass": True, "downsample": False, "use_attention": False, "spec_norm": True, "spec_iter": 1}
    utils, models = load("utils"), load("models")
    for module in (utils, models):
        vars(module).update(FLAGS=types.SimpleNamespace(**flags, spec_norm_val=1.0, spec_eval=False))

    def run(images, labels):
        net = models.ResNet32(num_filters=Halved(8))
        made = net.construct_weights("energy")
        # Not every weight is used, and TensorFlow normalizes those only that are asked for.
        weights = [w for _, group in sorted(made.items()) for _, w in sorted(group.items())]
        return net.forward(images, made, label=tf.one_hot(labels, 10)), weights

    return run


def optical_flow(tf, load):
    for name in ("core_warp", "core_costvol", "model_base"):
        load(f"tfoptflow/{name}")
    net = load("tfoptflow/model_pwcnet").ModelPWCNet
    sizes = {"pyr_lvls": 4, "flow_pred_lvl": 2, "search_range": 2, "use_dense_cx": True, "use_res_cx": True}

    def run(pairs):
        self = types.SimpleNamespace(dbg=False, opts=sizes)
        for name in ("extract_features", "warp", "deconv", "corr", "predict_flow", "refine_flow"):
            setattr(self, name, functools.partial(getattr(net, name), self))
        return net.nn(self, pairs)

    return run


def pegasus(tf, load, beam=0):
    for name in ("attention", "beam_search", "decoding", "embedding", "timing", "transformer_block"):
        load(f"pegasus/layers/{name}")
    load("pegasus/models/base")
    module = load("pegasus/models/transformer")

    def run(inputs, targets):
        model = module.TransformerEncoderDecoderModel(30, 16, 24, 2, 2, 2, 0.1, 0.0)
        if beam:
            return model.predict({"inputs": inputs}, 5, beam)["outputs"]
        loss, outs = model({"inputs": inputs, "targets": targets}, False)
        return loss, outs["logits"]

    return run


def ssd(tf, load):
    load("nets/custom_layers"), load("nets/ssd_common")
    module = load("nets/ssd_vgg_300")

    def run(images):
        with tf.contrib.slim.arg_scope(module.ssd_arg_scope(weight_decay=1e-4)):
            return module.ssd_net(images, num_classes=3, is_training=False)[:3]

    return run


TOKENS = [ints(50, 2, 8), ints(2, 2, 8), ints(2, 2, 8)]
STATES = [floats(5, 3), floats(5, 2)]
GROWN = [floats(4, 8), floats(4, 3, 16, 16), floats(4, 2)]

FURTHER = {
    "albert": ("google-research/albert", albert, TOKENS),
    "electra": ("google-research/electra", electra, TOKENS),
    "transformer": ("Kyubyong/transformer", transformer, [ints(30, 2, 6), ints(30, 2, 5)]),
    "pixel-cnn": ("openai/pixel-cnn", pixel_cnn, [floats(2, 8, 8, 3), floats(2, 3)]),
    "gat": ("PetarV-/GAT", gat, [floats(1, 7, 6), floats(1, 7, 7), ints(3, 1, 7)]),
    "capsules": ("naturomics/CapsNet-Tensorflow", capsules, [floats(2, 28, 28, 1), ints(10, 2)]),
    "tacotron": ("keithito/tacotron", tacotron, [floats(2, 6, 8), np.array([6, 4], "int32")]),
    "dc_tts": ("Kyubyong/dc_tts", dc_tts, [ints(20, 2, 9), floats(2, 10, 6)]),
    "yolo": ("wizyoung/YOLOv3_TensorFlow", yolo, [floats(2, 64, 64, 3)]),
    "unet": ("jakeret/tf_unet", unet, [floats(1, 40, 40, 3)]),
    "cyclegan": ("vanhuyz/CycleGAN-TensorFlow", cyclegan, [floats(1, 32, 32, 3)]),
    "style transfer": ("lengstrom/fast-style-transfer", style_transfer, [floats(1, 32, 32, 3)]),
    "ntm": ("snowkylin/ntm", memory, [floats(3, 2, 4)]),
    "mann": ("snowkylin/ntm", functools.partial(memory, kind="mann_cell"), [floats(3, 2, 4)]),
    "sac": ("openai/spinningup", actor_critic, STATES),
    "td3": ("openai/spinningup", functools.partial(actor_critic, kind="td3"), STATES),
    "ppo": ("openai/spinningup", functools.partial(actor_critic, kind="ppo"), STATES),
    "growing gan": ("tkarras/progressive_growing_of_gans", growing_gan, GROWN),
    "iaf": ("openai/iaf", iaf, [floats(2, 3, 8, 8)]),
    # Of two examples a norm makes 1 and -1, or anything where they are nearly equal.
    "pointnet": ("charlesq34/pointnet", pointnet, [floats(32, 16, 3), ints(40, 32)]),
    "sagan": ("taki0112/Self-Attention-GAN-Tensorflow", sagan, [floats(2, 1, 1, 16), floats(2, 16, 16, 3)]),
    "official resnet": ("Sarasra/models", official_resnet, [floats(4, 224, 224, 3)]),
    "facenet": ("davidsandberg/facenet", facenet, [floats(2, 160, 160, 3)]),
    "energy": ("openai/ebm_code_release", energy, [floats(2, 32, 32, 3), ints(10, 2)]),
    "pwc-net": ("philferriere/tfoptflow", optical_flow, [floats(2, 2, 64, 64, 3)]),
    "pegasus": ("google-research/pegasus", pegasus, [ints(29, 2, 6) + 1, ints(29, 2, 5) + 1]),
    "pegasus, beam search": (
        "google-research/pegasus",
        functools.partial(pegasus, beam=3),
        [ints(29, 2, 6) + 1, ints(29, 2, 5) + 1],
    ),
    "ssd": ("balancap/SSD-Tensorflow", ssd, [floats(1, 300, 300, 3)]),
    "enet": ("kwotsin/TensorFlow-ENet", enet, [floats(2, 64, 64, 3)]),
    "enet, training": ("kwotsin/TensorFlow-ENet", functools.partial(enet, training=True), [floats(2, 64, 64, 3)]),
}
"""What to run: the repository, the case, and the arrays that it is called with."""
