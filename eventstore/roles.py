"""The role that Shiplog works under: created and granted by `migrate`, and made whole again after a restore that lost it.

Roles belong to a whole server and are in no dump of a database. So the role is found by what it owns, the schema
read_models; a database whose owner may not use the role of another installation has a role of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

from asyncpg import Connection, DuplicateObjectError, InsufficientPrivilegeError, Record, UniqueViolationError

# As the migrations name it.
APP_ROLE = "shiplog_app"
ROLE_NAME_CHARACTERS_MAX = 63

# No row if the schema is missing. It belongs to the user itself after pg_restore --no-owner.
BECOME_APP = """
SELECT set_config('role', r.rolname, $1)
  FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
 WHERE n.nspname = 'read_models' AND r.rolname <> session_user AND pg_has_role(session_user, r.oid, 'MEMBER')
"""
READ_OWNING_ROLE = """
SELECT r.rolname FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
 WHERE n.nspname = 'read_models' AND NOT r.rolcanlogin AND r.rolname <> current_user
"""
ROLE_EXISTS = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)"
# A superuser is no member, yet may use any role.
IS_MEMBER = """
SELECT EXISTS (SELECT FROM pg_auth_members WHERE roleid = r.oid AND member = (SELECT oid FROM pg_roles WHERE rolname = current_user))
  FROM pg_roles AS r WHERE r.rolname = $1
"""
IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
READ_FOREIGN_READ_MODELS = """
SELECT format('ALTER %s read_models.%I OWNER TO ', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.relname)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_roles AS r ON r.rolname = $1
 WHERE n.nspname = 'read_models' AND c.relkind IN ('r', 'p', 'v') AND c.relowner <> r.oid
"""
READ_SCHEMA_OWNER = """
SELECT r.rolname FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner WHERE n.nspname = 'read_models'
"""
READ_OTHER_OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT pg_has_role(current_user, relowner, 'USAGE')
   AND relname IN ('events', 'heads', 'standings')
"""

_GRANTS = re.compile(rf"^(?:GRANT|REVOKE)\b[^;]*\b(?:TO|FROM) {APP_ROLE};", re.MULTILINE)


class RoleError(Exception):
    """The role cannot be created or used by the user of DATABASE_URL."""


async def become_app(conn: Connection[Record], *, locally: bool = False) -> bool:
    """Give up the owner's rights, until the transaction ends or for good. False if the schema or the role is missing."""
    return await conn.fetchval(BECOME_APP, locally) is not None


async def ensure_role(conn: Connection[Record]) -> str:
    """Create the role if it is missing, and let the current user act as it. Returns its name. Raises RoleError.

    The role of an installation with another owner is left alone: this database then gets one named after it.
    """
    owning = await conn.fetchval(READ_OWNING_ROLE)
    own = _role_of(await conn.fetchval("SELECT current_database()"))
    for name in dict.fromkeys([*([owning] if owning else []), APP_ROLE, own]):
        if await _can_use(conn, name):
            return str(name)
    user = await conn.fetchval("SELECT current_user")
    raise RoleError(
        f"The user {user} may not create the role that Shiplog works under. As an administrator, run "
        f"CREATE ROLE {own} NOLOGIN; GRANT {own} TO {quoted(user)}; and try again."
    )


async def restore_grants(conn: Connection[Record], role: str, migrations: Iterable[str]) -> None:
    """Grant ``role`` what the migrations grant, and give it the read models. Changes nothing if all is there already."""
    if owners := [row[0] for row in await conn.fetch(READ_OTHER_OWNERS)]:
        user = await conn.fetchval("SELECT current_user")
        raise RoleError(
            f"The tables belong to {', '.join(owners)}, and DATABASE_URL names {user}. Restore with "
            f"pg_restore --no-owner as {user}, or run REASSIGN OWNED BY {quoted(owners[0])} TO {quoted(user)}; as a superuser."
        )
    if await conn.fetchval(READ_SCHEMA_OWNER) not in (None, role):
        await conn.execute(f"ALTER SCHEMA read_models OWNER TO {role}")
    for (alter,) in await conn.fetch(READ_FOREIGN_READ_MODELS, role):
        await conn.execute(alter + role)
    for text in migrations:
        for grant in _GRANTS.findall(text):
            await conn.execute(with_role(grant, role))


def with_role(sql: str, role: str) -> str:
    """SQL of a migration, for a database whose role has another name."""
    return sql if role == APP_ROLE else re.sub(rf"\b{APP_ROLE}\b", role, sql)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def _can_use(conn: Connection[Record], name: str) -> bool:
    """Whether the current user is a member of the role now, after creating it or being granted it if need be."""
    try:
        async with conn.transaction():
            if not await conn.fetchval(ROLE_EXISTS, name):
                await _create(conn, name)
            elif not await conn.fetchval(IS_MEMBER, name) and not await conn.fetchval(IS_SUPERUSER):
                return False  # somebody else's
            if not await _acts_as(conn, name):
                await conn.execute(f"GRANT {name} TO CURRENT_USER")
    except InsufficientPrivilegeError:
        return False
    return True


async def _create(conn: Connection[Record], name: str) -> None:
    try:
        async with conn.transaction():
            await conn.execute(f"CREATE ROLE {name} NOLOGIN")
    except (DuplicateObjectError, UniqueViolationError):
        pass  # at the same moment, by the migration of another database


async def _acts_as(conn: Connection[Record], name: str) -> bool:
    """Whether SET ROLE works. Being the role's creator is not enough since PostgreSQL 16."""
    if not await conn.fetchval(IS_MEMBER, name):
        return False
    try:
        async with conn.transaction():
            await conn.execute(f"SET LOCAL ROLE {name}")
            await conn.execute("RESET ROLE")
    except InsufficientPrivilegeError:
        return False
    return True


def _role_of(database: str) -> str:
    """A role name for one database, that needs no quotes."""
    plain = re.sub(r"[^a-z0-9_]", "_", database)
    if plain != database or len(plain) > ROLE_NAME_CHARACTERS_MAX - len(APP_ROLE) - 1:
        plain = f"{plain[:40]}_{sha256(database.encode()).hexdigest()[:8]}"
    return f"{APP_ROLE}_{plain}"
