"""SQL statements that are too long for a constant, each in a .sql file beside the module that runs it."""

from __future__ import annotations

from pathlib import Path


def read_sql(module: str, name: str) -> str:
    """The text of ``name``.sql beside the module with this ``__file__``."""
    return Path(module).with_name(f"{name}.sql").read_text(encoding="utf-8")
