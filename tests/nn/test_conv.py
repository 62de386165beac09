"""Convolutions: what Keras does not have, and what is refused. The rest is in `test_keras.py`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import initializers, nn
from jscope.errors import InvalidArgumentError
from tests.nn.cases import value_of, wave

KEY = jax.random.key(0)


def run(layer, x, *args, **options):
    """Returns what a layer gives with some variables, and those variables."""
    specs = jscope.specs(layer, x, *args, **options)
    params = {name: value_of(name, spec.shape) for name, spec in specs.items()}
    return apply(layer, params, x, *args, **options), params


def apply(layer, params, x, *args, **options):
    return jax.jit(lambda params, x: jscope.apply(layer, params, x, *args, **options))(params, x)


def test_circular_padding_knows_no_border():
    """An input that is rolled gives an output that is rolled, in each direction."""
    x = jax.random.normal(KEY, (1, 4, 6, 2))
    y, params = run(nn.conv, x, 3, (3, 2), padding="circular")
    assert y.shape == (1, 4, 6, 3)
    rolled = apply(nn.conv, params, jnp.roll(x, (1, 2), (1, 2)), 3, (3, 2), padding="circular")
    assert np.allclose(rolled, jnp.roll(y, (1, 2), (1, 2)), atol=1e-5)


def test_pairs_pad_with_zeros():
    """As an input that was padded by hand."""
    x = jax.random.normal(KEY, (1, 4, 5, 2))
    y, params = run(nn.conv, x, 3, (3, 2), padding=((1, 0), (2, 3)), strides=(1, 2))
    padded = jnp.pad(x, ((0, 0), (1, 0), (2, 3), (0, 0)))
    assert np.allclose(y, apply(nn.conv, params, padded, 3, (3, 2), strides=(1, 2)), atol=1e-5)


def test_a_causal_output_sees_only_what_comes_before():
    """A later input changes no earlier output."""
    x = jax.random.normal(KEY, (1, 6, 2))
    y, params = run(nn.conv, x, 3, 3, padding="causal", dilation=2)
    later = apply(nn.conv, params, x.at[:, 4].add(1.0), 3, 3, padding="causal", dilation=2)
    assert jnp.array_equal(y[:, :4], later[:, :4])
    assert not np.allclose(y[:, 4], later[:, 4])


@pytest.mark.parametrize("lead", [(), (2, 3)])
def test_any_number_of_batch_axes(lead):
    """None, or several: each input by itself."""
    x, layers = (
        wave((*lead, 5, 4), 0),
        {nn.conv: (6,), nn.conv_transpose: (6,), nn.depthwise_conv: (), nn.separable_conv: (6,)},
    )

    def everything(scope, x):
        return {f.__name__: f(scope / f.__name__, x, *args, (3,)) for f, args in layers.items()}

    specs = jscope.specs(everything, x)
    params = jscope.tree.map_with_path(lambda path, spec: value_of(path, spec.shape), specs.shape_dtype())
    ys, ones = jax.jit(lambda *xs: [jscope.apply(everything, params, x) for x in xs])(x, x.reshape(-1, 5, 4))
    for name, y in ys.items():
        assert y.shape[:-2] == lead
        assert np.allclose(y, ones[name].reshape(y.shape), atol=1e-5), name


def test_a_transposed_convolution_is_the_gradient_of_a_convolution():
    """With the same kernel and padding, whatever the stride."""
    x, y = jax.random.normal(KEY, (1, 6, 2)), jax.random.normal(KEY, (1, 3, 4))
    options = {"strides": 2, "padding": "same", "use_bias": False}

    def both(size):
        params = {"kernel": value_of("kernel", (size, 2, 4))}
        pull = jax.vjp(lambda x: jscope.apply(nn.conv, params, x, 4, (size,), **options), x)[1]
        return pull(y)[0], jscope.apply(nn.conv_transpose, params, y, 2, (size,), **options)

    for pulled, transposed in jax.jit(lambda: [both(size) for size in (1, 2, 3, 4)])():
        assert np.allclose(pulled, transposed, atol=1e-5)


def test_a_transposed_convolution_cuts_off_pairs():
    """What they cut off is missing from the output that is not padded."""
    x = jax.random.normal(KEY, (1, 4, 3))
    whole, params = run(nn.conv_transpose, x, 2, (4,), strides=2)
    cut = apply(nn.conv_transpose, params, x, 2, (4,), strides=2, padding=((1, 2),))
    assert np.allclose(cut, whole[:, 1:-2], atol=1e-6)


@pytest.mark.parametrize("given", [2, -1, (0,), "one"])
def test_outputs_at_the_end_are_fewer_than_a_stride(given):
    """Scope, found and asked, and what to do."""
    with pytest.raises(InvalidArgumentError, match=r"`nn\.conv_transpose` in the scope `c`: `output_padding` is"):
        jscope.specs(
            lambda scope, x: nn.conv_transpose(scope / "c", x, 2, (3, 3), strides=2, output_padding=given),
            jnp.ones((1, 4, 4, 3)),
        )


def test_fans_of_a_default_are_those_of_the_layer():
    """A scope's `he_normal()` counts the inputs of a transposed kernel where they are; axes that it names stay."""

    def f(scope, he):
        return nn.conv_transpose(scope.with_defaults(initializer=he), jnp.ones((1, 4, 3)), 2, (3,))

    assert jscope.specs(f, initializers.he_normal())["kernel"].initializer == initializers.he_normal(-1, -2)
    assert jscope.specs(f, initializers.he_normal(0, 1))["kernel"].initializer == initializers.he_normal(0, 1)


