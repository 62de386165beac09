"""`tf.flags`: each flag has its default. Programs that read a command line use `argparse`."""

from __future__ import annotations

from typing import Any


class FlagValues:
    """The flags, as attributes; they may be set."""

    def __init__(self) -> None:
        self.__dict__["_values"] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"No flag `{name}` was defined.") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["_values"][name] = value

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__["_values"]


FLAGS = FlagValues()


def DEFINE_string(name: str, default: Any, *_: Any, **__: Any) -> None:  # noqa: N802 - TensorFlow's name.
    """Defines a flag, whatever its kind: its value is the default."""
    setattr(FLAGS, name, default)


DEFINE_bool = DEFINE_boolean = DEFINE_enum = DEFINE_float = DEFINE_integer = DEFINE_list = DEFINE_string


def mark_flag_as_required(name: str) -> None:
    """Does nothing: there is no command line."""
