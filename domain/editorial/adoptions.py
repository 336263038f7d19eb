"""Adoptions: the rulebook in force, those before it, and those scheduled."""

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
    """A rulebook named {name} is built into Shiplog. Choose another name."""

    slug = "name-taken"


class InThePast(Rejected):
    """The adoption cannot take effect at {effective_at}, which has passed. Send a later time, or none to adopt it now."""

    slug = "invalid"


class NothingToRollBack(Rejected):
    """There is no adoption to roll back: the rulebook in force is the initial one."""

    slug = "nothing-to-roll-back"


class NotScheduled(Rejected):
    """No adoption of the rulebook {digest} is scheduled, so there is nothing to call off."""

    slug = "not-scheduled"


class WriteRulebook(Struct, frozen=True):
    rulebook: Rulebook


class AdoptRulebook(Struct, frozen=True):
    """Adopt now. ``rulebook`` is a digest, or a name, which means the newest rulebook of that name."""

    rulebook: str
    reason: str


class ScheduleAdoption(Struct, frozen=True):
    """``now`` is the time of the request."""

    rulebook: str
    reason: str
    effective_at: datetime
    now: datetime


class RollBack(Struct, frozen=True):
    """Undo the most recent adoption that has not been undone."""

    reason: str


class CallOff(Struct, frozen=True):
    rulebook: str


class TakeEffect(Struct, frozen=True):
    """Adopt the rulebooks that were scheduled for ``now`` or before."""

    now: datetime


Command: TypeAlias = WriteRulebook | AdoptRulebook | ScheduleAdoption | RollBack | CallOff | TakeEffect


class Adoptions(Struct, frozen=True):
    """``replaced``: the digests replaced by adoptions that were not rolled back, oldest first. The dicts are by digest."""

    written: dict[str, Rulebook] = {}
    in_force: str = DEFAULT.digest
    replaced: tuple[str, ...] = ()
    scheduled: dict[str, AdoptionScheduled] = {}

    @property
    def known(self) -> dict[str, Rulebook]:
        """By digest, presets first."""
        return PRESETS_BY_DIGEST | self.written

    def find(self, digest_or_name: str) -> str:
        """The digest. Raises Unknown."""
        if digest_or_name in PRESETS_BY_DIGEST or digest_or_name in self.written:
            return digest_or_name
        if digest_or_name in PRESETS:
            return PRESETS[digest_or_name].digest
        for digest, book in reversed(self.written.items()):
            if book.name == digest_or_name:
                return digest
        raise Unknown(kind="rulebook", name=digest_or_name)


PRESETS_BY_DIGEST = {book.digest: book for book in PRESETS.values()}
INITIAL = Adoptions()


def evolve(state: Adoptions, event: EditorialEvent) -> Adoptions:
    match event:
        case RulebookWritten(digest, rulebook):
            return replace(state, written=state.written | {digest: rulebook})
        case RulebookAdopted(digest, before, _, rolls_back):
            replaced = state.replaced[:-1] if rolls_back else (*state.replaced, before)
            return replace(_without_schedule(state, digest), in_force=digest, replaced=replaced)
        case AdoptionScheduled(digest):
            return replace(state, scheduled=state.scheduled | {digest: event})
        case AdoptionCalledOff(digest):
            return _without_schedule(state, digest)
        case _:
            return state


def _without_schedule(state: Adoptions, digest: str) -> Adoptions:
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
    return [*_written_first(digest, state), RulebookAdopted(digest, state.in_force, reason)]


def _written_first(digest: str, state: Adoptions) -> list[EditorialEvent]:
    """The log must contain every adopted rulebook: a later release may have other presets."""
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
    return [*_written_first(before, state), RulebookAdopted(before, state.in_force, reason, rolls_back=True)]


def _call_off(digest: str, state: Adoptions) -> list[EditorialEvent]:
    if digest not in state.scheduled:
        raise NotScheduled(digest=digest)
    return [AdoptionCalledOff(digest)]


def _take_effect(now: datetime, state: Adoptions) -> list[EditorialEvent]:
    """In the order of their times. The schedule of a rulebook that is already in force is called off."""
    due = [each for each in state.scheduled.values() if each.effective_at <= now]
    events: list[EditorialEvent] = []
    in_force = state.in_force
    for adoption in sorted(due, key=lambda each: (each.effective_at, each.digest)):
        if adoption.digest == in_force:
            events.append(AdoptionCalledOff(adoption.digest))
        else:
            events += [
                *_written_first(adoption.digest, state),
                RulebookAdopted(adoption.digest, in_force, adoption.reason),
            ]
            in_force = adoption.digest
    return events
