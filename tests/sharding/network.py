"""What the tests of sharding share: meshes of eight fake devices, a model whose axes have names, and comparisons."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jscope
from jscope import initializers, sharding
from jscope.sharding import Rules

P = PartitionSpec
AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
TYPES = [(AUTO, AUTO), (EXPLICIT, EXPLICIT), (AUTO, EXPLICIT)]
SPLIT = Rules({"batch": "data", "layers": None, "embed": "data", "mlp": "model"})


def mesh_of(*types, shape=(4, 2)):
    return jax.make_mesh(
        shape, ("data", "model"), axis_types=types or (AUTO, AUTO), devices=jax.devices()[: math.prod(shape)]
    )


MESH = mesh_of()


def block(scope, x_bd, _):
    """Two dense layers with state, every axis named."""
    n_d = scope.get_variable("n", x_bd.shape[-1:], trainable=False, initializer=initializers.zeros)
    scope.assign("n", n_d + jax.lax.stop_gradient(x_bd).mean(0))
    w_df = scope.get_variable("up", (x_bd.shape[-1], 32), axes=("embed", "mlp"))
    w_fd = scope.get_variable("down", (32, x_bd.shape[-1]), axes=("mlp", "embed"))
    h_bf = sharding.constrain(jnp.tanh(x_bd @ w_df), ("batch", "mlp"))
    y_bd = jnp.dot(h_bf, w_fd, out_sharding=sharding.out_sharding(("batch", None)))
    return sharding.constrain(x_bd + y_bd, ("batch", None)), None


def network(scope, x_bd):
    """A bias, and two scanned blocks."""
    b_d = scope.get_variable("b", x_bd.shape[-1:], axes=("embed",), initializer=initializers.constant(0.5))
    x_bd = sharding.constrain(x_bd + b_d[None], ("batch", None))
    return jscope.scan(block, scope / "layers", x_bd, length=2, axis="layers")[0]


MODEL = jscope.transform_with_state(network)
X = (jnp.arange(8 * 16.0).reshape(8, 16) - 60.0) / 60.0
SPECS = MODEL.specs(X)


def is_placed(tree, places):
    """Whether every array is where it should be."""
    return all(jax.tree.leaves(jax.tree.map(lambda x, place: x.sharding.is_equivalent_to(place, x.ndim), tree, places)))


def equal(found, expected):
    """Whether all values are the same, wherever they are."""
    chex.assert_trees_all_equal(*(jax.tree.map(np.asarray, tree) for tree in (found, expected)))
    return True


STRUCTS = {
    "enc": {
        "w": jax.ShapeDtypeStruct((8, 16), jnp.float32, sharding=NamedSharding(MESH, P("data", "model"))),
        "b": jax.ShapeDtypeStruct((16,), jnp.float32, sharding=NamedSharding(MESH, P("model"))),
    },
    "w": jax.ShapeDtypeStruct((16, 8), jnp.float32, sharding=NamedSharding(MESH, P(("data", "model")))),
    "scale": jax.ShapeDtypeStruct((), jnp.float32, sharding=NamedSharding(MESH, P())),
}
"""Params with shardings, each its own."""
