"""Llama under the names of Hugging Face, with matrices apart or fused, and of Meta's code.

Meta turns features `2i` and `2i + 1` of a head as a pair, the others `i` and `n + i`: so its queries and keys are laid
out in another order. The tables are for layers in one stack (`Config.scanned`).
"""

from jscope.checkpoint import Conversion, Rule

_PARTS = ["query", "key", "value"]
_MLP = ["gate", "hidden", "out"]
_NORMS = {"norm": {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}}


def _heads(config, *parts):
    """Returns how many heads each part has."""
    return {"h": {part: config.heads if part == "query" else config.kv_heads for part in parts}}


def _logits(config, theirs):
    """Returns the rule for the logits: a matrix of their own, or the embedding, which files may have once or twice."""
    if config.tied:
        return Rule("embedding/embeddings", theirs, tied=True, optional=True)
    return Rule("logits/kernel", theirs, "o d -> d o")


def hugging_face(config, *, fused=False):
    """Returns the table for `LlamaForCausalLM` and `MistralForCausalLM`; with `fused`, for `Phi3ForCausalLM`."""
    layer = "model.layers.{i}."
    heads = _heads(config, *_PARTS)
    if fused:
        heads |= {"part": _PARTS, "k": config.head_dim or config.dim // config.heads}
        rules = [
            Rule(
                "layers/attention/{part}/kernel",
                layer + "self_attn.qkv_proj.weight",
                "(part h k) d -> i d h k",
                where=heads,
            ),
            Rule(
                "layers/mlp/{part}/kernel",
                layer + "mlp.gate_up_proj.weight",
                "(part o) d -> i d o",
                where={"part": _MLP[:2]},
            ),
            Rule("layers/mlp/out/kernel", layer + "mlp.down_proj.weight", "o d -> i d o"),
        ]
    else:
        heads |= {"part": dict(zip(_PARTS, "qkv", strict=True))}
        mlp = {"part": dict(zip(_MLP, ("gate", "up", "down"), strict=True))}
        rules = [
            Rule(
                "layers/attention/{part}/kernel",
                layer + "self_attn.{part}_proj.weight",
                "(h k) d -> i d h k",
                where=heads,
            ),
            Rule("layers/mlp/{part}/kernel", layer + "mlp.{part}_proj.weight", "o d -> i d o", where=mlp),
        ]
    rules += [
        Rule(
            "layers/attention/attention_output/kernel",
            layer + "self_attn.o_proj.weight",
            "d (h k) -> i h k d",
            where={"h": config.heads},
        ),
        Rule("layers/{norm}/scale", layer + "{norm}.weight", "d -> i d", where=_NORMS),
        Rule("embedding/embeddings", "model.embed_tokens.weight"),
        Rule("norm/scale", "model.norm.weight"),
        _logits(config, "lm_head.weight"),
    ]
    return Conversion(rules, drop=[layer + "self_attn.rotary_emb.inv_freq"])


def meta(config):
    """Returns the table for what `github.com/meta-llama/llama` reads: one `consolidated.00.pth`, as safetensors."""
    turned = _heads(config, "query", "key") | {"part": {"query": "q", "key": "k"}, "pair": 2}
    mlp = {"part": dict(zip(_MLP, ("w1", "w3", "w2"), strict=True))}
    attention, norms = "layers.{i}.attention.", {"norm": {"attention_norm": "attention_norm", "mlp_norm": "ffn_norm"}}
    rules = [
        Rule(
            "layers/attention/{part}/kernel",
            attention + "w{part}.weight",
            "(h k pair) d -> i d h (pair k)",
            where=turned,
        ),
        Rule(
            "layers/attention/value/kernel",
            attention + "wv.weight",
            "(h k) d -> i d h k",
            where={"h": config.kv_heads},
        ),
        Rule(
            "layers/attention/attention_output/kernel",
            attention + "wo.weight",
            "d (h k) -> i h k d",
            where={"h": config.heads},
        ),
        Rule("layers/mlp/{part}/kernel", "layers.{i}.feed_forward.{part}.weight", "o d -> i d o", where=mlp),
        Rule("layers/{norm}/scale", "layers.{i}.{norm}.weight", "d -> i d", where=norms),
        Rule("embedding/embeddings", "tok_embeddings.weight"),
        Rule("norm/scale", "norm.weight"),
        _logits(config, "output.weight"),
    ]
    return Conversion(rules, drop=["rope.freqs"])
