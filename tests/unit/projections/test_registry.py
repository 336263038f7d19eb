"""The registry: a file in projections/ is a read model, and needs no entry elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import projections
from projections.engine import registry
from projections.engine.projection import Projection
from projections.engine.registry import PROJECTIONS, find_projections

FOLDER = Path(projections.__file__).parent
FILES = [path for path in FOLDER.glob("*.py") if path.name != "__init__.py"]
DEFINITION = re.compile(r"^([A-Z_]+) = (?:Projection|per_block)\(", re.MULTILINE)
NEW = """
from msgspec.structs import replace

from projections.tally import TALLY

SECOND_TALLY = replace(TALLY, name="second_tally")
"""


def test_every_file_defines_the_read_model_it_is_named_after() -> None:
    names = {each.name for each in PROJECTIONS}
    assert {path.stem for path in FILES} <= names


def test_every_definition_is_found() -> None:
    defined = [name for path in FOLDER.rglob("*.py") for name in DEFINITION.findall(path.read_text())]
    assert len(defined) == len(PROJECTIONS) > len(FILES)
    assert {each.upper() for each in defined} == {each.name.upper() for each in PROJECTIONS}


def test_no_name_is_taken_twice() -> None:
    names = Counter(each.name for each in PROJECTIONS)
    assert max(names.values()) == 1


def test_a_new_file_is_a_new_read_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "second_tally.py").write_text(NEW)
    monkeypatch.setattr(projections, "__path__", [*projections.__path__, str(tmp_path)])
    found = find_projections()
    assert {each.name for each in found} - {each.name for each in PROJECTIONS} == {"second_tally"}


def test_two_read_models_of_one_name_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "third_tally.py").write_text(NEW.replace("second_tally", "tally"))
    monkeypatch.setattr(projections, "__path__", [*projections.__path__, str(tmp_path)])
    with pytest.raises(registry.DuplicateName, match="two read models are named tally"):
        find_projections()
    assert all(isinstance(each, Projection) for each in PROJECTIONS)
