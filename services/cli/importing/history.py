"""A history: a file or pipe of votes, read in chunks until it ends or a signal stops it."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from asyncio import Future
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from services.ingest.decompression import LineBuffer, decompressor_for, encoding_of

_CHUNK_BYTES = 128 * 1024
_MAGIC_BYTES_MAX = 4  # needed to recognise the encoding


class History:
    """``size`` and ``modified_ms`` are None for a pipe. ``read`` counts bytes, before decompression."""

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.is_file = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self.is_file else None
        self.modified_ms = status.st_mtime_ns // 1_000_000 if self.is_file else None
        self.read = 0
        self.stopped_by: int | None = None
        self._descriptor = descriptor
        self._waiting: Future[None] | None = None

    def stop(self, number: int) -> None:
        """Stop reading because of signal ``number``; ``blocks`` ends."""
        self.stopped_by = number
        self._wake()

    async def blocks(self) -> AsyncIterator[bytes]:
        """Whole lines. Raises CorruptData."""
        decompressor, lines = None, LineBuffer()
        async for piece in self._chunks():
            decompressor = decompressor or decompressor_for(encoding_of(piece))
            for decompressed in decompressor.decompress(piece):
                yield lines.add(decompressed)
                if self.stopped_by:
                    return
        if decompressor and not self.stopped_by:
            decompressor.finish()
            yield lines.flush()

    async def _chunks(self) -> AsyncIterator[bytes]:
        head = b""
        while not self.stopped_by and (piece := await self._read_chunk()):
            head += piece
            if len(head) >= _MAGIC_BYTES_MAX:
                yield head
                head = b""
        if head:
            yield head

    async def _read_chunk(self) -> bytes:
        await self._until_readable()
        piece = b"" if self.stopped_by else os.read(self._descriptor, _CHUNK_BYTES)
        self.read += len(piece)
        return piece

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        try:
            loop.add_reader(self._descriptor, self._wake)
        except PermissionError:  # files and /dev/null are always readable
            return await asyncio.sleep(0)
        try:
            await self._waiting
        finally:
            loop.remove_reader(self._descriptor)

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)


@contextmanager
def open_history(path: str) -> Iterator[History]:
    """A file, or standard input for ``-``."""
    if path == "-":
        yield History(sys.stdin.fileno())
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield History(descriptor)
    finally:
        os.close(descriptor)
