"""The `shiplog` command: its subcommands, and errors as one line with exit status 2."""

from __future__ import annotations

import sys

import rich_click as click
from asyncpg import PostgresError
from rich.console import Console
from rich.markup import escape

from eventstore.migrations import MigrationError
from eventstore.sealed.duck import DuckDBMissing
from eventstore.sealed.manifest import SegmentError
from services.cli.commands import (
    adopt,
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
from services.embedded.binaries import ServerError
from services.resources import NotDurable
from services.settings import SettingsError

_EXPECTED = (
    ServerError,
    SettingsError,
    MigrationError,
    SegmentError,
    DuckDBMissing,
    NotDurable,
    PostgresError,
    OSError,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shiplog")
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
    seal.seal,
    seal.segments,
    status.status,
    keys.keys,
    reviewers.reviewers,
    users.users,
):
    shiplog.add_command(command)


def main() -> None:
    try:
        shiplog()
    except _EXPECTED as error:
        Console(stderr=True).print(
            f"[bold red]shiplog:[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        sys.exit(2)
