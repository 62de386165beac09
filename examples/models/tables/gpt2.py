"""GPT-2 under the names of Hugging Face, and of OpenAI's code for TensorFlow 1.

Both have query, key and value in one matrix. The tables are for layers in one stack (`Config.scanned`).
"""

from jscope.checkpoint import Conversion, Rule

_NORMS = {"norm": {"attention_norm": "ln_1", "mlp_norm": "ln_2"}}
_DENSE = {"dense": {"hidden": "c_fc", "out": "c_proj"}}
_AFFINE = {"value": {"gamma": "weight", "beta": "bias"}}


def hugging_face(config, prefix="transformer."):
    """Returns the table for `GPT2LMHeadModel`; what is published as `gpt2` has these names without the prefix.

    The logits are tied to the embedding, and most files have it once. Masks, which old files have, are dropped.
    """
    layer, heads = prefix + "h.{i}.", {"part": ["query", "key", "value"], "h": config.heads}
    rules = [
        Rule("embedding/embeddings", prefix + "wte.weight"),
        Rule("embedding/embeddings", "lm_head.weight", tied=True, optional=True),
        Rule("positions/embeddings", prefix + "wpe.weight"),
        Rule("layers/{norm}/{value}", layer + "{norm}.{value}", "d -> i d", where=_NORMS | _AFFINE),
        Rule("layers/attention/{part}/kernel", layer + "attn.c_attn.weight", "d (part h k) -> i d h k", where=heads),
        Rule("layers/attention/{part}/bias", layer + "attn.c_attn.bias", "(part h k) -> i h k", where=heads),
        Rule(
            "layers/attention/attention_output/kernel",
            layer + "attn.c_proj.weight",
            "(h k) d -> i h k d",
            where={"h": config.heads},
        ),
        Rule("layers/attention/attention_output/bias", layer + "attn.c_proj.bias", "d -> i d"),
        Rule("layers/mlp/{dense}/kernel", layer + "mlp.{dense}.weight", "c d -> i c d", where=_DENSE),
        Rule("layers/mlp/{dense}/bias", layer + "mlp.{dense}.bias", "d -> i d", where=_DENSE),
        Rule("norm/{value}", prefix + "ln_f.{value}", where=_AFFINE),
    ]
    return Conversion(rules, drop=[layer + "attn.bias", layer + "attn.masked_bias"])


def openai(config):
    """Returns the table for the checkpoints of `github.com/openai/gpt-2`: first to the names of Hugging Face."""
    tables = {"table": ["wte", "wpe"]}
    rules = [
        Rule("{table}.weight", "model/{table}", where=tables),
        Rule("h.{i}.{norm}.weight", "model/h{i}/{norm}/g", where={"norm": ["ln_1", "ln_2"]}),
        Rule("ln_f.weight", "model/ln_f/g"),
        # They are convolutions of width 1.
        Rule("h.{i}.{path...}.weight", "model/h{i}/{path...}/w", "1 c d -> c d"),
        Rule("h.{i}.{path...}.bias", "model/h{i}/{path...}/b"),
        Rule("ln_f.bias", "model/ln_f/b"),
    ]
    # The logits are tied there, too, but only Hugging Face has a name for it.
    first = Conversion(rules, dropped=["lm_head.weight"], separators=(".", "/"))
    return first.then(hugging_face(config, prefix=""))
