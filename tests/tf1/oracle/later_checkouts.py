"""Model files that were tried when those of the other lists had long run, for `model_files.py`.

What trains in them is left out, as in `fed_checkouts.py`, and so is what draws random numbers.
"""

from __future__ import annotations

import functools
import types
import unittest.mock

import numpy as np

from tests.tf1.oracle.checkouts import floats, ints
from tests.tf1.oracle.fed_checkouts import fed
from tests.tf1.oracle.further_checkouts import channels_first

LSTM = {"dim": 6, "projection_dim": 4, "n_layers": 2, "cell_clip": 3, "proj_clip": 3, "use_skip_connections": True}
CHARACTERS = {"activation": "relu", "embedding": {"dim": 3}, "filters": [[1, 3], [2, 4]], "n_highway": 1}


def elmo(tf, load):
    """What is loaded: nothing of it is trained but the weights of its layers."""
    load("bilm/data")
    module, layers = load("bilm/model"), load("bilm/elmo")
    vars(module).update(_pretrained_initializer=lambda *_: lambda shape, **_: np.zeros(shape, "float32"))
    options = {"lstm": LSTM, "char_cnn": CHARACTERS | {"n_characters": 262, "max_characters_per_token": 5}}
    net = types.SimpleNamespace(_build_ops=None)

    def run(ids):
        graph = module.BidirectionalLanguageModelGraph(options, None, ids, max_batch_size=4)
        ops = module.BidirectionalLanguageModel._build_ops(net, graph)
        weighted = layers.weight_layers("input", ops, l2_coef=0.1, do_layer_norm=True)
        return ops["lm_embeddings"], weighted["weighted_op"], weighted["regularization_op"]

    return run


def language_models(tf, load):
    load("bilm/data")
    module = load("bilm/training")
    sizes = {"n_tokens_vocab": 12, "batch_size": 2, "unroll_steps": 3, "dropout": 0.0, "bidirectional": True}
    options = {"lstm": LSTM, "char_cnn": CHARACTERS | {"n_characters": 261, "max_characters_per_token": 5}, **sizes}

    def run(*arrays):
        with fed(tf, *arrays):
            net = module.LanguageModel(options, False)
        return net.total_loss, net.individual_losses, net.embedding

    return run


def squeeze_det(tf, load):
    load.loaded["utils"] = types.SimpleNamespace(util=load("src/utils/util"))
    load("src/nn_skeleton")
    module = load("src/nets/squeezeDet")
    mc = types.SimpleNamespace(BATCH_SIZE=2, CLASSES=3, ANCHOR_PER_GRID=2, ANCHORS=4 * 4 * 2, DEBUG_MODE=False)
    vars(mc).update(IMAGE_WIDTH=64.0, IMAGE_HEIGHT=64.0, EXP_THRESH=1.0, EPSILON=1e-6, WEIGHT_DECAY=0.01)
    vars(mc).update(LOSS_COEF_CLASS=1.0, LOSS_COEF_CONF_POS=75.0, LOSS_COEF_CONF_NEG=100.0, LOSS_COEF_BBOX=5.0)
    mc.ANCHOR_BOX = 10 + 40 * np.random.RandomState(1).uniform(size=(32, 4))
    mc.LOAD_PRETRAINED_MODEL = False

    def run(images, mask, deltas, boxes, labels):
        net = object.__new__(module.SqueezeDet)
        vars(net).update(mc=mc, keep_prob=1.0, image_input=images, input_mask=mask, box_delta_input=deltas)
        vars(net).update(box_input=boxes, labels=labels, model_params=[], model_size_counter=[])
        vars(net).update(flop_counter=[], activation_counter=[])
        net.ious = tf.Variable(initial_value=np.zeros((2, 32)), trainable=False, name="iou", dtype=tf.float32)
        net._add_forward_graph()
        net._add_interpretation_graph()
        net._add_loss_graph()
        return net.loss, net.det_boxes, net.det_probs, net.det_class

    return run


