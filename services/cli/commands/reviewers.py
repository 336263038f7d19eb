"""`shiplog reviewers`: seat, revise, order, retire and restore the reviewers of the panel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TypeVar

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial.reviewers import (
    Command,
    OrderPanel,
    PutReviewer,
    RestoreReviewer,
    RetireReviewer,
    Seats,
    decide,
    evolve,
    panel_order,
)
from domain.events.editorial import EditorialEvent, ReviewerRetired, ReviewerSeated
from domain.shared.errors import Rejected
from domain.shared.log import EDITORIAL
from domain.shared.types import Line, Name, Slug, Text
from eventstore.decisions import Author, EditorialDecision, decide_editorial, read_panel_history
from services.auth.identity import Identity
from services.cli.commands.keys import in_database
from services.cli.instance import data_option, instance
from services.cli.usage import usage_error
from services.settings import Settings
from services.wakeups import Wakeups

T = TypeVar("T")
MakeCommand = Callable[[Seats], Command]
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_revision = click.option(
    "--revision",
    type=click.IntRange(min=0),
    help="Refuse unless the reviewer is at this revision; 0: not seated.",
)


class ReviewerLine(Struct, frozen=True):
    slug: str
    name: str
    tagline: str
    bio: str
    seat: int
    revision: int
    retired: bool


class PanelReport(Struct, frozen=True):
    """The panel in its order, after the change; ``position`` is null when nothing changed."""

    order: list[str]
    position: str | None


class ReviewerReport(Struct, frozen=True):
    """``position`` is null when nothing changed."""

    slug: str
    revision: int
    position: str | None


@click.group()
def reviewers() -> None:
    """The panel: reviewers, who publish takes."""


@reviewers.command(name="list")
@data_option
@_json
def list_(data: Path, as_json: bool) -> None:
    """List the panel in its order, then the retired reviewers."""
    seats = _in_instance(data, lambda _, pool: _read_seats(pool))
    lines = [_line(each) for each in _in_order(seats)]
    none = "Nobody is seated. `shiplog reviewers put SLUG --name NAME` seats the first reviewer."
    text = "\n".join(
        f"{each.slug}  {each.name}{'  retired' if each.retired else ''}  revision {each.revision}"
        for each in lines
    )
    click.echo(msgspec.json.encode(lines) if as_json else text or none)


@reviewers.command()
@data_option
@click.argument("slug")
@click.option("--name", help="The name that is shown. A new reviewer needs one.")
@click.option("--tagline", help="One line: the question that the reviewer asks of every tool.")
@click.option("--bio", help="A paragraph about the reviewer.")
@_revision
@_json
def put(
    data: Path,
    slug: str,
    name: str | None,
    tagline: str | None,
    bio: str | None,
    revision: int | None,
    as_json: bool,
) -> None:
    """Seat a reviewer after all others, or revise one. What is not given stays as it is."""

    def make(seats: Seats) -> PutReviewer:
        before = seats.get(slug)
        if before is None and name is None:
            raise click.UsageError(f"There is no reviewer {slug!r} yet: give --name to seat one.")
        given = {"name": name, "tagline": tagline, "bio": bio}
        texts = {
            field: str(getattr(before, field, "")) if text is None else text for field, text in given.items()
        }
        _check(slug, *texts.values())
        return PutReviewer(slug, **texts, expected=revision)

    _change(data, slug, make, as_json)


@reviewers.command()
@data_option
@click.argument("slug")
@_revision
@_json
def retire(data: Path, slug: str, revision: int | None, as_json: bool) -> None:
    """Accept no more takes of a reviewer. Standing takes stay, and count, until they are withdrawn."""
    _change(data, slug, lambda _: RetireReviewer(slug, revision), as_json)


@reviewers.command()
@data_option
@click.argument("slug")
@_revision
@_json
def restore(data: Path, slug: str, revision: int | None, as_json: bool) -> None:
    """Put a retired reviewer back on their seat."""
    _change(data, slug, lambda _: RestoreReviewer(slug, revision), as_json)


@reviewers.command()
@data_option
@click.argument("slugs", nargs=-1, required=True)
@_json
def order(data: Path, slugs: tuple[str, ...], as_json: bool) -> None:
    """Put the panel in this order. SLUGS are all reviewers who are not retired."""
    seats, position = _decide(data, lambda _: OrderPanel(slugs))
    report = PanelReport([each.slug for each in panel_order(seats)], position)
    text = f"{', '.join(report.order)}\n{_recorded(position)}"
    click.echo(msgspec.json.encode(report) if as_json else text)


def _change(data: Path, slug: str, make: MakeCommand, as_json: bool) -> None:
    seats, position = _decide(data, make)
    report = ReviewerReport(slug, seats[slug].revision, position)
    text = f"{slug}: revision {report.revision}\n{_recorded(position)}"
    click.echo(msgspec.json.encode(report) if as_json else text)


def _decide(data: Path, make: MakeCommand) -> tuple[Seats, str | None]:
    """The panel afterwards, and the position of the change."""
    decided = _in_instance(data, lambda settings, pool: _append(settings, pool, make))
    position = str(decided.recorded[-1].position) if decided.recorded else None
    return reduce(evolve, [*decided.before, *decided.events], Seats()), position


async def _append(settings: Settings, pool: Pool[Record], make: MakeCommand) -> EditorialDecision:
    author = Author(Identity(settings, pool).pseudonym("user", b"command"), "command")

    def decide_on(past: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        seats = reduce(evolve, past, Seats())
        return decide(make(seats), seats)

    async with pool.acquire() as conn:
        decided = await decide_editorial(conn, decide_on, author)
    if decided.recorded:
        wakeups = Wakeups(settings.redis_url)
        await wakeups.wake_now(EDITORIAL)
        await wakeups.close()
    return decided


async def _read_seats(pool: Pool[Record]) -> Seats:
    return reduce(evolve, await read_panel_history(pool), Seats())


def _in_instance(data: Path, work: Callable[[Settings, Pool[Record]], Awaitable[T]]) -> T:
    """Raises UsageError for what the domain rejects."""
    try:
        with instance(data) as settings:
            return in_database(settings, lambda pool: work(settings, pool))
    except Rejected as rejection:
        raise usage_error(rejection) from None


def _check(slug: str, *texts: str) -> None:
    """Raises UsageError for text that the API would refuse."""
    fields = (
        ("SLUG", slug, Slug),
        *zip(("--name", "--tagline", "--bio"), texts, (Name, Line, Text), strict=True),
    )
    for field, text, kind in fields:
        try:
            msgspec.convert(text, kind)
        except msgspec.ValidationError:
            raise click.UsageError(f"{field}: {_REQUIREMENTS[field]}") from None


_REQUIREMENTS = {
    "SLUG": "lower-case letters and digits, with single hyphens between them, at most 100 characters.",
    "--name": "one line of 1 to 120 characters, without control characters.",
    "--tagline": "one line of at most 200 characters, without control characters.",
    "--bio": "at most 4,000 characters, without control characters.",
}


def _in_order(seats: Seats) -> list[ReviewerSeated | ReviewerRetired]:
    return sorted(seats.values(), key=lambda each: (isinstance(each, ReviewerRetired), each.seat))


def _line(each: ReviewerSeated | ReviewerRetired) -> ReviewerLine:
    retired = isinstance(each, ReviewerRetired)
    return ReviewerLine(each.slug, each.name, each.tagline, each.bio, each.seat, each.revision, retired)


def _recorded(position: str | None) -> str:
    return f"recorded at {position}" if position else "nothing was changed"
