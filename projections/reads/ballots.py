"""Ballots: the votes of tools as a verdict reads them, by day where the rulebook weighs their age."""

from __future__ import annotations

from collections.abc import Sequence

from domain.rulebooks.rulebook import Rulebook
from domain.verdicts.decay import Ballots
from projections.daily_votes import read_days
from projections.engine.snapshot import Snapshot
from projections.tally import read_tallies


async def read_ballots(snapshot: Snapshot, tools: Sequence[int], rulebook: Rulebook) -> dict[int, Ballots]:
    """Of each of these tools, now or in a past."""
    tallies = await read_tallies(snapshot, tools)
    aged = await read_days(snapshot, tools) if rulebook.weighs_age else {}
    return {tool: Ballots(*tallies.get(tool, (0, 0)), *aged.get(tool, (None, ()))) for tool in tools}
