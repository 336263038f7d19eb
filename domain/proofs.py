"""Proofs: a verdict with all that it was made from, as one file that anybody can recompute."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec
from msgspec import Raw

from domain.ages import Ballots
from domain.rulebooks import Rulebook
from domain.verdicts import Judgement, canonical_inputs, judge

FORMAT = "shiplog-verdict-1"


def prove(
    tool: str, positions: str, takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook
) -> bytes:
    """A bundle: JSON, sorted, without spaces, and a newline. ``digest`` is of the JSON without it.

    ``positions`` say where in the log the inputs were read, as Shiplog-Position does. They are not proved by it.
    """
    rest: dict[str, object] = {
        "format": FORMAT,
        "inputs": Raw(canonical_inputs(takes, ballots, rulebook)),
        "positions": positions,
        "rulebook": Raw(rulebook.canonical),
        "tool": tool,
        "verdict": judge(takes, ballots, rulebook),
    }
    digest = "sha256:" + sha256(_canonical(rest)).hexdigest()
    return _canonical({**rest, "digest": digest}) + b"\n"


def _canonical(value: dict[str, object]) -> bytes:
    return msgspec.json.encode(value, order="sorted")
