"""CRC-32C by instructions of the processor: `pip install google-crc32c`."""

from __future__ import annotations

import google_crc32c

if google_crc32c.implementation != "c":
    raise ImportError("`google-crc32c` is here without its compiled part, slower than numpy.")

extend = google_crc32c.extend
