"""The groups that operations are listed in, one for each file of routes."""

from __future__ import annotations

from msgspec import Struct


class OperationGroup(Struct, frozen=True):
    name: str
    description: str


_VOTES = OperationGroup(
    "Votes", "Cast ship or skip on a tool, one vote or thousands at once; retract; read one's own."
)
_TALLIES = OperationGroup(
    "Tallies", "The current votes on tools, by hour and day, and live as server-sent events."
)
_FLIPS = OperationGroup(
    "Flips", "Verdicts that changed, with the event that caused it: a list and two feeds."
)

# In the order in which the document lists them.
_GROUPS = {
    "votes": _VOTES,
    "bulk": _VOTES,
    "bookmarks": OperationGroup("Bookmarks", "The private shelf of one person."),
    "tools": OperationGroup("Tools", "The catalogue: cards, and the editors' changes."),
    "categories": OperationGroup("Categories", "The categories that tools are listed in."),
    "reviewers": OperationGroup("Reviewers", "The panel: who judges tools."),
    "takes": OperationGroup("Takes", "Reviewers' judgements of tools."),
    "tallies": _TALLIES,
    "tally_stream": _TALLIES,
    "verdicts": OperationGroup(
        "Verdicts", "The label of a tool, the rule that decided it, and the proof of it."
    ),
    "flips": _FLIPS,
    "feeds": _FLIPS,
    "comparisons": OperationGroup("Comparisons", "Two tools side by side, and the winner."),
    "diff": OperationGroup("Diff", "What changed between two points of the log."),
    "rulebooks": OperationGroup("Rulebooks", "The rules that verdicts follow, and which was in force when."),
    "trials": OperationGroup("Trials", "A rulebook tried on the whole history before it is adopted."),
    "replays": OperationGroup("Replays", "Read models rebuilt from the log, and recounted."),
    "webhooks": OperationGroup("Webhooks", "Receivers of flips, and the deliveries to them."),
    "session": OperationGroup("Session", "Log-in of editors and reviewers."),
    "health": OperationGroup("Health", "Whether a process is up and can commit."),
}


def group_of(module: str, doc: str | None) -> OperationGroup:
    """The group of a route in ``module``. A file that is not listed above gets one from its name and docstring."""
    name = module.rpartition(".")[2]
    return _GROUPS.get(name) or OperationGroup(
        name.replace("_", " ").capitalize(), (doc or "").partition("\n")[0]
    )


def in_order(groups: set[OperationGroup]) -> list[OperationGroup]:
    listed = list(dict.fromkeys(_GROUPS.values()))
    return sorted(groups, key=lambda group: listed.index(group) if group in listed else len(listed))
