"""One transformer in the manner of many libraries and models: the words of the planner were not made with them.

Names of layers and arrays are theirs; what they have beside is left out, and what differs between models, such as
positions, is as in ours. What the planner failed at in `SEEN` was mended, in what it does; of words only `hidden` came
in, which is ours. `LATER` was written down after that; of it only the 2 in `wav2vec2` was mended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIZES = {"d": 12, "h": 4, "k": 3, "f": 20, "v": 31, "p": 9, "n": 3, "g": 2}
"""Width, heads, width of a head, of the MLP, words, positions, layers, heads of keys where queries are grouped."""
OTHER_SIZES = {"d": 16, "h": 2, "k": 8, "f": 24, "v": 29, "p": 7, "n": 4, "g": 1}

_TOP = ("tok", "pos", "norm", "head")
_GPT = ("q", "k", "v", "o", "up", "down", "norm1", "norm2", "tok", "pos", "norm")
_LLAMA = ("q", "k", "v", "o", "gate", "up", "down", "norm1", "norm2", "tok", "norm", "head")

_TORCH = {"kernel": ".weight", "table": ".weight", "gamma": ".weight", "bias": ".bias", "beta": ".bias"}
_FLAX = {"kernel": "/kernel", "table": "/embedding", "gamma": "/scale", "bias": "/bias", "beta": "/bias"}
_KERAS = {"kernel": "/kernel", "table": "/embeddings", "gamma": "/gamma", "bias": "/bias", "beta": "/beta"}
_HAIKU = {"kernel": "/w", "table": "/embeddings", "gamma": "/scale", "bias": "/b", "beta": "/offset"}
_BARE = dict.fromkeys(_TORCH, "")


def values(is_gated, seed=0, sizes=None):
    """The values, by what they are: those of GPT, or with gates, grouped queries, and without biases."""
    d, h, k, f, v, p, n, g = ((sizes or SIZES)[each] for each in "dhkfvpng")
    random = np.random.default_rng(seed)
    shapes = {("tok", "table", None): (v, d), ("norm", "gamma", None): (d,)}
    if is_gated:
        shapes["head", "kernel", None] = (d, v)
    else:
        shapes |= {("pos", "table", None): (p, d), ("norm", "beta", None): (d,)}
    for i in range(n):
        heads = {"q": h, "k": g if is_gated else h, "v": g if is_gated else h}
        shapes |= {(part, "kernel", i): (d, m, k) for part, m in heads.items()}
        shapes |= {("o", "kernel", i): (h, k, d), ("up", "kernel", i): (d, f), ("down", "kernel", i): (f, d)}
        shapes |= {(norm, "gamma", i): (d,) for norm in ("norm1", "norm2")}
        if is_gated:
            shapes["gate", "kernel", i] = (d, f)
        else:
            shapes |= {(part, "bias", i): (m, k) for part, m in heads.items()}
            shapes |= {("o", "bias", i): (d,), ("up", "bias", i): (f,), ("down", "bias", i): (d,)}
            shapes |= {(norm, "beta", i): (d,) for norm in ("norm1", "norm2")}
    return {key: random.random(shape, np.float32) for key, shape in shapes.items()}


@dataclass(frozen=True)
class Stranger:
    """How somebody names and lays out a transformer.

    `layer` stands before the names of a layer, with `{i}`, and the roles of `ends` after all. Names are in the order of
    `_GPT` or `_LLAMA`: `-` is not there, or a part of what is `fused`; what ends in `!` has no role after it. Matrices
    that are `turned` are `(out, in)`; layers are stacked along the axis `stacked`; `by_head` are queries, keys and
    values of one head beside each other.
    """

    layer: str
    text: str
    ends: dict
    turned: bool = False
    heads: bool = False
    stacked: int | None = None
    fused: str = ""
    gate_up: str = ""
    by_head: bool = False

    @property
    def is_gated(self):
        return len(self.text.split()) == len(_LLAMA)

    @property
    def names(self):
        return dict(zip(_LLAMA if self.is_gated else _GPT, self.text.split(), strict=True))

    def arrays(self, found):
        """The arrays by name."""
        made, layers = {}, max(key[2] for key in found if key[2] is not None) + 1
        for (what, role, i), value in found.items():
            parts = ("q", "k", "v") if what in ("q", "k", "v") else ("gate", "up") if what in ("gate", "up") else ()
            together = self.fused if "q" in parts else self.gate_up if parts else ""
            if together:
                if what == parts[0]:
                    made[self._name(together, role, i)] = self._together([(p, found[p, role, i]) for p in parts], role)
            elif self.names[what] != "-" and (self.stacked is None or i is None):
                made[self._name(self.names[what], role, i, what)] = self._laid(what, role, value)
            elif self.names[what] != "-" and i == 0:
                every = [self._laid(what, role, found[what, role, n]) for n in range(layers)]
                made[self._name(self.names[what], role, None, what)] = np.stack(every, self.stacked)
        return made

    def _name(self, name, role, i, what=""):
        end = "" if name.endswith("!") else self.ends[role]
        layer = "" if what in _TOP else self.layer.replace("{i}", str(i))
        return layer + name.removesuffix("!").replace("{role}", role.replace("kernel", "weight")) + end

    def _laid(self, what, role, value):
        if what in ("q", "k", "v") and not self.heads:
            value = value.reshape((len(value), -1) if role == "kernel" else -1)
        if what == "o" and role == "kernel" and not self.heads:
            value = value.reshape(-1, value.shape[-1])
        return value.T.copy() if self.turned and role == "kernel" else value

    def _together(self, parts, role):
        if self.by_head:
            whole = np.stack([value for _, value in parts], -2)
            whole = whole.reshape((len(whole), -1) if role == "kernel" else -1)
            return whole.T.copy() if self.turned and role == "kernel" else whole
        return np.concatenate([self._laid(what, role, value) for what, value in parts], 0 if self.turned else -1)


def torch(layer, text, **options):
    return Stranger(layer, text, _TORCH, turned=True, **options)


_NN = "attention/query attention/key attention/value attention/attention_output"
_NN_GPT = f"{_NN} mlp/hidden mlp/out attention_norm mlp_norm embedding positions norm"
_NN_LLAMA = f"{_NN} mlp/gate mlp/hidden mlp/out attention_norm mlp_norm embedding norm logits"
_NN_ENDS = _KERAS | {"gamma": "/scale"}

OURS = {
    "gpt": Stranger("layers/{i}/", _NN_GPT, _KERAS, heads=True),
    "gpt, stacked": Stranger("layers/", _NN_GPT, _KERAS, heads=True, stacked=0),
    "llama": Stranger("layers/{i}/", _NN_LLAMA, _NN_ENDS, heads=True),
    "llama, stacked": Stranger("layers/", _NN_LLAMA, _NN_ENDS, heads=True, stacked=0),
}
"""As models of `jscope.nn` have them."""

SEEN = {
    "whisper": torch(
        "blocks.{i}.",
        "attn.query attn.key attn.value attn.out mlp.0 mlp.2 attn_ln mlp_ln token_embedding positional_embedding! ln",
    ),
    "torchvision": torch(
        "encoder.layers.encoder_layer_{i}.",
        "- - - self_attention.out_proj mlp.0 mlp.3 ln_1 ln_2 tok_embedding - encoder.ln",
        fused="self_attention.in_proj_{role}!",
    ),
    "megatron": torch(
        "language_model.encoder.layers.{i}.",
        "- - - self_attention.dense mlp.dense_h_to_4h mlp.dense_4h_to_h input_layernorm "
        "post_attention_layernorm language_model.embedding.word_embeddings "
        "language_model.embedding.position_embeddings language_model.encoder.final_layernorm",
        fused="self_attention.query_key_value",
        by_head=True,
    ),
    "neox": torch(
        "gpt_neox.layers.{i}.",
        "- - - attention.dense mlp.dense_h_to_4h mlp.dense_4h_to_h input_layernorm "
        "post_attention_layernorm gpt_neox.embed_in - gpt_neox.final_layer_norm",
        fused="attention.query_key_value",
        by_head=True,
    ),
    "mpt": torch(
        "transformer.blocks.{i}.",
        "- - - attn.out_proj ffn.up_proj ffn.down_proj norm_1 norm_2 transformer.wte transformer.wpe "
        "transformer.norm_f",
        fused="attn.Wqkv",
    ),
    "opt": torch(
        "model.decoder.layers.{i}.",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj fc1 fc2 "
        "self_attn_layer_norm final_layer_norm model.decoder.embed_tokens model.decoder.embed_positions "
        "model.decoder.final_layer_norm",
    ),
    "clip": torch(
        "transformer.resblocks.{i}.",
        "- - - attn.out_proj mlp.c_fc mlp.c_proj ln_1 ln_2 token_embedding positional_embedding! ln_final",
        fused="attn.in_proj_{role}!",
    ),
    "big_vision": Stranger(
        "Transformer/encoderblock_{i}/",
        "MultiHeadDotProductAttention_0/query MultiHeadDotProductAttention_0/key "
        "MultiHeadDotProductAttention_0/value MultiHeadDotProductAttention_0/out MlpBlock_0/Dense_0 "
        "MlpBlock_0/Dense_1 LayerNorm_0 LayerNorm_1 Embed_0 pos_embedding! Transformer/encoder_norm",
        _FLAX,
        heads=True,
    ),
    "keras hub": Stranger(
        "transformer_layer_{i}/",
        "_self_attention_layer/_query_dense _self_attention_layer/_key_dense "
        "_self_attention_layer/_value_dense _self_attention_layer/_output_dense "
        "_feedforward_intermediate_dense _feedforward_output_dense _self_attention_layer_norm "
        "_feedforward_layer_norm token_and_position_embedding/token_embedding "
        "token_and_position_embedding/position_embedding layer_norm",
        _KERAS,
        heads=True,
    ),
    "gpt-j": torch(
        "transformer.h.{i}.",
        "attn.q_proj attn.k_proj attn.v_proj attn.out_proj mlp.fc_in mlp.fc_out ln_1 ln_2 transformer.wte "
        "- transformer.ln_f",
    ),
    "roberta fairseq": torch(
        "encoder.sentence_encoder.layers.{i}.",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj fc1 fc2 "
        "self_attn_layer_norm final_layer_norm encoder.sentence_encoder.embed_tokens "
        "encoder.sentence_encoder.embed_positions encoder.sentence_encoder.layernorm_embedding",
    ),
    "gguf": torch(
        "blk.{i}.",
        "attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down attn_norm ffn_norm token_embd output_norm output",
    ),
    "hf llama": torch(
        "model.layers.{i}.",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj mlp.up_proj "
        "mlp.down_proj input_layernorm post_attention_layernorm model.embed_tokens model.norm lm_head",
    ),
    "phi3": torch(
        "model.layers.{i}.",
        "- - - self_attn.o_proj - - mlp.down_proj input_layernorm post_attention_layernorm "
        "model.embed_tokens model.norm lm_head",
        fused="self_attn.qkv_proj",
        gate_up="mlp.gate_up_proj",
    ),
    "maxtext": Stranger(
        "params/decoder/layers/",
        "self_attention/query self_attention/key self_attention/value self_attention/out mlp/wi_0 "
        "mlp/wi_1 mlp/wo pre_self_attention_layer_norm post_self_attention_layer_norm "
        "params/token_embedder params/decoder/decoder_norm params/decoder/logits_dense",
        _FLAX,
        heads=True,
        stacked=1,
    ),
    "t5x": Stranger(
        "target/encoder/layers_{i}/",
        "attention/query attention/key attention/value attention/out mlp/wi_0 mlp/wi_1 mlp/wo "
        "pre_attention_layer_norm pre_mlp_layer_norm target/token_embedder target/encoder/encoder_norm "
        "target/decoder/logits_dense",
        _FLAX,
    ),
    "t5 hf": torch(
        "encoder.block.{i}.",
        "layer.0.SelfAttention.q layer.0.SelfAttention.k layer.0.SelfAttention.v layer.0.SelfAttention.o "
        "layer.1.DenseReluDense.wi_0 layer.1.DenseReluDense.wi_1 layer.1.DenseReluDense.wo "
        "layer.0.layer_norm layer.1.layer_norm shared encoder.final_layer_norm lm_head",
    ),
    "easylm": Stranger(
        "transformer/h/{i}/",
        "attention/wq attention/wk attention/wv attention/wo feed_forward/w1 feed_forward/w3 "
        "feed_forward/w2 attention_norm ffn_norm transformer/wte transformer/ln_f lm_head",
        _FLAX | {"gamma": "/kernel"},
    ),
    "mistral native": torch(
        "layers.{i}.",
        "attention.wq attention.wk attention.wv attention.wo feed_forward.w1 feed_forward.w3 "
        "feed_forward.w2 attention_norm ffn_norm tok_embeddings norm output",
    ),
    "internlm2": torch(
        "model.layers.{i}.",
        "attention.q attention.k attention.v attention.wo feed_forward.w1 feed_forward.w3 feed_forward.w2 "
        "attention_norm ffn_norm model.tok_embeddings model.norm output",
    ),
    "olmo": torch(
        "model.transformer.blocks.{i}.",
        "q_proj k_proj v_proj attn_out ff_gate ff_up ff_out attn_norm ff_norm model.transformer.wte "
        "model.transformer.ln_f model.transformer.ff_out",
    ),
}

LATER = {
    "mingpt": torch(
        "blocks.{i}.", "attn.query attn.key attn.value attn.proj mlp.0 mlp.2 ln1 ln2 tok_emb pos_emb! ln_f"
    ),
    "bloom": torch(
        "h.{i}.",
        "- - - self_attention.dense mlp.dense_h_to_4h mlp.dense_4h_to_h input_layernorm "
        "post_attention_layernorm word_embeddings - ln_f",
        fused="self_attention.query_key_value",
        by_head=True,
    ),
    "deberta": torch(
        "deberta.encoder.layer.{i}.",
        "attention.self.query_proj attention.self.key_proj attention.self.value_proj "
        "attention.output.dense intermediate.dense output.dense attention.output.LayerNorm "
        "output.LayerNorm deberta.embeddings.word_embeddings deberta.embeddings.position_embeddings "
        "deberta.embeddings.LayerNorm",
    ),
    "mesh tf t5": Stranger(
        "encoder/block_{i}/",
        "layer_000/SelfAttention/q layer_000/SelfAttention/k layer_000/SelfAttention/v "
        "layer_000/SelfAttention/o layer_001/DenseReluDense/wi_0/kernel "
        "layer_001/DenseReluDense/wi_1/kernel layer_001/DenseReluDense/wo/kernel "
        "layer_000/layer_norm/scale layer_001/layer_norm/scale shared/embedding "
        "encoder/final_layer_norm/scale decoder/logits/kernel",
        _BARE,
    ),
    "haiku gpt": Stranger(
        "transformer/h{i}_",
        "attn/query attn/key attn/value attn/linear mlp/linear mlp/linear_1 ln_1 ln_2 token_embed "
        "positional_embeddings! transformer/ln_f",
        _HAIKU,
    ),
    "x-transformers": torch(
        "attn_layers.layers.{i}.",
        "0.1.to_q 0.1.to_k 0.1.to_v 0.1.to_out 1.1.ff.0.0 1.1.ff.2 0.0.0 1.0.0 token_emb.emb pos_emb.emb norm",
    ),
    "megatron core": torch(
        "decoder.layers.",
        "self_attention.linear_q self_attention.linear_k self_attention.linear_v "
        "self_attention.linear_proj mlp.linear_gate mlp.linear_fc1 mlp.linear_fc2 input_layernorm "
        "pre_mlp_layernorm embedding.word_embeddings decoder.final_layernorm output_layer",
        stacked=0,
    ),
    "hugging face, flax": Stranger(
        "transformer/h/{i}/",
        "- - - attn/c_proj mlp/c_fc mlp/c_proj ln_1 ln_2 transformer/wte transformer/wpe transformer/ln_f",
        _FLAX,
        turned=True,
        fused="attn/c_attn",
    ),
    "blip vit": torch(
        "visual_encoder.blocks.{i}.",
        "- - - attn.proj mlp.fc1 mlp.fc2 norm1 norm2 visual_encoder.tok_embed visual_encoder.pos_embed! "
        "visual_encoder.norm",
        fused="attn.qkv",
    ),
    "gemma flax": Stranger(
        "transformer/layer_{i}/",
        "attn/q_einsum/w attn/k_einsum/w attn/v_einsum/w attn/attn_vec_einsum/w mlp/gating/w mlp/up/w "
        "mlp/linear/w pre_attention_norm/scale pre_ffw_norm/scale transformer/embedder/input_embedding "
        "transformer/final_norm/scale transformer/head/w",
        _BARE,
        heads=True,
    ),
    "chatglm": torch(
        "transformer.encoder.layers.{i}.",
        "- - - self_attention.dense - - mlp.dense_4h_to_h input_layernorm post_attention_layernorm "
        "transformer.embedding.word_embeddings transformer.encoder.final_layernorm "
        "transformer.output_layer",
        fused="self_attention.query_key_value",
        gate_up="mlp.dense_h_to_4h",
    ),
    "axlearn": Stranger(
        "decoder/transformer/repeat/layer/",
        "self_attention/attention/i_proj/q_proj self_attention/attention/i_proj/k_proj "
        "self_attention/attention/i_proj/v_proj self_attention/attention/o_proj feed_forward/linear1_0 "
        "feed_forward/linear1_1 feed_forward/linear2 self_attention/norm feed_forward/norm "
        "decoder/emb/token_emb decoder/output_norm decoder/lm_head",
        _FLAX | {"kernel": "/weight", "table": "/weight"},
        heads=True,
        stacked=0,
    ),
    "bart": torch(
        "model.decoder.layers.{i}.",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.out_proj fc1 fc2 "
        "self_attn_layer_norm final_layer_norm model.shared model.decoder.embed_positions "
        "model.decoder.layernorm_embedding",
    ),
    "qwen1": torch(
        "transformer.h.{i}.",
        "- - - attn.c_proj mlp.w2 mlp.w1 mlp.c_proj ln_1 ln_2 transformer.wte transformer.ln_f lm_head",
        fused="attn.c_attn",
    ),
    "starcoder2": torch(
        "model.layers.{i}.",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.c_fc mlp.c_proj "
        "input_layernorm post_attention_layernorm model.embed_tokens - model.norm",
    ),
    "esm": torch(
        "esm.encoder.layer.{i}.",
        "attention.self.query attention.self.key attention.self.value attention.output.dense "
        "intermediate.dense output.dense attention.LayerNorm LayerNorm esm.embeddings.word_embeddings "
        "esm.embeddings.position_embeddings esm.encoder.emb_layer_norm_after",
    ),
    "wav2vec2": torch(
        "wav2vec2.encoder.layers.{i}.",
        "attention.q_proj attention.k_proj attention.v_proj attention.out_proj "
        "feed_forward.intermediate_dense feed_forward.output_dense layer_norm final_layer_norm "
        "wav2vec2.tok_embed - wav2vec2.encoder.layer_norm",
    ),
    "levanter": torch(
        "transformer.layers.",
        "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj mlp.up_proj "
        "mlp.down_proj input_layernorm post_attention_layernorm embeddings.token_embeddings "
        "transformer.norm lm_head",
        stacked=0,
    ),
    "easydel": Stranger(
        "model/layers/{i}/",
        "self_attn/q_proj self_attn/k_proj self_attn/v_proj self_attn/o_proj mlp/gate_proj mlp/up_proj "
        "mlp/down_proj input_layernorm post_attention_layernorm model/embed_tokens model/norm lm_head",
        _FLAX | {"gamma": "/kernel"},
    ),
    "lucidrains vit": torch(
        "transformer.layers.{i}.",
        "- - - 0.to_out.0 1.net.1 1.net.4 0.norm 1.net.0 token_emb pos_embedding! transformer.norm",
        fused="0.to_qkv",
    ),
    "mmpretrain": torch(
        "backbone.layers.{i}.",
        "- - - attn.proj ffn.layers.0.0 ffn.layers.1 ln1 ln2 backbone.tok_embed backbone.pos_embed! backbone.ln1",
        fused="attn.qkv",
    ),
    "trax": Stranger(
        "params/encoder/block_{i}/",
        "self_attention/query/dense self_attention/key/dense self_attention/value/dense "
        "self_attention/output/dense ffn/dense_0 ffn/dense_1 self_attention/layer_norm ffn/layer_norm "
        "params/embedder/word params/embedder/position params/encoder/ln_final",
        _FLAX,
    ),
    "exaone": torch(
        "transformer.h.{i}.",
        "attn.attention.q_proj attn.attention.k_proj attn.attention.v_proj attn.attention.out_proj "
        "mlp.c_fc_0 mlp.c_fc_1 mlp.c_proj ln_1 ln_2 transformer.wte transformer.ln_f lm_head",
    ),
    "dbrx": torch(
        "transformer.blocks.{i}.",
        "- - - norm_attn_norm.attn.out_proj ffn.w1 ffn.v1 ffn.w2 norm_attn_norm.norm_1 "
        "norm_attn_norm.norm_2 transformer.wte transformer.norm_f lm_head",
        fused="norm_attn_norm.attn.Wqkv",
    ),
    "modernbert": torch(
        "layers.{i}.",
        "- - - attn.Wo - - mlp.Wo attn_norm mlp_norm embeddings.tok_embeddings final_norm decoder",
        fused="attn.Wqkv",
        gate_up="mlp.Wi",
    ),
}
