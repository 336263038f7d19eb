"""Answers as of any moment of a random history equal what an independent fold in plain Python says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
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
    LoggedEvent,
    Order,
    State,
    card_in,
    end_of,
    history_of,
    read_history,
    state_at_each,
    state_of,
    up_to,
)
from tests.support.stage import Client, Log, Stage, catch_up, list_tool, publish, retire_tool, seat_panel

SEED = 20261124
TOOLS = ("quill", "pen", "ink", "nib")
REVIEWERS = ("builder", "skeptic", "futurist")
SHARDS = range(4)
VOTERS = 40
MOMENTS = 240
HOUR = timedelta(hours=1)
# More votes of other people than one block of each shard holds.
OTHER_VOTES = BLOCK_EVENTS + 2_000
APPEND_VOTES = """
SELECT count(*) FROM append_casts($1::smallint, array_fill('v'::text, ARRAY[$2::integer]),
    array(SELECT gen_random_uuid() FROM generate_series(1, $2::integer)), array_fill($3::integer, ARRAY[$2::integer]),
    array(SELECT CASE WHEN n % 3 = 0 THEN 'skip' ELSE 'ship' END FROM generate_series(1, $2::integer) AS n),
    array(SELECT uuidv7() FROM generate_series(1, $2::integer)), array_fill('test'::text, ARRAY[$2::integer]))
"""
# Round times so that several events of several shards share each, and stretch the seconds of the history to months.
ROUND_TIMES = """
WITH last AS (SELECT max(recorded_at) AS time, 86400 * 150 / extract(epoch FROM max(recorded_at) - min(recorded_at)) AS slower FROM events)
UPDATE events
   SET recorded_at = time - slower * (time - date_bin('40 ms', recorded_at, 'epoch')),
       replaced_at = time - slower * (time - date_bin('40 ms', replaced_at, 'epoch'))
  FROM last
