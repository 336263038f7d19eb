"""Wording: what pages say in place of the exact figures of the API."""

from __future__ import annotations

import re
from decimal import Decimal

_SHORT_OF = re.compile(r"^([01]\.\d{4}) of a share is missing to (\w+)\.$")
_SHARE = re.compile(r"(?<![\d.,])[01]\.\d{4}(?!\d)")
_LARGE_NUMBER = re.compile(r"(?<![\d.,])\d{4,}(?![\d.])")


def in_words(sentence: str) -> str:
    """A sentence of an explanation for people: shares in per cent, and large numbers with separators.

    The sentences themselves are part of proofs, and stay as they are there.
    """
    if short := _SHORT_OF.match(sentence):
        points = _per_cent(short[1]).removesuffix("%")
        return (
            f"The share is {points} percentage {'point' if points == '1' else 'points'} short of {short[2]}."
        )
    shares = _SHARE.sub(lambda found: _per_cent(found[0]), sentence)
    return _LARGE_NUMBER.sub(lambda found: f"{int(found[0]):,}", shares)


def _per_cent(share: str) -> str:
    return f"{(Decimal(share) * 100).normalize():f}%"
