"""`shiplog config` and `shiplog doctor`: what is set and from where, what is wrong and what to do."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner, Result

from services.cli.checks import _check_clock
from services.cli.commands.config import _text
from services.cli.main import shiplog
from services.embedded.valkey import Valkey
from services.settings import Settings, variable_of
from tests.support.instances import SECRET, free_port

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


async def run(settings: Settings, *arguments: str, **environ: str) -> Result:
    environment = {"DATABASE_URL": settings.database_url, "SHIPLOG_SECRET": SECRET.decode(), **environ}
    return await asyncio.to_thread(CliRunner().invoke, shiplog, arguments, env=environment)


async def test_config_shows_value_source_and_default_and_masks_secrets(settings: Settings) -> None:
    done = await run(settings, "config", "--json", SHIPLOG_POOL_SIZE="5", REDIS_URL="redis://:hunter2@h/0")
    shown = {each["variable"]: each for each in json.loads(done.stdout)}
    assert shown.keys() == {variable_of(field) for field in Settings.__struct_fields__}
    assert list(shown["SHIPLOG_POOL_SIZE"].values())[1:] == ["5", "environment", "16"]
    assert list(shown["SHIPLOG_LIMIT_KEY"].values())[1:] == ["0", "default", "0"]
    assert shown["REDIS_URL"]["value"] == "redis://:***@h/0"
    password = settings.database_url.split(":")[2].split("@")[0]
    for text in (done.stdout, (await run(settings, "config")).stdout):
        assert SECRET.decode() not in text
        assert "hunter2" not in text
        assert password not in text


async def test_doctor_finds_nothing_wrong_and_then_each_fault(settings: Settings, valkey: Valkey) -> None:
    well = await run(settings, "doctor", "--json", REDIS_URL=valkey.url())
    assert well.exit_code == 0, well.output
    names = [each["name"] for each in json.loads(well.stdout)]
    assert names == ["settings", "database", "durability", "migrations", "clock", "connections", "redis"]
    wrong = await run(
        settings, "doctor", REDIS_URL=f"redis://127.0.0.1:{free_port()}", SHIPLOG_POOL_SIZE="5000"
    )
    assert wrong.exit_code == 1
    assert re.findall(r"^WRONG +(\w+)", wrong.stdout, re.MULTILINE) == ["connections", "redis"]
    owner = await asyncpg.connect(settings.database_url)
    await owner.execute("INSERT INTO schema_migrations (version) VALUES ('9999')")
    assert "a newer release added 9999" in (await run(settings, "doctor")).stdout
    await owner.execute("REVOKE INSERT ON events FROM shiplog_app")
    lost = await run(settings, "doctor")
    assert (lost.exit_code, "run `shiplog migrate`" in lost.stdout) == (1, True)
    await owner.execute("GRANT INSERT ON events TO shiplog_app")
    await owner.close()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("SHIPLOG_POOL_SIZ", "5", "Did you mean SHIPLOG_POOL_SIZE?"),
        ("DATABASE_URL", "postgresql://u@127.0.0.1:1/x", "cannot be reached"),
    ],
)
async def test_doctor_reports_what_other_commands_stop_at(
    settings: Settings, name: str, value: str, line: str
) -> None:
    wrong = await run(settings, "doctor", **{name: value})
    assert wrong.exit_code == 1
    assert line in wrong.stdout


def test_a_clock_that_is_wrong_is_named() -> None:
    assert _check_clock(datetime.now(UTC)).ok
    assert "chrony" in _check_clock(datetime.now(UTC) - timedelta(seconds=60)).text


def test_the_table_of_settings_is_complete() -> None:
    """docs/operations.md lists every setting with its default."""
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*?) \|", OPERATIONS.read_text(), re.MULTILINE))
    for field in msgspec.structs.fields(Settings):
        default = "" if field.default is msgspec.NODEFAULT else _text(field.default)
        listed = rows[variable_of(field.name)]
        assert listed == (default or "none") or (not default and listed.startswith(("none;", "required")))
