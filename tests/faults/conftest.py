"""Faults: how many, and a whole instance of two API processes and two workers to inflict them on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instances import Instance, start_instance
from tests.support.ports import free_ports


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="Faults in the numbers that PROMISES.md states.")


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """Times that a fault is inflicted: 3, or 25 with --full or SHIPLOG_FAULTS=full."""
    full = pytestconfig.getoption("full", default=False) or os.environ.get("SHIPLOG_FAULTS") == "full"
    return 25 if full else 3


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Instance]:
    with start_instance(tmp_path / "data", "--api", "2", "--workers", "2", port=free_ports()) as running:
        yield running


@pytest.fixture
def seed() -> int:
    """A new one every time, unless SHIPLOG_SEED says which."""
    return int(os.environ.get("SHIPLOG_SEED") or int.from_bytes(os.urandom(4)))
