"""Published models in small: which table reads which model, and what the model is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax

import jscope
from examples.models import bert, gpt2, llama, resnet, vit
from examples.models.tables import bert as bert_tables
from examples.models.tables import gpt2 as gpt2_tables
from examples.models.tables import llama as llama_tables
from examples.models.tables import resnet as resnet_tables
from examples.models.tables import vit as vit_tables
from tests.published.cases import CLASSES, GROUPED, IDS, IMAGE_SIZES, IMAGES, PHOTOS, SEGMENTS, SIZES, STAGES, VALID

BERT_ARGS = (IDS, SEGMENTS, VALID.astype(bool))


class Published(NamedTuple):
    """One of ours that is to compute what theirs does.

    `outputs` are names of theirs, in the order of ours; `tied` are names that a file may lack.
    """

    table: Any
    model: Callable[..., Any]
    config: Any
    args: tuple[Any, ...]
    outputs: tuple[str, ...] = ("logits",)
    tied: tuple[str, ...] = ()

    def specs(self):
        return jscope.transform_with_state(self.model).specs(*self.args, self.config)

    def run(self, values):
        """What ours makes of params and state in one."""
        specs = self.specs()
        flat = jscope.tree.flatten(values)
        params, state = (jscope.tree.unflatten({k: flat[k] for k in each}) for each in (specs.params, specs.state))
        model = jscope.transform_with_state(self.model)
        out, _ = jax.jit(model.apply, static_argnums=2 + len(self.args))(params, state, *self.args, self.config)
        return dict(zip(self.outputs, jax.tree.leaves(out), strict=True))


def google(scope, *args):
    """Google's program gives logarithms of probabilities."""
    return jax.tree.map(jax.nn.log_softmax, bert.pretraining(scope, *args))


SMALL = gpt2.Config(**SIZES)
SMALL_BERT = bert.Config(**SIZES)
SMALL_LLAMA = llama.Config(**GROUPED)
SMALL_VIT = vit.Config(**IMAGE_SIZES)
LM = ("lm_head.weight",)
DECODER = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")
run_resnet = partial(resnet.resnet, training=False)
PHOTO = (PHOTOS,)

PUBLISHED = {
    "gpt2": Published(gpt2_tables.hugging_face, gpt2.gpt2, SMALL, (IDS,), tied=LM),
    "gpt2_openai": Published(gpt2_tables.openai, gpt2.gpt2, SMALL, (IDS,)),
    "bert": Published(
        bert_tables.hugging_face,
        bert.pretraining,
        SMALL_BERT,
        BERT_ARGS,
        ("prediction_logits", "seq_relationship_logits"),
        DECODER,
    ),
    "bert_encoder": Published(
        partial(bert_tables.hugging_face, prefix=""),
        bert.bert,
        SMALL_BERT,
        BERT_ARGS,
        ("last_hidden_state", "pooler_output"),
    ),
    "bert_google": Published(
        bert_tables.google, google, replace(SMALL_BERT, approximate=True), BERT_ARGS, ("filled", "follows")
    ),
    "llama": Published(llama_tables.hugging_face, llama.llama, SMALL_LLAMA, (IDS,)),
    "llama_fused": Published(partial(llama_tables.hugging_face, fused=True), llama.llama, SMALL_LLAMA, (IDS,)),
    "llama_meta": Published(llama_tables.meta, llama.llama, replace(SMALL_LLAMA, hidden=48), (IDS,)),
    "llama_tied": Published(
        llama_tables.hugging_face,
        llama.llama,
        replace(SMALL_LLAMA, tied=True, head_dim=6, base=500.0),
        (IDS,),
        tied=LM,
    ),
    "mistral": Published(llama_tables.hugging_face, llama.llama, replace(SMALL_LLAMA, window=3), (IDS,)),
    "vit": Published(vit_tables.hugging_face, vit.vit, replace(SMALL_VIT, epsilon=1e-12), (IMAGES,)),
    "vit_torchvision": Published(vit_tables.torchvision, vit.vit, SMALL_VIT, (IMAGES,)),
    "resnet18": Published(
        resnet_tables.torchvision, run_resnet, resnet.Config(STAGES, bottleneck=False, classes=CLASSES), PHOTO
    ),
    "resnet50": Published(resnet_tables.torchvision, run_resnet, resnet.Config(classes=CLASSES), PHOTO),
    "resnet50_keras": Published(
        resnet_tables.keras, run_resnet, replace(resnet.PUBLISHED["ResNet-50, Keras"], classes=CLASSES), PHOTO
    ),
}

QUICK = [name for name in PUBLISHED if name not in ("resnet18", "resnet50")]
"""The others have some hundred megabytes, and rules like those of Keras's."""
