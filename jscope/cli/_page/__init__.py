"""One page without any network: the data, a style and a script, in one file.

Names in a checkpoint may come from anywhere, and `<script>` is a name. So they are data to the page: JSON in which no
`<` stands, which the script turns into text and never into markup. And the page says to the browser that nothing but
this one style and this one script may take effect: by their hashes, in a content security policy.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any


def page(data: Mapping[str, Any]) -> str:
    """Returns the page of some data: `name`, `metadata`, `against` (a name or None), and `variables`.

    >>> text = page({"name": "<b>", "metadata": {}, "against": None, "variables": [{"name": "</script>"}]})
    >>> "<b>" in text, text.count("</script>")
    (False, 2)
    """
    style, script, body = (_part(name) for name in ("page.css", "page.js", "page.html"))
    # Python's `json` writes NaN and infinities, which JSON does not have; there are none among the data.
    told = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        told = told.replace(character, f"\\u{ord(character):04x}")
    return Template(body).substitute(
        title=html.escape(data["name"]),
        style_hash=_hash(style),
        script_hash=_hash(script),
        style=style,
        script=script,
        data=told,
    )


def _part(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
