"""Digests of arrays: a checksum against accidents, cheap enough to be computed always.

It is CRC-32C where the processor's instructions for it can be had (`google-crc32c`), which reads as fast as memory;
otherwise zlib's CRC-32. A digest says which it is, and either can be compared everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from jscope.checkpoint._bundle._crc32c import crc32c, extend

_FUNCTIONS: Mapping[str, Callable[..., int]] = {"crc32c": crc32c, "crc32": zlib.crc32}
# With numpy, CRC-32C takes ten times as long as zlib's CRC-32 does: it is only read then.
_OWN = "crc32" if extend is None else "crc32c"
UNKNOWN = f"{_OWN}:{0:08x}"
"""Stands for a digest that is not known yet, in as many characters."""

_LARGE, _WORKERS = 1 << 20, 2
"""From so many bytes on, a digest is computed in one of so many threads."""


def checksum(data: np.ndarray) -> str:
    """Returns the digest of an array of bytes.

    >>> checksum(np.frombuffer(b"123456789", np.uint8)) in ("crc32c:e3069283", "crc32:cbf43926")
    True
    """
    return _labelled(_OWN, data)


def going_on(data: Any, before: str = UNKNOWN) -> str:
    """Returns the digest of all that came before, whose digest is given, and then these bytes.

    >>> going_on(b"6789", going_on(b"12345")) == checksum(np.frombuffer(b"123456789", np.uint8))
    True
    """
    return f"{_OWN}:{_FUNCTIONS[_OWN](data, int(before.partition(':')[2], 16)):08x}"


def agrees(data: np.ndarray, expected: str) -> bool:
    """Whether an array of bytes has a digest.

    >>> agrees(np.frombuffer(b"123456789", np.uint8), "crc32:cbf43926"), agrees(np.zeros(9, np.uint8), "md5:0")
    (True, False)
    """
    name = expected.partition(":")[0]
    return name in _FUNCTIONS and _labelled(name, data) == expected


def in_threads(function: Callable[[Any], Any], items: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    """Returns `function` of every item; those of many bytes are computed in threads.

    >>> in_threads(abs, [-1, -2], [1, 1 << 30])
    [1, 2]
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        pairs = zip(items, sizes, strict=True)
        pending = [pool.submit(function, item) if size >= _LARGE else None for item, size in pairs]
        results = zip(items, pending, strict=True)
        return [function(item) if future is None else future.result() for item, future in results]


def _labelled(name: str, data: np.ndarray) -> str:
    return f"{name}:{_FUNCTIONS[name](data):08x}"
