"""One `shiplog up` per data folder: a second one would stop the databases of the first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from services.embedded.binaries import ServerError
from services.embedded.daemon import AlreadyRunning, claim_lock, holder

LOCK = "up.lock"


def is_held(data: Path) -> bool:
    """Whether a `shiplog up` runs on the folder."""
    return holder(data / LOCK) is not None


@contextmanager
def hold_data(data: Path) -> Iterator[int]:
    """Hold the folder; returns the descriptor of its lock. After kill -9 of the last holder, waits for its children to end."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    close_to_others(data)
    path = data / LOCK
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(claim_lock(path))
        except AlreadyRunning:
            running = holder(path)
            raise ServerError(
                f"shiplog up runs on {data} already, as process {running.pid if running else '?'}. "
                "Stop it first, or choose another --data."
            ) from None
        os.pwrite(lock, f"{os.getpid()} 0\n".encode(), 0)
        yield lock


def close_to_others(data: Path) -> None:
    """Secrets, the log and the segments are for the user who runs Shiplog. Earlier releases created the folder with 0755.

    Root's servers run as `nobody`, who needs no access to the folder only where /proc leads to a working directory.
    """
    if os.geteuid() != 0 or Path("/proc/self/cwd").exists():
        with suppress(PermissionError):
            data.chmod(0o700)
