"""`shiplog users`: editors and reviewers who log in."""

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

PUT = """
INSERT INTO users (name, role, reviewer, password) VALUES ($1, $2, $3, $4)
ON CONFLICT (name) DO UPDATE SET role = excluded.role, reviewer = excluded.reviewer, password = excluded.password
"""


class NewUser(Struct, frozen=True):
    name: str
    role: Role
    password: str


@click.group()
def users() -> None:
    """People who log in."""


@users.command()
@data_option
@click.argument("name")
@click.option("--role", type=click.Choice(["editor", "reviewer"]), required=True)
@click.option("--reviewer", help="The reviewer whose takes they publish.")
@click.option("--json", "as_json", is_flag=True)
def create(data: Path, name: str, role: Role, reviewer: str | None, as_json: bool) -> None:
    """Make a login, or give an existing one a new password. The password is shown once."""
    if (role == "reviewer") != (reviewer is not None):
        raise click.UsageError("A reviewer needs --reviewer SLUG, an editor has none.")
    with instance(data) as settings:
        made = in_database(settings, lambda pool: create_user(pool, name, role, reviewer))
    click.echo(
        msgspec.json.encode(made) if as_json else f"{made.name}: {made.password}   (it is not shown again)"
    )


async def create_user(pool: Pool[Record], name: str, role: Role, reviewer: str | None = None) -> NewUser:
    made = NewUser(name, role, secrets.token_urlsafe(12))
    await pool.execute(PUT, name, role, reviewer, hash_password(made.password))
    return made
