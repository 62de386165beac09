"""Trains the model of `docs/porting_tf1.md` with TensorFlow, and records the checkpoint that the page reads.

    pip install "tensorflow-cpu==2.21.*" tf_keras tf_slim scikit-learn
    python -m tests.tf1.oracle.worked_port
    python -m tests.tf1.oracle.worked_port --read PREFIX

The model and its training are the page's own: its first two blocks. With `--read`, TensorFlow restores what jscope has
saved, as the page does it in the end, into the same graph, and says what the next loss is.
"""

# ruff: noqa: T201 - a program prints.

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tests.tf1.oracle.shim import build

DOCS = Path(__file__).parents[3] / "docs"
STEPS, BATCH = 300, 64


def blocks(tf):
    """Returns what the page's first two blocks define, with TensorFlow in the place of `jscope.tf1`."""
    text = (DOCS / "porting_tf1.md").read_text("utf8")
    model, training = re.findall(r"^```py(?:thon)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    names = {"tf": tf}
    exec(model.replace("from jscope import tf1 as tf", ""), names)
    exec(training, names)
    return names


def digits():
    """Returns the images, from 0 to 1, and the labels."""
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype("float32").reshape(-1, 8, 8, 1), labels.astype("int32")


def batch(step, images, labels):
    """Returns the batch of a step: they follow each other."""
    chosen = np.arange(step * BATCH, (step + 1) * BATCH) % len(labels)
    return images[chosen], labels[chosen]


def record(tf, names, folder):
    """Trains, saves, and records what follows from the checkpoint."""
    images, labels = digits()
    shutil.rmtree(folder, ignore_errors=True)
    tf.set_random_seed(0)
    image, label, total, train = names["training_graph"]()
    with tf.variable_scope(tf.get_variable_scope(), reuse=True):
        logits = names["inference"](image, 10, training=False)
    saver = tf.train.Saver()
    with tf.Session() as session:

        def step(number):
            given = dict(zip((image, label), batch(number, images, labels), strict=True))
            return session.run([total, train], given)[0]

        session.run(tf.global_variables_initializer())
        for number in range(STEPS):
            step(number)
        saver.save(session, str(folder / "model.ckpt"), global_step=STEPS, write_meta_graph=False)
        found = session.run(logits, {image: images})
        losses = [step(STEPS + number) for number in range(3)]
        names = ["resnet/stem/bn/moving_variance", "resnet/stem/conv/kernel/ExponentialMovingAverage"]
        after = {v.op.name: session.run(v) for v in tf.global_variables() if v.op.name in names}
    print(f"{np.mean(found.argmax(1) == labels):.2%} right; the next losses are {losses}")
    recorded = {"logits": found[:16], "losses": np.array(losses), **after}
    np.savez_compressed(folder / "tensorflow.npz", **recorded)
    (folder / "checkpoint").unlink()
    return recorded


def read(tf, names, prefix):
    """Restores a checkpoint, and returns the loss of the batch that comes next."""
    image, label, total, _ = names["training_graph"]()
    with tf.Session() as session:
        tf.train.Saver().restore(session, prefix)
        step = session.run(tf.train.get_global_step())
        return step, session.run(total, dict(zip((image, label), batch(step, *digits()), strict=True)))


def main():
    """Records, or reads."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--read", metavar="PREFIX", help="restore this checkpoint instead")
    options = parser.parse_args()
    tf = build()
    with tf.Graph().as_default():
        if options.read is None:
            record(tf, blocks(tf), DOCS / "porting_tf1")
        else:
            print("step {}: loss {}".format(*read(tf, blocks(tf), options.read)))


if __name__ == "__main__":
    main()
