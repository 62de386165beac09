"""Trains a convolutional network on scikit-learn's handwritten digits, in half a minute on two cores.

The layers are those of `jscope.nn`, but for one that is written here. The network has all that a scope can carry:
params, state (the moving averages of batch normalization), randomness (dropout) and inherited defaults (initializer,
weight decay). Everything that changes in training is saved in one safetensors file, which a fresh process then
restores: `--restore FILE` fails unless the network gets as many test images right as when it was saved.
"""

import argparse
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import jscope
from jscope import checkpoint, initializers, nn, regularizers
from jscope.checkpoint import safetensors

BATCH = 64
IMAGES = jax.ShapeDtypeStruct((BATCH, 8, 8, 1), jnp.float32)


def prelu(scope, x_nhwc):
    """A layer is a function of a scope. This one is a ReLU with a learnt slope for what is below zero."""
    slope_c = scope.get_variable("slope", x_nhwc.shape[-1:], initializer=initializers.constant(0.25))
    return jnp.where(x_nhwc > 0, x_nhwc, slope_c * x_nhwc)


def block(scope, x_nhwc, filters, training):
    """Two convolutions, then half the resolution. Norms and slopes switch the inherited weight decay off."""
    free = scope.with_defaults(regularizer=jscope.OFF)
    for i in range(2):
        x_nhwc = nn.conv(scope / f"conv_{i}", x_nhwc, filters, (3, 3), padding="same", use_bias=False)
        x_nhwc = nn.batch_norm(free / f"norm_{i}", x_nhwc, training=training, momentum=0.9)
        x_nhwc = prelu(free / f"prelu_{i}", x_nhwc)
    return nn.max_pool(x_nhwc, (2, 2))


def network(scope, x_nhwc, *, training):
    """Two blocks and a dense layer. All variables inherit the initializer and the weight decay."""
    scope = scope.with_defaults(initializer=initializers.he_normal(), regularizer=regularizers.l2(1e-4))
    x_nhwc = block(scope / "block_0", x_nhwc, 24, training)
    x_nhwc = block(scope / "block_1", x_nhwc, 48, training)
    x_nd = nn.dropout(scope / "dropout", x_nhwc.reshape(len(x_nhwc), -1), 0.5, training=training)
    return nn.dense(scope / "out", x_nd, 10)


model = jscope.transform_with_state(network)


class Training(NamedTuple):
    """All that changes from step to step."""

    params: dict[str, Any]
    state: dict[str, Any]
    optimizer: Any
    step: Any


def adam(steps):
    """Adam, with a learning rate that falls to zero over `steps`."""
    return optax.adam(optax.cosine_decay_schedule(3e-3, steps))


def make_train_step(optimizer, specs, key):
    """Returns the jitted `(training, images, labels) -> (training, cross entropy)`."""

    def loss(params, state, rng, images, labels):
        logits, state = model.with_rng(rng).apply(params, state, images, training=True)
        cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return cross_entropy + specs.regularization_loss(params), (state, cross_entropy)

    @jax.jit
    def train_step(now, images, labels):
        rng = jax.random.fold_in(key, now.step)
        gradients, (state, cross_entropy) = jax.grad(loss, has_aux=True)(now.params, now.state, rng, images, labels)
        updates, optimizer_state = optimizer.update(gradients, now.optimizer, now.params)
        return Training(optax.apply_updates(now.params, updates), state, optimizer_state, now.step + 1), cross_entropy

    return train_step


@jax.jit
def eval_step(now, images):
    """Returns the log-probability of each digit for each image."""
    logits, _ = model.apply(now.params, now.state, images, training=False)
    return jax.nn.log_softmax(logits)


