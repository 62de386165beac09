"""Layers with options that Hypothesis draws, beyond those of the tables."""

from __future__ import annotations

from hypothesis import strategies as st

from jscope import nn
from tests.nn import sequence_cases as sequences
from tests.nn.cases import case_of, einsum_case

flags, sizes, paddings = st.booleans(), st.integers(1, 3), st.sampled_from(["same", "valid"])


@st.composite
def dense(draw):
    """Any number of batch axes; kernels of any equation."""
    if draw(flags):
        shape, units = (*draw(st.lists(sizes, min_size=1, max_size=3)), draw(sizes)), draw(sizes)
        return case_of("Dense", shape, nn.dense, units, given={"units": units}, use_bias=draw(flags))
    equation, shape, output_shape, new = draw(
        st.sampled_from(
            [
                ("abc,cd->abd", (2, 3, 4), (None, 5), 5),
                ("abc,cde->abde", (2, 3, 4), (None, 2, 5), (2, 5)),
                ("abcd,cde->abe", (1, 3, 2, 4), (None, 5), 5),
                ("abc,bcd->abd", (2, 3, 4), (3, 2), 2),
                ("abc,cde->adbe", (2, 3, 4), (5, None, 2), (5, 2)),
            ]
        )
    )
    bias_axes = draw(st.sampled_from([None, equation[-1]]))
    return einsum_case(shape, equation, output_shape, new, bias_axes=bias_axes)


def window(draw, rank, most=3):
    """Returns the sizes of a window and of an input that it fits into, dilated by up to 2."""
    size = tuple(draw(st.integers(1, most)) for _ in range(rank))
    return size, tuple(draw(st.integers(2 * each - 1, 2 * most)) for each in size)


def steps(draw, rank, *, alike=False):
    """Returns strides or dilations: Keras does not have both."""
    values = (draw(sizes),) * rank if alike else tuple(draw(sizes) for _ in range(rank))
    which = draw(st.sampled_from(["strides", "dilation_rate"]))
    return {which: values if which == "strides" else tuple(min(value, 2) for value in values)}


@st.composite
def conv(draw):
    """One to three spatial axes, groups, strides or dilation."""
    rank = draw(sizes)
    size, space = window(draw, rank)
    groups = draw(st.integers(1, 2))
    filters = groups * draw(st.integers(1, 2))
    options = {"padding": draw(paddings), "groups": groups, "use_bias": draw(flags), **steps(draw, rank)}
    if rank == 1 and draw(flags):
        options["padding"] = "causal"
    given = {"filters": filters, "kernel_size": size}
    return case_of(f"Conv{rank}D", (2, *space, 2 * groups), nn.conv, filters, size, given=given, **options)


@st.composite
def conv_transpose(draw):
    """One or two spatial axes, strides with outputs at the end, or dilation."""
    rank = draw(st.integers(1, 2))
    size, space = window(draw, rank)
    options = {"padding": draw(paddings), "use_bias": draw(flags), **steps(draw, rank)}
    if "strides" in options and draw(flags):
        options["output_padding"] = tuple(draw(st.integers(0, stride - 1)) for stride in options["strides"])
    given = {"filters": 2, "kernel_size": size}
    return case_of(f"Conv{rank}DTranspose", (1, *space, 3), nn.conv_transpose, 2, size, given=given, **options)


@st.composite
def separable(draw):
    """Depthwise convolutions, alone or with one of the channels."""
    rank, filters = draw(st.integers(1, 2)), draw(st.integers(0, 2))
    size, space = window(draw, rank)
    options = {"padding": draw(paddings), "use_bias": draw(flags), "depth_multiplier": draw(sizes)}
    options |= steps(draw, rank, alike=True)
    if filters:
        given, name, args, layer = {"filters": filters}, f"SeparableConv{rank}D", (filters, size), nn.separable_conv
    else:
        given, name, args, layer = {}, f"DepthwiseConv{rank}D", (size,), nn.depthwise_conv
    rename = {} if filters else {"kernel": "depthwise_kernel"}
    return case_of(name, (1, *space, 2), layer, *args, given={**given, "kernel_size": size}, rename=rename, **options)


@st.composite
def embedding(draw):
    """Ids of any shape."""
    rows, width = draw(st.integers(2, 5)), draw(sizes)
    shape = tuple(draw(st.lists(sizes, min_size=1, max_size=3)))
    given = {"input_dim": rows, "output_dim": width}
    return case_of("Embedding", shape, nn.embedding, rows, width, given=given, ids=rows)