STYLED = {"resolution": 16, "fmap_base": 64, "fmap_max": 8, "label_size": 2, "structure": "linear", "use_noise": 1}


def always_channels_first(tf):
    """TensorFlow, as `channels_first` makes it, for gradients that are asked for when that is over."""
    if tf.__name__.startswith("jscope"):
        return tf
    with channels_first(tf):
        return types.SimpleNamespace(**vars(tf) | {"nn": types.SimpleNamespace(**vars(tf.nn))})


def style_gan(tf, load, **options):
    load.loaded["dnnlib"] = types.SimpleNamespace(EasyDict=dict, tflib=load("dnnlib/tflib/tfutil"))
    module = load("training/networks_stylegan")
    vars(module).update(tf=always_channels_first(tf))

    def run(z, images, labels):
        with tf.variable_scope("G_mapping"):
            styles = module.G_mapping(z, labels, 6, 2, 6, 6, mapping_layers=2, mapping_fmaps=5)
        with tf.variable_scope("G_synthesis", reuse=tf.AUTO_REUSE):
            fake = module.G_synthesis(styles, 6, randomize_noise=False, **STYLED | options)
        with tf.variable_scope("D", reuse=tf.AUTO_REUSE):
            scores = [module.D_basic(each, labels, 3, **STYLED | options) for each in (fake, images)]
        return styles, fake, scores

    return run


def icnet(tf, load, training=False):
    load("network"), load("utils/config")
    module = load("model")

    def run(images):
        cfg = types.SimpleNamespace(filter_scale=1, is_training=training, param={"num_classes": 5})
        net = module.ICNet(cfg, "train", types.SimpleNamespace(next_image=images, next_label=None))
        return [net.layers[name] for name in ("conv6_cls", "conv5_3/relu")]

    return run


def maddpg(tf, load):
    tools, kinds = load("maddpg/common/tf_util"), load("maddpg/common/distributions")
    program, module = load("experiments/train"), load("maddpg/trainer/maddpg")
    # What it would run in sessions: here their outputs.
    vars(module).update(make_pdtype=kinds.SoftCategoricalPdType, make_update_exp=lambda *_: None)
    vars(tools).update(function=lambda inputs, outputs, updates=(): outputs, minimize_and_clip=lambda *_: tf.no_op())

    def run(*arrays):
        observations = list(map(tf.convert_to_tensor, arrays[:2]))
        options = {"make_obs_ph_n": observations, "act_space_n": [3, 2], "num_units": 6, "optimizer": None}
        with unittest.mock.patch.object(tf, "random_uniform", lambda shape: 0.5 * tf.ones(shape)):
            with fed(tf, *arrays[2:]):
                loss, _, found = module.q_train(q_index=1, q_func=program.mlp_model, **options)
            with fed(tf, *arrays[2:]):
                models = {"p_func": program.mlp_model, "q_func": program.mlp_model}
                acts, gain, _, policies = module.p_train(p_index=1, **models, **options)
        return loss, gain, acts, found, policies

    return run


def deep_speech(tf, load, cell="static_rnn"):
    config = types.SimpleNamespace(cpu_device="/cpu:0", n_context=2, n_input=3, n_cell_dim=6, n_hidden_1=5)
    vars(config).update(n_hidden_2=5, n_hidden_3=6, n_hidden_5=5, n_hidden_6=4)
    module = load("training/deepspeech_training/train")
    flags = types.SimpleNamespace(layer_norm=True, relu_clip=20.0)
    vars(module).update(Config=config, FLAGS=flags)

    def run(x, lengths):
        options = {"batch_size": 2, "rnn_impl": getattr(module, f"rnn_impl_{cell}")}
        logits, _ = module.create_model(x, lengths, [None] * 6, **options)
        with tf.variable_scope("", reuse=True):
            return logits, module.create_model(x, lengths, [None] * 6, reuse=True, **options)[0]

    return run


