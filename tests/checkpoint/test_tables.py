"""Tables that ship: with the weights of another library, our layers give its outputs, and the weights come back."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import checkpoint, nn
from jscope.checkpoint import ConversionError, safetensors, tables
from tests.checkpoint.layer_tables import CASES, LOSSY, OURS, TABLES, ours, theirs
from tests.checkpoint.oracle.recording import numbers
from tests.crossed import mostly_slow

X = jax.ShapeDtypeStruct((2, 4), jnp.float32)


def applied(model, specs, values, x):
    """The output of a model, given all its values in one tree."""
    flat = jscope.tree.flatten(values)
    params, state = ({name: flat[name] for name in kind} for kind in (specs.params, specs.state))
    return model.apply(jscope.tree.unflatten(params), jscope.tree.unflatten(state), x)[0]


# Where a table does no more than to rename, its output shows little.
TELLING = ("conv_transpose", "depthwise_conv", "batch_norm", "lstm", "gru", "gru_reset_before", "rnn", "attention")
QUICK = [case for case in CASES if case[0] == "pytorch" or case[1] in TELLING]


@pytest.mark.parametrize("case", mostly_slow(CASES, *QUICK), ids="-".join)
def test_our_layer_is_theirs(case, tmp_path):
    """With the arrays that were recorded, taken over by the table, from a file."""
    library, name = case
    model, specs, x, table = ours(library, name)
    arrays, y = theirs(library, name)
    safetensors.save(tmp_path / "theirs.safetensors", arrays)
    values = checkpoint.restore(specs, tmp_path / "theirs.safetensors", conversion=table)
    chex.assert_trees_all_close(applied(model, specs, values, x), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_their_arrays_come_back(library, name, tmp_path):
    """In memory and file to file: bit by bit, or, where the table says that it is lossy, the same function."""
    table = ours(library, name)[-1]
    arrays, _ = theirs(library, name)
    values = jscope.tree.convert(arrays, table)
    path = tmp_path / "back.safetensors"
    safetensors.save(path, values, conversion=table.inverse)
    back = jscope.tree.flatten(jscope.tree.convert(values, table.inverse))
    with safetensors.open(path) as file:
        chex.assert_trees_all_equal({name: file.get_tensor(name) for name in file}, back)
    assert bool(table.lossy) == ((library, name) in LOSSY)
    if table.lossy:
        again = jscope.tree.flatten(jscope.tree.convert(jscope.tree.convert(back, table), table.inverse))
        chex.assert_trees_all_close(again, back, rtol=1e-6)
    else:
        chex.assert_trees_all_equal(back, arrays)
    chex.assert_trees_all_equal_shapes_and_dtypes(back, arrays)


@pytest.mark.parametrize(
    ("library", "name"), [*sorted(LOSSY), ("haiku", "gru_reset_before"), ("linen", "conv_transpose")]
)
def test_arrays_of_jax_are_converted_alike(library, name):
    """Under `jit`, there and back, what functions and orders do included."""
    table = ours(library, name)[-1]
    arrays = {key: jnp.asarray(array) for key, array in theirs(library, name)[0].items()}
    found = jax.jit(lambda arrays: jscope.tree.convert(arrays, table))(arrays)
    expected = jscope.tree.convert(theirs(library, name)[0], table)
    chex.assert_trees_all_close(found, expected, rtol=1e-6)
    back = jax.jit(lambda values: jscope.tree.convert(values, table.inverse))(found)
    chex.assert_trees_all_close(back, jscope.tree.convert(expected, table.inverse), rtol=1e-6)


def block(scope, x):
    x = nn.layer_norm(scope / "norm", x + nn.attention(scope / "attention", x, 2))
    return x + nn.dense(scope / "mlp/out", nn.dense(scope / "mlp/hidden", x, 7), x.shape[-1])


def transformer(scanned):
    def model(scope, ids):
        x = nn.embedding(scope / "tokens", ids, 11, 6)
        x = jscope.layers(block, 3, scanned=scanned)(scope / "layers", x)
        return nn.dense(scope / "head", nn.layer_norm(scope / "norm", x), 11)

    return model


IDS = jnp.zeros((1, 4), jnp.int32)


def check_stacked_and_unrolled(library, model, *inputs):
    """Checks that a model of layers is the same to a library, whether they are stacked here or not."""
    stacked, unrolled = (jscope.specs(model(scanned), *inputs) for scanned in (True, False))
    values = unrolled.map(lambda spec: numbers(spec.path, spec.shape))
    tables_of = [TABLES[library](specs) for specs in (stacked, unrolled)]
    both = [jscope.tree.stack(values, at="layers"), values]
    found, expected = (jscope.tree.convert(v, table.inverse) for v, table in zip(both, tables_of, strict=True))
    chex.assert_trees_all_equal(found, expected)
    again = [jscope.tree.convert(found, table) for table in tables_of]
    chex.assert_trees_all_equal(again[0], jscope.tree.stack(again[1], at="layers"))


@pytest.mark.parametrize("library", TABLES)
def test_stacked_layers_are_theirs_one_by_one(library):
    """Layers and what is beside them."""
    check_stacked_and_unrolled(library, transformer, IDS)


@pytest.mark.parametrize(
    ("library", "name"), [*sorted(LOSSY), ("pytorch", "gru"), ("haiku", "gru_reset_before"), ("linen", "lstm")]
)
def test_stacked_cells_are_theirs_one_by_one(library, name):
    """What functions do is done to each."""

    def layer(scope, x):
        return OURS[name](scope, x)[..., : x.shape[-1]]

    def model(scanned):
        return lambda scope, x: jscope.layers(layer, 3, scanned=scanned)(scope / "layers", x)

    check_stacked_and_unrolled(library, model, jnp.zeros((1, 2, 4)))


@pytest.mark.parametrize("library", TABLES)
def test_layers_of_a_kind_share_a_rule(library):
    """However many there are; and what they share reads as a table, also one that was written down."""
    table = TABLES[library](jscope.specs(transformer(False), IDS))
    assert len(table.rules) <= 24
    assert checkpoint.Conversion.from_toml(table.to_toml()) == table


def test_scopes_have_other_names():
    """The longest prefix that is named counts, and an index stands where it is said to."""
    specs = jscope.specs(transformer(True), IDS)
    names = {"layers": "h", "layers/mlp": "blocks.{i}.feed", "tokens": "wte", "layers/mlp/out": "out.{i}"}
    found = {rule.theirs for rule in tables.pytorch(specs, names=names).rules}
    assert {
        "h.{i}.norm.weight",
        "h.{i}.attention.in_proj_weight",
        "blocks.{i}.feed.hidden.weight",
        "out.{i}.weight",
        "wte.weight",
        "head.weight",
    } <= found


def both(scope, x):
    for name in ("first", "second"):
        x, _ = nn.bidirectional(nn.lstm, scope / name, x, 4)
    return x


def test_layers_of_one_recurrent_module_are_told_apart():
    """By a `*`, also of one direction by itself, or of a stack; without, two directions are one layer."""
    specs = jscope.specs(both, jnp.zeros((1, 2, 3)))
    names = {"first": "a.*_l0", "second/forward": "b.*_l7", "second/backward": "b.*_l7_reverse"}
    kernels = {rule.ours: rule.theirs for rule in tables.pytorch(specs, names=names).rules if "/kernel" in rule.ours}
    assert kernels == {
        "first/forward/kernel": "a.weight_ih_l0",
        "first/backward/kernel": "a.weight_ih_l0_reverse",
        "second/forward/kernel": "b.weight_ih_l7",
        "second/backward/kernel": "b.weight_ih_l7_reverse",
    }
    made = specs.convert(tables.pytorch(specs).inverse)
    assert {"first.weight_ih_l0", "first.weight_ih_l0_reverse", "second.bias_hh_l0_reverse"} <= {*made}

    def layer(scope, x):
        return nn.recurrent(nn.gru, scope / "cell", x, 3)[0]

    stacked = jscope.specs(lambda s, x: jscope.layers(layer, 3)(s / "layers", x), jnp.zeros((1, 2, 3)))
    table = tables.pytorch(stacked, names={"layers/cell": "rnn.*_l{i}"})
    assert [rule.theirs for rule in table.rules] == ["rnn.weight_ih_l{i}", "rnn.weight_hh_l{i}", "rnn.bias_{side}_l{i}"]
    values = stacked.map(lambda spec: np.random.default_rng(0).random(spec.shape, np.float32))
    assert not jscope.tree.diff(jscope.tree.convert(jscope.tree.convert(values, table.inverse), table), values)


def test_variables_at_the_root_and_of_their_own():
    """A layer may be the model itself; what is not of a layer keeps its name."""

    def model(scope, x):
        scope.get_variable("token", (1, 3))
        return nn.dense(scope, x, 3) + (scope / "extra").get_variable("scales", (3, 2)).sum()

    found = {rule.ours: (rule.theirs, rule.axes) for rule in tables.pytorch(jscope.specs(model, X)).rules}
    assert found == {
        "kernel": ("weight", "out in -> in out"),
        "bias": ("bias", ""),
        "token": ("token", ""),
        "extra/scales": ("extra.scales", ""),
    }


def test_tf1_has_our_names():
    """Only scopes are called otherwise."""
    specs = jscope.specs(transformer(False), IDS)
    table = tables.tf1(specs, names={"head": "dense"})
    assert {rule.axes for rule in table.rules} == {""}
    made = jscope.tree.names(jscope.tree.convert(specs.materialize(jax.random.key(0)), table.inverse))
    assert {name.replace("dense/", "head/") for name in made} == {*specs}


def up(scope, x):
    return nn.conv_transpose(scope / "up", x, 3, 2, use_bias=False)


def test_a_transposed_convolution_without_bias_is_told():
    """Nothing in names and shapes tells it from another."""
    specs = jscope.specs(up, jnp.zeros((1, 4, 3)))
    assert tables.pytorch(specs).rules[0].axes == "out in w -> w in out"
    assert tables.pytorch(specs, layers={"up": "conv_transpose"}).rules[0].axes == "in out w -> w out in"
    assert not tables.pytorch(specs, layers={"up": None}).rules


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: tables.pytorch(s["up"], layers={"": "gru_reset_before"}), r"no layer like.*gru_reset_before"),
        (lambda s: tables.keras(s, layers={"up": "other"}), r"Keras has no layer like `up`.*\n.*layers="),
        (lambda s: tables.pytorch(s, layers={"up": "conv2d"}), r"'conv2d' for `up`.*Did you mean `conv"),
        (lambda s: tables.pytorch(s, layers={"down": "conv"}), r"no scope matches `down`"),
        (lambda s: tables.pytorch(s, layers={"(": "conv"}), r"`layers`: "),
        (
            lambda s: tables.pytorch(s, layers={"up": "dense"}),
            r"`up/kernel` has the shape \[2, 3, 3\].*Say in `layers`",
        ),
        (lambda s: tables.pytorch(s, names={"upp": "x"}), r"no scope `upp`.*Did you mean `up`"),
        (
            lambda s: tables.pytorch(jscope.specs(lambda s: up(s / "x", jnp.zeros((1, 4, 3)))), names={"x": "a.*"}),
            r"`a.\*` has a `\*` for the names",
        ),
        (lambda s: tables.pytorch({"w": np.ones(1)}), r"needs the specs of a model"),
        (lambda s: tables.haiku(s, ndim=1), r"ndim=1 must be an int of at least 2"),
    ],
)
def test_what_cannot_be_is_said(call, message):
    """With the scope, and what to do."""
    specs = jscope.specs(up, jnp.zeros((1, 4, 3)))
    with pytest.raises((ConversionError, jscope.errors.InvalidArgumentError), match=f"(?s){message}"):
        call(specs)


def test_grouped_queries_are_not_pytorchs():
    """Its `MultiheadAttention` has as many heads of keys as of queries; what it looks at may have another size."""
    x, other = jnp.zeros((1, 3, 8)), jnp.zeros((1, 3, 4))
    specs = jscope.specs(lambda s, x: nn.attention(s / "a", x, 4, num_key_value_heads=2), x)
    with pytest.raises(ConversionError, match="PyTorch has no layer like `a`"):
        tables.pytorch(specs)
    specs = jscope.specs(lambda s, x: nn.attention(s / "a", x, 4, context=other), x)
    found = [rule.theirs for rule in tables.pytorch(specs).rules]
    assert found[:3] == ["a.q_proj_weight", "a.k_proj_weight", "a.v_proj_weight"]
