"""Identities: a visitor by signed cookie, a program by API key, a person by login session."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import secrets
import time
from contextlib import suppress
from hashlib import sha256
from typing import Literal, get_args
from uuid import UUID

from asyncpg import Pool, Record
from asyncpg.pgproto import pgproto
from msgspec import Struct

from services.resources import POSTGRES_UNAVAILABLE
from services.settings import Settings

Scope = Literal["votes:write", "catalogue:write", "read"]
Role = Literal["editor", "reviewer"]
SubjectKind = Literal["visitor", "voter", "user", "address"]

FIND_KEY = "SELECT id, scopes FROM api_keys WHERE digest = $1 AND revoked_at IS NULL"
FIND_SESSION = """
SELECT s.name, u.role, u.reviewer FROM sessions AS s JOIN users AS u USING (name)
 WHERE s.digest = $1 AND s.expires_at > now()
"""

VISITOR_COOKIE = "shiplog_visitor"
RENEWAL_SECONDS = 24 * 3600  # a visitor's cookie is renewed at this age
SESSION_COOKIE = "shiplog_session"
KEY_PREFIX = "slk_"
KEY_CACHE_SECONDS = 1.0  # the longest time a revoked key keeps working
_KEYS_CACHED_MAX = 10_000
_COOKIE_CHARS_MAX = 200
_VISITOR_BYTES = 16
_TIME_BYTES = 4
_CLAIM = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes
_NOT_CACHED: tuple[float, ApiKey | None] = (0.0, None)


class ApiKey(Struct, frozen=True):
    id: str
    scopes: frozenset[str]


class Login(Struct, frozen=True):
    name: str
    role: Role
    reviewer: str | None


class KeyedHash:
    """HMAC-SHA256 (RFC 2104) of ``prefix`` and a message. Key and prefix are hashed once, not once per message."""

    def __init__(self, key: bytes, prefix: bytes = b"") -> None:
        self._prefix = hmac.new(key, prefix, sha256)

    def digest(self, message: bytes) -> bytes:
        keyed = self._prefix.copy()
        keyed.update(message)
        return keyed.digest()


class Identity:
    """Maps what a request carries to pseudonyms, API keys and logins. Forged or foreign input maps to None."""

    def __init__(self, settings: Settings, pool: Pool[Record]) -> None:
        self._pool = pool
        self._cookies = KeyedHash(settings.key("visitor cookie"))
        self._claims = KeyedHash(settings.key("visitor claim"))
        key = settings.key("pseudonym")
        self._pseudonyms = {kind: KeyedHash(key, kind.encode() + b"\0") for kind in get_args(SubjectKind)}
        self._digests = KeyedHash(settings.key("api keys and sessions"))
        # By digest: when the entry expires, and the key, or None for a digest that is no key's.
        self._keys: dict[bytes, tuple[float, ApiKey | None]] = {}
        self._refresh: asyncio.Task[None] | None = None

    def mint_visitor(self) -> str:
        """A new visitor's cookie value."""
        return self._issued(secrets.token_bytes(_VISITOR_BYTES))

    def claimed_visitor(self, claim: str | None) -> str | None:
        """The cookie value of the visitor whose browser made this claim, before it had a cookie. None if it is malformed."""
        if claim is None or not _CLAIM.fullmatch(claim):
            return None
        return self._issued(self._claims.digest(claim.encode())[:_VISITOR_BYTES])

    def visitor(self, cookie: str | None) -> UUID | None:
        """The pseudonym of the visitor whose cookie this is; None if we did not sign it."""
        if cookie is None or len(cookie) > _COOKIE_CHARS_MAX:
            return None
        try:
            raw = base64.urlsafe_b64decode(cookie.partition(".")[0] + "==")
        except ValueError:
            return None
        genuine = hmac.compare_digest(self._signed(raw).encode(), cookie.encode())
        return self.pseudonym("visitor", raw[:_VISITOR_BYTES]) if genuine else None

    def renewed(self, cookie: str) -> str | None:
        """The value to replace a genuine cookie with, once it is a day old. The visitor stays the same."""
        raw = base64.urlsafe_b64decode(cookie.partition(".")[0] + "==")
        age = time.time() - int.from_bytes(raw[_VISITOR_BYTES:], "big")
        return self._issued(raw[:_VISITOR_BYTES]) if age >= RENEWAL_SECONDS else None

    def pseudonym(self, kind: SubjectKind, name: bytes) -> UUID:
        """The actor that stands for ``name`` in the log. Without the secret it cannot be traced back to the name."""
        # asyncpg's own subclass of uuid.UUID: ten times faster to create, and sent without conversion.
        return pgproto.UUID(self._pseudonyms[kind].digest(name)[:16])

    def digest(self, token: str) -> bytes:
        """The stored form of an API key or a session token."""
        return self._digests.digest(token.encode())

    def cached_key(self, token: bytes) -> ApiKey | None:
        """The API key, if it was read within the last second. A key in use is read again before that second ends."""
        digest = self._digests.digest(token)
        expires, key = self._keys.get(digest, _NOT_CACHED)
        left = expires - time.monotonic()
        if (
            left < KEY_CACHE_SECONDS / 2
            and key is not None
            and (self._refresh is None or self._refresh.done())
        ):
            self._refresh = asyncio.create_task(self._refresh_key(digest), name="refresh an API key")
        return key if left > 0 else None

    async def api_key(self, token: str) -> ApiKey | None:
        digest = self.digest(token)
        expires, key = self._keys.get(digest, _NOT_CACHED)
        return key if expires > time.monotonic() else await self._read_key(digest)

    async def _read_key(self, digest: bytes) -> ApiKey | None:
        row = await self._pool.fetchrow(FIND_KEY, digest)
        key = ApiKey(row["id"], frozenset(row["scopes"])) if row else None
        if len(self._keys) > _KEYS_CACHED_MAX:
            self._keys.clear()
        self._keys[digest] = (time.monotonic() + KEY_CACHE_SECONDS, key)
        return key

    async def _refresh_key(self, digest: bytes) -> None:
        # On failure the entry expires, and the next request reads the key and reports the error.
        with suppress(*POSTGRES_UNAVAILABLE):
            await self._read_key(digest)

    async def login(self, token: str | None) -> Login | None:
        if not token:
            return None
        row = await self._pool.fetchrow(FIND_SESSION, self.digest(token))
        return Login(row["name"], row["role"], row["reviewer"]) if row else None

    def _issued(self, visitor: bytes) -> str:
        """Releases before November 2026 signed the visitor's bytes without a time."""
        return self._signed(visitor + int(time.time()).to_bytes(_TIME_BYTES, "big"))

    def _signed(self, raw: bytes) -> str:
        return f"{_base64(raw)}.{_base64(self._cookies.digest(raw))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
