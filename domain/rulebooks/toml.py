"""Rulebook texts: a rulebook as TOML again, for people; ``read_rulebook`` makes the same one of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import msgspec

from domain.rulebooks.rulebook import Rulebook


def write_rulebook(book: Rulebook) -> str:
    """Every field, those that only default among them; what is not set is left out."""
    return "\n".join(_lines(msgspec.to_builtins(book))) + "\n"


def _lines(fields: Mapping[str, object], table: str = "") -> Iterator[str]:
    """TOML has a table's own values first, then the tables in it."""
    for name, value in fields.items():
        if value is not None and not isinstance(value, dict):
            yield f"{name} = {_value(value)}"
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            below = f"{table}.{name}" if table else name
            yield from ("", f"[{below}]", *_lines(value, below))


def _value(value: object) -> str:
    """A JSON string, number or array is one of TOML's, but for the character that only TOML has escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
