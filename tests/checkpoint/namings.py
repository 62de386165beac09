"""One model under the names and layouts of many libraries: what is right is told by the values."""

import itertools

import numpy as np

SIZES = {"d": 12, "h": 2, "k": 6, "f": 20, "v": 31, "p": 9, "n": 3}
"""Width, heads, width of a head, of the MLP, words, positions, layers."""

_LAYER = ["q", "k", "v", "o", "up", "down", "norm1", "norm2"]


def _transformer(seed, sizes):
    """The values, by what they are: `("q", "kernel", layer)`."""
    random = np.random.default_rng(seed)
    d, h, k, f, v, p, n = (sizes[each] for each in "dhkfvpn")
    shapes = {"tok": {"kernel": (v, d)}, "pos": {"kernel": (p, d)}, "final": {"gamma": (d,), "bias": (d,)}}
    head = {"kernel": (d, h, k), "bias": (h, k)}
    layer = {"q": head, "k": head, "v": head, "o": {"kernel": (h, k, d), "bias": (d,)}}
    layer |= {"up": {"kernel": (d, f), "bias": (f,)}, "down": {"kernel": (f, d), "bias": (d,)}}
    layer |= {"norm1": shapes["final"], "norm2": shapes["final"]}
    found = {(what, role, None): s for what, roles in shapes.items() for role, s in roles.items()}
    found |= {(what, role, i): s for i in range(n) for what, roles in layer.items() for role, s in roles.items()}
    return {key: random.random(shape, np.float32) for key, shape in found.items()}


class Naming:
    """How a library names and lays out a transformer.

    `names` are templates by what is named, with `{i}`; `roles` the last parts; `turned` matrices are `(out, in)`;
    without `heads`, heads are one axis; what is `stacked` is one array for all layers; `fused` is the name of q, k and
    v in one.
    """

    def __init__(self, names, roles, *, turned=False, heads=False, stacked=False, fused="", first=0, form="{}"):
        self.names, self.roles, self.turned, self.heads = names, roles, turned, heads
        self.stacked, self.fused, self.first, self.form = stacked, fused, first, form

    def arrays(self, values):
        """The arrays by name."""
        layers = max(key[2] for key in values if key[2] is not None) + 1
        found = {}
        for (what, role, layer), value in values.items():
            if self.fused and what in "qkv":
                if what == "q":
                    parts = [self._laid(what, role, values[each, role, layer]) for each in "qkv"]
                    axis = 0 if self.turned or role == "bias" else 1
                    found[self._name(self.fused, role, layer)] = np.concatenate(parts, axis)
                continue
            if not self.stacked or layer is None:
                found[self._name(self.names[what], role, layer)] = self._laid(what, role, value)
            elif layer == 0:
                parts = [self._laid(what, role, values[what, role, i]) for i in range(layers)]
                found[self._name(self.names[what], role, None)] = np.stack(parts)
        return found

    def _name(self, template, role, layer):
        is_embedding = template in (self.names["tok"], self.names["pos"])
        is_norm = template in (self.names["norm1"], self.names["norm2"], self.names["final"])
        kind = "table" if is_embedding else f"norm {role}" if is_norm else role
        index = "" if layer is None else self.form.format(layer + self.first)
        if self.form == "_{}" and layer == 0:
            index = ""
        return template.replace("{i}", index) + self.roles[kind]

    def _laid(self, what, role, value):
        if role == "kernel" and what in _LAYER:
            matrix = (
                value
                if self.heads
                else value.reshape(-1, value.shape[-1])
                if what == "o"
                else value.reshape(len(value), -1)
            )
            return matrix.T.copy() if self.turned else matrix
        return value if self.heads or role != "bias" else value.reshape(-1)


def _names(texts, layer):
    keys = ["tok", "pos", "final", *_LAYER]
    return {key: (layer + text if key in _LAYER else text) for key, text in zip(keys, texts.split(), strict=True)}


def _roles(table, kernel, bias, gamma, beta):
    return {"table": table, "kernel": kernel, "bias": bias, "norm gamma": gamma, "norm bias": beta}


_TORCH = _roles(".weight", ".weight", ".bias", ".weight", ".bias")
_KERAS = _roles("/embeddings", "/kernel", "/bias", "/gamma", "/beta")
_TF1 = _roles("", "/kernel", "/bias", "/gamma", "/beta")
_FLAX = _roles("/embedding", "/kernel", "/bias", "/scale", "/bias")
_HAIKU = _roles("/embeddings", "/w", "/b", "/scale", "/offset")

_OURS = (
    "token position norm attention/query attention/key attention/value attention/output mlp/up mlp/down "
    "attention_norm mlp_norm"
)
_BERT = (
    "attention{s}self{s}query attention{s}self{s}key attention{s}self{s}value attention{s}output{s}dense "
    "intermediate{s}dense output{s}dense attention{s}output{s}LayerNorm output{s}LayerNorm"
)

