"""The rate limits of an instance, and the headers and problem details that announce them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Self
from uuid import UUID

from services.api.http.problems import HttpRejected
from services.rate_limits.gcra import Decision, Limit
from services.rate_limits.store import RateLimitStore
from services.settings import Settings

Headers = Mapping[str, str]

_SECOND, _MINUTE = 1, 60
# The limit of all addresses of a network, by its length, as a multiple of that of one address.
_NETWORK_FACTORS = {24: 4, 56: 2, 48: 4}
_NAMES_PER_ADDRESS = 3  # people behind one address, such as an office's, who may log in at the same time
NO_HEADERS: Headers = MappingProxyType({})
_SUBJECTS = {
    "visitor": "a visitor's writes",
    "address": "first writes of new visitors from one address",
    **{
        f"network-{bits}": f"first writes of new visitors from one /{bits} network"
        for bits in _NETWORK_FACTORS
    },
    "key": "one API key's requests",
    "login-address": "log-ins from one address",
    "login": "log-ins under one name from one address",
    "login-device": "log-ins from one browser",
}


class RateLimiter:
    """The limits by name; None is no limit."""

    def __init__(self, settings: Settings) -> None:
        self.visitor = _limit("visitor", settings.limit_visitor, _MINUTE)
        self.address = _limit("address", settings.limit_address, _MINUTE)
        self.networks = {
            bits: _limit(f"network-{bits}", settings.limit_address * factor, _MINUTE)
            for bits, factor in _NETWORK_FACTORS.items()
        }
        self.key = _limit("key", settings.limit_key, _SECOND)
        self.login = _limit("login", settings.limit_login, _MINUTE)
        self.login_address = _limit("login-address", settings.limit_login * _NAMES_PER_ADDRESS, _MINUTE)
        self.login_device = _limit("login-device", settings.limit_login, _MINUTE)
        self.proxies = settings.trusted_proxies
        any_limit = self.visitor or self.address or self.key or self.login
        self._store = RateLimitStore(settings.redis_url if any_limit else None)

    async def open(self) -> Self:
        await self._store.open()
        return self

    async def admit(self, limit: Limit | None, subject: str) -> Headers:
        """Headers that announce what is left of the limit. Raises HttpRejected 429 if ``subject`` is over it."""
        if limit is None:
            return NO_HEADERS
        return _headers(limit, await self._decide(limit, subject))

    async def admit_all(self, limited: Sequence[tuple[Limit | None, str]]) -> Headers:
        """Like ``admit`` for several subjects of one request, the narrowest first. Announces the limit with the least left."""
        decided = [(limit, await self._decide(limit, subject)) for limit, subject in limited if limit]
        if not decided:
            return NO_HEADERS
        return _headers(*min(decided, key=lambda each: each[0].left(each[1].debt)))

    async def _decide(self, limit: Limit, subject: str) -> Decision:
        decision = await self._store.admit(limit, subject)
        if decision.wait:
            raise HttpRejected(429, "rate-limited", _detail(limit, decision), _headers(limit, decision))
        return decision

    async def admit_known(self, source: str, actor: UUID) -> Headers:
        """Limits a write under an API key (``source``), or of a visitor with a cookie (``actor``)."""
        if source == "web":
            return await self.admit(self.visitor, str(actor))
        return await self.admit(self.key, source) if self.key else NO_HEADERS

    async def close(self) -> None:
        await self._store.close()


def _limit(name: str, quota: int, seconds: int) -> Limit | None:
    return Limit(name, quota, seconds) if quota else None


def _headers(limit: Limit, decision: Decision) -> dict[str, str]:
    """draft-ietf-httpapi-ratelimit-headers-11: ``r`` requests are left now, and more in ``t`` seconds."""
    left, seconds = limit.left(decision.debt), _seconds(limit.until_more(decision.debt))
    headers = {
        "RateLimit-Policy": f'"{limit.name}";q={limit.quota};w={limit.seconds}',
        "RateLimit": f'"{limit.name}";r={left};t={seconds}',
    }
    return headers | {"Retry-After": str(_seconds(decision.wait))} if decision.wait else headers


def _detail(limit: Limit, decision: Decision) -> str:
    period = "minute" if limit.seconds == _MINUTE else "second"
    return (
        f"The limit for {_SUBJECTS[limit.name]} is {limit.quota} per {period}, at most {limit.burst} at once. "
        f"Nothing was done; try again in {_seconds(decision.wait)} s."
    )


def _seconds(microseconds: int) -> int:
    """Rounded up, so that a client that waits them is admitted."""
    return -(-microseconds // 1_000_000)
