"""Records what PyTorch's models give: those of Hugging Face, of torchvision, and Meta's Llama.

    python -m venv torch && torch/bin/pip install torch torchvision transformers
    git clone https://github.com/meta-llama/llama
    torch/bin/python -m tests.published.oracle.record_torch llama

Recorded with torch 2.14.1, torchvision 0.29.1, transformers 5.24.0, and Llama at the commit 689c7f2. Each model is
saved as its users save it, since names in files differ from those of modules; its arrays are then replaced by drawn
ones.
"""

from __future__ import annotations

import sys
import tempfile
import types

import torch
import torchvision
import transformers
from safetensors.torch import load_file, save_file

from tests.published.cases import (
    CLASSES,
    GROUPED,
    IDS,
    IMAGE_SIZES,
    IMAGES,
    PHOTOS,
    SEGMENTS,
    SIZES,
    STAGES,
    VALID,
    drawn,
    save,
)

IDS_BT = torch.tensor(IDS)
TEXT = {
    "num_hidden_layers": SIZES["layers"],
    "num_attention_heads": SIZES["heads"],
    "hidden_size": SIZES["dim"],
    "intermediate_size": 4 * SIZES["dim"],
}
LLAMA = {
    "num_hidden_layers": GROUPED["layers"],
    "num_attention_heads": GROUPED["heads"],
    "num_key_value_heads": GROUPED["kv_heads"],
    "hidden_size": GROUPED["dim"],
    "intermediate_size": GROUPED["hidden"],
    "vocab_size": GROUPED["vocab"],
    "rms_norm_eps": 1e-5,
    "pad_token_id": None,
}


def drawn_like(arrays):
    """Returns drawn tensors of the same names, shapes and dtypes."""
    return {
        name: torch.from_numpy(drawn(name, tuple(each.shape), str(each.dtype).removeprefix("torch.")))
        for name, each in arrays.items()
    }


def numpy(arrays):
    return {name: each.numpy() for name, each in arrays.items()}


def hugging_face(name, config, model_class, outputs, **inputs):
    """Records a model of Hugging Face."""
    with tempfile.TemporaryDirectory() as folder:
        model_class(config).save_pretrained(folder)
        arrays = drawn_like(load_file(f"{folder}/model.safetensors"))
        save_file(arrays, f"{folder}/model.safetensors", metadata={"format": "pt"})
        model, report = model_class.from_pretrained(folder, output_loading_info=True)
        assert not any(report.values()), report
    with torch.no_grad():
        found = model.eval()(**inputs)
    save(name, numpy(arrays), {key: found[key].numpy() for key in outputs})


def plain(name, model, *inputs):
    """Records a module that is saved as its `state_dict`."""
    arrays = drawn_like(model.state_dict())
    model.load_state_dict(arrays)
    with torch.no_grad():
        save(name, numpy(arrays), {"logits": model.eval()(*inputs).numpy()})


def meta(checkout):
    """Records Meta's Llama, for one device: then its parallel layers are the plain ones."""

    class Linear(torch.nn.Linear):
        def __init__(self, inputs, outputs, bias, **_):
            super().__init__(inputs, outputs, bias=bias)

    layers = types.ModuleType("fairscale.nn.model_parallel.layers")
    layers.ColumnParallelLinear = layers.RowParallelLinear = Linear
    layers.ParallelEmbedding = lambda vocab, dim, **_: torch.nn.Embedding(vocab, dim)
    initialize = types.ModuleType("fairscale.nn.model_parallel.initialize")
    initialize.get_model_parallel_world_size = lambda: 1
    parallel = types.ModuleType("fairscale.nn.model_parallel")
    parallel.initialize, parallel.layers = initialize, layers
    sys.modules["fairscale"] = types.ModuleType("fairscale")
    sys.modules["fairscale.nn"] = types.ModuleType("fairscale.nn")
    for module in (parallel, layers, initialize):
        sys.modules[module.__name__] = module
    # It asks for a GPU.
    torch.Tensor.cuda = lambda self: self
    sys.path.insert(0, f"{checkout}/llama")
    import model as llama

    args = llama.ModelArgs(
        dim=GROUPED["dim"],
        n_layers=GROUPED["layers"],
        n_heads=GROUPED["heads"],
        n_kv_heads=GROUPED["kv_heads"],
        vocab_size=GROUPED["vocab"],
        multiple_of=GROUPED["hidden"],
        max_batch_size=2,
        max_seq_len=IDS.shape[1],
    )
    plain("llama_meta", llama.Transformer(args), IDS_BT, 0)


def main(checkout):
    """Writes all records."""
    config = transformers.GPT2Config(
        n_layer=SIZES["layers"],
        n_head=SIZES["heads"],
        n_embd=SIZES["dim"],
        vocab_size=SIZES["vocab"],
        n_positions=SIZES["context"],
    )
    hugging_face("gpt2", config, transformers.GPT2LMHeadModel, ["logits"], input_ids=IDS_BT)
    config = transformers.BertConfig(vocab_size=SIZES["vocab"], max_position_embeddings=SIZES["context"], **TEXT)
    bert = {
        "input_ids": IDS_BT,
        "token_type_ids": torch.tensor(SEGMENTS),
        "attention_mask": torch.tensor(VALID),
    }
    outputs = ["prediction_logits", "seq_relationship_logits"]
    hugging_face("bert", config, transformers.BertForPreTraining, outputs, **bert)
    hugging_face("bert_encoder", config, transformers.BertModel, ["last_hidden_state", "pooler_output"], **bert)
    config = transformers.LlamaConfig(**LLAMA)
    hugging_face("llama", config, transformers.LlamaForCausalLM, ["logits"], input_ids=IDS_BT)
    config = transformers.LlamaConfig(**LLAMA, tie_word_embeddings=True, head_dim=6, rope_theta=500.0)
    hugging_face("llama_tied", config, transformers.LlamaForCausalLM, ["logits"], input_ids=IDS_BT)
    config = transformers.MistralConfig(**LLAMA, sliding_window=3)
    hugging_face("mistral", config, transformers.MistralForCausalLM, ["logits"], input_ids=IDS_BT)
    config = transformers.Phi3Config(**LLAMA)
    hugging_face("llama_fused", config, transformers.Phi3ForCausalLM, ["logits"], input_ids=IDS_BT)
    sizes = {"image_size": IMAGES.shape[1], "patch_size": IMAGE_SIZES["patch"]}
    labels = {"num_labels": CLASSES, "layer_norm_eps": 1e-12}
    images = torch.tensor(IMAGES).permute(0, 3, 1, 2)
    config = transformers.ViTConfig(**TEXT, **sizes, **labels)
    hugging_face("vit", config, transformers.ViTForImageClassification, ["logits"], pixel_values=images)
    vit = torchvision.models.VisionTransformer(
        **sizes,
        num_layers=IMAGE_SIZES["layers"],
        num_heads=IMAGE_SIZES["heads"],
        hidden_dim=IMAGE_SIZES["dim"],
        mlp_dim=4 * IMAGE_SIZES["dim"],
        num_classes=CLASSES,
    )
    plain("vit_torchvision", vit, images)
    photos = torch.tensor(PHOTOS).permute(0, 3, 1, 2)
    resnet = torchvision.models.resnet
    plain("resnet18", resnet.ResNet(resnet.BasicBlock, list(STAGES), num_classes=CLASSES), photos)
    plain("resnet50", torchvision.models.resnet50(num_classes=CLASSES), photos)
    meta(checkout)


if __name__ == "__main__":
    main(*sys.argv[1:])
