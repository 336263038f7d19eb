"""Event types: every type this release writes, and the stored types it can read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from domain.events import editorial
from domain.events.upcasts import stored_names

# Most frequent first.
VOTING_TYPES = ("VoteCast", "VoteRetracted", "BookmarkSaved", "BookmarkDropped")
EDITORIAL_TYPES = tuple(each.__name__ for each in get_args(editorial.EditorialEvent))


def event_types(extra: Iterable[str] = ()) -> tuple[str, ...]:
    """The event types, without versions, that this release writes, and the ``extra`` ones."""
    return tuple(dict.fromkeys((*VOTING_TYPES, *EDITORIAL_TYPES, *extra)))


def readable_types(extra: Iterable[str] = ()) -> list[str]:
    """The stored types of every version of ``event_types`` that this release reads."""
    return [stored for name in event_types(extra) for stored in stored_names(name, editorial.UPCASTERS)]
