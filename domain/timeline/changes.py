"""Changes: the editorial events that change what a verdict depends on."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.timeline.flips import LogOrder
from domain.verdicts.verdict import Judgement


class TakeChange(Struct, frozen=True):
    """A take was published, or withdrawn if ``judgement`` is None. ``event`` is the type of the event."""

    order: LogOrder
    event: str
    reviewer: str
    judgement: Judgement | None


class RulebookChange(Struct, frozen=True):
    """A rulebook was adopted."""

    order: LogOrder
    event: str
    rulebook: Rulebook


Change = TakeChange | RulebookChange


def with_take(takes: Mapping[str, Judgement], change: TakeChange) -> dict[str, Judgement]:
    after = dict(takes)
    after.pop(change.reviewer, None)
    if change.judgement is not None:
        after[change.reviewer] = change.judgement
    return after
