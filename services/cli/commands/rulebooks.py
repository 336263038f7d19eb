"""`shiplog rulebooks`: list the known rulebooks, show one, or check a file."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import rich_click as click
from msgspec import Struct

from domain.editorial.adoptions import PRESETS_BY_DIGEST, Adoptions
from domain.rulebooks.rulebook import InvalidRulebook, Rulebook, read_rulebook
from domain.rulebooks.toml import write_rulebook
from domain.shared.errors import Rejected
from eventstore.rulebook_decisions import read_state
from services.cli.commands.keys import in_database
from services.cli.instance import data_option, instance
from services.cli.usage import usage_error


class RulebookRow(Struct, frozen=True):
    digest: str
    name: str
    title: str
    origin: Literal["named", "written"]
    in_force: bool
    scheduled: datetime | None


class RulebookCheck(Struct, frozen=True):
    """``name`` and ``digest`` are None for an invalid file, ``error`` for a valid one."""

    valid: bool
    name: str | None
    digest: str | None
    error: str | None


@click.group(invoke_without_command=True)
@data_option
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def rulebooks(context: click.Context, data: Path, as_json: bool) -> None:
    """List the known rulebooks and which one is in force."""
    if context.invoked_subcommand is None:
        items = _listed(_state(data))
        click.echo(msgspec.json.encode(items) if as_json else "\n".join(map(_line, items)))


@rulebooks.command()
@data_option
@click.argument("rulebook")
@click.option("--json", "as_json", is_flag=True, help="Print the canonical form, whose hash is the digest.")
def show(data: Path, rulebook: str, as_json: bool) -> None:
    """Print RULEBOOK, a name or a digest, as TOML."""
    state = _state(data)
    try:
        book = state.known[state.find(rulebook)]
    except Rejected as rejection:
        raise usage_error(rejection) from None
    click.echo(book.canonical if as_json else f"# {book.digest}\n{write_rulebook(book)}", nl=as_json)


@rulebooks.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True)
def check(file: Path, as_json: bool) -> None:
    """Check whether FILE is a valid rulebook and print its digest. Needs no instance. Exit status 1 when it is not valid."""
    result = _check(file)
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        click.echo(f"{result.name}  {result.digest}" if result.valid else result.error, err=not result.valid)
    sys.exit(0 if result.valid else 1)


def read_file(path: Path) -> Rulebook:
    """Raises InvalidRulebook."""
    try:
        return read_rulebook(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InvalidRulebook(error="the file is not UTF-8.") from None


def _check(file: Path) -> RulebookCheck:
    try:
        book = read_file(file)
    except InvalidRulebook as rejection:
        return RulebookCheck(valid=False, name=None, digest=None, error=str(rejection))
    return RulebookCheck(valid=True, name=book.name, digest=book.digest, error=None)


def _state(data: Path) -> Adoptions:
    with instance(data) as settings:
        return in_database(settings, read_state)


def _listed(state: Adoptions) -> list[RulebookRow]:
    return [
        RulebookRow(
            digest,
            book.name,
            book.title,
            "named" if digest in PRESETS_BY_DIGEST else "written",
            digest == state.in_force,
            state.scheduled[digest].effective_at if digest in state.scheduled else None,
        )
        for digest, book in state.known.items()
    ]


def _line(each: RulebookRow) -> str:
    in_force = "  in force" if each.in_force else ""
    scheduled = f"  takes effect at {each.scheduled.isoformat()}" if each.scheduled else ""
    return f"{each.name:20} {each.digest[:19]}  {each.title}{in_force}{scheduled}"
