"""Adoptions: which rulebook is in force, which was before it, and which is to follow."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.events.editorial import (
    AdoptionCalledOff,
    AdoptionScheduled,
    EditorialEvent,
    RulebookAdopted,
    RulebookWritten,
)
from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import Rejected, Unknown


class NameTaken(Rejected):
    """The rulebook named {name} comes with Shiplog. Give yours another name."""

    slug = "name-taken"


class InThePast(Rejected):
    """The adoption is to take effect at {effective_at}, which has passed. Send a later time, or none to adopt it now."""

    slug = "invalid"


class NothingToRollBack(Rejected):
    """No adoption is left to be rolled back: the rulebook in force is the one that Shiplog began with."""

    slug = "nothing-to-roll-back"


class NotScheduled(Rejected):
    """No adoption of the rulebook {digest} is scheduled, so there is none to call off."""

    slug = "not-scheduled"


class WriteRulebook(Struct, frozen=True):
    rulebook: Rulebook


class AdoptRulebook(Struct, frozen=True):
    """At once. ``rulebook`` is its digest, or its name: then the newest of that name."""

    rulebook: str
    reason: str


class ScheduleAdoption(Struct, frozen=True):
    """``now`` is when it is asked for."""

    rulebook: str
    reason: str
    effective_at: datetime
    now: datetime


class RollBack(Struct, frozen=True):
    """Take the last adoption back that was not taken back yet."""

    reason: str


class CallOff(Struct, frozen=True):
    rulebook: str


class TakeEffect(Struct, frozen=True):
    """Adopt what was scheduled for ``now`` or before."""

    now: datetime


Command: TypeAlias = WriteRulebook | AdoptRulebook | ScheduleAdoption | RollBack | CallOff | TakeEffect


class Adoptions(Struct, frozen=True):
    """``replaced``: the digests that adoptions not rolled back have replaced, the last one last. ``scheduled`` by digest."""

    written: dict[str, Rulebook] = {}
    in_force: str = DEFAULT.digest
    replaced: tuple[str, ...] = ()
    scheduled: dict[str, AdoptionScheduled] = {}

    @property
    def known(self) -> dict[str, Rulebook]:
        """By digest, those that come with Shiplog first."""
        return PRESETS_BY_DIGEST | self.written

    def find(self, wanted: str) -> str:
        """The digest of what is wanted by digest or name. Raises Unknown."""
        if wanted in PRESETS_BY_DIGEST or wanted in self.written:
            return wanted
        if wanted in PRESETS:
            return PRESETS[wanted].digest
        for digest, book in reversed(self.written.items()):
            if book.name == wanted:
                return digest
        raise Unknown(kind="rulebook", name=wanted)


PRESETS_BY_DIGEST = {book.digest: book for book in PRESETS.values()}
INITIAL = Adoptions()


def evolve(state: Adoptions, event: EditorialEvent) -> Adoptions:
    match event:
        case RulebookWritten(digest, rulebook):
            return replace(state, written=state.written | {digest: rulebook})
        case RulebookAdopted(digest, before, _, rolls_back):
            replaced = state.replaced[:-1] if rolls_back else (*state.replaced, before)
            return replace(_unscheduled(state, digest), in_force=digest, replaced=replaced)
        case AdoptionScheduled(digest):
            return replace(state, scheduled=state.scheduled | {digest: event})
        case AdoptionCalledOff(digest):
            return _unscheduled(state, digest)
        case _:
            return state


def _unscheduled(state: Adoptions, digest: str) -> Adoptions:
    return replace(state, scheduled={d: each for d, each in state.scheduled.items() if d != digest})


def decide(command: Command, state: Adoptions) -> list[EditorialEvent]:
    """Raises Unknown, NameTaken, InThePast, NothingToRollBack or NotScheduled. No event when nothing would change."""
    match command:
        case WriteRulebook(book):
            return _write(book, state)
        case AdoptRulebook(rulebook, reason):
            return _adopt(state.find(rulebook), reason, state)
        case ScheduleAdoption():
            return _schedule(command, state)
        case RollBack(reason):
            return _roll_back(reason, state)
        case CallOff(rulebook):
            return _call_off(state.find(rulebook), state)
        case TakeEffect(now):
            return _take_effect(now, state)
        case _:
            assert_never(command)


def _write(rulebook: Rulebook, state: Adoptions) -> list[EditorialEvent]:
    if rulebook.digest in PRESETS_BY_DIGEST or rulebook.digest in state.written:
        return []
    if rulebook.name in PRESETS:
        raise NameTaken(name=rulebook.name)
    return [RulebookWritten(rulebook.digest, rulebook)]


def _adopt(digest: str, reason: str, state: Adoptions) -> list[EditorialEvent]:
    if digest == state.in_force:
        return []
    return [*_kept(digest, state), RulebookAdopted(digest, state.in_force, reason)]


def _kept(digest: str, state: Adoptions) -> list[EditorialEvent]:
    """What is adopted is in the log itself: those that come with Shiplog may be others one day."""
    return [] if digest in state.written else [RulebookWritten(digest, PRESETS_BY_DIGEST[digest])]


def _schedule(command: ScheduleAdoption, state: Adoptions) -> list[EditorialEvent]:
    digest = state.find(command.rulebook)
    if command.effective_at <= command.now:
        raise InThePast(effective_at=command.effective_at.isoformat())
    event = AdoptionScheduled(digest, command.effective_at, command.reason)
    return [] if state.scheduled.get(digest) == event else [event]


def _roll_back(reason: str, state: Adoptions) -> list[EditorialEvent]:
    if not state.replaced:
        raise NothingToRollBack
    before = state.replaced[-1]
    return [*_kept(before, state), RulebookAdopted(before, state.in_force, reason, rolls_back=True)]


def _call_off(digest: str, state: Adoptions) -> list[EditorialEvent]:
    if digest not in state.scheduled:
        raise NotScheduled(digest=digest)
    return [AdoptionCalledOff(digest)]


def _take_effect(now: datetime, state: Adoptions) -> list[EditorialEvent]:
    """In the order of their times. One that has come into force by other ways is called off."""
    due = [each for each in state.scheduled.values() if each.effective_at <= now]
    events: list[EditorialEvent] = []
    in_force = state.in_force
    for each in sorted(due, key=lambda each: (each.effective_at, each.digest)):
        if each.digest == in_force:
            events.append(AdoptionCalledOff(each.digest))
        else:
            events += [*_kept(each.digest, state), RulebookAdopted(each.digest, in_force, each.reason)]
            in_force = each.digest
    return events