@st.composite
def norm(draw):
    """Any axes, with and without scale and center."""
    shape = (2, *draw(st.lists(st.integers(2, 4), min_size=1, max_size=3)))
    options = {"epsilon": draw(st.sampled_from([1e-2, 1e-3, 1e-5]))}
    which = draw(st.sampled_from(["layer", "rms", "group", "batch"]))
    axis = draw(st.integers(1, len(shape) - 1)) - draw(st.sampled_from([0, len(shape)]))
    if which in ("layer", "rms"):
        axes = st.lists(st.integers(1, len(shape) - 1), min_size=1, unique=True).map(sorted)
        options["axis"] = draw(axes)
    if which == "rms":
        return case_of("RMSNormalization", shape, nn.rms_norm, **options)
    options |= {"center": draw(flags), "scale": draw(flags)}
    if which == "layer":
        return case_of("LayerNormalization", shape, nn.layer_norm, **options)
    if which == "group":
        groups = draw(st.sampled_from([n for n in range(1, 5) if shape[axis] % n == 0]))
        return case_of(
            "GroupNormalization", shape, nn.group_norm, groups, given={"groups": groups}, axis=axis, **options
        )
    options |= {"momentum": draw(st.sampled_from([0.9, 0.99])), "training": draw(flags)}
    options["mask"] = axis in (-1, len(shape) - 1) and draw(flags)
    return case_of("BatchNormalization", shape, nn.batch_norm, axis=axis, **options)


@st.composite
def pool(draw):
    """Any strides, larger and smaller than the window."""
    rank, (kind, layer) = draw(sizes), draw(st.sampled_from([("Max", nn.max_pool), ("Average", nn.avg_pool)]))
    size, space = window(draw, rank)
    strides = draw(st.one_of(st.none(), st.integers(1, 4), st.tuples(*[st.integers(1, 4)] * rank)))
    options = {"strides": strides, "padding": draw(paddings)}
    return case_of(f"{kind}Pooling{rank}D", (2, *space, 2), layer, size, given={"pool_size": size}, **options)


@st.composite
def attention(draw):
    """Heads and groups of any size, masks, windows, contexts."""
    options = {"use_bias": draw(flags), "causal": draw(flags)}
    groups = draw(st.integers(1, 2))
    heads, size = groups * draw(st.integers(1, 2)), draw(st.integers(1, 4))
    if draw(flags):
        options |= {"num_query_heads": heads, "num_key_value_heads": groups, "head_dim": size}
        layer, context = "GroupQueryAttention", None
    else:
        options |= {"num_heads": heads, "key_dim": size}
        layer, context = "MultiHeadAttention", draw(st.sampled_from([None, (2, 3, 5)]))
        if draw(flags):
            options |= {"value_dim": draw(sizes), "output_shape": draw(sizes)}
    if context is None and draw(flags):
        options["sliding_window"] = draw(st.integers(1, 4))
    if context is not None:
        options["causal"] = False
    return sequences.Case(layer, (2, 4, 6), options, context, masked=draw(flags))


@st.composite
def recurrent(draw):
    """Cells with and without bias, masks and other activations, one way or both; and those of images."""
    layer = draw(st.sampled_from(["LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D"]))
    options = {"use_bias": draw(flags), "activation": draw(st.sampled_from(["tanh", "softsign", "relu"]))}
    masked = draw(flags)
    if layer.startswith("Conv"):
        rank = int(layer[-2])
        size, space = window(draw, rank, most=2)
        options |= {"filters": draw(sizes), "kernel_size": size, "padding": draw(paddings), **steps(draw, rank)}
        # With a mask, Keras 3.15 gives up on JAX.
        return sequences.Case(layer, (2, 3, *space, 2), options)
    options["units"] = draw(sizes)
    if layer == "GRU":
        options["reset_after"] = draw(flags)
    if layer != "SimpleRNN":
        options["recurrent_activation"] = draw(st.sampled_from(["sigmoid", "hard_sigmoid"]))
    modes = [None, None, "concat", "sum", "mul", "ave"]
    return sequences.Case(layer, (3, 4, 2), options, masked=masked, merge_mode=draw(st.sampled_from(modes)))


LAYERS = {"dense": dense, "conv": conv, "conv_transpose": conv_transpose, "separable": separable}
LAYERS |= {"embedding": embedding, "norm": norm, "pool": pool}
SEQUENCES = {"attention": attention, "recurrent": recurrent}
