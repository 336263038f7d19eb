"""What is wrong with a rulebook, in words: which field, and what to write there."""

from __future__ import annotations

import re

from msgspec import inspect

_PATH = re.compile(r"(?P<said>.*?)(?: - at (?:`key` in )?`\$\.?(?P<field>.*)`)?\Z", re.DOTALL)
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`\Z")


def in_words(error: Exception, book: type) -> str:
    """Of a msgspec.ValidationError met while converting to ``book``, or of any other error its own text."""
    found = _PATH.match(str(error))
    assert found is not None
    said, field = found["said"], found["field"] or ""
    named = _NAMED.match(said)
    if named:
        return _of_field(named[1], field, named[2], book)
    if not field:
        return said
    return f"`{field}`: {_what_to_write(said, inspect_at(field, book))}"


def _of_field(how: str, parent: str, name: str, book: type) -> str:
    path = f"{parent}.{name}" if parent else name
    if how.startswith("missing"):
        return f"`{path}` is missing. Add it."
    known = inspect_at(parent, book)
    fields = [each.encode_name for each in known.fields] if isinstance(known, inspect.StructType) else []
    return f"`{path}` is no field. There are: {', '.join(fields)}."


def _what_to_write(said: str, known: inspect.Type | None) -> str:
    if isinstance(known, inspect.LiteralType):
        return "write " + " or ".join(f'"{value}"' for value in known.values) + "."
    if "a-z0-9" in said:
        return "write small letters and digits, with single hyphens between them."
    if "matching regex" in said:
        return "write text without control characters."
    if said.startswith("Expected `str") and "got" in said:
        return "write it as text, in quotes."
    return f"{said[:1].lower()}{said[1:]}."


def inspect_at(field: str, book: type) -> inspect.Type | None:
    """What belongs at ``panel.weight`` or ``comparison[0]``."""
    known: inspect.Type | None = inspect.type_info(book)
    for name in re.findall(r"[a-z_]+|\[", field):
        match known:
            case inspect.StructType(fields=fields):
                known = next((each.type for each in fields if each.encode_name == name), None)
            case inspect.VarTupleType(item_type=item):
                known = item
            case _:
                return known
    return known
