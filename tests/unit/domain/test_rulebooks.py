"""Rulebooks: one canonical form, errors that name the field, and digests that do not change."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings

from domain.rulebooks.presets import PRESETS
from domain.rulebooks.rulebook import InvalidRulebook, Rulebook, Threshold, decode_rulebook, read_rulebook
from tests.support.random_verdicts import rulebooks

FULL = """
name = "full"
title = "Everything set"
ship = ">= 80%"
skip = "< 0.25"
between = "Skip"
comparison = ["votes", "verdict"]
[panel]
weight = 2
quorum = 3
counts = "scores"
bands = [[0, 0], [50, 60], [80, 100]]
weights = { skeptic = 2, builder = 1, pm = 0 }
[community]
weight = 3
minimum = 30
bound = "interval"
z = "2.50"
half_life_days = 60
window_days = 365
veto_below = "40%"
"""


def book(*lines: str) -> Rulebook:
    return read_rulebook("\n".join(['name = "x"', *lines]))


def test_every_field_is_read() -> None:
    full = read_rulebook(FULL)
    assert (full.ship, full.skip, full.between) == (">=4/5", "<1/4", "Skip")
    assert full.panel.weights == {"pm": 0, "skeptic": 2}
    assert full.panel.bands == ((0, 0), (50, 60), (80, 100))
    assert (full.community.z, full.community.veto_below) == ("2.5", "2/5")
    assert (full.ship_threshold, full.skip_threshold) == (
        Threshold(Fraction(4, 5), True),
        Threshold(Fraction(3, 4), False),
    )
    assert full.veto_threshold == Threshold(Fraction(3, 5), False)


@pytest.mark.parametrize("half", ["> 1/2", ">0.5", ">  50%", "> 2/4", "> 50.0%", "> 0.500000", "> 1/2 "])
def test_equal_ratios_have_one_canonical_form(half: str) -> None:
    assert book(f'ship = "{half}"') == book()
    assert book(f'ship = "{half}"').digest == book().digest


def test_the_order_of_fields_does_not_matter() -> None:
    one = 'name = "x"\nskip = "< 1/3"\nship = "> 2/3"\n[panel.weights]\nb = 2\na = 3\nc = 1'
    other = 'ship = "> 2/3"\nskip = "< 1/3"\nname = "x"\npanel = { weights = { a = 3, b = 2 } }'
    assert read_rulebook(one).canonical == read_rulebook(other).canonical


@pytest.mark.parametrize("z", ["1.96", "1.960", "1.9600"])
def test_equal_quantiles_have_one_canonical_form(z: str) -> None:
    assert book("[community]", f'z = "{z}"').canonical == book().canonical


@settings(deadline=None)
@given(rulebooks())
def test_the_canonical_form_is_read_back_equal(any_book: Rulebook) -> None:
    assert decode_rulebook(any_book.canonical) == any_book
    assert decode_rulebook(any_book.canonical).canonical == any_book.canonical


@pytest.mark.parametrize("fine", ["> 0.000001%", "> 99.999999%", "> 999999998/999999999", ">= 1", ">= 0/1"])
def test_the_finest_ratio_is_read_back_equal(fine: str) -> None:
    found = book(f'ship = "{fine}"', 'skip = "< 0"')
    assert decode_rulebook(found.canonical) == found


@pytest.mark.parametrize(
    ("lines", "field", "advice"),
    [
        (['ship = "80%"'], "`ship`", "Write >1/2 or >=80%"),
        (['skip = "> 1/2"'], "`skip`", "Write <1/2 or <=80%"),
        (['ship = "> 3/2"'], "`ship`", "Write 1/2, 0.5 or 50%"),
        (['ship = "> 1/0"'], "`ship`", "Write 1/2, 0.5 or 50%"),
        (['ship = "> 1/2%"'], "`ship`", "Write 1/2, 0.5 or 50%"),
        (['ship = "> 101%"'], "`ship`", "Write 1/2, 0.5 or 50%"),
        (['ship = "> ٣"'], "`ship`", "Write 1/2, 0.5 or 50%"),
        (["ship = 0.5"], "`ship`", "in quotes"),
        (['ship = "> 1/3"'], "`ship` >1/3 and `skip` <1/2", "Move one of them"),
        (['ship = ">= 1/2"', 'skip = "<= 1/2"'], "`ship` >=1/2 and `skip` <=1/2", "Move one of them"),
        (['between = "Maybe"'], "`between`", 'write "Ship" or "Skip" or "Split"'),
        (["comparison = []"], "`comparison`", "a list of 1 to 6 entries"),
        (['comparison = ["votes", "votes"]'], "`comparison`", "a clause twice"),
        (['comparison = ["hearsay"]'], "`comparison[0]`", '"mean score"'),
        (['title = "a\\u0007"'], "`title`", "without control characters"),
        (["shipp = 1"], "`shipp`", "The fields are: name, ship, skip"),
        (["[panel]", "wait = 1"], "`panel.wait`", "The fields are: weight, quorum"),
        (["[panel]", "weight = 1001"], "`panel.weight`", "a whole number from 0 to 1,000"),
        (["[panel]", "weight = -1"], "`panel.weight`", "from 0 to 1,000"),
        (["[panel]", "weight = 1.5"], "`panel.weight`", "a whole number from 0"),
        (["[panel]", "weight = true"], "`panel.weight`", "a whole number from 0"),
        (["[panel]", "weight = 0"], "`panel.weight` and `community.weight`", "nothing would decide"),
        (["[panel]", "quorum = 0"], "`panel.quorum`", "from 1 to 1,000"),
        (["[panel]", "bands = [[0, 0]]"], "`panel.bands`", 'set `panel.counts` to "scores"'),
        (["[panel]", 'counts = "scores"', "bands = [[1, 0]]"], "`panel.bands`", "begin at score 0"),
        (["[panel]", 'counts = "scores"', "bands = [[0, 0], [0, 1]]"], "`panel.bands`", "and rise"),
        (["[panel]", 'counts = "scores"', "bands = [[0, 0], [101, 1]]"], "`panel.bands`", "up to 100"),
        (["[panel]", 'counts = "scores"', "bands = [[0, 9], [50, 8]]"], "`panel.bands`", "not less"),
        (["[panel]", 'counts = "scores"', "bands = [[0, 101]]"], "`panel.bands`", "0 to 100"),
        (["[panel]", 'weights = { "A b" = 1 }'], "`panel.weights`", "lower-case letters"),
        (["[community]", 'z = "0.00"'], "`community.z`", "Write 1.96"),
        (["[community]", 'z = "19.6"'], "`community.z`", "Write 1.96"),
        (["[community]", "half_life_days = 6"], "`community.half_life_days`", "from 7 to 3,650"),
        (["[community]", "window_days = 0"], "`community.window_days`", "from 1 to 3,650"),
        (["[community]", "veto_below = 0.4"], "`community.veto_below`", "in quotes"),
        (["[community]", 'veto_below = "< 0.4"'], "`community.veto_below`", "Write 1/2, 0.5 or 50%"),
        (["[community]", "minimum = 0"], "`community.minimum`", "from 1 to 1,000,000,000"),
        (["[panel]", f"weight = 1{'0' * 5_000}"], "not a valid rulebook", "thousands of digits"),
        ([f"title = {'[' * 5_000}"], "not a valid rulebook", "nested too deeply"),
        (["ship =", "skip ="], "not a valid rulebook", "line 2"),
    ],
)
def test_an_error_names_the_field_and_says_what_to_write(lines: list[str], field: str, advice: str) -> None:
    with pytest.raises(InvalidRulebook) as rejected:
        book(*lines)
    assert field in str(rejected.value)
    assert advice in str(rejected.value)


def test_a_missing_name_is_reported() -> None:
    with pytest.raises(InvalidRulebook, match=r"`name` is missing\. Add it\."):
        read_rulebook("")


@pytest.mark.parametrize(
    "bytes_", [b"", b"{", b"[]", b'{"name":"x","name2":1}', b'{"name":"\xff"}', b"[" * 100_000]
)
def test_json_that_is_not_a_rulebook_is_rejected(bytes_: bytes) -> None:
    with pytest.raises(InvalidRulebook):
        decode_rulebook(bytes_)


def test_the_digests_of_presets_do_not_change() -> None:
    assert {name: each.digest for name, each in PRESETS.items()} == PINNED


def test_which_rulebooks_weigh_votes_and_their_age() -> None:
    assert [name for name, each in PRESETS.items() if each.weighs_votes] == [
        "community-veto",
        "lower-bound",
        "sixty-days",
    ]
    assert [name for name, each in PRESETS.items() if each.weighs_age] == ["sixty-days"]
    assert not book("[community]", "half_life_days = 60").weighs_age


PINNED = {
    "default": "sha256:e4980d059bca21031648f084a55bb3c34077d74d07f952691fdf05d15df24840",
    "four-in-five": "sha256:a001d7373eccd7677d00ac1a41ce9f94763cf23636fbf986732757611dd86adc",
    "score-weighted": "sha256:f85d23ebbd20a391a562e024cbb30713e16a195962336c8121a97c196c5e562f",
    "community-veto": "sha256:e9d967120a2e97f4786199a724637b266b462282d20c6b62de3cdb6c14962abe",
    "lower-bound": "sha256:749fa2dae8e81fa37cd85f7378a36d2039e14f93c141bd0b720f78312769b6f1",
    "sixty-days": "sha256:c43cc04918603a48fa1b5d5528d3b1c92aae5f509bc77f97dc693e819c4f972f",
}
