"""Votes to send: new voters on tools chosen evenly or all on one."""

from __future__ import annotations

import random

from uuid_utils.compat import uuid7

from benchmarks.client import post

TOOLS = ["uv", "zed", "neovim", "sqlite", "redis", "grafana", "sentry", "postgresql", "playwright", "jenkins"]
_rng = random.Random(20_26)


def vote(hot: bool = False) -> bytes:
    tool = TOOLS[0] if hot else _rng.choice(TOOLS)
    choice = "ship" if _rng.random() < 0.6 else "skip"
    voter = f"voter {_rng.getrandbits(64):x}"
    return f'{{"tool":"{tool}","choice":"{choice}","voter":"{voter}","id":"{uuid7()}"}}'.encode()


def singles(count: int, key: str) -> list[bytes]:
    headers = ["Content-Type: application/json", f"Authorization: Bearer {key}"]
    return [post("/v1/votes", vote(), headers) for _ in range(count)]


def bulks(count: int, each: int, key: str, *, hot: bool = False) -> list[bytes]:
    headers = ["Content-Type: application/x-ndjson", f"Authorization: Bearer {key}"]
    return [post("/v1/votes/bulk", b"\n".join(vote(hot) for _ in range(each)), headers) for _ in range(count)]