def test_names_of_axes_go_to_kernels_and_biases():
    """The bias has the name of the outputs."""
    x = jnp.ones((1, 5, 4))
    specs = jscope.specs(nn.conv, x, 6, (3,), axes=(None, "in", "out"))
    assert (specs["kernel"].axes, specs["bias"].axes) == ((None, "in", "out"), ("out",))
    specs = jscope.specs(nn.conv_transpose, x, 6, (3,), axes=(None, "out", "in"))
    assert (specs["kernel"].axes, specs["bias"].axes) == ((None, "out", "in"), ("out",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": jnp.ones((3, 4))}, r"`kernel_size` is \(3, 3\) and the input has shape \(3, 4\)"),
        ({"groups": 3}, "4 channels and 6 filters do not fall into groups=3 equal parts"),
        ({"filters": 0}, "`filters` is 0"),
        ({"strides": (1, 1, 1)}, r"`strides` is \(1, 1, 1\)"),
        ({"dilation": 0}, "`dilation` is 0"),
        ({"padding": "full"}, "`padding` is 'full'"),
        ({"padding": "causal"}, "`padding` is 'causal'"),
        ({"padding": ((1, 1),)}, r"`padding` is \(\(1, 1\),\)"),
        ({"padding": (1, 1)}, r"`padding` is \(1, 1\)"),
        ({"kernel_size": (7, 3)}, r"a window of 7 does not fit spatial axis 0 of size 5"),
    ],
)
def test_bad_input_is_refused(options, message):
    """Scope, found and asked, and what to do."""
    given = {"x": jnp.ones((1, 5, 5, 4)), "filters": 6, "kernel_size": (3, 3), **options}
    with pytest.raises(InvalidArgumentError, match=r"`nn\.conv` in the scope `c`: " + message):
        jscope.specs(lambda scope: nn.conv(scope / "c", **given))


def test_shapes_may_be_symbolic():
    """`jax.export` with a batch and a length that are not known."""
    shape = jax.export.symbolic_shape("b, 2*n, 3")

    def f(x):
        y = apply(nn.conv, {"kernel": np.ones((3, 3, 2), np.float32)}, x, 2, 3, padding="same", use_bias=False)
        return nn.max_pool(y, 2)

    exported = jax.export.export(jax.jit(f))(jax.ShapeDtypeStruct(shape, jnp.float32))
    assert exported.call(jnp.ones((2, 4, 3))).shape == (2, 2, 2)
