"""Tables that ship: how other libraries name and lay out the layers of `jscope.nn`.

Each function returns the `Conversion` from a library's parameters to those of a model, by its specs. So their
checkpoints can be restored, and by the inverse be written:

>>> def model(scope, x):
...     x = jscope.nn.dense(scope / "hidden", x, 8, activation=jax.nn.relu)
...     return jscope.nn.dense(scope / "out", x, 2)
>>> specs = jscope.specs(model, jnp.ones((1, 4)))
>>> print(pytorch(specs))
ours             theirs           axes               notes
{dense}/kernel   {dense}.weight   out in -> in out   dense: hidden=hidden out=out
{dense}/bias     {dense}.bias                        dense: hidden=hidden out=out
>>> table = pytorch(specs, names={"hidden": "fc1", "out": "fc2"})
>>> theirs = jscope.tree.convert(specs.materialize(jax.random.key(0)), table.inverse)
>>> {name: array.shape for name, array in theirs.items()}
{'fc1.weight': (8, 4), 'fc2.weight': (2, 8), 'fc1.bias': (8,), 'fc2.bias': (2,)}

A table knows layers. Scopes have the same names on both sides, unless `names` says otherwise; layers that are stacked
here (`jscope.layers`) have an index there: `layers/mlp/kernel` is `layers.0.mlp.weight`, `layers.1.mlp.weight`, ...

All functions take

- `specs`: the specs of the model;
- `names`: their names of our scopes, `{"encoder/attention": "bert.encoder.attn"}`, which hold for all below. Where an
  index is to stand elsewhere than after the whole, or is written otherwise, write it: `{"layers/mlp": "h.{i}.mlp"}`,
  `{"layers": "block{i:_}"}`, and where the names of variables are, a `*`: `{"second": "rnn.*_l1"}`;
- `layers`: what layers are whose names and shapes do not tell, `{regular expression in the path of the scope: kind}`. A
  kernel with an axis to slide along, and without a bias of another length, is taken for that of a `"conv"`, and may be
  that of a `"conv_transpose"`; a `"gru"` without biases may be a `"gru_reset_before"`. `"other"` keeps all names and
  layouts; None leaves a layer out, for rules of your own.

and raise `ConversionError` where the library does not have a layer, or an argument names what the model does not have.

A table that was written down has only the names of functions: `Conversion.from_toml(text, functions=tables.FUNCTIONS)`.
"""

from __future__ import annotations

from collections.abc import Mapping

from jscope._specs import Specs
from jscope.checkpoint._conversions._conversion import Conversion
from jscope.checkpoint._tables import _libraries
from jscope.checkpoint._tables._functions import FUNCTIONS as FUNCTIONS
from jscope.checkpoint._tables._layers import Kinds
from jscope.checkpoint._tables._table import table_of
from jscope.errors import InvalidArgumentError


def pytorch(specs: Specs, *, names: Mapping[str, str] | None = None, layers: Kinds | None = None) -> Conversion:
    """Returns the table from PyTorch's `state_dict`s.

    >>> specs = jscope.specs(lambda scope: jscope.nn.recurrent(jscope.nn.lstm, scope / "rnn", jnp.ones((1, 2, 3)), 4))
    >>> print(pytorch(specs))
    ours                   theirs                axes               notes
    rnn/kernel             rnn.weight_ih_l0      out in -> in out
    rnn/recurrent_kernel   rnn.weight_hh_l0      out in -> in out
    rnn/bias               rnn.bias_{side}_l0    u -> side u        side: ih hh, sum(), lossy

    An LSTM has two biases there, whose sum is ours. `attention` is `nn.MultiheadAttention`.

    Recurrent layers above each other are one module there: say which of its layers each of ours is. The two cells of
    `nn.bidirectional` are one layer, of which one is `_reverse`:

    >>> def deep(scope, x):
    ...     x, _ = jscope.nn.bidirectional(jscope.nn.gru, scope / "first", x, 4)
    ...     return jscope.nn.bidirectional(jscope.nn.gru, scope / "second", x, 4)
    >>> specs = jscope.specs(deep, jnp.ones((1, 2, 3)))
    >>> table = pytorch(specs, names={"first": "rnn.*_l0", "second": "rnn.*_l1"})
    >>> [rule.theirs for rule in table.rules if rule.ours.startswith("second/backward")]
    ['rnn.weight_ih_l1_reverse', 'rnn.weight_hh_l1_reverse', 'rnn.bias_{side}_l1_reverse']
    """
    return table_of(specs, _libraries.PYTORCH, names or {}, layers or {})


