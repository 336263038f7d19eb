"""Bulk votes in any chunks and batches have the same outcomes and ballots as the domain's rules applied line by line."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from uuid import UUID

from asyncpg import Pool, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.shared.errors import Unknown
from domain.voting.votes import BLANK, Ballot, Cast, decide, evolve
from eventstore import ids
from eventstore.heads import count_shards
from eventstore.tool_directory import ToolDirectory
from services.auth.identity import Identity
from services.ingest.bulk import BulkCommits, BulkIngest, BulkResult
from services.settings import Settings

IDS = sorted(ids.mint() for _ in range(6))
FILE_TIME = ids.milliseconds_of(IDS[0]) - 1
READ_BALLOT = """
SELECT coalesce(s.id, e.id) AS id, s.choice FROM standings AS s LEFT JOIN events AS e USING (shard, position)
 WHERE s.actor = $1 AND s.tool = $2
"""

Line = tuple[int, int, str, UUID | None]  # voter, tool, choice, id
lines = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 1),
        st.sampled_from(["ship", "skip"]),
        st.none() | st.sampled_from(IDS),
    ),
    max_size=40,
)
_tools = count(900_000, 2)


class NumberedTools(ToolDirectory):
    """Every number is the slug of the tool with that number."""

    async def open_for_votes(self, slug: str) -> int:
        if not slug.isdigit():
            raise Unknown(kind="tool", name=slug)
        return int(slug)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=lines,
    invalid=st.sets(st.integers(0, 40)),
    chunk=st.integers(1, 15),
    group=st.integers(1, 20),
    in_flight=st.integers(1, 3),
)
async def test_outcomes_and_ballots_equal_the_rules_line_by_line(
    module_pool: Pool[Record], lines: list[Line], invalid: set[int], chunk: int, group: int, in_flight: int
) -> None:
    log, tool = module_pool, next(_tools)
    identity = Identity(Settings(database_url="", secret=b"s" * 32), log)
    commits = BulkCommits(log, await count_shards(log), in_flight, lambda *_: None)
    ingest = BulkIngest(
        commits, NumberedTools(log), identity, source="test", group=group, line_id=ids.ids_at(FILE_TIME)
    )
    sent = [
        b"nonsense" if n in invalid else _text(voter, tool + t, choice, own)
        for n, (voter, t, choice, own) in enumerate(lines)
    ]
    for start in range(0, len(sent), chunk):
        await ingest.submit(b"\n".join(sent[start : start + chunk]) + b"\n")
    result = await ingest.finish()

    ballots: dict[tuple[UUID, int], Ballot] = {}
    outcomes: Counter[str] = Counter()
    used: dict[UUID, tuple[UUID, int, str | None]] = {}
    rejected = []
    for number, (voter, t, choice, own) in enumerate(lines, 1):
        if number - 1 in invalid:
            rejected.append(number)
            continue
        actor = identity.pseudonym("voter", _name(voter, tool))
        cast = Cast(own or ids.ids_at(FILE_TIME)(number, actor), choice)
        ballot = ballots.get((actor, tool + t), BLANK)
        vote = actor, tool + t, choice
        if used.setdefault(cast.id, vote) != vote or conflicts(ballot, cast):
            rejected.append(number)
            continue
        outcomes[decide(ballot, cast).outcome] += 1
        ballots[actor, tool + t] = evolve(ballot, cast)
    assert _outcomes(result) == outcomes
    assert [each.line for each in result.rejected] == rejected
    for (actor, number), ballot in ballots.items():
        row = await log.fetchrow(READ_BALLOT, actor, number)
        assert row is not None
        assert (row["id"], row["choice"]) == (ballot.id, ballot.choice)


def conflicts(ballot: Ballot, cast: Cast) -> bool:
    return decide(ballot, cast).outcome == "conflict"


def _name(voter: int, tool: int) -> bytes:
    """Different in every example."""
    return b"%d of %d" % (voter, tool)


def _text(voter: int, tool: int, choice: str, id: UUID | None) -> bytes:
    vote = {"tool": str(tool), "choice": choice, "voter": _name(voter, tool - tool % 2).decode()}
    return json.dumps(vote | ({"id": str(id)} if id else {})).encode()


def _outcomes(result: BulkResult) -> Counter[str]:
    return +Counter(counted=result.counted, unchanged=result.unchanged, superseded=result.superseded)
