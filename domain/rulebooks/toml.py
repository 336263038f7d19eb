"""Rulebooks as TOML. ``read_rulebook`` reads back an equal rulebook."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import msgspec

from domain.rulebooks.rulebook import Rulebook


def write_rulebook(book: Rulebook) -> str:
    """Every field, defaults included; optional fields that are not set are left out."""
    return "\n".join(_lines(msgspec.to_builtins(book))) + "\n"


def _lines(fields: Mapping[str, object], table: str = "") -> Iterator[str]:
    """In TOML a table's own values come before the tables inside it."""
    for name, value in fields.items():
        if value is not None and not isinstance(value, dict):
            yield f"{name} = {_value(value)}"
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            inner = f"{table}.{name}" if table else name
            yield from ("", f"[{inner}]", *_lines(value, inner))


def _value(value: object) -> str:
    """JSON strings, numbers and arrays are valid TOML, except that TOML escapes U+007F."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
