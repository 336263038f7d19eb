"""Adoptions: one rulebook is in force, adoptions can be rolled back, and scheduled ones take effect at their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.editorial.adoptions import (
    INITIAL,
    PRESETS_BY_DIGEST,
    AdoptRulebook,
    CallOff,
    InThePast,
    NameTaken,
    NothingToRollBack,
    NotScheduled,
    RollBack,
    ScheduleAdoption,
    TakeEffect,
    WriteRulebook,
    decide,
    evolve,
)
from domain.events.editorial import (
    AdoptionCalledOff,
    AdoptionScheduled,
    ReviewerSeated,
    RulebookAdopted,
    RulebookWritten,
)
from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import read_rulebook
from domain.shared.errors import Unknown
from tests.support.specification import Specification

MINE = read_rulebook('name = "mine"\nship = ">= 2/3"')
FOUR, SCORE = PRESETS["four-in-five"].digest, PRESETS["score-weighted"].digest
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
WRITTEN = RulebookWritten(MINE.digest, MINE)
FOUR_WRITTEN, SCORE_WRITTEN, DEFAULT_WRITTEN = (
    RulebookWritten(digest, PRESETS_BY_DIGEST[digest]) for digest in (FOUR, SCORE, DEFAULT.digest)
)
FOUR_ADOPTED = RulebookAdopted(FOUR, DEFAULT.digest, "Stricter.")
MINE_ADOPTED = RulebookAdopted(MINE.digest, FOUR, "Ours.")
SCHEDULED = AdoptionScheduled(FOUR, LATER, "Stricter.")

editorial = Specification(INITIAL, evolve, decide)


def test_a_rulebook_is_written_once() -> None:
    editorial.given().when(WriteRulebook(MINE)).then([WRITTEN])
    editorial.given(WRITTEN).when(WriteRulebook(MINE)).then([])


def test_presets_are_known_without_being_written() -> None:
    for book in PRESETS.values():
        editorial.given().when(WriteRulebook(book)).then([])


def test_the_names_of_presets_are_taken() -> None:
    other = read_rulebook('name = "default"\nship = ">= 2/3"')
    editorial.given().when(WriteRulebook(other)).then_rejected(NameTaken, name="default")


def test_two_rulebooks_may_have_one_name() -> None:
    newer = read_rulebook('name = "mine"\nship = ">= 3/4"')
    editorial.given(WRITTEN).when(WriteRulebook(newer)).then([RulebookWritten(newer.digest, newer)])


def test_an_adoption_names_what_it_replaces() -> None:
    editorial.given().when(AdoptRulebook(FOUR, "Stricter.")).then([FOUR_WRITTEN, FOUR_ADOPTED])
    given = editorial.given(WRITTEN, FOUR_ADOPTED)
    given.when(AdoptRulebook(MINE.digest, "Ours.")).then([MINE_ADOPTED])


def test_adopting_the_rulebook_in_force_is_no_event() -> None:
    editorial.given().when(AdoptRulebook(DEFAULT.digest, "Again.")).then([])
    editorial.given(FOUR_ADOPTED).when(AdoptRulebook(FOUR, "Again.")).then([])


def test_an_adopted_preset_is_written_to_the_log_once() -> None:
    back = RulebookAdopted(DEFAULT.digest, FOUR, "No.", rolls_back=True)
    given = editorial.given(FOUR_WRITTEN, FOUR_ADOPTED, DEFAULT_WRITTEN, back)
    given.when(AdoptRulebook(FOUR, "Stricter.")).then([FOUR_ADOPTED])


def test_an_unknown_rulebook_cannot_be_adopted_or_scheduled() -> None:
    unknown = {"kind": "rulebook", "name": MINE.digest}
    editorial.given().when(AdoptRulebook(MINE.digest, "Ours.")).then_rejected(Unknown, **unknown)
    schedule = ScheduleAdoption(MINE.digest, "Ours.", LATER, NOON)
    editorial.given().when(schedule).then_rejected(Unknown, **unknown)


def test_a_name_means_the_newest_rulebook_of_that_name() -> None:
    newer = read_rulebook('name = "mine"\nship = ">= 3/4"')
    expected = RulebookAdopted(newer.digest, DEFAULT.digest, "Ours.")
    given = editorial.given(WRITTEN, RulebookWritten(newer.digest, newer))
    given.when(AdoptRulebook("mine", "Ours.")).then([expected])
    editorial.given().when(AdoptRulebook("four-in-five", "Stricter.")).then([FOUR_WRITTEN, FOUR_ADOPTED])
    editorial.given().when(AdoptRulebook("mine", "Ours.")).then_rejected(
        Unknown, kind="rulebook", name="mine"
    )


def test_roll_backs_go_back_one_adoption_each() -> None:
    back = RollBack("It went wrong.")
    to_four = RulebookAdopted(FOUR, MINE.digest, "It went wrong.", rolls_back=True)
    to_default = RulebookAdopted(DEFAULT.digest, FOUR, "It went wrong.", rolls_back=True)
    adopted = (WRITTEN, FOUR_WRITTEN, FOUR_ADOPTED, MINE_ADOPTED)
    editorial.given(*adopted).when(back).then([to_four])
    editorial.given(*adopted, to_four).when(back).then([DEFAULT_WRITTEN, to_default])
    editorial.given(*adopted, to_four, DEFAULT_WRITTEN, to_default).when(back).then_rejected(
        NothingToRollBack
    )
    editorial.given().when(back).then_rejected(NothingToRollBack)


def test_an_adoption_after_a_roll_back_is_rolled_back_to_what_it_replaced() -> None:
    to_default = RulebookAdopted(DEFAULT.digest, FOUR, "No.", rolls_back=True)
    again = RulebookAdopted(SCORE, DEFAULT.digest, "By score.")
    expected = RulebookAdopted(DEFAULT.digest, SCORE, "No.", rolls_back=True)
    given = (FOUR_WRITTEN, FOUR_ADOPTED, DEFAULT_WRITTEN, to_default, SCORE_WRITTEN, again)
    editorial.given(*given).when(RollBack("No.")).then([expected])
    editorial.given(*given, expected).when(RollBack("No.")).then_rejected(NothingToRollBack)


def test_an_adoption_is_scheduled_and_changes_nothing_yet() -> None:
    editorial.given().when(ScheduleAdoption(FOUR, "Stricter.", LATER, NOON)).then([SCHEDULED])
    editorial.given(SCHEDULED).when(AdoptRulebook(DEFAULT.digest, "Again.")).then([])
    editorial.given(SCHEDULED).when(RollBack("No.")).then_rejected(NothingToRollBack)


def test_repeating_a_schedule_is_no_event_and_another_time_replaces_it() -> None:
    given = editorial.given(SCHEDULED)
    given.when(ScheduleAdoption(FOUR, "Stricter.", LATER, NOON)).then([])
    tomorrow = LATER + timedelta(days=1)
    moved = AdoptionScheduled(FOUR, tomorrow, "Stricter.")
    given.when(ScheduleAdoption(FOUR, "Stricter.", tomorrow, NOON)).then([moved])
    editorial.given(SCHEDULED, moved).when(TakeEffect(LATER)).then([])


def test_nothing_is_scheduled_for_the_past() -> None:
    for effective_at in (NOON, NOON - timedelta(days=1)):
        command = ScheduleAdoption(FOUR, "Stricter.", effective_at, NOON)
        editorial.given().when(command).then_rejected(InThePast, effective_at=effective_at.isoformat())


def test_a_scheduled_adoption_takes_effect_at_its_time() -> None:
    editorial.given(SCHEDULED).when(TakeEffect(LATER - timedelta(microseconds=1))).then([])
    editorial.given(SCHEDULED).when(TakeEffect(LATER)).then([FOUR_WRITTEN, FOUR_ADOPTED])
    editorial.given(SCHEDULED, FOUR_ADOPTED).when(TakeEffect(LATER)).then([])


def test_due_adoptions_take_effect_in_the_order_of_their_times() -> None:
    first = AdoptionScheduled(SCORE, NOON, "By score.")
    expected = [
        SCORE_WRITTEN,
        RulebookAdopted(SCORE, DEFAULT.digest, "By score."),
        FOUR_WRITTEN,
        RulebookAdopted(FOUR, SCORE, "Stricter."),
    ]
    editorial.given(SCHEDULED, first).when(TakeEffect(LATER)).then(expected)


def test_the_schedule_of_a_rulebook_already_in_force_is_called_off() -> None:
    editorial.given(SCHEDULED, FOUR_ADOPTED).when(CallOff(FOUR)).then_rejected(NotScheduled, digest=FOUR)
    again = AdoptionScheduled(FOUR, LATER, "Once more.")
    editorial.given(FOUR_ADOPTED, again).when(TakeEffect(LATER)).then([AdoptionCalledOff(FOUR)])


def test_an_adoption_that_was_called_off_does_not_take_effect() -> None:
    editorial.given(SCHEDULED).when(CallOff(FOUR)).then([AdoptionCalledOff(FOUR)])
    editorial.given(SCHEDULED, AdoptionCalledOff(FOUR)).when(TakeEffect(LATER)).then([])
    editorial.given().when(CallOff(FOUR)).then_rejected(NotScheduled, digest=FOUR)


def test_other_editorial_events_change_nothing() -> None:
    seated = ReviewerSeated("builder", 1, "Builder", "", "")
    assert evolve(INITIAL, seated) == INITIAL
