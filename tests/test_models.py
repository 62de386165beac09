"""The models in `examples/models`: as large as those published, trainable, and the same in whatever way they run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from examples.models import bert, gpt2, llama, lstm_lm, resnet, unet, vit
from tests.crossed import mostly_slow
from tests.nn.filled import filled
from tests.nn.sequence_cases import numbers

IDS = jnp.asarray([[1, 5, 2, 7, 3, 3], [0, 9, 9, 4, 8, 6]])
IMAGES = jnp.asarray(numbers("images", (2, 8, 8, 3)))
ids, images = jax.ShapeDtypeStruct((1, 4), jnp.int32), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
valid, gray = jax.ShapeDtypeStruct((1, 4), bool), jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)

# Where each number is published. Keras Hub has one beside each of its presets, `keras_hub/src/models/*/*_presets.py`.
PUBLISHED = {
    "GPT-2": (124_439_808, gpt2.gpt2, (ids,), gpt2.Config()),  # Keras Hub, `gpt2_base_en`
    "GPT-2 medium": (354_823_168, gpt2.gpt2, (ids,), gpt2.PUBLISHED["GPT-2 medium"]),  # `gpt2_medium_en`
    "GPT-2 large": (774_030_080, gpt2.gpt2, (ids,), gpt2.PUBLISHED["GPT-2 large"]),  # `gpt2_large_en`
    "GPT-2 XL": (1_557_611_200, gpt2.gpt2, (ids,), gpt2.PUBLISHED["GPT-2 XL"]),  # `gpt2_extra_large_en`
    "Llama 2 7B": (6_738_415_616, llama.llama, (ids,), llama.PUBLISHED["Llama 2 7B"]),  # Keras Hub, `llama2_7b_en`
    "Llama 3 8B": (8_030_261_248, llama.llama, (ids,), llama.PUBLISHED["Llama 3 8B"]),  # Keras Hub, `llama3_8b_en`
    "Mistral 7B": (7_241_732_096, llama.llama, (ids,), llama.PUBLISHED["Mistral 7B"]),  # Keras Hub, `mistral_7b_en`
    "BERT base": (109_482_240, bert.bert, (ids, ids, valid), bert.Config()),  # Keras Hub, `bert_base_en_uncased`
    "BERT large": (335_141_888, bert.bert, (ids, ids, valid), bert.PUBLISHED["BERT large"]),  # `bert_large_en_uncased`
    # The header of `bert-base-uncased` on Hugging Face: `parse-safetensors-metadata.spec.ts` of huggingface.js.
    "BERT base, for pretraining": (110_106_428, bert.pretraining, (ids, ids, valid), bert.Config()),
    "ViT-B/16": (86_567_656, vit.vit, (images,), vit.Config()),  # torchvision, `ViT_B_16_Weights`, `num_params`
    # The paper gives sizes: 10000 words and 1500 units make 2 * 10000 * 1500 + 10000 for both tables, and two layers
    # of four gates 2 * 4 * 1500 * (2 * 1500 + 1).
    "LSTM, large": (66_022_000, lstm_lm.language_model, (ids, (jnp.zeros((2, 1, 1500)),) * 2), lstm_lm.Config()),
    # torchvision, `ResNet50_Weights`, `num_params`; and `keras.applications.ResNet50`, but for biases of convolutions.
    "ResNet-50": (25_557_032, partial(resnet.resnet, training=False), (images,), resnet.Config()),
    # All that `keras.applications.ResNet50().trainable_weights` has.
    "ResNet-50, Keras": (
        25_583_592,
        partial(resnet.resnet, training=False),
        (images,),
        resnet.PUBLISHED["ResNet-50, Keras"],
    ),
    # The paper gives none; summaries that people print have this one, with padding, gray images and one class.
    "U-Net": (31_030_593, unet.unet, (gray,), unet.Config()),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_models_are_as_large_as_those_published(name):
    """Counted in specs: nothing is computed."""
    size, model, args, config = PUBLISHED[name]
    specs = jscope.transform_with_state(model).specs(*args, config)
    assert jscope.tree.size(specs.params.shape_dtype()) == size


class Tiny(NamedTuple):
    """A model in a size for tests."""

    function: Any
    config: Any
    args: tuple[Any, ...]
    repeated: tuple[str, ...] = ("layers",)

    def model(self, **changes):
        config = replace(self.config, **changes)
        return jscope.transform_with_state(lambda scope, *args: self.function(scope, *args, config))


TINY = {
    "gpt2": Tiny(gpt2.gpt2, gpt2.Config(2, 2, 8, 11, 6), (IDS,)),
    "llama": Tiny(llama.llama, llama.Config(2, 8, 4, 2, 12, 11), (IDS,)),
    "bert": Tiny(bert.pretraining, bert.Config(2, 2, 8, 11, 6), (IDS, IDS % 2, IDS > 0)),
    "vit": Tiny(vit.vit, vit.Config(2, 2, 8, 4, 5), (IMAGES,)),
    "lstm": Tiny(lstm_lm.language_model, lstm_lm.Config(6, vocab=11), (IDS, (jnp.zeros((2, 2, 6)),) * 2)),
    "resnet": Tiny(
        partial(resnet.resnet, training=True),
        resnet.Config((3,), 2, classes=5),
        (IMAGES,),
        ("stage_0/blocks",),
    ),
    "unet": Tiny(unet.unet, unet.Config(2, 2), (IMAGES,), ()),
}


def loss(out):
    """Cross-entropy of the logits, which come first, for classes by turns."""
    logits = jax.tree.leaves(out)[0]
    logits = logits.reshape(-1, logits.shape[-1])
    logits = jnp.concatenate([logits, jnp.zeros_like(logits[:, :1])], axis=-1)
    return -jax.nn.log_softmax(logits)[jnp.arange(len(logits)), jnp.arange(len(logits)) % logits.shape[-1]].mean()


@pytest.mark.parametrize("name", mostly_slow(TINY, "llama"))
def test_a_step_of_training_lowers_the_loss_scanned_or_unrolled(name):
    """Both have the same values, and unstacking takes the variables of the one to the other."""
    tiny = TINY[name]
    model = tiny.model()
    unrolled = tiny.model(scanned=False) if tiny.repeated else model

    specs = model.specs(*tiny.args)
    params, state = filled(specs.params), filled(specs.state)

    @jax.jit
    def run(params, state, *args):
        def step(params, _):
            value, gradients = jax.value_and_grad(lambda params: loss(model.apply(params, state, *args)[0]))(params)
            return jax.tree.map(lambda param, gradient: param - 0.01 * gradient, params, gradients), value

        separate = [params, state]
        for path in tiny.repeated:
            separate = [jscope.tree.unstack(tree, at=path) if tree else tree for tree in separate]
        return jax.lax.scan(step, params, length=2)[1], loss(unrolled.apply(*separate, *args)[0])

    (before, after), again = run(params, state, *tiny.args)
    assert after < before
    np.testing.assert_allclose(again, before, rtol=1e-5)


CACHED = {
    "gpt2": (gpt2.gpt2, gpt2.generate, TINY["gpt2"].config),
    "mistral": (llama.llama, llama.generate, replace(TINY["llama"].config, window=3)),
}


@pytest.mark.parametrize("name", mostly_slow(CACHED, "mistral"))
def test_generation_with_a_cache_is_generation_without(name):
    """Each token that was written is the most likely one after those before it."""
    function, generate, config = CACHED[name]
    # Biases of norms are the same for all tokens, and would decide alone.
    params = filled(jscope.specs(function, IDS, config), 2.0)
    params = jscope.tree.map_with_path(lambda path, leaf: 0 * leaf if path.endswith("beta") else leaf, params)
    start = IDS[:, :3]
    written = jax.jit(lambda params, ids: generate(params, ids, config, 3))(params, start)
    ids = jnp.concatenate([start, written], axis=1)
    logits = jax.jit(lambda params, ids: jscope.apply(function, params, ids, config))(params, ids)
    np.testing.assert_array_equal(written, logits[:, 2:5].argmax(-1))
    assert len(np.unique(written)) > 1


def test_a_recurrent_model_goes_on_where_it_stopped():
    """Piece by piece it computes what it computes at once."""
    config, (ids, nothing) = TINY["lstm"].config, TINY["lstm"].args

    params = filled(jscope.specs(lstm_lm.language_model, ids, nothing, config))

    @jax.jit
    def run(params, ids, nothing):
        apply = partial(jscope.apply, lstm_lm.language_model, params)
        first, carries = apply(ids[:, :2], nothing, config)
        return apply(ids, nothing, config)[0], jnp.concatenate([first, apply(ids[:, 2:], carries, config)[0]], 1)

    at_once, by_pieces = run(params, ids, nothing)
    np.testing.assert_allclose(by_pieces, at_once, atol=1e-6)


def test_models_are_short():
    """Under 120 lines each."""
    for path in (Path(__file__).parents[1] / "examples/models").rglob("*.py"):
        assert len(path.read_text("utf8").splitlines()) < 120, path.name
