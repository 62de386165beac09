"""The first screen of README.md: a small network, fitted to a sine by gradient descent."""

import jax
import jax.numpy as jnp

import jscope


def dense(scope, x, features):
    """An affine map of the last axis."""
    w = scope.get_variable("w", (x.shape[-1], features))
    b = scope.get_variable("b", (features,), initializer=jscope.initializers.zeros)
    return x @ w + b


def mlp(scope, x):
    """Two layers; a child scope gives each its own variables."""
    return dense(scope / "out", jax.nn.tanh(dense(scope / "hidden", x, 32)), 1)


model = jscope.transform(mlp)
x = jnp.linspace(-3, 3, 64)[:, None]
params = model.init(jax.random.key(0), x)  # {"hidden": {"w", "b"}, "out": {"w", "b"}}


@jax.jit
def step(params):
    """One step of gradient descent on the mean squared error."""
    loss, grads = jax.value_and_grad(lambda params: jnp.mean((model.apply(params, x) - jnp.sin(x)) ** 2))(params)
    return jax.tree.map(lambda param, grad: param - 0.05 * grad, params, grads), loss


for i in range(1001):
    params, loss = step(params)
    if i % 200 == 0:
        print(f"step {i:4}: loss {loss:.4f}")
