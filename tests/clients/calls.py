"""A call of every operation, in an order in which each succeeds. The tests make them through generated clients.

``{name}`` in a parameter or body is what an earlier call saved, or the prefix of the client's own tools and rulebooks.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Identity = Literal["visitor", "key", "session"]


class Call(Struct, frozen=True, kw_only=True):
    """``saves``: names for fields of the answer, by path; a number is a place in a list. ``until``: repeat until this field has one of these values."""

    operation: str
    identity: Identity = "visitor"
    path: dict[str, str] = {}
    query: dict[str, str] = {}
    body: Any = None
    media_type: str = "application/json"
    statuses: tuple[int, ...] = (200,)
    saves: dict[str, str] = {}
    until: tuple[str, tuple[str, ...]] | None = None


STREAM = "V1TalliesStreamStreamTallies"
_LATER = "2099-01-01T00:00:00Z"
_TOOL = {"slug": "{prefix}-quill"}
_TAKE = {**_TOOL, "reviewer": "builder"}
_PAIR = {"left": "smolagents-2-0", "right": "claude-4-api-tool-use-streaming-prompt-caching"}
_DIGEST = {"digest": "{digest}"}
_REVIEWER = {"slug": "{prefix}-critic"}
_PANEL = ["builder", "skeptic", "futurist", "founder", "pm", "security", "operator"]
_PASSWORD = {"current": "{password}", "new": "{password}"}
_CATEGORY = {"slug": "{prefix}-tested", "name": "Tested"}


def _by_key(operation: str, **more: Any) -> Call:
    return Call(operation=operation, identity="key", **more)


def _by_editor(operation: str, **more: Any) -> Call:
    return Call(operation=operation, identity="session", **more)


def _replay(action: str, path: str, *statuses: int, **more: Any) -> Call:
    operation = f"V1ReplaysId{action}Replay"
    return _by_editor(operation, path={"id": f"{{{path}}}"}, statuses=statuses or (200,), **more)


def _webhook(operation: str, *statuses: int, **more: Any) -> Call:
    return _by_editor(
        f"V1WebhooksId{operation}", path={"id": "{webhook}"}, statuses=statuses or (200,), **more
    )


_LOG_IN = Call(operation="V1SessionLogIn", body={"name": "{user}", "password": "{password}"})
CALLS = [
    Call(operation="HealthzHealthz"),
    Call(operation="ReadyzReadyz"),
    _by_key(
        "V1ToolsSlugPutTool",
        path=_TOOL,
        body={"name": "Quill", "category": _CATEGORY, "pricing": {"entry": "Free"}},
        statuses=(201,),
        saves={"listed": "position"},
    ),
    Call(operation="V1ToolsSlugShowTool", path=_TOOL, query={"min_position": "{listed}"}),
    Call(operation="V1ToolsListTools", query={"category": "{prefix}-tested"}),
    Call(
        operation="V1VotesCastVote",
        body={"tool": "{prefix}-quill", "choice": "ship"},
        saves={"voted": "position"},
    ),
    Call(operation="V1MeVotesOwnVotes"),
    _by_key(
        "V1VotesBulkCastVotes",
        body='{"tool": "{prefix}-quill", "choice": "skip", "voter": "{prefix}-1"}\n',
        media_type="application/x-ndjson",
    ),
    Call(
        operation="V1ToolsSlugTallyToolTally",
        path=_TOOL,
        query={"min_position": "{voted}"},
    ),
    Call(operation="V1TalliesManyTallies", query={"tools": "{prefix}-quill"}),
    Call(operation=STREAM, query={"tools": "{prefix}-quill"}),
    Call(operation="V1ToolsSlugHistoryToolHistory", path=_TOOL),
    Call(operation="V1VotesToolRetractVote", path={"tool": "{prefix}-quill"}),
    Call(
        operation="V1MeBookmarksToolSaveBookmark",
        path={"tool": "{prefix}-quill"},
        body={"note": "For later.", "tags": ["pens"]},
    ),
    Call(operation="V1MeBookmarksOwnBookmarks"),
    Call(operation="V1MeBookmarksChangesBookmarkChanges"),
    Call(operation="V1MeBookmarksToolDropBookmark", path={"tool": "{prefix}-quill"}),
    _by_editor(
        "V1ToolsSlugTakesReviewerPutTake",
        path=_TAKE,
        body={"score": 88, "choice": "ship", "text": "Writes well."},
        statuses=(201,),
        saves={"judged": "position"},
    ),
    Call(
        operation="V1ToolsSlugTakesReviewerHistoryTakeHistory",
        path=_TAKE,
        query={"min_position": "{judged}"},
    ),
    Call(operation="V1ToolsSlugVerdictToolVerdict", path=_TOOL),
    Call(operation="V1ToolsSlugVerdictProofVerdictProof", path=_TOOL),
    Call(operation="V1VerdictsFlipsListFlips"),
    Call(operation="V1VerdictsFlipsAtomAtomFeed"),
    Call(operation="V1VerdictsFlipsJsonJsonFeed"),
    _by_key("V1ToolsSlugTakesReviewerWithdrawTake", path=_TAKE),
    Call(operation="V1ComparisonsLeftRightShowComparison", path=_PAIR),
    Call(operation="V1DiffShowDiff", query={"from": "0.1", "to": "{judged}"}),
    Call(operation="V1HealthDriftShowDrift"),
    _by_editor(
        "V1RulebooksPutRulebook",
        body={"name": "{prefix}-majority", "ship": ">3/5"},
        statuses=(201,),
        saves={"digest": "digest", "written": "position"},
    ),
    Call(operation="V1RulebooksListRulebooks", query={"min_position": "{written}"}),
    Call(operation="V1RulebooksDigestShowRulebook", path=_DIGEST),
    _by_editor(
        "V1RulebooksDigestAdoptAdoptRulebook",
        path=_DIGEST,
        body={"reason": "To see what happens.", "effective_at": _LATER},
    ),
    _by_editor("V1RulebooksDigestCallOffCallOffAdoption", path=_DIGEST),
    _by_editor("V1RulebooksDigestAdoptAdoptRulebook", path=_DIGEST, body={"reason": "It is better."}),
    _by_editor("V1RulebooksRollBackRollBackAdoption", body={"reason": "It is not."}),
    Call(operation="V1RulebooksAdoptionsListAdoptions"),
    _by_editor(
        "V1RulebooksDigestTrialAskTrial",
        path=_DIGEST,
        statuses=(202,),
        saves={"trial": "id"},
    ),
    _by_editor("V1TrialsIdShowTrial", path={"id": "{trial}"}, until=("state", ("done",))),
    _by_editor("V1RulebooksDigestTrialAskTrial", path=_DIGEST, statuses=(202,), saves={"second_trial": "id"}),
    _by_editor("V1TrialsIdCancelCancelTrial", path={"id": "{second_trial}"}, statuses=(200, 409)),
    _by_editor("V1TrialsListTrials"),
    _by_editor("V1TrialsCompareCompareTrials", query={"ids": "{trial}"}),
    _by_editor(
        "V1ReplaysAskReplay",
        body={"projection": "bookmark_counts", "hold": True},
        statuses=(202,),
        saves={"replay": "id"},
    ),
    _by_editor("V1ReplaysListReplays"),
    _replay("Show", "replay", until=("state", ("equal",))),
    _replay("CutOverCutOver", "replay", body={}),
    _replay("RollBackRollBack", "replay"),
    _by_editor(
        "V1ReplaysAskReplay",
        body={"projection": "tally", "hold": True},
        statuses=(202,),
        saves={"second_replay": "id"},
    ),
    # A worker may have finished it already.
    _replay("PausePause", "second_replay", 200, 409),
    _replay("ResumeResume", "second_replay", 200, 409),
    _replay("CancelCancel", "second_replay"),
    _by_editor("V1VerifyVerify"),
    _by_editor(
        "V1WebhooksOpenWebhook",
        body={"url": "http://127.0.0.1:9/flips", "tools": ["{prefix}-quill"]},
        statuses=(201,),
        saves={"webhook": "webhook.id"},
    ),
    _by_editor("V1WebhooksListWebhooks"),
    _webhook("ShowWebhook"),
    _webhook("RotateRotateSecret"),
    _webhook("EnableEnableWebhook"),
    _webhook("TestPingWebhook", 202, saves={"delivery": "id"}),
    _webhook("DeliveriesListDeliveries"),
    _by_editor(
        "V1WebhooksIdDeliveriesDeliveryRedeliverRedeliver",
        path={"id": "{webhook}", "delivery": "{delivery}"},
        statuses=(202,),
    ),
    _webhook("RemoveWebhook", 204),
    _by_key("V1ToolsSlugRetireRetireTool", path=_TOOL),
    _by_key(
        "V1ReviewersSlugPutReviewer",
        path=_REVIEWER,
        body={"name": "Critic"},
        statuses=(201,),
        saves={"seated": "position"},
    ),
    Call(operation="V1ReviewersSlugShowReviewer", path=_REVIEWER, query={"min_position": "{seated}"}),
    _by_key("V1ReviewersSlugRetireRetireReviewer", path=_REVIEWER),
    _by_key("V1ReviewersSlugRestoreRestoreReviewer", path=_REVIEWER),
    _by_editor("V1ReviewersSlugRetireRetireReviewer", path=_REVIEWER),
    _by_editor("V1ReviewersOrderOrderPanel", body={"order": _PANEL}),
    Call(operation="V1ReviewersListReviewers"),
    Call(operation="V1CategoriesListCategories"),
    _by_editor("V1SessionShowSession"),
    # From here on the visitor is a reviewer who logs in twice.
    _LOG_IN,
    Call(operation="V1MeSessionsOwnSessions", saves={"first_session": "items.0.id"}),
    _LOG_IN,
    Call(operation="V1MeSessionsEndSession", path={"session": "{first_session}"}, statuses=(204,)),
    Call(operation="V1MeSessionsEndOtherSessions"),
    Call(operation="V1MePasswordChangePassword", body=_PASSWORD),
    Call(operation="V1SessionLogOut", statuses=(204,)),
]
