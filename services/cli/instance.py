"""The instance a command acts on: the databases of the environment, or the embedded ones in --data."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import rich_click as click

from services.embedded.one_up import is_held
from services.embedded.postgres import Postgres
from services.embedded.valkey import Valkey
from services.settings import Settings, SettingsError, from_environment

DEFAULT_DATA = Path(".shiplog")
F = TypeVar("F", bound=Callable[..., object])


def data_option(command: F) -> F:
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DATA,
        show_default=True,
        envvar="SHIPLOG_DATA",
        help="Folder of the embedded databases and the secret.",
    )(command)


@contextmanager
def instance(data: Path, *, create: bool = False) -> Iterator[Settings]:
    """Settings of the instance. An embedded Postgres that is not running is started until the block ends, unless
    `shiplog up` has begun to use it meanwhile. With ``create``, a folder without databases gets them.
    """
    refuse_empty("DATABASE_URL", "SHIPLOG_SECRET")
    if os.environ.get("DATABASE_URL"):
        yield from_environment({"SHIPLOG_SECRET": secret_of(data), **os.environ})
        return
    if not (data.is_dir() and (create or Postgres.is_in(data))):
        raise click.UsageError(
            f"There is no instance in the folder {data}: start one with `shiplog up`, or set DATABASE_URL."
        )
    postgres, is_ours = Postgres.attach_or_start(data)
    valkey = Valkey.attach(data)
    try:
        yield from_environment(environment(data, postgres.url(), valkey.url() if valkey else None))
    finally:
        if is_ours and not is_held(data):
            postgres.stop()


def refuse_empty(*names: str) -> None:
    """An empty variable is a mistake: without it, the command would act on other databases or make a new secret."""
    for name in names:
        if os.environ.get(name) == "":
            raise SettingsError(f"{name} is empty. Set it, or remove it to use what is in the folder --data.")


def environment(data: Path, database_url: str, redis_url: str | None) -> dict[str, str]:
    """Environment of an instance's processes. Variables that are set already take precedence."""
    defaults = {
        "DATABASE_URL": database_url,
        "SHIPLOG_SECRET": secret_of(data),
        "SHIPLOG_SEGMENTS": str(segments_folder(data)),
    }
    return {**defaults, **({"REDIS_URL": redis_url} if redis_url else {}), **os.environ}


def segments_folder(data: Path) -> Path:
    """SHIPLOG_SEGMENTS, or `segments` in the data folder."""
    return Path(os.environ.get("SHIPLOG_SEGMENTS") or data / "segments")


def secret_of(data: Path) -> str:
    """SHIPLOG_SECRET, or the secret in the data folder, which is created on first use."""
    if os.environ.get("SHIPLOG_SECRET"):
        return os.environ["SHIPLOG_SECRET"]
    path = data / "secret"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text()
