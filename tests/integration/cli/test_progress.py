"""Progress of commands: plain lines without a terminal, a bar on one."""

from __future__ import annotations

import pytest
from rich.console import Console

from services.cli import progress
from services.cli.progress import show_progress


def test_without_a_terminal_it_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(line_seconds=0) as update:
        update(0, 200, "0 of 200 events")
        update(50, 200, "50 of 200 events")
        update(60, None, "60 events")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "0 of 200 events"
    assert lines[1].startswith("50 of 200 events, 25.0 %, ")
    assert lines[1].endswith(" s left")
    assert lines[2] == "60 events"


def test_lines_are_printed_every_few_seconds_only(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as update:
        update(50, 200, "50 of 200 events")
    assert capsys.readouterr().err == ""


def test_quiet_leaves_out_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=True, line_seconds=0) as update:
        update(50, 200, "50 of 200 events")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(stderr=stderr, force_terminal=True, width=120)
    )
    with show_progress(title="four-in-five", quiet=True) as update:
        update(50, 200, "50 of 200 events")
    shown = capsys.readouterr().err
    assert all(text in shown for text in ("four-in-five", "25%", "50 of 200 events"))
