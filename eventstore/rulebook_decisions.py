"""Adoptions in the log: decided on the house's history, under its head's lock."""

from __future__ import annotations

from functools import reduce

from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial.adoptions import INITIAL, Adoptions, Command, decide, evolve
from domain.events import editorial
from domain.shared.log import EDITORIAL
from eventstore.decisions import READ_EDITORIAL_HISTORY, Author, EditorialDecision, decide_editorial


class AdoptionResult(Struct, frozen=True):
    """What was decided, and how things stand after it."""

    decided: EditorialDecision
    state: Adoptions


async def decide_adoption(pool: Pool[Record], command: Command, author: Author) -> AdoptionResult:
    """Raises what ``decide`` refuses with."""
    async with pool.acquire() as conn:
        decided = await decide_editorial(
            conn, lambda past: decide(command, reduce(evolve, past, INITIAL)), author
        )
    return AdoptionResult(decided, reduce(evolve, [*decided.before, *decided.events], INITIAL))


async def read_state(pool: Pool[Record]) -> Adoptions:
    """How things stand, from the log itself."""
    rows = await pool.fetch(READ_EDITORIAL_HISTORY, EDITORIAL)
    return reduce(evolve, (editorial.decode(row[0], row[1]) for row in rows), INITIAL)
