"""The progress of a job, as answers show it."""

from __future__ import annotations

from msgspec import Struct


class Progress(Struct, frozen=True):
    """In events of the log."""

    done: int
    total: int
