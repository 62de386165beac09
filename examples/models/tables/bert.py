"""BERT under the names of Hugging Face, and of Google's code for TensorFlow 1.

The tables are for layers in one stack (`Config.scanned`).
"""

from jscope.checkpoint import Conversion, Rule

_TABLES = {"embedding": "word_embeddings", "segments": "token_type_embeddings", "positions": "position_embeddings"}
_NORMS = {"norm": {"attention_norm": "attention.output.LayerNorm", "mlp_norm": "output.LayerNorm"}}
_DENSE = {"dense": {"hidden": "intermediate.dense", "out": "output.dense"}}
_AFFINE = {"value": ["gamma", "beta"]}


def hugging_face(config, prefix="bert.", gamma="weight", beta="bias"):
    """Returns the table for `BertForPreTraining`, or without a prefix for `BertModel`.

    What is published as `bert-base-uncased` calls the parts of its norms `gamma` and `beta`. The numbers of positions,
    which old files have, are dropped. Where the encoder is wanted of a file that has both, its heads can be dropped,
    too: `dataclasses.replace(table, drop=[*table.drop, "cls.{path...}"])`.
    """
    layer, heads = prefix + "encoder.layer.{i}.", {"h": config.heads}
    parts, spelled = {"part": ["query", "key", "value"]}, {"value": {"gamma": gamma, "beta": beta}}
    rules = [
        Rule("{table}/embeddings", prefix + "embeddings.{table}.weight", where={"table": _TABLES}),
        Rule("embedding_norm/{value}", prefix + "embeddings.LayerNorm.{value}", where=spelled),
        Rule("layers/{norm}/{value}", layer + "{norm}.{value}", "d -> i d", where=_NORMS | spelled),
        Rule(
            "layers/attention/{part}/kernel",
            layer + "attention.self.{part}.weight",
            "(h k) d -> i d h k",
            where=heads | parts,
        ),
        Rule(
            "layers/attention/{part}/bias", layer + "attention.self.{part}.bias", "(h k) -> i h k", where=heads | parts
        ),
        Rule(
            "layers/attention/attention_output/kernel",
            layer + "attention.output.dense.weight",
            "d (h k) -> i h k d",
            where=heads,
        ),
        Rule("layers/attention/attention_output/bias", layer + "attention.output.dense.bias", "d -> i d"),
        Rule("layers/mlp/{dense}/kernel", layer + "{dense}.weight", "o d -> i d o", where=_DENSE),
        Rule("layers/mlp/{dense}/bias", layer + "{dense}.bias", "o -> i o", where=_DENSE),
        Rule("pooler/kernel", prefix + "pooler.dense.weight", "o d -> d o", optional=True),
        Rule("pooler/bias", prefix + "pooler.dense.bias", optional=True),
    ]
    if prefix:
        rules += _heads(gamma, beta)
    return Conversion(rules, drop=[prefix + "embeddings.position_ids"])


def _heads(gamma, beta):
    """Returns the rules for what pretraining adds to the encoder. Most files have what is tied once."""
    parts = {"fill/bias": "dense.bias", "fill_norm/gamma": f"LayerNorm.{gamma}", "fill_norm/beta": f"LayerNorm.{beta}"}
    return [
        Rule("fill/kernel", "cls.predictions.transform.dense.weight", "o d -> d o", optional=True),
        Rule("{part}", "cls.predictions.transform.{part}", where={"part": parts}, optional=True),
        Rule("fill_logits/bias", "cls.predictions.bias", optional=True),
        Rule("fill_logits/bias", "cls.predictions.decoder.bias", tied=True, optional=True),
        Rule("embedding/embeddings", "cls.predictions.decoder.weight", tied=True, optional=True),
        Rule("follows/kernel", "cls.seq_relationship.weight", "o d -> d o", optional=True),
        Rule("follows/bias", "cls.seq_relationship.bias", optional=True),
    ]


def google(config):
    """Returns the table for the checkpoints of `github.com/google-research/bert`: first to the names of Hugging Face.

    Its activation is the approximation by tanh: `Config(approximate=True)`. What its optimizer has written is dropped.
    """
    tables = {"table": list(_TABLES.values())}
    rules = [
        Rule("bert.embeddings.{table}.weight", "bert/embeddings/{table}", where=tables),
        Rule("bert.encoder.layer.{i}.{path...}.weight", "bert/encoder/layer_{i}/{path...}/kernel", "d o -> o d"),
        Rule("bert.encoder.layer.{i}.{path...}.bias", "bert/encoder/layer_{i}/{path...}/bias"),
        Rule("bert.encoder.layer.{i}.{path...}.{value}", "bert/encoder/layer_{i}/{path...}/{value}", where=_AFFINE),
        Rule("bert.embeddings.LayerNorm.{value}", "bert/embeddings/LayerNorm/{value}", where=_AFFINE),
        Rule("bert.pooler.dense.weight", "bert/pooler/dense/kernel", "d o -> o d"),
        Rule("bert.pooler.dense.bias", "bert/pooler/dense/bias"),
        Rule(
            "cls.predictions.transform.dense.weight",
            "cls/predictions/transform/dense/kernel",
            "d o -> o d",
            optional=True,
        ),
        Rule("cls.predictions.transform.dense.bias", "cls/predictions/transform/dense/bias", optional=True),
        Rule(
            "cls.predictions.transform.LayerNorm.{value}",
            "cls/predictions/transform/LayerNorm/{value}",
            where=_AFFINE,
            optional=True,
        ),
        Rule("cls.predictions.bias", "cls/predictions/output_bias", optional=True),
        Rule("cls.seq_relationship.weight", "cls/seq_relationship/output_weights", optional=True),
        Rule("cls.seq_relationship.bias", "cls/seq_relationship/output_bias", optional=True),
    ]
    slots, tied = ["{path...}/adam_m", "{path...}/adam_v", "global_step"], ["cls.predictions.decoder.{part:s}"]
    first = Conversion(rules, drop=slots, dropped=tied, separators=(".", "/"))
    return first.then(hugging_face(config, "bert.", *_AFFINE["value"]))
