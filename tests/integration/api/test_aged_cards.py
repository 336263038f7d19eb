"""Cards under a rulebook that weighs age rest on the days of votes; under any other on two numbers."""

from __future__ import annotations

from datetime import UTC, datetime

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Rulebook
from domain.verdicts.decay import Ballots, DayVotes
from domain.verdicts.verdict import inputs_digest
from projections.engine.snapshot import take_snapshot
from services.api.views.cards import Card, read_cards
from tests.support.instances import day_of
from tests.support.stage import Stage, catch_up, vote_as

AGED = PRESETS["sixty-days"]
# Ahead of the clock: what comes next is recorded at these times.
MARCH, MAY = datetime(2099, 3, 1, 23, 59, 59, tzinfo=UTC), datetime(2099, 5, 1, tzinfo=UTC)
LATER = "UPDATE heads SET recorded_at = $1"


async def test_what_a_verdict_rests_on(stage: Stage) -> None:
    await stage.log.execute(LATER, MARCH)
    for voter, choice in (("ann", "ship"), ("bob", "ship"), ("cem", "skip")):
        await vote_as(stage.client, stage.vote_key, voter, choice)
    await stage.log.execute(LATER, MAY)
    await vote_as(stage.client, stage.vote_key, "bob", "ship")  # said before: keeps its day
    await vote_as(stage.client, stage.vote_key, "cem", "ship")
    await catch_up(stage.log)

    march, may = day_of(MARCH), day_of(MAY)
    dated = Ballots(3, 0, may, (DayVotes(march, 2, 0), DayVotes(may, 1, 0)))
    assert (await card(stage, AGED)).verdict.inputs == inputs_digest([], dated, AGED)
    assert (await card(stage, DEFAULT)).verdict.inputs == inputs_digest([], Ballots(3, 0), DEFAULT)


async def card(stage: Stage, rulebook: Rulebook) -> Card:
    async with take_snapshot(stage.log) as snapshot:
        (found,) = (await read_cards(snapshot, rulebook)).values()
    return found
