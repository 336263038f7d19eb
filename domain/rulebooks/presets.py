"""The rulebooks built into Shiplog, as TOML. Their digests are stored: the texts must not change."""

from __future__ import annotations

from domain.rulebooks.rulebook import Rulebook, read_rulebook

_TEXTS = (
    """
name = "default"
title = "Panel majority"
description = "Most takes decide. The community is shown beside the verdict and does not change it."
""",
    """
name = "four-in-five"
title = "Four in five"
description = "A tool ships when at least four of five takes say so, and is skipped when most say skip."
ship = ">= 80%"
skip = "< 1/2"

[panel]
quorum = 2
""",
    """
name = "score-weighted"
title = "By score"
description = "The mean score decides, not the choices: 70 and more ships, less than 50 is skipped."
ship = ">= 70%"
skip = "< 50%"
comparison = ["mean score", "panel share", "community lower bound"]

[panel]
counts = "scores"
""",
    """
name = "community-veto"
title = "Community veto"
description = "The panel decides, but nothing ships that the community rejects: with 30 votes or more, when the interval lies wholly below 2/5."

[community]
minimum = 30
veto_below = "2/5"
""",
    """
name = "lower-bound"
title = "Lower bound"
description = "The community decides alone, and only once it is sure: the whole Wilson interval lies on one side of 1/2."
comparison = ["community lower bound", "panel share", "mean score"]

[panel]
weight = 0

[community]
weight = 1
bound = "interval"
""",
    """
name = "sixty-days"
title = "Sixty-day half-life"
description = "Panel and community count alike, and a vote weighs half as much as one cast sixty days later."

[community]
weight = 1
half_life_days = 60
""",
)

PRESETS: dict[str, Rulebook] = {book.name: book for book in map(read_rulebook, _TEXTS)}
DEFAULT = PRESETS["default"]
