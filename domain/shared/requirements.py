"""Requirements of types in words, so that no error shows a pattern, a class or a library's own text."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct, ValidationError, inspect

from domain.shared.types import PATTERN_REQUIREMENTS

_PATH = re.compile(r"(?P<problem>.*?)(?: - at (?P<is_key>`key` in )?`\$\.?(?P<field>.*)`)?\Z", re.DOTALL)
_FIELD_PROBLEM = re.compile(r"Object (missing required|contains unknown) field `(.*)`\Z", re.DOTALL)
_STEP = re.compile(r"[^.\[\]]+|\[(?:\d+|\.\.\.)\]")
_NAME_CHARS_MAX = 60
_FIELDS_SHOWN_MAX = 4


class Mistake(Struct, frozen=True):
    """What a value lacks. ``field`` is a path such as ``pricing.entry``, and empty if it is the whole value."""

    field: str
    kind: Literal["missing", "unknown", "invalid"]
    requirement: str

    def __str__(self) -> str:
        match self.kind:
            case "missing":
                return f"{self.field} is missing. It is {self.requirement}."
            case "unknown":
                return f"{self.field} is not a field here. {self.requirement}"
            case _:
                return f"{self.field}: {self.requirement}." if self.field else f"Send {self.requirement}."


def find_mistake(error: ValidationError, expected: Any) -> Mistake:
    """The mistake that msgspec found in a value when it converted it to the type ``expected``."""
    found = _PATH.match(str(error))
    assert found is not None
    parent, problem = found["field"] or "", _FIELD_PROBLEM.match(found["problem"])
    if problem is None:
        field_type = type_at(parent, expected)
        if found["is_key"] and isinstance(field_type, inspect.DictType):
            field_type = field_type.key_type
        return Mistake(parent, "invalid", requirement_of(field_type))
    name = problem[2][:_NAME_CHARS_MAX]
    path = f"{parent}.{name}" if parent else name
    if problem[1] == "missing required":
        return Mistake(path, "missing", requirement_of(type_at(path, expected)))
    return Mistake(path, "unknown", f"The fields are: {', '.join(_names(type_at(parent, expected)))}.")


def type_at(path: str, expected: Any) -> inspect.Type | None:
    """The type of a field such as ``panel.weight``, ``comparison[0]`` or ``weights[...]``; None if there is none."""
    field_type: inspect.Type | None = inspect.type_info(expected)
    for step in _STEP.findall(path):
        field_type = _step_into(field_type, step)
    return field_type


def requirement_of(type: inspect.Type | None) -> str:
    """What to write for a value of this type, to stand after ``name: ``."""
    match type:
        case inspect.Metadata(type=inner):
            return requirement_of(inner)
        case inspect.UnionType(types=types):
            return ", or ".join(requirement_of(each) for each in sorted(types, key=is_none))
        case inspect.LiteralType(values=values):
            return _one_of([f'"{value}"' for value in values])
        case inspect.StrType(pattern=pattern):
            words = "text" if pattern is None else PATTERN_REQUIREMENTS[pattern]
            return words + _sized("; ", type.min_length, type.max_length, "characters")
        case inspect.IntType():
            return "a whole number" + _ranged(type)
        case inspect.ListType() | inspect.VarTupleType():
            return "a list" + _sized(" of ", type.min_length, type.max_length, "entries")
        case inspect.StructType(fields=fields) if len(fields) <= _FIELDS_SHOWN_MAX:
            return f"a JSON object with {', '.join(each.encode_name for each in fields)}"
        case _:
            return next(
                (words for known, words in _WORDS.items() if isinstance(type, known)), "another value"
            )


def is_none(type: inspect.Type) -> bool:
    return isinstance(type, inspect.NoneType)


_WORDS: dict[Any, str] = {
    inspect.NoneType: "null",
    inspect.BoolType: "true or false",
    inspect.UUIDType: "a UUID, for example 019dd2c0-0000-7000-8000-000000000001",
    inspect.DateTimeType: "a time with its zone, for example 2026-03-01T00:00:00Z",
    inspect.FloatType: "a number",
    inspect.TupleType: "a list of two entries",
    inspect.DictType: "a JSON object",
    inspect.StructType: "a JSON object",
}


def _step_into(type: inspect.Type | None, step: str) -> inspect.Type | None:
    match type:
        case inspect.Metadata(type=inner):
            return _step_into(inner, step)
        case inspect.UnionType(types=types):
            inner_types = [_step_into(each, step) for each in types]
            return next((each for each in inner_types if each is not None), None)
        case inspect.StructType(fields=fields):
            return next((each.type for each in fields if each.encode_name == step), None)
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return item
        case inspect.TupleType(item_types=items):
            number = step.strip("[]")
            return items[int(number)] if number.isdigit() and int(number) < len(items) else None
        case inspect.DictType(value_type=value):
            return value
        case _:
            return None


def _names(type: inspect.Type | None) -> list[str]:
    match type:
        case inspect.StructType(fields=fields):
            return [each.encode_name for each in fields]
        case inspect.UnionType(types=types):
            return [name for each in types for name in _names(each)]
        case _:
            return []


def _one_of(values: list[str]) -> str:
    return " or ".join(values) if len(values) <= 3 else f"one of {', '.join(values)}"


def _sized(separator: str, least: int | None, most: int | None, unit: str) -> str:
    match least, most:
        case None, None:
            return ""
        case None, _:
            return f"{separator}at most {most:,} {unit}"
        case _, None:
            return f"{separator}at least {least:,} {unit}"
        case _:
            return f"{separator}{least:,} to {most:,} {unit}"


def _ranged(type: inspect.IntType) -> str:
    match type.ge, type.le:
        case None, None:
            return ""
        case None, most:
            return f" of at most {most:,}"
        case least, None:
            return f" of at least {least:,}"
        case least, most:
            return f" from {least:,} to {most:,}"
