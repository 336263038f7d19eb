"""`shiplog adopt`: put a rulebook in force, now or at a later time, or roll the last adoption back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import rich_click as click
from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial.adoptions import (
    AdoptRulebook,
    CallOff,
    Command,
    RollBack,
    ScheduleAdoption,
    WriteRulebook,
)
from domain.rulebooks.rulebook import Rulebook
from domain.shared.as_of import parse_point_in_time
from domain.shared.errors import Rejected
from domain.shared.log import EDITORIAL
from domain.shared.types import Line
from eventstore.decisions import Author
from eventstore.rulebook_decisions import AdoptionResult, decide_adoption
from services.auth.identity import Identity
from services.cli.commands.keys import in_database
from services.cli.commands.rulebooks import read_file
from services.cli.instance import data_option, instance
from services.cli.usage import usage_error
from services.settings import Settings
from services.wakeups import Wakeups


class AdoptionReport(Struct, frozen=True):
    """``in_force`` is a digest, ``scheduled`` maps digests to times, ``position`` is null when nothing changed."""

    in_force: str
    name: str
    scheduled: dict[str, datetime]
    position: str | None


@click.command()
@data_option
@click.argument("rulebook", required=False)
@click.option("--reason", help="Why. It is recorded in the public log.")
@click.option("--at", metavar="TIME", help="Schedule it for this time, for example 2027-01-01T00:00:00Z.")
@click.option("--roll-back", is_flag=True, help="Put the rulebook before the last adoption back in force.")
@click.option("--call-off", is_flag=True, help="Cancel the scheduled adoption of RULEBOOK.")
@click.option("--json", "as_json", is_flag=True)
def adopt(
    data: Path,
    rulebook: str | None,
    reason: str | None,
    at: str | None,
    roll_back: bool,
    call_off: bool,
    as_json: bool,
) -> None:
    """Put RULEBOOK in force: a name, a digest, or a file (.toml), which is stored first."""
    try:
        commands = _commands(rulebook, reason, at, roll_back, call_off)
        with instance(data) as settings:
            adopted = in_database(settings, lambda pool: _decide(settings, pool, commands))
    except Rejected as rejection:
        raise usage_error(rejection) from None
    click.echo(msgspec.json.encode(adopted) if as_json else _summary(adopted))


def _commands(
    rulebook: str | None, reason: str | None, at: str | None, roll_back: bool, call_off: bool
) -> list[Command]:
    """Raises UsageError for options that do not go together, and InvalidRulebook."""
    if roll_back + call_off > 1 or (rulebook is None) != roll_back or (at and (roll_back or call_off)):
        raise click.UsageError(
            "Give a RULEBOOK, if you like with --at TIME or --call-off, or give --roll-back without one."
        )
    if call_off and rulebook:
        return [CallOff(rulebook)]
    line = _reason(reason)
    if rulebook is None:
        return [RollBack(line)]
    written = read_file(Path(rulebook)) if rulebook.endswith(".toml") else None
    return [*_write(written), _adopt(written.digest if written else rulebook, line, at)]


def _write(book: Rulebook | None) -> list[Command]:
    return [] if book is None else [WriteRulebook(book)]


def _adopt(rulebook: str, reason: str, at: str | None) -> Command:
    if at is None:
        return AdoptRulebook(rulebook, reason)
    return ScheduleAdoption(rulebook, reason, _time(at), datetime.now(UTC))


def _reason(text: str | None) -> str:
    try:
        return msgspec.convert(text or None, Line)
    except msgspec.ValidationError:
        raise click.UsageError("Give a --reason, one line of at most 200 characters.") from None


def _time(text: str) -> datetime:
    try:
        moment = parse_point_in_time(text)
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise click.UsageError(f"--at {text}: give a time with its zone, for example 2027-01-01T00:00:00Z.")
    return moment


async def _decide(settings: Settings, pool: Pool[Record], commands: list[Command]) -> AdoptionReport:
    by = Author(Identity(settings, pool).pseudonym("user", b"command"), "command")
    wakeups = Wakeups(settings.redis_url)
    for command in commands:
        outcome = await decide_adoption(pool, command, by)
    await wakeups.wake_now(EDITORIAL)
    await wakeups.close()
    return _report(outcome)


def _report(outcome: AdoptionResult) -> AdoptionReport:
    state, recorded = outcome.state, outcome.decision.recorded
    return AdoptionReport(
        state.in_force,
        state.known[state.in_force].name,
        {digest: each.effective_at for digest, each in state.scheduled.items()},
        str(recorded[-1].position) if recorded else None,
    )


def _summary(adopted: AdoptionReport) -> str:
    return "\n".join(
        [
            f"{adopted.name} ({adopted.in_force}) is in force",
            *(f"{digest} takes effect at {at.isoformat()}" for digest, at in adopted.scheduled.items()),
            f"recorded at {adopted.position}" if adopted.position else "nothing was changed",
        ]
    )
