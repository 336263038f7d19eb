"""Votes by day: any casts on any days, in any groups and batches, equal a plain fold of them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.shared.log import shard_of
from domain.verdicts.decay import Ballots, DayVotes
from eventstore import ids
from eventstore.casts import PendingCast, append_casts
from projections.daily_votes import read_ballots
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import take_snapshot
from projections.replays.verify import verify_all
from tests.properties.test_any_batching import advance_in, batches
from tests.support.instances import day_of

VOTERS, TOOLS, SHARDS = 6, 3, 3
AGED = PRESETS["sixty-days"]
cast = st.tuples(
    st.integers(0, VOTERS - 1), st.integers(0, TOOLS - 1), st.sampled_from(["ship", "skip", None])
)
# (hours to wait, casts at one time)
groups = st.lists(
    st.tuples(st.integers(0, 100), st.lists(cast, min_size=1, max_size=8)), min_size=1, max_size=8
)
_tools = count(700_000, TOOLS)

# The next event is recorded at the time of its shard's head if that is ahead of the clock.
AHEAD = "SELECT greatest(max(recorded_at), clock_timestamp()) FROM heads"
LATER = "UPDATE heads SET recorded_at = $1"
CASTS = "SELECT tool, day, sum(casts)::bigint FROM daily_votes WHERE tool = ANY($1) GROUP BY tool, day"


class Fold:
    """One event at a time: a ballot has a choice and the day it was cast. A cast of the same choice changes nothing."""

    def __init__(self) -> None:
        self.ballots: dict[tuple[int, int], tuple[str | None, int]] = {}
        self.today: dict[int, int] = {}
        self.casts: Counter[tuple[int, int]] = Counter()

    def add(self, voter: int, tool: int, choice: str | None, day: int) -> None:
        if self.ballots.get((voter, tool), (None, 0))[0] != choice:
            self.ballots[voter, tool], self.today[tool] = (choice, day), day
            self.casts[tool, day] += 1

    def of(self, tool: int) -> Ballots:
        cast = [ballot for (_, of), ballot in self.ballots.items() if of == tool]
        days = [
            DayVotes(day, cast.count(("ship", day)), cast.count(("skip", day)))
            for day in sorted({day for choice, day in cast if choice})
        ]
        ship, skip = sum(each.ship for each in days), sum(each.skip for each in days)
        return Ballots(ship, skip, self.today.get(tool), tuple(days))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=groups, batches=batches)
async def test_votes_by_day_equal_a_plain_fold(
    module_pool: Pool[Record],
    groups: list[tuple[int, list[tuple[int, int, str | None]]]],
    batches: list[int],
) -> None:
    log, tool, fold = module_pool, next(_tools), Fold()
    voters = [uuid4() for _ in range(VOTERS)]
    time: datetime = await log.fetchval(AHEAD)
    for hours, casts in groups:
        time += timedelta(hours=1 + hours)
        await log.execute(LATER, time)
        for voter, t, choice in casts:
            actor = voters[voter]
            pending = PendingCast("v", actor, tool + t, choice, ids.mint(), "test")
            async with log.acquire() as conn:
                await append_casts(conn, shard_of(actor, SHARDS), [pending])
            fold.add(voter, t, choice, day_of(time.astimezone(UTC)))
        if hours % 2:
            await advance_in(log, batches)
    await advance_in(log, batches)

    numbers = range(tool, tool + TOOLS)
    async with take_snapshot(log) as snapshot:
        aged = await read_ballots(snapshot, numbers, AGED)
        plain = await read_ballots(snapshot, numbers, DEFAULT)
    assert aged == {tool + t: fold.of(t) for t in range(TOOLS)}
    counted = {(row[0] - tool, row[1]): row[2] for row in await log.fetch(CASTS, list(numbers))}
    assert counted == fold.casts
    assert plain == {number: Ballots(each.ship, each.skip) for number, each in aged.items()}


async def test_every_read_model_still_equals_its_recount(module_pool: Pool[Record]) -> None:
    assert [each.rows for each in await verify_all(module_pool, PROJECTIONS)] == [[] for _ in PROJECTIONS]
