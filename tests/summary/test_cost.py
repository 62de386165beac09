"""Operations are counted as XLA counts them in a program that it has not optimized."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.experimental import pallas

import jscope

X = jax.ShapeDtypeStruct((4, 100), jnp.float32)
IMAGE = jax.ShapeDtypeStruct((2, 9, 10, 6), jnp.float32)


def conv(x, kernel=(3, 3), features=8, strides=(1, 1), padding="SAME", groups=1, **options):
    w = jnp.ones((*kernel, x.shape[-1] // groups, features))
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=numbers, feature_group_count=groups, **options
    )


PROGRAMS = {
    "elementwise": (lambda x: lax.max(x * 2.0, x) - lax.abs(x), X),
    "transcendental": (lambda x: jnp.exp(x) + lax.rsqrt(x) * jnp.tanh(x), X),
    "logistic": (jax.nn.sigmoid, X),
    "power": (lambda x: x**5 + x**-2, X),
    "cast": (lambda x: x.astype(jnp.bfloat16), X),
    "comparison": (lambda x: jnp.where(x > 0, x, 0.0), X),
    "reduction": (lambda x: x.sum(1) + x.max(1), X),
    "argmax": (lambda x: x.argmax(1), X),
    "softmax": (lambda x: jax.nn.softmax(x), X),
    "sort": (lambda x: jnp.sort(x, 1), X),
    "scatter": (lambda x: x.at[jnp.array([1, 2, 1])].add(1.0), X),
    "moving": (lambda x: jnp.concatenate([x.T, x.T])[::2].reshape(-1), X),
    "matrices": (lambda x: jnp.einsum("ab,cb->ac", x, x), X),
    "batched matrices": (lambda x: jnp.einsum("bhwc,bhwd->bcd", x, x), IMAGE),
    "pool": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"), IMAGE),
    "convolution": (conv, IMAGE),
    "strided": (lambda x: conv(x, strides=(2, 3)), IMAGE),
    "valid": (lambda x: conv(x, (2, 5), padding="VALID"), IMAGE),
    "dilated": (lambda x: conv(x, rhs_dilation=(2, 2)), IMAGE),
    "transposed": (lambda x: conv(x, lhs_dilation=(2, 3), padding=((1, 2), (0, 3))), IMAGE),
    "grouped": (lambda x: conv(x, groups=3, features=9), IMAGE),
    "depthwise": (lambda x: conv(x, groups=6, features=6), IMAGE),
    "random bits": (lambda x: jax.random.bits(jax.random.key(0), (4, 1000)), X),
    "Fourier transform": (lambda x: lax.fft(x.astype(jnp.complex64), "fft", (100,)), X),
}


def counted(function, *args):
    """The operations of a function that is not a model: its scope has nothing to do."""
    return jscope.summary(lambda _, *args: function(*args), *args).total


def lowered(function, *args):
    return jax.jit(function).lower(*args).cost_analysis()


@pytest.mark.parametrize("name", PROGRAMS)
def test_operations_are_those_of_the_lowered_program(name):
    """Within two percent, and a few operations on single numbers."""
    function, x = PROGRAMS[name]
    mine, xla = counted(function, x), lowered(function, x)
    assert mine.flops == pytest.approx(xla.get("flops", 0), rel=0.02, abs=60)
    assert mine.transcendentals == xla.get("transcendentals", 0)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if PROGRAMS[name][1] is IMAGE])
def test_so_are_those_of_the_gradient(name):
    """Convolutions with holes in them, backwards."""
    function, x = PROGRAMS[name]

    def model(scope, x):
        return function(x * scope.get_variable("scale", (), initializer=jscope.initializers.ones)).sum()

    total = jscope.summary(model, x).total
    whole = lowered(jax.value_and_grad(lambda scale, x: function(x * scale).sum()), 1.0, x)
    assert total.flops + total.gradient_flops == pytest.approx(whole["flops"], rel=0.02)


def test_a_loop_costs_its_length():
    """`scan` is its body, times."""
    step = lambda x: jnp.tanh(x @ x.T) @ x  # noqa: E731
    once, loop = counted(step, X), counted(lambda x: lax.scan(lambda x, _: (step(x), None), x, length=7)[0], X)
    assert (loop.flops, loop.transcendentals) == (7 * once.flops, 7 * once.transcendentals)


def test_a_branch_costs_as_much_as_the_dearest():
    """Whichever it is."""
    dear = lambda x: x @ x.T @ x  # noqa: E731
    for branches in ((dear, jnp.negative), (jnp.negative, dear)):
        assert counted(lambda x, b=branches: lax.cond(True, *b, x), X).flops == counted(dear, X).flops


def test_a_loop_without_an_end_is_said_to_be_one():
    """How often a `while_loop` runs cannot be known; it counts once, and a note says so."""
    summary = jscope.summary(lambda _, x: lax.while_loop(lambda x: x.sum() > 0, lambda x: x * 2.0, x), X)
    assert 400 <= summary.total.flops < 1000
    assert "while loop was counted as one iteration" in str(summary)


def test_shards_are_counted_on_all_devices():
    """In a `shard_map` each device does its part."""
    mesh = jax.sharding.AbstractMesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    halved = jax.shard_map(lambda x: x * 0.5, mesh=mesh, in_specs=spec, out_specs=spec)
    assert counted(halved, X).flops == pytest.approx(400, rel=0.02)


def test_a_kernel_costs_its_steps():
    """A `pallas_call` is its body, times the grid."""

    def kernel(x_ref, y_ref):
        y_ref[...] = x_ref[...] * 0.5

    block = pallas.BlockSpec((8, 128), lambda i: (i, 0))
    out = jax.ShapeDtypeStruct((32, 128), jnp.float32)
    halved = pallas.pallas_call(kernel, out, grid=(4,), in_specs=[block], out_specs=block)
    assert counted(halved, jnp.ones(out.shape)).flops == 32 * 128
