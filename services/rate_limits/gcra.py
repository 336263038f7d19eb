"""The generic cell rate algorithm (ITU-T I.371) for rate limits, in Python and in Lua."""

from __future__ import annotations

from msgspec import Struct


class Limit(Struct, frozen=True):
    """At most ``quota`` requests in any ``seconds``: a burst of half of them plus one, the others evenly spaced."""

    name: str
    quota: int
    seconds: int

    @property
    def burst(self) -> int:
        return self.quota // 2 + 1

    @property
    def interval(self) -> int:
        """Microseconds between requests, once the burst is used up."""
        return -(-self.seconds * 1_000_000 // (self.quota - self.quota // 2))

    def left(self, debt: int) -> int:
        return self.burst - -(-debt // self.interval)

    def until_more(self, debt: int) -> int:
        """Microseconds until one more request is available."""
        return max(debt - (self.burst - self.left(debt) - 1) * self.interval, 0)


class Decision(Struct, frozen=True):
    """In microseconds: ``wait`` until the request is admitted, 0 if it is; ``debt`` until the whole burst is available."""

    wait: int
    debt: int


def decide(limit: Limit, due: int, now: int, cost: int = 1) -> Decision:
    """``due`` is the time at which the debt is 0, the "theoretical arrival time". A cost above the burst is never admitted.

    The debt is capped at the burst: it can only be greater after the limit was raised or a clock was set back.
    """
    debt = min(max(due - now, 0), limit.burst * limit.interval)
    later = debt + cost * limit.interval
    wait = later - limit.burst * limit.interval
    return Decision(wait, debt) if wait > 0 else Decision(0, later)


# The same in Lua, for the Redis that all processes share. A key expires with its debt.
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
