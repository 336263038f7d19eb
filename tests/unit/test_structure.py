"""The shape of the source: one name for each class, no retired word, small folders, and a map that matches them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("domain", "eventstore", "projections", "services")
MODULES_MAX = 20

# Names this code had before it took those of the field. Words that mean something else too (take, last, full, cell, ...)
# are left out: no token tells which meaning is meant.
RETIRED_NAMES = frozenset(
    """
    Columns Course Doubt Earlier Expectation Gate Grounds HOUSE Hall HouseChange HouseChanges HouseEvent
    HouseHistory Intake Keyring Lately MOST_ATTEMPTS MOST_LISTED MOST_ROWS MOVED Moved Names NotThereYet
    OF_HOUSE OF_PEOPLE OF_SHIPLOG Parts Refusal SeatReviewer Senders ShortWay StillOpen Stood StoppedBefore
    Submitted Told Tried TriedTool Turns Unsettled VOTER_BYTES Walks Weighed announce_house
    append_columns append_first_casts as_read but_parked courses decide_house explore
    explore_finer farewell find_moment flip_pieces hold_little house_changes house_history keyring lately
    leap leap_through long_way look_back may_answer next_piece pass_by passed_by reach_flips read_grounds
    read_house_history read_lately set_right short_way take_short_way trial_lines trial_runs votable
    votable_now vote_lines
    """.split()  # noqa: SIM905 - a list of this length is read as words
)
# Words that are common in prose: nothing that production code defines has one of these names.
RETIRED_DEFINITIONS = frozenset(
    """
    Ask Bar Distance Doubt Held Past Place Side Span Stop Stretch Visit Vote alone arrival asking beside
    came course explore full gone heat intake reach rise speaks tell together told
    """.split()  # noqa: SIM905 - a list of this length is read as words
)
RETIRED_MODULES = frozenset(
    """
    access addresses ages alone bodies cells courses event_types flip_engine flip_pieces flip_reads
    flip_verify flip_votes framing freshness grounds hall heat house house_changes house_history intake
    keyring lately limited lists moments moves moves_postgres moves_sealed named_rulebooks names
    parts past rates reading refusals register rulebook_errors rulebook_texts set_right short_way sides
    signals single_votes stops strict telling trial_lines trial_runs unpacking vote_lines walks words
    """.split()  # noqa: SIM905 - a list of this length is read as words
)
RETIRED_PHRASES = re.compile(
    r"\bthe hall\b|\bshort way\b|\blong way\b|\bthe house\b|\bhouse shard\b|\bhouse's\b|\bin the house\b"
    r"|\brule lab's walk\b|\bis told\b.{0,20}\bwhoever\b|\bby which door\b|\bset right\b",
    re.IGNORECASE,
)
# What tells history may use the words of its day.
HISTORY = ("CHANGELOG.md", "docs/decisions/")


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (path for path in (ROOT / package).rglob("*.py"))


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path))


def written() -> list[Path]:
    """All sources and documents that are ours, and present."""
    sources = [*modules(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "migrations").rglob("*.sql")]
    kept = [path for path in documents if not str(path.relative_to(ROOT)).startswith(HISTORY)]
    return [path for path in [*sources, *kept] if path != Path(__file__).resolve()]


def test_a_class_name_is_used_once() -> None:
    places = defaultdict[str, list[str]](list)
    for path in modules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_retired_name_is_left() -> None:
    found = defaultdict[str, set[str]](set)
    for path in written():
        if path.suffix == ".py" and RETIRED_NAMES & set(re.findall(r"\w+", text_of(path))):
            for token in tokenize.generate_tokens(io.StringIO(text_of(path)).readline):
                if token.type == tokenize.NAME and token.string in RETIRED_NAMES:
                    found[str(path.relative_to(ROOT))].add(token.string)
    assert dict(found) == {}


def test_nothing_is_defined_under_a_retired_name() -> None:
    found = set()
    for path in modules():
        for node in ast.walk(tree_of(path)):
            match node:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    names = {name}
                case ast.AnnAssign(target=ast.Name(id=name)) | ast.arg(arg=name):
                    names = {name}
                case ast.Assign(targets=targets):
                    names = {
                        each.id
                        for target in targets
                        for each in ast.walk(target)
                        if isinstance(each, ast.Name)
                    }
                case _:
                    continue
            found |= {
                f"{path.relative_to(ROOT)}:{node.lineno}: {name}" for name in names & RETIRED_DEFINITIONS
            }
    assert found == set()


def test_no_module_has_a_retired_name() -> None:
    stems = {str(path.relative_to(ROOT)) for path in modules() if path.stem in RETIRED_MODULES}
    assert stems == set()


def test_no_retired_phrase_is_left() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in written()
        for match in RETIRED_PHRASES.finditer(text_of(path))
    }
    assert found == set()


def test_no_folder_is_crowded() -> None:
    folders = defaultdict[str, int](int)
    for path in modules():
        folders[str(path.parent.relative_to(ROOT))] += path.name != "__init__.py"
    assert {folder: count for folder, count in folders.items() if count > MODULES_MAX} == {}


def test_the_folder_of_read_models_has_nothing_else() -> None:
    """And every one of them is found by the registry."""
    for path in (ROOT / "projections").glob("[!_]*.py"):
        module = f"projections.{path.stem}"
        defined = [
            value
            for value in vars(__import__(module, fromlist=["_"])).values()
            if isinstance(value, Projection)
        ]
        assert defined, f"{path.name} defines no Projection: it belongs into a folder of projections/"
        assert {each.name for each in defined} <= {each.name for each in PROJECTIONS}


def test_the_engine_knows_no_read_model() -> None:
    read_models = {f"projections.{path.stem}" for path in (ROOT / "projections").glob("[!_]*.py")}
    for path in (ROOT / "projections/engine").glob("*.py"):
        imported = {node.module for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom)}
        assert imported & read_models == set(), path.name


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_names_every_folder(package: str) -> None:
    """ARCHITECTURE.md lists each folder of the source, as ``folder/`` at the beginning of a line."""
    listed = set(re.findall(r"^ {4,}([a-z_]+)/", text_of(ROOT / "ARCHITECTURE.md"), re.MULTILINE))
    folders = {path.parent.name for path in (ROOT / package).rglob("*.py")}
    assert folders - {"static"} <= listed


def test_the_map_names_no_folder_that_is_not_there() -> None:
    listed = set(re.findall(r"^ {4,}([a-z_]+)/", text_of(ROOT / "ARCHITECTURE.md"), re.MULTILINE))
    tops = [*PACKAGES, "migrations", "tests", "benchmarks"]
    there = {path.name for top in tops for path in [ROOT / top, *(ROOT / top).rglob("*/")]}
    assert listed <= there


def test_the_map_fits_on_two_pages() -> None:
    assert len(text_of(ROOT / "ARCHITECTURE.md").splitlines()) <= 120


SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|DROP|ALTER|TRUNCATE|LOCK|SET)\b")


def test_a_statement_is_named_for_what_it_does() -> None:
    """READ_TALLIES, not READ: a verb alone says nothing where it is used."""
    bare = set()
    for path in modules():
        for node in tree_of(path).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                values = [each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
                first = next((each for each in values if isinstance(each, str) and each.strip()), "")
                if name.isupper() and "_" not in name.strip("_") and SQL.match(first):
                    bare.add(f"{path.relative_to(ROOT)}: {name}")
    assert bare == set()


def test_an_install_line_names_our_distribution() -> None:
    """The package `shiplog` on PyPI is somebody else's: whoever followed such a line would run a stranger's code."""
    foreign = re.compile(
        r"(?:pipx?|uvx|tool) (?:install |run )?(?:-\S+ )*['\"]?shiplog(?![-_])|['\"`]shiplog\["
    )
    texts = [path for suffix in ("md", "py", "toml", "yaml") for path in ROOT.glob(f"**/*.{suffix}")]
    texts = [path for path in texts if ".venv" not in path.parts and path != Path(__file__)]
    assert [str(path) for path in [*texts, ROOT / "Dockerfile"] if foreign.search(path.read_text())] == []
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == "shiplog-server"
