"""How sealing gets on: a bar on a terminal, else a line a segment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

# Positions done since the last time.
Show: TypeAlias = Callable[[int], None]


@contextmanager
def shown(positions: int, *, quiet: bool) -> Iterator[Show]:
    """``positions`` there are to seal. On a terminal, quiet or not."""
    console = Console(stderr=True)
    if console.is_terminal and positions:
        with _bar(console, positions) as show:
            yield show
    elif quiet:
        yield lambda _: None
    else:
        yield _lines(positions)


@contextmanager
def _bar(console: Console, positions: int) -> Iterator[Show]:
    events = TextColumn("{task.completed:,.0f} of {task.total:,.0f} events")
    columns = (BarColumn(), TaskProgressColumn(), events, TimeRemainingColumn())
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        task = progress.add_task("", total=positions)
        yield lambda done: progress.advance(task, done)


def _lines(positions: int) -> Show:
    started, done = time.monotonic(), 0

    def show(more: int) -> None:
        nonlocal done
        done += more
        rate = done / max(time.monotonic() - started, 1e-6)
        click.echo(f"{done:,} of {positions:,} events, {rate:,.0f} a second", err=True)

    return show
