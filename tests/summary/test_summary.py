"""Before anything runs: what a model has and does, scope by scope."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import pytest

import jscope
from examples.models import gpt2, resnet
from jscope import nn
from tests.models import MODELS

X = jax.ShapeDtypeStruct((64, 32), jnp.float32)
IMAGES = jax.ShapeDtypeStruct((4, 16, 16, 3), jnp.float32)
TOKENS = jax.ShapeDtypeStruct((2, 32), jnp.int32)
SMALL = gpt2.Config(layers=2, heads=4, dim=64, vocab=500, context=32, scanned=False)


def mlp(scope, x):
    x = jax.nn.relu(nn.dense(scope / "hidden", x, 64))
    return nn.dense(scope / "out", x, 10)


def convnet(scope, x):
    for i, features in enumerate((16, 32)):
        x = nn.max_pool(jax.nn.relu(nn.conv(scope / f"conv{i}", x, features, 3, padding="same")), 2)
    return nn.dense(scope / "out", x.mean((1, 2)), 10)


def transformer(scope, x):
    return gpt2.gpt2(scope, x, SMALL)


def block(scope, x):
    return x + nn.dense(scope / "dense", jnp.tanh(nn.layer_norm(scope / "norm", x)), x.shape[-1])


def deep(scope, x, scanned):
    return jscope.layers(block, 3, scanned=scanned)(scope / "layers", x)


NETS = {"mlp": (mlp, X), "convnet": (convnet, IMAGES), "transformer": (transformer, TOKENS)}


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NETS)
def test_operations_are_those_that_xla_counts(name, compiled):
    """Of the lowered program within 2 %, of the compiled one within 5 %, forward and with the gradient."""
    function, x = NETS[name]
    apply, total = jscope.transform(function).apply, jscope.summary(function, x).total
    params = jscope.specs(function, x).shape_dtype()
    forward, both = (
        jax.jit(run).lower(params, x) for run in (apply, jax.value_and_grad(lambda p, x: apply(p, x).sum()))
    )
    for mine, program in ((total.flops, forward), (total.flops + total.gradient_flops, both)):
        xla = (program.compile() if compiled else program).cost_analysis()["flops"]
        assert mine == pytest.approx(xla, rel=0.05 if compiled else 0.02)


@pytest.mark.parametrize("name", MODELS)
def test_amounts_add_up(name):
    """What a scope has is what it has itself and what the scopes right below it have; all scopes make the whole."""
    model = MODELS[name]
    summary = jscope.summary(model.transformed, *model.args)
    added = jscope._summary.Amounts()
    for row in summary.rows:
        added = added.plus(row.own)
        below = [r.total for r in summary.rows if r.path and row.path and r.path.rpartition("/")[0] == row.path]
        whole = row.own
        for each in below:
            whole = whole.plus(each)
        assert whole == row.total
    assert added == summary.total
    specs = model.transformed.specs(*model.args)
    assert summary.total.params == jscope.tree.size(specs.params.shape_dtype())
    assert summary.total.state_bytes == jscope.tree.bytes(specs.state.shape_dtype())


def test_unnamed_code_belongs_to_the_scope_whose_variable_it_reads():
    """And its gradient, too; what reads none belongs to no scope."""

    def plain(scope, x):
        for name in ("a", "b"):
            s = scope / name
            # JAX names what comes of a formula by it, which is not the name of a scope.
            x = jnp.tanh(jnp.einsum("bd,df->bf", x, s.get_variable("w", (32, 32)).astype(jnp.float32)))
        return x

    summary = jscope.summary(plain, X)
    product = 2 * 64 * 32 * 32
    assert [row.label for row in summary] == ["a", "b", "(no scope)"]
    assert summary["a"].total.flops == summary["b"].total.flops == product
    # By the inputs of the model nothing is differentiated.
    assert summary["a"].total.gradient_flops == product
    assert summary["b"].total.gradient_flops == 2 * product
    assert summary[None].total.transcendentals == 2 * 64 * 32
    assert summary["b"].outputs == ("float32[64,32]",)


def test_a_branch_belongs_to_the_scope_whose_variable_it_reads():
    """Not to that around all variables that any branch reads."""

    def model(scope, x):
        a, b = ((scope / "in" / name).get_variable("w", (32, 32)) for name in "ab")
        return jax.lax.cond(x.sum() > 0, lambda x: x @ a, lambda x: (x @ b) @ b, x)

    summary = jscope.summary(model, X)
    assert summary["in"].own.flops == summary["in/a"].total.flops == 0
    assert summary["in/b"].total.flops == 2 * 2 * 64 * 32 * 32


def test_names_of_functions_count():
    """`named`, `with scope:` and `jax.named_scope` say where code belongs that reads no variable."""

    @jscope.named
    def activation(scope, x):
        return jnp.tanh(x)

    # One program of JAX, called in two scopes.
    halve = jax.jit(lambda x: x * 0.5)

    def model(scope, x):
        x = activation(scope / "tanh", x)
        with scope / "half" as s:
            x = halve(x)
            with s / "quarter":
                x = halve(x)
        with jax.named_scope("end"):
            return x + 1.0

    summary = jscope.summary(model, X)
    assert [row.path for row in summary.rows] == ["tanh", "half", "half/quarter", "end"]
    assert summary["half"].total.flops == 2 * summary["half/quarter"].total.flops == 2 * 64 * 32


@pytest.mark.parametrize("amount", ["params", "flops", "transcendentals", "gradient_flops"])
def test_a_scanned_model_costs_what_the_unrolled_one_does(amount):
    """Scope by scope, and in all: a loop's body times its length."""
    scanned, unrolled = (jscope.summary(deep, X, scanned) for scanned in (True, False))
    for name in ("norm", "dense"):
        each = [getattr(unrolled[f"layers/{i}/{name}"].total, amount) for i in range(3)]
        # The first of the unrolled layers need not give a gradient by its input.
        assert getattr(scanned[f"layers/{name}"].total, amount) == pytest.approx(sum(each), rel=0.4)
    assert getattr(scanned.total, amount) == pytest.approx(getattr(unrolled.total, amount), rel=0.2)


