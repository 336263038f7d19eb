"""`shiplog config`: every setting, its value, where it comes from, and its default."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import rich_click as click
from msgspec import NODEFAULT, Struct

from services.cli.instance import data_option, refuse_empty
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from services.settings import Settings, from_environment, unknown_variables, variable_of

_PLACEHOLDERS = {"DATABASE_URL": "postgresql://localhost/", "SHIPLOG_SECRET": "-" * 32}


class ShownSetting(Struct, frozen=True):
    """``source``: environment, data folder, default, or not set. Passwords and the secret are masked."""

    variable: str
    value: str
    source: str
    default: str


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True)
def config(data: Path, as_json: bool) -> None:
    """Show every setting. Exit status 2 when one cannot be used. Nothing is started or created."""
    refuse_empty("DATABASE_URL", "SHIPLOG_SECRET")
    settings = show_settings(data)
    if as_json:
        click.echo(msgspec.json.encode(settings))
        return
    width = max(len(each.variable) for each in settings)
    for each in settings:
        default = f" (default {each.default or 'none'})" if each.source == "environment" else ""
        click.echo(f"{each.variable:{width}}  {each.value or '-'}  {each.source}{default}")
    for name in unknown_variables(os.environ):
        click.echo(f"{name} is not a setting of this release.", err=True)


def show_settings(data: Path) -> list[ShownSetting]:
    """Raises SettingsError."""
    of_data = {name: value for name, value in _of_data(data).items() if not os.environ.get(name)}
    from_environment({**_PLACEHOLDERS, **of_data, **os.environ})
    defaults = {
        field.name: "" if field.default is NODEFAULT else _text(field.default)
        for field in msgspec.structs.fields(Settings)
    }
    return [_show(variable_of(field), default, of_data) for field, default in defaults.items()]


def _of_data(data: Path) -> dict[str, str]:
    """What commands take from the data folder if the environment does not say otherwise."""
    if os.environ.get("DATABASE_URL"):
        found: dict[str, str | None] = {}
    else:
        postgres, valkey = Postgres.attach(data), Valkey.attach(data)
        found = {
            "DATABASE_URL": postgres.url() if postgres else None,
            "REDIS_URL": valkey.url() if valkey else None,
            "SHIPLOG_SEGMENTS": str(data / "segments"),
        }
    secret = data / "secret"
    found["SHIPLOG_SECRET"] = secret.read_text() if secret.exists() else None
    return {name: value for name, value in found.items() if value}


def _show(variable: str, default: str, of_data: dict[str, str]) -> ShownSetting:
    if value := os.environ.get(variable):
        return ShownSetting(variable, _masked(variable, value), "environment", default)
    if value := of_data.get(variable):
        return ShownSetting(variable, _masked(variable, value), "data folder", default)
    return ShownSetting(variable, default, "default" if default else "not set", default)


def _masked(variable: str, value: str) -> str:
    if variable == "SHIPLOG_SECRET":
        return f"{len(value)} characters"
    password = urlsplit(value).password if "://" in value else None
    return value.replace(f":{password}@", ":***@") if password else value


def _text(value: object) -> str:
    if isinstance(value, tuple | frozenset):
        return ",".join(str(each) for each in value)
    return "" if value is None else str(value)
