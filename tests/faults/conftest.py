"""Fault injection: the number of faults, and an instance with two API processes and two workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instances import Instance, start_instance
from tests.support.ports import free_ports


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="Inject each fault 25 times instead of 3.")


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """How often a fault is injected: 3 times, or 25 with --full or SHIPLOG_FAULTS=full."""
    full = pytestconfig.getoption("full", default=False) or os.environ.get("SHIPLOG_FAULTS") == "full"
    return 25 if full else 3


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Instance]:
    with start_instance(tmp_path / "data", "--api", "2", "--workers", "2", port=free_ports()) as running:
        yield running


@pytest.fixture
def seed() -> int:
    """SHIPLOG_SEED, or a new seed for each run."""
    return int(os.environ.get("SHIPLOG_SEED") or int.from_bytes(os.urandom(4)))
