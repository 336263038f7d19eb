"""The shape of the source: one name for each class, no retired word, small folders, and a map that matches them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
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
# A program of its own that shares no code with the rest, so it has its own Panel and its own Threshold.
VERIFIER = ROOT / "services/api/site/static/verify_verdict.py"

# Names this code had before it took those of the field. Words that mean something else too (take, last, full, cell, ...)
# are left out: no token tells which meaning is meant.
RETIRED_NAMES = frozenset(
    [
        "Hall",
        "hold_little",
        "farewell",
        "short_way",
        "ShortWay",
        "long_way",
        "take_short_way",
        "Parts",
        "Senders",
        "Gate",
        "may_answer",
        "Intake",
        "votable",
        "votable_now",
        "vote_lines",
        "keyring",
        "Keyring",
        "HOUSE",
        "HouseEvent",
        "HouseChange",
        "HouseChanges",
        "HouseHistory",
        "decide_house",
        "announce_house",
        "read_house_history",
        "OF_HOUSE",
        "OF_PEOPLE",
        "Refusal",
        "SeatReviewer",
        "Course",
        "courses",
        "Moved",
        "MOVED",
        "Doubt",
        "leap",
        "leap_through",
        "pass_by",
        "explore",
        "explore_finer",
        "flip_pieces",
        "next_piece",
        "Walks",
        "trial_runs",
        "trial_lines",
        "Tried",
        "TriedTool",
        "OF_SHIPLOG",
        "Weighed",
        "Earlier",
        "passed_by",
        "Submitted",
        "Stood",
        "Columns",
        "Expectation",
        "append_first_casts",
        "append_columns",
        "Turns",
        "Unsettled",
        "Names",
        "look_back",
        "find_moment",
        "NotThereYet",
        "StillOpen",
        "StoppedBefore",
        "reach_flips",
        "as_read",
        "but_parked",
        "decide_adoptions",
        "set_right",
        "alone_",
        "Grounds",
        "read_grounds",
        "Lately",
        "read_lately",
        "lately",
        "Told",
        "house_changes",
        "house_history",
        "MOST_ROWS",
        "MOST_ATTEMPTS",
        "MOST_LISTED",
        "VOTER_BYTES",
    ]
)
# Words that are common in prose: nothing that production code defines has one of these names.
RETIRED_DEFINITIONS = frozenset(
    [
        "Visit",
        "arrival",
        "places",
        "full",
        "asking",
        "intake",
        "commits",
        "Past",
        "reach",
        "Stop",
        "Held",
        "meet",
        "beside",
        "versions",
        "Cell",
        "cells",
        "Stretch",
        "Doubt",
        "Place",
        "Side",
        "Span",
        "Vote",
        "Ask",
        "Bar",
        "Distance",
        "speaks",
        "alone",
        "together",
        "tell",
        "rise",
        "heat",
        "seat",
        "explore",
        "course",
        "gone",
        "came",
        "told",
    ]
)
RETIRED_MODULES = frozenset(
    [
        "hall",
        "short_way",
        "parts",
        "lists",
        "limited",
        "framing",
        "bodies",
        "addresses",
        "access",
        "freshness",
        "intake",
        "vote_lines",
        "unpacking",
        "strict",
        "rates",
        "signals",
        "keyring",
        "register",
        "telling",
        "house",
        "refusals",
        "words",
        "moments",
        "names",
        "alone",
        "reading",
        "stops",
        "past",
        "grounds",
        "set_right",
        "lately",
        "heat",
        "courses",
        "cells",
        "walks",
        "single_votes",
        "sides",
        "ages",
        "flip_engine",
        "flip_pieces",
        "flip_votes",
        "flip_reads",
        "flip_verify",
        "house_changes",
        "house_history",
        "lab_runs",
        "moves",
        "moves_postgres",
        "moves_sealed",
        "trial_runs",
        "trial_lines",
        "named_rulebooks",
        "rulebook_texts",
        "rulebook_errors",
        "event_types",
    ]
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
        yield from (path for path in (ROOT / package).rglob("*.py") if path != VERIFIER)


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
