"""Initials: the letter on a tool's flag."""

from __future__ import annotations

import re
import unicodedata

_ARTICLE = re.compile(r"the\s+(?=\S)", re.IGNORECASE)
_JOINER, _VARIATION, _MODIFIERS = "\u200d", "\ufe0f", "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


def initial_of(name: str) -> str:
    """The first letter or digit, with its marks, in upper case, after an article; a name without any gives its first symbol.

    Marks belong to the letter before them; so do joiners, variation selectors and skin tones of an emoji.
    """
    text = unicodedata.normalize("NFC", name.strip())
    if article := _ARTICLE.match(text):
        text = text[article.end() :]
    start = next((index for index, each in enumerate(text) if each.isalnum()), 0)
    symbol = _symbol(text[start:])
    upper = symbol.upper()
    return upper if len(upper) == len(symbol) else symbol


def _symbol(text: str) -> str:
    end = 1
    while end < len(text) and (_extends(text[end]) or text[end - 1] == _JOINER):
        end += 1
    if _is_regional(text[:1]) and _is_regional(text[1:2]):  # two of them are one flag
        end = 2
    return text[:end]


def _extends(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or character in (_JOINER + _VARIATION + _MODIFIERS)


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