def vae(tf, load):
    module = load("vae")
    noise = lambda shape, *_, dtype: 0.3 * tf.ones(shape, dtype)  # noqa: E731

    def run(x):
        with unittest.mock.patch.object(tf, "random_normal", noise):
            outs = module.autoencoder(x, x, 12, 3, 6, 1.0)
        return outs, module.decoder(outs[1], 12, 6)

    return run


def depth_and_pose(tf, load, warped=True):
    nets, utils = load("nets"), load("utils")
    vars(nets).update(np=types.SimpleNamespace(int=int))

    def run(image, others, intrinsics):
        disparities, _ = nets.disp_net(image)
        poses, masks, ends = nets.pose_exp_net(image, others)
        depth = tf.squeeze(1.0 / disparities[0], axis=3)
        seen = utils.projective_inverse_warp(others[..., :3], depth, poses[:, 0], intrinsics)
        return disparities, poses, masks, sorted(ends.items())[0][1], seen

    return run


def wave_gan(tf, load):
    module = load("wavegan")

    def run(z, x):
        with tf.variable_scope("G"):
            fake = module.WaveGANGenerator(z, dim=2, use_batchnorm=True, train=True)
        with tf.variable_scope("G2"):
            other = module.WaveGANGenerator(z, dim=2, upsample="nn")
        with tf.variable_scope("D", reuse=tf.AUTO_REUSE):
            scores = [module.WaveGANDiscriminator(each, dim=2) for each in (fake, other, x)]
        return fake, other, scores

    return run


def mono_depth(tf, load, encoder="vgg"):
    load("bilinear_sampler")
    module = load("monodepth_model")
    vars(module).update(vars(load("bilinear_sampler")) | {"__name__": module.__name__})
    options = {"encoder": encoder, "do_stereo": False, "use_deconv": encoder != "vgg", "alpha_image_loss": 0.85}
    sizes = {"height": 128, "width": 128, "batch_size": 1, "num_threads": 1, "num_epochs": 1, "full_summary": False}
    weights = {"wrap_mode": "border", "disp_gradient_loss_weight": 0.1, "lr_loss_weight": 1.0}
    params = module.monodepth_parameters(**options, **sizes, **weights)

    def run(left, right):
        net = module.MonodepthModel(params, "train", left, right)
        return net.disp_est, net.left_est, net.total_loss

    return run


def deep_rl(tf, load):
    load("networks/layers"), load("networks/network")
    modules = load("networks/cnn"), load("networks/mlp")

    def run(images, states, index):
        outs = []
        with fed(tf, images, index):
            sizes = {"value_hidden_sizes": [6], "advantage_hidden_sizes": [5]}
            outs.append(modules[0].CNN(None, "NHWC", 4, [36, 36], 3, **sizes))
        with fed(tf, states, index):
            outs.append(modules[1].MLPSmall(None, "NHWC", [1], 5, 3, hidden_sizes=[6, 6], **sizes))
        return [(net.outputs, net.max_outputs, net.outputs_with_idx, net.actions) for net in outs]

    return run


class Either(str):
    """A format under two names, of which the code base takes one for the other."""

    def __eq__(self, other):
        return other in ("NHWC", "NHCW")

    __hash__ = str.__hash__


ARCHITECTURE = [0, 0, 1, 2, 1, 3, 0, 4, 2, 1, 1, 4]


