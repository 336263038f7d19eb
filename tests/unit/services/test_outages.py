"""Every error asyncpg raises while Postgres is away counts as an outage in an API process."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from asyncpg import InternalClientError

from eventstore.tool_directory import ToolDirectory
from services.api import startup
from services.api.http.problems import problem_of

BROKEN = InternalClientError("got result for unknown protocol state 3")


class BrokenOnce:
    """A tool directory whose first refresh meets a connection that breaks in asyncpg's protocol."""

    def __init__(self) -> None:
        self.calls = 0
        self.refreshed = asyncio.Event()

    async def refresh(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise BROKEN
        self.refreshed.set()


def test_it_is_answered_with_a_retry() -> None:
    problem = problem_of(BROKEN)
    assert (problem.status, problem.slug) == (503, "try-again")


async def test_the_tool_directory_is_refreshed_again_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "_DIRECTORY_SECONDS", 0)
    directory = BrokenOnce()
    refreshing = asyncio.create_task(startup._keep_fresh(cast(ToolDirectory, directory)))
    refreshed = asyncio.create_task(directory.refreshed.wait())
    done, _ = await asyncio.wait([refreshing, refreshed], timeout=5, return_when=asyncio.FIRST_COMPLETED)
    refreshing.cancel()
    refreshed.cancel()
    assert done == {refreshed}
