"""Migration files: they are read in order, and an invalid one is rejected by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventstore.migrations import SQUASHED, Migration, MigrationError, read_migrations


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def test_migrations_are_read_in_order_of_version(tmp_path: Path) -> None:
    write(tmp_path, "0002_second.sql", "-- migrate:up\nSELECT 2;\n")
    write(tmp_path, "0001_first.sql", "-- migrate:up\nSELECT 1;\n")
    assert read_migrations(tmp_path) == [
        Migration("0001", "first", "SELECT 1;\n"),
        Migration("0002", "second", "SELECT 2;\n"),
    ]


def test_the_down_section_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, "0001_first.sql", "-- migrate:up\nSELECT 1;\n\n-- migrate:down\nDROP TABLE events;\n")
    assert "DROP" not in read_migrations(tmp_path)[0].up


@pytest.mark.parametrize(
    "name", ["1_first.sql", "00001_first.sql", "first.sql", "0001.sql", "0001_a b.sql", "0001-first.sql"]
)
def test_a_file_with_another_name_is_rejected(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "-- migrate:up\nSELECT 1;\n")
    with pytest.raises(MigrationError, match=r"name it NNNN_name\.sql"):
        read_migrations(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "SELECT 1;\n", "  -- migrate:up\nSELECT 1;\n", "-- migrate:down\nSELECT 1;\n"]
)
def test_a_file_without_its_heading_is_rejected(tmp_path: Path, text: str) -> None:
    write(tmp_path, "0001_first.sql", text)
    with pytest.raises(MigrationError, match="start it with '-- migrate:up'"):
        read_migrations(tmp_path)


def test_other_files_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, "README.md", "-- migrate:up")
    assert read_migrations(tmp_path) == []


def test_our_migrations_are_numbered_without_gaps_and_without_squashed_numbers() -> None:
    versions = [migration.version for migration in read_migrations()]
    numbers = [*SQUASHED[:5], *(f"{number:04}" for number in range(15, 1_000))]
    assert versions == numbers[: len(versions)]
