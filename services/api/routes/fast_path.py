"""The fast path of votes: a plain vote is answered before the framework, which would cost several times as much.

A request that is not plain, or that would be rejected, is passed to the router with its body restored, so every error
about the request itself comes from the documented route. Rate limits and errors of the commit are answered here.
"""

from __future__ import annotations

import time
from typing import Any, cast
from uuid import UUID

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Receive, Scope, Send
from msgspec import Struct

from domain.shared.types import Choice
from domain.voting.identifiers import valid_voter
from eventstore import ids
from eventstore.appender import Overloaded
from eventstore.casts import PendingCast
from services.api.http.app_state import AppState
from services.api.http.auth import is_foreign, renewed_cookies
from services.api.http.metrics import RouteMetrics
from services.api.http.overload.admission import AdmissionControl
from services.api.http.problems import Answer, HttpRejected, messages, problem_of
from services.api.http.request_framing import is_host
from services.api.routes.votes import PATH, answer_to
from services.auth.identity import VISITOR_COOKIE

_BODY_BYTES_MAX = (
    1024  # longer than any plain vote, and too small to count against the limit on bodies in memory
)


class PlainVote(Struct, frozen=True, forbid_unknown_fields=True):
    tool: str
    choice: Choice
    voter: str | None = None
    id: UUID | None = None

    @property
    def strings(self) -> int:
        """The number of strings, names and values, in a body that gives each field once."""
        return 4 + 2 * (self.voter is not None) + 2 * (self.id is not None)


class VoteFastPath:
    """An ASGI app in front of ``router``, while ``app_state`` is open."""

    def __init__(self, app_state: AppState, router: ASGIApp, admission: AdmissionControl) -> None:
        self._app_state, self._router, self._admission = app_state, router, admission
        self._metrics = RouteMetrics(router, "POST", PATH)

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
        self._admission.busy.add(scope["client"])  # type: ignore[arg-type]
        try:
            await self._vote(headers, scope, receive, send)
        finally:
            self._admission.busy.discard(scope["client"])

    async def _vote(self, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        try:
            message = await self._receive_body(receive, int(headers[b"content-length"]), started)
        except HttpRejected as rejected:
            start, body = messages(rejected)
        else:
            pending = self._decide(scope, headers, message)
            if pending is None:
                await self._router(scope, _replay(message, receive), send)
                return
            start, body = await self._append(scope, headers, pending)
        await send(self._admission.close_when_saturated(start))
        await send(body)
        self._metrics.observe(start["status"], started)

    async def _receive_body(self, receive: Receive, length: int, started: float) -> HTTPRequestEvent:
        """The whole body as one message. It is complete at ``length`` bytes, even if the server announces more."""
        message = cast(HTTPRequestEvent, await self._admission.receive_in_time(receive, started))
        while len(message.get("body", b"")) < length and message.get("more_body"):
            more = cast(HTTPRequestEvent, await self._admission.receive_in_time(receive, started))
            message = {**more, "body": message.get("body", b"") + more.get("body", b"")}
        return message

    def _decide(
        self, scope: Scope, headers: dict[bytes, bytes], message: HTTPRequestEvent
    ) -> PendingCast | None:
        """The cast to append, or None if the router has to answer the request."""
        vote = _decode(message)
        if vote is None or (tool := self._app_state.tool_directory.known_open_for_votes(vote.tool)) is None:
            return None
        if vote.id is not None and not ids.is_acceptable(vote.id):
            return None
        voter = self._named(headers, vote.voter) if vote.voter is not None else self._visitor(scope, headers)
        if voter is None:
            return None
        actor, source = voter
        return PendingCast("v", actor, tool, vote.choice, vote.id or ids.mint(), source, vote.id is None)

    def _named(self, headers: dict[bytes, bytes], voter: str) -> tuple[UUID, str] | None:
        """Actor and source of a vote under an API key that is cached and has the scope."""
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        key = self._app_state.identity.cached_key(token) if scheme == b"Bearer" else None
        name = voter.encode()
        if key is None or "votes:write" not in key.scopes or not valid_voter(name):
            return None
        return self._app_state.identity.pseudonym("voter", name), key.id

    def _visitor(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[UUID, str] | None:
        """Actor and source of a vote with our cookie, and no other cookie, from a page of this site."""
        name, _, value = headers.get(b"cookie", b"").partition(b"=")
        if name != _VISITOR or b"authorization" in headers or _is_foreign(scope, headers):
            return None
        actor = self._app_state.identity.visitor(value.decode("latin-1"))
        return None if actor is None else (actor, "web")

    async def _append(self, scope: Scope, sent: dict[bytes, bytes], pending: PendingCast) -> Answer:
        try:
            limits = await self._app_state.rate_limiter.admit_known(pending.source, pending.actor)
            result = await self._app_state.appenders.append(pending)
        except Overloaded as error:
            return _OVERLOADED if type(error) is Overloaded else messages(problem_of(error))
        except Exception as error:  # noqa: BLE001 - problem_of answers every error
            return messages(problem_of(error))
        body = msgspec.json.encode(answer_to(result))
        headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
        headers += [(name.lower().encode(), value.encode()) for name, value in limits.items()]
        if pending.source == "web":
            headers += self._renewed_cookies(scope, sent)
        return (
            {"type": "http.response.start", "status": 200, "headers": headers},
            {"type": "http.response.body", "body": body, "more_body": False},
        )

    def _renewed_cookies(self, scope: Scope, sent: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        cookie = sent[b"cookie"].partition(b"=")[2].decode()
        renewed = renewed_cookies(scope, self._app_state.identity, cookie)
        return [each.to_encoded_header() for each in renewed]


_OVERLOADED = messages(problem_of(Overloaded()))
_VISITOR = VISITOR_COOKIE.encode()
_ORIGIN_HEADERS = (b"sec-fetch-site", b"origin", b"host")
_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_decoder = msgspec.json.Decoder(PlainVote)


def _plain_headers(sent: Any) -> dict[bytes, bytes] | None:
    """The headers, if each is given once and they announce a short JSON body, neither chunked nor compressed."""
    headers = dict(sent)
    plain = (
        len(headers) == len(sent)
        and headers.get(b"content-type") == b"application/json"
        and is_host(headers.get(b"host", b""))
        and _is_short(headers.get(b"content-length", b""))
        and b"transfer-encoding" not in headers
        and b"content-encoding" not in headers
    )
    return headers if plain else None


def _is_short(length: bytes) -> bool:
    return len(length) <= 4 and length.isdigit() and int(length) <= _BODY_BYTES_MAX


def _decode(message: HTTPRequestEvent) -> PlainVote | None:
    """None unless the body is a vote that gives each field once. Without escapes, the number of quotes proves that."""
    body = message.get("body", b"")
    if message["type"] != "http.request" or b"\\" in body:
        return None
    try:
        vote = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return vote if body.count(b'"') == 2 * vote.strings else None


def _is_foreign(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    sent = {name: headers[name].decode("latin-1") for name in _ORIGIN_HEADERS if name in headers}
    return is_foreign(scope, *map(sent.get, _ORIGIN_HEADERS))


def _replay(message: HTTPRequestEvent, receive: Receive) -> Receive:
    """A ``receive`` that returns ``message`` first, and then the messages after it."""
    received: list[HTTPRequestEvent] = [message]

    async def receive_again() -> Any:
        return received.pop() if received else await receive()

    return receive_again
