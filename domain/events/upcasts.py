"""Upcasts: an event of an old shape is read as one of the newest. One step a version, said once for each who reads.

In the log a type carries its version from the second on: ``TakePublished``, then ``TakePublished.2``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

Data: TypeAlias = "dict[str, object]"
Engine: TypeAlias = Literal["postgres", "duckdb"]


class Upcaster(Struct, frozen=True):
    """From ``version`` of the type ``name`` to the next one, which exists because this step does.

    ``decider`` makes the new data for deciding; ``postgres`` and ``duckdb`` say the same for folding, as expressions in
    which ``{data}`` is the old data, a JSON object.
    """

    name: str
    version: int
    decider: Callable[[Data], Data]
    postgres: str
    duckdb: str

    def expression(self, engine: Engine, data: str) -> str:
        return (self.postgres if engine == "postgres" else self.duckdb).replace("{data}", f"({data})")


def family(stored: str) -> str:
    """``TakePublished.2`` is of the family ``TakePublished``."""
    return stored.partition(".")[0]


def stored_as(name: str, version: int) -> str:
    return name if version == 1 else f"{name}.{version}"


def newest(name: str, upcasters: Sequence[Upcaster]) -> int:
    """The newest version that this software reads, and the one it writes."""
    return 1 + max((each.version for each in upcasters if each.name == name), default=0)


def stored_names(name: str, upcasters: Sequence[Upcaster]) -> list[str]:
    """Every way in which the log has this type that this software reads, oldest first."""
    return [stored_as(name, version) for version in range(1, newest(name, upcasters) + 1)]


def steps(stored: str, upcasters: Sequence[Upcaster]) -> list[Upcaster]:
    """What makes the newest shape of this one, in order; none for the newest, and for what is not read."""
    mine = sorted((each for each in upcasters if each.name == family(stored)), key=lambda each: each.version)
    names = [stored_as(each.name, each.version) for each in mine]
    return mine[names.index(stored) :] if stored in names else []


def upcast(stored: str, data: Data, upcasters: Sequence[Upcaster]) -> Data:
    for step in steps(stored, upcasters):
        data = step.decider(data)
    return data


def upcast_expression(stored: str, upcasters: Sequence[Upcaster], engine: Engine) -> str:
    """The newest shape of the column ``data`` of this type."""
    expression = "data"
    for step in steps(stored, upcasters):
        expression = step.expression(engine, expression)
    return expression
