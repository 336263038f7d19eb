"""Votes as NDJSON, decoded in blocks of lines. Rejected lines are listed by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from domain.shared.types import Choice
from domain.voting.identifiers import VOTER_BYTES_MAX
from services.ingest import strict_json
from services.ingest.decompression import LINE_BYTES_MAX

_FIELDS = (b'"tool"', b'"choice"', b'"voter"')
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


def decode(block: bytes, first: int) -> DecodedLines:
    """Decodes whole lines; ``first`` is the number of the first."""
    decoded = DecodedLines()
    votes = _decode_plain(block, block.count(b"\n") + (not block.endswith(b"\n")))
    if votes is None:
        _decode_halves(decoded, block.removesuffix(b"\n").split(b"\n"), first)
    else:
        decoded.numbers, decoded.votes = list(range(first, first + len(votes))), votes
    return decoded


def _decode_halves(decoded: DecodedLines, lines: Sequence[bytes], first: int) -> None:
    """Bisects the lines until a half decodes as a whole; a few lines are decoded one by one."""
    if len(lines) <= _DECODED_ONE_BY_ONE_MAX:
        for number, line in enumerate(lines, first):
            _decode_line(decoded, number, line)
        return
    middle = len(lines) // 2
    for half, start in ((lines[:middle], first), (lines[middle:], first + middle)):
        votes = _decode_plain(b"\n".join(half), len(half))
        if votes is None:
            _decode_halves(decoded, half, start)
        else:
            decoded.numbers += range(start, start + len(half))
            decoded.votes += votes


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
