"""Authorization: every route has a guard, and only the clients it names get past it."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import product
from types import MappingProxyType
from uuid import UUID, uuid4

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from domain.rulebooks.presets import DEFAULT
from services.api.app import create_app
from services.api.http import auth
from services.auth.accounts import create_user
from services.auth.identity import SESSION_COOKIE, VISITOR_COOKIE, Identity
from services.cli.commands.keys import REVOKE_KEY, create_key
from services.settings import Settings
from tests.support.stage import (
    TOOL,
    Client,
    Headers,
    Stage,
    assert_problem,
    catch_up,
    count_events,
    new_visitor,
    seat_panel,
    vote,
    vote_as,
)

TAKE = {"score": 50, "choice": "ship", "text": ""}

# Routes of the framework: the OpenAPI document and its pages.
DESCRIPTION = "/schema"
REPLAY_ACTIONS = ("pause", "resume", "cancel", "cut-over", "roll-back")
REPLAY = f"/v1/replays/{UUID(int=0)}"
WEBHOOK_ACTIONS = ("rotate", "enable", "test")
WEBHOOK = f"/v1/webhooks/{UUID(int=0)}"
REDELIVER = f"{WEBHOOK}/deliveries/{UUID(int=0)}/redeliver"


def handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", [getattr(route, "route_handler", None)]):
            if getattr(handler, "http_methods", None) != {"OPTIONS"} and not route.path.startswith(
                DESCRIPTION
            ):
                yield route.path, handler


def test_every_route_has_a_guard() -> None:
    app = create_app(Settings(database_url="", secret=b""))
    without = [
        path
        for path, handler in handlers(app)
        if not any(guard.__module__ == auth.__name__ for guard in handler.resolve_guards())
    ]
    assert len(list(handlers(app))) > 20
    assert without == []


# Every kind of client tries every write.

WRITES: dict[str, tuple[str, str, object]] = {
    "vote": ("POST", "/v1/votes", {"tool": "quill", "choice": "ship"}),
    "bulk": ("POST", "/v1/votes/bulk", None),
    "retract": ("DELETE", "/v1/votes/quill", None),
    "save": ("PUT", "/v1/me/bookmarks/quill", None),
    "drop": ("DELETE", "/v1/me/bookmarks/quill", None),
    "put tool": ("PUT", "/v1/tools/quill", TOOL),
    "retire": ("POST", "/v1/tools/missing/retire", None),
    "put reviewer": ("PUT", "/v1/reviewers/builder", {"name": "Builder"}),
    "retire reviewer": ("POST", "/v1/reviewers/nobody/retire", None),
    "restore reviewer": ("POST", "/v1/reviewers/nobody/restore", None),
    "order": ("PUT", "/v1/reviewers/order", {"order": ["builder", "skeptic"]}),
    "own take": ("PUT", "/v1/tools/quill/takes/builder", TAKE),
    "other take": ("PUT", "/v1/tools/quill/takes/skeptic", TAKE),
    "withdraw own": ("DELETE", "/v1/tools/quill/takes/builder", None),
    "withdraw other": ("DELETE", "/v1/tools/quill/takes/skeptic", None),
    "replay": ("POST", "/v1/replays", {"projection": "my_votes"}),
    **{
        action: ("POST", f"{REPLAY}/{action}", {} if action == "cut-over" else None)
        for action in REPLAY_ACTIONS
    },
    "verify": ("POST", "/v1/verify", None),
    "trial": ("POST", f"/v1/rulebooks/sha256:{'0' * 64}/trial", None),
    "cancel trial": ("POST", f"/v1/trials/{UUID(int=0)}/cancel", None),
    "write rulebook": ("POST", "/v1/rulebooks", json.loads(DEFAULT.canonical)),
    "adopt": ("POST", "/v1/rulebooks/default/adopt", {"reason": "It is in force."}),
    "call off": ("POST", "/v1/rulebooks/default/call-off", None),
    "roll back": ("POST", "/v1/rulebooks/roll-back", {"reason": "There is none before it."}),
    "webhook": ("POST", "/v1/webhooks", {"url": "https://shiplog.example.com/"}),
    "remove webhook": ("DELETE", WEBHOOK, None),
    **{action: ("POST", f"{WEBHOOK}/{action}", None) for action in WEBHOOK_ACTIONS},
    "redeliver": ("POST", REDELIVER, None),
    "end session": ("DELETE", f"/v1/me/sessions/{'0' * 16}", None),
    "password": ("PUT", "/v1/me/password", {"current": "wrong", "new": "another password"}),
    "end other sessions": ("DELETE", "/v1/me/sessions", None),
}
RULES = ["write rulebook", "adopt", "call off", "roll back"]
WEBHOOKS = ["webhook", "remove webhook", *WEBHOOK_ACTIONS, "redeliver"]
EDITORS = ["replay", *REPLAY_ACTIONS, "verify", "trial", "cancel trial", *RULES, *WEBHOOKS]
# What only a person who is logged in may do: the status, or 403 for a wrong current password.
PEOPLE = {"end session": 404, "password": 403, "end other sessions": 200}
NOT_FOUND = ["retire", "retire reviewer", "restore reviewer"]
# For a client that passes the guard, the status depends on what exists.
EDITORS_ONLY = {"editor": {200, 201, 404, 409}, "nobody": {401}, "reviewer": {403}}
VISITORS = ["vote", "retract", "save", "drop"]
OWN_TAKES = ["own take", "withdraw own"]


def expected(client: str, write: str) -> set[int]:
    """The possible statuses; 404 if the client may retire tools and reviewers, for those that do not exist."""
    allowed = {404} if write in NOT_FOUND else {200, 201}
    match client:
        case "nobody":
            return allowed if write in VISITORS else {401}
        case "key for votes":
            # Allowed, but the request names no voter.
            return {400, 415} if write in [*VISITORS, "bulk"] else {403}
        case "key for reading":
            return {403}
        case "key for the catalogue":
            return {403} if write in [*VISITORS, "bulk"] else allowed
        case "revoked key" | "made-up key":
            return {401}
        case "reviewer":
            return allowed if write in VISITORS + OWN_TAKES else {401, 403}
        case "editor":
            return allowed if write != "bulk" else {401, 403}
        case _:  # from a page of another site, whatever its cookies
            return {401, 403} if write == "bulk" else {403}


def expected_of_people(client: str, write: str) -> set[int]:
    match client:
        case "nobody" | "revoked key" | "made-up key":
            return {401}
        case "reviewer" | "editor":
            return {PEOPLE[write]}
        case _:  # a key, or a page of another site
            return {403}


CLIENTS = [
    *("nobody", "key for votes", "key for reading", "key for the catalogue", "revoked key", "made-up key"),
    *("reviewer", "editor", "editor from another site", "editor from nowhere", "visitor from another site"),
]


@pytest.fixture(scope="module")
async def clients(stage: Stage) -> dict[str, Callable[[], Client]]:
    """Makes a new client of each kind, for every request."""
    await seat_panel(stage.log, "skeptic")
    await catch_up(stage.log)
    revoked = await create_key(stage.settings, stage.log, "revoked", ("catalogue:write", "votes:write"))
    await stage.log.execute(REVOKE_KEY, revoked.id)
    sessions = {role: await _session(stage, role) for role in ("editor", "reviewer")}

    def client(
        headers: Headers = MappingProxyType({}), cookies: Headers = MappingProxyType({})
    ) -> Callable[[], Client]:
        def make() -> Client:
            client = new_visitor(stage.client)
            client.headers.update(headers)
            client.cookies.update(dict(cookies))
            return client

        return make

    return {
        "nobody": client(),
        "key for votes": client(stage.vote_key),
        "key for reading": client(stage.read_key),
        "key for the catalogue": client(stage.catalogue_key),
        "revoked key": client({"Authorization": f"Bearer {revoked.key}"}),
        "made-up key": client({"Authorization": "Bearer slk_" + "A" * 43}),
        "reviewer": client(cookies=sessions["reviewer"]),
        "editor": client(cookies=sessions["editor"]),
        "editor from another site": client({"Origin": "https://evil.example"}, sessions["editor"]),
        "editor from nowhere": client({"Origin": "null"}, sessions["editor"]),
        "visitor from another site": client({"Sec-Fetch-Site": "cross-site"}),
    }


async def _session(stage: Stage, role: str) -> dict[str, str]:
    name = f"{role} {uuid4()}"
    user = await create_user(stage.log, name, role, "builder" if role == "reviewer" else None)  # type: ignore[arg-type]
    visitor = new_visitor(stage.client)
    opened = await visitor.post("/v1/session", json={"name": name, "password": user.password})
    assert opened.json() == {"name": name, "role": role}
    return {SESSION_COOKIE: visitor.cookies[SESSION_COOKIE]}


@pytest.mark.parametrize(
    ("client", "write"), list(product(CLIENTS, WRITES)), ids=lambda each: str(each).replace(" ", "-")
)
async def test_each_client_can_write_only_what_it_may(
    stage: Stage, clients: dict[str, Callable[[], Client]], client: str, write: str
) -> None:
    method, address, body = WRITES[write]
    before = await count_events(stage.log)
    answer = await clients[client]().request(method, address, json=body)
    if write in PEOPLE:
        allowed = expected_of_people(client, write)
    else:
        allowed = EDITORS_ONLY.get(client, {401, 403}) if write in EDITORS else expected(client, write)
    assert answer.status_code in allowed, answer.text
    if answer.status_code >= 400:
        assert_problem(answer, answer.status_code)
        assert await count_events(stage.log) == before


def test_every_route_that_writes_is_in_the_table() -> None:
    app = create_app(Settings(database_url="", secret=b""))
    writes = {
        (method, path)
        for path, handler in handlers(app)
        for method in getattr(handler, "http_methods", ())
        if method not in ("GET", "HEAD") and path != "/v1/session"
    }
    shapes = {
        ("POST", "/v1/votes"),
        ("POST", "/v1/votes/bulk"),
        ("DELETE", "/v1/votes/{tool:str}"),
        ("PUT", "/v1/me/bookmarks/{tool:str}"),
        ("DELETE", "/v1/me/bookmarks/{tool:str}"),
        ("PUT", "/v1/tools/{slug:str}"),
        ("POST", "/v1/tools/{slug:str}/retire"),
        ("POST", "/v1/replays"),
        *(("POST", f"/v1/replays/{{id:uuid}}/{action}") for action in REPLAY_ACTIONS),
        ("POST", "/v1/verify"),
        ("POST", "/v1/rulebooks/{digest:str}/trial"),
        ("POST", "/v1/trials/{id:uuid}/cancel"),
        ("POST", "/v1/rulebooks"),
        ("POST", "/v1/rulebooks/roll-back"),
        *(("POST", f"/v1/rulebooks/{{digest:str}}/{action}") for action in ("adopt", "call-off")),
        ("POST", "/v1/webhooks"),
        ("DELETE", "/v1/webhooks/{id:uuid}"),
        *(("POST", f"/v1/webhooks/{{id:uuid}}/{action}") for action in WEBHOOK_ACTIONS),
        ("POST", "/v1/webhooks/{id:uuid}/deliveries/{delivery:uuid}/redeliver"),
        ("PUT", "/v1/reviewers/{slug:str}"),
        ("PUT", "/v1/reviewers/order"),
        *(("POST", f"/v1/reviewers/{{slug:str}}/{action}") for action in ("retire", "restore")),
        ("PUT", "/v1/me/password"),
        ("DELETE", "/v1/me/sessions"),
        ("DELETE", "/v1/me/sessions/{session:str}"),
        ("PUT", "/v1/tools/{slug:str}/takes/{reviewer:str}"),
        ("DELETE", "/v1/tools/{slug:str}/takes/{reviewer:str}"),
    }
    assert writes == shapes


async def test_a_revoked_key_is_not_found(stage: Stage) -> None:
    """A process that has it cached forgets it within a second."""
    new_key = await create_key(stage.settings, stage.log, "short-lived", ("catalogue:write",))
    identity = Identity(stage.settings, stage.log)
    assert await identity.api_key(new_key.key) is not None
    await stage.log.execute(REVOKE_KEY, new_key.id)
    assert await Identity(stage.settings, stage.log).api_key(new_key.key) is None


async def test_a_key_that_is_revoked_or_made_up_is_a_401_on_every_route(stage: Stage) -> None:
    """Open reads, pages, streams and the fast path of votes included."""
    new_key = await create_key(stage.settings, stage.log, "short-lived", ("votes:write",))
    await stage.log.execute(REVOKE_KEY, new_key.id)
    app: Litestar = stage.client._transport.app  # type: ignore[attr-defined]
    routes = [(path, methods) for path, methods in paths_of(app) if not path.startswith(DESCRIPTION)]
    assert len(routes) > 60
    for key in (new_key.key, "slk_made-up"):
        headers = {"Authorization": f"Bearer {key}"}
        for path, methods in routes:
            for method in methods - {"OPTIONS", "HEAD"}:
                answer = await stage.client.request(method, path, headers=headers)
                assert answer.status_code == 401, (method, path, answer.status_code)
        body = {"tool": "quill", "choice": "ship", "voter": "v"}
        assert_problem(await stage.client.post("/v1/votes", json=body, headers=headers), 401)


def paths_of(app: Litestar) -> Iterator[tuple[str, set[str]]]:
    """Every path with some value for each parameter, and its methods."""
    for path, handler in handlers(app):
        filled = re.sub(r"\{\w+:uuid\}", str(UUID(int=7)), path)
        yield re.sub(r"\{\w+:\w+\}", "quill", filled), set(handler.http_methods)


async def test_credentials_for_others_do_not_close_open_routes(stage: Stage) -> None:
    """Of a proxy in front, and of whatever watches the process."""
    for path, credentials in (
        ("/v1/tools", "Basic dTpw"),
        ("/", "Basic dTpw"),
        ("/healthz", "Bearer probe"),
    ):
        answer = await stage.client.get(path, headers={"Authorization": credentials})
        assert answer.status_code == 200, path


async def test_a_program_reads_the_votes_and_the_shelf_of_the_voter_it_names(stage: Stage) -> None:
    client = new_visitor(stage.client)
    cast = await vote_as(client, stage.vote_key, "gen-1", "skip")
    await client.put("/v1/me/bookmarks/quill?voter=gen-1", headers=stage.vote_key)
    own = [{"tool": "quill", "choice": "skip", "position": cast.json()["position"]}]
    for key in (stage.vote_key, stage.read_key):
        for query in ("voter=gen-1", "voter=gen-1&tools=quill"):
            assert (await client.get(f"/v1/me/votes?{query}", headers=key)).json()["items"] == own
        assert (await client.get("/v1/me/votes?voter=gen-2", headers=key)).json()["items"] == []
        shelf = (await client.get("/v1/me/bookmarks?voter=gen-1", headers=key)).json()["items"]
        assert [each["tool"]["slug"] for each in shelf] == ["quill"]
        assert (await client.get("/v1/me/bookmarks/changes?voter=gen-1", headers=key)).status_code == 200


async def test_a_program_must_name_a_voter_and_be_allowed_to(stage: Stage) -> None:
    client = new_visitor(stage.client)
    for path in ("/v1/me/votes", "/v1/me/bookmarks", "/v1/me/bookmarks/changes"):
        for query in ("", "?voter=", f"?voter={'x' * 129}"):
            assert_problem(await client.get(path + query, headers=stage.read_key), 400, "invalid")
        assert_problem(await client.get(f"{path}?voter=v", headers=stage.catalogue_key), 403, "forbidden")
        for query in ("?voter=v", "?voter="):
            assert_problem(await client.get(path + query), 403, "forbidden")


# Sessions.


async def test_a_session_cookie_set_before_the_log_in_is_not_used(stage: Stage) -> None:
    """Session fixation: whoever set the cookie does not get the session."""
    user = await create_user(stage.log, "vera", "editor")
    visitor = new_visitor(stage.client)
    visitor.cookies.set(SESSION_COOKIE, "chosen-by-somebody-else", domain="shiplog.test")
    opened = await visitor.post("/v1/session", json={"name": "vera", "password": user.password})
    assert opened.status_code == 200
    assert "chosen-by-somebody-else" not in opened.headers["set-cookie"]
    attacker = new_visitor(stage.client)
    attacker.cookies.set(SESSION_COOKIE, "chosen-by-somebody-else")
    assert_problem(await attacker.get("/v1/session"), 401)


async def test_a_session_that_is_closed_ends_for_all_its_clients(stage: Stage) -> None:
    cookies = await _session(stage, "editor")
    here, there = new_visitor(stage.client), new_visitor(stage.client)
    here.cookies.update(cookies)
    there.cookies.update(cookies)
    assert (await there.get("/v1/session")).status_code == 200
    assert (await here.delete("/v1/session")).status_code == 204
    assert_problem(await there.get("/v1/session"), 401)
    assert_problem(await there.put("/v1/tools/quill", json=TOOL), 401)


async def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(stage: Stage) -> None:
    await create_user(stage.log, "known", "editor")
    visitor = new_visitor(stage.client)
    answers = [
        (await visitor.post("/v1/session", json={"name": name, "password": "wrong"}))
        for name in ("known", "unknown")
    ]
    assert answers[0].content == answers[1].content
    assert_problem(answers[0], 401)


async def test_many_attempts_to_log_in_do_not_delay_votes(stage: Stage) -> None:
    """The vote is answered while most of the attempts still wait."""
    attempts = [
        asyncio.create_task(
            new_visitor(stage.client).post("/v1/session", json={"name": "nobody", "password": f"attempt {n}"})
        )
        for n in range(20)
    ]
    await vote(new_visitor(stage.client))
    assert not all(each.done() for each in attempts)
    assert {each.status_code for each in await asyncio.gather(*attempts)} == {401}


# Forgeries.


def mutations(genuine: str, alphabet: str, count: int) -> Iterator[str]:
    """Values cut, changed, repeated, rotated or lengthened; never the genuine one."""
    rng = random.Random(20)
    while count:
        at, other = rng.randrange(len(genuine)), rng.randrange(len(genuine))
        forged = rng.choice(
            [
                genuine[:at] + rng.choice(alphabet) + genuine[at + 1 :],
                genuine[:at],
                genuine[at:],
                genuine[:at] + genuine[at + 1 :],
                genuine[:at] + rng.choice(alphabet) + genuine[at:],
                genuine[at:] + genuine[:at],
                genuine[:at] + genuine[other:],
                genuine + genuine[at:],
                genuine.swapcase() if at % 7 else genuine * 40,
            ]
        )
        if forged != genuine:
            count -= 1
            yield forged


BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/%"


async def test_a_forged_cookie_identifies_no_visitor(stage: Stage) -> None:
    visitor = new_visitor(stage.client)
    await vote(visitor)
    genuine = visitor.cookies[VISITOR_COOKIE]
    identity = Identity(stage.settings, stage.log)
    owner = identity.visitor(genuine)
    assert owner is not None
    accepted = [
        forged for forged in mutations(genuine, BASE64, 2_000) if identity.visitor(forged) is not None
    ]
    assert accepted == []


async def test_a_forged_cookie_reads_nothing_of_its_owner(stage: Stage) -> None:
    owner = new_visitor(stage.client)
    await vote(owner)
    await owner.put("/v1/me/bookmarks/quill")
    attacker = new_visitor(stage.client)
    for forged in mutations(owner.cookies[VISITOR_COOKIE], BASE64, 150):
        for address in ("/v1/me/votes", "/v1/me/bookmarks"):
            answer = await attacker.get(address, headers={"Cookie": f"{VISITOR_COOKIE}={forged}"})
            assert (answer.status_code, answer.json()["items"]) == (200, [])


async def test_a_forged_cookie_votes_as_a_new_visitor(stage: Stage) -> None:
    owner = new_visitor(stage.client)
    await vote(owner)
    forged = owner.cookies[VISITOR_COOKIE][:-1]
    answer = await new_visitor(stage.client).post(
        "/v1/votes",
        json={"tool": "quill", "choice": "skip"},
        headers={"Cookie": f"{VISITOR_COOKIE}={forged}"},
    )
    assert answer.json()["replaced"] is None
    assert VISITOR_COOKIE in answer.headers["set-cookie"]


async def test_a_cookie_signed_with_another_secret_identifies_no_visitor(stage: Stage) -> None:
    elsewhere = Identity(Settings(database_url="", secret=b"another secret of thirty-two byt"), stage.log)
    assert Identity(stage.settings, stage.log).visitor(elsewhere.mint_visitor()) is None


@pytest.mark.parametrize("cookie", ["", "x" * 8_192, "%00", "a.b.c", "..", '"', "\u00e9", "a=b; a=c"])
async def test_a_malformed_cookie_is_ignored(stage: Stage, cookie: str) -> None:
    for name in (VISITOR_COOKIE, SESSION_COOKIE):
        headers = {"Cookie": f"{name}={cookie}; {name}={cookie}".encode()}
        visitor = new_visitor(stage.client)
        assert (await visitor.get("/v1/me/votes", headers=headers)).json()["items"] == []  # type: ignore[arg-type]
        assert_problem(await visitor.get("/v1/session", headers=headers), 401)  # type: ignore[arg-type]


async def test_forged_keys_are_rejected(stage: Stage) -> None:
    genuine = stage.catalogue_key["Authorization"].removeprefix("Bearer ")
    identity = Identity(stage.settings, stage.log)
    assert [forged for forged in mutations(genuine, BASE64, 2_000) if await identity.api_key(forged)] == []
    visitor = new_visitor(stage.client)
    for forged in mutations(genuine, BASE64, 200):
        answer = await visitor.put(
            "/v1/tools/quill", json=TOOL, headers={"Authorization": f"Bearer {forged}"}
        )
        assert_problem(answer, 401)


async def test_a_forged_session_is_not_found(stage: Stage) -> None:
    (genuine,) = (await _session(stage, "editor")).values()
    identity = Identity(stage.settings, stage.log)
    assert [f for f in mutations(genuine, BASE64, 500) if await identity.login(f) is not None] == []
