"""One digest for texts and tables of contents, in every format: of arrays, each format has its own."""

from __future__ import annotations

import hashlib


def hexdigest(data: bytes) -> str:
    """Returns BLAKE2b of some bytes, 128 bits of it, as 32 characters.

    >>> hexdigest(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    return hashlib.blake2b(data, digest_size=16).hexdigest()
