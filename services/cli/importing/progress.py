"""How an import gets on: a bar on a terminal, else a line every few seconds and a last one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import rich_click as click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

_SECONDS = 5.0
# Bytes of the file, and lines, so far.
Show: TypeAlias = Callable[[int, int], None]


@contextmanager
def shown(size: int | None, *, quiet: bool) -> Iterator[Show]:
    """``size`` of the file in bytes, if it is known. On a terminal, quiet or not."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console, size) as show:
            yield show
    elif quiet:
        yield lambda *_: None
    else:
        yield _lines(size)


@contextmanager
def _bar(console: Console, size: int | None) -> Iterator[Show]:
    votes = TextColumn("{task.fields[votes]:,} votes, {task.fields[rate]:,.0f} a second")
    columns = (BarColumn(), TaskProgressColumn(), DownloadColumn(), votes, TimeRemainingColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task, started = progress.add_task("", total=size, votes=0, rate=0.0), time.monotonic()

        def show(read: int, votes: int) -> None:
            progress.update(task, completed=read, votes=votes, rate=votes / _since(started))

        yield show


def _lines(size: int | None) -> Show:
    started = said = time.monotonic()

    def show(read: int, votes: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SECONDS:
            said = time.monotonic()
            click.echo(_line(size, read, votes, _since(started)), err=True)

    return show


def _line(size: int | None, read: int, votes: int, seconds: float) -> str:
    line = f"{votes:,} votes, {votes / seconds:,.0f} a second"
    if not size:
        return f"{line}, {read:,} bytes"
    left = seconds * (size - read) / max(read, 1)
    return f"{line}, {100 * read / size:.1f} % of the file, {left:,.0f} s left"


def _since(started: float) -> float:
    return max(time.monotonic() - started, 1e-6)
