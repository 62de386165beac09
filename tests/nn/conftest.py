"""What pytest leaves alone: with `--doctest-modules` it would import the oracle, which needs Keras."""

import importlib.util
import os

os.environ.setdefault("KERAS_BACKEND", "jax")
collect_ignore = [] if importlib.util.find_spec("keras") else ["oracle"]
