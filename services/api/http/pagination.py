"""Lists: their JSON shape, cursors, and slugs in a path or query."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode

import msgspec
from litestar.params import PathParameter, QueryParameter
from msgspec import Struct

from domain.shared.types import SLUG
from services.api.http.problems import HttpRejected
from services.api.http.public_address import public_address
from services.api.http.requests import AnyRequest

T = TypeVar("T")
SLUGS_MAX = 100

# For paths and queries, where the framework ignores the constraints of domain.shared.types.Slug.
SlugInPath = Annotated[str, PathParameter(pattern=SLUG, max_length=100)]
Cursor = Annotated[str | None, QueryParameter(max_length=400, required=False)]


class Items(Struct, Generic[T], frozen=True):
    """``next`` is the cursor of the next page, or null on the last."""

    items: list[T]
    next: str | None = None


def slugs_in(text: str) -> list[str]:
    """The slugs in ``a,b,c``, each once. Raises HttpRejected for text that is not a slug, or for more than 100."""
    slugs = list(dict.fromkeys(text.split(",")))
    malformed = [slug for slug in slugs if not re.match(SLUG, slug) or len(slug) > 100]
    if malformed:
        raise HttpRejected(
            400, "invalid", f"tools: {malformed[0][:60]!r} is not a slug. Separate slugs by commas."
        )
    if len(slugs) > SLUGS_MAX:
        raise HttpRejected(400, "invalid", f"tools: at most {SLUGS_MAX} at a time.")
    return slugs


def write_cursor(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def read_cursor(cursor: str, type: type[T]) -> T:
    """Raises HttpRejected for anything that write_cursor did not write."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=="), type=type)
    except (ValueError, msgspec.MsgspecError):
        raise HttpRejected(
            400, "invalid", "cursor: this is not a cursor of this list. Start from the first page."
        ) from None


def next_link(request: AnyRequest, cursor: str, **more: str) -> str:
    """The address of the next page as a Link header; ``more`` are further query parameters."""
    query = urlencode(dict(request.query_params) | more | {"cursor": cursor})
    return f'<{public_address(request.scope).link(request.url.path)}?{query}>; rel="next"'