def linen(specs: Specs, *, names: Mapping[str, str] | None = None, layers: Kinds | None = None) -> Conversion:
    """Returns the table from the variables of Flax's Linen: `{"params": ..., "batch_stats": ...}`.

    >>> specs = jscope.specs(lambda scope, x: jscope.nn.dense(scope / "Dense_0", x, 4), jnp.ones((1, 3)))
    >>> linen(specs).rules[0].theirs
    'params/Dense_0/kernel'

    A cell that `nn.RNN` runs is below it: `names={"rnn": "RNN_0/cell"}`. Transposed convolutions are Flax's default,
    `transpose_kernel=False`.
    """
    return table_of(specs, _libraries.LINEN, names or {}, layers or {})


def nnx(
    specs: Specs, *, names: Mapping[str, str] | None = None, layers: Kinds | None = None, optimized: bool = False
) -> Conversion:
    """Returns the table from the state of Flax's NNX, as `nnx.to_pure_dict` gives it.

    >>> specs = jscope.specs(lambda scope, x: jscope.nn.layer_norm(scope / "norm", x), jnp.ones((1, 3)))
    >>> [(rule.ours, rule.theirs) for rule in nnx(specs).rules]
    [('norm/gamma', 'norm/scale'), ('norm/beta', 'norm/bias')]

    `optimized`: whether LSTMs are `nnx.OptimizedLSTMCell`s, which have their gates in one array. A `nnx.GRUCell` has no
    bias for its state: what ours has there is lost on the way back.
    """
    library = _libraries.NNX_OPTIMIZED if optimized else _libraries.NNX
    return table_of(specs, library, names or {}, layers or {})


def haiku(
    specs: Specs, *, names: Mapping[str, str] | None = None, layers: Kinds | None = None, ndim: int = 4
) -> Conversion:
    """Returns the table from Haiku's params and state, in one dict: `{**params, **state}`.

    >>> specs = jscope.specs(lambda scope, x: jscope.nn.dense(scope / "linear", x, 4), jnp.ones((1, 3)))
    >>> haiku(specs, names={"linear": "mlp/~/linear_0"}).rules[0].theirs
    'mlp/~/linear_0/w'

    `ndim`: the rank of what batch norms normalize, which is the rank of their arrays there. Of their moving averages
    the values are taken; what else they keep begins anew on the way back.
    """
    if isinstance(ndim, bool) or not isinstance(ndim, int) or ndim < 2:
        raise InvalidArgumentError(f"haiku: ndim={ndim!r} must be an int of at least 2: the rank of a batch.")
    return table_of(specs, _libraries.haiku(ndim), names or {}, layers or {})


def keras(specs: Specs, *, names: Mapping[str, str] | None = None, layers: Kinds | None = None) -> Conversion:
    """Returns the table from Keras's `.weights.h5` and `.keras` files, in which variables have no names but positions.

    >>> specs = jscope.specs(lambda scope, x: jscope.nn.dense(scope / "hidden", x, 4), jnp.ones((1, 3)))
    >>> [(rule.ours, rule.theirs) for rule in keras(specs).rules]
    [('hidden/kernel', 'hidden/0'), ('hidden/bias', 'hidden/1')]

    Layouts are the same. `load_checkpoint` says how layers are called that are read, `checkpoint.keras.save` how those
    are that are written.
    """
    return table_of(specs, _libraries.KERAS, names or {}, layers or {})


def tf1(specs: Specs, *, names: Mapping[str, str] | None = None, layers: Kinds | None = None) -> Conversion:
    """Returns the table from `tf.layers`, whose names and layouts are those of `jscope.nn`: only `names` change.

    >>> specs = jscope.specs(lambda scope, x: jscope.nn.dense(scope / "hidden", x, 4), jnp.ones((1, 3)))
    >>> [(rule.ours, rule.theirs) for rule in tf1(specs, names={"hidden": "dense"}).rules]
    [('hidden/kernel', 'dense/kernel'), ('hidden/bias', 'dense/bias')]
    """
    return table_of(specs, _libraries.TF1, names or {}, layers or {})
