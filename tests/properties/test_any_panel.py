"""For any sequence of commands, the panel is that of a plain model, and retirements and orders change no verdict."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.editorial.reviewers import (
    Command,
    OrderPanel,
    PutReviewer,
    RestoreReviewer,
    RetireReviewer,
    Seats,
    decide,
    evolve,
    panel_order,
)
from domain.editorial.takes import PanelTakes, PublishTake, WithdrawTake
from domain.editorial.takes import decide as decide_take
from domain.editorial.takes import evolve as evolve_takes
from domain.events.editorial import (
    Category,
    Details,
    EditorialEvent,
    Pricing,
    ReviewerRetired,
    ReviewerSeated,
    ToolListed,
)
from domain.shared.errors import Rejected

SLUGS = ("builder", "founder", "pm", "skeptic")
LISTED = ToolListed("quill", 1, Details(name="Quill", category=Category("w", "W"), pricing=Pricing("Free")))

slugs = st.sampled_from(SLUGS)
expected = st.none() | st.integers(0, 3)
of_panel: st.SearchStrategy[Command] = st.one_of(
    st.builds(PutReviewer, slugs, st.sampled_from(["A", "B"]), st.just(""), st.just(""), expected),
    st.builds(RetireReviewer, slugs, expected),
    st.builds(RestoreReviewer, slugs, expected),
    st.builds(OrderPanel, st.permutations(SLUGS).map(tuple)),
    st.builds(OrderPanel, st.lists(slugs, max_size=4).map(tuple)),
)
of_takes: st.SearchStrategy[PublishTake | WithdrawTake] = st.one_of(
    st.builds(
        PublishTake,
        st.just("quill"),
        slugs,
        st.integers(0, 100),
        st.sampled_from(["ship", "skip"]),
        st.just(""),
    ),
    st.builds(WithdrawTake, st.just("quill"), slugs),
)


@dataclass
class Model:
    """A list of everybody who was ever seated, in order; an order rearranges the places of those on the panel."""

    everybody: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    retired: set[str] = field(default_factory=set)
    revisions: dict[str, int] = field(default_factory=dict)

    @property
    def panel(self) -> list[str]:
        return [slug for slug in self.everybody if slug not in self.retired]

    def apply(self, command: Command) -> None:
        if isinstance(command, OrderPanel):
            if sorted(command.slugs) == sorted(self.panel):
                places = iter(command.slugs)
                self.everybody = [each if each in self.retired else next(places) for each in self.everybody]
            return
        slug = command.slug
        known = slug in self.everybody
        if command.expected not in (None, self.revisions.get(slug, 0)):
            return
        if isinstance(command, PutReviewer) and slug not in self.retired:
            self._put(slug, command.name)
        elif isinstance(command, RetireReviewer) and known and slug not in self.retired:
            self.retired.add(slug)
            self.revisions[slug] += 1
        elif isinstance(command, RestoreReviewer) and slug in self.retired:
            self.retired.discard(slug)
            self.revisions[slug] += 1

    def _put(self, slug: str, name: str) -> None:
        if slug not in self.everybody:
            self.everybody.append(slug)
        if self.names.get(slug) != name:
            self.names[slug] = name
            self.revisions[slug] = self.revisions.get(slug, 0) + 1


@settings(deadline=None)
@given(st.lists(of_panel, max_size=40))
def test_the_panel_is_the_models(issued: list[Command]) -> None:
    model, log = Model(), list[EditorialEvent]()
    for command in issued:
        model.apply(command)
        with suppress(Rejected):
            log += decide(command, reduce(evolve, log, Seats()))
        seats = reduce(evolve, log, Seats())
        assert [each.slug for each in panel_order(seats)] == model.panel
        assert {each.slug: each.revision for each in seats.values()} == model.revisions
        assert {each.slug for each in seats.values() if isinstance(each, ReviewerRetired)} == model.retired
        assert len({each.seat for each in seats.values()}) == len(seats)


@settings(deadline=None)
@given(st.lists(of_panel | of_takes, max_size=60))
def test_takes_change_only_by_events_of_the_tool(issued: list[Command | PublishTake | WithdrawTake]) -> None:
    """What a verdict reads, the takes, is the same without any event of a reviewer."""
    log: list[EditorialEvent] = [LISTED]
    for command in issued:
        with suppress(Rejected):
            if isinstance(command, PublishTake | WithdrawTake):
                panel = reduce(evolve_takes, log, PanelTakes())
                decided = decide_take(command, panel)
                on_panel = isinstance(panel.seats.get(command.reviewer), ReviewerSeated)
                assert on_panel or not isinstance(command, PublishTake)
                log += decided
            else:
                log += decide(command, reduce(evolve, log, Seats()))
    without = [each for each in log if not isinstance(each, ReviewerSeated | ReviewerRetired)]
    assert reduce(evolve_takes, log, PanelTakes()).takes == reduce(evolve_takes, without, PanelTakes()).takes
