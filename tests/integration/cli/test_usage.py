"""The command used wrongly: one line that says what to do, and exit status 2."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.instances import COMMAND

MISUSES = {
    ("status", "--data", "no such"): "There is no instance in the folder no such: start one with `shiplog up`, or set DATABASE_URL.",
    ("users", "create", "bob"): "Missing option '--role'. Choose from: editor, reviewer. Help: shiplog users create --help",
    ("users", "lst"): "No such command 'lst'. Did you mean 'list'? Help: shiplog users --help",
    ("import", "votes", "nofile"): "Invalid value for 'FILE': File 'nofile' does not exist. Help: shiplog import votes --help",
    ("verdict", "a", "b"): "Got unexpected extra argument (b). Help: shiplog verdict --help",
    ("users", "list", "--data", "."): "There is no instance in the folder .: start one with `shiplog up`, or set DATABASE_URL.",
    ("replay", "tallly", "--data", "/dev/null/x"): "There is no instance in the folder /dev/null/x: start one with `shiplog up`, or set DATABASE_URL.",
    ("up", "--port", "0", "--data", "/dev/null/x"): "/dev/null/x: Not a directory. Check the path, and that you may use it.",
    ("verdict", "a", "--rulebook", "no.toml"): "no.toml: No such file or directory. Check the path, and that you may use it.",
    ("backup", "nowhere/b.zip"): "There is no folder {folder}/nowhere. Create it first.",
}  # fmt: skip


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", MISUSES, ids=" ".join)
def test_a_misuse_is_told_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(tmp_path, *words)
    line = MISUSES[words].format(folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"shiplog: {line}\n")


def test_the_version_is_printed(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"shiplog, version {version('shiplog-server')}\n"), (
        done.stderr
    )


def test_a_missing_subcommand_shows_the_help(tmp_path: Path) -> None:
    done = run(tmp_path, "users")
    assert done.returncode == 2
    assert "sessions" in done.stdout
