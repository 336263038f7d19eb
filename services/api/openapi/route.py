"""A route of the document: its handler, and the types of what it is sent and answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import NoneType
from typing import Any

from litestar.handlers import HTTPRouteHandler
from litestar.response import ServerSentEvent
from msgspec import Struct

from services.api.http.allowed_access import Access, access_of
from services.api.http.documented import Body, body_of
from services.api.openapi.tags import OperationGroup, group_of


class Route(Struct, frozen=True):
    """A handler under one path and method; ``method`` is in lower case."""

    handler: HTTPRouteHandler
    path: str
    method: str

    @property
    def access(self) -> Access:
        return access_of(self.handler.resolve_guards())

    @property
    def group(self) -> OperationGroup:
        module = sys.modules[self.handler.fn.__module__]
        return group_of(module.__name__, module.__doc__)

    @property
    def answer(self) -> Any:
        """The type of a successful answer's body; None without one."""
        returned = self.handler.parsed_fn_signature.return_type
        declared = (self.handler.responses or {}).get(self.handler.status_code)
        answer = returned.inner_types[0].annotation if returned.inner_types else returned.annotation
        if declared is not None:
            answer = declared.data_container
        if answer in (None, NoneType):
            return None
        return str if answer in (bytes, ServerSentEvent) else answer

    @property
    def body(self) -> Body | None:
        if declared := body_of(self.handler.opt):
            return declared
        data = self.handler.parsed_fn_signature.parameters.get("data")
        return Body({"application/json": data.annotation}) if data else None

    def types(self) -> Iterator[Any]:
        """The types of all bodies, sent and answered."""
        yield from self.body.content.values() if self.body else ()
        if self.answer is not None:
            yield self.answer
        for declared in (self.handler.responses or {}).values():
            if declared.data_container is not None:
                yield declared.data_container
