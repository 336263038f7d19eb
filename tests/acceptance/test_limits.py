"""Rate limits of a whole instance: two API processes, concurrent requests, forged headers, and a Redis that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from services.embedded.valkey import Valkey
from tests.support.instances import Instance, start_instance, wait_until
from tests.support.ports import free_ports, ports_of

BODY = {"tool": "smolagents-2-0", "choice": "ship"}
# Per minute; half of it and one in a burst.
BY_ADDRESS, BY_VISITOR = 4, 20


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    monkeypatch.setenv("SHIPLOG_LIMIT_ADDRESS", str(BY_ADDRESS))
    monkeypatch.setenv("SHIPLOG_LIMIT_VISITOR", str(BY_VISITOR))
    with start_instance(tmp_path / "data", "--api", "2", port=free_ports()) as running:
        for port in ports_of(running.url):
            wait_until(lambda port=port: is_up(port), 60)  # type: ignore[misc]
        yield running


def is_up(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    return False


def test_two_processes_together_admit_no_more_than_the_limit(instance: Instance) -> None:
    new = send(instance, [{"X-Forwarded-For": f"203.0.113.{n}"} for n in range(24)])
    assert BY_ADDRESS // 2 + 1 <= admitted(new) <= BY_ADDRESS
    (cookie, *_) = [each.headers["set-cookie"].partition(";")[0] for each in new if each.status_code == 200]
    known = send(instance, [{"Cookie": cookie}] * 100)
    assert BY_VISITOR // 2 + 1 <= admitted(known) <= BY_VISITOR
    for rejected in (each for each in (*new, *known) if each.status_code == 429):
        assert {"retry-after", "ratelimit", "ratelimit-policy"} <= rejected.headers.keys()
    valkey = Valkey.attach(instance.data)
    assert valkey is not None
    os.kill(valkey.pid, signal.SIGKILL)
    assert admitted(send(instance, [{"Cookie": cookie}] * 100)) <= 2 * BY_VISITOR


def send(instance: Instance, headers: list[dict[str, str]]) -> list[httpx.Response]:
    """Votes, eight at a time, alternating between the two processes."""
    urls = [f"http://127.0.0.1:{port}/v1/votes" for port in ports_of(instance.url)]
    with ThreadPoolExecutor(8) as threads:
        requests = [
            threads.submit(httpx.post, url, json=BODY, headers=each, timeout=30, verify=False)
            for url, each in zip(cycle(urls), headers, strict=False)
        ]
        return [each.result() for each in requests]


def admitted(answers: list[httpx.Response]) -> int:
    assert {each.status_code for each in answers} <= {200, 429}
    return sum(each.status_code == 200 for each in answers)