def test_what_remat_computes_again_is_counted_again():
    """It keeps less, and computes more in the gradient; forward nothing changes."""

    def model(scope, x, again):
        return (jscope.remat(block) if again else block)(scope / "block", x)

    plain, again = (jscope.summary(model, X, again) for again in (False, True))
    assert again.total.flops == plain.total.flops
    # The product at the end is of no use to the gradient, so it is not computed again.
    recomputed = plain["block/norm"].total.flops
    assert again.total.gradient_flops - plain.total.gradient_flops == pytest.approx(recomputed, rel=0.3)
    assert again.total.kept_bytes < plain.total.kept_bytes


@pytest.mark.parametrize("name", NETS)
def test_what_is_kept_is_what_jax_keeps(name):
    """No more than the arrays in `jax.vjp`'s function that are neither params nor inputs, and most of these."""
    function, x = NETS[name]
    params = jscope.specs(function, x).shape_dtype()

    def residuals(params, x):
        return jax.tree.leaves(jax.vjp(lambda p: jscope.apply(function, p, x), params)[1])

    made = jax.make_jaxpr(residuals)(params, x)
    inner = getattr(made, "jaxpr", made)
    kept = {v for v in inner.outvars if not hasattr(v, "val")} - set(inner.invars)
    total = sum(v.aval.size * v.aval.dtype.itemsize for v in kept)
    assert 0.5 * total <= jscope.summary(function, x).total.kept_bytes <= total


def test_views_of_an_array_are_kept_once():
    """The exponential for its own gradient, and turned around for that of the last weight."""

    def model(scope, x):
        y = jnp.exp(x @ scope.get_variable("in", (32, 16)))
        return y.T.reshape(32, 32) @ scope.get_variable("out", (32, 3))

    assert jscope.summary(model, X).total.kept_bytes == 64 * 16 * 4


