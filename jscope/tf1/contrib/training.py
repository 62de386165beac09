"""`tf.contrib.training`: hyperparameters."""

from __future__ import annotations

from typing import Any

from jscope.tf1._lazy import finder

__getattr__, __dir__ = finder("contrib.training")


class HParams:
    """Values by name, which may be changed but not added to.

    >>> hparams = HParams(size=3, rate=0.1)
    >>> hparams.override_from_dict({"size": 4}).size, hparams.values()
    (4, {'size': 4, 'rate': 0.1})
    """

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def add_hparam(self, name: str, value: Any) -> None:
        """Adds a value."""
        setattr(self, name, value)

    def set_hparam(self, name: str, value: Any) -> None:
        """Changes a value."""
        self.override_from_dict({name: value})

    def override_from_dict(self, values: dict[str, Any]) -> HParams:
        """Changes several values; returns the object itself."""
        # A misspelled name would be a value that nobody reads: TensorFlow refuses it, too.
        unknown = [name for name in values if name not in vars(self)]
        if unknown:
            raise KeyError(f"{unknown} are not hyperparameters; there are {sorted(vars(self))}.")
        self.__dict__.update(values)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a value, or `default`."""
        return vars(self).get(key, default)

    def values(self) -> dict[str, Any]:
        """Returns all values by name."""
        return dict(vars(self))

    def __contains__(self, key: str) -> bool:
        return key in vars(self)
