"""Constrained strings and numbers: slugs, names, texts, URLs, scores."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

# "$" alone would let a trailing newline through.
END = r"$(?!\n)"

Choice = Literal["ship", "skip"]
Slug = Annotated[str, Meta(pattern=rf"^[a-z0-9]+(-[a-z0-9]+)*{END}", max_length=100)]

# A line has no control characters; a text may have tabs and newlines.
_LINE = rf"^[^\x00-\x1f\x7f\u2028\u2029]*{END}"
_TEXT = rf"^[^\x00-\x08\x0b-\x1f\x7f]*{END}"
# A name shows at least one character.
_NAME = rf"^[^\x00-\x1f\x7f\u2028\u2029]*[^\s\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff][^\x00-\x1f\x7f\u2028\u2029]*{END}"

Name = Annotated[str, Meta(pattern=_NAME, min_length=1, max_length=120)]
Line = Annotated[str, Meta(pattern=_LINE, max_length=200)]
Text = Annotated[str, Meta(pattern=_TEXT, max_length=4000)]
Url = Annotated[str, Meta(pattern=rf"^https?://[^\s\x00-\x1f\x7f\"'<>\\]+{END}", max_length=500)]
Score = Annotated[int, Meta(ge=0, le=100)]
