"""What pytest leaves alone: with `--doctest-modules` it would import the oracles, which need other libraries."""

import importlib.util
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
programs = ["oracle/record_torch.py", "oracle/record_tensorflow.py", "oracle/record_minilm.py"]
collect_ignore = programs if importlib.util.find_spec("keras") else ["oracle"]
