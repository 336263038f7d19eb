"""`shiplog users`: log-ins of editors and reviewers, their passwords, roles and sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TypeVar

import msgspec
import rich_click as click
from asyncpg import Pool, Record

from domain.editorial.reviewers import Seats, check_publishing, evolve
from domain.shared.errors import Rejected
from eventstore.decisions import read_panel_history
from services.auth.accounts import (
    NewUser,
    Session,
    UnknownUser,
    User,
    create_user,
    end_sessions,
    mint_password,
    read_sessions,
    read_users,
    remove_user,
    set_password,
    set_role,
)
from services.auth.identity import Role
from services.cli.commands.keys import in_database
from services.cli.instance import data_option, instance
from services.cli.usage import usage_error

T = TypeVar("T")
_role = click.Choice(["editor", "reviewer"])
_reviewer = click.option("--reviewer", metavar="SLUG", help="The reviewer whose takes this user publishes.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def users() -> None:
    """Log-ins of editors and reviewers."""


@users.command()
@data_option
@click.argument("name")
@click.option("--role", type=_role, required=True)
@_reviewer
@_json
def create(data: Path, name: str, role: Role, reviewer: str | None, as_json: bool) -> None:
    """Create a log-in. Its password is shown once."""

    async def work(pool: Pool[Record]) -> NewUser:
        await _check_role(pool, role, reviewer)
        return await create_user(pool, name, role, reviewer)

    _show_password(_in_instance(data, work), as_json)


@users.command(name="list")
@data_option
@_json
def list_(data: Path, as_json: bool) -> None:
    """List the log-ins, with the number of their open sessions."""
    _show(
        _in_instance(data, read_users),
        as_json,
        "There are no users. `shiplog users create` makes one.",
        _user,
    )


@users.command()
@data_option
@click.argument("name")
@_json
def password(data: Path, name: str, as_json: bool) -> None:
    """Set a new password, which is shown once. All sessions of NAME end."""

    async def work(pool: Pool[Record]) -> NewUser:
        user = await _find_user(pool, name)
        new = NewUser(name, user.role, mint_password())
        await set_password(pool, name, new.password)
        return new

    _show_password(_in_instance(data, work), as_json)


@users.command()
@data_option
@click.argument("name")
@click.argument("role", type=_role)
@_reviewer
def role(data: Path, name: str, role: Role, reviewer: str | None) -> None:
    """Give NAME another ROLE: editor or reviewer. All sessions of NAME end."""

    async def work(pool: Pool[Record]) -> None:
        await _find_user(pool, name)
        await _check_role(pool, role, reviewer)
        await set_role(pool, name, role, reviewer)

    _in_instance(data, work)
    click.echo(f"{name}: {role}{f' ({reviewer})' if reviewer else ''}. All sessions have ended.")


@users.command()
@data_option
@click.argument("name")
def remove(data: Path, name: str) -> None:
    """Remove a log-in. All its sessions end; what the person did stays in the log."""
    _in_instance(data, lambda pool: remove_user(pool, name))
    click.echo("removed")


@users.command()
@data_option
@click.argument("name")
@click.option("--end", is_flag=True, help="End all of them at once.")
@_json
def sessions(data: Path, name: str, end: bool, as_json: bool) -> None:
    """List the open sessions of NAME, or end them."""

    async def work(pool: Pool[Record]) -> tuple[list[Session], int]:
        await _find_user(pool, name)
        shown = await read_sessions(pool, name)
        return shown, await end_sessions(pool, name) if end else 0

    shown, ended = _in_instance(data, work)
    if end:
        click.echo(msgspec.json.encode({"ended": ended}) if as_json else f"{ended} ended")
    else:
        _show(shown, as_json, f"{name} has no open sessions.", _session)


def _in_instance(data: Path, work: Callable[[Pool[Record]], Awaitable[T]]) -> T:
    """Raises UsageError for what the domain or the accounts reject."""
    try:
        with instance(data) as settings:
            return in_database(settings, work)
    except Rejected as rejection:
        raise usage_error(rejection) from None


async def _find_user(pool: Pool[Record], name: str) -> User:
    """Raises UnknownUser."""
    for each in await read_users(pool):
        if each.name == name:
            return each
    raise UnknownUser(name=name)


async def _check_role(pool: Pool[Record], role: Role, reviewer: str | None) -> None:
    """Raises UsageError, Unknown or RetiredReviewer for a role without a reviewer on the panel."""
    if (role == "reviewer") != (reviewer is not None):
        raise click.UsageError("The role reviewer needs --reviewer SLUG; the role editor must not have it.")
    if reviewer is None:
        return
    seats = reduce(evolve, await read_panel_history(pool), Seats())
    if reviewer not in seats:
        raise click.UsageError(
            f"There is no reviewer {reviewer!r}. `shiplog reviewers list` shows the panel, and "
            f"`shiplog reviewers put {reviewer} --name NAME` seats another one."
        )
    check_publishing(seats, reviewer)


def _show_password(user: NewUser, as_json: bool) -> None:
    click.echo(
        msgspec.json.encode(user) if as_json else f"{user.name}: {user.password}   (it is not shown again)"
    )


def _show(rows: Sequence[T], as_json: bool, none: str, line: Callable[[T], str]) -> None:
    if as_json:
        click.echo(msgspec.json.encode(rows))
    else:
        click.echo("\n".join(map(line, rows)) if rows else none)


def _user(user: User) -> str:
    reviewer = f" ({user.reviewer})" if user.reviewer else ""
    plural = "" if user.sessions == 1 else "s"
    return f"{user.name}  {user.role}{reviewer}  {user.sessions} open session{plural}"


def _session(session: Session) -> str:
    return f"{session.id}  since {session.opened_at:%Y-%m-%d %H:%M}  until {session.expires_at:%Y-%m-%d %H:%M} UTC  {session.agent}"
