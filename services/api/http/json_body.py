"""JSON request bodies: strict JSON or a 4xx. By itself, the framework ignores content types and repeated fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar, cast

import msgspec
from litestar.dto import MsgspecDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from msgspec import Struct

from services.api.http.problems import HttpRejected
from services.ingest import strict_json

T = TypeVar("T", bound=Struct)
D = TypeVar("D")
# Control characters that the types of events accept, since the log may have them; U+0085 is a line break.
_CONTROL = re.compile("[\x80-\x9f]")
_CONTROL_IN_JSON = re.compile(rb"\xc2[\x80-\x9f]|\\u00[89]", re.IGNORECASE)
_OPAQUE = frozenset({"voter", "password", "current", "new"})  # fields that nobody is shown
_JSON_TYPES = {"application/json", "application/json;charset=utf-8"}


class _SchemaCreator(Protocol):
    """The one method of Litestar's SchemaCreator that is used here; the class itself is in a private module."""

    def for_field_definition(self, field_definition: FieldDefinition) -> Schema | Reference: ...


class StrictJSON(MsgspecDTO[T]):
    """Decodes a handler's ``data`` as its own type: JSON content type, no repeated or unknown fields, no text for a number."""

    def decode_bytes(self, value: bytes) -> Any:
        check_json_type(self.asgi_connection.headers.get("content-type", ""))
        field = self.asgi_connection.route_handler.parsed_data_field
        return decode(value, field.annotation)

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: type[Any] | None = None
    ) -> None:
        """Makes no transfer model, since ``decode_bytes`` needs none."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: _SchemaCreator
    ) -> Reference | Schema:
        return schema_creator.for_field_definition(field_definition)


def check_json_type(content_type: str) -> None:
    if content_type.lower().replace(" ", "") not in _JSON_TYPES:
        raise HttpRejected(
            415, "unsupported-media-type", "Send JSON with the header Content-Type: application/json."
        )


_decoders: dict[object, msgspec.json.Decoder[Any]] = {}


def decode(body: bytes, type: type[D]) -> D:
    """Raises HttpRejected, which says where the mistake is."""
    try:
        decoder = _decoders.get(type) or _decoders.setdefault(type, msgspec.json.Decoder(type))
        value = cast(D, strict_json.decode(body, decoder))
    except strict_json.Malformed as error:
        raise HttpRejected(400, "invalid", str(error)) from None
    if _CONTROL_IN_JSON.search(body):
        _reject_controls(value)
    return value


def _reject_controls(value: object) -> None:
    field = next((path for path, text in _texts(msgspec.to_builtins(value)) if _CONTROL.search(text)), None)
    if field is not None:
        raise HttpRejected(400, "invalid", f"{field}: text without the control characters U+0080 to U+009F.")


def _texts(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Each text that may be shown to somebody, with the path of its field."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in _OPAQUE:
                yield from _texts(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _texts(each, f"{path}[{index}]")
