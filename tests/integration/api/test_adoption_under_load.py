"""A rulebook is adopted while people vote and read: every answer is by one rulebook, the one of its place in the log."""

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

ADOPTED = """
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
class Seen:
    """An answer, and where in the log it says that it is."""

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
    """Readers and writers, until it is over."""

    client: Client
    key: Headers
    random: Random = field(default_factory=lambda: Random(5))
    seen: list[Seen] = field(default_factory=list)
    over: bool = False

    async def read(self) -> None:
        while not self.over:
            address = self._address()
            answer = await self.client.get(address)
            assert answer.status_code == 200, answer.text
            self.seen.append(Seen(address, answer.headers["shiplog-position"], answer.json()))

    async def write(self) -> None:
        while not self.over:
            voter, choice = f"voter {self.random.randrange(40)}", self.random.choice(["ship", "skip", "skip"])
            voted = await vote_as(self.client, self.key, voter, choice, self.random.choice(list(TAKES)))
            assert voted.status_code == 200, voted.text

    def _address(self) -> str:
        left, right = self.random.choice(PAIRS)
        shapes = ["/v1/tools", f"/v1/comparisons/{left}/{right}", f"/v1/tools/{left}/verdict"]
        return self.random.choice([*shapes, f"/v1/tools/{left}", f"/v1/tallies?tools={left},{right}"])

    async def sees(self, editorial: int) -> None:
        """Returns once enough answers were of this place in the house, or later ones."""

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
    """Put this rulebook in force, or the one before the last; where in the house that is."""
    if name is None:
        answer = await editor.post("/v1/rulebooks/roll-back", json={"reason": "Back."})
    else:
        answer = await editor.post(f"/v1/rulebooks/{name}/adopt", json={"reason": "Try it."})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["position"].removeprefix("0."))


async def read_adopted(log: Log) -> list[tuple[int, str]]:
    """From which position of the house on, which rulebook."""
    return [(0, DEFAULT.digest), *((row[0], row[1]) for row in await log.fetch(ADOPTED))]


def in_force(adopted: list[tuple[int, str]], editorial: int) -> str:
    return [digest for position, digest in adopted if position <= editorial][-1]


async def test_every_answer_is_by_the_one_rulebook_of_its_place_in_the_log(busy: Stage) -> None:
    async with crowd_on(busy) as crowd:
        await crowd.sees(0)
        for name in ADOPTIONS:
            await crowd.sees(await adopt(busy.client, name))
    adopted = await read_adopted(busy.log)
    met: Counter[str] = Counter()
    for each in crowd.seen:
        book = BOOKS[in_force(adopted, each.editorial)]
        verdicts = each.having("explanation")
        assert {verdict["rulebook"] for verdict in verdicts} <= {book.digest}
        assert {verdict["position"] for verdict in verdicts} <= {each.position}
        for tally in each.having("preliminary"):
            assert tally["preliminary"] == (tally["total"] < book.community.minimum)
        for comparison in each.having("winner"):
            assert comparison["winner"]["clause"] in (*book.comparison, "none")
        met[book.digest] += len(verdicts)
    assert met.keys() == {digest for _, digest in adopted}
    await _same_again(busy.client, crowd)
    await _switches_at_one_position(busy.client, crowd.seen[-1].position, adopted[1:])


async def _same_again(client: Client, crowd: Crowd) -> None:
    """What was read live is what the log says of that place, by its own account of the rulebook then."""
    for each in crowd.random.sample(crowd.seen, 40):
        joined = "&" if "?" in each.address else "?"
        again = await client.get(f"{each.address}{joined}as_of={each.position}")
        assert json.dumps(again.json()) == json.dumps(each.body), each.address


async def _switches_at_one_position(client: Client, last: str, adopted: list[tuple[int, str]]) -> None:
    _, _, people = last.partition(",")
    before = DEFAULT.digest
    for position, digest in adopted:
        for editorial, expected in ((position - 1, before), (position, digest)):
            params = {"as_of": f"0.{editorial},{people}"}
            verdict = (await client.get("/v1/tools/quill/verdict", params=params)).json()
            assert verdict["rulebook"] == expected
        before = digest


async def test_rolling_back_brings_the_same_bytes_back(busy: Stage) -> None:
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
    """Byte by byte, but for the position."""
    answers = {slug: await stage.client.get(f"/v1/tools/{slug}/verdict") for slug in TAKES}
    return {
        slug: answer.content.replace(answer.headers["shiplog-position"].encode(), b"")
        for slug, answer in answers.items()
    }
