"""Whatever is asked in whatever order, the rulebook in force is the one that a plain account of it says."""

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
class Account:
    """Told the commands alone, of which it does what can be done."""

    written: set[str] = field(default_factory=lambda: {book.digest for book in PRESETS.values()})
    before: list[str] = field(default_factory=list)
    now: str = DEFAULT.digest
    to_come: dict[str, datetime] = field(default_factory=dict)

    def hear(self, command: Command) -> None:
        match command:
            case WriteRulebook(book):
                self.written.add(book.digest)
            case AdoptRulebook(digest) if digest in self.written and digest != self.now:
                self._adopt(digest)
            case ScheduleAdoption(digest, _, at, now) if digest in self.written and at > now:
                self.to_come[digest] = at
            case RollBack() if self.before:
                self.now = self.before.pop()
                self.to_come.pop(self.now, None)
            case CallOff(digest):
                self.to_come.pop(digest, None)
            case TakeEffect(now):
                self._come(now)

    def _come(self, now: datetime) -> None:
        for at, digest in sorted((at, digest) for digest, at in self.to_come.items()):
            if at <= now:
                self._adopt(digest)

    def _adopt(self, digest: str) -> None:
        self.to_come.pop(digest, None)
        if digest != self.now:
            self.before.append(self.now)
            self.now = digest


@settings(deadline=None)
@given(st.lists(commands, max_size=40))
def test_the_rulebook_in_force_is_the_one_of_a_plain_account(asked: list[Command]) -> None:
    account, log = Account(), list[EditorialEvent]()
    for command in asked:
        account.hear(command)
        state = reduce(evolve, log, INITIAL)
        with suppress(Rejected):
            made = decide(command, state)
            log += made
            again = reduce(evolve, made, state)
            if not isinstance(command, RollBack):
                with suppress(Rejected):
                    assert decide(command, again) == []
    state = reduce(evolve, log, INITIAL)
    assert (state.in_force, list(state.replaced)) == (account.now, account.before)
    assert {digest: each.effective_at for digest, each in state.scheduled.items()} == account.to_come


@settings(deadline=None)
@given(st.lists(commands, max_size=40))
def test_the_log_says_what_it_adopts_before_it_does(asked: list[Command]) -> None:
    log, in_force = list[EditorialEvent](), DEFAULT.digest
    for command in asked:
        with suppress(Rejected):
            log += decide(command, reduce(evolve, log, INITIAL))
    for place, event in enumerate(log):
        if isinstance(event, RulebookAdopted):
            assert event.replaces == in_force != event.digest
            assert RulebookWritten(event.digest, BOOKS[event.digest]) in log[:place]
            in_force = event.digest
    written = [event.digest for event in log if isinstance(event, RulebookWritten)]
    assert len(written) == len(set(written))
