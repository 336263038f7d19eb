"""What Schemathesis has to know of our API and no schema can say.

Two media types are texts, and bulk is compressed as its header says. A cursor comes from a page before; a moment has
passed; a revision is the tool's; an id's time has come; and a voter is named by keys, and by nobody else.
"""

from __future__ import annotations

import gzip
import sys
from typing import Any

import schemathesis
import uuid_utils.compat
from schemathesis import GenerationMode

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESS = {"gzip": gzip.compress, "zstd": zstd.compress}
_MOMENTS = ("as_of", "since", "from", "to")


@schemathesis.serializer("application/x-ndjson", "application/toml")
def serialize_text(context: schemathesis.SerializationContext, value: object) -> bytes:
    """Compressed as the header says: otherwise every such body would be damaged, although the document allows the request."""
    body = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    compress = COMPRESS.get((context.case.headers or {}).get("Content-Encoding", ""))
    return compress(body) if compress else body


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    headers = {**(kwargs.get("headers") or {}), **(case.headers or {})}
    amend(case, by_key="authorization" in {name.lower() for name in headers})


def amend(case: schemathesis.Case, *, by_key: bool) -> None:
    """Makes a request valid that the document allows, and leaves alone one that is meant to be invalid."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    _take_slugs(case.path_parameters or {})
    query: dict[str, Any] = case.query if case.query is not None else {}
    case.query = query
    query.pop("cursor", None)
    for name in query.keys() & set(_MOMENTS):
        if case.path != "/v1/tools/{slug}/history":
            query[name] = "0.1"
    if "min_position" in query:
        query["min_position"] = "0.1"
    if case.headers:
        case.headers.pop("If-Match", None)
    body = case.body if isinstance(case.body, dict) else {}
    if body.get("id") is not None:
        body["id"] = str(uuid_utils.compat.uuid7())
    if "id" in query:
        query["id"] = str(uuid_utils.compat.uuid7())
    _name_voter(query, by_key=by_key, may="voter" in case.operation.query)
    _name_voter(body, by_key=by_key, may="choice" in body and "tool" in body)


def _take_slugs(path: dict[str, Any]) -> None:
    """A link that Schemathesis guesses by names puts the whole ``tool`` of a bookmark into the path, an object."""
    for name, value in path.items():
        if isinstance(value, dict) and "slug" in value:
            path[name] = value["slug"]


def _name_voter(named: dict[str, Any], *, by_key: bool, may: bool) -> None:
    """A key has to name a voter where it may; nobody else may."""
    named.pop("voter", None)
    if by_key and may:
        named["voter"] = "someone"
