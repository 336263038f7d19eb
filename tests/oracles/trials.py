"""An oracle for trials: it judges a tool again after every event that can affect it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import msgspec

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Rulebook, decode_rulebook
from domain.verdicts.decay import Ballots, DayVotes
from domain.verdicts.verdict import Judgement, Verdict, judge
from tests.support.stage import Log

EVENTS = """
SELECT shard, position, recorded_at, actor, tool, type, choice, data FROM events ORDER BY recorded_at, shard, position
"""
EPOCH = date(1970, 1, 1)
FlipRow = tuple[datetime, int, int, str, str, str, str]


@dataclass
class PlainTool:
    takes: dict[str, Judgement] = field(default_factory=dict)
    ballots: dict[object, tuple[str, int]] = field(default_factory=dict)
    today: int | None = None
    label: str = "Unreviewed"
    flips: list[FlipRow] = field(default_factory=list)

    def vote(self, actor: object, choice: str | None, day: int) -> None:
        self.ballots.pop(actor, None)
        if choice:
            self.ballots[actor] = choice, day
        self.today = day

    def verdict(self, rulebook: Rulebook) -> Verdict:
        counted = Counter(self.ballots.values())
        days = tuple(
            DayVotes(day, counted["ship", day], counted["skip", day]) for day in {day for _, day in counted}
        )
        ship, skip = sum(each.ship for each in days), sum(each.skip for each in days)
        return judge(list(self.takes.values()), Ballots(ship, skip, self.today, days), rulebook)


@dataclass
class PlainScenario:
    """``tried`` is the rulebook throughout; None follows the adoptions."""

    tried: Rulebook | None
    rulebook: Rulebook = DEFAULT
    known: dict[str, Rulebook] = field(
        default_factory=lambda: {each.digest: each for each in PRESETS.values()}
    )
    tools: dict[int, PlainTool] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)

    def add(self, row: Mapping[str, object]) -> None:
        self._apply(row, msgspec.json.decode(row["data"] or b"{}"))
        for tool in list(self.tools) if row["type"] == "RulebookAdopted" else [row["tool"]]:
            self._judge(tool, row)

    def _apply(self, row: Mapping[str, object], data: dict[str, object]) -> None:
        match row["type"]:
            case "VoteCast" | "VoteRetracted":
                day = (row["recorded_at"].date() - EPOCH).days
                self.tools[row["tool"]].vote(row["actor"], row["choice"], day)
            case "TakePublished":
                take = Judgement(data["reviewer"], data["score"], data["choice"])
                self.tools[row["tool"]].takes[data["reviewer"]] = take
            case "TakeWithdrawn":
                self.tools[row["tool"]].takes.pop(data["reviewer"], None)
            case "ToolListed":
                self.tools[row["tool"]] = PlainTool()
            case "ToolRetired":
                self.retired.add(row["tool"])
            case "RulebookWritten":
                self.known[data["digest"]] = decode_rulebook(msgspec.json.encode(data["rulebook"]))
            case "RulebookAdopted":
                self.rulebook = self.known[data["digest"]]

    def _judge(self, number: object, row: Mapping[str, object]) -> None:
        tool = self.tools.get(number)
        if tool is not None:
            book = self.tried or self.rulebook
            before, tool.label = tool.label, tool.verdict(book).label
            if tool.label != before:
                order = row["recorded_at"], row["shard"], row["position"]
                tool.flips.append((*order, before, tool.label, row["type"], book.digest))

    def found(self) -> dict[int, tuple[str, object, list[FlipRow]]]:
        book = self.tried or self.rulebook
        listed = {number: tool for number, tool in self.tools.items() if number not in self.retired}
        return {
            number: (tool.label, tool.verdict(book).margin, tool.flips) for number, tool in listed.items()
        }


async def plain_trial(
    log: Log, tried: Rulebook, upto: Mapping[int, int]
) -> tuple[PlainScenario, PlainScenario]:
    """The scenario in force, and the one tried."""
    scenarios = PlainScenario(None), PlainScenario(tried)
    for row in await log.fetch(EVENTS):
        if row["position"] <= upto[row["shard"]]:
            for scenario in scenarios:
                scenario.add(row)
    return scenarios