def train(specs, seed, steps, train_set, test_set):
    """Returns the trained `Training`, the loss of every step, and `{step: loss on the test set}`."""
    images, labels = train_set
    init_key, dropout_key = jax.random.split(jax.random.key(seed))
    optimizer = adam(steps)
    params, state = model.init(init_key, IMAGES, training=True)
    now = Training(params, state, optimizer.init(params), jnp.zeros((), jnp.int32))
    train_step = make_train_step(optimizer, specs, dropout_key)
    losses, test_losses = [], {}
    with tqdm(islice(batches(seed, len(labels)), steps), "training", steps, unit="step", mininterval=0.5) as bar:
        for step, chosen in enumerate(bar, start=1):
            now, loss = train_step(now, images[chosen], labels[chosen])
            losses.append(float(loss))
            if step % max(steps // 25, 1) == 0 or step == steps:
                log_probabilities = np.asarray(eval_step(now, test_set[0]))
                test_losses[step] = -log_probabilities[np.arange(len(test_set[1])), test_set[1]].mean()
                bar.set_postfix(loss=f"{losses[-1]:.4f}", test_loss=f"{test_losses[step]:.4f}")
    return now, losses, test_losses


def batches(seed, count):
    """Yields the indices of batches, forever: a new order in every epoch, without a smaller batch at the end."""
    generator = np.random.default_rng(seed)
    while True:
        yield from generator.permutation(count)[: count // BATCH * BATCH].reshape(-1, BATCH)


def load_digits():
    """Returns `(images, labels)` for training and for testing; the split is always the same."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images, labels = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1), labels.astype(np.int32)
    split = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)
    return split[::2], split[1::2]


def save(path, now, correct):
    """Writes a checkpoint with flat names, such as `params/out/bias` or `optimizer/0/mu/out/bias`: all, or nothing."""
    safetensors.save(path, now._asdict() | {"correct": correct})


def restore(path, specs):
    """Returns the `Training` in a checkpoint, and how many test images it got right."""
    # The specs say what is wanted, and how the optimizer's state is nested. One report lists whatever does not fit.
    optimizer_state = jax.eval_shape(adam(1).init, specs.params.shape_dtype())
    wanted = Training(specs.params, specs.state, optimizer_state, jax.ShapeDtypeStruct((), jnp.int32))
    saved = checkpoint.restore(wanted._asdict() | {"correct": 0}, path)
    return Training(*(saved[name] for name in Training._fields)), saved["correct"]


def draw_losses(path, losses, test_losses):
    """Draws the training loss (each step, and a running mean) and the test loss."""
    from matplotlib.figure import Figure

    steps, window = np.arange(1, len(losses) + 1), max(len(losses) // 25, 1)
    smooth = np.convolve(losses, np.full(window, 1 / window), "valid")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, losses, "C0.", markersize=3, alpha=0.4, label="training, each step")
    axes.plot(steps[window // 2 :][: len(smooth)], smooth, "C0", label="training, running mean")
    axes.plot(list(test_losses), list(test_losses.values()), "C1o-", markersize=4, label="test")
    axes.set(yscale="log", xlabel="step", ylabel="cross entropy", title="Learning to read digits")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def draw_mistakes(path, log_probabilities, test_set, most=24):
    """Draws the misclassified digits, beginning with those of which the network was surest."""
    from matplotlib.figure import Figure

    images, labels = test_set
    guesses, sureness = log_probabilities.argmax(1), np.exp(log_probabilities.max(1))
    wrong = np.flatnonzero(guesses != labels)
    shown = wrong[np.argsort(-sureness[wrong])][:most]
    columns = min(max(len(shown), 3), 6)
    rows = max(-(-len(shown) // columns), 1)
    figure = Figure(figsize=(1.5 * columns, 2 * rows + 0.5), layout="constrained")
    some = f"; the {most} most confident" if len(wrong) > most else ""
    figure.suptitle(f"{len(wrong)} of {len(labels)} test digits misread{some}")
    for position, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set(xticks=[], yticks=[])
        axes.set_visible(position < len(shown))
    for axes, i in zip(figure.axes, shown, strict=False):
        axes.imshow(images[i, :, :, 0], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{labels[i]} read as {guesses[i]}", fontsize=10)
        axes.set_xlabel(f"{sureness[i]:.0%} sure", fontsize=9)
    figure.savefig(path, dpi=150)


def main():
    """Trains, saves, draws, and restores in a fresh process; or, with `--restore`, evaluates a checkpoint."""
    parser = argparse.ArgumentParser(description="Trains a convolutional network on scikit-learn's digits.")
    parser.add_argument("--steps", type=int, default=600, help="training steps (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of initial values, dropout and batches (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("build/digits"), help="folder to write (default: %(default)s)")
    parser.add_argument("--restore", type=Path, metavar="FILE", help="evaluate this checkpoint instead of training")
    options = parser.parse_args()
    if options.steps < 1:
        parser.error("--steps must be at least 1")

    train_set, test_set = load_digits()
    specs = model.specs(IMAGES, training=True)
    if options.restore:
        now, correct_then = restore(options.restore, specs)
    else:
        print(specs)
        now, losses, test_losses = train(specs, options.seed, options.steps, train_set, test_set)
    log_probabilities = np.asarray(eval_step(now, test_set[0]))
    correct, count = int((log_probabilities.argmax(1) == test_set[1]).sum()), len(test_set[1])
    print(f"Test accuracy at step {now.step}: {correct / count:.2%} ({correct} of {count})")
    if options.restore:
        sys.exit(f"It was {correct_then} of {count} when it was saved." if correct != correct_then else 0)

    options.out.mkdir(parents=True, exist_ok=True)
    saved = options.out / "checkpoint.safetensors"
    save(saved, now, correct)
    draw_losses(options.out / "loss.png", losses, test_losses)
    draw_mistakes(options.out / "misclassified.png", log_probabilities, test_set)
    print(f"Wrote {saved}, loss.png and misclassified.png. Restoring in a fresh process:", flush=True)
    sys.exit(subprocess.run([sys.executable, __file__, "--restore", saved]).returncode)


if __name__ == "__main__":
    main()
