"""Schemathesis on a running instance: all checks, every operation, as a visitor, with an API key, and as an editor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import Site, clients_site

__all__ = ["clients_site"]

CONFIG = Path(__file__).parent / "schemathesis.toml"
ROOT = Path(__file__).parents[2]
# The stream ends only when the client disconnects, and a log-out would end the editor's session.
LEFT_OUT = ["--exclude-path", "/v1/tallies/stream", "--exclude-operation-id", "V1SessionLogOut"]
EXAMPLES, EXAMPLES_FULL = 20, 200


@pytest.mark.slow
@pytest.mark.parametrize("identity", ["visitor", "key", "session"])
def test_every_answer_conforms(clients_site: Site, identity: str, request: pytest.FixtureRequest) -> None:
    examples = EXAMPLES_FULL if request.config.getoption("--full", default=False) else EXAMPLES
    headers = {
        "visitor": [],
        "key": ["-H", f"Authorization: Bearer {clients_site.key}"],
        "session": ["-H", f"Cookie: shiplog_session={clients_site.session}"],
    }
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    options = ["--checks", "all", "--max-examples", str(examples), "--continue-on-failure", "--no-color"]
    environment = {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, f"{clients_site.url}/schema/openapi.json", *LEFT_OUT, *options, *headers[identity]],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
