"""The rate limits of this instance, and the headers and problem that announce them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self
from uuid import UUID

from services.api.http.problems import HttpRejected
from services.rate_limits.gcra import Decision, Limit
from services.rate_limits.store import Limits
from services.settings import Settings

Headers = Mapping[str, str]


_SECOND, _MINUTE = 1, 60


NO_HEADERS: Headers = MappingProxyType({})


_WHOSE = {
    "visitor": "a visitor's writes",
    "address": "first writes of new visitors from one address",
    "key": "one API key's requests",
    "login-address": "log-ins from one address",
    "login-name": "log-ins under one name",
}


class RateLimiter:
    """The limits of this instance; None is no limit."""

    def __init__(self, settings: Settings) -> None:
        self.visitor = _limit("visitor", settings.limit_visitor, _MINUTE)
        self.address = _limit("address", settings.limit_address, _MINUTE)
        self.key = _limit("key", settings.limit_key, _SECOND)
        self.login_address = _limit("login-address", settings.limit_login, _MINUTE)
        self.login_name = _limit("login-name", settings.limit_login, _MINUTE)
        self.proxies = settings.trusted_proxies
        any_limit = self.visitor or self.address or self.key or self.login_name
        self._limits = Limits(settings.redis_url if any_limit else None)

    async def open(self) -> Self:
        await self._limits.open()
        return self

    async def admit(self, limit: Limit | None, who: str) -> Headers:
        """Headers that announce what is left, none without a limit. Raises Rejected for who must wait."""
        if limit is None:
            return NO_HEADERS
        decided = await self._limits.admit(limit, who)
        headers = _announcement(limit, decided)
        if decided.wait:
            raise HttpRejected(429, "rate-limited", _detail(limit, decided), headers)
        return headers

    async def admit_known(self, source: str, actor: UUID) -> Headers:
        """A write by key, or by a visitor whose cookie we know."""
        if source == "web":
            return await self.admit(self.visitor, str(actor))
        return await self.admit(self.key, source) if self.key else NO_HEADERS

    async def close(self) -> None:
        await self._limits.close()


def _limit(name: str, quota: int, seconds: int) -> Limit | None:
    return Limit(name, quota, seconds) if quota else None


def _announcement(limit: Limit, decided: Decision) -> dict[str, str]:
    """draft-ietf-httpapi-ratelimit-headers-11: ``r`` is what is left now, and ``t`` seconds until it is more."""
    left, seconds = limit.left(decided.debt), _seconds(limit.until_more(decided.debt))
    headers = {
        "RateLimit-Policy": f'"{limit.name}";q={limit.quota};w={limit.seconds}',
        "RateLimit": f'"{limit.name}";r={left};t={seconds}',
    }
    return headers | {"Retry-After": str(_seconds(decided.wait))} if decided.wait else headers


def _detail(limit: Limit, decided: Decision) -> str:
    each = "a minute" if limit.seconds == _MINUTE else "a second"
    return (
        f"The limit for {_WHOSE[limit.name]} is {limit.quota} {each}, {limit.burst} of them at once. "
        f"Nothing was done; send it again in {_seconds(decided.wait)} s."
    )


def _seconds(microseconds: int) -> int:
    """Rounded up: who waits so long has waited long enough."""
    return -(-microseconds // 1_000_000)
