"""What others would build or take instead, measured beside ours on the same machine and as durably."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from rich.progress import Progress

from benchmarks.measured import Measure
from benchmarks.peers import emmett, fastapi_sqlalchemy, message_db, pgbench, pyeventsourcing
from benchmarks.peers.database import open_postgres
from benchmarks.peers.packages import NotHere
from benchmarks.peers.peer import Peer, Setting

PEERS = (pgbench.PEER, fastapi_sqlalchemy.PEER, *pyeventsourcing.PEERS, message_db.PEER, emmett.PEER)
TRIAL = 0.25


class Peers(Struct, frozen=True):
    """By name: how to measure each once, how each is run, and why the others are not run."""

    measures: dict[str, Measure]
    settings: dict[str, str]
    not_run: dict[str, str]


@asynccontextmanager
async def open_peers(
    folder: Path, progress: Progress, scale: float = 1.0, peers: Sequence[Peer] = PEERS
) -> AsyncIterator[Peers]:
    """Sets up every peer whose needs are met and finds its fastest setting; raises Lost if one loses votes.

    Packages are kept in `.bench/` of the checkout, everything else below `folder`.
    """
    found = Peers({}, {}, {})
    task = progress.add_task("peers", total=len(peers))
    with open_postgres(folder) as postgres:
        for peer in peers:
            progress.update(task, description=f"setting up {peer.name}")
            try:
                settings = await peer.prepare(postgres)
            except NotHere as reason:
                found.not_run[peer.name] = str(reason)
            else:
                best = await _fastest(peer, settings, scale)
                found.measures[peer.name] = partial(best.run, _votes(peer, scale))
                found.settings[peer.name] = best.words
            progress.advance(task)
        progress.update(task, description="peers are set up")
        yield found


async def _fastest(peer: Peer, settings: Sequence[Setting], scale: float) -> Setting:
    """By one short run of each; the first run of all only warms up."""
    await settings[0].run(_votes(peer, scale * TRIAL))
    rates = [(await setting.run(_votes(peer, scale * TRIAL))).rate for setting in settings]
    return settings[rates.index(max(rates))]


def _votes(peer: Peer, scale: float) -> int:
    return max(300, int(peer.votes * scale))
