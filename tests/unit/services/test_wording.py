"""Wording: plurals, explanations for people, and initials."""

from __future__ import annotations

import pytest

from domain.shared.plurals import count_of
from services.api.site.wording import in_words
from services.api.views.initials import initial_of


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 votes"), (1, "1 vote"), (2, "2 votes"), (10_000, "10,000 votes")]
)
def test_a_count_agrees_with_its_noun(number: int, text: str) -> None:
    assert count_of(number, "vote") == text


def test_a_noun_may_have_a_plural_of_its_own() -> None:
    assert (count_of(1, "entry", "entries"), count_of(0, "entry", "entries")) == ("1 entry", "0 entries")


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        (
            "4 of 5 takes say ship; by choice the panel's share is 0.8000.",
            "4 of 5 takes say ship; by choice the panel's share is 80%.",
        ),
        (
            "6105 community votes count, with a share of 0.6667 and an interval of 0.6546 to 0.6784 at z = 1.96.",
            "6,105 community votes count, with a share of 66.67% and an interval of 65.46% to 67.84% at z = 1.96.",
        ),
        (
            "Ship takes at least 2/3 and Skip at most 1/3; the share is 1.0000, which is Ship.",
            "Ship takes at least 2/3 and Skip at most 1/3; the share is 100%, which is Ship.",
        ),
        ("0.0333 of a share is missing to Split.", "The share is 3.33 percentage points short of Split."),
        ("0.0100 of a share is missing to Ship.", "The share is 1 percentage point short of Ship."),
        ("No reviewer has published a take.", "No reviewer has published a take."),
    ],
)
def test_an_explanation_for_people(sentence: str, shown: str) -> None:
    assert in_words(sentence) == shown


@pytest.mark.parametrize(
    ("name", "initial"),
    [
        ("Claude", "C"),
        ("uv", "U"),
        ("7-Zip", "7"),
        ("The Fuck", "F"),
        ("the", "T"),
        ("Theano", "T"),
        (" “Quoted” ", "Q"),
        (".NET", "N"),
        ("e\u0301clair", "É"),
        ("q\u0303", "Q\u0303"),
        ("ßeta", "ß"),
        ("ערך", "ע"),
        ("नीति", "नी"),
        ("🚀 Rocket", "R"),
        ("👩🏽\u200d💻", "👩🏽\u200d💻"),
        ("🇩🇪", "🇩🇪"),
        ("❤️", "❤️"),
        ("…", "…"),
    ],
)
def test_the_initial_of_a_name(name: str, initial: str) -> None:
    assert initial_of(name) == initial
