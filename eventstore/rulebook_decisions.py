"""Decisions on adoptions of rulebooks."""

from __future__ import annotations

from functools import reduce

from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial.adoptions import INITIAL, Adoptions, Command, decide, evolve
from domain.events import editorial
from domain.shared.log import EDITORIAL
from eventstore.decisions import READ_EDITORIAL_HISTORY, Author, EditorialDecision, decide_editorial


class AdoptionResult(Struct, frozen=True):
    """``state`` is that after the decision."""

    decision: EditorialDecision
    state: Adoptions


async def decide_adoption(pool: Pool[Record], command: Command, author: Author) -> AdoptionResult:
    """Raises the errors of ``domain.editorial.adoptions.decide``."""
    async with pool.acquire() as conn:
        decision = await decide_editorial(
            conn, lambda history: decide(command, reduce(evolve, history, INITIAL)), author
        )
    return AdoptionResult(decision, reduce(evolve, [*decision.before, *decision.events], INITIAL))


async def read_state(pool: Pool[Record]) -> Adoptions:
    """The current state, folded from the log."""
    rows = await pool.fetch(READ_EDITORIAL_HISTORY, EDITORIAL)
    return reduce(evolve, (editorial.decode(row[0], row[1]) for row in rows), INITIAL)
