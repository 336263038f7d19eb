"""The SQL functions and domain/voting/votes.py decide alike: any casts, in any batches, get the same results."""

from __future__ import annotations

from datetime import datetime
from itertools import count
from uuid import UUID, uuid4

from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.shared.log import Shard
from domain.voting.votes import BLANK, Ballot, Cast, CastDecision, decide, evolve
from eventstore import ids
from eventstore.cast_batch import Kind
from eventstore.casts import CastResult, FirstVoteHeuristic, PendingCast, append_casts

SHARD = Shard(1)
IDS = sorted(ids.mint() for _ in range(12))

Key = tuple[Kind, int, int]  # kind, actor's number, tool's number
casts = st.tuples(
    st.tuples(st.sampled_from(["v", "b"]), st.integers(0, 1), st.integers(0, 1)),
    st.sampled_from(IDS),
    st.sampled_from(["ship", "skip", None]),
)
batches = st.lists(st.lists(casts, min_size=1, max_size=12), min_size=1, max_size=5)
_tools = count(1_000, 2)


class AlwaysExpectsNew(FirstVoteHeuristic):
    expects_new = True  # type: ignore[assignment]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches, expects_new=st.lists(st.booleans(), min_size=5, max_size=5))
async def test_sql_and_domain_give_the_same_results(
    module_pool: Pool[Record], batches: list[list[tuple[Key, UUID, str | None]]], expects_new: list[bool]
) -> None:
    """With and without the expectation that all ballots are new, which may be wrong."""
    log = module_pool
    actors, tool = [uuid4(), uuid4()], next(_tools)
    before = await head(log)
    ballots: dict[Key, Ballot] = {}
    positions: dict[tuple[Key, UUID], str] = {}
    for batch, new in zip(batches, expects_new, strict=False):
        pending = [
            PendingCast(key[0], actors[key[1]], tool + key[2], choice, vote_id, "test")
            for key, vote_id, choice in batch
        ]
        async with log.acquire() as conn:
            results = await append_casts(conn, SHARD, pending, AlwaysExpectsNew() if new else None)
        for (key, vote_id, choice), result in zip(batch, results, strict=True):
            ballot, cast = ballots.get(key, BLANK), Cast(vote_id, choice)
            assert as_domain(result) == decide(ballot, cast)
            ballots[key] = evolve(ballot, cast)
            assert result.id == ballots[key].id
            if result.outcome == "counted":  # the same id again has the same position
                assert positions.setdefault((key, vote_id), str(result.position)) == str(result.position)
    assert await standings(log, actors, tool) == {
        key: (ballot.id, ballot.choice) for key, ballot in ballots.items()
    }
    await check_events(log, actors, tool, ballots, len(positions))
    assert await head(log) == before + len(positions)


def as_domain(result: CastResult) -> CastDecision:
    return CastDecision(result.outcome, result.choice, result.replaced)


async def head(log: Pool[Record]) -> int:
    return int(await log.fetchval("SELECT position FROM heads WHERE shard = $1", SHARD))


async def standings(log: Pool[Record], actors: list[UUID], tool: int) -> dict[Key, tuple[UUID, str | None]]:
    rows = await log.fetch(
        """SELECT s.kind, s.actor, s.tool, coalesce(s.id, e.id) AS id, s.choice
             FROM standings AS s LEFT JOIN events AS e USING (shard, position)
            WHERE s.shard = $1 AND s.actor = ANY($2)""",
        SHARD,
        actors,
    )
    return {
        (row["kind"].decode(), actors.index(row["actor"]), row["tool"] - tool): (row["id"], row["choice"])
        for row in rows
    }


async def check_events(
    log: Pool[Record], actors: list[UUID], tool: int, ballots: dict[Key, Ballot], counted: int
) -> None:
    """Each event has the choice and the time of the event it replaces, and the last one has the ballot's choice."""
    rows = await log.fetch(
        """SELECT type, actor, tool, choice, replaced, recorded_at, replaced_at FROM events
            WHERE shard = $1 AND actor = ANY($2) ORDER BY position""",
        SHARD,
        actors,
    )
    chosen: dict[Key, str | None] = {}
    since: dict[Key, datetime] = {}
    for row in rows:
        key: Key = (
            "v" if row["type"].startswith("Vote") else "b",
            actors.index(row["actor"]),
            row["tool"] - tool,
        )
        assert row["replaced"] == chosen.get(key)
        assert row["choice"] != row["replaced"]
        assert row["replaced_at"] == (since[key] if row["replaced"] else None)
        chosen[key], since[key] = row["choice"], row["recorded_at"]
    assert len(rows) == counted
    assert chosen == {key: ballot.choice for key, ballot in ballots.items() if key in chosen}
