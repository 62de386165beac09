"""The libraries that are compared. An adapter is imported only by the process that measures it."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from benchmarks.models._models import UnsupportedError


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
        """Returns `model` in this library.

        Raises:
          UnsupportedError: The library has no such model, or not in this form.
        """
        adapter = importlib.import_module(f"benchmarks.models.{self.name}")
        if type(model) not in adapter.MODELS or getattr(model, "form", "unrolled") not in adapter.FORMS:
            raise UnsupportedError(f"{self.title}: {model}")
        return adapter.build(model)


LIBRARIES = {
    library.name: library
    for library in (
        Library("raw", "JAX by hand", "jax", "jax"),
        Library("explicit", "jscope", "jscope", "jscope"),
        Library("tf1", "jscope.tf1", "jscope.tf1", "jscope"),
        Library("equinox", "Equinox", "equinox", "equinox"),
        Library("nnx", "Flax NNX", "flax.nnx", "flax"),
        Library("linen", "Flax Linen", "flax.linen", "flax"),
        Library("haiku", "Haiku", "haiku", "dm-haiku"),
    )
}
