"""200,000 votes over HTTP through two API processes; then every answer equals the oracle's count."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import httpx
import pytest

from tests.oracles import votes as vote_oracle
from tests.oracles.votes import Ballot, BallotState, Side
from tests.support.instances import Instance, start_instance
from tests.support.load import History, eventually, saved_on_failure, send_all, summary
from tests.support.ports import free_ports, ports_of
from tests.support.workload import Workload

SEED = 20_240_531
UNREVIEWED = tuple(f"unreviewed-{number}" for number in range(3))
# Scores of the takes, of which those from 60 on say ship: comparisons are decided by share, mean score, or votes.
REVIEWED = {
    f"reviewed-{number}": scores
    for number, scores in enumerate(
        [(88, 82), (74, 68, 55), (94, 71, 40), (75, 45), (75, 45), (90, 80), (30, 20)]
    )
}
UNVOTED = "never-voted-on"


@pytest.mark.slow
async def test_two_hundred_thousand_votes(tmp_path: Path) -> None:
    await _run(tmp_path, casts=200_000, voters=50_000)


async def test_six_thousand_votes(tmp_path: Path) -> None:
    await _run(tmp_path, casts=6_000, voters=1_500)


async def _run(folder: Path, *, casts: int, voters: int) -> None:
    with start_instance(
        folder / "data", "--api", "2", "--workers", "2", "--empty", port=free_ports()
    ) as instance:
        key = instance.create_key("votes:write", "catalogue:write")
        tools = _list_tools(instance, key)
        history = History(Workload(SEED, casts, voters, tuple(tools)))
        with saved_on_failure(history, folder):
            await send_all(history, ports_of(instance.url), key)
            print(f"\n{summary(history)}")
            await _check(instance, history, [*tools, UNVOTED])


def _list_tools(instance: Instance, key: str) -> list[str]:
    """Tools with takes, and some without, whose comparisons are decided by votes."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=instance.url, headers=headers) as client:
        for number in range(3):
            _put(client, f"/v1/reviewers/reviewer-{number}", {"name": f"Reviewer {number}"})
        for slug in (*REVIEWED, *UNREVIEWED, UNVOTED):
            tool = {
                "name": slug.title(),
                "category": {"slug": "tests", "name": "Tests"},
                "pricing": {"entry": "Free"},
            }
            _put(client, f"/v1/tools/{slug}", tool)
            for number, score in enumerate(REVIEWED.get(slug, ())):
                take = {"score": score, "choice": "ship" if score >= 60 else "skip", "text": "Tried."}
                _put(client, f"/v1/tools/{slug}/takes/reviewer-{number}", take)
    return sorted([*REVIEWED, *UNREVIEWED])


def _put(client: httpx.Client, path: str, body: object) -> None:
    answer = client.put(path, json=body)
    assert answer.status_code == 201, answer.text


async def _check(instance: Instance, history: History, tools: list[str]) -> None:
    calls = history.for_oracle()
    standings = vote_oracle.final_states(calls)
    expected = vote_oracle.tallies(standings, tools)
    with httpx.Client(base_url=instance.url, timeout=30) as client:
        await eventually(lambda: not any(client.get("/readyz").json()["events_behind"].values()), 60)
        _check_tallies(client, expected, vote_oracle.last_positions(calls))
        _check_own_votes(client, history, standings)
        _check_comparisons(client, expected)
    found = vote_oracle.examine(calls, await vote_oracle.read_log(instance.data))
    assert not found.all, found.all[:20]
    assert json.loads(instance.command("verify", "--json"))["equal"]


def _check_tallies(client: httpx.Client, expected: dict[str, tuple[int, int]], positions: str) -> None:
    shown = client.get("/v1/tallies", params={"tools": ",".join(expected), "min_position": positions})
    assert shown.status_code == 200, shown.text
    tallies = {each.pop("tool"): each for each in shown.json()["items"]}
    assert tallies.keys() == expected.keys()
    for tool, (ship, skip) in expected.items():
        assert tallies[tool] | vote_oracle.tally(ship, skip) == tallies[tool], tool
    assert tallies[UNVOTED]["share"] is None


def _check_own_votes(client: httpx.Client, history: History, standings: dict[Ballot, BallotState]) -> None:
    """Each visitor's own votes."""
    expected: dict[str, dict[str, str]] = {visitor: {} for visitor in history.cookies}
    for (voter, tool), standing in standings.items():
        if voter in expected and standing.choice:
            expected[voter][tool] = standing.choice
    assert len(expected) == int(history.workload.voters * history.workload.visitors)
    for visitor, votes in expected.items():
        shown = client.get("/v1/me/votes", headers={"Cookie": history.cookies[visitor].decode()})
        assert {vote["tool"]: vote["choice"] for vote in shown.json()["items"]} == votes, visitor


def _check_comparisons(client: httpx.Client, expected: dict[str, tuple[int, int]]) -> None:
    """Every pair, in both orders."""
    clauses = set()
    for left, right in permutations(expected, 2):
        shown = client.get(f"/v1/comparisons/{left}/{right}").json()
        for side, tool in (("left", left), ("right", right)):
            assert shown[side]["slug"] == tool
            assert shown[side]["tally"] | vote_oracle.tally(*expected[tool]) == shown[side]["tally"]
        sides = [_side(shown, side, expected) for side in ("left", "right")]
        assert shown["winner"] == vote_oracle.winner(*sides), (left, right)
        clauses.add(shown["winner"]["clause"])
    assert clauses >= {"panel share", "community lower bound"}


def _side(shown: dict, side: str, expected: dict[str, tuple[int, int]]) -> Side:  # type: ignore[type-arg]
    takes = [(row[side]["score"], row[side]["choice"]) for row in shown["scorecard"] if row[side]]
    return Side(shown[side]["name"], takes, *expected[shown[side]["slug"]])
