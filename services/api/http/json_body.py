"""JSON request bodies: strict JSON or a 4xx. By itself, the framework ignores content types and repeated fields."""

from __future__ import annotations

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
        return cast(D, strict_json.decode(body, decoder))
    except strict_json.Malformed as error:
        raise HttpRejected(400, "invalid", str(error)) from None
