"""Passwords of users: argon2id with 19 MiB, the minimum that OWASP recommends."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import nullcontext
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

_hasher = PasswordHasher(memory_cost=19_456, time_cost=2, parallelism=1)
# Hashing is slow by design: many attempts to log in queue here and do not slow down votes. Those from unknown devices
# queue for one place in the queue of known devices, so that a person never waits behind a crowd that guesses.
_one_at_a_time = asyncio.Semaphore(1)
_unknown_devices = asyncio.Semaphore(1)


def hash_password(password: str) -> str:
    return _hasher.hash(password)


async def is_genuine(hashed: str | None, password: str, known_device: bool = False) -> bool:
    """Takes the same time, and is False, for an unknown user (``hashed`` None)."""
    async with nullcontext() if known_device else _unknown_devices, _one_at_a_time:
        return await asyncio.to_thread(_verify, hashed, password)


def _verify(hashed: str | None, password: str) -> bool:
    # For known users too: otherwise the first log-in of a process would take longer for unknown ones.
    unknown = _hash_for_unknown()
    try:
        return _hasher.verify(hashed or unknown, password) and hashed is not None
    except Argon2Error:
        return False


@cache
def _hash_for_unknown() -> str:
    """Computed on first use, because most commands never check a password."""
    return _hasher.hash(secrets.token_hex())
