"""What pytest leaves alone: it would import what records each library, or has it judge, which needs that."""

import importlib.util
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
_NEEDS = {
    "record_flax": "flax",
    "record_haiku": "haiku",
    "record_keras": "keras",
    "record_pytorch": "torch",
    "test_keras_loads": "keras",
}
collect_ignore = [f"oracle/{name}.py" for name, package in _NEEDS.items() if not importlib.util.find_spec(package)]
