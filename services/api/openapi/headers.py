"""The response headers of the API, described once."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]


def _header(description: str, example: object, **schema: object) -> JsonObject:
    return {"description": description, "schema": {"type": "string"} | schema, "example": example}


HEADERS: dict[str, JsonObject] = {
    "Access-Control-Allow-Origin": _header("Pages of any site may read this answer.", "*"),
    "Cache-Control": _header(
        "`no-cache`: keep it, and ask again with its ETag; `no-store`: do not keep it.", "no-cache"
    ),
    "ETag": _header(
        "Send it back in If-None-Match to get 304 if nothing changed; an answer that shows a tool begins it with "
        "the revision, for If-Match.",
        '"3-0f1e2d3c4b5a69788796a5b4"',
    ),
    "Link": _header(
        'The next page, with `rel="next"`. Absent on the last.', '</v1/tools?cursor=WzFd>; rel="next"'
    ),
    "Location": _header("The address of what was made.", "/v1/trials/019dd2c0-0000-7000-8000-000000000001"),
    "RateLimit": _header(
        "What is left of the limit: `r` requests now, and more in `t` seconds.", '"visitor";r=150;t=1'
    ),
    "RateLimit-Policy": _header("The limit: `q` requests in `w` seconds.", '"visitor";q=300;w=60'),
    "Retry-After": _header("Seconds to wait before the next try.", 1, type="integer", minimum=0),
    "Set-Cookie": _header(
        "The identity of a new visitor, or a session. HttpOnly.",
        "shiplog_visitor=mZ1…; HttpOnly; Path=/; SameSite=lax",
    ),
    "Shiplog-Incomplete": _header(
        "Only if a read model of this answer could not fold some events: their number.",
        2,
        type="integer",
        minimum=1,
    ),
    "Shiplog-Lag-Ms": _header(
        "The age in milliseconds of the oldest event that this answer does not include yet.",
        0,
        type="integer",
        minimum=0,
    ),
    "Shiplog-Position": _header(
        "The log positions that this answer shows, one for each shard.",
        "0.96,1.0,2.2",
        pattern=r"^[0-9]+\.[0-9]+(,[0-9]+\.[0-9]+)*$",
    ),
    "Vary": _header("The request headers that the answer depends on.", "Accept-Encoding"),
    "WWW-Authenticate": _header("The kind of credentials to send.", "Bearer"),
    "X-Content-Type-Options": _header("The content type is what it says.", "nosniff"),
}


def refer_to_headers(*names: str) -> JsonObject:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
