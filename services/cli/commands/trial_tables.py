"""Tables of trials on a terminal: totals, and each tool under each rulebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from domain.rulebooks.rulebook import Rulebook
from domain.shared.plurals import count_of
from domain.timeline.trials import ScenarioResult, ToolComparison, Totals, Trial
from domain.verdicts.verdict import Margin

ROWS_SHOWN_MAX = 25
_WIDTH_WITHOUT_TERMINAL = 160  # characters


class TrialTableRow(Protocol):
    @property
    def rulebook(self) -> Rulebook: ...
    @property
    def against(self) -> Rulebook: ...
    @property
    def totals(self) -> Totals: ...
    @property
    def seconds(self) -> float: ...
    @property
    def trial(self) -> Trial: ...


def print_tables(
    position: str, slugs: Mapping[int, str], tried: Sequence[TrialTableRow], *, everything: bool
) -> None:
    """Print only tools that change, most flips first, unless ``everything`` is set."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    against, events = tried[0].against.name, tried[0].trial.events
    console.print(f"Against {against}, over {count_of(events, 'event')} up to {position}", highlight=False)
    console.print(_totals(tried), highlight=False)
    rows = list(zip(*(each.trial.tools for each in tried), strict=True))
    chosen = rows if everything else [row for row in rows if any(map(_changes, row))]
    chosen.sort(key=lambda row: (-sum(each.flips_now for each in row), -max(map(_moved, row)), row[0].tool))
    shown = chosen if everything else chosen[:ROWS_SHOWN_MAX]
    if shown:
        console.print(_tools(slugs, tried, shown), highlight=False)
    if len(shown) < len(chosen):
        console.print(f"{len(chosen) - len(shown):,} more tools change; --all shows them")


def _totals(tried: Sequence[TrialTableRow]) -> Table:
    table = Table("rulebook", "flip now", "flips in history", "in force", "rank moves", "disagree", "seconds")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in tried:
        totals = each.totals
        counts = (
            totals.flips_now,
            totals.flips,
            totals.flips_in_force,
            totals.rank_moves,
            totals.disagreements,
        )
        name = escape(each.rulebook.name)
        table.add_row(name, *(f"{count:,}" for count in counts), f"{each.seconds:.1f}")
    return table


def _tools(
    slugs: Mapping[int, str], tried: Sequence[TrialTableRow], rows: Sequence[tuple[ToolComparison, ...]]
) -> Table:
    table = Table("tool", "in force")
    for each in tried:
        table.add_column(escape(each.rulebook.name))
        for part in ("margin", "flips", "rank"):
            table.add_column(part, justify="right")
    for row in rows:
        cells = [cell for each in row for cell in _cells(each)]
        mark = " (!)" if any(each.panel_and_crowd_differ for each in row) else ""
        table.add_row(escape(slugs.get(row[0].tool, str(row[0].tool))) + mark, row[0].in_force.label, *cells)
    table.caption = "(!): panel and community disagree. Margin: the fewest votes or takes whose removal would flip the verdict. Flips: their number, and the date of the last."
    return table


def _cells(each: ToolComparison) -> tuple[str, str, str, str]:
    before, after = each.in_force, each.tried
    label = f"[bold]-> {after.label}[/]" if each.flips_now else after.label
    moved = f"{before.rank} -> {after.rank}" if before.rank != after.rank else str(after.rank)
    return label, _margin(after.margin), _flips(after), moved


def _margin(margin: Margin) -> str:
    ways = [(margin.votes, "vote"), (margin.takes, "take")]
    return ", ".join(count_of(n, what) for n, what in ways if n is not None) or "none"


def _flips(tried: ScenarioResult) -> str:
    if not tried.flips:
        return "0"
    return f"{len(tried.flips)}, {tried.flips[-1].order.recorded_at:%Y-%m-%d}"


def _changes(each: ToolComparison) -> bool:
    return each.flips_now or each.panel_and_crowd_differ or _moved(each) > 0


def _moved(each: ToolComparison) -> int:
    return abs(each.in_force.rank - each.tried.rank)
