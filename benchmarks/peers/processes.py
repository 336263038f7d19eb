"""Processes of the peers' programs, which end with the block."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.peers.database import RunResult

LISTEN_TIMEOUT_SECONDS = 30
END_TIMEOUT_SECONDS = 10


async def run_json(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> RunResult:
    """Runs a program that prints a RunResult as JSON."""
    return msgspec.json.decode(await output_of(command, folder, environment), type=RunResult)


async def output_of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> bytes:
    async with _process(command, folder, environment) as process:
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
        return output


@asynccontextmanager
async def serving_on(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[None]:
    async with _process(command, folder, environment) as process:
        await _wait_for(port, process)
        yield


@asynccontextmanager
async def _process(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=os.environ | dict(environment),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_TIMEOUT_SECONDS)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _wait_for(port: int, process: Process) -> None:
    deadline = time.monotonic() + LISTEN_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise RuntimeError(f"nothing listens on port {port} after {LISTEN_TIMEOUT_SECONDS} s")
