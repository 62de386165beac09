"""ViT under the names of torchvision and of Hugging Face.

The tables are for layers in one stack (`Config.scanned`).
"""

from jscope.checkpoint import Conversion, Rule

_PARTS = {"part": ["query", "key", "value"]}
_AFFINE = {"value": {"gamma": "weight", "beta": "bias"}}


def torchvision(config):
    """Returns the table for `torchvision.models.vit_b_16` and the like."""
    layer = "encoder.layers.encoder_layer_{i}."
    heads = _PARTS | {"h": config.heads}
    rules = [
        Rule(
            "layers/attention/{part}/kernel",
            layer + "self_attention.in_proj_weight",
            "(part h k) d -> i d h k",
            where=heads,
        ),
        Rule(
            "layers/attention/{part}/bias",
            layer + "self_attention.in_proj_bias",
            "(part h k) -> i h k",
            where=heads,
        ),
    ]
    names = ["class_token", "encoder.pos_embedding", "conv_proj", "encoder.ln", "heads.head", "self_attention.out_proj"]
    return Conversion([*rules, *_rest(config, names, layer, ["ln_1", "ln_2"], ["mlp.0", "mlp.3"])])


def hugging_face(config):
    """Returns the table for `ViTForImageClassification`, whose norms have another epsilon: `Config(epsilon=1e-12)`."""
    layer = "vit.encoder.layer.{i}."
    heads = _PARTS | {"h": config.heads}
    rules = [
        Rule(
            "layers/attention/{part}/kernel",
            layer + "attention.attention.{part}.weight",
            "(h k) d -> i d h k",
            where=heads,
        ),
        Rule("layers/attention/{part}/bias", layer + "attention.attention.{part}.bias", "(h k) -> i h k", where=heads),
    ]
    names = ["vit.embeddings.cls_token", "vit.embeddings.position_embeddings"]
    names += ["vit.embeddings.patch_embeddings.projection", "vit.layernorm", "classifier", "attention.output.dense"]
    norms, dense = ["layernorm_before", "layernorm_after"], ["intermediate.dense", "output.dense"]
    return Conversion([*rules, *_rest(config, names, layer, norms, dense)])


def _rest(config, names, layer, norms, dense):
    """Returns the rules for what both lay out alike; they do so for all but queries, keys and values."""
    first, positions, patches, norm, logits, out = names
    before_and_after = {"norm": dict(zip(("attention_norm", "mlp_norm"), norms, strict=True))}
    hidden_and_out = {"dense": dict(zip(("hidden", "out"), dense, strict=True))}
    return [
        Rule("class_token", first, "1 1 d -> d"),
        Rule("positions/embeddings", positions, "1 t d -> t d"),
        Rule("patches/kernel", patches + ".weight", "o c h w -> h w c o"),
        Rule("patches/bias", patches + ".bias"),
        Rule("layers/{norm}/{value}", layer + "{norm}.{value}", "d -> i d", where=before_and_after | _AFFINE),
        Rule(
            "layers/attention/attention_output/kernel",
            layer + out + ".weight",
            "d (h k) -> i h k d",
            where={"h": config.heads},
        ),
        Rule("layers/attention/attention_output/bias", layer + out + ".bias", "d -> i d"),
        Rule("layers/mlp/{dense}/kernel", layer + "{dense}.weight", "o d -> i d o", where=hidden_and_out),
        Rule("layers/mlp/{dense}/bias", layer + "{dense}.bias", "o -> i o", where=hidden_and_out),
        Rule("norm/{value}", norm + ".{value}", where=_AFFINE),
        Rule("logits/kernel", logits + ".weight", "o d -> d o"),
        Rule("logits/bias", logits + ".bias"),
    ]
