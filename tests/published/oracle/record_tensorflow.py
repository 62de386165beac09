"""Records what the code gives that OpenAI published with GPT-2, and Google with BERT; both are for TensorFlow 1.

    python -m venv tf && tf/bin/pip install tensorflow-cpu==2.21.* tf-keras==2.21.* tf-slim==1.1.* six
    git clone https://github.com/openai/gpt-2
    git clone https://github.com/google-research/bert
    tf/bin/python -m tests.published.oracle.record_tensorflow gpt-2 bert

Recorded with TensorFlow 2.21.0, GPT-2 at the commit 9b63575 and BERT at eedf571.
"""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np

from tests.published.cases import IDS, SEGMENTS, SIZES, VALID, drawn, save
from tests.tf1.oracle.shim import build

tf = build()
"""TensorFlow 1, with `contrib`."""


def load(folder, name):
    """Returns a module of a checkout."""
    found = {"tensorflow": tf, "tensorflow.contrib": tf.contrib, "tensorflow.contrib.training": tf.contrib.training}
    # What Google's program for training imports besides.
    found["optimization"] = types.ModuleType("optimization")
    before = {each: sys.modules.get(each) for each in found}
    sys.modules.update(found)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
        sys.modules.update({each: module for each, module in before.items() if module is not None})


def record(name, model):
    """Records what a function makes of drawn variables."""
    with tf.Graph().as_default(), tf.Session() as session:
        outputs = model()
        arrays = {v.op.name: drawn(v.op.name, tuple(v.shape.as_list())) for v in tf.global_variables()}
        for variable in tf.global_variables():
            variable.load(arrays[variable.op.name], session)
        save(name, arrays, session.run(outputs))


def gpt2(checkout):
    """The logits of `model.model`."""
    model = load(f"{checkout}/src", "model")
    sizes = {"n_vocab": SIZES["vocab"], "n_ctx": SIZES["context"], "n_embd": SIZES["dim"]}
    hparams = model.HParams(**sizes, n_head=SIZES["heads"], n_layer=SIZES["layers"])
    return lambda: {"logits": model.model(hparams, tf.constant(IDS))["logits"]}


def bert(checkout):
    """The logarithms of probabilities that `run_pretraining` makes of `modeling.BertModel`."""
    modeling, pretraining = load(checkout, "modeling"), load(checkout, "run_pretraining")
    config = modeling.BertConfig(
        vocab_size=SIZES["vocab"],
        hidden_size=SIZES["dim"],
        num_hidden_layers=SIZES["layers"],
        num_attention_heads=SIZES["heads"],
        intermediate_size=4 * SIZES["dim"],
        max_position_embeddings=SIZES["context"],
        type_vocab_size=2,
    )

    def model():
        inputs = {"input_ids": IDS, "token_type_ids": SEGMENTS, "input_mask": VALID}
        inputs = {key: tf.constant(each, tf.int32) for key, each in inputs.items()}
        made = modeling.BertModel(config=config, is_training=False, **inputs)
        everywhere = tf.constant(np.tile(np.arange(IDS.shape[1]), (len(IDS), 1)), tf.int32)
        ones, zeros = np.ones(IDS.shape, np.float32), np.zeros(len(IDS), np.int32)
        _, _, filled = pretraining.get_masked_lm_output(
            config, made.get_sequence_output(), made.get_embedding_table(), everywhere, IDS, ones
        )
        _, _, follows = pretraining.get_next_sentence_output(config, made.get_pooled_output(), zeros)
        return {"filled": tf.reshape(filled, (*IDS.shape, -1)), "follows": follows}

    return model


def main(openai, google):
    """Writes both records."""
    record("gpt2_openai", gpt2(openai))
    record("bert_google", bert(google))


if __name__ == "__main__":
    main(*sys.argv[1:])
