"""Proofs: a verdict and its inputs in one file, from which anybody can recompute it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal, get_args

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from domain.rulebooks.rulebook import Rulebook
from domain.verdicts.decay import Ballots
from domain.verdicts.verdict import Judgement, Verdict, canonical_inputs, judge

Format = Literal["shiplog-verdict-1"]


class Inputs(Struct, frozen=True):
    """``days`` are [day, ship, skip]; they and ``today``, from which ages are counted, are set only where the rulebook weighs age."""

    takes: list[Judgement]
    ship: int
    skip: int
    today: int | UnsetType | None = UNSET
    days: list[tuple[int, int, int]] | UnsetType = UNSET


class Bundle(Struct, frozen=True):
    digest: str
    format: Format
    inputs: Inputs
    positions: str
    rulebook: Rulebook
    tool: str
    verdict: Verdict


def prove(
    tool: str, positions: str, takes: Sequence[Judgement], ballots: Ballots, rulebook: Rulebook
) -> bytes:
    """A Bundle as sorted JSON without spaces, and a newline. ``digest`` is that of the same JSON without ``digest``.

    ``positions`` state where in the log the inputs were read, as in the header Shiplog-Position; they are not proved.
    """
    bundle: dict[str, object] = {
        "format": get_args(Format)[0],
        "inputs": Raw(canonical_inputs(takes, ballots, rulebook)),
        "positions": positions,
        "rulebook": Raw(rulebook.canonical),
        "tool": tool,
        "verdict": judge(takes, ballots, rulebook),
    }
    digest = "sha256:" + sha256(_canonical(bundle)).hexdigest()
    return _canonical({**bundle, "digest": digest}) + b"\n"


def _canonical(value: dict[str, object]) -> bytes:
    return msgspec.json.encode(value, order="sorted")
