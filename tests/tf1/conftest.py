"""What pytest leaves alone: with `--doctest-modules` it would import the oracle, which needs TensorFlow."""

collect_ignore = ["oracle"]
