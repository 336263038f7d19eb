"""Verdicts and comparisons over HTTP: the deciding clause is named, and swapping the sides mirrors the answer."""

from __future__ import annotations

import pytest

from domain.rulebooks.presets import DEFAULT
from tests.support.stage import (
    Client,
    Headers,
    Log,
    assert_problem,
    catch_up,
    list_tool,
    publish,
    retire_tool,
    seat_panel,
    vote_as,
)

Takes = dict[str, tuple[int, str]]

# The takes on the two tools that the home page compares.
CLAUDE: Takes = {
    "builder": (88, "ship"),
    "skeptic": (82, "ship"),
    "futurist": (85, "ship"),
    "founder": (79, "ship"),
}
AGENTS: Takes = {
    "builder": (74, "ship"),
    "skeptic": (68, "ship"),
    "futurist": (77, "ship"),
    "pm": (55, "skip"),
}
PANEL = ("builder", "skeptic", "futurist", "founder", "pm")


@pytest.fixture(autouse=True)
async def panel(pool: Log) -> None:
    await seat_panel(pool, *PANEL)


async def tool(client: Client, key: Headers, slug: str, takes: Takes) -> None:
    await list_tool(client, key, slug, name=slug.title())
    for reviewer, (score, choice) in takes.items():
        assert (await publish(client, key, slug, reviewer, score, choice)).status_code == 201


async def compare(client: Client, left: str, right: str) -> dict[str, object]:
    answer = await client.get(f"/v1/comparisons/{left}/{right}")
    assert answer.status_code == 200, answer.text
    assert "shiplog-position" in answer.headers
    body: dict[str, object] = answer.json()
    return body


async def test_a_verdict_has_its_counts_margin_explanation_and_inputs(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "agents", AGENTS)
    await catch_up(pool)
    answer = await client.get("/v1/tools/agents/verdict")
    verdict = answer.json()
    assert verdict["label"] == "Ship"
    assert verdict["panel"] == {"ship": 3, "skip": 1, "share": "0.7500", "mean_score": "68.5"}
    assert verdict["community"]["share"] is None
    assert verdict["margin"] == {"votes": None, "takes": 2}
    assert verdict["rulebook"] == DEFAULT.digest
    assert verdict["position"] == answer.headers["shiplog-position"]
    assert verdict["inputs"].startswith("sha256:")
    assert verdict["explanation"][1] == "3 of 4 takes say ship; by choice the panel's share is 0.7500."
    assert (verdict["decided"], verdict["distance"]) == ("panel", {"label": "Split", "share": "0.2500"})


async def test_a_rulebook_can_be_named_by_its_digest(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "agents", AGENTS)
    await catch_up(pool)
    named = await client.get("/v1/tools/agents/verdict", params={"rulebook": DEFAULT.digest})
    assert named.json() == (await client.get("/v1/tools/agents/verdict")).json()
    assert_problem(await client.get("/v1/tools/agents/verdict", params={"rulebook": "sha256:0"}), 404)


async def test_votes_move_the_community_part_and_the_digest_but_not_the_label(
    client: Client, catalogue_key: Headers, vote_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "agents", AGENTS)
    await catch_up(pool)
    before = (await client.get("/v1/tools/agents/verdict")).json()
    for voter in range(5):
        await vote_as(client, vote_key, f"voter {voter}", "skip", "agents")
    await catch_up(pool)
    after = (await client.get("/v1/tools/agents/verdict")).json()
    assert (after["label"], after["panel"]) == (before["label"], before["panel"])
    assert after["community"]["skip"] == 5
    assert after["inputs"] != before["inputs"]


async def test_a_comparison_aligns_the_scorecards_and_names_the_winner(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "claude", CLAUDE)
    await tool(client, catalogue_key, "agents", AGENTS)
    await catch_up(pool)
    shown = await compare(client, "claude", "agents")
    assert shown.keys() == {"left", "right", "scorecard", "winner"}
    assert shown["winner"] == {"side": "left", "label": "Claude", "clause": "panel share"}
    rows = shown["scorecard"]
    assert isinstance(rows, list)
    assert [row["reviewer"]["slug"] for row in rows] == list(PANEL)
    assert [
        (row["left"] and row["left"]["score"], row["right"] and row["right"]["score"]) for row in rows
    ] == [
        (88, 74),
        (82, 68),
        (85, 77),
        (79, None),
        (None, 55),
    ]


async def test_swapping_the_sides_mirrors_the_comparison(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "claude", CLAUDE)
    await tool(client, catalogue_key, "agents", AGENTS)
    await catch_up(pool)
    forward, mirrored = await compare(client, "claude", "agents"), await compare(client, "agents", "claude")
    assert (forward["left"], forward["right"]) == (mirrored["right"], mirrored["left"])
    assert mirrored["winner"] == {"side": "right", "label": "Claude", "clause": "panel share"}
    assert isinstance(forward["scorecard"], list)
    assert mirrored["scorecard"] == [
        row | {"left": row["right"], "right": row["left"]} for row in forward["scorecard"]
    ]


@pytest.mark.parametrize(
    ("left", "right", "winner"),
    [
        pytest.param(
            {"builder": (80, "ship")}, {"builder": (79, "ship")}, ("left", "mean score"), id="mean score"
        ),
        pytest.param({}, {}, ("right", "community lower bound"), id="votes"),
    ],
)
async def test_a_later_clause_decides_where_the_earlier_are_equal(
    client: Client,
    catalogue_key: Headers,
    vote_key: Headers,
    pool: Log,
    left: Takes,
    right: Takes,
    winner: tuple[str, str],
) -> None:
    await tool(client, catalogue_key, "left", left)
    await tool(client, catalogue_key, "right", right)
    await vote_as(client, vote_key, "ada", "ship", "right")
    await catch_up(pool)
    shown = (await compare(client, "left", "right"))["winner"]
    assert isinstance(shown, dict)
    assert (shown["side"], shown["clause"]) == winner


async def test_two_tools_without_takes_and_votes_are_a_toss_up(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "left", {})
    await tool(client, catalogue_key, "right", {})
    await catch_up(pool)
    assert (await compare(client, "left", "right"))["winner"] == {
        "side": None,
        "label": "Toss-up",
        "clause": "none",
    }


async def test_a_tool_against_itself_or_an_unknown_one_is_not_found(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "agents", AGENTS)
    await catch_up(pool)
    for pair in ("agents/agents", "agents/pen", "pen/agents", "pen/pen"):
        assert_problem(await client.get(f"/v1/comparisons/{pair}"), 404)


async def test_a_retired_tool_can_still_be_compared(
    client: Client, catalogue_key: Headers, pool: Log
) -> None:
    await tool(client, catalogue_key, "claude", CLAUDE)
    await tool(client, catalogue_key, "agents", AGENTS)
    await retire_tool(client, catalogue_key, "agents")
    await catch_up(pool)
    shown = await compare(client, "claude", "agents")
    assert isinstance(shown["right"], dict)
    assert shown["right"]["retired_at"] is not None
