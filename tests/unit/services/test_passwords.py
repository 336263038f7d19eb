"""Passwords: checks from unknown devices queue behind those from known ones."""

from __future__ import annotations

import asyncio

from services.auth.passwords import hash_password, is_genuine


async def test_a_known_device_waits_for_one_check_of_a_crowd_at_most() -> None:
    """Attempts from unknown devices come first, and all but one are checked after the owner's."""
    hashed, finished = hash_password("right"), list[str]()

    async def attempt(device: str, password: str, known: bool) -> bool:
        genuine = await is_genuine(hashed, password, known)
        finished.append(device)
        return genuine

    crowd = [asyncio.create_task(attempt(f"stranger {n}", "wrong", False)) for n in range(6)]
    await asyncio.sleep(0)
    owner = asyncio.create_task(attempt("owner", "right", True))
    assert await asyncio.gather(owner, *crowd) == [True, *[False] * 6]
    assert finished.index("owner") <= 2


async def test_an_unknown_user_is_checked_and_refused() -> None:
    assert await is_genuine(None, "anything") is False
    assert await is_genuine(None, "anything", known_device=True) is False
