"""A burst of requests begins over several passes of the event loop, in its order."""

from __future__ import annotations

import asyncio
from collections import Counter

from services.api.http.overload.pacing import Pacing


async def test_a_burst_begins_over_several_passes_and_in_order() -> None:
    pacing, order, passes = Pacing(starts_max=4), list[int](), Counter[int]()
    now = 0

    async def request(number: int) -> None:
        await pacing.begin()
        order.append(number)
        passes[now] += 1

    burst = [asyncio.create_task(request(number)) for number in range(40)]
    while not all(task.done() for task in burst):
        now += 1
        await asyncio.sleep(0)
    assert order == list(range(40))
    assert max(passes.values()) <= 5
    assert now > 10


async def test_requests_that_come_one_by_one_do_not_wait() -> None:
    pacing = Pacing(starts_max=1)
    for _ in range(3):
        begun = pacing.begin().__await__()
        assert next(begun, "begun") == "begun"
        await asyncio.sleep(0)
