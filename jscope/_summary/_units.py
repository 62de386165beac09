"""Large numbers as people read them."""

from __future__ import annotations


def short(number: int) -> str:
    """Returns a number with at most four digits, and a thousand, million, ... in words.

    >>> short(9999), short(25_557_032), short(999_960), short(10**15)
    ('9,999', '25.56 M', '1.000 M', '1.000 P')
    """
    if number < 10_000:
        return f"{number:,}"
    scaled = float(number)
    for unit in "kMGTPE":
        scaled /= 1000
        text = f"{scaled:#.4g}"
        # Of the rounded number, since 999,960 is 1.000 M to four digits, and not 1000 k.
        if float(text) < 1000:
            return f"{text} {unit}"
    return f"{scaled:,.0f} E"


def short_bytes(number: int) -> str:
    """Returns a number of bytes.

    >>> short_bytes(512), short_bytes(102_228_128)
    ('512 B', '102.2 MB')
    """
    text = short(number)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"
