"""Constrained strings and numbers: slugs, names, texts, URLs, scores."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

# "$" alone would let a trailing newline through.
END = r"$(?!\n)"

SLUG = rf"^[a-z0-9]+(-[a-z0-9]+)*{END}"
DIGEST_OR_SLUG = rf"^(sha256:[0-9a-f]{{64}}|[a-z0-9]+(-[a-z0-9]+)*){END}"
SESSION_ID = rf"^[0-9a-f]{{16}}{END}"
_IDENTIFIER = rf"^[a-z_]+{END}"

# A line has no control characters; a text may have tabs and newlines.
_LINE = rf"^[^\x00-\x1f\x7f\u2028\u2029]*{END}"
_TEXT = rf"^[^\x00-\x08\x0b-\x1f\x7f]*{END}"
# A name shows at least one character.
_NAME = rf"^[^\x00-\x1f\x7f\u2028\u2029]*[^\s\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff][^\x00-\x1f\x7f\u2028\u2029]*{END}"
_URL = rf"^https?://[^\s\x00-\x1f\x7f\"'<>\\]+{END}"

Choice = Literal["ship", "skip"]
Slug = Annotated[str, Meta(pattern=SLUG, max_length=100)]
Identifier = Annotated[str, Meta(pattern=_IDENTIFIER, max_length=60)]
Name = Annotated[str, Meta(pattern=_NAME, min_length=1, max_length=120)]
Line = Annotated[str, Meta(pattern=_LINE, max_length=200)]
Text = Annotated[str, Meta(pattern=_TEXT, max_length=4000)]
Url = Annotated[str, Meta(pattern=_URL, max_length=500)]
Score = Annotated[int, Meta(ge=0, le=100)]

# What errors say instead of a pattern.
PATTERN_REQUIREMENTS = {
    SLUG: "lower-case letters and digits, with single hyphens between them",
    DIGEST_OR_SLUG: "a name in lower-case letters, digits and hyphens, or a digest: sha256: and 64 hexadecimal digits",
    SESSION_ID: "16 hexadecimal digits",
    _IDENTIFIER: "lower-case letters and underscores",
    _LINE: "one line, without control characters",
    _TEXT: "text without control characters other than tabs and line breaks (\\n)",
    _NAME: "one line, without control characters, with at least one visible character",
    _URL: "an address that begins with https:// or http://, without spaces, quotes, <, > or backslashes",
}
