"""Alternatives to Shiplog, measured in the same run on the same machine, with the same durability."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct
from rich.progress import Progress

from benchmarks.measurement import Measure
from benchmarks.peers import emmett, fastapi_sqlalchemy, message_db, pgbench, pyeventsourcing
from benchmarks.peers.database import open_postgres
from benchmarks.peers.packages import Unavailable
from benchmarks.peers.peer import Peer, Setting

PEERS = (pgbench.PEER, fastapi_sqlalchemy.PEER, *pyeventsourcing.PEERS, message_db.PEER, emmett.PEER)
TRIAL_SCALE = 0.25  # of a peer's votes, for each setting that is tried


class Peers(Struct, frozen=True):
    """By peer's name: its measure, its fastest setting, and why it cannot be run."""

    measures: dict[str, Measure]
    settings: dict[str, str]
    not_run: dict[str, str]


@asynccontextmanager
async def open_peers(
    folder: Path, progress: Progress, scale: float = 1.0, peers: Sequence[Peer] = PEERS
) -> AsyncIterator[Peers]:
    """Set up every peer that can run here and find its fastest setting. Raises VotesLost if a peer loses votes.

    Packages are installed in `.bench/` of the checkout; everything else is below `folder`.
    """
    result = Peers({}, {}, {})
    task = progress.add_task("peers", total=len(peers))
    with open_postgres(folder) as postgres:
        for peer in peers:
            progress.update(task, description=f"setting up {peer.name}")
            try:
                settings = await peer.prepare(postgres)
            except Unavailable as reason:
                result.not_run[peer.name] = str(reason)
            else:
                best = await _fastest(peer, settings, scale)
                result.measures[peer.name] = partial(best.run, _votes(peer, scale))
                result.settings[peer.name] = best.description
            progress.advance(task)
        progress.update(task, description="peers are set up")
        yield result


async def _fastest(peer: Peer, settings: Sequence[Setting], scale: float) -> Setting:
    """The fastest in a short run of each. One run before is a warm-up."""
    await settings[0].run(_votes(peer, scale * TRIAL_SCALE))
    rates = [(await setting.run(_votes(peer, scale * TRIAL_SCALE))).rate for setting in settings]
    return settings[rates.index(max(rates))]


def _votes(peer: Peer, scale: float) -> int:
    return max(300, int(peer.votes * scale))
