"""Verdict inputs: everything that the verdict of one tool is computed from, at one moment."""

from __future__ import annotations

from msgspec import Struct

from domain.rulebooks.rulebook import Rulebook
from domain.shared.log import EDITORIAL
from domain.verdicts.decay import Ballots
from domain.verdicts.proofs import prove
from domain.verdicts.verdict import Judgement, Verdict, judge
from projections.adoptions import RULEBOOK_READ_MODELS, rulebook_in_force
from projections.daily_votes import DAILY_VOTES, read_ballots
from projections.engine.snapshot import Freshness, ReadModelBehind, Snapshot
from projections.rulebooks import find_rulebook
from projections.scorecard import SCORECARD, read_takes
from projections.tally import TALLY

VERDICT_READ_MODELS = (SCORECARD, TALLY, DAILY_VOTES, *RULEBOOK_READ_MODELS)


class VerdictInputs(Struct, frozen=True):
    tool: str
    takes: tuple[Judgement, ...]
    ballots: Ballots
    rulebook: Rulebook
    freshness: Freshness

    def judge(self) -> Verdict:
        return judge(self.takes, self.ballots, self.rulebook)

    def prove(self) -> bytes:
        return prove(self.tool, str(self.freshness), self.takes, self.ballots, self.rulebook)


async def read_verdict_inputs(
    snapshot: Snapshot, slug: str, tool: int, by: Rulebook | str | None
) -> VerdictInputs:
    """``by`` is a rulebook, or its digest or name; None is the rulebook in force.

    Raises Unknown, NotListedYet, or ReadModelBehind while the tool is not folded yet.
    """
    snapshot.check_listed(slug, tool)
    rulebook = by if isinstance(by, Rulebook) else await _find(snapshot, by)
    takes = await read_takes(snapshot, [tool])
    ballots = await read_ballots(snapshot, [tool], rulebook)
    freshness = await snapshot.freshness()
    if any(each.shard == EDITORIAL and each.number < tool for each in freshness.positions):
        raise ReadModelBehind
    judgements = tuple(Judgement(take.reviewer, take.score, take.choice) for take in takes)
    return VerdictInputs(slug, judgements, ballots[tool], rulebook, freshness)


async def _find(snapshot: Snapshot, wanted: str | None) -> Rulebook:
    return await (rulebook_in_force(snapshot) if wanted is None else find_rulebook(snapshot, wanted))