def test_outputs_are_what_leaves_a_scope():
    """Their types, and those of the model. What a loop's body gives is not what leaves the loop."""
    summary = jscope.summary(mlp, X)
    assert summary["hidden"].outputs == ("float32[64,64]",)
    assert summary["out"].outputs == summary.outputs == ("float32[64,10]",)

    def scanned(scope, x):
        w = (scope / "other").get_variable("w", (5, 3))
        body = lambda s, x, _: (x, nn.dense(s / "dense", x, 5) @ w)  # noqa: E731
        return jscope.scan(body, scope / "layers", x, length=2)[1]

    summary = jscope.summary(scanned, X)
    assert summary["layers/dense"].outputs == ("float32[64,5]",)
    assert summary["layers"].outputs == ("float32[2,64,3]",)


def test_a_table_shows_two_outputs_of_a_scope():
    """And says how many more there are."""
    summary = jscope.summary(lambda s, x: jscope.named(lambda s, x: [x[:i] * 2.0 for i in (1, 2, 3)])(s / "a", x), X)
    assert summary["a"].outputs == ("float32[1,32]", "float32[2,32]", "float32[3,32]")
    assert "float32[1,32], float32[2,32], 1 more" in str(summary)


def test_shares_are_of_bytes_where_nothing_is_computed():
    """Elsewhere they are of operations."""
    summary = jscope.summary(lambda s: [(s / name).get_variable("w", (n,)) for name, n in (("a", 3), ("b", 1))])
    assert [row.share for row in summary] == [0.75, 0.25]


def test_state_and_keys():
    """A model with state; one that needs a random key is given an abstract one."""

    def model(scope, x):
        x = nn.batch_norm(scope / "norm", x, training=True)
        return nn.dropout(scope / "dropout", x, 0.5, training=True)

    summary = jscope.summary(model, X)
    assert summary["norm"].total.state == 64
    assert summary["dropout"].total.flops > 30 * 64 * 32


def test_depth_only_hides():
    """Sums stay what they are."""
    whole, outer, none = (jscope.summary(deep, X, True, depth=depth) for depth in (None, 1, 0))
    assert [row.path for row in whole] == ["layers", "layers/norm", "layers/dense"]
    assert [row.path for row in outer] == ["layers"]
    assert whole.total == outer.total == none.total
    assert len(none.table()[1]) == 1


@pytest.mark.parametrize("depth", [-1, 1.5, True, "2"])
def test_a_depth_is_a_number(depth):
    """Not a negative one."""
    with pytest.raises(jscope.errors.InvalidArgumentError, match=r"depth=.* must be a non-negative int"):
        jscope.summary(mlp, X, depth=depth)


@pytest.mark.parametrize(
    "last",
    [
        lambda y: jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y * 2, y),
        jax.jit(lambda y: jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct(y.shape, y.dtype), y)),
    ],
    ids=["while_loop", "pure_callback"],
)
def test_what_has_no_gradient_has_a_summary(last):
    """With all but the gradient, and a note that says why."""
    summary = jscope.summary(lambda scope, x: last(mlp(scope, x)), X)
    assert summary.total.flops >= jscope.summary(mlp, X).total.flops
    assert (summary.total.gradient_flops, summary.total.kept_bytes) == (0, 0)
    assert summary.notes[-1].startswith("no gradient was counted, since JAX has none of this model (")


