"""The documents tell the truth: their commands run, their files exist, their targets can be made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from services.cli.main import shiplog
from tests.support.instances import Instance

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.xdist_group("instance")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl")
def test_the_readme_runs(instance: Instance) -> None:
    script = "\n".join(
        re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    )
    environment = {
        **os.environ,
        "SITE": instance.url,
        "SHIPLOG_DATA": str(instance.data),
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert '"outcome":"counted"' in done.stdout
    assert '"outcome":"retracted"' in done.stdout
    assert '"ship":1' in done.stdout
    assert done.stdout.count(": 1 counted, 0 unchanged, 0 superseded, 0 rejected") == 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_in_code_exist(document: Path) -> None:
    for name in re.findall(r"`([a-z]+/[\w/.-]+\.(?:py|sql|md))`", document.read_text()):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    text = document.read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^    |`)make ([a-z]+)", text, re.MULTILINE):
        assert target in targets
    for words in re.findall(r"`shiplog ((?:[a-z]+ ?)+)", text):
        named = words.split()[:2] if words.split()[0] in ("keys", "users") else words.split()[:1]
        assert CliRunner().invoke(shiplog, [*named, "--help"]).exit_code == 0, words


def test_architecture_fits_two_pages() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 120


def test_compose_runs_what_up_runs() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "valkey", "migrate", "api", "worker"}
    assert services["postgres"]["image"] == "postgres:18"
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    for name, command in {"migrate": "migrate", "api": "serve", "worker": "work"}.items():
        assert services[name]["command"].split()[:2] == ["shiplog", command]
        assert set(services[name]["environment"]) == {"DATABASE_URL", "REDIS_URL", "SHIPLOG_SECRET"}
        assert "postgres" in services[name]["depends_on"] or "migrate" in services[name]["depends_on"]
    assert all("healthcheck" in services[name] for name in ("postgres", "valkey", "api", "worker"))


def test_compose_configures_postgres_as_the_launcher_does() -> None:
    from services.embedded import postgres

    command = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["postgres"]["command"]
    launched = Path(postgres.__file__).read_text()
    for name in ("max_wal_size", "checkpoint_timeout", "max_connections"):
        value = re.search(rf"{name}=(\S+)", command)
        assert value is not None
        assert re.search(rf'"{name}": "{value[1]}"', launched), name
