"""The schemas of bodies, from their types: msgspec's own, under one short name each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec.inspect import DateTimeType, DictType, Field, StructType, Type, UnionType, type_info

from domain.shared.types import END
from services.api.openapi.headers import JsonObject

_REF = "#/components/schemas/"
_GENERIC = re.compile(r"^(\w+?)_(\w+)_$")
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|(.))")


class Schemas:
    """Every type that a body has, with its schema by name. ``sent`` are the types that clients send."""

    def __init__(self, types: Iterable[Any], sent: Iterable[Any]) -> None:
        distinct = list(dict.fromkeys(types))
        schemas, components = msgspec.json.schema_components(distinct, ref_template=_REF + "{name}")
        self.components = {_short(name): _rename(schema) for name, schema in components.items()}
        self._of: dict[Any, JsonObject] = dict(zip(distinct, map(_rename, schemas), strict=True))
        structs = {_name_of(struct): struct for struct in _structs(distinct)}
        requests = self._reachable(map(self.of, sent))
        for name in self.components.keys() & structs.keys():
            _mark_times(structs[name], self.components[name])
            if name not in requests and not _omits_defaults(structs[name]):
                _require_all(structs[name], self.components[name])

    def of(self, type: Any) -> JsonObject:
        return self._of[type]

    def _reachable(self, schemas: Iterable[Any]) -> set[str]:
        found: set[str] = set()
        waiting = list(schemas)
        while waiting:
            names = set(_refs(waiting.pop())) - found
            found |= names
            waiting += [self.components[name] for name in names]
        return found


def portable(pattern: str) -> str:
    """The pattern as ECMA 262 and RE2 read it: there ``$`` is the very end, and only Python lets a newline follow it."""
    pattern = pattern.removesuffix(END).removesuffix(r"\Z").removesuffix("$") + "$"
    return _ESCAPE.sub(_unescape, pattern)


def _unescape(escape: re.Match[str]) -> str:
    """RE2 has no ``\\u``, and ECMA 262 allows no needless escape."""
    if escape[1]:
        return chr(int(escape[1], 16))
    return escape[2] if escape[2] in "\"'" else escape[0]


def _short(name: str) -> str:
    """``Items_OwnVote_`` becomes OwnVoteItems."""
    generic = _GENERIC.match(name)
    return f"{_short(generic[2])}{generic[1]}" if generic else name


def _rename(schema: Any) -> Any:
    """A copy for the document: short names, portable patterns, clean texts, and a type beside every enumeration."""
    if isinstance(schema, list):
        return [_rename(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {key: _as_json(value) if key == "default" else _rename(value) for key, value in schema.items()}
    for key, amend in _AMENDMENTS.items():
        if isinstance(text := copy.get(key), str):
            copy[key] = amend(text)
    if copy.get("items") is False:
        del copy["items"]  # minItems and maxItems say so too, and generators expect a schema
    if all(isinstance(value, str) for value in copy.get("enum", [0])):
        copy = {"type": "string"} | copy
    return copy


_AMENDMENTS: dict[str, Callable[[str], str]] = {
    "$ref": lambda ref: _REF + _short(ref.removeprefix(_REF)),
    "pattern": portable,
    "description": lambda text: cleandoc(text).replace("``", "`"),
    "title": lambda title: _short(re.sub(r"\W", "_", title)),
}


def _as_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _refs(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(ref := schema.get("$ref"), str):
            yield ref.removeprefix(_REF)
        for value in schema.values():
            yield from _refs(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _refs(value)


def _require_all(struct: StructType, schema: JsonObject) -> None:
    """An answer has all its fields, also those that have a default, unless that is "unset"."""
    schema["required"] = [field.encode_name for field in struct.fields if not _may_be_unset(field)]
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


def _may_be_unset(field: Field) -> bool:
    return not field.required and field.default is NODEFAULT and field.default_factory is NODEFAULT


def _structs(types: Iterable[Any]) -> list[StructType]:
    found: dict[Any, StructType] = {}

    def visit(type: Type) -> None:
        if isinstance(type, StructType):
            if type.cls in found:
                return
            found[type.cls] = type
        for child in _children(type):
            visit(child)

    for each in types:
        visit(type_info(each))
    return list(found.values())


def _children(type: Any) -> list[Type]:
    fields = [field.type for field in getattr(type, "fields", ()) if isinstance(field, Field)]
    single = [getattr(type, name, None) for name in ("item_type", "key_type", "value_type")]
    several = [*getattr(type, "types", ()), *getattr(type, "item_types", ())]
    nested = getattr(type, "type", None)
    return [each for each in (*fields, *single, *several, nested) if isinstance(each, Type)]


def _name_of(struct: StructType) -> str:
    """The name of its schema: that of the type, after its argument's if it is generic."""
    arguments = getattr(struct.cls, "__args__", ())
    return "".join(each.__name__ for each in (*arguments, struct.cls))


def _omits_defaults(struct: StructType) -> bool:
    return bool(getattr(struct.cls, "__origin__", struct.cls).__struct_config__.omit_defaults)


def _mark_times(struct: StructType, schema: JsonObject) -> None:
    """msgspec leaves the format out, since a ``datetime`` might lack its zone; ours never do."""
    for field in struct.fields:
        _mark(field.type, schema["properties"][field.encode_name])


def _mark(type: Type, schema: JsonObject) -> None:
    match type:
        case DateTimeType():
            schema["format"] = "date-time"
        case UnionType():
            for member in schema.get("anyOf", []):
                if member == {"type": "string"} and any(
                    isinstance(each, DateTimeType) for each in type.types
                ):
                    member["format"] = "date-time"
        case DictType():
            _mark(type.value_type, schema["additionalProperties"])
