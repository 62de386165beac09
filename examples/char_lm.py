"""Trains a character transformer on Python's own help texts and lets it write, in two minutes on two cores.

The layers are those of `jscope.nn`, but for one that is written here. They are one scanned block: their variables are
stacked on a leading axis, each has the initial value that it would have in a Python loop, and a model of 96 layers
compiles as fast as one of 2 (`--compile-only` prints how fast). Every block is recomputed in the backward pass
(`jscope.remat`). Writing is a second function of the same params; its cache of keys and values is an argument and a
result like any other. After the default 200 steps, the loss on held-out text is below 2.0 nats per character; the
program fails if it is not. You may stop it at any moment: the next run goes on from the last checkpoint.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import jscope
from jscope import getters, initializers, nn
from jscope.checkpoint import Checkpointer, safetensors

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
STEPS, GOAL = 200, 2.0
"""After this many steps, the held-out loss must be below this."""


@dataclass(frozen=True)
class Config:
    """The sizes of a model."""

    layers: int = 4
    dim: int = 128
    heads: int = 4
    dropout: float = 0.1
    dtype: str = "float32"


def feed_forward(scope, x_btd, config):
    """A layer is a function of a scope; this one has a square after its ReLU (So et al., 2021)."""
    hidden_btf = nn.dense(scope / "hidden", x_btd, 4 * config.dim, use_bias=False, axes=("embed", "mlp"))
    return nn.dense(scope / "out", jax.nn.relu(hidden_btf) ** 2, config.dim, use_bias=False, axes=("mlp", "embed"))


def block(scope, x_btd, cache, config):
    """One layer, which looks back, also at the characters in `cache`; returns the cache with the new ones added."""
    options = {"norm": nn.rms_norm, "causal": True, "rotary": nn.rotary, "use_bias": False, "cache": cache}
    options |= {"dropout": config.dropout, "training": scope.has_rng}  # A call has a key in training, only there.
    out = nn.transformer_block(scope, x_btd, config.heads, partial(feed_forward, config=config), **options)
    return (out, None) if cache is None else out


def transformer(scope, tokens_bt, config, caches=None):
    """Returns the logits of the character after each; with caches, one for each layer, `(logits, caches)`."""
    scope = scope.with_defaults(initializer=initializers.normal(0.05), custom_getter=getters.cast(config.dtype))
    x_btd = nn.embedding(scope / "embedding", tokens_bt, len(CHARACTERS), config.dim) * config.dim**0.5
    x_btd = nn.dropout(scope / "dropout", x_btd, config.dropout, training=scope.has_rng)
    layer = jscope.remat(partial(block, config=config), prevent_cse=False)
    x_btd, caches = jscope.scan(layer, scope / "layers", x_btd, caches, length=config.layers)
    logits_btv = nn.unembed(scope / "embedding", nn.rms_norm(scope / "norm", x_btd), len(CHARACTERS))
    logits_btv = logits_btv.astype(jnp.float32)
    return logits_btv if caches is None else (logits_btv, caches)


def empty_caches(config, batch, size):
    """Returns caches for `size` characters, stacked by layer."""
    cache = nn.KVCache.zeros(batch, size, config.heads, config.dim // config.heads, dtype=config.dtype)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (config.layers, *leaf.shape)), cache)


def generate(scope, prompt_bt, config, length, temperature=0.7):
    """Writes `length` characters: a second function of the params of `transformer`."""

    def step(scope, carry, _):
        logits_bv, caches = carry
        token_b = jax.random.categorical(scope.rng(), logits_bv / temperature)
        logits_btv, caches = transformer(scope.with_rng(None), token_b[:, None], config, caches)
        return (logits_btv[:, 0], caches), token_b

    caches = empty_caches(config, len(prompt_bt), prompt_bt.shape[1] + length)
    logits_btv, caches = transformer(scope.with_rng(None), prompt_bt, config, caches)
    # All characters share the variables (`""` matches every path); each has its own random key.
    return jscope.scan(step, scope, (logits_btv[:, -1], caches), length=length, shared="")[1].T


model = jscope.transform(transformer)


def cross_entropy(model, params, tokens_bt, config, key=None):
    """The mean cost of predicting each character from those before it, in nats."""
    logits_btv = model.with_rng(key).apply(params, tokens_bt[:, :-1], config)
    return optax.softmax_cross_entropy_with_integer_labels(logits_btv, tokens_bt[:, 1:]).mean()


def make_train_step(model, optimizer, config, seed, shardings=None):
    """Returns the jitted `(params, optimizer_state, step, tokens) -> (params, optimizer_state, loss)`."""

    @partial(jax.jit, donate_argnums=(0, 1), out_shardings=shardings)
    def train_step(params, optimizer_state, step, tokens_bt):
        key = jax.random.fold_in(jax.random.key(seed), step)
        loss, gradients = jax.value_and_grad(partial(cross_entropy, model))(params, tokens_bt, config, key)
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, params)
        return optax.apply_updates(params, updates), optimizer_state, loss

    return train_step


def init_or_restore(checkpoints, specs, optimizer, key):
    """Returns params, optimizer state and the number of steps taken: from the last checkpoint, if there is one."""
    params = specs.materialize(key)
    wanted = {"params": params, "optimizer": optimizer.init(params)}
    step = checkpoints.latest_step()
    return (*(wanted if step is None else checkpoints.restore(step, **wanted)).values(), step or 0)


def load_text():
    """Returns the text for training and the held-out text, which is every tenth of the topics that `help()` knows."""
    names = sorted(topics)
    held_out = names[5::10]
    return encode("".join(topics[n] for n in names if n not in held_out)), encode("".join(topics[n] for n in held_out))


def encode(text):
    """Returns the numbers of the characters; any that is not in `CHARACTERS` becomes a question mark."""
    return np.asarray(
        [max(CHARACTERS.find(c), 0) if c in CHARACTERS else CHARACTERS.index("?") for c in text], np.int32
    )


def decode(tokens):
    """Returns the text of these numbers."""
    return "".join(CHARACTERS[token] for token in tokens)


def batches(seed, tokens, batch, context):
    """Yields random pieces of the text, forever, each with one more character than the model sees."""
    generator = np.random.default_rng(seed)
    while True:
        starts_b = generator.integers(0, len(tokens) - context, batch)
        yield tokens[starts_b[:, None] + np.arange(context + 1)]


def evaluate(params, tokens, config, context):
    """Returns the loss on held-out text, which is cut into pieces of one size."""
    pieces_nbt = tokens[: len(tokens) // (16 * context + 16) * (16 * context + 16)].reshape(-1, 16, context + 1)
    loss = jax.jit(partial(cross_entropy, model, config=config))
    return float(np.mean([loss(params, piece_bt) for piece_bt in pieces_nbt[:16]]))


def options():
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description="Trains a character transformer on Python's help texts.")
    add = partial(parser.add_argument, type=int, help="(default: %(default)s)")
    add("--layers", default=4)
    add("--dim", default=128)
    add("--heads", default=4)
    add("--steps", default=STEPS)
    add("--batch", default=16)
    add("--context", default=128)
    add("--seed", default=0)
    add("--length", default=400, help="characters to write (default: %(default)s)")
    add("--prompt", type=str, default="The ")
    add("--out", type=Path, default=Path("build/char_lm"))
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16 (params stay float32)")
    parser.add_argument(
        "--compile-only", action="store_true", help="print how long compiling the first step takes, and stop"
    )
    return parser.parse_args()


def main():
    """Trains, evaluates, writes a text, and saves the params."""
    o = options()
    config = Config(o.layers, o.dim, o.heads, dtype="bfloat16" if o.bf16 else "float32")
    key = jax.random.key(o.seed)
    inputs = jax.ShapeDtypeStruct((o.batch, o.context), jnp.int32)
    specs = model.specs(inputs, config)
    optimizer = optax.adamw(
        optax.warmup_cosine_decay_schedule(0, 3e-3, 50, max(o.steps, 51)), mask=specs.mask("kernel$")
    )
    train_step = make_train_step(model, optimizer, config, o.seed)
    if o.compile_only:
        abstract = specs.shape_dtype()
        piece = jax.ShapeDtypeStruct((o.batch, o.context + 1), jnp.int32)
        start = time.perf_counter()
        train_step.lower(abstract, jax.eval_shape(optimizer.init, abstract), 0, piece).compile()
        print(f"{o.layers} layers: the first step compiles in {time.perf_counter() - start:.2f} s")
        return

    print(specs)
    train_text, held_out = load_text()
    with Checkpointer(o.out / "steps", keep=2, every=50) as checkpoints:
        params, optimizer_state, start = init_or_restore(checkpoints, specs, optimizer, key)
        pieces = islice(batches(o.seed, train_text, o.batch, o.context), start, o.steps)
        with tqdm(pieces, initial=start, total=o.steps, mininterval=0.5) as bar:
            for step, tokens_bt in enumerate(bar, start):
                params, optimizer_state, loss = train_step(params, optimizer_state, step, tokens_bt)
                checkpoints.save(step + 1, params=params, optimizer=optimizer_state, specs=specs)
                if step % 20 == 0:
                    bar.set_postfix(loss=f"{loss:.3f}")
    loss = evaluate(params, held_out, config, o.context)
    print(f"Held-out loss after {o.steps} steps: {loss:.3f} nats per character")

    write = jax.jit(jscope.transform(generate).with_rng(key).apply, static_argnums=(2, 3))
    print(o.prompt + decode(np.asarray(write(params, encode(o.prompt)[None], config, o.length))[0]))
    o.out.mkdir(parents=True, exist_ok=True)
    safetensors.save(o.out / "params.safetensors", params)
    print(f"Wrote {o.out / 'params.safetensors'}")
    sys.exit(f"The loss should have been below {GOAL}." if o.steps >= STEPS and loss >= GOAL else 0)


if __name__ == "__main__":
    main()
