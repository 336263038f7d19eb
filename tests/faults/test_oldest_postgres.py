"""Every integration test, on the oldest PostgreSQL that Shiplog supports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.oldest_postgres import BIN, require_oldest_postgres

INTEGRATION = Path(__file__).resolve().parents[1] / "integration"
FOLDERS = [str(INTEGRATION / name) for name in ("api", "cli", "eventstore", "projections")]
# These compare with a dump of the newest version, whose pg_dump prints other defaults.
ONLY_NEWEST = "not test_schema and not test_take_over"


@pytest.mark.slow
def test_the_integration_tests_pass_on_the_oldest_postgres() -> None:
    require_oldest_postgres()
    environ = {**os.environ, "SHIPLOG_POSTGRES_BIN": str(BIN)}
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-m", "not slow"]
    done = subprocess.run(
        [*command, "-k", ONLY_NEWEST, *FOLDERS], env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-8_000:]
