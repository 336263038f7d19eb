"""Upcasting in SQL: folds see every event in its newest shape. Parked events can be excluded too.

While no type has an upcaster, statements are not changed.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.events import editorial
from domain.events.upcasts import Engine, newest, stored_as, stored_names, upcast_expression

UNCHANGED_COLUMNS = "position, recorded_at, actor, id, tool, shard"
PARKED_POSITIONS = (
    "SELECT position FROM public.parked_events AS parked WHERE parked.shard = events.shard AND projection = "
)


def with_upcasts(statement: str) -> str:
    """The statement with ``public.events`` upcast: every event in its newest shape, its type without a version."""
    return statement.replace("public.events", upcast_events("public.events", "postgres"))


def with_events(query: str) -> str:
    """The query with ``events``, if it reads them, upcast."""
    return (
        with_upcasts(f"WITH events AS (SELECT * FROM public.events) {query}")
        if editorial.UPCASTERS
        else query
    )


def upcast_events(source: str, engine: Engine) -> str:
    """A relation with the upcast events of ``source``; ``source`` itself while no type has an upcaster."""
    families = sorted({each.name for each in editorial.UPCASTERS})
    if not families:
        return source
    return f"""(
        SELECT {UNCHANGED_COLUMNS}, CASE {_types(families)} ELSE type END AS type, choice, replaced, origin, replaced_at,
               CASE type {_shapes(families, engine)} ELSE data END AS data
          FROM {source})"""


def _types(families: Sequence[str]) -> str:
    """Only versions that can be read lose their version; a newer one keeps it."""
    return " ".join(
        f"WHEN type IN ({quoted(stored_names(name, editorial.UPCASTERS))}) THEN '{name}'" for name in families
    )


def _shapes(families: Sequence[str], engine: Engine) -> str:
    old = [
        stored_as(name, version)
        for name in families
        for version in range(1, newest(name, editorial.UPCASTERS))
    ]
    return " ".join(
        f"WHEN '{each}' THEN {upcast_expression(each, editorial.UPCASTERS, engine)}" for each in old
    )


def upcasts_of(families: Sequence[str]) -> bytes:
    """The upcasters of these families as part of a definition's digest; empty while there are none."""
    upcasters = [each for each in editorial.UPCASTERS if each.name in families]
    return "".join(f"{each.name}.{each.version} {each.postgres}" for each in upcasters).encode()


def excluding_parked(events: str, name: str) -> str:
    """``events AS (SELECT ...)`` without the events that the read model ``name`` has parked.

    OFFSET 0 keeps the planner from evaluating expressions of the fold on an event before it is excluded.
    """
    opening, _, rest = events.partition("AS (")
    inner = rest.rstrip().removesuffix(")")
    return f"""{opening}AS (
        SELECT * FROM ({inner}) AS events
         WHERE NOT EXISTS ({PARKED_POSITIONS}'{name}' AND parked.position = events.position) OFFSET 0)"""


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
