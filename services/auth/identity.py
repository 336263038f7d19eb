"""Who is asking: a visitor by signed cookie, a program by API key, a person by login session."""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import time
from contextlib import suppress
from hashlib import sha256
from typing import Literal, get_args
from uuid import UUID

from asyncpg import InterfaceError, Pool, PostgresError, Record
from asyncpg.pgproto import pgproto
from msgspec import Struct

from services.settings import Settings

Scope = Literal["votes:write", "catalogue:write", "read"]
Role = Literal["editor", "reviewer"]
Kind = Literal["visitor", "voter", "user", "address"]

FIND_KEY = "SELECT id, scopes FROM api_keys WHERE digest = $1 AND revoked_at IS NULL"
FIND_SESSION = """
SELECT s.name, u.role, u.reviewer FROM sessions AS s JOIN users AS u USING (name)
 WHERE s.digest = $1 AND s.expires_at > now()
"""

VISITOR_COOKIE = "shiplog_visitor"
SESSION_COOKIE = "shiplog_session"
KEY_PREFIX = "slk_"
_VISITOR_BYTES = 16
_STALE: tuple[float, ApiKey | None] = (0.0, None)
_KEY_SECONDS = 1.0  # how long a revoked key may go on working


class ApiKey(Struct, frozen=True):
    id: str
    scopes: frozenset[str]


class Login(Struct, frozen=True):
    name: str
    role: Role
    reviewer: str | None


class Keyed:
    """HMAC-SHA256 (RFC 2104) under one key, whose two halves are hashed once: a third of the time of each digest.

    So is the ``prefix`` of all messages.
    """

    def __init__(self, key: bytes, prefix: bytes = b"") -> None:
        block = key.ljust(sha256().block_size, b"\0")
        self._inner, self._outer = (sha256(block.translate(flip)) for flip in (hmac.trans_36, hmac.trans_5C))
        self._inner.update(prefix)

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class Identity:
    """Turns what a request carries into pseudonyms, keys and logins. Forged or foreign input is nobody."""

    def __init__(self, settings: Settings, pool: Pool[Record]) -> None:
        self._pool = pool
        self._cookies = Keyed(settings.key("visitor cookie"))
        key = settings.key("pseudonym")
        self._pseudonyms = {kind: Keyed(key, kind.encode() + b"\0") for kind in get_args(Kind)}
        self._digests = Keyed(settings.key("api keys and sessions"))
        self._keys: dict[bytes, tuple[float, ApiKey | None]] = {}
        self._renewal: asyncio.Task[None] | None = None

    def mint_visitor(self) -> str:
        """A new visitor's cookie value."""
        return self._signed(secrets.token_bytes(_VISITOR_BYTES))

    def visitor(self, cookie: str | None) -> UUID | None:
        """The pseudonym behind a cookie that we signed."""
        if cookie is None or len(cookie) > 200:
            return None
        try:
            raw = base64.urlsafe_b64decode(cookie.partition(".")[0] + "==")
        except ValueError:
            return None
        genuine = hmac.compare_digest(self._signed(raw).encode(), cookie.encode())
        return self.pseudonym("visitor", raw) if genuine else None

    def pseudonym(self, kind: Kind, name: bytes) -> UUID:
        """The actor that stands for somebody in the log; without the secret it leads back to nobody."""
        return pgproto.UUID(self._pseudonyms[kind].digest(name)[:16])

    def digest(self, token: str) -> bytes:
        """What is stored of a key or session token."""
        return self._digests.digest(token.encode())

    def fresh_key(self, token: bytes) -> ApiKey | None:
        """The key, if it was looked up within the last second. One that is in use is looked up again in time."""
        digest = self._digests.digest(token)
        fresh, key = self._keys.get(digest, _STALE)
        left = fresh - time.monotonic()
        if left < _KEY_SECONDS / 2 and key is not None and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew(digest), name="renew a key")
        return key if left > 0 else None

    async def api_key(self, token: str) -> ApiKey | None:
        digest = self.digest(token)
        fresh, key = self._keys.get(digest, _STALE)
        return key if fresh > time.monotonic() else await self._look_up(digest)

    async def _look_up(self, digest: bytes) -> ApiKey | None:
        row = await self._pool.fetchrow(FIND_KEY, digest)
        key = ApiKey(row["id"], frozenset(row["scopes"])) if row else None
        if len(self._keys) > 10_000:
            self._keys.clear()
        self._keys[digest] = (time.monotonic() + _KEY_SECONDS, key)
        return key

    async def _renew(self, digest: bytes) -> None:
        with suppress(PostgresError, InterfaceError, OSError, TimeoutError):  # who asks next is told
            await self._look_up(digest)

    async def login(self, token: str | None) -> Login | None:
        if not token:
            return None
        row = await self._pool.fetchrow(FIND_SESSION, self.digest(token))
        return Login(row["name"], row["role"], row["reviewer"]) if row else None

    def _signed(self, raw: bytes) -> str:
        return f"{_base64(raw)}.{_base64(self._cookies.digest(raw))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
