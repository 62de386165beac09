"""`tf.summary`: accepted, without effect. What is to be seen outside of the model is returned by it.

`jscope.summary` has the table of a model's parameters.
"""

from __future__ import annotations

from typing import Any

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("summary")


def scalar(name: str, tensor: Any = None, *_: Any, **__: Any) -> None:
    """Does nothing. Return the value from the model, and write it where you train."""


audio = histogram = image = merge = tensor_summary = text = scalar


def merge_all(*_: Any, **__: Any) -> None:
    """Returns None, as TensorFlow does where there are no summaries."""
