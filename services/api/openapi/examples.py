"""Examples of parameters by name and of bodies by type, and descriptions of parameters that declare none."""

from __future__ import annotations

from typing import Any

_VOTE_ID = "019dd2c0-0000-7000-8000-000000000001"
_UUID = "019dd2c0-0000-7000-8000-000000000002"
_DIGEST = "sha256:" + "0f" * 32
_MOMENT = "2026-03-01T00:00:00Z"

PARAMETERS: dict[str, Any] = {
    "as_of": _MOMENT,
    "bucket": "day",
    "category": "databases",
    "delivery": _UUID,
    "digest": _DIGEST,
    "from": _MOMENT,
    "id": _UUID,
    "session": "8c5a1f0e9d3b7a24",
    "ids": f"{_VOTE_ID},{_UUID}",
    "If-Match": '"3"',
    "If-None-Match": '"11ca236cdced7bb3070c7f22"',
    "left": "postgresql",
    "limit": 20,
    "min_position": "2.1",
    "reviewer": "builder",
    "right": "sqlite",
    "rulebook": _DIGEST,
    "since": _MOMENT,
    "slug": "postgresql",
    "to": "2026-04-01T00:00:00Z",
    "tool": "postgresql",
    "tools": "postgresql,sqlite",
    "voter": "user-17",
}

DESCRIPTIONS = {
    "bucket": "The width of a bucket.",
    "category": "Only tools of this category, by its slug.",
    "cursor": "Where the page begins: `next` of the page before.",
    "delivery": "The id of a delivery.",
    "from": "Where the series begins, with its zone; the beginning of the log by default.",
    "id": "Its id. For a vote: the UUIDv7 under which it may be sent again.",
    "If-Match": "The ETag of the revision that the change is meant for: 412 if there is a newer one.",
    "left": "The slug of a tool.",
    "session": "The id of a session, from the list of sessions.",
    "limit": "The largest number of items of a page.",
    "reviewer": "The slug of a reviewer.",
    "right": "The slug of another tool.",
    "rulebook": "Judge by this rulebook, by its digest or name, instead of the one in force.",
    "slug": "The slug of a tool.",
    "sort": "The order.",
    "to": "Where the series ends, with its zone; now by default.",
    "tool": "The slug of a tool.",
}

BODIES: dict[str, Any] = {
    "AdoptionRequest": {"reason": "The panel asked for it.", "effective_at": "2027-01-01T00:00:00Z"},
    "CastVote": {"tool": "postgresql", "choice": "ship", "voter": "user-17", "id": _VOTE_ID},
    "CutOverRequest": {"reason": "The live version counted a vote twice."},
    "LogIn": {"name": "ada", "password": "correct horse battery staple"},
    "Note": {"note": "For the next project.", "tags": ["storage"]},
    "ReplayRequest": {"projection": "tally", "hold": True},
    "RollBackRequest": {"reason": "It flipped more verdicts than intended."},
    "Rulebook": {"name": "majority", "ship": ">1/2", "skip": "<1/2", "between": "Split"},
    "TakeRequest": {"score": 88, "choice": "ship", "text": "Boring in the best way."},
    "ToolRequest": {
        "name": "Quill",
        "tagline": "Writes.",
        "category": {"slug": "writing", "name": "Writing"},
        "pricing": {"entry": "Free", "detail": "open source"},
    },
    "VoteAnswer": {
        "outcome": "counted",
        "position": "2.1",
        "id": _VOTE_ID,
        "choice": "ship",
        "replaced": None,
    },
    "WebhookRequest": {"url": "https://example.org/flips", "tools": ["postgresql"]},
}

# Of bodies that are not JSON.
TEXTS = {
    "application/toml": 'name = "majority"\nship = ">1/2"\nskip = "<1/2"\n',
    "application/x-ndjson": '{"tool": "postgresql", "choice": "ship", "voter": "user-20"}\n'
    '{"tool": "sqlite", "choice": "skip", "voter": "user-21"}\n',
    "text/event-stream": "id: 0.103,1.0,2.3\nevent: tally\n"
    'data: {"tool":"postgresql","ship":2,"skip":1,"total":3,"share":"0.6667","interval":["0.2077","0.9385"],'
    '"preliminary":true}\n\n',
    "application/atom+xml": '<feed xmlns="http://www.w3.org/2005/Atom">…</feed>',
}
