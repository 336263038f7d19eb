"""The wheel is complete: installed outside this repository, it runs everything from an empty folder."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import Installation, Terminal

pytestmark = pytest.mark.xdist_group("installed")


def test_the_wheel_runs_apart_from_the_source(installation: Installation, tmp_path: Path) -> None:
    python = installation.packages / "shiplog-server" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", "import services.api.app as app; print(app.__file__)"],
        cwd=tmp_path,
        env=installation.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).is_relative_to(installation.packages)


def test_the_wheel_serves_the_site_and_the_sample(installed: Terminal) -> None:
    with httpx.Client(base_url=installed.address) as client:
        home = client.get("/")
        assert home.status_code == 200
        assert "SmolAgents 2.0" in home.text
        files = set(re.findall(r'"(/static/[^"]+)"', home.text))
        assert any(path.endswith(".css") for path in files)
        for path in (*files, "/static/verify_verdict.py", "/schema", "/methodology"):
            assert client.get(path).status_code == 200, path
        tool = client.get("/v1/tools/smolagents-2-0").json()
        assert tool["verdict"]["label"] == "Ship"
        assert "/v1/votes" in client.get("/schema/openapi.json").json()["paths"]


def test_the_wheel_takes_votes(installed: Terminal) -> None:
    """Migrations and their SQL functions are in it."""
    with httpx.Client(base_url=installed.address) as client:
        cast = client.post("/v1/votes", json={"tool": "aider", "choice": "skip"}).json()
        tally = client.get("/v1/tools/aider/tally", params={"min_position": cast["position"]}).json()
    assert (cast["outcome"], tally["skip"]) == ("counted", 1)


def test_the_wheel_creates_and_finds_its_data_in_the_current_folder(installed: Terminal) -> None:
    status = subprocess.run(
        ["shiplog", "status"],
        cwd=installed.folder,
        env=installed.installation.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (installed.folder / ".shiplog" / "postgres").is_dir()
    assert "tally" in status.stdout
