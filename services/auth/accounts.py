"""Accounts: the log-ins of editors and reviewers, and their sessions. Whatever changes a log-in ends its sessions."""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import datetime, timedelta
from typing import TypeAlias

from asyncpg import Pool, Record, UniqueViolationError
from msgspec import Struct

from domain.shared.errors import Rejected
from services.auth.identity import Role
from services.auth.passwords import hash_password

FIND_USER = "SELECT name, role, password FROM users WHERE name = $1"
READ_USERS = """
SELECT u.name, u.role, u.reviewer, count(s.digest)
  FROM users AS u LEFT JOIN sessions AS s ON s.name = u.name AND s.expires_at > now()
 GROUP BY u.name ORDER BY u.name
"""
INSERT_USER = "INSERT INTO users (name, role, reviewer, password) VALUES ($1, $2, $3, $4)"
SET_HASH = "UPDATE users SET password = $2 WHERE name = $1 AND password = coalesce($3, password)"
SET_ROLE = "UPDATE users SET role = $2, reviewer = $3 WHERE name = $1"
REMOVE_USER = "DELETE FROM users WHERE name = $1"  # and, by the foreign key, the sessions

# Only while the password is the one that was checked: a change of it waits for the lock, and then ends the session.
OPEN_SESSION = """
INSERT INTO sessions (digest, name, expires_at, agent)
SELECT $1, name, now() + $3, $5 FROM users WHERE name = $2 AND password = $4 FOR SHARE
"""
CLOSE_SESSION = "DELETE FROM sessions WHERE digest = $1 OR expires_at < now()"
READ_SESSIONS = """
SELECT digest, opened_at, expires_at, agent FROM sessions WHERE name = $1 AND expires_at > now() ORDER BY opened_at DESC
"""
END_SESSION = "DELETE FROM sessions WHERE name = $1 AND substr(digest, 1, 8) = $2"
END_OTHER_SESSIONS = "DELETE FROM sessions WHERE name = $1 AND digest <> $2"
END_SESSIONS = "DELETE FROM sessions WHERE name = $1"

SESSION_LIFETIME = timedelta(hours=12)
NAME_CHARS_MAX = 80
PASSWORD_CHARS_MIN = 12
PASSWORD_CHARS_MAX = 200
_AGENT_CHARS_MAX = 200
_ID_BYTES = 8
_NAME = re.compile(rf"(?!\s)[^\x00-\x1f\x7f\u2028\u2029]{{1,{NAME_CHARS_MAX}}}(?<!\s)")

Database: TypeAlias = "Pool[Record]"


class NewUser(Struct, frozen=True):
    name: str
    role: Role
    password: str


class User(Struct, frozen=True):
    """``reviewer`` is the reviewer whose takes the user publishes; ``sessions`` counts those that are open."""

    name: str
    role: Role
    reviewer: str | None
    sessions: int


class Session(Struct, frozen=True):
    """``id`` names the session and does not open it. ``agent`` is what the browser said it was."""

    id: str
    opened_at: datetime
    expires_at: datetime
    agent: str


class InvalidUserName(Rejected):
    """A name has 1 to 80 characters, no control characters, and no space at either end."""

    slug = "invalid"


class UserExists(Rejected):
    """There is a user {name!r} already; nothing was changed. `shiplog users password` sets a new password, `shiplog users role` another role."""

    slug = "name-taken"


class UnknownUser(Rejected):
    """There is no user {name!r}. `shiplog users list` shows all."""

    slug = "not-found"


def mint_password() -> str:
    return secrets.token_urlsafe(12)


async def create_user(pool: Database, name: str, role: Role, reviewer: str | None = None) -> NewUser:
    """Raises InvalidUserName or UserExists."""
    if not _NAME.fullmatch(name):
        raise InvalidUserName
    user = NewUser(name, role, mint_password())
    try:
        await pool.execute(INSERT_USER, name, role, reviewer, hash_password(user.password))
    except UniqueViolationError:
        raise UserExists(name=name) from None
    return user


async def read_users(pool: Database) -> list[User]:
    return [User(*row) for row in await pool.fetch(READ_USERS)]


async def set_password(pool: Database, name: str, password: str, checked: str | None = None) -> str:
    """Returns the new hash. Raises UnknownUser, also if the hash before is not the one that was ``checked``."""
    hashed = await asyncio.to_thread(hash_password, password)
    await _change(pool, SET_HASH, name, hashed, checked)
    return hashed


async def set_role(pool: Database, name: str, role: Role, reviewer: str | None) -> None:
    """Raises UnknownUser."""
    await _change(pool, SET_ROLE, name, role, reviewer)


async def remove_user(pool: Database, name: str) -> None:
    """Raises UnknownUser."""
    await _change(pool, REMOVE_USER, name)


async def open_session(pool: Database, digest: bytes, name: str, hashed: str, agent: str) -> bool:
    """False if the user's password is no longer the one with this hash."""
    agent = "".join(each for each in agent if each.isprintable())[:_AGENT_CHARS_MAX]
    return await pool.execute(OPEN_SESSION, digest, name, SESSION_LIFETIME, hashed, agent) == "INSERT 0 1"


async def read_sessions(pool: Database, name: str) -> list[Session]:
    """The open sessions, newest first."""
    return [Session(session_id(digest), *rest) for digest, *rest in await pool.fetch(READ_SESSIONS, name)]


async def end_session(pool: Database, name: str, id: str) -> bool:
    """False if the user has no such session."""
    return await pool.execute(END_SESSION, name, bytes.fromhex(id)) != "DELETE 0"


async def end_sessions(pool: Database, name: str, but: bytes | None = None) -> int:
    """End all sessions of the user, or all ``but`` the one with this digest. Returns how many were ended."""
    done = await (
        pool.execute(END_SESSIONS, name) if but is None else pool.execute(END_OTHER_SESSIONS, name, but)
    )
    return int(done.removeprefix("DELETE "))


def session_id(digest: bytes) -> str:
    return digest[:_ID_BYTES].hex()


async def _change(pool: Database, statement: str, name: str, *values: object) -> None:
    """Change a log-in and end its sessions, in one transaction."""
    async with pool.acquire() as conn, conn.transaction():
        if (await conn.execute(statement, name, *values)).endswith(" 0"):
            raise UnknownUser(name=name)
        await conn.execute(END_SESSIONS, name)
