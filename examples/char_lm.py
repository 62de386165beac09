"""Trains a character transformer on Python's own help texts and lets it write, in two minutes on two cores.

The layers are one scanned block: their variables are stacked on a leading axis, each has the initial value that it
would have in a Python loop, and a model of 96 layers compiles as fast as one of 2 (`--compile-only` prints how fast).
Every block is recomputed in the backward pass (`jscope.remat`). Writing is a second function of the same params; its
cache of keys and values is an argument and a result like any other. After the default 200 steps, the loss on held-out
text is below 2.0 nats per character; the program fails if it is not. You may stop it at any moment: the next run goes
on from the last checkpoint.
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
from jscope import getters, initializers
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


def dense(scope, x_btd, features):
    """A linear map of the last axis."""
    return x_btd @ scope.get_variable("w", (x_btd.shape[-1], features), initializer=initializers.normal(0.05))


def norm(scope, x_btd):
    """Divides by the root of the mean square, in float32 whatever the model computes in."""
    scale_d = scope.get_variable("scale", x_btd.shape[-1:], initializer=initializers.ones)
    x32_btd = x_btd.astype(jnp.float32)
    return (x32_btd * jax.lax.rsqrt(jnp.mean(x32_btd**2, -1, keepdims=True) + 1e-6)).astype(x_btd.dtype) * scale_d


def dropout(scope, x_btd, rate):
    """Drops elements where the call was given a key: in training."""
    if not scope.has_rng:
        return x_btd
    return jnp.where(jax.random.bernoulli(scope.rng(), 1 - rate, x_btd.shape), x_btd / (1 - rate), 0)


def rotate(x_bthk, positions_t):
    """Turns pairs of features by angles proportional to the position, so that products depend on distances (RoPE)."""
    half = x_bthk.shape[-1] // 2
    angles_tk = positions_t[:, None] * 10000.0 ** (-jnp.arange(half) / half)
    cos_thk, sin_thk = jnp.cos(angles_tk)[:, None], jnp.sin(angles_tk)[:, None]
    a_bthk, b_bthk = jnp.split(x_bthk, 2, axis=-1)
    turned = a_bthk * cos_thk - b_bthk * sin_thk, a_bthk * sin_thk + b_bthk * cos_thk
    return jnp.concatenate(turned, -1).astype(x_bthk.dtype)


def attention(scope, x_btd, config, cache, position):
    """Looks back, also at the characters in `cache`; returns the output, and the cache with the new ones added."""
    b, t, d = x_btd.shape
    split = partial(jnp.reshape, shape=(b, t, config.heads, d // config.heads))
    q_bthk, k_bshk, v_bshk = (split(dense(scope / name, x_btd, d)) for name in ("query", "key", "value"))
    positions_t = position + jnp.arange(t)
    q_bthk, k_bshk = rotate(q_bthk, positions_t), rotate(k_bshk, positions_t)
    if cache is not None:
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=position, axis=1)
        k_bshk, v_bshk = cache = put(cache[0], k_bshk), put(cache[1], v_bshk)
    scores_bhts = jnp.einsum("bthk,bshk->bhts", q_bthk, k_bshk) * (d // config.heads) ** -0.5
    past_ts = positions_t[:, None] >= jnp.arange(k_bshk.shape[1])
    weights_bhts = jax.nn.softmax(jnp.where(past_ts, scores_bhts.astype(jnp.float32), -jnp.inf)).astype(x_btd.dtype)
    out_btd = jnp.einsum("bhts,bshk->bthk", weights_bhts, v_bshk).reshape(b, t, d)
    return dense(scope / "out", out_btd, d), cache


def block(scope, x_btd, cache, config, position):
    """Attention, then two dense layers; each of the two parts adds to its input."""
    out_btd, cache = attention(scope / "attention", norm(scope / "norm_0", x_btd), config, cache, position)
    x_btd += dropout(scope / "dropout_0", out_btd, config.dropout)
    hidden_btf = jax.nn.gelu(dense(scope / "up", norm(scope / "norm_1", x_btd), 4 * config.dim))
    return x_btd + dropout(scope / "dropout_1", dense(scope / "down", hidden_btf, config.dim), config.dropout), cache


def transformer(scope, tokens_bt, config, cache=None, position=0):
    """Returns the logits of the character after each; with a cache, `(logits, cache)`, starting at `position`."""
    scope = scope.with_defaults(custom_getter=getters.cast(config.dtype))
    table_vd = scope.get_variable("embedding", (len(CHARACTERS), config.dim), initializer=initializers.normal(0.05))
    x_btd = dropout(scope / "dropout", table_vd[tokens_bt] * config.dim**0.5, config.dropout)
    layer = jscope.remat(partial(block, config=config, position=position), prevent_cse=False)
    x_btd, cache = jscope.scan(layer, scope / "layers", x_btd, cache, length=config.layers)
    logits_btv = (norm(scope / "norm", x_btd) @ table_vd.T).astype(jnp.float32)
    return logits_btv if cache is None else (logits_btv, cache)


def generate(scope, prompt_bt, config, length, temperature=0.7):
    """Writes `length` characters: a second function of the params of `transformer`."""
    b, t = prompt_bt.shape
    empty_lbshk = jnp.zeros((config.layers, b, t + length, config.heads, config.dim // config.heads), config.dtype)

    def step(scope, carry, position):
        logits_bv, cache = carry
        token_b = jax.random.categorical(scope.rng(), logits_bv / temperature)
        # Without a key there is no dropout.
        logits_btv, cache = transformer(scope.with_rng(None), token_b[:, None], config, cache, position)
        return (logits_btv[:, 0], cache), token_b

    logits_btv, cache = transformer(scope.with_rng(None), prompt_bt, config, (empty_lbshk, empty_lbshk), 0)
    # All characters share the variables (`""` matches every path); each has its own random key.
    tokens_tb = jscope.scan(step, scope, (logits_btv[:, -1], cache), t + jnp.arange(length), shared="")[1]
    return tokens_tb.T


model = jscope.transform(transformer)


def cross_entropy(params, tokens_bt, config, key=None):
    """The mean cost of predicting each character from those before it, in nats."""
    logits_btv = model.with_rng(key).apply(params, tokens_bt[:, :-1], config)
    return optax.softmax_cross_entropy_with_integer_labels(logits_btv, tokens_bt[:, 1:]).mean()


def make_train_step(optimizer, config, key):
    """Returns the jitted `(params, optimizer_state, step, tokens) -> (params, optimizer_state, loss)`."""

    @partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, optimizer_state, step, tokens_bt):
        rng = jax.random.fold_in(key, step)
        loss, gradients = jax.value_and_grad(cross_entropy)(params, tokens_bt, config, rng)
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
    loss = jax.jit(partial(cross_entropy, config=config))
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
    init_key, dropout_key, sample_key = jax.random.split(jax.random.key(o.seed), 3)
    inputs = jax.ShapeDtypeStruct((o.batch, o.context), jnp.int32)
    specs = model.specs(inputs, config)
    optimizer = optax.adamw(optax.warmup_cosine_decay_schedule(0, 3e-3, 50, max(o.steps, 51)), mask=specs.mask("w$"))
    train_step = make_train_step(optimizer, config, dropout_key)
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
        params, optimizer_state, start = init_or_restore(checkpoints, specs, optimizer, init_key)
        pieces = islice(batches(o.seed, train_text, o.batch, o.context), start, o.steps)
        with tqdm(pieces, initial=start, total=o.steps, mininterval=0.5) as bar:
            for step, tokens_bt in enumerate(bar, start):
                params, optimizer_state, loss = train_step(params, optimizer_state, step, tokens_bt)
                checkpoints.save(step + 1, params=params, optimizer=optimizer_state, specs=specs)
                if step % 20 == 0:
                    bar.set_postfix(loss=f"{loss:.3f}")
    loss = evaluate(params, held_out, config, o.context)
    print(f"Held-out loss after {o.steps} steps: {loss:.3f} nats per character")

    write = jax.jit(jscope.transform(generate).with_rng(sample_key).apply, static_argnums=(2, 3))
    print(o.prompt + decode(np.asarray(write(params, encode(o.prompt)[None], config, o.length))[0]))
    o.out.mkdir(parents=True, exist_ok=True)
    safetensors.save(o.out / "params.safetensors", params)
    print(f"Wrote {o.out / 'params.safetensors'}")
    sys.exit(f"The loss should have been below {GOAL}." if o.steps >= STEPS and loss >= GOAL else 0)


if __name__ == "__main__":
    main()
