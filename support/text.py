"""What may be stored, sent to a model, or shown: text without characters that do harm."""

from __future__ import annotations

import unicodedata

# Right-to-left overrides and isolates reorder what a terminal shows: a refund of 123 reads 321.
_BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def clean(text: str) -> str:
    """`text` without control characters (line breaks and tabs stay), surrogates, bidi controls.

    One lone surrogate that is stored once makes every later request to the model fail.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        char
        for char in text
        if char in "\n\t"
        or (unicodedata.category(char) not in ("Cc", "Cs") and char not in _BIDI_CONTROLS)
    )
