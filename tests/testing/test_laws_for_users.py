"""The laws find the faults that they are for, and nothing where there is none."""

from __future__ import annotations

import random
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from examples.models import gpt2, resnet
from jscope import errors, nn, sharding, testing
from tests.models import MODELS

X = (jax.ShapeDtypeStruct((4, 8), jnp.float32),)
TEXT = jax.ShapeDtypeStruct((3, 6), jnp.int32)
IMAGES = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
MESH = jax.sharding.AbstractMesh((4, 2), ("data", "model"))


def good(scope, x):
    return nn.dense(scope / "out", jax.nn.relu(nn.dense(scope / "hidden", x, 8)), 2)


def forgotten(scope, x):
    (scope / "a").get_variable("forgotten", (3,))
    return good(scope, x)


def stopped(scope, x):
    return good(scope, x) + jax.lax.stop_gradient(scope.get_variable("stopped", (4, 2)))


def infinite(scope, x):
    w = scope.get_variable("w", (4, 8), initializer=jscope.initializers.zeros)
    return good(scope, x + jnp.sqrt(w))


def mixed(scope, x):
    return good(scope, x - jnp.broadcast_to(x.mean(0), x.shape))


def looks_back(scope, x):
    return good(scope, jnp.cumsum(x, 0))


def looks_ahead(scope, x):
    return good(scope, jnp.cumsum(x, 0, reverse=True) if False else jnp.flip(jnp.cumsum(jnp.flip(x, 0), 0), 0))


def eager_is_another(scope, x):
    return good(scope, x) * (1.0 if isinstance(x, jax.core.Tracer) else 2.0)


def draws_elsewhere(scope, x):
    return good(scope, x) + np.float32(random.random())


def draws_without_a_key(scope, x):
    noise = jax.random.normal(scope.rng(), (4, 2)) if scope.has_rng else np.random.normal(size=(4, 2))
    return good(scope, x) + jnp.asarray(noise, jnp.float32)


def too_wide(scope, x):
    return good(scope / "inner", x * jnp.asarray(np.full((), 2.0)))


def too_narrow(scope, x):
    with scope / "norm":
        x = x.astype(jnp.bfloat16)
        x = x * jax.lax.rsqrt(x * x + jnp.bfloat16(1.0))
    return good(scope, x.astype(jnp.float32))


NAMES = iter(range(1000))


def names_itself(scope, x):
    return good(scope / f"model{next(NAMES)}", x)


class Grows:
    """Its state is longer after a call: possible only where somebody else writes the dict."""

    def __call__(self, scope, x):
        scope.get_variable("n", initializer=0, trainable=False)
        if not scope.collecting:
            scope._context.crossing.state["m"] = jnp.ones(2)
        return good(scope, x)


def layers(scope, x, scanned, body=good, n=2):
    block = lambda scope, x: x + jnp.tanh(body(scope, x)) @ jnp.ones((2, 8), x.dtype)  # noqa: E731
    return jscope.layers(block, n, scanned=scanned)(scope / "layers", x)


FAULTS = {
    "init_agrees": [(names_itself, "only in")],
    "params_matter": [
        (forgotten, "`a/forgotten` has no effect on the output"),
        (stopped, "`stopped` has no effect"),
        (infinite, "`w` has a gradient that is not finite"),
    ],
    "rows_do_not_mix": [(mixed, "row 0 of the output"), (looks_back, "row 3 of"), (looks_ahead, "row 0 of the output")],
    "eager_equals_jitted": [(eager_is_another, "the output: differs by up to 0.5")],
    "state_keeps_structure": [(Grows(), "`?m`?")],
    "dtypes_are_sound": [(too_wide, "gives float64"), (too_narrow, "the scope `norm`: `rsqrt` gives bfloat16")],
    "key_decides": [(draws_elsewhere, "differs")],
    "without_key_nothing_is_random": [(draws_without_a_key, "differs")],
}
"""For each law, models that break it, with what its report says."""


@pytest.mark.parametrize(
    ("law", "number"),
    [pytest.param(law, i, marks=pytest.mark.slow if i else ()) for law in FAULTS for i in range(len(FAULTS[law]))],
)
def test_a_law_finds_the_fault_that_it_is_for(law, number):
    """And its report says where."""
    model, message = FAULTS[law][number]
    with pytest.raises(testing.LawError, match=rf"breaks the law `{law}`:(.|\n)*{message}"):
        getattr(testing, law)(model, X)


@pytest.mark.parametrize("law", FAULTS)
def test_a_law_finds_nothing_where_there_is_nothing(law):
    """In a model without faults, with arrays and with shapes for inputs, plain and transformed."""
    check = getattr(testing, law)
    check(good, X)
    check(jscope.transform(good), (jnp.linspace(-1.0, 1.0, 32).reshape(4, 8),), key=jax.random.key(3))


def test_every_fault_is_found_by_all_laws_together():
    """And several faults are one report."""
    with pytest.raises(testing.LawError, match=r"`params_matter`(.|\n)*`rows_do_not_mix`"):
        testing.every_law(lambda scope, x: forgotten(scope, x - jnp.broadcast_to(x.mean(0), x.shape)), X)
    with pytest.raises(testing.LawError, match=r"^The model breaks the law `params_matter`:"):
        testing.every_law(forgotten, X, skip={"rows_do_not_mix"})


