"""`shiplog doctor`: what would keep Shiplog from working here, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import rich_click as click

from services.cli.checks import Check, check_all, failed, passed
from services.cli.instance import data_option, instance
from services.settings import SettingsError, unknown_variables


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True)
def doctor(data: Path, as_json: bool) -> None:
    """Check settings, PostgreSQL, Redis, disk and clock. Exit status 1 when something is wrong."""
    checks = _check(data)
    if as_json:
        click.echo(msgspec.json.encode(checks))
    else:
        for each in checks:
            click.echo(f"{'ok   ' if each.ok else 'WRONG'}  {each.name:12} {each.text}")
    sys.exit(0 if all(each.ok for each in checks) else 1)


def _check(data: Path) -> list[Check]:
    unknown = unknown_variables(os.environ)
    text = f"{', '.join(unknown)}: no setting of this release" if unknown else "every variable is a setting"
    try:
        with instance(data) as settings:
            folders = [] if os.environ.get("DATABASE_URL") else [data]
            folders += [settings.segments] if settings.segments else []
            return [passed("settings", text), *asyncio.run(check_all(settings, folders))]
    except SettingsError as error:
        return [failed("settings", str(error))]
