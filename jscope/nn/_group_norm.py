"""Norms of channels in groups, which are standardized over space for each example."""

from __future__ import annotations

import jax

from jscope._defaults import Off
from jscope._scope import Scope
from jscope._types import Axes, Initializer
from jscope.nn._layer import cast, check_rank, check_size, checked_axis, checked_number, named, refuse
from jscope.nn._norm import affine, output_dtype, standardized, statistics_dtype


@named
def group_norm(
    scope: Scope,
    x: jax.Array,
    groups: int = 32,
    *,
    axis: int = -1,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    gamma_initializer: Initializer | Off | None = None,
    beta_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
) -> jax.Array:
    """Normalizes groups of channels for each example, over space and the group: `(b, ..., c) -> (b, ..., c)`.

    >>> x_bhwc = jax.random.normal(jax.random.key(0), (2, 4, 4, 6))
    >>> params = jscope.init(jscope.nn.group_norm, jax.random.key(0), x_bhwc, 3)
    >>> y_bhwgk = jscope.apply(jscope.nn.group_norm, params, x_bhwc, 3).reshape(2, 4, 4, 3, 2)
    >>> bool(jnp.allclose(y_bhwgk.mean((1, 2, 4)), 0, atol=1e-5))
    True

    Variables, of the size of `axis`: `gamma`, ones, with `scale`; `beta`, zeros, with `center`. (Keras's
    `GroupNormalization`; Wu and He, 2018, https://arxiv.org/abs/1803.08494)
    """
    return _grouped(
        "group_norm", scope, x, groups, axis, epsilon, center, scale, gamma_initializer, beta_initializer, axes
    )


@named
def instance_norm(
    scope: Scope,
    x: jax.Array,
    *,
    axis: int = -1,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    gamma_initializer: Initializer | Off | None = None,
    beta_initializer: Initializer | Off | None = None,
    axes: Axes | None = None,
) -> jax.Array:
    """Normalizes each channel of each example, over space: `(b, ..., c) -> (b, ..., c)`.

    >>> x_btc = jnp.array([[[1.0], [3.0]], [[-2.0], [2.0]]])
    >>> params = jscope.init(jscope.nn.instance_norm, jax.random.key(0), x_btc)
    >>> jnp.round(jscope.apply(jscope.nn.instance_norm, params, x_btc), 2).tolist()
    [[[-1.0], [1.0]], [[-1.0], [1.0]]]

    Variables, of the size of `axis`: `gamma`, ones, with `scale`; `beta`, zeros, with `center`. (`group_norm` with as
    many groups as channels; Ulyanov et al., 2016, https://arxiv.org/abs/1607.08022)
    """
    check_rank(scope, "instance_norm", x, "(batch, ..., channels)", least=3)
    groups = x.shape[checked_axis(scope, "instance_norm", axis, x.ndim)]
    options = (axis, epsilon, center, scale, gamma_initializer, beta_initializer, axes)
    return _grouped("instance_norm", scope, x, groups, *options)


def _grouped(
    layer: str,
    scope: Scope,
    x: jax.Array,
    groups: int,
    axis: int,
    epsilon: float,
    center: bool,
    scale: bool,
    gamma_initializer: Initializer | Off | None,
    beta_initializer: Initializer | Off | None,
    axes: Axes | None,
) -> jax.Array:
    """Normalizes groups along `axis`, for each index of the first axis."""
    check_rank(scope, layer, x, "(batch, ..., channels)", least=2)
    axis = checked_axis(scope, layer, axis, x.ndim)
    checked_number(scope, layer, "epsilon", epsilon)
    channels = x.shape[axis]
    if channels % check_size(scope, layer, "groups", groups):
        advice = "Choose a number of groups that divides the channels."
        refuse(scope, layer, f"{channels} channels do not fall into groups={groups} equal parts", advice)
    wide = cast(x, statistics_dtype(x))
    # The axis falls apart into groups, and channels of one group.
    split = wide.reshape(*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
    # `axis` is that of the groups now, and the first axis that of the examples.
    over = tuple(i for i in range(1, split.ndim) if i != axis)
    y = standardized(split, over, epsilon)
    y = affine(scope, y.reshape(x.shape), (axis,), scale, center, gamma_initializer, beta_initializer, axes)
    return cast(y, output_dtype(x))
