"""The house's history, as verdicts read it: which tools there are, how takes changed, which rulebooks were adopted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial.adoptions import PRESETS_BY_DIGEST
from domain.events.editorial import (
    RulebookAdopted,
    RulebookWritten,
    TakePublished,
    TakeWithdrawn,
    ToolListed,
    ToolRetired,
    decode,
)
from domain.events.upcasts import family
from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import Unknown
from domain.shared.log import EDITORIAL
from domain.timeline.flips import LogOrder
from domain.timeline.timeline import RulebookChange, TakeChange
from projections.flips.editorial_changes import take_change

FAMILIES = [
    each.__name__
    for each in (ToolListed, ToolRetired, TakePublished, TakeWithdrawn, RulebookWritten, RulebookAdopted)
]
READ = """
SELECT recorded_at, position, tool, type, data FROM events
 WHERE shard = 0 AND position <= $1 AND split_part(type, '.', 1) = ANY ($2)
 ORDER BY position
"""


class EditorialHistory(Struct, frozen=True):
    """``tools`` are those that are listed and not retired; takes are theirs. In the order of the log."""

    tools: tuple[int, ...]
    takes: dict[int, list[TakeChange]]
    adoptions: tuple[RulebookChange, ...]


async def read_editorial_history(pool: Pool[Record], upto: int) -> EditorialHistory:
    """Raises UndecodableEvent for what a newer version wrote, and Unknown for a rulebook that nobody wrote."""
    return _fold(await pool.fetch(READ, upto, FAMILIES))


def _fold(rows: Iterable[Record]) -> EditorialHistory:
    tools = dict[int, None]()
    takes = defaultdict[int, list[TakeChange]](list)
    rulebooks = dict(PRESETS_BY_DIGEST)
    adoptions: list[RulebookChange] = []
    for recorded_at, position, tool, stored, data in rows:
        place, kind = LogOrder(recorded_at, EDITORIAL, position), family(stored)
        match decode(data, stored):
            case ToolListed():
                tools[tool] = None
            case ToolRetired():
                tools.pop(tool, None)
            case TakePublished() | TakeWithdrawn() as event:
                takes[tool].append(take_change(place, kind, event))
            case RulebookWritten(digest, rulebook):
                rulebooks[digest] = rulebook
            case RulebookAdopted(digest):
                adoptions.append(RulebookChange(place, kind, _known(digest, rulebooks)))
            case _:
                pass
    return EditorialHistory(tuple(sorted(tools)), takes, tuple(adoptions))


def _known(digest: str, rulebooks: Mapping[str, Rulebook]) -> Rulebook:
    if digest not in rulebooks:
        raise Unknown(kind="rulebook", name=digest)
    return rulebooks[digest]