TUNED = {
    "ours, stacked": Naming(_names(_OURS, "layers/"), _KERAS, heads=True, stacked=True),
    "ours, unrolled": Naming(_names(_OURS, "layers/{i}/"), _KERAS, heads=True),
    "ours, flat": Naming(_names(_OURS, "layer_{i}/"), _KERAS),
    "gpt2": Naming(
        _names("wte wpe ln_f - - - attn.c_proj mlp.c_fc mlp.c_proj ln_1 ln_2", "h.{i}."),
        _TORCH,
        fused="h.{i}.attn.c_attn",
    ),
    "hugging face bert": Naming(
        _names(
            "bert.embeddings.word_embeddings bert.embeddings.position_embeddings bert.norm " + _BERT.format(s="."),
            "bert.encoder.layer.{i}.",
        ),
        _TORCH,
        turned=True,
    ),
    "torch": Naming(
        _names(
            "tok pos norm self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj "
            "linear1 linear2 norm1 norm2",
            "layers.{i}.",
        ),
        _TORCH,
        turned=True,
    ),
}
"""The vocabulary of the planner was made with these."""

OTHERS = {
    "google bert": Naming(
        _names(
            "bert/embeddings/word_embeddings bert/embeddings/position_embeddings bert/final_norm "
            + _BERT.format(s="/"),
            "bert/encoder/layer_{i}/",
        ),
        _TF1,
    ),
    "keras": Naming(
        _names(
            "token_embedding position_embedding layer_normalization multi_head_attention/query "
            "multi_head_attention/key "
            "multi_head_attention/value multi_head_attention/attention_output feedforward_intermediate_dense "
            "feedforward_output_dense self_attention_layer_norm feedforward_layer_norm",
            "transformer_decoder{i}/",
        ),
        _KERAS,
        heads=True,
        form="_{}",
    ),
    "flax": Naming(
        _names(
            "token_embed pos_embed final_layer_norm attn/query attn/key attn/value attn/out mlp/fc1 mlp/fc2 ln_1 ln_2",
            "block_{i}/",
        ),
        _FLAX,
        heads=True,
    ),
    "flax, scanned": Naming(
        _names(
            "wte wpe ln_f attention/wq attention/wk attention/wv attention/wo feed_forward/up_proj "
            "feed_forward/down_proj "
            "attention_norm ffn_norm",
            "h/",
        ),
        _FLAX,
        stacked=True,
    ),
    "haiku": Naming(
        _names(
            "embed position_embed ln_f attn/query attn/key attn/value attn/linear mlp/linear mlp/linear_1 layer_norm "
            "layer_norm_1",
            "transformer/h{i}/",
        ),
        _HAIKU,
    ),
    "fairseq": Naming(
        _names(
            "embed_tokens embed_positions layer_norm self_attn.q_proj self_attn.k_proj "
            "self_attn.v_proj self_attn.out_proj fc1 "
            "fc2 self_attn_layer_norm final_layer_norm",
            "encoder.layers.{i}.",
        ),
        _TORCH,
        turned=True,
    ),
    "timm": Naming(
        _names("tok_embed pos_embed norm - - - attn.proj mlp.fc1 mlp.fc2 norm1 norm2", "blocks.{i}."),
        _TORCH,
        turned=True,
        fused="blocks.{i}.attn.qkv",
    ),
    "distilbert": Naming(
        _names(
            "embeddings.word_embeddings embeddings.position_embeddings norm attention.q_lin "
            "attention.k_lin attention.v_lin "
            "attention.out_lin ffn.lin1 ffn.lin2 sa_layer_norm output_layer_norm",
            "transformer.layer.{i}.",
        ),
        _TORCH,
        turned=True,
    ),
    "counted from one": Naming(
        _names(
            "embedder positional ln_f mha.wq mha.wk mha.wv mha.wo ff.wi ff.wo pre_norm post_norm", "stack.layer_{i}."
        ),
        _TORCH,
        first=1,
        form="{:02}",
    ),
}
"""No word of it was changed for these, which were written after it."""


def values(seed=0, **sizes):
    """The values of a transformer."""
    return _transformer(seed, SIZES | sizes)


def convnet(seed=0):
    """A small network of convolutions and batch norms: ours, then as in PyTorch."""
    random = np.random.default_rng(seed)
    ours, torch = {}, {}
    shapes = [(3, 8), (8, 16), (16, 24)]
    for i, (n, m) in enumerate(shapes):
        kernel = random.random((3, 3, n, m), np.float32)
        ours[f"conv_{i}/kernel"], torch[f"features.conv{i + 1}.weight"] = kernel, kernel.transpose(3, 2, 0, 1).copy()
        for here, there in zip(
            ["gamma", "beta", "mean", "variance"], ["weight", "bias", "running_mean", "running_var"], strict=True
        ):
            value = random.random(m, np.float32)
            ours[f"batch_norm_{i}/{here}"], torch[f"features.bn{i + 1}.{there}"] = value, value
        torch[f"features.bn{i + 1}.num_batches_tracked"] = np.zeros((), np.int64)
    kernel = random.random((24, 10), np.float32)
    ours["head/kernel"], torch["fc.weight"] = kernel, kernel.T.copy()
    return ours, torch


def pairs(these, those=None):
    """Pairs of different namings."""
    return [(a, b) for a, b in itertools.product(these, those or these) if a != b]
