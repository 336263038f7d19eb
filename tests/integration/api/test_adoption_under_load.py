"""Adoptions during votes and reads: every answer follows one rulebook, the one in force at its log position."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from domain.rulebooks.presets import DEFAULT, PRESETS
from services.settings import Settings
from tests.integration.conftest import stage_on
from tests.integration.services.test_wakeups_and_worker import until
from tests.support.stage import (
    Client,
    Headers,
    Log,
    Stage,
    catch_up,
    list_tool,
    log_in,
    new_visitor,
    publish,
    seat_panel,
    vote_as,
)

READ_ADOPTIONS = """
SELECT position, data->>'digest' FROM events WHERE shard = 0 AND type = 'RulebookAdopted' ORDER BY position
"""
TAKES: dict[str, dict[str, tuple[int, str]]] = {
    "quill": {"builder": (74, "ship"), "skeptic": (68, "ship"), "pm": (55, "skip")},
    "pen": {"builder": (90, "skip"), "skeptic": (40, "ship")},
    "chalk": {"builder": (30, "ship")},
    "ink": {},
}
PAIRS = [(left, right) for left in TAKES for right in TAKES if left != right]
ADOPTIONS = ["community-veto", "sixty-days", None, "lower-bound", "score-weighted", None, "default"]
BOOKS = {book.digest: book for book in PRESETS.values()}
READERS, WRITERS, ANSWERS_EACH = 6, 3, 30


@dataclass(frozen=True)
class Observation:
    """An answer, with the log position in its header."""

    address: str
    position: str
    body: Any

    @property
    def editorial(self) -> int:
        return int(self.position.split(",")[0].removeprefix("0."))

    def having(self, name: str) -> list[dict[str, Any]]:
        return [each for each in _objects(self.body) if name in each]


def _objects(body: Any) -> Iterator[dict[str, Any]]:
    """Every object in the answer, however deep."""
    if isinstance(body, dict):
        yield body
    for part in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from _objects(part)


@dataclass
class Crowd:
    """Readers and writers that run until ``over`` is set."""

    client: Client
    key: Headers
    random: Random = field(default_factory=lambda: Random(5))
    seen: list[Observation] = field(default_factory=list)
    over: bool = False

    async def read(self) -> None:
        while not self.over:
            address = self._address()
            answer = await self.client.get(address)
            assert answer.status_code == 200, answer.text
            self.seen.append(Observation(address, answer.headers["shiplog-position"], answer.json()))

    async def write(self) -> None:
        while not self.over:
            voter, choice = f"voter {self.random.randrange(40)}", self.random.choice(["ship", "skip", "skip"])
            voted = await vote_as(self.client, self.key, voter, choice, self.random.choice(list(TAKES)))
            assert voted.status_code == 200, voted.text

    def _address(self) -> str:
        left, right = self.random.choice(PAIRS)
        shapes = ["/v1/tools", f"/v1/comparisons/{left}/{right}", f"/v1/tools/{left}/verdict"]
        return self.random.choice([*shapes, f"/v1/tools/{left}", f"/v1/tallies?tools={left},{right}"])

    async def wait_for_answers(self, editorial: int) -> None:
        """Return once there are enough answers at this position of the editorial shard, or a later one."""

        async def enough() -> bool:
            return sum(each.editorial >= editorial for each in self.seen) >= ANSWERS_EACH

        await until(enough)


@pytest.fixture
async def busy(settings: Settings) -> AsyncIterator[Stage]:
    """An app on a log with four tools, and an editor's client to it."""
    async with stage_on(settings) as stage:
        await seat_panel(stage.log, "builder", "skeptic", "pm")
        for slug, takes in TAKES.items():
            await list_tool(stage.client, stage.catalogue_key, slug)
            for reviewer, (score, choice) in takes.items():
                await publish(stage.client, stage.catalogue_key, slug, reviewer, score, choice)
        await catch_up(stage.log)
        await log_in(stage.client, stage.log, "ed", "editor")
        yield stage


