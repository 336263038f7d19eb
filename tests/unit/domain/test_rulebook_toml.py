"""Rulebooks as TOML: a written rulebook is read back equal."""

from __future__ import annotations

import pytest

from domain.rulebooks.presets import PRESETS
from domain.rulebooks.rulebook import Rulebook, read_rulebook
from domain.rulebooks.toml import write_rulebook

NASTY = "\"]\n[panel]\nweight = 0 # \\ \"\" ''' \u00e9 \U0001f469 \u2028 \t"
FULL = read_rulebook("""
name = "full"
title = '''A "title" \\ [x]'''
ship = ">= 2/3"
between = "Skip"
comparison = ["verdict", "votes"]
[panel]
counts = "scores"
bands = [[0, 10], [50, 60]]
[panel.weights]
builder = 3
skeptic = 0
[community]
weight = 2
window_days = 90
veto_below = "40%"
""")


@pytest.mark.parametrize("book", [*PRESETS.values(), FULL], ids=lambda book: book.name)
def test_a_written_rulebook_is_read_back_equal(book: Rulebook) -> None:
    assert read_rulebook(write_rulebook(book)) == book


def test_text_cannot_break_out_of_its_quotes() -> None:
    book = Rulebook("mine", description=NASTY)
    assert read_rulebook(write_rulebook(book)) == book


def test_the_toml_is_readable() -> None:
    text = write_rulebook(FULL)
    assert text.startswith('name = "full"\nship = ">=2/3"\nskip = "<1/2"\n')
    assert "\n[panel]\nweight = 1\n" in text
    assert "\n[panel.weights]\nbuilder = 3\nskeptic = 0\n" in text
    assert "half_life_days" not in text
