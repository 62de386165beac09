"""The libraries that are compared. An adapter is imported only by the process that measures it."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Library:
    """One column of the results.

    Attributes:
      name: What the command line and the results call it.
      title: What tables call it.
      package: What must be installed, and what `import` measures the time of.
      distribution: The name under which its version is known.
    """

    name: str
    title: str
    package: str
    distribution: str

    @property
    def installed(self):
        return importlib.util.find_spec(self.package.partition(".")[0]) is not None

    def build(self, model):
        """Returns `model` in this library."""
        return importlib.import_module(f"benchmarks.models.{self.name}").build(model)


LIBRARIES = {
    library.name: library
    for library in (
        Library("raw", "JAX by hand", "jax", "jax"),
        Library("explicit", "jscope", "jscope", "jscope"),
        Library("tf1", "jscope.tf1", "jscope.tf1", "jscope"),
        Library("equinox", "Equinox", "equinox", "equinox"),
        Library("nnx", "Flax NNX", "flax.nnx", "flax"),
        Library("linen", "Flax Linen", "flax.linen", "flax"),
        Library("flax_core", "flax.core", "flax.core", "flax"),
        Library("haiku", "Haiku", "haiku", "dm-haiku"),
    )
}
