"""The documents are true: their commands print what they show, and the paths and commands they name exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import get_args

import httpx
import pytest
import yaml
from click.testing import CliRunner

from projections.replays import jobs as replays
from projections.trials import jobs as trials
from services.cli.main import shiplog
from tests.acceptance.conftest import Terminal
from tests.acceptance.walkthrough import ADDRESS, Walkthrough, match

ROOT = Path(__file__).resolve().parents[2]
TOP = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]
DOCUMENTS = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(
    r"(?<![\w/.-])(?:\.ci|benchmarks|docs|domain|eventstore|migrations|projections|services|tests)/[\w./-]*\w"
)

# In this order, on one instance: each votes on its own tools.
WALKTHROUGHS = ["README.md", "docs/start.md", "docs/http-api.md", "docs/proofs.md"]


@pytest.mark.xdist_group("installed")
@pytest.mark.skipif(shutil.which("curl") is None, reason="the documents use curl")
@pytest.mark.parametrize("document", WALKTHROUGHS)
def test_commands_print_what_the_document_shows(document: str, installed: Terminal, tmp_path: Path) -> None:
    environment = installed.installation.environment
    walkthrough = Walkthrough(installed.folder, environment, installed.address, tmp_path / "variables")
    walkthrough.follow(ROOT / document)


@pytest.mark.xdist_group("installed")
@pytest.mark.parametrize("document", ["README.md", "docs/start.md"])
def test_up_prints_what_the_document_shows(document: str, installed: Terminal) -> None:
    (shown,) = re.findall(r"^╭.*?^ready [^\n]*", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
    printed = installed.printed.replace(installed.address, ADDRESS)
    assert match(f"…\n{shown}", printed, {}) is not None, printed


@pytest.mark.xdist_group("installed")
def test_http_api_lists_every_route(installed: Terminal) -> None:
    text = (ROOT / "docs/http-api.md").read_text().partition("## All routes")[2]
    listed = re.findall(r"`(GET|POST|PUT|DELETE) ([^`]+)`", text)
    paths = httpx.get(f"{installed.address}/schema/openapi.json").json()["paths"]
    documented = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert sorted(listed) == sorted([*documented, ("GET", "/metrics")])


@pytest.mark.parametrize(("drawing", "state"), [("replay", replays.State), ("trial", trials.State)])
def test_drawings_show_the_states_of_the_code(drawing: str, state: object) -> None:
    drawn = re.findall(r'class="title"[^>]*>([^<]+)<', (ROOT / f"docs/images/{drawing}.svg").read_text())
    assert sorted(drawn) == sorted(get_args(state))


def test_figures_of_the_readme_are_those_of_the_performance_page() -> None:
    speed = re.search(r"^## Speed\n(.*?)^## ", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert speed is not None
    figures = re.findall(r"\d+(?:,\d{3})+|\d+ ms", speed[1])
    assert len(figures) == 4
    assert [each for each in figures if each not in (ROOT / "docs/performance.md").read_text()] == []


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ('{"position":"2.1"}', '{"position":"1.40"}', True),
        ('{"position":"2.1"}', '{"position":null}', False),
        ('{"ship":1,…}', '{"ship":1,"skip":0}', True),
        ('{"ship":1,…}', '{"ship":2,"skip":0}', False),
        ("one\n…\nfour", "one\ntwo\nthree\nfour", True),
        ("one …\nfour", "one\ntwo\nfour", False),
        ("40 lines in 0.1 s, 2,000 a second", "40 lines in 1.5 s, 27 a second", True),
        ("40 lines in 0.1 s", "41 lines in 0.1 s", False),
        ('"share":"0.7500"', '"share":"0.7501"', False),
        ('"position":"2.1","next":{"position":"2.1"}', '"position":"1.3","next":{"position":"1.3"}', True),
        ('"position":"2.1","next":{"position":"2.1"}', '"position":"1.3","next":{"position":"1.4"}', False),
    ],
)
def test_outputs_are_compared_except_for_values_that_change(shown: str, printed: str, same: bool) -> None:
    assert (match(shown, printed, {}) is not None) is same


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(document: Path) -> None:
    named = set(PATH.findall(document.read_text()))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    text = document.read_text()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:^    |`)make ([a-z]+)", text, re.MULTILINE):
        assert target in targets
    for words in re.findall(r"`shiplog ((?:[a-z]+ ?)+)", text):
        named = words.split()[:2] if words.split()[0] in ("keys", "users", "reviewers") else words.split()[:1]
        assert CliRunner().invoke(shiplog, [*named, "--help"]).exit_code == 0, words


def test_architecture_fits_two_pages() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 120


ENVIRONMENT = {
    "DATABASE_URL",
    "REDIS_URL",
    "SHIPLOG_PUBLIC_URL",
    "SHIPLOG_SECRET",
    "SHIPLOG_TRUSTED_PROXIES",
}


def test_compose_runs_what_up_runs() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "valkey", "migrate", "api", "worker"}
    assert services["postgres"]["image"] == "postgres:18"
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
    for name, command in {"migrate": "migrate", "api": "serve", "worker": "work"}.items():
        assert services[name]["command"].split()[:2] == ["shiplog", command]
        assert set(services[name]["environment"]) == ENVIRONMENT
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
