"""For any sequence of commands, the rulebook in force is the same as in a plain model."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.editorial.adoptions import (
    INITIAL,
    AdoptRulebook,
    CallOff,
    Command,
    RollBack,
    ScheduleAdoption,
    TakeEffect,
    WriteRulebook,
    decide,
    evolve,
)
from domain.events.editorial import EditorialEvent, RulebookAdopted, RulebookWritten
from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import Rejected

BOOKS = {book.digest: book for book in (*PRESETS.values(), Rulebook("mine"), Rulebook("ours"))}
BEGIN = datetime(2026, 6, 1, tzinfo=UTC)

digests = st.sampled_from(list(BOOKS))
times = st.integers(0, 20).map(lambda hours: BEGIN + timedelta(hours=hours))
commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(WriteRulebook, st.sampled_from([*BOOKS.values()])),
    st.builds(AdoptRulebook, digests, st.just("")),
    st.builds(ScheduleAdoption, digests, st.just(""), times, st.just(BEGIN)),
    st.builds(RollBack, st.just("")),
    st.builds(CallOff, digests),
    st.builds(TakeEffect, times),
)


@dataclass
class Model:
    """A model that reads only commands, and ignores those that are rejected."""

    written: set[str] = field(default_factory=lambda: {book.digest for book in PRESETS.values()})
    replaced: list[str] = field(default_factory=list)
    in_force: str = DEFAULT.digest
    scheduled: dict[str, datetime] = field(default_factory=dict)

    def apply(self, command: Command) -> None:
        match command:
            case WriteRulebook(book):
                self.written.add(book.digest)
            case AdoptRulebook(digest) if digest in self.written and digest != self.in_force:
                self._adopt(digest)
            case ScheduleAdoption(digest, _, at, now) if digest in self.written and at > now:
                self.scheduled[digest] = at
            case RollBack() if self.replaced:
                self.in_force = self.replaced.pop()
                self.scheduled.pop(self.in_force, None)
            case CallOff(digest):
                self.scheduled.pop(digest, None)
            case TakeEffect(now):
                self._take_effect(now)

    def _take_effect(self, now: datetime) -> None:
        for at, digest in sorted((at, digest) for digest, at in self.scheduled.items()):
            if at <= now:
                self._adopt(digest)

    def _adopt(self, digest: str) -> None:
        self.scheduled.pop(digest, None)
        if digest != self.in_force:
            self.replaced.append(self.in_force)
            self.in_force = digest


@settings(deadline=None)
@given(st.lists(commands, max_size=40))
def test_the_rulebook_in_force_is_the_models(issued: list[Command]) -> None:
    model, log = Model(), list[EditorialEvent]()
    for command in issued:
        model.apply(command)
        state = reduce(evolve, log, INITIAL)
        with suppress(Rejected):
            decided = decide(command, state)
            log += decided
            again = reduce(evolve, decided, state)
            if not isinstance(command, RollBack):
                with suppress(Rejected):
                    assert decide(command, again) == []
    state = reduce(evolve, log, INITIAL)
    assert (state.in_force, list(state.replaced)) == (model.in_force, model.replaced)
    assert {digest: each.effective_at for digest, each in state.scheduled.items()} == model.scheduled


@settings(deadline=None)
@given(st.lists(commands, max_size=40))
def test_the_log_contains_a_rulebook_before_its_adoption(issued: list[Command]) -> None:
    log, in_force = list[EditorialEvent](), DEFAULT.digest
    for command in issued:
        with suppress(Rejected):
            log += decide(command, reduce(evolve, log, INITIAL))
    for index, event in enumerate(log):
        if isinstance(event, RulebookAdopted):
            assert event.replaces == in_force != event.digest
            assert RulebookWritten(event.digest, BOOKS[event.digest]) in log[:index]
            in_force = event.digest
    written = [event.digest for event in log if isinstance(event, RulebookWritten)]
    assert len(written) == len(set(written))
