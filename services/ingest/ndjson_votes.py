"""Votes as NDJSON, decoded in blocks of lines. Blank lines are skipped, rejected lines are listed by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from domain.shared.types import Choice
from domain.voting.identifiers import VOTER_BYTES_MAX
from services.ingest import strict_json
from services.ingest.decompression import LINE_BYTES_MAX

_FIELDS = (b'"tool"', b'"choice"', b'"voter"')
_STEP_BYTES = 16 * 1024  # split into lines at a time
_STEP_LINES = 256  # decoded in one step when a block holds more than plain votes
_DECODED_ONE_BY_ONE_MAX = 16  # lines; larger blocks with a bad line among them are halved


class VoteLine(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    tool: str
    choice: Choice
    voter: Annotated[str, Meta(min_length=1, max_length=VOTER_BYTES_MAX)]
    id: UUID | None = None


class BadLine(Struct, frozen=True):
    """``line`` counts from 1."""

    line: int
    type: str
    detail: str


class DecodedLines(Struct):
    """The votes of a block with their line numbers, and the lines that are not votes."""

    numbers: list[int] = []
    votes: list[VoteLine] = []
    bad: list[BadLine] = []

    def reject(self, number: int, slug: str, detail: str) -> None:
        self.bad.append(BadLine(number, f"urn:shiplog:{slug}", detail))


def count_lines(block: bytes) -> int:
    return block.count(b"\n") + (not block.endswith(b"\n"))


def decode(block: bytes, first: int) -> Iterator[DecodedLines]:
    """Decodes whole lines in steps of some milliseconds; ``first`` is the number of the first."""
    votes = _decode_plain(block, count_lines(block))
    if votes is not None:
        yield DecodedLines(list(range(first, first + len(votes))), votes)
    elif not block.isspace():
        lines: list[tuple[int, bytes]] = []
        for part in _parts(block):
            lines += [
                (n, line) for n, line in enumerate(part.split(b"\n"), first) if line and not line.isspace()
            ]
            first += part.count(b"\n")
            while len(lines) >= _STEP_LINES:
                yield _decode_step(lines[:_STEP_LINES])
                del lines[:_STEP_LINES]
        if lines:
            yield _decode_step(lines)


def _parts(block: bytes) -> Iterator[bytes]:
    """The block in parts of whole lines."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start + _STEP_BYTES) + 1 or len(block)
        yield block[start:end]
        start = end


def _decode_step(lines: Sequence[tuple[int, bytes]]) -> DecodedLines:
    decoded = DecodedLines()
    _decode_halves(decoded, lines)
    return decoded


def _decode_halves(decoded: DecodedLines, lines: Sequence[tuple[int, bytes]]) -> None:
    """Bisects the numbered lines until a half decodes as a whole; a few lines are decoded one by one."""
    votes = _decode_plain(b"\n".join([line for _, line in lines]), len(lines))
    if votes is not None:
        decoded.numbers += [number for number, _ in lines]
        decoded.votes += votes
    elif len(lines) <= _DECODED_ONE_BY_ONE_MAX:
        for number, line in lines:
            _decode_line(decoded, number, line)
    else:
        middle = len(lines) // 2
        _decode_halves(decoded, lines[:middle])
        _decode_halves(decoded, lines[middle:])


def _decode_line(decoded: DecodedLines, number: int, line: bytes) -> None:
    if len(line) > LINE_BYTES_MAX:
        decoded.reject(number, "invalid", f"The line is longer than {LINE_BYTES_MAX} bytes.")
        return
    try:
        vote = strict_json.decode(line, _decoder)
    except strict_json.Malformed as error:
        decoded.reject(number, "invalid", str(error))
    else:
        decoded.numbers.append(number)
        decoded.votes.append(vote)


def _decode_plain(block: bytes, lines: int) -> list[VoteLine] | None:
    """None unless every line is a vote that gives each field once. Without escapes, the number of field names proves that."""
    if b"\\" in block or any(block.count(field) != lines for field in _FIELDS):
        return None
    try:
        votes = _decoder.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    with_id = sum([vote.id is not None for vote in votes])
    return votes if len(votes) == lines and block.count(b'"id"') == with_id else None


_decoder = msgspec.json.Decoder(VoteLine)
