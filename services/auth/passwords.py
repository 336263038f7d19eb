"""Passwords of people who log in: argon2id at OWASP's minimum of 19 MiB."""

from __future__ import annotations

import asyncio
import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

_hasher = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)
# Hashing is heavy by design: a flood of tries queues here and leaves votes alone.
_one_at_a_time = asyncio.Semaphore(1)


def hash_password(password: str) -> str:
    return _hasher.hash(password)


async def is_genuine(hashed: str | None, password: str) -> bool:
    """False after the same time where nobody has such a name (``hashed`` None)."""
    async with _one_at_a_time:
        return await asyncio.to_thread(_verify, hashed, password)


def _verify(hashed: str | None, password: str) -> bool:
    # Made for known names too: otherwise the first log-in of a process would tell them from unknown ones.
    nobody = _nobody()
    try:
        return _hasher.verify(hashed or nobody, password) and hashed is not None
    except Argon2Error:
        return False


@cache
def _nobody() -> str:
    """What unknown names are checked against; made when first needed, for most commands never check a password."""
    return _hasher.hash(secrets.token_hex())
