"""Every projection of the package `projections`, found by looking: a new read model is one new file."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import projections
from projections.engine.projection import Projection


def _found() -> dict[str, Projection]:
    modules = [
        import_module(f"projections.{each.name}")
        for each in iter_modules(projections.__path__)
        if not each.ispkg
    ]
    values = [value for module in modules for value in vars(module).values()]
    return {value.name: value for value in values if isinstance(value, Projection)}


PROJECTIONS: tuple[Projection, ...] = tuple(projection for _, projection in sorted(_found().items()))
