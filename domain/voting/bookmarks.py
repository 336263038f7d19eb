"""Bookmarks: a tool on somebody's shelf. They stand and move as ballots do, and never enter a tally."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from domain.shared.types import Name, Text

SAVED: Literal["saved"] = "saved"


class Note(Struct, frozen=True, forbid_unknown_fields=True):
    """What its owner wrote beside a bookmark. Private: kept outside the log, never exported."""

    note: Text = ""
    tags: Annotated[tuple[Name, ...], Meta(max_length=20)] = ()
