"""Append casts to one shard: nearly always one statement per batch, which returns no row for a plain new ballot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Position, Shard
from domain.voting.votes import Outcome
from eventstore.cast_batch import CastBatch, Kind
from eventstore.ids import mint_after

APPEND_CASTS = """
SELECT ord, outcome, position, id, choice, replaced, changed
  FROM append_casts($1, $2::text::text[], $3::uuid[], $4::text::integer[], $5::text::text[],
                    $6::uuid[], $7::text::text[])
"""

APPEND_NEW_CASTS = APPEND_CASTS.replace("append_casts", "append_new_casts")


class PendingCast(Struct, frozen=True):
    """A vote ('v') or a bookmark ('b') that is not in the log yet; ``choice`` None takes it back.

    ``id_is_ours``: the server minted the id, and mints a newer one if the ballot's last id is greater.
    """

    kind: Kind
    actor: UUID
    tool: int
    choice: str | None
    id: UUID
    source: str
    id_is_ours: bool = False


class CastResult(Struct, frozen=True):
    """The result of a committed cast. If it was superseded, position, id and choice are those of the newer cast.

    A ``conflict`` stored nothing: its id belongs to another choice on the same ballot.
    """

    outcome: Outcome
    position: Position
    id: UUID
    choice: str | None
    replaced: str | None


class AppendedBatch(Struct, frozen=True):
    """The casts at the indexes ``numbers`` are committed.

    ``met_ballot`` has the rows of casts that did not simply create a new ballot. All others counted, replaced nothing,
    and have the positions after ``before``, in their order.
    """

    numbers: Sequence[int]
    before: int
    met_ballot: dict[int, Record]


class FirstVoteHeuristic:
    """Expects that a shard's next batch meets no existing ballot if none of its last 16 batches did.

    A right guess saves an index look-up per cast; a wrong one costs the rows that were written and then undone.
    """

    _COOLDOWN_BATCHES = 16

    def __init__(self) -> None:
        self._cooldown = 0

    @property
    def expects_new(self) -> bool:
        return not self._cooldown

    def learn(self, *, met_ballot: bool) -> None:
        self._cooldown = self._COOLDOWN_BATCHES if met_ballot else max(0, self._cooldown - 1)


async def append_casts(
    conn: PoolConnectionProxy[Record],
    shard: Shard,
    casts: Sequence[PendingCast],
    heuristic: FirstVoteHeuristic | None = None,
) -> list[CastResult]:
    """Append casts in this order. Returns their results in the same order, after the commit."""
    batch = _batch_of(casts)
    results: dict[int, CastResult] = {}
    for appended in await append_batch(conn, shard, batch, heuristic):
        results.update(zip(appended.numbers, _results(shard, casts, appended), strict=True))
    return [results[number] for number in range(len(casts))]


def outcomes(appended: Sequence[AppendedBatch]) -> tuple[Counter[Outcome], int]:
    """The number of casts by outcome, and of those how many were counted before: resent, they get the answer of then."""
    met = Counter((row["outcome"], row["changed"]) for each in appended for row in each.met_ballot.values())
    counts: Counter[Outcome] = Counter()
    for (outcome, _), casts in met.items():
        counts[outcome] += casts
    counts["counted"] += sum(len(each.numbers) - len(each.met_ballot) for each in appended)
    return counts, met["counted", False]


def conflicts(appended: Sequence[AppendedBatch]) -> list[int]:
    """The indexes of casts that were not stored because their id belongs to another choice."""
    return sorted(
        n for each in appended for n, row in each.met_ballot.items() if row["outcome"] == "conflict"
    )


async def append_batch(
    conn: PoolConnectionProxy[Record],
    shard: Shard,
    batch: CastBatch,
    heuristic: FirstVoteHeuristic | None = None,
) -> list[AppendedBatch]:
    """Append casts in this order; returns after the commit.

    Casts on one ballot are decided one after the other, so the batch is split into rounds that contain each ballot at
    most once: nearly always one round, which is one statement and one commit. Where an id that the server minted is not
    greater than its ballot's last id, ``batch`` gets a new one and the cast is appended again. If a call fails, some
    rounds may be committed; sending the same ids again is safe.
    """
    done, rounds = [], _split_by_ballot(batch)
    while rounds:
        numbers = rounds.pop(0)
        expects_new = heuristic is not None and heuristic.expects_new
        before, met_ballot = await _append(
            conn, shard, batch, numbers, APPEND_NEW_CASTS if expects_new else APPEND_CASTS
        )
        if heuristic is not None:
            heuristic.learn(met_ballot=bool(met_ballot))
        outdated = {n for n in batch.our_ids & met_ballot.keys() if met_ballot[n]["outcome"] == "superseded"}
        if outdated:
            for n in outdated:
                batch.ids[n] = mint_after(met_ballot.pop(n)["id"])
            rounds.insert(0, sorted(outdated))
            numbers = [n for n in numbers if n not in outdated]
        done.append(AppendedBatch(numbers, before, met_ballot))
    return done


def _split_by_ballot(batch: CastBatch) -> list[Sequence[int]]:
    """Rounds of indexes: the n-th cast of each ballot is in the n-th round."""
    if len(set(batch.actors)) == len(batch):
        return [range(len(batch))]
    rounds: list[list[int]] = []
    last_round: dict[tuple[Kind, UUID, str], int] = {}
    for number, ballot in enumerate(zip(batch.kinds, batch.actors, batch.tools, strict=True)):
        index = last_round[ballot] = last_round.get(ballot, -1) + 1
        if index == len(rounds):
            rounds.append([])
        rounds[index].append(number)
    return list(rounds)


async def _append(
    conn: PoolConnectionProxy[Record],
    shard: Shard,
    batch: CastBatch,
    numbers: Sequence[int],
    statement: str,
) -> tuple[int, dict[int, Record]]:
    """Append one round. Returns the position before it, and the rows of ``met_ballot`` by index."""
    first, *rows = await conn.fetch(statement, shard, *batch.only(numbers).parameters())
    return first["position"], {numbers[row["ord"] - 1]: row for row in rows}


def _batch_of(casts: Sequence[PendingCast]) -> CastBatch:
    return CastBatch(
        [cast.kind for cast in casts],
        [cast.actor for cast in casts],
        [str(cast.tool) for cast in casts],
        [cast.choice for cast in casts],
        [cast.id for cast in casts],
        [cast.source for cast in casts],
        {number for number, cast in enumerate(casts) if cast.id_is_ours},
    )


def _results(shard: Shard, casts: Sequence[PendingCast], batch: AppendedBatch) -> Iterator[CastResult]:
    last = batch.before
    for number in batch.numbers:
        row = batch.met_ballot.get(number)
        if row is None:
            last += 1
            yield CastResult("counted", Position(shard, last), casts[number].id, casts[number].choice, None)
        else:
            last += row["changed"]
            at = Position(shard, row["position"])
            yield CastResult(row["outcome"], at, row["id"], row["choice"], row["replaced"])
