"""What pytest leaves alone: with `--doctest-modules` it would import the oracle, which needs Keras."""

collect_ignore = ["oracle"]
