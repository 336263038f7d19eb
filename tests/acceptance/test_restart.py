"""Votes survive a clean stop and kill -9 of the whole `shiplog up`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.instances import Instance, free_port, start_instance, wait_until

TOOL = "neovim"
TIMEOUT_SECONDS = 60.0  # only a hang takes longer, also on a slow machine


def test_a_vote_survives_a_stop_and_a_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with _timed("cold start", start_instance(data, creates_cluster=True)) as instance:
        cookie, position = _vote(instance)
        _assert_shown(instance, cookie, position)
    with _timed("warm start", start_instance(data)) as instance:
        _assert_shown(instance, cookie, position)


def test_a_vote_survives_kill_9_of_the_whole_command(tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    with start_instance(data, port=port) as instance:
        cookie, position = _vote(instance)
        instance.process.kill()
        instance.process.wait(10)
    with _timed("start after kill -9", start_instance(data, port=port)) as instance:
        _assert_shown(instance, cookie, position)
        cookie, position = _vote(instance, cookie, "skip")
        _assert_tally(instance, position, 0, 1)


@contextmanager
def _timed(name: str, starting: object) -> Iterator[Instance]:
    began = time.monotonic()
    with starting as instance:  # type: ignore[attr-defined]
        seconds = time.monotonic() - began
        print(f"\n{name}: ready in {seconds:.1f} s")
        assert seconds < TIMEOUT_SECONDS
        yield instance


def _vote(instance: Instance, cookie: str = "", choice: str = "ship") -> tuple[str, str]:
    """Returns the visitor's cookie and the vote's position."""
    body = {"tool": TOOL, "choice": choice}
    answer = httpx.post(f"{instance.url}/v1/votes", json=body, headers={"Cookie": cookie} if cookie else {})
    assert answer.json()["outcome"] == "counted", answer.text
    return cookie or answer.headers["set-cookie"].partition(";")[0], answer.json()["position"]


def _assert_shown(instance: Instance, cookie: str, position: str) -> None:
    own = httpx.get(f"{instance.url}/v1/me/votes", headers={"Cookie": cookie}).json()["items"]
    assert own == [{"tool": TOOL, "choice": "ship", "position": position}]
    _assert_tally(instance, position, 1, 0)


def _assert_tally(instance: Instance, position: str, ship: int, skip: int) -> None:
    url = f"{instance.url}/v1/tools/{TOOL}/tally?min_position={position}"
    wait_until(lambda: httpx.get(url, timeout=10).status_code == 200, 30)
    shown = httpx.get(url).json()
    assert (shown["ship"], shown["skip"]) == (ship, skip)