def searched(tf, load, fixed=True):
    # It trains, and it is Python 2's.
    load.loaded["src/cifar10/models"] = types.SimpleNamespace(Model=object)
    for name in ("src/common_ops", "src/utils", "src/cifar10/image_ops"):
        load(name)
    module = load("src/cifar10/micro_child")
    # It takes the number of channels from the fourth axis, which only this mean leaves.
    vars(module).update(global_avg_pool=lambda x, data_format: tf.reduce_mean(x, [1, 2], keepdims=True))

    def run(images):
        net = object.__new__(module.MicroChild)
        arc = ARCHITECTURE if fixed else tf.constant(ARCHITECTURE)
        vars(net).update(data_format=Either("NHWC"), actual_data_format="channels_last", name="child", keep_prob=1.0)
        vars(net).update(out_filters=4, num_layers=3, num_cells=3, pool_layers=[1, 3], use_aux_heads=False)
        vars(net).update(fixed_arc=fixed or None, normal_arc=arc, reduce_arc=arc, drop_path_keep_prob=None)
        with tf.variable_scope("net"):
            return net._model(images, is_training=True)

    return run


def searching(tf, load):
    load("src/common_ops"), load("src/utils"), load("src/controller")
    module = load("src/cifar10/micro_controller")
    # What it draws, as what is the most likely.
    likely = lambda logits, _: tf.expand_dims(tf.argmax(logits, 1), 1)  # noqa: E731

    def run():
        with unittest.mock.patch.object(tf, "multinomial", likely):
            net = module.MicroController(num_branches=5, num_cells=3, lstm_size=6, tanh_constant=1.1)
        return net.sample_arc, net.sample_entropy, net.sample_log_prob

    return run


