"""As of any moment, an answer is what the events up to there come to: over a random history, against plain Python."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID

import asyncpg
import pytest

from domain.rulebooks.presets import PRESETS
from domain.shared.log import Position, Shard, shard_of
from domain.verdicts.decay import Ballots, DayVotes
from eventstore.as_of_positions import resolve_positions
from eventstore.casts import PendingCast, append_casts
from eventstore.ids import mint
from projections.daily_votes import read_ballots
from projections.engine.advance import advance
from projections.engine.blocks import BLOCK_EVENTS
from projections.engine.install import install
from projections.engine.registry import PROJECTIONS
from projections.reads.as_of import snapshot_as_of
from services.embedded.postgres import Postgres
from tests.integration.conftest import fresh_database, stage_on
from tests.oracles.past import (
    Happened,
    Order,
    State,
    prefixes,
    read_history,
    seen,
    state_at_each,
    state_of,
    whole,
)
from tests.support.stage import Client, Log, Stage, catch_up, list_tool, publish, retire_tool, seat_panel

SEED = 20261124
TOOLS = ("quill", "pen", "ink", "nib")
REVIEWERS = ("builder", "skeptic", "futurist")
SHARDS = range(4)
VOTERS = 40
MOMENTS = 240
# As many votes of strangers as fill more than a block of each shard of people.
STRANGERS = BLOCK_EVENTS + 2_000
CROWD = """
SELECT count(*) FROM append_casts($1::smallint, array_fill('v'::text, ARRAY[$2::integer]),
    array(SELECT gen_random_uuid() FROM generate_series(1, $2::integer)), array_fill($3::integer, ARRAY[$2::integer]),
    array(SELECT CASE WHEN n % 3 = 0 THEN 'skip' ELSE 'ship' END FROM generate_series(1, $2::integer) AS n),
    array(SELECT uuidv7() FROM generate_series(1, $2::integer)), array_fill('test'::text, ARRAY[$2::integer]))
"""
# Times so coarse that several events, of several shards, have each; and the whole of it, seconds in truth, made months.
COARSE = """
WITH last AS (SELECT max(recorded_at) AS time, 86400 * 150 / extract(epoch FROM max(recorded_at) - min(recorded_at)) AS slower FROM events)
UPDATE events
   SET recorded_at = time - slower * (time - date_bin('40 ms', recorded_at, 'epoch')),
       replaced_at = time - slower * (time - date_bin('40 ms', replaced_at, 'epoch'))
  FROM last
