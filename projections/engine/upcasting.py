"""Reading: `events` as folds are shown them. Old shapes are upcast, and what is parked can be left out.

As long as no type has an upcaster, statements are what they would be without this.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.events import editorial
from domain.events.upcasts import Engine, newest, stored_as, stored_names, upcast_expression

COLUMNS = "position, recorded_at, actor, id, tool, shard"
PARKED = (
    "SELECT position FROM public.parked_events AS parked WHERE parked.shard = events.shard AND projection = "
)


def with_upcasts(statement: str) -> str:
    """A statement in which ``public.events`` has every event in its newest shape, under its type's bare name."""
    return statement.replace("public.events", upcast_events("public.events", "postgres"))


def with_events(query: str) -> str:
    """A query of the live state that may look at ``events``, which are then upcast too."""
    return (
        with_upcasts(f"WITH events AS (SELECT * FROM public.events) {query}")
        if editorial.UPCASTERS
        else query
    )


def upcast_events(source: str, engine: Engine) -> str:
    """``source`` itself where no type has an upcaster."""
    families = sorted({each.name for each in editorial.UPCASTERS})
    if not families:
        return source
    return f"""(
        SELECT {COLUMNS}, CASE {_types(families)} ELSE type END AS type, choice, replaced, origin, replaced_at,
               CASE type {_shapes(families, engine)} ELSE data END AS data
          FROM {source})"""


def _types(families: Sequence[str]) -> str:
    """Only what can be read gets the bare name."""
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
    """What a definition's digest has to know of them: nothing while there are none."""
    mine = [each for each in editorial.UPCASTERS if each.name in families]
    return "".join(f"{each.name}.{each.version} {each.postgres}" for each in mine).encode()


def excluding_parked(events: str, name: str) -> str:
    """``name AS (SELECT ...)`` without the events that this read model has parked.

    Looked at apart (OFFSET 0), so that no expression of a fold is tried on an event before it is left out.
    """
    begun, _, rest = events.partition("AS (")
    inner = rest.rstrip().removesuffix(")")
    return f"""{begun}AS (
        SELECT * FROM ({inner}) AS events
         WHERE NOT EXISTS ({PARKED}'{name}' AND parked.position = events.position) OFFSET 0)"""


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
