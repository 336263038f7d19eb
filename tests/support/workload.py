"""Workloads: seeded plans of votes, which ballots are cast when, and under which ids."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.oracles.votes import Ballot, Cast


@dataclass(frozen=True)
class Workload:
    """Numbers and shares of a workload; shares are of all ballots, or of all casts that have an id."""

    seed: int
    casts: int
    voters: int
    tools: tuple[str, ...]
    servers: int = 2
    zipf: bool = True
    visitors: float = 0.1  # of the voters: identified by cookie
    again: float = 0.4  # of the casts: on a ballot that has one already
    racing: float = 0.3  # of the ballots: all their casts in flight at once
    minted: float = 0.25  # of the others: without ids
    ahead: float = 0.05  # of the others: ids of a clock that is ahead, alternating with no id
    late: float = 0.2  # of the others: two ids in the wrong order
    resent: float = 0.08  # of the casts: 1 to 4 times more


@dataclass(frozen=True, slots=True)
class Send:
    cast: Cast
    server: int


SendQueue = deque[Send]  # each is sent after the answer to the one before


def plan(workload: Workload, now_ms: int) -> deque[SendQueue]:
    """The same for the same workload and time. The queues of a racing ballot follow one another."""
    rng = Random(workload.seed)
    by_visitor: dict[str, SendQueue] = defaultdict(deque)
    blocks: list[list[SendQueue]] = []
    for (voter, tool), choices in _ballots(workload, rng).items():
        racing = not is_visitor(voter) and rng.random() < workload.racing
        ids = _ids(workload, rng, len(choices), now_ms, racing=racing)
        casts = [Cast(voter, tool, *each) for each in zip(choices, ids, strict=True)]
        sends = _sends(workload, rng, casts)
        if is_visitor(voter):
            by_visitor[voter] += sends
        elif racing:
            rng.shuffle(sends)
            blocks.append([deque([send]) for send in sends])
        else:
            blocks.append([deque(sends)])
    blocks += [[visit] for visit in by_visitor.values()]
    rng.shuffle(blocks)
    return deque(queue for block in blocks for queue in block)


def is_visitor(voter: str) -> bool:
    return voter.startswith("visitor")


def _ballots(workload: Workload, rng: Random) -> dict[Ballot, list[str | None]]:
    """Every voter's choices, tool by tool; each voter casts at least once."""
    visitors = int(workload.voters * workload.visitors)
    voters = [f"{'visitor' if n < visitors else 'voter'}-{n}" for n in range(workload.voters)]
    weights = [1 / (n + 1) if workload.zipf else 1.0 for n in range(len(workload.tools))]
    ship_shares = {tool: rng.uniform(0.2, 0.9) for tool in workload.tools}
    ballots: dict[Ballot, list[str | None]] = defaultdict(list)
    known: list[Ballot] = []
    for n in range(workload.casts):
        if n >= len(voters) and rng.random() < workload.again:
            ballot = rng.choice(known)
        else:
            voter = voters[n] if n < len(voters) else rng.choice(voters)
            known.append(ballot := (voter, rng.choices(workload.tools, weights)[0]))
        ballots[ballot].append(_choice(rng, ship_shares[ballot[1]]))
    return ballots


def _choice(rng: Random, ship_share: float) -> str | None:
    if rng.random() < 0.15:
        return None
    return "ship" if rng.random() < ship_share else "skip"


def _ids(workload: Workload, rng: Random, count: int, now_ms: int, *, racing: bool) -> list[bytes | None]:
    kind = 1.0 if racing else rng.random()
    if kind < workload.minted:
        return [None] * count
    if kind < workload.minted + workload.ahead:
        return [uuid7(now_ms + 30_000 + n, rng) if n % 2 == 0 else None for n in range(count)]
    moment = now_ms - 600_000 + rng.randrange(500_000)
    ids: list[bytes | None] = []
    for _ in range(count):
        moment += rng.choice((0, 1, 50))
        ids.append(uuid7(moment, rng))
    if count > 1 and rng.random() < workload.late:
        a, b = rng.sample(range(count), 2)
        ids[a], ids[b] = ids[b], ids[a]
    return ids


def uuid7(milliseconds: int, rng: Random) -> bytes:
    """RFC 9562 section 5.7."""
    number = milliseconds << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    return number.to_bytes(16)


def _sends(workload: Workload, rng: Random, casts: Sequence[Cast]) -> list[Send]:
    """In order, and some of them again: at once, or after newer ones."""
    order = list(casts)
    for cast in casts:
        if cast.id and rng.random() < workload.resent:
            for _ in range(rng.randint(1, 4)):
                order.insert(rng.randint(order.index(cast) + 1, len(order)), cast)
    return [Send(cast, rng.randrange(workload.servers)) for cast in order]
