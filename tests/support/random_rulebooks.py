"""Random rulebooks, most of which let a few votes decide."""

from __future__ import annotations

from hypothesis import strategies as st

from domain.rulebooks.rulebook import Community, InvalidRulebook, Panel, Rulebook, normalize


def _normal_or_none(book: Rulebook) -> Rulebook | None:
    try:
        return normalize(book)
    except InvalidRulebook:
        return None


panels = st.builds(
    Panel,
    weight=st.integers(0, 2),
    quorum=st.integers(1, 2),
    counts=st.sampled_from(["choices", "scores"]),
    weights=st.just({}) | st.just({"a": 0}) | st.just({"b": 3}),
)
communities = st.builds(
    Community,
    weight=st.sampled_from([0, 1, 1, 3]),
    minimum=st.sampled_from([1, 2, 5, 10]),
    bound=st.sampled_from(["share", "interval"]),
    z=st.sampled_from(["0.5", "1", "1.96"]),
    half_life_days=st.sampled_from([None, 7, 30]),
    window_days=st.sampled_from([None, 1, 10, 40]),
    veto_below=st.sampled_from([None, "2/5", "3/5"]),
)
rulebooks: st.SearchStrategy[Rulebook] = (
    st.builds(
        Rulebook,
        name=st.just("any"),
        ship=st.sampled_from([">1/2", ">=1/2", ">2/3", ">=80%", ">0", ">=1"]),
        skip=st.sampled_from(["<1/2", "<=1/2", "<=1/3", "<1/5", "<=0"]),
        between=st.sampled_from(["Split", "Ship", "Skip"]),
        panel=panels,
        community=communities,
    )
    .map(_normal_or_none)
    .filter(lambda book: book is not None)
)
