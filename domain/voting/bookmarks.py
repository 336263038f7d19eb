"""Bookmarks: tools on a person's shelf. They change by the same rule as ballots, and never enter a tally."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from domain.shared.types import Name, Text

SAVED: Literal["saved"] = "saved"


class Note(Struct, frozen=True, forbid_unknown_fields=True):
    """A private note on a bookmark, kept outside the log and never exported."""

    note: Text = ""
    tags: Annotated[tuple[Name, ...], Meta(max_length=20)] = ()
