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
# The stream ends only when the client disconnects. A log-out, or the end of the session itself, would leave the editor outside.
LEFT_OUT = [
    *("--exclude-path", "/v1/tallies/stream"),
    *("--exclude-operation-id", "V1SessionLogOut"),
    *("--exclude-operation-id", "V1MeSessionsEndSession"),
]
EXAMPLES, EXAMPLES_FULL = 20, 200


@pytest.mark.slow
@pytest.mark.parametrize("identity", ["visitor", "key", "session"])
def test_every_answer_conforms(
    clients_site: Site, identity: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    examples = EXAMPLES_FULL if request.config.getoption("--full", default=False) else EXAMPLES
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.read_text() + credentials(clients_site, identity))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    options = ["--checks", "all", "--max-examples", str(examples), "--continue-on-failure", "--no-color"]
    environment = {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, f"{clients_site.url}/schema/openapi.json", *LEFT_OUT, *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def credentials(site: Site, identity: str) -> str:
    """A section of the configuration. Schemathesis then knows which requests it sends without them."""
    sections = {
        "visitor": "",
        "key": f'\n[auth.openapi.key]\nbearer = "{site.key}"\n',
        "session": f'\n[auth.openapi.session]\napi_key = "{site.session}"\n',
    }
    return sections[identity]
