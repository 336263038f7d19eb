"""Polling ends when the condition holds or the time is up, and the condition is always checked once."""

from __future__ import annotations

from eventstore.polling import poll_until


class Condition:
    """Holds from the given call on."""

    def __init__(self, holds_from: int) -> None:
        self.calls, self._holds_from = 0, holds_from

    async def __call__(self) -> bool:
        self.calls += 1
        return self.calls >= self._holds_from


async def test_polling_ends_when_the_condition_holds() -> None:
    condition = Condition(3)
    assert await poll_until(condition, 60, interval=0)
    assert condition.calls == 3


async def test_polling_gives_false_when_the_time_is_up() -> None:
    assert not await poll_until(Condition(2), -1, interval=0)


async def test_a_condition_that_holds_at_once_is_asked_once_without_time() -> None:
    condition = Condition(1)
    assert await poll_until(condition, -1)
    assert condition.calls == 1