def test_params_of_like_names_are_moved_apart():
    """Each by its own path: `ab` and `ba`, which start equal, would otherwise hide each other's gradients."""

    def model(scope, x):
        a, b, w = (scope.get_variable(name, (3,), initializer=jscope.initializers.ones) for name in ("ab", "ba", "w"))
        return x * (a - b) * w

    testing.params_matter(model, (jnp.ones(3),))


def test_a_law_that_does_not_exist_cannot_be_skipped():
    """It is a typo."""
    with pytest.raises(errors.InvalidArgumentError, match=r"no law 'rows_do_not_mx' to skip. Did you mean `rows_do"):
        testing.every_law(good, X, skip={"rows_do_not_mx"})


def test_scanned_layers_are_the_unrolled_ones():
    """With nothing to find; and with layers that are others, in number, in names, and in what they do."""
    scanned, unrolled = (partial(layers, scanned=scanned) for scanned in (True, False))
    testing.scanned_equals_unrolled(scanned, unrolled, X)
    law = testing.scanned_equals_unrolled
    with pytest.raises(testing.LawError, match="only the unrolled model has `layers/2/hidden/bias`"):
        testing.every_law(scanned, X, unrolled=partial(layers, scanned=False, n=3), skip=FAULTS.keys())
    with pytest.raises(testing.LawError, match="output the output: differs by up to"):
        law(scanned, lambda scope, x: unrolled(scope, x) + 1.0, X)
    normal = jscope.initializers.normal(1.0)
    other = lambda scope, x: good(scope.with_defaults(initializer=normal), x)  # noqa: E731
    with pytest.raises(testing.LawError, match=r"initial .*kernel.*differs"):
        law(scanned, partial(layers, scanned=False, body=other), X)


def test_shardings_are_those_that_a_mesh_can_have():
    """On a mesh without devices: each variable that cannot be split is told."""
    rules = sharding.Rules({"embed": "data", "mlp": "model", ...: None})

    def model(size):
        return lambda scope, x: x @ scope.get_variable("w", (8, size), axes=("embed", "mlp"))

    testing.shardings_are_legal(model(6), X, mesh=MESH, rules=rules)
    with pytest.raises(testing.LawError, match=r"Axis 1 \(`mlp`\) of variable `w`.*5 is not a multiple of 2"):
        testing.every_law(model(5), X, mesh=MESH, rules=rules, skip=FAULTS.keys())


def test_a_contract_is_kept(tmp_path):
    """Names, shapes and initial values are those in a file."""
    path = tmp_path / "specs.json"
    path.write_text(jscope.specs(good, *X).to_json())
    testing.keeps_contract(good, X, contract=path)
    with pytest.raises(testing.LawError, match=r"`keeps_contract`(.|\n)*new: +`a/forgotten`"):
        testing.every_law(forgotten, X, contract=path, skip=FAULTS.keys())


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "mlp" else pytest.mark.slow) for n in MODELS])
def test_the_models_of_our_own_tests_obey(name):
    """All laws, but where a model breaks one on purpose."""
    skip = {"convnet": {"rows_do_not_mix"}, "rnn": {"rows_do_not_mix"}, "attention": {"rows_do_not_mix"}}
    # An initial value that depends on data needs the data under `jit`, too; `jnp.zeros(3)` has the default dtype; and
    # what both towers add goes away in their difference.
    skip |= {"act_norm": {"init_agrees"}, "siamese": {"params_matter"}}
    skip["rnn"] |= {"dtypes_are_sound"}
    testing.every_law(MODELS[name].transformed, MODELS[name].args, skip=skip.get(name, ()))


GPT2 = gpt2.Config(2, 2, 16, 50, 8)
EXAMPLES = {
    "gpt2": (gpt2.gpt2, (TEXT, GPT2), {"training": True}),
    "resnet": (resnet.resnet, (IMAGES, resnet.Config((2,), width=4)), {"training": False}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_models_in_examples_obey(name):
    """Transformers with dropout, convolutions with state."""
    model, args, kwargs = EXAMPLES[name]
    testing.every_law(model, args, kwargs)


@pytest.mark.parametrize("law", FAULTS)
def test_arguments_are_a_tuple(law):
    """One array alone would be taken apart into its rows."""
    with pytest.raises(errors.InvalidArgumentError, match=r"arguments as a tuple, `law\(model, \(x,\)\)`"):
        getattr(testing, law)(good, jnp.ones((4, 8)))


def test_two_rows_are_needed_to_see_if_they_mix():
    """One says nothing."""
    with pytest.raises(errors.InvalidArgumentError, match="at least two rows"):
        testing.rows_do_not_mix(good, (jnp.ones((1, 8)),))


def test_rows_that_are_alike_show_nothing():
    """A test that could not fail is refused."""
    with pytest.raises(errors.InvalidArgumentError, match="all rows are alike"):
        testing.rows_do_not_mix(lambda scope, x: x - x.mean(0, keepdims=True), (jnp.ones((4, 8)),))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mesh": MESH}, "`mesh=` needs `rules=`"),
        ({"rules": sharding.fsdp()}, "`rules=` needs `mesh=`"),
        ({"skip": "rows_do_not_mix"}, "must be a set of names"),
    ],
)
def test_no_law_is_left_out_unsaid(options, message):
    """Half of what a law needs is a mistake, and so is a name where a set of names belongs."""
    with pytest.raises(errors.InvalidArgumentError, match=message):
        testing.every_law(good, X, **options)


def test_errors_of_the_model_come_as_they_are():
    """A law is not the place to hide them."""
    with pytest.raises(KeyError, match="mine"):
        testing.every_law(lambda scope, x: {}["mine"], X)
