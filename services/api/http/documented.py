"""What a route declares for the OpenAPI document where its signature does not tell it: headers, bodies, credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar.datastructures import ResponseHeader
from msgspec import Struct

_BODY = "documented body"


class Body(Struct, frozen=True):
    """``content``: the type of the body by media type. ``encodings``: the values that Content-Encoding may have."""

    content: Mapping[str, Any]
    required: bool = True
    encodings: tuple[str, ...] = ()


def _sent(name: str) -> ResponseHeader:
    return ResponseHeader(name=name, documentation_only=True)


# openapi/headers.py describes each of these.
ETAG, LINK, LOCATION, SET_COOKIE = map(_sent, ("ETag", "Link", "Location", "Set-Cookie"))
FRESHNESS = [_sent(name) for name in ("Shiplog-Position", "Shiplog-Lag-Ms", "Shiplog-Incomplete")]
# For routes that read cookies without a guard that requires them.
OWN_THINGS: list[dict[str, list[str]]] = [{"visitor": []}, {"key": ["votes:write"]}, {"key": ["read"]}, {}]
SESSION: list[dict[str, list[str]]] = [{"session": []}]


def reads_body(
    content: Mapping[str, Any], *, required: bool = True, encodings: tuple[str, ...] = ()
) -> dict[str, Any]:
    """For ``opt`` of a route that decodes its body itself."""
    return {_BODY: Body(content, required, encodings)}


def body_of(opt: Mapping[str, Any]) -> Body | None:
    body: Body | None = opt.get(_BODY)
    return body
