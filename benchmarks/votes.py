"""Votes to send: distributions of tools, new and returning voters."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import accumulate

from uuid_utils.compat import uuid7

from benchmarks.client import post

TOOLS = ["uv", "zed", "neovim", "sqlite", "redis", "grafana", "sentry", "postgresql", "playwright", "jenkins"]
RETURNING_VOTERS = 5_000

_rng = random.Random(20_26)
_ZIPF = list(accumulate(1 / rank for rank in range(1, len(TOOLS) + 1)))

Load = Callable[[], bytes]


def uniform() -> bytes:
    return _vote(_rng.choice(TOOLS), _new_voter())


def zipf() -> bytes:
    """Tools in proportion to 1/rank (Zipf 1949, exponent 1)."""
    return _vote(TOOLS[bisect(_ZIPF, _rng.random() * _ZIPF[-1])], _new_voter())


def hot() -> bytes:
    return _vote(TOOLS[0], _new_voter())


def changed() -> bytes:
    """Returning voters: most of their votes change or repeat an earlier one."""
    return _vote(_rng.choice(TOOLS), f"regular {_rng.randrange(RETURNING_VOTERS)}")


def singles(count: int, key: str, load: Load = uniform) -> list[bytes]:
    headers = ["Content-Type: application/json", f"Authorization: Bearer {key}"]
    return [post("/v1/votes", load(), headers) for _ in range(count)]


def bulks(count: int, each: int, key: str, load: Load = uniform) -> list[bytes]:
    headers = ["Content-Type: application/x-ndjson", f"Authorization: Bearer {key}"]
    return [post("/v1/votes/bulk", lines(each, load), headers) for _ in range(count)]


def lines(count: int, load: Load = uniform) -> bytes:
    return b"".join(vote + b"\n" for vote in _votes(count, load))


def _votes(count: int, load: Load) -> Iterator[bytes]:
    return (load() for _ in range(count))


def _vote(tool: str, voter: str) -> bytes:
    choice = "ship" if _rng.random() < 0.6 else "skip"
    return f'{{"tool":"{tool}","choice":"{choice}","voter":"{voter}","id":"{uuid7()}"}}'.encode()


def _new_voter() -> str:
    return f"voter {_rng.getrandbits(64):x}"
