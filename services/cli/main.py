"""The `shiplog` command: its subcommands, and errors as one line with exit status 2."""

from __future__ import annotations

import os
import sys
from errno import ENOSPC
from typing import NoReturn

import rich_click as click
from asyncpg import InterfaceError, InternalClientError, PostgresError
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape

from eventstore.migrations import MigrationError
from eventstore.roles import RoleError
from eventstore.sealed.duck import DuckDBMissing
from eventstore.sealed.manifest import SegmentError
from services.backups.restore import RestoreRefused
from services.cli.commands import (
    adopt,
    backup,
    config,
    doctor,
    import_votes,
    keys,
    migrate,
    replay,
    reviewers,
    rulebooks,
    seal,
    serve,
    status,
    trial,
    up,
    users,
    verdict,
    verify,
    work,
)
from services.database import DatabaseUnusable, explain
from services.embedded.binaries import ServerError
from services.settings import SettingsError

_DATABASE_FAILED = (PostgresError, InterfaceError, InternalClientError, OSError)
_EXPECTED = (
    *_DATABASE_FAILED,
    DatabaseUnusable,
    RestoreRefused,
    RoleError,
    RedisError,
    ServerError,
    SettingsError,
    MigrationError,
    SegmentError,
    DuckDBMissing,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shiplog-server")
def shiplog() -> None:
    """Ship or skip? Verdicts on tools, folded from an append-only log.

    Commands act on the instance in --data, running or not, or on DATABASE_URL if that is set.
    """


for command in (
    up.up,
    migrate.migrate,
    serve.serve,
    work.work,
    import_votes.import_,
    verdict.verdict,
    verify.verify,
    replay.replay,
    rulebooks.rulebooks,
    adopt.adopt,
    trial.trial,
    backup.backup,
    backup.restore,
    seal.seal,
    seal.segments,
    status.status,
    doctor.doctor,
    config.config,
    keys.keys,
    reviewers.reviewers,
    users.users,
):
    shiplog.add_command(command)


def main() -> None:
    """Run the command. An exception that is expected ends it with one line, so that logs and terminals show the same."""
    try:
        sys.exit(shiplog(prog_name="shiplog", standalone_mode=False))
    except click.Abort:
        sys.exit(1)
    except click.ClickException as error:
        _fail(_usage(error), error.exit_code)
    except _EXPECTED as error:
        _fail(_line(error), 2)


def _fail(line: str, status: int) -> NoReturn:
    Console(stderr=True).print(f"[bold red]shiplog:[/] {escape(line)}", highlight=False, soft_wrap=True)
    sys.exit(status)


def _usage(error: click.ClickException) -> str:
    """The error as one line. What the parser of the command line found is followed by the way to the help."""
    line = " ".join(error.format_message().split())
    is_ours = type(error) in (click.ClickException, click.UsageError) and line.endswith(".")
    if is_ours or not isinstance(error, click.UsageError) or error.ctx is None:
        return line
    ended = line if line.endswith((".", "?")) else f"{line}."
    return f"{ended} Help: {error.ctx.command_path} --help"


def _line(error: Exception) -> str:
    """The error as one line. An error of the system that names a file is about that file, not about the database."""
    if isinstance(error, OSError) and error.filename:
        what = (
            "Make room, and try again."
            if error.errno == ENOSPC
            else "Check the path, and that you may use it."
        )
        return f"{error.filename}: {error.strerror}. {what}"
    of_database = isinstance(error, _DATABASE_FAILED)
    return str(explain(error, os.environ.get("DATABASE_URL", "")) if of_database else error)
