"""Ballots as aggregates: `eventsourcing_votes.py VOTES EACH THREADS` saves EACH new ballots at a time."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

TOOLS = ("uv", "zed", "neovim", "sqlite", "redis", "grafana", "sentry", "postgresql", "playwright", "jenkins")
WARM_UP = 200


class Ballot(Aggregate):
    @event("Cast")
    def __init__(self, voter: str, tool: str, choice: str) -> None:
        self.voter = voter
        self.tool = tool
        self.choice = choice


class Ballots(Application[UUID]):
    pass


def main(votes: int, each: int, threads: int) -> None:
    ballots = Ballots()
    warmed, _ = cast(ballots, min(votes, WARM_UP), each, threads)
    started = time.perf_counter()
    acknowledged, latencies = cast(ballots, votes, each, threads)
    rate = acknowledged / (time.perf_counter() - started)
    ballots.close()
    p99_ms = latencies[int(len(latencies) * 0.99)] * 1000 if latencies else None
    print(json.dumps({"acknowledged": warmed + acknowledged, "rate": rate, "p99_ms": p99_ms}))


def cast(ballots: Ballots, votes: int, each: int, threads: int) -> tuple[int, list[float]]:
    """The number of ballots saved, and seconds per save, sorted."""
    saves = iter(range(votes // each))
    with ThreadPoolExecutor(threads) as executor:
        saving = [executor.submit(save, ballots, saves, each) for _ in range(threads)]
        latencies = sorted(latency for done in saving for latency in done.result())
    return len(latencies) * each, latencies


def save(ballots: Ballots, saves: Iterator[int], each: int) -> list[float]:
    latencies = []
    for _ in saves:
        new = [Ballot(*vote()) for _ in range(each)]
        started = time.perf_counter()
        ballots.save(*new)
        latencies.append(time.perf_counter() - started)
    return latencies


def vote() -> tuple[str, str, str]:
    choice = "ship" if random.random() < 0.6 else "skip"
    return f"voter {random.getrandbits(64):x}", random.choice(TOOLS), choice


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
