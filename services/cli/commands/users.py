"""`shiplog users`: logins of editors and reviewers."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from services.auth.identity import Role
from services.auth.passwords import hash_password
from services.cli.commands.keys import in_database
from services.cli.instance import data_option, instance

UPSERT_USER = """
INSERT INTO users (name, role, reviewer, password) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET role = excluded.role, reviewer = excluded.reviewer, password = excluded.password
"""


class NewUser(Struct, frozen=True):
    name: str
    role: Role
    password: str


@click.group()
def users() -> None:
    """Logins of editors and reviewers."""


@users.command()
@data_option
@click.argument("name")
@click.option("--role", type=click.Choice(["editor", "reviewer"]), required=True)
@click.option("--reviewer", help="The reviewer whose takes this user publishes.")
@click.option("--json", "as_json", is_flag=True)
def create(data: Path, name: str, role: Role, reviewer: str | None, as_json: bool) -> None:
    """Create a login, or set a new password for an existing one. The password is shown once."""
    if (role == "reviewer") != (reviewer is not None):
        raise click.UsageError("The role reviewer needs --reviewer SLUG; the role editor must not have it.")
    with instance(data) as settings:
        user = in_database(settings, lambda pool: create_user(pool, name, role, reviewer))
    click.echo(
        msgspec.json.encode(user) if as_json else f"{user.name}: {user.password}   (it is not shown again)"
    )


async def create_user(pool: Pool[Record], name: str, role: Role, reviewer: str | None = None) -> NewUser:
    user = NewUser(name, role, secrets.token_urlsafe(12))
    await pool.execute(UPSERT_USER, name, role, reviewer, hash_password(user.password))
    return user
