"""Why a command is refused. The docstring is the message; HTTP gives it a status in services/api/http/problems.py."""

from __future__ import annotations

from inspect import cleandoc
from typing import ClassVar


class Rejected(Exception):
    """The command was refused."""

    slug: ClassVar[str] = "refused"

    def __init__(self, **details: object) -> None:
        self.details = details
        super().__init__(cleandoc(type(self).__doc__ or "").format(**details))


class Unknown(Rejected):
    """There is no {kind} {name!r}. Check the slug."""

    slug = "not-found"


class NotListedYet(Rejected):
    """The tool {tool!r} was not listed yet at that moment. Ask for a later one."""

    slug = "not-found"


class UndecodableEvent(Rejected):
    """The log holds an event that this version does not know: {error} Upgrade this process first: {data}"""

    slug = "not-understood"


class Retired(Rejected):
    """The tool {tool!r} is retired. Its page and history stay; it takes no votes, takes or revisions."""

    slug = "retired"


class RevisionConflict(Rejected):
    """The tool {tool!r} is at revision {revision}, not {expected}. Read it again and send the change on top."""

    slug = "revision-moved"
