"""Event types: every type this software writes, and which of what the log may hold it can read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from domain.events import editorial
from domain.events.upcasts import stored_names

# The many first: whoever looks a type up finds it soon.
VOTING_TYPES = ("VoteCast", "VoteRetracted", "BookmarkSaved", "BookmarkDropped")
EDITORIAL_TYPES = tuple(each.__name__ for each in get_args(editorial.EditorialEvent))


def event_types(also: Iterable[str] = ()) -> tuple[str, ...]:
    """The families this software has heard of, and ``also`` those."""
    return tuple(dict.fromkeys((*VOTING_TYPES, *EDITORIAL_TYPES, *also)))


def readable_types(also: Iterable[str] = ()) -> list[str]:
    """The stored names of every version of these that it reads."""
    return [stored for name in event_types(also) for stored in stored_names(name, editorial.UPCASTERS)]
