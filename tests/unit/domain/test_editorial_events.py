"""Editorial events: the stored form is pinned, and read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.events.editorial import (
    AdoptionCalledOff,
    AdoptionScheduled,
    Category,
    Details,
    EditorialEvent,
    Pricing,
    ReplayAccepted,
    ReviewerRetired,
    ReviewerSeated,
    RulebookAdopted,
    RulebookWritten,
    TakePublished,
    TakeWithdrawn,
    ToolListed,
    ToolRetired,
    ToolRevised,
    decode,
    encode,
)
from domain.rulebooks.rulebook import read_rulebook
from domain.shared.errors import UndecodableEvent

DETAILS = Details(
    name="Quill",
    tagline="Writes.",
    best_for="Letters",
    description="It writes.\nIt also reads.",
    category=Category("writing", "Writing"),
    url="https://quill.example/",
    pricing=Pricing("Free", "open source"),
)
_DETAILS_STORED = (
    '"details":{"name":"Quill","tagline":"Writes.","best_for":"Letters",'
    '"description":"It writes.\\nIt also reads.","category":{"slug":"writing","name":"Writing"},'
    '"url":"https://quill.example/","pricing":{"entry":"Free","detail":"open source"}}'
)

# Existing logs contain these bytes. A change here needs an upcaster.
STORED: dict[EditorialEvent, str] = {
    ToolListed("quill", 1, DETAILS): f'{{"type":"ToolListed","slug":"quill","revision":1,{_DETAILS_STORED}}}',
    ToolRevised(
        "quill", 2, DETAILS
    ): f'{{"type":"ToolRevised","slug":"quill","revision":2,{_DETAILS_STORED}}}',
    ToolRetired(
        "quill", 3, DETAILS
    ): f'{{"type":"ToolRetired","slug":"quill","revision":3,{_DETAILS_STORED}}}',
    ReviewerSeated("builder", 1, "Builder", "Builds.", "Has built."): (
        '{"type":"ReviewerSeated","slug":"builder","seat":1,"name":"Builder","tagline":"Builds.","bio":"Has built."}'
    ),
    ReviewerSeated("builder", 2, "Builder", "Builds.", "Has built.", 3): (
        '{"type":"ReviewerSeated","slug":"builder","seat":2,"name":"Builder","tagline":"Builds.","bio":"Has built.",'
        '"revision":3}'
    ),
    ReviewerRetired("builder", 2, "Builder", "Builds.", "Has built.", 4): (
        '{"type":"ReviewerRetired","slug":"builder","seat":2,"name":"Builder","tagline":"Builds.","bio":"Has built.",'
        '"revision":4}'
    ),
    TakePublished("builder", 2, 80, "ship", "It holds.", "skip"): (
        '{"type":"TakePublished","reviewer":"builder","revision":2,"score":80,"choice":"ship",'
        '"text":"It holds.","replaced":"skip"}'
    ),
    TakeWithdrawn(
        "builder", 3, "ship"
    ): '{"type":"TakeWithdrawn","reviewer":"builder","revision":3,"replaced":"ship"}',
    ReplayAccepted(UUID(int=7), "tally", 2, "Counted by hand."): (
        '{"type":"ReplayAccepted","replay":"00000000-0000-0000-0000-000000000007","projection":"tally","drift":2,'
        '"reason":"Counted by hand."}'
    ),
    RulebookWritten("sha256:1", read_rulebook('name = "mine"')): (
        '{"type":"RulebookWritten","digest":"sha256:1","rulebook":{"name":"mine","ship":">1/2","skip":"<1/2",'
        '"between":"Split","title":"","description":"","panel":{"weight":1,"quorum":1,"counts":"choices","bands":[],'
        '"weights":{}},"community":{"weight":0,"minimum":10,"bound":"share","z":"1.96","half_life_days":null,'
        '"window_days":null,"veto_below":null},"comparison":["panel share","mean score","community lower bound"]}}'
    ),
    RulebookAdopted("sha256:1", "sha256:0", "Fairer.", rolls_back=True): (
        '{"type":"RulebookAdopted","digest":"sha256:1","replaces":"sha256:0","reason":"Fairer.","rolls_back":true}'
    ),
    AdoptionScheduled("sha256:1", datetime(2027, 1, 1, tzinfo=UTC), "New year."): (
        '{"type":"AdoptionScheduled","digest":"sha256:1","effective_at":"2027-01-01T00:00:00Z","reason":"New year."}'
    ),
    AdoptionCalledOff("sha256:1"): '{"type":"AdoptionCalledOff","digest":"sha256:1"}',
}
by_type = pytest.mark.parametrize(
    ("event", "stored"), STORED.items(), ids=[type(event).__name__ for event in STORED]
)


def test_every_event_type_has_a_pinned_stored_form() -> None:
    assert {type(event) for event in STORED} == set(get_args(EditorialEvent))


@by_type
def test_the_stored_form_does_not_change(event: EditorialEvent, stored: str) -> None:
    assert encode(event).decode() == stored


@by_type
def test_the_stored_form_is_decoded(event: EditorialEvent, stored: str) -> None:
    assert decode(stored.encode()) == event


def test_details_without_optional_fields_are_decoded() -> None:
    stored = (
        b'{"type":"ToolListed","slug":"a","revision":1,"details":{"name":"A","category":{"slug":"c","name":"C"},'
        b'"pricing":{"entry":"Free"}}}'
    )
    event = decode(stored)
    assert isinstance(event, ToolListed)
    assert (event.details.url, event.details.tagline, event.details.pricing.detail) == (None, "", "")


@pytest.mark.parametrize(
    "stored",
    [
        b'{"type":"ToolExploded","slug":"quill"}',
        b'{"slug":"quill"}',
        b"null",
        b'{"type":"TakeWithdrawn","revision":3}',
    ],
)
def test_an_unknown_or_incomplete_event_is_rejected(stored: bytes) -> None:
    with pytest.raises(UndecodableEvent):
        decode(stored)


lines = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=40)
names = lines.map(lambda line: f"n{line}")
details = st.builds(
    Details,
    name=names,
    tagline=lines,
    best_for=lines,
    description=lines,
    category=st.builds(Category, st.just("writing"), names),
    url=st.none(),
    pricing=st.builds(Pricing, names, lines),
)
numbers = st.integers(1, 10**9)
choices = st.sampled_from(["ship", "skip"])
events = st.one_of(
    st.builds(ToolListed, st.just("quill"), numbers, details),
    st.builds(ToolRevised, st.just("quill"), numbers, details),
    st.builds(ToolRetired, st.just("quill"), numbers, details),
    st.builds(ReviewerSeated, st.just("builder"), numbers, names, lines, lines, numbers),
    st.builds(ReviewerRetired, st.just("builder"), numbers, names, lines, lines, numbers),
    st.builds(
        TakePublished, st.just("builder"), numbers, st.integers(0, 100), choices, lines, st.none() | choices
    ),
    st.builds(TakeWithdrawn, st.just("builder"), numbers, choices),
)


@settings(deadline=timedelta(seconds=2))
@given(events)
def test_any_event_survives_encoding_and_decoding(event: EditorialEvent) -> None:
    assert decode(encode(event)) == event
