"""Under a rulebook that weighs age, a verdict depends on the days of the votes; under any other on two counts."""

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
# Ahead of the clock, so that the next events are recorded at these times.
MARCH, MAY = datetime(2099, 3, 1, 23, 59, 59, tzinfo=UTC), datetime(2099, 5, 1, tzinfo=UTC)
MOVE_CLOCK = "UPDATE heads SET recorded_at = $1"


async def test_inputs_have_days_only_where_the_rulebook_weighs_age(stage: Stage) -> None:
    await stage.log.execute(MOVE_CLOCK, MARCH)
    for voter, choice in (("ann", "ship"), ("bob", "ship"), ("cem", "skip")):
        await vote_as(stage.client, stage.vote_key, voter, choice)
    await stage.log.execute(MOVE_CLOCK, MAY)
    await vote_as(
        stage.client, stage.vote_key, "bob", "ship"
    )  # the same choice again: the vote keeps its day
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
