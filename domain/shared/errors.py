"""Errors that reject a command. The docstring is the message; services/api/http/problems.py maps it to an HTTP status."""

from __future__ import annotations

from inspect import cleandoc
from typing import ClassVar


class Rejected(Exception):
    """The command was rejected."""

    slug: ClassVar[str] = "refused"

    def __init__(self, **details: object) -> None:
        self.details = details
        super().__init__(cleandoc(type(self).__doc__ or "").format(**details))


class Unknown(Rejected):
    """There is no {kind} {name!r}. Check the slug."""

    slug = "not-found"


class NotListedYet(Rejected):
    """The tool {tool!r} was not listed yet at that point in time. Ask for a later one."""

    slug = "not-found"


class UndecodableEvent(Rejected):
    """The log contains an event that this release cannot read: {error} Upgrade this process first: {data}"""

    slug = "not-understood"


class Retired(Rejected):
    """The tool {tool!r} is retired. Its page and history remain, but it accepts no votes, takes or revisions."""

    slug = "retired"


class RetiredReviewer(Rejected):
    """The reviewer {reviewer!r} is retired: earlier takes remain, new ones and revisions are refused. Restore the reviewer first."""

    slug = "retired"


class RevisionConflict(Rejected):
    """The {kind} {name!r} is at revision {revision}, not {expected}. Read it again and apply the change to that revision."""

    slug = "revision-moved"
