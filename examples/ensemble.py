"""Trains sixteen networks at once on scikit-learn's digits, as an ensemble with a shared trunk, in about 15 seconds.

`jscope.vmap` runs one member's function for all members. Variables below `trunk` are shared (`shared=`), those of the
heads are stacked on a leading axis: each member has its own initial values, its own dropout masks, and its own sample
of the images. The average of the members is right more often than the members are, and it is more often wrong where
they disagree: what it is unsure of can be left to somebody else.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import jscope
from jscope import initializers, nn


def member(scope, x_nd):
    """One network. It does not know that there are others, nor which of its variables it shares with them."""
    scope = scope.with_defaults(initializer=initializers.he_normal())
    x_nd = nn.dense(scope / "trunk", x_nd, 64, activation=jax.nn.relu)
    # A call has a key in training, only there.
    x_nd = nn.dropout(scope / "head" / "dropout", x_nd, 0.5, training=scope.has_rng)
    x_nd = nn.dense(scope / "head" / "hidden", x_nd, 64, activation=jax.nn.relu)
    return nn.dense(scope / "head" / "out", x_nd, 10)


def ensemble(scope, x_nd, members):
    """Returns the logits of every member, `logits_mnc`."""
    run = jscope.vmap(member, in_axes=None, axis_size=members, shared="/trunk/", axis="members")
    return run(scope / "members", x_nd)


model = jscope.transform(ensemble)


def train(params, images, labels, members, steps, key):
    """Returns the params after `steps` steps of Adam; each member counts each image 0, 1, 2, ... times (bagging)."""
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    times_mn = jax.random.poisson(jax.random.fold_in(key, steps), 0.3, (members, len(labels))).astype(jnp.float32)

    def loss(params, key, chosen_b):
        logits_mbc = model.with_rng(key).apply(params, images[chosen_b], members)
        losses_mb = optax.softmax_cross_entropy_with_integer_labels(logits_mbc, labels[chosen_b][None])
        # A sum over the members, not a mean, so that a member does not learn more slowly because there are others.
        return (losses_mb * times_mn[:, chosen_b]).mean(1).sum()

    @jax.jit
    def run(params):
        def step(carry, i):
            params, optimizer_state = carry
            batch_key, dropout_key = jax.random.split(jax.random.fold_in(key, i))
            chosen_b = jax.random.choice(batch_key, len(labels), (64,))
            gradients = jax.grad(loss)(params, dropout_key, chosen_b)
            updates, optimizer_state = optimizer.update(gradients, optimizer_state)
            return (optax.apply_updates(params, updates), optimizer_state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))[0][0]

    return run(params)


def entropy(p):
    """The entropy of distributions along the last axis, in nats."""
    return -(p * np.log(np.maximum(p, 1e-12))).sum(-1)


def report(logits_mnc, labels_n):
    """Prints how often the members and their average are right, and what their disagreement says."""
    p_mnc = np.asarray(jax.nn.softmax(logits_mnc))
    p_nc = p_mnc.mean(0)
    accuracy_m, right_n = (p_mnc.argmax(2) == labels_n).mean(1), p_nc.argmax(1) == labels_n
    # How unsure the average is, minus how unsure the members are: how much they contradict each other.
    disagreement_n = entropy(p_nc) - entropy(p_mnc).mean(0)
    kept_n = disagreement_n <= np.quantile(disagreement_n, 0.9)
    print(f"Members:   {accuracy_m.mean():.2%} on average, {accuracy_m.min():.2%} to {accuracy_m.max():.2%}")
    print(f"Ensemble:  {right_n.mean():.2%}")
    print(f"Ensemble without the tenth on which it disagrees most: {right_n[kept_n].mean():.2%}")
    for what, chosen_n in (("right", right_n), ("wrong", ~right_n)):
        if chosen_n.any():
            print(f"Disagreement where it is {what}: {disagreement_n[chosen_n].mean():.3f} nats")


def main():
    """Trains an ensemble and reports how often it is right."""
    parser = argparse.ArgumentParser(description="Trains an ensemble with a shared trunk on scikit-learn's digits.")
    parser.add_argument("--members", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    options = parser.parse_args()

    pixels, labels = load_digits(return_X_y=True)
    images, labels = (pixels / 16).astype(np.float32), labels.astype(np.int32)
    split = train_test_split(images, labels, test_size=0.8, stratify=labels, random_state=0)
    (train_images, test_images), (train_labels, test_labels) = split[:2], split[2:]

    init_key, train_key = jax.random.split(jax.random.key(options.seed))
    specs = model.specs(train_images, options.members)
    print(specs)
    params = specs.materialize(init_key)
    params = train(
        params, jnp.asarray(train_images), jnp.asarray(train_labels), options.members, options.steps, train_key
    )
    report(jax.jit(model.apply, static_argnums=2)(params, test_images, options.members), test_labels)


if __name__ == "__main__":
    main()
