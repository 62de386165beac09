"""Layers, as plain functions of a scope.

>>> def mlp(scope, x):
...     x = jscope.nn.dense(scope / "hidden", x, 32, activation=jax.nn.relu)
...     return jscope.nn.dense(scope / "out", x, 10)
>>> jscope.tree.names(jscope.init(mlp, jax.random.key(0), jnp.ones((1, 4))))
['hidden/kernel', 'hidden/bias', 'out/kernel', 'out/bias']

The names of variables and arguments, the defaults and the initial values are those of Keras 3, and so of `tf.layers`. A
layer computes in the dtype of its input, and takes its statistics in float32. See `docs/layers.md`.
"""

from jscope.nn._attention import attention as attention
from jscope.nn._batch_norm import batch_norm as batch_norm
from jscope.nn._blocks import glu as glu
from jscope.nn._blocks import mlp as mlp
from jscope.nn._blocks import transformer_block as transformer_block
from jscope.nn._cache import KVCache as KVCache
from jscope.nn._cells import gru as gru
from jscope.nn._cells import lstm as lstm
from jscope.nn._cells import rnn as rnn
from jscope.nn._conv import conv as conv
from jscope.nn._conv import depthwise_conv as depthwise_conv
from jscope.nn._conv import separable_conv as separable_conv
from jscope.nn._conv_lstm import conv_lstm as conv_lstm
from jscope.nn._conv_transpose import conv_transpose as conv_transpose
from jscope.nn._dense import bias as bias
from jscope.nn._dense import dense as dense
from jscope.nn._dense import einsum as einsum
from jscope.nn._embedding import embedding as embedding
from jscope.nn._embedding import unembed as unembed
from jscope.nn._experts import mixture_of_experts as mixture_of_experts
from jscope.nn._group_norm import group_norm as group_norm
from jscope.nn._group_norm import instance_norm as instance_norm
from jscope.nn._noise import drop_path as drop_path
from jscope.nn._noise import dropout as dropout
from jscope.nn._noise import gaussian_noise as gaussian_noise
from jscope.nn._norm import l2_normalize as l2_normalize
from jscope.nn._norm import layer_norm as layer_norm
from jscope.nn._norm import rms_norm as rms_norm
from jscope.nn._pool import avg_pool as avg_pool
from jscope.nn._pool import global_avg_pool as global_avg_pool
from jscope.nn._pool import global_max_pool as global_max_pool
from jscope.nn._pool import max_pool as max_pool
from jscope.nn._pool import pixel_shuffle as pixel_shuffle
from jscope.nn._pool import upsample as upsample
from jscope.nn._positions import alibi as alibi
from jscope.nn._positions import relative_bias as relative_bias
from jscope.nn._positions import rotary as rotary
from jscope.nn._positions import sinusoidal as sinusoidal
from jscope.nn._recurrent import bidirectional as bidirectional
from jscope.nn._recurrent import recurrent as recurrent
