"""Large numbers as people read them."""

from __future__ import annotations


def short(number: int) -> str:
    """Returns a number with at most four digits, and a thousand, million, ... in words.

    >>> short(9999), short(25_557_032), short(10**15)
    ('9,999', '25.56 M', '1.000 P')
    """
    if number < 10_000:
        return f"{number:,}"
    for unit, size in (("E", 10**18), ("P", 10**15), ("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            scaled = number / size
            digits = max(0, 3 - len(str(int(scaled))) + 1)
            return f"{scaled:.{digits}f} {unit}"
    raise AssertionError


def short_bytes(number: int) -> str:
    """Returns a number of bytes.

    >>> short_bytes(512), short_bytes(102_228_128)
    ('512 B', '102.2 MB')
    """
    text = short(number)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"
