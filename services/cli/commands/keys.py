"""`shiplog keys`: create, list and revoke API keys."""

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

LOCK_KEYS = "LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE"
INSERT_KEY = """
INSERT INTO api_keys (id, name, digest, scopes) SELECT 'k' || count(*) + 1, $1, $2, $3 FROM api_keys RETURNING id
"""
READ_KEYS = "SELECT id, name, scopes, revoked_at IS NOT NULL AS revoked FROM api_keys ORDER BY created_at"
REVOKE_KEY = "UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL"

T = TypeVar("T")


class NewKey(Struct, frozen=True):
    """``id`` is recorded in every event that is appended with the key."""

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
    """Create a key. It is shown once; only a keyed hash of it is stored."""
    with instance(data) as settings:
        new_key = in_database(settings, lambda pool: create_key(settings, pool, name, scopes))
    click.echo(
        msgspec.json.encode(new_key)
        if as_json
        else f"{new_key.key}   (id {new_key.id}; it is not shown again)"
    )


@keys.command(name="list")
@data_option
def list_(data: Path) -> None:
    """List the keys, without their secrets."""
    with instance(data) as settings:
        for row in in_database(settings, lambda pool: pool.fetch(READ_KEYS)):
            click.echo(
                f"{row['id']}  {row['name']}  {' '.join(row['scopes'])}{'  revoked' if row['revoked'] else ''}"
            )


@keys.command()
@data_option
@click.argument("id")
def revoke(data: Path, id: str) -> None:
    """Revoke a key. It stops working within a second."""
    with instance(data) as settings:
        done = in_database(settings, lambda pool: pool.execute(REVOKE_KEY, id))
    if done != "UPDATE 1":
        raise click.UsageError(f"There is no active key {id}. `shiplog keys list` shows all keys.")
    click.echo("revoked")


async def create_key(settings: Settings, pool: Pool[Record], name: str, scopes: tuple[Scope, ...]) -> NewKey:
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(LOCK_KEYS)
        key_id = await conn.fetchval(INSERT_KEY, name, Identity(settings, pool).digest(key), list(scopes))
    return NewKey(key_id, key)


def in_database(settings: Settings, function: Callable[[Pool[Record]], Awaitable[T]]) -> T:
    """Run one function with a pool of connections to the instance's database."""

    async def run() -> T:
        async with await open_pool(settings, size=2) as pool:
            return await function(pool)

    return asyncio.run(run())
