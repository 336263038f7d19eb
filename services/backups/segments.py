"""Sealed segments of a log that was replaced: they are set aside, and workers seal the restored log again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def set_segments_aside(folder: Path | None) -> Path | None:
    """Move the segments of every shard below a folder whose name begins with a dot, which nothing reads. None if there are none.

    After an older restore, positions are used again, and a segment of the log that was replaced could be taken for history.
    """
    shards = [path for path in folder.glob("[!.]*") if path.is_dir()] if folder and folder.is_dir() else []
    if not folder or not shards:
        return None
    aside = folder / f".replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside.mkdir()
    for shard in shards:
        shard.rename(aside / shard.name)
    return aside
