"""Upcasts: readers see an event of an older version in the newest one. One upcaster per version step.

From the second version on, the stored type carries its version: ``TakePublished``, then ``TakePublished.2``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

Data: TypeAlias = "dict[str, object]"
Engine: TypeAlias = Literal["postgres", "duckdb"]


class Upcaster(Struct, frozen=True):
    """From ``version`` of the type ``name`` to the next version.

    ``decider`` converts the data for deciders, in Python; ``postgres`` and ``duckdb`` convert it for folds, as SQL
    expressions of ``{data}``, the older data as a JSON object.
    """

    name: str
    version: int
    decider: Callable[[Data], Data]
    postgres: str
    duckdb: str

    def expression(self, engine: Engine, data: str) -> str:
        return (self.postgres if engine == "postgres" else self.duckdb).replace("{data}", f"({data})")


def family(stored: str) -> str:
    """The type without its version: ``TakePublished`` of ``TakePublished.2``."""
    return stored.partition(".")[0]


def stored_as(name: str, version: int) -> str:
    return name if version == 1 else f"{name}.{version}"


def newest(name: str, upcasters: Sequence[Upcaster]) -> int:
    """The newest version this release reads, which is the one it writes."""
    return 1 + max((each.version for each in upcasters if each.name == name), default=0)


def stored_names(name: str, upcasters: Sequence[Upcaster]) -> list[str]:
    """The stored types of all versions this release reads, oldest first."""
    return [stored_as(name, version) for version in range(1, newest(name, upcasters) + 1)]


def steps(stored: str, upcasters: Sequence[Upcaster]) -> list[Upcaster]:
    """The upcasters from this version to the newest, in order. Empty for the newest version, and for one this release cannot read."""
    of_family = sorted(
        (each for each in upcasters if each.name == family(stored)), key=lambda each: each.version
    )
    names = [stored_as(each.name, each.version) for each in of_family]
    return of_family[names.index(stored) :] if stored in names else []


def upcast(stored: str, data: Data, upcasters: Sequence[Upcaster]) -> Data:
    for step in steps(stored, upcasters):
        data = step.decider(data)
    return data


def upcast_expression(stored: str, upcasters: Sequence[Upcaster], engine: Engine) -> str:
    """SQL for the newest version of the column ``data`` of this stored type."""
    expression = "data"
    for step in steps(stored, upcasters):
        expression = step.expression(engine, expression)
    return expression
