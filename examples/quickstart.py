"""The first screen of README.md: a small network, fitted to a sine by gradient descent."""

import jax
import jax.numpy as jnp

import jscope
from jscope import nn


def mlp(scope, x):
    x = nn.dense(scope / "hidden", x, 32, activation=jnp.tanh)
    return nn.dense(scope / "out", x, 1)


model, x = jscope.transform(mlp), jnp.linspace(-3, 3, 64)[:, None]
params = model.init(jax.random.key(0), x)  # {"hidden": {"kernel", "bias"}, "out": {"kernel", "bias"}}
loss_and_grads = jax.jit(jax.value_and_grad(lambda params: jnp.mean((model.apply(params, x) - jnp.sin(x)) ** 2)))
for step in range(1001):
    loss, grads = loss_and_grads(params)
    params = jax.tree.map(lambda param, grad: param - 0.05 * grad, params, grads)
    if step % 250 == 0:
        print(f"step {step:4}: loss {loss:.4f}")
