"""Registry: every Projection that a module of the package `projections` defines. A new read model is one new file."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import projections
from projections.engine.projection import Projection


class DuplicateName(Exception):
    """Two read models would share a table."""


def find_projections() -> tuple[Projection, ...]:
    """In order of their names. Raises DuplicateName."""
    found: dict[str, Projection] = {}
    for module in iter_modules(projections.__path__):
        if not module.ispkg:
            for value in vars(import_module(f"projections.{module.name}")).values():
                if isinstance(value, Projection) and found.setdefault(value.name, value) is not value:
                    raise DuplicateName(f"two read models are named {value.name}")
    return tuple(found[name] for name in sorted(found))


PROJECTIONS = find_projections()
