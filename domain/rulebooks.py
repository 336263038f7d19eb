"""Rulebooks: the rule of a verdict as data. Its digest names it wherever a verdict is shown."""

from __future__ import annotations

from functools import cached_property
from hashlib import sha256

import msgspec
from msgspec import Struct


class Rulebook(Struct, frozen=True, dict=True):
    """Thresholds are integer ratios, so that nothing compared or hashed is a float.

    A panel ships when ship/(ship+skip) is above ``ship_above``, skips when it is below, and is split at it.
    A tally with fewer than ``settled_votes`` votes is preliminary.
    """

    name: str
    ship_above: tuple[int, int] = (1, 2)
    settled_votes: int = 10

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of the canonical form: JSON with sorted keys and no spaces."""
        return "sha256:" + sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


DEFAULT = Rulebook("default")
