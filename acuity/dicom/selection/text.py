"""Texts of headers in the form in which the words of rules are matched with them."""

from __future__ import annotations

import re
import unicodedata


def plain(text: str) -> str:
    """Lower case, without accents, underscores as spaces."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower().replace("_", " ").strip()


def whole_words(pattern: str) -> re.Pattern[str]:
    """A regular expression that matches whole words of a ``plain`` text. Raises re.error."""
    return re.compile(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", re.IGNORECASE)
