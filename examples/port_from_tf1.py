"""Trains a TF1-style policy on scikit-learn's handwritten digits, in ten seconds on two cores.

The policy was written for `tf.compat.v1`. Between the two comment lines below, scopes, variables, regularizer and
initializers are unchanged, line by line; only the arithmetic (`tf.matmul`, `tf.nn.relu`) is now JAX's. There is no
`Session`: `tf.transform` makes two pure functions of the policy, and the training loop is that of any JAX program.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from jscope import tf1 as tf

# --- What was written for TensorFlow 1 ---


def conv2d(x, num_filters, name, filter_size=(3, 3)):
    """A convolution with a bias."""
    with tf.variable_scope(name):
        filter_shape = [filter_size[0], filter_size[1], int(x.shape[3]), num_filters]
        w = tf.get_variable("W", filter_shape, tf.float32, tf.variance_scaling_initializer(2.0, "fan_in"))
        b = tf.get_variable("b", [1, 1, 1, num_filters], initializer=tf.zeros_initializer())
        return tf.nn.conv2d(x, w, [1, 2, 2, 1], "SAME") + b


def dense(x, size, name, weight_init=None):
    """An affine map. The bias is not regularized."""
    with tf.variable_scope(name):
        w = tf.get_variable("w", [x.shape[1], size], initializer=weight_init)
        b = tf.get_variable("b", [size], initializer=tf.zeros_initializer(), regularizer=tf.no_regularizer)
        return x @ w + b


def policy(observations, num_actions):
    """Returns logits of the actions and an estimate of the value, from two heads on a shared trunk."""
    with tf.variable_scope("policy", regularizer=tf.contrib.layers.l2_regularizer(1e-4)):
        with tf.variable_scope("trunk"):
            x = jax.nn.relu(conv2d(observations, 16, "l1"))
            x = jax.nn.relu(conv2d(x, 32, "l2"))
            x = x.reshape(x.shape[0], -1)
        with tf.variable_scope(None, default_name="head"):
            logits = dense(x, num_actions, "out", tf.random_normal_initializer(stddev=0.01))
        with tf.variable_scope(None, default_name="head"):
            value = dense(x, 1, "out", tf.orthogonal_initializer(1.0))[:, 0]
    return logits, value


# --- What is new ---


def losses(observations, actions):
    """Returns the loss of imitation (actions, value and the variables' penalties) and how often the action is right."""
    logits, value = policy(observations, 10)
    right = logits.argmax(1) == actions
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=actions, logits=logits)
    return cross_entropy.mean() + 0.1 * jnp.mean(
        (value - right) ** 2
    ) + tf.losses.get_regularization_loss(), right.mean()


model = tf.transform(losses)
optimizer = optax.adam(3e-3)


@jax.jit
def train_step(params, state, observations, actions):
    """One step of Adam."""
    (loss, _), grads = jax.value_and_grad(model.apply, has_aux=True)(params, observations, actions)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss


def main():
    """Trains and tests."""
    parser = argparse.ArgumentParser(description="Trains a policy written for TensorFlow 1 on scikit-learn's digits.")
    parser.add_argument("--steps", type=int, default=300, help="training steps (default: %(default)s)")
    options = parser.parse_args()

    pixels, labels = load_digits(return_X_y=True)
    images, labels = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1), labels.astype(np.int32)
    x_train, x_test, y_train, y_test = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=0)

    print(model.specs(x_train[:64], y_train[:64]))
    params = model.init(jax.random.key(0), x_train[:64], y_train[:64])
    state, batches = optimizer.init(params), np.random.default_rng(0)
    for step in range(1, options.steps + 1):
        chosen = batches.integers(0, len(y_train), 64)
        params, state, loss = train_step(params, state, x_train[chosen], y_train[chosen])
        if step % 100 == 0 or step == options.steps:
            print(f"step {step}: loss {loss:.4f}")
    _, accuracy = jax.jit(model.apply)(params, x_test, y_test)
    print(f"Test accuracy: {accuracy:.2%}")


if __name__ == "__main__":
    main()