def test_errors_of_the_model_are_its_own():
    """They come as they are."""

    def model(scope, x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        jscope.summary(model, X)


def test_what_no_result_needs_is_not_counted():
    """XLA drops it, in a loop, too. Otherwise the gradient, which is of the rest, would cost less than nothing."""

    def model(scope, x, wasteful):
        def step(scope, x, _):
            y = nn.dense(scope / "unused", x, 64) if wasteful else x
            return nn.dense(scope / "used", x, 32), y

        return jscope.scan(step, scope / "steps", x, length=3)[0]

    wasteful, thrifty = (jscope.summary(model, X, each) for each in (True, False))
    assert wasteful["steps/unused"].total.params == 3 * (32 * 64 + 64)
    assert wasteful["steps/unused"].total.flops == wasteful["steps/unused"].total.gradient_flops == 0
    for amount in ("flops", "gradient_flops", "kept_bytes"):
        assert getattr(wasteful.total, amount) == getattr(thrifty.total, amount)


def test_it_goes_to_json_and_to_html():
    """With all names escaped: they are of the user's making."""

    def model(scope, x):
        return nn.dense(scope / '<script>alert("1")</script>', x, 3)

    summary = jscope.summary(model, X)
    assert json.loads(json.dumps(summary.to_dict()))["total"]["flops"] == summary.total.flops
    assert "<script>" not in summary._repr_html_()
    assert "&lt;script&gt;" in summary._repr_html_()
    assert "\\n" in summary.graph().dot
    hostile = jscope.summary(lambda s, x: jax.named_scope("a\x1b[31m\n")(jnp.sin)(x), X)
    assert "\x1b" not in str(hostile) + hostile.graph().dot


def test_rich_prints_the_same_table():
    """All cells, whatever they look like."""
    console = pytest.importorskip("rich.console")
    with (made := console.Console(width=200)).capture() as capture:
        made.print(jscope.summary(mlp, X))
    assert "hidden" in capture.get()
    assert "float32[64,64]" in capture.get()
    with made.capture() as capture:
        made.print(replace(jscope.summary(mlp, X), notes=("something [b]was assumed[/b]",)))
    assert capture.get().rstrip().endswith("Note: something [b]was assumed[/b].")


def test_a_graph_shows_what_flows():
    """Edges between scopes, with the types of arrays."""
    dot = jscope.summary(mlp, X).graph().dot
    assert 'n0 [label="hidden\\n2,112 params"];' in dot
    assert 'n0 -> n2 [label="float32[64,64]"];' in dot
    assert dot.startswith("digraph model {")


def test_a_graph_shows_what_flows_into_the_body_of_a_loop():
    """From the scope of the loop, which it came into, and its last layer gives it back. Params do not flow."""

    def model(scope, x):
        x = nn.dense(scope / "in", x, 8)
        x = jscope.layers(lambda scope, x: nn.dense(scope / "inner", x, 8), 3)(scope / "layers", x)
        return nn.dense(scope / "out", x, 3)

    arrows = re.findall(r"(n\d) -> (n\d) \[label=(.*)\]", jscope.summary(model, X).graph().dot)
    inputs, layers, inner, out = "n0", "n1", "n2", "n3"
    flow = '"float32[64,8]"'
    assert set(arrows) == {(inputs, layers, flow), (layers, inner, flow), (inner, layers, flow), (layers, out, flow)}


def test_names_in_a_graph_are_shown_as_they_are():
    """Neither Graphviz's escapes nor those of HTML are read in them."""
    summary = jscope.summary(lambda scope, x: nn.dense(scope / r'a&lt;b"\N', x, 2), X)
    assert r'[label="a&amp;lt;b\"\\N\n66 params"]' in summary.graph().dot


@pytest.mark.slow
def test_large_models_are_summed_up_without_running():
    """ResNet-50 and a scanned GPT-2 of 96 layers, with the numbers that are known of them."""
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    config = resnet.PUBLISHED["ResNet-50"]
    net = jscope.summary(partial(resnet.resnet, config=config, training=True), images)
    assert net.total.params == 25_557_032
    assert net.total.flops == pytest.approx(2 * 4.1e9, rel=0.05)
    config = gpt2.Config(layers=96)
    summary = jscope.summary(gpt2.gpt2, TOKENS, config)
    assert summary["layers"].total.params == 96 * (12 * 768**2 + 13 * 768)


def test_an_image_needs_a_program_that_draws(monkeypatch):
    """Without it, an error says where to get it, and notebooks show the text."""
    pytest.importorskip("graphviz")
    monkeypatch.setenv("PATH", "")
    graph = jscope.summary(mlp, X).graph()
    with pytest.raises(ImportError, match="need the program `dot`"):
        graph.svg()
    assert graph._repr_mimebundle_() == {"text/plain": graph.dot}


@pytest.mark.parametrize(
    "backward", [lambda _, bar: int("mine"), lambda _, bar: jnp.split(bar, 2)], ids=["python", "jnp"]
)
def test_an_error_of_a_rule_of_the_users_comes_as_it_is(backward):
    """Also from within JAX: it is a mistake in the model, and not something of which JAX has no gradient."""

    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), backward)
    with pytest.raises(ValueError, match=r"mine|equal division"):
        jscope.summary(lambda scope, x: double(x * scope.get_variable("w", (3,))), jnp.ones(3))
