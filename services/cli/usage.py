"""A rejected command as an error of the command line, which names the command that lists what there is."""

from __future__ import annotations

import rich_click as click

from domain.shared.errors import Rejected, Unknown

_LISTED_BY = {
    "read model": "shiplog status",
    "reviewer": "shiplog reviewers list",
    "rulebook": "shiplog rulebooks",
}


def usage_error(rejected: Rejected) -> click.UsageError:
    kind, name = (str(rejected.details.get(each)) for each in ("kind", "name"))
    if isinstance(rejected, Unknown) and kind in _LISTED_BY:
        return click.UsageError(f"There is no {kind} {name!r}. `{_LISTED_BY[kind]}` shows all.")
    return click.UsageError(str(rejected))
