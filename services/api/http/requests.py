"""Requests, as this project's handlers and guards are given them."""

from __future__ import annotations

from typing import Any, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State

# The framework's type parameters for handler, user and auth are not used here.
Connection: TypeAlias = ASGIConnection[Any, Any, Any, State]


AnyRequest: TypeAlias = Request[Any, Any, State]
