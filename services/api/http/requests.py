"""The types of requests and connections that handlers and guards take."""

from __future__ import annotations

from typing import Any, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State

# The framework's type parameters for handler, user and auth are not used.
Connection: TypeAlias = ASGIConnection[Any, Any, Any, State]
AnyRequest: TypeAlias = Request[Any, Any, State]