def text_classes(tf, load, kind="entity"):
    paths = {"entity": "a08_EntityNetwork/a3_entity_network", "attention": "a05_HierarchicalAttentionNetwork/HAN_model"}
    module = load(paths[kind])

    def run(*arrays):
        # What is to be assigned in sessions only, and what trains.
        with fed(tf, *arrays), unittest.mock.patch.object(tf, "assign", return_value=None):
            if kind == "entity":
                module.EntityNetwork.train = lambda self: None
                sizes = {"batch_size": 2, "sequence_length": 4, "story_length": 3, "vocab_size": 12, "embed_size": 6}
                rest = {"num_classes": 5, "learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9, "block_size": 3}
                net = module.EntityNetwork(**sizes, **rest, hidden_size=6, is_training=True)
                return net.logits, net.loss_val
            module.HierarchicalAttention.train = lambda self: None
            net = module.HierarchicalAttention(
                5, 4, 2, 2, 0.1, 2, 10, 0.9, 8, 2, 12, 6, 6, True, initializer=tf.random_normal_initializer(stddev=0.1)
            )
            return net.logits_accusation, net.logits_imprisonment, net.loss_val

    return run


def faster_rcnn(tf, load):
    load.folder /= "lib"
    train = types.SimpleNamespace(TRUNCATED=False, WEIGHT_DECAY=1e-4, BIAS_DECAY=False, BBOX_NORMALIZE_STDS=(1.0,) * 4)
    vars(train).update(BBOX_NORMALIZE_MEANS=(0.0,) * 4)
    test = types.SimpleNamespace(MODE="top", RPN_TOP_N=5)
    cfg = types.SimpleNamespace(TRAIN=train, TEST=test, POOLING_MODE="crop", POOLING_SIZE=3, USE_E2E_TF=True)
    cfg.RPN_CHANNELS = 6
    load.loaded["model/config"] = types.SimpleNamespace(cfg=cfg)
    load("model/bbox_transform"), load("layer_utils/generate_anchors"), load("layer_utils/snippets")
    load("layer_utils/proposal_top_layer"), load("nets/network")
    module = load("nets/vgg16")

    def run(image, boxes):
        net = module.vgg16()
        # Which has two layers of 4096.
        net._head_to_tail = lambda x, *_: tf.contrib.slim.fully_connected(tf.contrib.slim.flatten(x), 6, scope="fc7")
        with fed(tf, image, np.float32([64, 64, 1]), boxes):
            found = net.create_architecture("TEST", 3, tag="default", anchor_scales=(2, 4))
        return [found[name] for name in ("rois", "cls_prob", "bbox_pred", "rpn_bbox_pred")]

    return run


SENTENCES = [ints(261, 2, 3, 5), ints(261, 2, 3, 5), ints(12, 2, 3), ints(12, 2, 3)]
CHARS = ints(261, 2, 6, 5) + 1
CHARS[1, 4:] = 0
BOXES = [floats(2, 64, 64, 3), ints(2, 2, 32, 1).astype("float32"), floats(2, 32, 4), 10 + 40 * floats(2, 32, 4)]
BOXES += [np.eye(3, dtype="float32")[ints(3, 2, 32)]]
AGENTS = [floats(4, 5), floats(4, 3), floats(4, 3), floats(4, 2), floats(4)]
VIEWS = [floats(1, 128, 128, 3), floats(1, 128, 128, 6), np.float32([[[90, 0, 64], [0, 90, 64], [0, 0, 1]]])]
STORY = [ints(12, 2, 3, 4), ints(12, 2, 4), ints(5, 2), floats(2, 5), np.float32(1.0)]

LATER = {
    "elmo": ("allenai/bilm-tf", elmo, [CHARS]),
    "elmo, training": ("allenai/bilm-tf", language_models, SENTENCES),
    "squeezedet": ("BichenWuUCB/squeezeDet", squeeze_det, BOXES),
    "stylegan": ("NVlabs/stylegan", style_gan, [floats(4, 6), floats(4, 3, 16, 16), floats(4, 2)]),
    "stylegan, growing": (
        "NVlabs/stylegan",
        functools.partial(style_gan, structure="recursive", fused_scale=True),
        [floats(4, 6), floats(4, 3, 16, 16), floats(4, 2)],
    ),
    "icnet": ("hellochick/ICNet-tensorflow", icnet, [floats(1, 193, 193, 3)]),
    "maddpg": ("openai/maddpg", maddpg, AGENTS),
    "deepspeech": ("mozilla/DeepSpeech", deep_speech, [floats(2, 5, 3), np.array([5, 3], "int32")]),
    "deepspeech, fused": (
        "mozilla/DeepSpeech",
        functools.partial(deep_speech, cell="lstmblockfusedcell"),
        [floats(2, 5, 3), np.array([5, 3], "int32")],
    ),
    "depth and pose": ("tinghuiz/SfMLearner", depth_and_pose, VIEWS),
    "wavegan": ("chrisdonahue/wavegan", wave_gan, [floats(2, 5), floats(2, 16384, 1)]),
    "monodepth": ("mrharicot/monodepth", mono_depth, [floats(1, 128, 128, 3), floats(1, 128, 128, 3)]),
    "monodepth, resnet": (
        "mrharicot/monodepth",
        functools.partial(mono_depth, encoder="resnet50"),
        [floats(1, 64, 64, 3), floats(1, 64, 64, 3)],
    ),
    "deep rl": (
        "carpedm20/deep-rl-tensorflow",
        deep_rl,
        [255 * floats(2, 36, 36, 4), floats(2, 1, 5), np.array([[0, 1], [1, 2]], "int32")],
    ),
    "enas": ("melodyguan/enas", searched, [floats(4, 16, 16, 3)]),
    "enas, searching": ("melodyguan/enas", functools.partial(searched, fixed=False), [floats(4, 16, 16, 3)]),
    "enas, controller": ("melodyguan/enas", searching, []),
    "entity network": ("brightmart/text_classification", text_classes, STORY),
    "hierarchical attention": (
        "brightmart/text_classification",
        functools.partial(text_classes, kind="attention"),
        [ints(12, 2, 8), floats(2, 5), floats(2, 4), floats(2, 2), floats(2, 2), floats(2), np.float32(1.0)],
    ),
    "faster r-cnn": ("endernewton/tf-faster-rcnn", faster_rcnn, [floats(1, 64, 64, 3), floats(2, 5)]),
    "vae": ("hwalsuklee/tensorflow-mnist-VAE", vae, [floats(4, 12)]),
}
"""What to run: the repository, the case, and the arrays that it is called with."""
