"""Progress of a long command on standard error: a bar on a terminal, else a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_SECONDS = 5.0
# What is done, of which total (None while it is unknown), and a text for both.
Update: TypeAlias = Callable[[int, int | None, str], None]


@contextmanager
def show_progress(
    *, title: str = "", quiet: bool = False, line_seconds: float = LINE_SECONDS
) -> Iterator[Update]:
    """Yields the function that shows an update. ``quiet`` leaves out the lines, not the bar."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console, title) as update:
            yield update
    elif quiet:
        yield lambda *_: None
    else:
        yield _lines(line_seconds)


@contextmanager
def _bar(console: Console, title: str) -> Iterator[Update]:
    text = TextColumn("{task.fields[text]}")
    columns = (TextColumn(title), BarColumn(), TaskProgressColumn(), text, TimeRemainingColumn())
    with Progress(*columns, console=console, refresh_per_second=4, transient=True) as progress:
        task = progress.add_task("", total=None, text="")
        yield lambda done, total, text: progress.update(task, completed=done, total=total, text=text)


def _lines(line_seconds: float) -> Update:
    started = printed = time.monotonic()

    def update(done: int, total: int | None, text: str) -> None:
        nonlocal printed
        now = time.monotonic()
        if now - printed >= line_seconds:
            printed = now
            click.echo(text + _remaining(done, total, now - started), err=True)

    return update


def _remaining(done: int, total: int | None, seconds: float) -> str:
    if not (done and total):
        return ""
    return f", {100 * done / total:.1f} %, {seconds * (total - done) / done:,.0f} s left"


def per_second(count: int, started: float) -> float:
    """The rate since ``started``, a time of the monotonic clock."""
    return count / max(time.monotonic() - started, 1e-6)
