"""`shiplog keys`: API keys, made, listed and revoked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, get_args

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from services.auth.identity import KEY_PREFIX, Identity, Scope
from services.cli.instance import data_option, instance
from services.resources import open_pool
from services.settings import Settings

ONE_AT_A_TIME = "LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE"
CREATE = """
INSERT INTO api_keys (id, name, digest, scopes) SELECT 'k' || count(*) + 1, $1, $2, $3 FROM api_keys RETURNING id
"""
LIST = "SELECT id, name, scopes, revoked_at IS NOT NULL AS revoked FROM api_keys ORDER BY created_at"
REVOKE = "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL"

T = TypeVar("T")


class NewKey(Struct, frozen=True):
    """``id`` is a short name: it stands in every event that came by the key."""

    id: str
    key: str


@click.group()
def keys() -> None:
    """API keys for programs."""


@keys.command()
@data_option
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(get_args(Scope)))
@click.option("--json", "as_json", is_flag=True)
def create(data: Path, name: str, scopes: tuple[Scope, ...], as_json: bool) -> None:
    """Make a key. It is shown once; only a keyed hash of it is kept."""
    with instance(data) as settings:
        made = in_database(settings, lambda pool: create_key(settings, pool, name, scopes))
    click.echo(
        msgspec.json.encode(made) if as_json else f"{made.key}   (id {made.id}; it is not shown again)"
    )


@keys.command(name="list")
@data_option
def list_(data: Path) -> None:
    """The keys, without their secrets."""
    with instance(data) as settings:
        for row in in_database(settings, lambda pool: pool.fetch(LIST)):
            click.echo(
                f"{row['id']}  {row['name']}  {' '.join(row['scopes'])}{'  revoked' if row['revoked'] else ''}"
            )


@keys.command()
@data_option
@click.argument("id")
def revoke(data: Path, id: str) -> None:
    """End a key; it stops working within a second."""
    with instance(data) as settings:
        done = in_database(settings, lambda pool: pool.execute(REVOKE, id))
    if done != "UPDATE 1":
        raise click.UsageError(f"There is no key {id} that could be revoked. See `shiplog keys list`.")
    click.echo("revoked")


async def create_key(settings: Settings, pool: Pool[Record], name: str, scopes: tuple[Scope, ...]) -> NewKey:
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(ONE_AT_A_TIME)
        made = await conn.fetchval(CREATE, name, Identity(settings, pool).digest(key), list(scopes))
    return NewKey(made, key)


def in_database(settings: Settings, act: Callable[[Pool[Record]], Awaitable[T]]) -> T:
    """Run one thing against the instance's database."""

    async def run() -> T:
        async with await open_pool(settings, size=2) as pool:
            return await act(pool)

    return asyncio.run(run())
