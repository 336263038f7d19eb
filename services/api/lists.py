"""Lists: their shape, their cursors, and slugs named in a query."""

from __future__ import annotations

import base64
import re
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from services.api.problems import Rejected

T = TypeVar("T")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
MOST_NAMED = 100


class Items(Struct, Generic[T], frozen=True):
    """``next`` is the cursor of the next page, or null on the last."""

    items: list[T]
    next: str | None = None


def slugs_in(text: str) -> list[str]:
    """The slugs of ``a,b,c``, each once. Raises Rejected for what is not a slug, or for more than 100."""
    slugs = list(dict.fromkeys(text.split(",")))
    wrong = [slug for slug in slugs if not _SLUG.match(slug) or len(slug) > 100]
    if wrong:
        raise Rejected(
            400, "invalid", f"tools: {wrong[0][:60]!r} is not a slug. Write slugs, comma-separated."
        )
    if len(slugs) > MOST_NAMED:
        raise Rejected(400, "invalid", f"tools: at most {MOST_NAMED} at a time.")
    return slugs


def write_cursor(key: tuple[str | int, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def read_cursor(cursor: str, type: type[T]) -> T:
    """Raises Rejected for anything that write_cursor did not make."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=="), type=type)
    except (ValueError, msgspec.MsgspecError):
        raise Rejected(
            400, "invalid", "cursor: this is not a cursor of this list. Start from the first page."
        ) from None
