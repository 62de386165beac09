"""What pytest leaves alone: with `--doctest-modules` it would import the oracles, which need Keras and TensorFlow."""

import importlib.util
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
collect_ignore = ["oracle/regenerate_tensorflow.py" if importlib.util.find_spec("keras") else "oracle"]
