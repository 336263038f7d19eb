"""The rate of a limit, and the rule that holds it: the generic cell rate algorithm of ITU-T I.371, in Python and in Lua."""

from __future__ import annotations

from msgspec import Struct


class Limit(Struct, frozen=True):
    """In no ``seconds`` more than ``quota``: half of it and one at once, the rest evenly spread."""

    name: str
    quota: int
    seconds: int

    @property
    def burst(self) -> int:
        return self.quota // 2 + 1

    @property
    def interval(self) -> int:
        """Microseconds from one to the next, once the burst is spent."""
        return -(-self.seconds * 1_000_000 // (self.quota - self.quota // 2))

    def left(self, debt: int) -> int:
        return self.burst - -(-debt // self.interval)

    def until_more(self, debt: int) -> int:
        """Microseconds until one more than now is left."""
        return max(debt - (self.burst - self.left(debt) - 1) * self.interval, 0)


class Decision(Struct, frozen=True):
    """In microseconds: ``wait`` until it would be admitted, 0 when it is; ``debt`` until the burst is whole again."""

    wait: int
    debt: int


def decide(limit: Limit, due: int, now: int, cost: int = 1) -> Decision:
    """``due`` is when all that was admitted is paid off. A cost above the burst would never be admitted.

    A debt above the burst is one of a larger limit, or of a clock that was set back: it is not held to.
    """
    debt = min(max(due - now, 0), limit.burst * limit.interval)
    later = debt + cost * limit.interval
    wait = later - limit.burst * limit.interval
    return Decision(wait, debt) if wait > 0 else Decision(0, later)


# The same, where all processes meet. A key lives as long as its debt.
CLOCK = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""
RULE = """
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = tonumber(redis.call('GET', KEYS[1]) or 0)
local debt = math.min(math.max(due - now, 0), burst * interval)
local later = debt + cost * interval
local wait = later - burst * interval
if wait > 0 then later = debt else wait = 0 end
redis.call('SET', KEYS[1], string.format('%.0f', now + later), 'PX', math.ceil(later / 1000))
return {wait, later}
"""