"""
HEADS = "UPDATE heads AS h SET recorded_at = (SELECT max(recorded_at) FROM events AS e WHERE e.shard = h.shard) WHERE position > 0"


class FlipDetails:
    """A log with a history, and what its events are, read once."""

    def __init__(self, stage: Stage, history: list[Happened]) -> None:
        self.client, self.log, self.history = stage.client, stage.log, history
        self.numbers = {e.data["slug"]: e.tool for e in history if e.type == "ToolListed"}

    async def card(self, slug: str, as_of: str) -> dict[str, object] | None:
        """None where the tool was not listed yet."""
        answer = await self.client.get(f"/v1/tools/{slug}", params={"as_of": as_of})
        if answer.status_code == 404:
            assert "not listed yet" in answer.json()["detail"]
            return None
        assert answer.status_code == 200, answer.text
        assert answer.headers["shiplog-lag-ms"] == "0"
        assert answer.headers["shiplog-position"] == answer.json()["verdict"]["position"]
        return seen(answer.json())

    def expected(self, slug: str, state: State) -> dict[str, object] | None:
        tool = self.numbers[slug]
        return state.card(tool) if tool in state.tools else None

    def states(self, ends: Iterable[Order]) -> Iterator[State]:
        return state_at_each(self.history, ends, SHARDS)


@pytest.fixture(scope="module")
async def told(postgres: Postgres, template: str) -> AsyncIterator[FlipDetails]:
    rng = Random(SEED)
    async with fresh_database(postgres, template, "past") as settings, stage_on(settings) as stage:
        await live_through(stage, rng)
        owner = await asyncpg.connect(settings.database_url)
        await owner.execute(COARSE)
        await owner.execute(HEADS)
        await owner.execute("UPDATE definitions SET digest = ''")
        await install(owner, PROJECTIONS)  # what was folded so far knew other times
        told = FlipDetails(stage, await read_history(owner))
        await owner.close()
        # Blocks of one shard are whole, of another far along, of the third at the edge of one.
        for shard, upto in ((1, STRANGERS), (2, BLOCK_EVENTS), (3, STRANGERS - 700)):
            while await advance(stage.log, PROJECTIONS, Shard(shard), batch=upto):
                if (
                    await stage.log.fetchval("SELECT min(position) FROM checkpoints WHERE shard = $1", shard)
                    >= upto
                ):
                    break
        yield told


async def live_through(stage: Stage, rng: Random) -> None:
    """Votes, bookmarks, takes, revisions and a retirement, in no order, among the votes of strangers."""
    await list_tool(stage.client, stage.catalogue_key, TOOLS[0])
    await seat_panel(stage.log, REVIEWERS[0])
    left = dict.fromkeys((1, 2, 3), STRANGERS)
    voters = [UUID(int=rng.getrandbits(128)) for _ in range(VOTERS)]
    for turn in range(150):
        known = TOOLS[: 1 + turn // 30]
        numbers = dict(await stage.log.fetch("SELECT slug, tool FROM slugs"))
        for shard in left:
            size = min(left[shard], 150)
            await stage.log.fetchval(CROWD, shard, size, rng.choice(sorted(numbers.values())))
            left[shard] -= size
        await cast(stage.log, rng, voters, sorted(numbers.values()))
        await in_the_house(stage, rng, turn, known)
    await retire_tool(stage.client, stage.catalogue_key, TOOLS[1])


async def cast(log: Log, rng: Random, voters: list[UUID], tools: list[int]) -> None:
    for _ in range(6):
        kind = rng.choice("vvvb")
        choice = rng.choice(["ship", "skip", None] if kind == "v" else ["saved", None])
        actor = rng.choice(voters)
        async with log.acquire() as conn:
            submitted = PendingCast(kind, actor, rng.choice(tools), choice, mint(), "test")
            await append_casts(conn, shard_of(actor, 3), [submitted])


async def in_the_house(stage: Stage, rng: Random, turn: int, known: tuple[str, ...]) -> None:
    slug, key = rng.choice(known), stage.catalogue_key
    if turn % 30 == 0:
        await list_tool(stage.client, key, known[-1])
    elif turn % 50 == 7 and turn // 50 < len(REVIEWERS):
        await seat_panel(stage.log, REVIEWERS[turn // 50])
    elif rng.random() < 0.2:
        await list_tool(stage.client, key, slug, name=f"{slug.title()} {turn}")
    elif rng.random() < 0.3:
        await stage.client.delete(f"/v1/tools/{slug}/takes/builder", headers=dict(key))
    else:
        await publish(stage.client, key, slug, "builder", rng.randrange(101), rng.choice(["ship", "skip"]))


def as_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def test_at_random_times(told: FlipDetails) -> None:
    rng = Random(SEED)
    times = sorted(some_time(rng, told.history) for _ in range(MOMENTS))
    for time, state in zip(times, told.states(map(whole, times)), strict=True):
        slug = rng.choice(TOOLS)
        assert await told.card(slug, as_text(time)) == told.expected(slug, state), (slug, time)


def some_time(rng: Random, history: list[Happened]) -> datetime:
    """That of some event, and so of several mostly; just before it; or any between the first and the last."""
    first, last, one = history[0].recorded_at, history[-1].recorded_at, rng.choice(history).recorded_at
    return rng.choice([one, one - timedelta(microseconds=1), first + (last - first) * rng.random()])


async def test_at_random_positions(told: FlipDetails) -> None:
    rng = Random(SEED)
    editorial = [event for event in told.history if event.shard == 0]
    events = [rng.choice(rng.choice([editorial, told.history])) for _ in range(MOMENTS)]
    events.sort(key=lambda event: event.order)
    for event, state in zip(events, told.states(event.order for event in events), strict=True):
        slug = rng.choice(TOOLS)
        assert await told.card(slug, event.place) == told.expected(slug, state), (slug, event)


async def test_at_random_vectors(told: FlipDetails) -> None:
    rng = Random(SEED)
    heads = state_of(told.history, SHARDS).heads
    edges = [BLOCK_EVENTS - 1, BLOCK_EVENTS, BLOCK_EVENTS + 1]
    for number in range(MOMENTS // 4):
        people = rng.choice(edges) if number % 5 == 0 else rng.randint(0, min(heads[1], heads[2], heads[3]))
        ends = [rng.randint(0, heads[0]), people, rng.randint(0, heads[2]), rng.randint(0, heads[3])]
        vector, slug = ",".join(f"{shard}.{end}" for shard, end in enumerate(ends)), rng.choice(TOOLS)
        shown = await told.card(slug, vector)
        assert shown == told.expected(slug, state_of(prefixes(told.history, vector), SHARDS)), (
            slug,
            vector,
        )


async def test_votes_by_day(told: FlipDetails) -> None:
    """As a rulebook that weighs their age reads them, of all tools at once."""
    rng = Random(SEED)
    events = sorted(rng.sample(told.history, MOMENTS // 4), key=lambda event: event.order)
    numbers, met = list(told.numbers.values()), set[int]()
    for event, state in zip(events, told.states(event.order for event in events), strict=True):
        moment = await resolve_positions(told.log, Position(Shard(event.shard), event.position))
        async with snapshot_as_of(told.log, moment) as (past,):
            found = await read_ballots(past, numbers, PRESETS["sixty-days"])
        assert found == {tool: ballots_of(state, tool) for tool in numbers}, event
        met |= {len(each.days) for each in found.values()}
    assert max(met) > 20  # how many depends on when the log was written


def ballots_of(state: State, tool: int) -> Ballots:
    newest = state.newest.get(tool)
    days = tuple(DayVotes(_number(day), ship, skip) for day, ship, skip in state.days(tool))
    return Ballots(*state.tally(tool), newest and _number(newest), days)


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


async def test_many_tallies_and_a_comparison_are_of_the_same_moment(told: FlipDetails) -> None:
    rng = Random(SEED)
    events = sorted(rng.sample(told.history[5_000:], MOMENTS // 4), key=lambda event: event.order)
    for event, state in zip(events, told.states(event.order for event in events), strict=True):
        listed = [slug for slug in TOOLS if told.numbers[slug] in state.tools]
        many = await told.client.get("/v1/tallies", params={"tools": ",".join(listed), "as_of": event.place})
        assert many.headers["shiplog-position"] == state.vector
        assert [(each["ship"], each["skip"]) for each in many.json()["items"]] == [
            state.tally(told.numbers[slug]) for slug in listed
        ]
        if len(listed) < 2:
            continue
        left, right = rng.sample(listed, 2)
        pair = (
            await told.client.get(f"/v1/comparisons/{left}/{right}", params={"as_of": event.place})
        ).json()
        assert [seen(pair[side]) for side in ("left", "right")] == [
            state.card(told.numbers[slug]) for slug in (left, right)
        ]


async def test_a_moment_just_past_stays_as_it_was_answered_while_votes_come_in(told: FlipDetails) -> None:
    """Whoever is appending has taken its time, and has not committed: the answer must wait for it."""
    tool, over = told.numbers["nib"], asyncio.Event()

    async def keep_voting(shard: int) -> None:
        while not over.is_set():
            await told.log.fetchval(CROWD, shard, 5, tool)

    voting = [asyncio.create_task(keep_voting(shard)) for shard in (1, 2, 3)]
    answered = []
    for _ in range(60):
        now = as_text(datetime.now(UTC))
        answered.append((now, await tally(told.client, now)))
    over.set()
    await asyncio.gather(*voting)
    assert len(set(answered)) > 5
    for time, votes in answered:
        assert await tally(told.client, time) == votes


async def tally(client: Client, as_of: str) -> tuple[int, int, str]:
    answer = await client.get("/v1/tools/nib/tally", params={"as_of": as_of})
    assert answer.status_code == 200, answer.text
    return answer.json()["ship"], answer.json()["skip"], answer.headers["shiplog-position"]


async def test_the_newest_moment_is_what_is_live_once_folded(told: FlipDetails) -> None:
    await catch_up(told.log)
    for slug in TOOLS:
        live = await told.client.get(f"/v1/tools/{slug}")
        then = await told.client.get(f"/v1/tools/{slug}", params={"as_of": live.headers["shiplog-position"]})
        assert then.content == live.content
        assert then.headers["etag"] == live.headers["etag"]
