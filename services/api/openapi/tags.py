"""The groups that operations are listed in, one for each file of routes."""

from __future__ import annotations

from msgspec import Struct


class Tag(Struct, frozen=True):
    name: str
    description: str


_VOTES = Tag("Votes", "Cast ship or skip on a tool, one vote or thousands at once; retract; read one's own.")
_TALLIES = Tag("Tallies", "The current votes on tools, by hour and day, and live as server-sent events.")
_FLIPS = Tag("Flips", "Verdicts that changed, with the event that caused it: a list and two feeds.")

# In the order in which the document lists them.
_GROUPS = {
    "votes": _VOTES,
    "bulk": _VOTES,
    "bookmarks": Tag("Bookmarks", "The private shelf of one person."),
    "tools": Tag("Tools", "The catalogue: cards, and the editors' changes."),
    "categories": Tag("Categories", "The categories that tools are listed in."),
    "reviewers": Tag("Reviewers", "The panel: who judges tools."),
    "takes": Tag("Takes", "Reviewers' judgements of tools."),
    "tallies": _TALLIES,
    "tally_stream": _TALLIES,
    "verdicts": Tag("Verdicts", "The label of a tool, the rule that decided it, and the proof of it."),
    "flips": _FLIPS,
    "feeds": _FLIPS,
    "comparisons": Tag("Comparisons", "Two tools side by side, and the winner."),
    "diff": Tag("Diff", "What changed between two points of the log."),
    "rulebooks": Tag("Rulebooks", "The rules that verdicts follow, and which was in force when."),
    "trials": Tag("Trials", "A rulebook tried on the whole history before it is adopted."),
    "replays": Tag("Replays", "Read models rebuilt from the log, and recounted."),
    "webhooks": Tag("Webhooks", "Receivers of flips, and the deliveries to them."),
    "session": Tag("Session", "Log-in of editors and reviewers."),
    "health": Tag("Health", "Whether a process is up and can commit."),
}


def group_of(module: str, doc: str | None) -> Tag:
    """The group of a route in ``module``. A file that is not listed above gets one from its name and docstring."""
    name = module.rpartition(".")[2]
    return _GROUPS.get(name) or Tag(name.replace("_", " ").capitalize(), (doc or "").partition("\n")[0])


def in_order(groups: set[Tag]) -> list[Tag]:
    listed = list(dict.fromkeys(_GROUPS.values()))
    return sorted(groups, key=lambda group: listed.index(group) if group in listed else len(listed))
