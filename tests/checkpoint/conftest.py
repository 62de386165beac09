"""What pytest leaves alone: with `--doctest-modules` it would import what records each library, which needs that."""

import importlib.util
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
_NEEDS = {"record_flax": "flax", "record_haiku": "haiku", "record_keras": "keras", "record_pytorch": "torch"}
collect_ignore = [f"oracle/{name}.py" for name, package in _NEEDS.items() if not importlib.util.find_spec(package)]