"""
SET_HEADS = "UPDATE heads AS h SET recorded_at = (SELECT max(recorded_at) FROM events AS e WHERE e.shard = h.shard) WHERE position > 0"


class RandomHistory:
    """A log with a random history, and its events."""

    def __init__(self, stage: Stage, history: list[LoggedEvent]) -> None:
        self.client, self.log, self.history = stage.client, stage.log, history
        self.numbers = {e.data["slug"]: e.tool for e in history if e.type == "ToolListed"}

    async def card(self, slug: str, as_of: str) -> dict[str, object] | None:
        """None if the tool was not listed yet."""
        answer = await self.client.get(f"/v1/tools/{slug}", params={"as_of": as_of})
        if answer.status_code == 404:
            assert "not listed yet" in answer.json()["detail"]
            return None
        assert answer.status_code == 200, answer.text
        assert answer.headers["shiplog-lag-ms"] == "0"
        assert answer.headers["shiplog-position"] == answer.json()["verdict"]["position"]
        return card_in(answer.json())

    def expected(self, slug: str, state: State) -> dict[str, object] | None:
        tool = self.numbers[slug]
        return state.card(tool) if tool in state.tools else None

    def states(self, ends: Iterable[Order]) -> Iterator[State]:
        return state_at_each(self.history, ends, SHARDS)


@pytest.fixture(scope="module")
async def random_history(postgres: Postgres, template: str) -> AsyncIterator[RandomHistory]:
    rng = Random(SEED)
    async with fresh_database(postgres, template, "past") as settings, stage_on(settings) as stage:
        await write_history(stage, rng)
        owner = await asyncpg.connect(settings.database_url)
        await owner.execute(ROUND_TIMES)
        await owner.execute(SET_HEADS)
        await owner.execute("UPDATE definitions SET digest = ''")
        await install(owner, PROJECTIONS)  # rebuilds the read models with the new times
        random_history = RandomHistory(stage, await read_history(owner))
        await owner.close()
        # Block sums have reached the head of one shard, the edge of a block of another, and the middle of one of the third.
        for shard, upto in ((1, OTHER_VOTES), (2, BLOCK_EVENTS), (3, OTHER_VOTES - 700)):
            while await advance(stage.log, PROJECTIONS, Shard(shard), batch=upto):
                if (
                    await stage.log.fetchval("SELECT min(position) FROM checkpoints WHERE shard = $1", shard)
                    >= upto
                ):
                    break
        yield random_history


async def write_history(stage: Stage, rng: Random) -> None:
    """Votes, bookmarks, takes, revisions and a retirement in random order, among the votes of other people."""
    await list_tool(stage.client, stage.catalogue_key, TOOLS[0])
    await seat_panel(stage.log, REVIEWERS[0])
    left = dict.fromkeys((1, 2, 3), OTHER_VOTES)
    voters = [UUID(int=rng.getrandbits(128)) for _ in range(VOTERS)]
    for turn in range(150):
        known = TOOLS[: 1 + turn // 30]
        numbers = dict(await stage.log.fetch("SELECT slug, tool FROM slugs"))
        for shard in left:
            size = min(left[shard], 150)
            await stage.log.fetchval(APPEND_VOTES, shard, size, rng.choice(sorted(numbers.values())))
            left[shard] -= size
        await cast_randomly(stage.log, rng, voters, sorted(numbers.values()))
        await change_editorially(stage, rng, turn, known)
    await retire_tool(stage.client, stage.catalogue_key, TOOLS[1])


async def cast_randomly(log: Log, rng: Random, voters: list[UUID], tools: list[int]) -> None:
    for _ in range(6):
        kind = rng.choice("vvvb")
        choice = rng.choice(["ship", "skip", None] if kind == "v" else ["saved", None])
        actor = rng.choice(voters)
        async with log.acquire() as conn:
            pending = PendingCast(kind, actor, rng.choice(tools), choice, mint(), "test")
            await append_casts(conn, shard_of(actor, 3), [pending])


async def change_editorially(stage: Stage, rng: Random, turn: int, known: tuple[str, ...]) -> None:
    slug, key = rng.choice(known), stage.catalogue_key
    if turn % 30 == 0:
        await list_tool(stage.client, key, known[-1])
    elif turn % 50 == 7 and turn // 50 < len(REVIEWERS):
        await seat_panel(stage.log, REVIEWERS[turn // 50])
    elif rng.random() < 0.15:
        await change_panel(stage, rng)
    elif rng.random() < 0.2:
        await list_tool(stage.client, key, slug, name=f"{slug.title()} {turn}")
    elif rng.random() < 0.3:
        await stage.client.delete(f"/v1/tools/{slug}/takes/builder", headers=dict(key))
    else:
        await publish(stage.client, key, slug, "builder", rng.randrange(101), rng.choice(["ship", "skip"]))


async def change_panel(stage: Stage, rng: Random) -> None:
    """A reviewer is retired or restored, or the panel is put in another order."""
    address, key = f"/v1/reviewers/{rng.choice(REVIEWERS)}", dict(stage.catalogue_key)
    await stage.client.post(f"{address}/{rng.choice(['retire', 'restore', 'restore'])}", headers=key)
    await catch_up(stage.log)
    listed = (await stage.client.get("/v1/reviewers")).json()["items"]
    order = [each["slug"] for each in listed if each["retired_at"] is None]
    rng.shuffle(order)
    changed = await stage.client.put("/v1/reviewers/order", json={"order": order}, headers=key)
    assert changed.status_code == 200, changed.text


def as_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


async def test_a_card_as_of_random_times(random_history: RandomHistory) -> None:
    rng = Random(SEED)
    times = sorted(some_time(rng, random_history.history) for _ in range(MOMENTS))
    for time, state in zip(times, random_history.states(map(end_of, times)), strict=True):
        slug = rng.choice(TOOLS)
        assert await random_history.card(slug, as_text(time)) == random_history.expected(slug, state), (
            slug,
            time,
        )


def some_time(rng: Random, history: list[LoggedEvent]) -> datetime:
    """The time of an event, which it usually shares with others; just before it; or any time within the history."""
    first, last, one = history[0].recorded_at, history[-1].recorded_at, rng.choice(history).recorded_at
    return rng.choice([one, one - timedelta(microseconds=1), first + (last - first) * rng.random()])


async def test_a_card_as_of_random_positions(random_history: RandomHistory) -> None:
    rng = Random(SEED)
    editorial = [event for event in random_history.history if event.shard == 0]
    events = [rng.choice(rng.choice([editorial, random_history.history])) for _ in range(MOMENTS)]
    events.sort(key=lambda event: event.order)
    for event, state in zip(events, random_history.states(event.order for event in events), strict=True):
        slug = rng.choice(TOOLS)
        assert await random_history.card(slug, event.position_text) == random_history.expected(slug, state), (
            slug,
            event,
        )


async def test_a_card_as_of_random_vectors(random_history: RandomHistory) -> None:
    rng = Random(SEED)
    heads = state_of(random_history.history, SHARDS).heads
    edges = [BLOCK_EVENTS - 1, BLOCK_EVENTS, BLOCK_EVENTS + 1]
    for number in range(MOMENTS // 4):
        people = rng.choice(edges) if number % 5 == 0 else rng.randint(0, min(heads[1], heads[2], heads[3]))
        ends = [rng.randint(0, heads[0]), people, rng.randint(0, heads[2]), rng.randint(0, heads[3])]
        vector, slug = ",".join(f"{shard}.{end}" for shard, end in enumerate(ends)), rng.choice(TOOLS)
        shown = await random_history.card(slug, vector)
        assert shown == random_history.expected(
            slug, state_of(up_to(random_history.history, vector), SHARDS)
        ), (
            slug,
            vector,
        )


async def test_votes_by_day_as_of_random_positions(random_history: RandomHistory) -> None:
    """For a rulebook that weighs the age of votes, of all tools at once."""
    rng = Random(SEED)
    events = sorted(rng.sample(random_history.history, MOMENTS // 4), key=lambda event: event.order)
    numbers, day_counts = list(random_history.numbers.values()), set[int]()
    for event, state in zip(events, random_history.states(event.order for event in events), strict=True):
        moment = await resolve_positions(random_history.log, Position(Shard(event.shard), event.position))
        async with snapshot_as_of(random_history.log, moment) as (as_of_snapshot,):
            found = await read_ballots(as_of_snapshot, numbers, PRESETS["sixty-days"])
        assert found == {tool: ballots_of(state, tool) for tool in numbers}, event
        day_counts |= {len(each.days) for each in found.values()}
    assert max(day_counts) > 20  # the exact number depends on when the log was written


def ballots_of(state: State, tool: int) -> Ballots:
    newest = state.newest.get(tool)
    days = tuple(DayVotes(_number(day), ship, skip) for day, ship, skip in state.days(tool))
    return Ballots(*state.tally(tool), newest and _number(newest), days)


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


async def test_many_tallies_and_a_comparison_are_of_the_same_moment(random_history: RandomHistory) -> None:
    rng = Random(SEED)
    events = sorted(rng.sample(random_history.history[5_000:], MOMENTS // 4), key=lambda event: event.order)
    for event, state in zip(events, random_history.states(event.order for event in events), strict=True):
        listed = [slug for slug in TOOLS if random_history.numbers[slug] in state.tools]
        many = await random_history.client.get(
            "/v1/tallies", params={"tools": ",".join(listed), "as_of": event.position_text}
        )
        assert many.headers["shiplog-position"] == state.vector
        assert [(each["ship"], each["skip"]) for each in many.json()["items"]] == [
            state.tally(random_history.numbers[slug]) for slug in listed
        ]
        if len(listed) < 2:
            continue
        left, right = rng.sample(listed, 2)
        pair = (
            await random_history.client.get(
                f"/v1/comparisons/{left}/{right}", params={"as_of": event.position_text}
            )
        ).json()
        assert [card_in(pair[side]) for side in ("left", "right")] == [
            state.card(random_history.numbers[slug]) for slug in (left, right)
        ]


async def test_history_between_any_two_times_equals_the_fold(random_history: RandomHistory) -> None:
    """At any minute and offset, inside one hour or over months; beyond the position of the answer nothing counts."""
    rng, inside_an_hour = Random(SEED), 0
    for _ in range(MOMENTS // 2):
        slug, size = rng.choice(TOOLS), rng.choice(["hour", "day"])
        start, end = sorted(some_time(rng, random_history.history) for _ in range(2))
        if rng.random() < 0.3:
            end = start + timedelta(minutes=rng.randrange(90))
        if rng.random() < 0.2:
            end = start.replace(minute=59, second=59, microsecond=999_999)
        if rng.random() < 0.2:
            start = start.replace(minute=0, second=0, microsecond=0)
        inside_an_hour += (start - datetime(1970, 1, 1, tzinfo=UTC)) // HOUR == (
            end - datetime(1970, 1, 1, tzinfo=UTC)
        ) // HOUR
        zone = timezone(timedelta(minutes=rng.choice([0, 330, 345, -210])))
        times = {"from": start.astimezone(zone).isoformat(), "to": end.astimezone(zone).isoformat()}
        answer = await random_history.client.get(
            f"/v1/tools/{slug}/history", params={"bucket": size, **times}
        )
        votes = [
            event
            for event in up_to(random_history.history, answer.headers["shiplog-position"])
            if event.tool == random_history.numbers[slug] and event.type.startswith("Vote")
        ]
        shown = [
            (datetime.fromisoformat(each["start"]), each["casts"], each["ship"], each["skip"])
            for each in answer.json()["items"]
        ]
        assert shown == history_of(votes, size, start, end), (slug, size, times)
    assert inside_an_hour > 10


async def test_answers_as_of_a_moment_just_past_do_not_change_while_votes_arrive(
    random_history: RandomHistory,
) -> None:
    """An append in flight has read the clock but not committed: the answer must wait for it."""
    tool, over = random_history.numbers["nib"], asyncio.Event()

    async def keep_voting(shard: int) -> None:
        while not over.is_set():
            await random_history.log.fetchval(APPEND_VOTES, shard, 5, tool)

    voting = [asyncio.create_task(keep_voting(shard)) for shard in (1, 2, 3)]
    answered = []
    for _ in range(60):
        now = as_text(datetime.now(UTC))
        answered.append((now, await tally(random_history.client, now)))
    over.set()
    await asyncio.gather(*voting)
    assert len(set(answered)) > 5
    for time, votes in answered:
        assert await tally(random_history.client, time) == votes


async def tally(client: Client, as_of: str) -> tuple[int, int, str]:
    answer = await client.get("/v1/tools/nib/tally", params={"as_of": as_of})
    assert answer.status_code == 200, answer.text
    return answer.json()["ship"], answer.json()["skip"], answer.headers["shiplog-position"]


async def test_an_answer_as_of_now_equals_the_live_answer(random_history: RandomHistory) -> None:
    await catch_up(random_history.log)
    for slug in TOOLS:
        live = await random_history.client.get(f"/v1/tools/{slug}")
        then = await random_history.client.get(
            f"/v1/tools/{slug}", params={"as_of": live.headers["shiplog-position"]}
        )
        assert then.content == live.content
        assert then.headers["etag"] == live.headers["etag"]
