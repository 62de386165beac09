"""Published models in small, and what is in their files: shared by those who record them and those who compare.

Nothing here needs more than NumPy, so that it can be imported beside PyTorch, TensorFlow or Keras.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.nn.sequence_cases import numbers

DATA = Path(__file__).parent / "data"

IDS = np.asarray([[1, 5, 2, 7, 3, 3], [0, 9, 9, 4, 8, 6]])
SEGMENTS = np.asarray([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]])
VALID = np.asarray([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
"""Padding comes last, as it does."""
IMAGES = numbers("images", (2, 8, 8, 3))
PHOTOS = numbers("photos", (1, 32, 32, 3))
SIZES = {"layers": 2, "heads": 2, "dim": 8, "vocab": 11, "context": 6}
GROUPED = {"layers": 2, "dim": 16, "heads": 4, "kv_heads": 2, "hidden": 24, "vocab": 11}
"""Heads have four features: of two, the pairs of Meta's rotary positions would be the halves of Hugging Face's."""
IMAGE_SIZES = {"layers": 2, "heads": 2, "dim": 8, "patch": 4, "classes": 5}
STAGES = (2, 2, 2, 2)
CLASSES = 5


def drawn(name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Returns values for an array of theirs, which are the same wherever it is asked: they need not be recorded."""
    if np.dtype(dtype).kind in "iu":
        return np.zeros(shape, dtype)
    values = numbers(name, tuple(shape)).astype(np.float64)
    if name.endswith(("running_var", "moving_variance")):
        return (values + 1.25).astype(dtype)
    # Of matrices, such that what they make of numbers of about 1 is about 1 again.
    fan = math.prod(shape) / max(shape) if len(shape) > 1 else 1
    return (values * 2 / math.sqrt(fan)).astype(dtype)


def save(name: str, arrays: dict[str, Any], outputs: dict[str, Any]) -> None:
    """Records which arrays the file of a model has, and what the model computed."""
    record = {
        "arrays": {name: [str(each.dtype), *each.shape] for name, each in sorted(arrays.items())},
        "outputs": {key: np.asarray(each, np.float32).tolist() for key, each in outputs.items()},
    }
    lines = [f'  "{key}": {{\n' + _lines(record[key]) + "\n  }" for key in record]
    (DATA / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf8")


def _lines(entries: dict[str, Any]) -> str:
    return ",\n".join(f"    {json.dumps(key)}: {short(value)}" for key, value in entries.items())


def short(value: Any) -> str:
    """Returns JSON in which floats have the digits that float32 has."""
    if isinstance(value, list):
        return f"[{', '.join(map(short, value))}]"
    return np.format_float_positional(np.float32(value), trim="-") if isinstance(value, float) else json.dumps(value)


def load(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the arrays of a recorded file, and the outputs."""
    record = json.loads((DATA / f"{name}.json").read_text(encoding="utf8"))
    arrays = {key: drawn(key, tuple(shape), dtype) for key, (dtype, *shape) in record["arrays"].items()}
    return arrays, {key: np.asarray(value, np.float32) for key, value in record["outputs"].items()}
