"""The schemas of bodies, from their types: msgspec's own, under one short name each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from inspect import cleandoc
from typing import Any

import msgspec
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
        for struct in _structs(distinct):
            _mark_times(struct, self.components)
        requests = self._reachable(map(self.of, sent))
        for name in self.components.keys() - requests:
            _require_all(self.components[name])

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
    if isinstance(ref := copy.get("$ref"), str):
        copy["$ref"] = _REF + _short(ref.removeprefix(_REF))
    if isinstance(pattern := copy.get("pattern"), str):
        copy["pattern"] = portable(pattern)
    if isinstance(description := copy.get("description"), str):
        copy["description"] = cleandoc(description).replace("``", "`")
    if isinstance(title := copy.get("title"), str):
        copy["title"] = _short(re.sub(r"\W", "_", title))
    if isinstance(values := copy.get("enum"), list) and all(isinstance(value, str) for value in values):
        copy = {"type": "string"} | copy
    return copy


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


def _require_all(schema: JsonObject) -> None:
    """An answer has all its fields, also those that have a default."""
    schema["required"] = list(schema.get("properties", {}))
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


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


def _mark_times(struct: StructType, components: Mapping[str, JsonObject]) -> None:
    """msgspec leaves the format out, since a ``datetime`` might lack its zone; ours never do."""
    schema = components.get(_short(re.sub(r"[^\w.]", "_", _name_of(struct))))
    for field in struct.fields if schema else ():
        _mark(field.type, schema["properties"][field.encode_name])  # type: ignore[index]


def _name_of(struct: StructType) -> str:
    arguments = getattr(struct.cls, "__args__", ())
    name: str = struct.cls.__name__
    return f"{name}[{','.join(each.__name__ for each in arguments)}]" if arguments else name


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