@asynccontextmanager
async def crowd_on(stage: Stage) -> AsyncIterator[Crowd]:
    crowd = Crowd(new_visitor(stage.client), stage.vote_key)

    async def fold() -> None:
        while not crowd.over:
            await catch_up(stage.log)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fold())
        for work in [crowd.read] * READERS + [crowd.write] * WRITERS:
            tasks.create_task(work())
        try:
            yield crowd
        finally:
            crowd.over = True


async def adopt(editor: Client, name: str | None) -> int:
    """Adopt this rulebook, or roll back for None; the number of the event in the editorial shard."""
    if name is None:
        answer = await editor.post("/v1/rulebooks/roll-back", json={"reason": "Back."})
    else:
        answer = await editor.post(f"/v1/rulebooks/{name}/adopt", json={"reason": "Try it."})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["position"].removeprefix("0."))


async def read_adopted(log: Log) -> list[tuple[int, str]]:
    """(number in the editorial shard, digest) of each adoption, oldest first."""
    return [(0, DEFAULT.digest), *((row[0], row[1]) for row in await log.fetch(READ_ADOPTIONS))]


def in_force(adopted: list[tuple[int, str]], editorial: int) -> str:
    return [digest for position, digest in adopted if position <= editorial][-1]


async def test_every_answer_follows_the_rulebook_in_force_at_its_position(busy: Stage) -> None:
    async with crowd_on(busy) as crowd:
        await crowd.wait_for_answers(0)
        for name in ADOPTIONS:
            await crowd.wait_for_answers(await adopt(busy.client, name))
    adopted = await read_adopted(busy.log)
    counts: Counter[str] = Counter()
    for each in crowd.seen:
        book = BOOKS[in_force(adopted, each.editorial)]
        verdicts = each.having("explanation")
        assert {verdict["rulebook"] for verdict in verdicts} <= {book.digest}
        assert {verdict["position"] for verdict in verdicts} <= {each.position}
        for tally in each.having("preliminary"):
            assert tally["preliminary"] == (tally["total"] < book.community.minimum)
        for comparison in each.having("winner"):
            assert comparison["winner"]["clause"] in (*book.comparison, "none")
        counts[book.digest] += len(verdicts)
    assert counts.keys() == {digest for _, digest in adopted}
    await _check_answers_as_of_their_positions(busy.client, crowd)
    await _check_that_each_adoption_switches_at_its_position(
        busy.client, crowd.seen[-1].position, adopted[1:]
    )


async def _check_answers_as_of_their_positions(client: Client, crowd: Crowd) -> None:
    """An answer as of the position of an earlier one has the same body, from the log's own history of adoptions."""
    for each in crowd.random.sample(crowd.seen, 40):
        joined = "&" if "?" in each.address else "?"
        again = await client.get(f"{each.address}{joined}as_of={each.position}")
        assert json.dumps(again.json()) == json.dumps(each.body), each.address


async def _check_that_each_adoption_switches_at_its_position(
    client: Client, last: str, adopted: list[tuple[int, str]]
) -> None:
    _, _, people = last.partition(",")
    before = DEFAULT.digest
    for position, digest in adopted:
        for editorial, expected in ((position - 1, before), (position, digest)):
            params = {"as_of": f"0.{editorial},{people}"}
            verdict = (await client.get("/v1/tools/quill/verdict", params=params)).json()
            assert verdict["rulebook"] == expected
        before = digest


async def test_a_roll_back_restores_the_same_bytes(busy: Stage) -> None:
    for voter in range(45):
        await vote_as(busy.client, busy.vote_key, f"voter {voter}", "skip" if voter % 9 else "ship", "quill")
    await catch_up(busy.log)
    before = await _verdicts(busy)
    await adopt(busy.client, "community-veto")
    await catch_up(busy.log)
    between = await _verdicts(busy)
    await adopt(busy.client, None)
    await catch_up(busy.log)
    assert await _verdicts(busy) == before
    assert (json.loads(before["quill"])["label"], json.loads(between["quill"])["label"]) == ("Ship", "Split")


async def _verdicts(stage: Stage) -> dict[str, bytes]:
    """The answers' bytes without the position."""
    answers = {slug: await stage.client.get(f"/v1/tools/{slug}/verdict") for slug in TAKES}
    return {
        slug: answer.content.replace(answer.headers["shiplog-position"].encode(), b"")
        for slug, answer in answers.items()
    }
