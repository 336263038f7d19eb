"""The oldest PostgreSQL that Shiplog supports, from Debian's package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from services.database import VERSION_MIN
from services.embedded.postgres import Postgres
from tests.support.instances import open_path_to

BIN = Path(f"/usr/lib/postgresql/{VERSION_MIN}/bin")


def require_oldest_postgres() -> None:
    """Skip the test where the package is missing. CI installs it."""
    if not (BIN / "postgres").exists():
        assert not os.environ.get("CI"), f"CI installs postgresql-{VERSION_MIN}: see .ci/run"
        pytest.skip(f"PostgreSQL {VERSION_MIN} is not installed: apt-get install postgresql-{VERSION_MIN}")


@contextmanager
def oldest_postgres() -> Iterator[Postgres]:
    """A server with a new cluster, in a folder that its user may enter: pytest's own are closed."""
    require_oldest_postgres()
    with TemporaryDirectory(prefix="oldest-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as folder:
        with pytest.MonkeyPatch.context() as environ:
            environ.setenv("SHIPLOG_POSTGRES_BIN", str(BIN))
            open_path_to(Path(folder))
            server = Postgres.start(Path(folder) / "data")
        yield server
        server.stop("immediate")
