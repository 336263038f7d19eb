"""Tallies equal a plain fold of the casts, for any batches and any number of shards."""

from __future__ import annotations

from collections import Counter
from itertools import count
from uuid import UUID, uuid4

from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.shared.log import Shard, shard_of
from eventstore import ids
from eventstore.casts import PendingCast, append_casts
from projections.engine.advance import advance
from projections.engine.registry import PROJECTIONS
from projections.engine.snapshot import take_snapshot
from projections.replays.verify import verify_all
from projections.tally import read_tallies

VOTERS, TOOLS = 6, 3
casts = st.lists(
    st.tuples(st.integers(0, VOTERS - 1), st.integers(0, TOOLS - 1), st.sampled_from(["ship", "skip", None])),
    max_size=60,
)
batches = st.lists(st.integers(1, 9), min_size=1, max_size=8)
_tools = count(500_000, TOOLS)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(casts=casts, batches=batches, shards=st.integers(1, 3), group=st.integers(1, 20))
async def test_tallies_equal_a_plain_fold(
    module_pool: Pool[Record],
    casts: list[tuple[int, int, str | None]],
    batches: list[int],
    shards: int,
    group: int,
) -> None:
    log = module_pool
    tool, voters = next(_tools), [uuid4() for _ in range(VOTERS)]
    await append_spread(log, casts, voters, tool, shards, group)
    await advance_in(log, batches)

    expected: dict[int, Counter[str]] = {}
    for (_, t), choice in {(voter, t): choice for voter, t, choice in casts}.items():
        expected.setdefault(tool + t, Counter()).update([choice] if choice else [])
    async with take_snapshot(log) as snapshot:
        tallies = await read_tallies(snapshot, range(tool, tool + TOOLS))
    for each in range(tool, tool + TOOLS):
        votes = expected.get(each, Counter())
        assert tallies.get(each, (0, 0)) == (votes["ship"], votes["skip"])


async def test_every_read_model_still_equals_its_recount(module_pool: Pool[Record]) -> None:
    assert [each.rows for each in await verify_all(module_pool, PROJECTIONS)] == [[] for _ in PROJECTIONS]


async def append_spread(
    log: Pool[Record],
    casts: list[tuple[int, int, str | None]],
    voters: list[UUID],
    tool: int,
    shards: int,
    group: int,
) -> None:
    pending = [
        PendingCast("v", voters[voter], tool + t, choice, ids.mint(), "test") for voter, t, choice in casts
    ]
    for shard in map(Shard, range(1, shards + 1)):
        mine = [cast for cast in pending if shard_of(cast.actor, shards) == shard]
        for start in range(0, len(mine), group):
            async with log.acquire() as conn:
                await append_casts(conn, shard, mine[start : start + group])


async def advance_in(log: Pool[Record], batches: list[int]) -> None:
    """Advance every shard to its head, in batches of these sizes in turn."""
    for shard in map(Shard, range(4)):
        turn = count()
        while await advance(log, PROJECTIONS, shard, batch=batches[next(turn) % len(batches)]):
            pass
