"""Live tallies: the state at once and after every change, each with the position it shows as its id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest

from tests.support.instances import Instance

pytestmark = pytest.mark.xdist_group("instance")

Frame = dict[str, str]
TOOL = {"name": "Watched", "category": "watched-things"}


@pytest.fixture
def tool(site: str, editor_key: str) -> str:
    slug = f"watched-{uuid4().hex[:12]}"
    listed = httpx.put(
        f"{site}/v1/tools/{slug}", json=TOOL, headers={"Authorization": f"Bearer {editor_key}"}
    )
    assert listed.status_code == 201
    return slug


@contextmanager
def stream(site: str, tools: str, **headers: str) -> Iterator[Iterator[Frame]]:
    with httpx.stream(
        "GET", f"{site}/v1/tallies/stream", params={"tools": tools}, headers=headers, timeout=20
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "content-encoding" not in answer.headers
        yield frames(answer.iter_lines())


def frames(lines: Iterator[str]) -> Iterator[Frame]:
    """The events of a stream, without comments and the retry time."""
    frame: Frame = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line == "" and "data" in frame:
            yield frame
        frame = {} if line == "" else frame | ({name: value} if name else {})


def positions(frame: Frame) -> dict[int, int]:
    return {int(shard): int(number) for shard, number in (each.split(".") for each in frame["id"].split(","))}


def vote(site: str, tool: str, choice: str) -> str:
    return str(httpx.post(f"{site}/v1/votes", json={"tool": tool, "choice": choice}).json()["position"])


def test_a_stream_sends_the_state_at_once_and_after_each_change(site: str, tool: str) -> None:
    with stream(site, tool) as seen:
        first = next(seen)
        assert first["event"] == "tally"
        no_votes = {"ship": 0, "skip": 0, "total": 0, "share": None, "interval": None, "preliminary": True}
        assert json.loads(first["data"]) == {"tool": tool, **no_votes}
        shard, number = map(int, vote(site, tool, "skip").split("."))
        changed = next(seen)
        assert (json.loads(changed["data"])["skip"], json.loads(changed["data"])["share"]) == (1, "0.0000")
        assert positions(changed)[shard] >= number
        assert all(positions(changed)[each] >= at for each, at in positions(first).items())


def test_each_tool_has_its_own_events(site: str, tool: str) -> None:
    with stream(site, f"{tool},smolagents-2-0") as seen:
        assert {json.loads(next(seen)["data"])["tool"] for _ in range(2)} == {tool, "smolagents-2-0"}


@pytest.mark.parametrize("last", ["-1", "9999.999", "not-a-number", "1.5,2.7", "%00", "x" * 2_000])
def test_any_last_event_id_gets_the_current_state(site: str, tool: str, last: str) -> None:
    with stream(site, tool, **{"Last-Event-ID": last}) as seen:
        assert json.loads(next(seen)["data"])["tool"] == tool


def test_a_stream_that_reconnects_begins_with_the_current_state(site: str, tool: str) -> None:
    with stream(site, tool) as seen:
        cut = next(seen)["id"]
    position = vote(site, tool, "ship")
    httpx.get(f"{site}/v1/tools/{tool}/tally", params={"min_position": position}).raise_for_status()
    with stream(site, tool, **{"Last-Event-ID": cut}) as seen:
        assert json.loads(next(seen)["data"])["ship"] == 1


def test_clients_that_disconnect_leave_the_process_ready(instance: Instance, tool: str) -> None:
    for _ in range(20):
        with stream(instance.url, tool) as seen:
            next(seen)
    assert httpx.get(f"{instance.url}/readyz").status_code == 200
