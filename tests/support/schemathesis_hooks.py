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
    return _encode(value)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    headers = {**(kwargs.get("headers") or {}), **(case.headers or {})}
    amend(case, by_key="authorization" in {name.lower() for name in headers})


def amend(case: schemathesis.Case, *, by_key: bool) -> None:
    """Makes a request valid that the document allows, and leaves alone one that is meant to be invalid."""
    pack(case)
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    query: dict[str, Any] = case.query or {}
    query.pop("cursor", None)
    for name in query.keys() & set(_MOMENTS):
        if case.path != "/v1/tools/{slug}/history":
            query[name] = "0.1"
    if "min_position" in query:
        query["min_position"] = "0.1"
    if case.headers:
        case.headers.pop("If-Match", None)
    for named in (query, case.body if isinstance(case.body, dict) else {}):
        _name_voter(named, by_key=by_key, needed=case.method in ("POST", "PUT", "DELETE"))


def pack(case: schemathesis.Case) -> None:
    """Without this every compressed body would be damaged, although the document allows the request."""
    compress = COMPRESS.get((case.headers or {}).get("Content-Encoding", ""))
    if compress is not None and isinstance(case.body, str | bytes):
        case.body = compress(_encode(case.body))


def _name_voter(named: dict[str, Any], *, by_key: bool, needed: bool) -> None:
    if named.get("id") is not None:
        named["id"] = str(uuid_utils.compat.uuid7())
    if not by_key:
        named.pop("voter", None)
    elif needed and ("tool" in named or "voter" in named):
        named["voter"] = "someone"


def _encode(body: object) -> bytes:
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")
