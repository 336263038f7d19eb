"""The short way of a vote: one that is plain in every respect is answered here, before the app's router.

What is not plain beyond doubt, or would be refused, goes the long way with its body put back, so that its error is
the documented route's own. Who is over the limit, and what becomes of a vote in the queue, is told here.
"""

from __future__ import annotations

import time
from functools import cached_property
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Receive, Scope, Send
from msgspec import Struct

from domain.shared.types import Choice
from eventstore import ids
from eventstore.appender import Overloaded
from eventstore.casts import PendingCast
from services.api.http.admission import AdmissionControl
from services.api.http.app_state import AppState
from services.api.http.auth import VOTER_BYTES_MAX, is_foreign
from services.api.http.metrics import Meter
from services.api.http.problems import Answer, HttpRejected, messages, problem_of
from services.api.routes.votes import PATH, answer_to
from services.auth.identity import VISITOR_COOKIE


class PlainVote(Struct, frozen=True, forbid_unknown_fields=True):
    tool: str
    choice: Choice
    voter: str | None = None
    id: UUID | None = None

    @property
    def strings(self) -> int:
        """Names and values in the body, when no field stands there twice."""
        return 4 + 2 * (self.voter is not None) + 2 * (self.id is not None)


class VoteFastPath:
    """Around the whole app."""

    def __init__(self, app: Litestar, router: ASGIApp, admission: AdmissionControl) -> None:
        self._app, self._router, self._admission = app, router, admission
        self._meter = Meter(router, "POST", PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != ScopeType.HTTP
            or scope["path"] != PATH
            or scope["method"] != "POST"
            or scope["query_string"]
            or (headers := _plain_headers(scope["headers"])) is None
        ):
            await self._router(scope, receive, send)
            return
        started = time.perf_counter()
        try:
            message = await self._body(receive, int(headers[b"content-length"]), started)
        except HttpRejected as rejected:
            start, body = messages(rejected)
        else:
            pending = self._submit(headers, message)
            if pending is None:
                await self._router(scope, _again(message, receive), send)
                return
            start, body = await self._settle(pending)
        await send(self._admission.close_when_saturated(start))
        await send(body)
        self._meter.observe(start["status"], started)

    async def _body(self, receive: Receive, length: int, since: float) -> HTTPRequestEvent:
        """All of it in one message; whether more follows is only known to who asks, so its length tells."""
        message = cast(HTTPRequestEvent, await self._admission.receive_in_time(receive, since))
        while len(message.get("body", b"")) < length and message.get("more_body"):
            more = cast(HTTPRequestEvent, await self._admission.receive_in_time(receive, since))
            message = {**more, "body": message.get("body", b"") + more.get("body", b"")}
        return message

    async def _settle(self, pending: PendingCast) -> Answer:
        try:
            limits = await self._app_state.rate_limiter.admit_known(pending.source, pending.actor)
            result = await self._app_state.appenders.append(pending)
        except Overloaded:
            return _FULL
        except Exception as error:  # noqa: BLE001 - every error has its answer
            return messages(problem_of(error))
        body = msgspec.json.encode(answer_to(result))
        headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
        headers.extend((name.lower().encode(), value.encode()) for name, value in limits.items())
        return (
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": body, "more_body": False},
        )

    @cached_property
    def _app_state(self) -> AppState:
        """As they are once the app has started: the state itself looks each name up under a lock."""
        return cast(AppState, SimpleNamespace(**self._app.state.dict()))

    def _submit(self, headers: dict[bytes, bytes], message: HTTPRequestEvent) -> PendingCast | None:
        """What to append, if nothing about the request is in doubt."""
        vote = _decode(message)
        if vote is None or (tool := self._app_state.tool_directory.known_open_for_votes(vote.tool)) is None:
            return None
        if vote.id is not None and not ids.is_acceptable(vote.id):
            return None
        who = self._named(headers, vote.voter) if vote.voter is not None else self._visitor(headers)
        if who is None:
            return None
        return PendingCast("v", who[0], tool, vote.choice, vote.id or ids.mint(), who[1], vote.id is None)

    def _named(self, headers: dict[bytes, bytes], voter: str) -> tuple[UUID, str] | None:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        key = self._app_state.identity.cached_key(token) if scheme == b"Bearer" else None
        name = voter.encode()
        if key is None or "votes:write" not in key.scopes or not 0 < len(name) <= VOTER_BYTES_MAX:
            return None
        return self._app_state.identity.pseudonym("voter", name), key.id

    def _visitor(self, headers: dict[bytes, bytes]) -> tuple[UUID, str] | None:
        """Somebody with our cookie and no other, from a page of ours."""
        name, _, value = headers.get(b"cookie", b"").partition(b"=")
        if name != _VISITOR or b"authorization" in headers or _foreign(headers):
            return None
        actor = self._app_state.identity.visitor(value.decode("latin-1"))
        return None if actor is None else (actor, "web")


_BODY_BYTES_MAX = 1024  # of bodies that take no room worth counting; a plain vote is shorter
_FULL = messages(problem_of(Overloaded()))
_VISITOR = VISITOR_COOKIE.encode()
_OF_BROWSERS = (b"origin", b"host", b"sec-fetch-site")
_HEADERS = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_decoder = msgspec.json.Decoder(PlainVote)


def _plain_headers(sent: Any) -> dict[bytes, bytes] | None:
    """Each name once, and a body of plain JSON whose length is told."""
    headers = dict(sent)
    plain = (
        len(headers) == len(sent)
        and headers.get(b"content-type") == b"application/json"
        and b"host" in headers
        and _is_short(headers.get(b"content-length", b""))
        and b"transfer-encoding" not in headers
        and b"content-encoding" not in headers
    )
    return headers if plain else None


def _foreign(headers: dict[bytes, bytes]) -> bool:
    said = {name: headers[name].decode("latin-1") for name in _OF_BROWSERS if name in headers}
    return is_foreign(*map(said.get, _OF_BROWSERS))


def _is_short(length: bytes) -> bool:
    return len(length) <= 4 and length.isdigit() and int(length) <= _BODY_BYTES_MAX


def _decode(message: HTTPRequestEvent) -> PlainVote | None:
    """Without escapes and with as many strings as its fields account for, no field can stand twice."""
    body = message.get("body", b"")
    if message["type"] != "http.request" or b"\\" in body:
        return None
    try:
        vote = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return vote if body.count(b'"') == 2 * vote.strings else None


def _again(message: HTTPRequestEvent, receive: Receive) -> Receive:
    """The message that was taken, then those after it."""
    taken: list[HTTPRequestEvent] = [message]

    async def receive_again() -> Any:
        return taken.pop() if taken else await receive()

    return receive_again
