"""What a name says: the role of an array in its layer, and where the layer is, in words that all libraries share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A spelling stands once in each of these tables: with two meanings, it would tell nothing.
KERNEL, GAMMA, BIAS = "kernel", "gamma", "bias"
ROLES = {
    KERNEL: "kernel weight w embeddings embedding weights",
    GAMMA: "gamma scale g",
    BIAS: "bias b beta offset",
    "mean": "mean running_mean moving_mean",
    "variance": "var running_var moving_variance variance",
    "recurrent": "recurrent_kernel weight_hh w_h",
}
"""The roles, and what they are called."""

_WORDS = {
    "attn": "attn attention self_attn self selfattn self_attention selfattention multi_head_attention sa mha "
    "multiheaddotproductattention multihead_attn multi_head_dot_product_attention",
    "q": "q query q_proj wq q_lin query_proj to_q query_layer",
    "k": "k key k_proj wk k_lin key_proj to_k key_layer",
    "v": "v value v_proj wv v_lin value_proj to_v value_layer",
    "o": "o o_proj out_proj wo out_lin attention_output to_out",
    "norm": "norm layernorm ln layer_norm rmsnorm rms_norm ln_f final_norm final_layer_norm layer_normalization",
    "attn norm": "ln_1 norm_1 norm1 ln1 input_layernorm attention_norm attn_norm self_attn_layer_norm layernorm_before "
    "sa_layer_norm self_attention_layer_norm input_norm",
    "mlp norm": "ln_2 norm_2 norm2 ln2 post_attention_layernorm ffn_norm mlp_norm layernorm_after output_layer_norm "
    "feedforward_layer_norm",
    "tok": "wte word token tok embed_tokens tok_embeddings word_embeddings token_embedding token_embeddings tokens",
    "pos": "wpe position positions pos position_embeddings embed_positions pos_embedding pos_embed posembed_input",
    "type": "type token_type segment token_type_embeddings type_embeddings segments",
    "emb": "emb embed embedding embeddings embedder",
    "mlp": "mlp ffn feed_forward feedforward mlpblock ff",
    "up": "up intermediate c_fc fc1 up_proj lin1 wi linear1 fc_in dense_h_to_4h intermediate_dense",
    "down": "down fc2 down_proj lin2 linear2 fc_out dense_4h_to_h output_dense",
    "gate": "gate gate_proj",
    "proj": "proj c_proj output out dense_out",
    "batch_norm": "bn batch_norm batchnorm batch_normalization",
    "head": "lm_head head logits classifier classification_head",
    "conv": "conv conv2d conv2_d conv1d conv_1d",
    "shortcut": "downsample shortcut",
    "moe": "block_sparse_moe moe",
    "qkv": "c_attn qkv qkv_proj in_proj query_key_value wqkv",
    "gateup": "gate_up_proj gate_up gateup",
}
# Meta's names, which mean something only together: `w1` by itself may be anything.
_GLU = {"w1": "gate", "w2": "down", "w3": "up"}
# Containers, and the names of libraries and models. All paths have some, so they would make unlike paths alike.
_SILENT = frozenset(
    word
    for text in (
        "model models encoder layers layer h transformer params state block blocks stage dense linear net module root",
        "bert roberta gpt gpt2 llama vit final backbone encoderblock encoder_block",
        "param tensor array arr variable var x p t",
    )
    for word in text.split()
)
"""What tells nothing."""

_SAID = {spelling: word for word, text in _WORDS.items() for spelling in text.split()}
_ROLE = {spelling: role for role, text in ROLES.items() for spelling in text.split()}
VOCABULARY = frozenset({*_SAID, *_ROLE, *_GLU})
"""All that is known; what has a number in it here (`fc1`) does not count anything."""

FUSED = {"qkv": ("q", "k", "v"), "gateup": ("gate", "up")}
"""Words for several arrays in one, and which."""

_HIDDEN = {"lstm", "gru", "rnn", "cell", "recurrent", "gates", "lstmcell", "grucell"}
_FLIPPED = {"transpose", "deconv", "transposed", "convtranspose", "upconv"}
# Not `emb`: a model has several tables, and this does not say which.
_KNOWN = frozenset(word for text in _WORDS for word in text.split()) - {"emb"}


@dataclass(frozen=True, slots=True)
class Words:
    """What a name says.

    Attributes:
      role: One of `ROLES`, or nothing.
      bag: In which layer it is.
      doubt: Why the values may differ where shapes and names agree: nothing, or a reason.
    """

    role: str
    bag: frozenset[str]
    doubt: str = ""

    @property
    def is_readable(self) -> bool:
        """Whether it says enough to be certain of anything: a known role, and a word."""
        return bool(self.role) and any(word in _KNOWN or len(word) > 2 for word in self.bag)


def words(parts: Sequence[str], rank: int, is_glu: bool = False) -> Words:
    """Returns what the parts of a name say; of theirs or ours, without their numbers.

    >>> words(["h", "attn", "c_proj", "weight"], 2) == words(["layers", "attention", "o", "kernel"], 3)
    True
    >>> words(["ln_f", "weight"], 1)
    Words(role='gamma', bag=frozenset({'norm'}), doubt='')

    Args:
      parts: Its parts.
      rank: How many axes the array has: a weight of one is a gamma.
      is_glu: Whether `w1`, `w2` and `w3` are there, which then are gate, down and up.
    """
    said: list[str] = []
    for at, part in enumerate(parts):
        found = _of_part(_snake(part), is_glu)
        # As a parent, `embeddings` is where something is, not what it is.
        embeds = at < len(parts) - 1 and "embed" in part.lower()
        said += ["emb" if embeds and word.startswith("role ") else word for word in found]
    # What a name ends in says what the array is; a `weight` before that is part of the way to it.
    role = said[-1].removeprefix("role ") if said and said[-1].startswith("role ") else ""
    bag = {word for word in said if not word.startswith("role ")}
    # Some name the table by where it is, as in OpenAI's `wpe`, without a `weight` after it.
    if said and not role and rank > 1 and said[-1] in ("tok", "pos", "type", "emb"):
        role = KERNEL
    if role == KERNEL and not bag and _is_embedding(parts):
        bag = {"tok"}
    # Whatever it is called: the matrix in an attention that is none of the three. (A bias of it may be a mask.)
    if bag == {"attn"} and role in (KERNEL, BIAS) and _is_within(parts, "attn"):
        bag = {"o"}
    bag = _implied(bag, role)
    # PyTorch calls the gamma of a norm its weight, as everything else.
    if role == KERNEL and (rank == 1 or "norm" in bag or "batch_norm" in bag):
        role = GAMMA
    return Words(role, frozenset(bag), _doubt(bag, role, parts))


def _snake(part: str) -> str:
    # Flax names scopes after classes, `MultiHeadDotProductAttention_0`; others after attributes.
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", part).lower().strip("_-~ ")


def _of_part(part: str, is_glu: bool) -> list[str]:
    """Returns the words of one part: all of it, if that is known, or the longest beginnings that are."""
    if is_glu and part in _GLU:
        return [_GLU[part]]
    chunks = [chunk for chunk in re.split(r"[_\-]+", part) if chunk]
    found: list[str] = []
    while chunks:
        # The longest first: `attn_norm` is a word, and not a norm somewhere in the attention.
        length = next((n for n in range(len(chunks), 0, -1) if "_".join(chunks[:n]) in VOCABULARY), 1)
        text, chunks = "_".join(chunks[:length]), chunks[length:]
        # A number at the end counts, unless the word is known with it: `fc1` is not the first of many.
        plain = re.sub(r"\d+$", "", text) if text not in VOCABULARY else text
        if plain in _ROLE and not (plain.startswith("emb") and chunks):
            found.append(f"role {_ROLE[plain]}")
        elif plain in _SAID:
            found += _SAID[plain].split()
        elif plain and plain not in _SILENT:
            found.append(plain)
    return found


def _is_embedding(parts: Sequence[str]) -> bool:
    return any("embed" in part.lower() for part in parts)


def _is_within(parts: Sequence[str], word: str) -> bool:
    """Whether there is a part between the one that says a word and the last, which says the role."""
    said = [at for at, part in enumerate(parts) if word in _of_part(_snake(part), False)]
    return bool(said) and said[-1] < len(parts) - 2


def _implied(bag: set[str], role: str) -> set[str]:
    """Returns a bag without what its other words imply, and with what they mean together."""
    # The last matrix of whatever it is in. Words that say it otherwise (`o`, `down`) are what it becomes.
    if "proj" in bag:
        bag = bag - {"proj"}
        if "norm" in bag:  # `attention.output.LayerNorm` is the norm after it, not of the projection.
            bag |= set() if "attn" in bag else {"mlp"}
        elif not bag & {"q", "k", "v", "qkv"}:
            bag |= {"o" if "attn" in bag else "down"}
    # There is no query without attention: some say both, others not.
    if bag & {"q", "k", "v", "o", "qkv"}:
        bag = bag - {"attn"}
    # Within an MLP, what is hidden is what is made first, and what comes out of it is made last.
    if "mlp" in bag and bag & {"hidden", "o"}:
        bag = (bag - {"hidden", "o"}) | {"up" if "hidden" in bag else "down"}
    if bag & {"up", "down", "gate", "gateup"}:
        bag = bag - {"mlp"}
    # To some the patches of an image are a convolution, to others an embedding, or a projection.
    if "patch" in bag:
        return bag - {"emb", "conv", "o", "down"}
    if bag & {"tok", "pos", "type"}:
        bag = bag - {"emb"}
    return {"tok"} if bag == {"emb"} and role == KERNEL else bag


def _doubt(bag: set[str], role: str, parts: Sequence[str]) -> str:
    # Names and shapes are the same where libraries order gates in their own ways: only values would tell.
    if bag & _HIDDEN or role == "recurrent" or any("_ih" in part or "_hh" in part for part in parts):
        return "the order of gates is not in the names"
    if bag & _FLIPPED:
        return "transposed convolutions may be flipped"
    if bag & set(FUSED):
        return "the order within a fused array is not in the names"
    return ""
