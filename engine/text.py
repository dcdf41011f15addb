"""What may be stored, sent to a model, or shown: text without characters that do harm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Right-to-left overrides and isolates reorder what a terminal shows: a refund of 123 reads 321.
_BIDI = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HARMFUL = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff{_BIDI}]")


def clean(text: str) -> str:
    """`text` without control characters (line breaks and tabs stay), surrogates, bidi controls.

    One lone surrogate that is stored once makes every later request to the model fail.
    """
    if text.isprintable() or not _HARMFUL.search(text):  # true of most text, and fast
        return text
    return _HARMFUL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def refusal_in(reply: Mapping[str, Any] | None) -> str:
    """MongoDB's own words in an error's `details`, such as `not authorized on shop`.

    The rest of the reply is the command with its data, the sessions and the clocks.
    """
    reply = reply or {}
    words = clean(str(reply.get("errmsg") or reply.get("codeName") or ""))
    words = re.split(r"\s*(?: to execute command|[{\n])", words)[0][:100]
    return words or f"error {reply.get('code', 'without a code')}"
