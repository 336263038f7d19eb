"""Load: a client that sends a workload of votes and records every call for the oracle.

The client keeps one HTTP/1.1 request in flight on each connection, and records a call before it is sent and after it
has ended. After a timeout, a broken connection or a 503 it is unknown whether the cast was stored: the same cast, with the
same id, is sent again to the next server until it is answered.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar
from typing import cast as typed
from urllib.parse import urlencode
from uuid import UUID

from tests.oracles import votes as vote_oracle
from tests.oracles.votes import Answer, Cast
from tests.support.workload import Send, SendQueue, Workload, is_visitor, plan

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """A line of the history: added when the cast is sent, completed when the call has ended."""

    cast: Cast
    server: int
    sent: int
    ended: int = 0
    status: int = 0  # 0 for a broken connection or a timeout
    body: bytes = b""

    def for_oracle(self) -> vote_oracle.Call:
        return vote_oracle.Call(
            self.cast, self.sent, self.ended, self._answer() if self.status == 200 else None
        )

    def _answer(self) -> Answer:
        answer = json.loads(self.body)
        vote_id = UUID(answer["id"]).bytes
        return Answer(answer["outcome"], answer["position"], vote_id, answer["choice"], answer["replaced"])

    def line(self) -> str:
        cast = asdict(self.cast) | {"id": self.cast.id and str(UUID(bytes=self.cast.id))}
        ended = {"sent": self.sent, "ended": self.ended, "status": self.status, "body": self.body.decode()}
        return json.dumps(cast | {"server": self.server} | ended)


@dataclass
class History:
    workload: Workload
    now_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    calls: list[Call] = field(default_factory=list)
    cookies: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0

    def for_oracle(self) -> list[vote_oracle.Call]:
        return [call.for_oracle() for call in self.calls]

    def write(self, path: Path) -> str:
        """Saves it for debugging; returns the note that says where."""
        head = json.dumps(asdict(self.workload) | {"now_ms": self.now_ms})
        path.write_text("\n".join([head, *(call.line() for call in self.calls)]) + "\n")
        return f"seed {self.workload.seed}; history in {path}"


_ANSWER_SECONDS = 10.0  # seconds for one answer
_STALLED_SECONDS = 60.0  # seconds without any answer
_RETRY_SECONDS = 0.05  # seconds before a refused connection is tried again
_RETRY_SECONDS_MAX = 0.25  # seconds; the longest Retry-After of a server that is obeyed


class UnexpectedAnswer(Exception):
    """An answer that a valid cast must not get."""


class LoadClient:
    """All connections to all servers, and the queues that wait for a free one."""

    def __init__(self, ports: Sequence[int], key: str, history: History, connections: int = 64) -> None:
        self.history = history
        self.answered = 0
        self._ports, self._connections = ports, connections
        self._key = f"Authorization: Bearer {key}\r\n".encode()
        self._waiting: list[deque[SendQueue]] = [deque() for _ in ports]
        self._idle: list[list[_Connection]] = [[] for _ in ports]
        self._busy: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._unfinished = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, queues: deque[SendQueue]) -> None:
        """Returns when every cast has been answered. Raises UnexpectedAnswer, or TimeoutError when no answers come."""
        began, self._unfinished = time.monotonic(), len(queues)
        for queue in queues:
            self._waiting[queue[0].server].append(queue)
        for server in range(len(self._ports)):
            for _ in range(self._connections):
                self._connect(server)
        watching = asyncio.create_task(self._watch())
        try:
            await self._done
        finally:
            watching.cancel()
            self._close()
            self.history.seconds += time.monotonic() - began

    @property
    def finished(self) -> bool:
        return self._done.done()

    async def until_answered(self, count: int) -> None:
        await eventually(lambda: self.answered >= count or self.finished, _STALLED_SECONDS * 10)

    def _connect(self, server: int) -> None:
        task = asyncio.create_task(self._connect_when_possible(server))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_when_possible(self, server: int) -> None:
        loop = asyncio.get_running_loop()
        while not self._done.done():
            try:
                await loop.create_connection(
                    lambda: _Connection(self, server), "127.0.0.1", self._ports[server]
                )
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _watch(self) -> None:
        """Breaks off overdue calls; fails when nothing has been answered for long."""
        answered, progressed = self.answered, time.monotonic()
        while not self._done.done():
            await asyncio.sleep(0.25)
            now = time.monotonic()
            if self.answered != answered:
                answered, progressed = self.answered, now
            if now - progressed > _STALLED_SECONDS:
                self._fail(
                    TimeoutError(f"nothing answered for {_STALLED_SECONDS} s, {self._unfinished} queues left")
                )
            overdue = time.monotonic_ns() - int(_ANSWER_SECONDS * 1e9)
            for connection in [each for each in self._busy if each.call.sent < overdue]:
                connection.transport.abort()

    def _close(self) -> None:
        for task in self._connecting:
            task.cancel()
        for connection in [*self._busy, *(each for idle in self._idle for each in idle)]:
            connection.transport.abort()

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    # Called by connections.

    def free(self, connection: _Connection) -> None:
        """Sends the next queue that waits for this connection's server, or keeps the connection idle."""
        waiting = self._waiting[connection.server]
        if waiting:
            self._busy.add(connection)
            self._start(connection, waiting.popleft())
        else:
            self._idle[connection.server].append(connection)

    def ended(self, connection: _Connection, status: int, head: bytes, body: bytes) -> None:
        """A call was answered, or broken off (status 0)."""
        queue, call = connection.queue, connection.call
        self._busy.discard(connection)
        if self._done.done():
            return
        call.ended, call.status, call.body = time.monotonic_ns(), status, body
        if status == 200:
            self._answered(queue, call, head)
        elif status in (0, 429, 503):
            self._resend(queue, head)
        else:
            self._fail(UnexpectedAnswer(f"{call.cast} was answered {status}: {body.decode()}"))

    def closed(self, connection: _Connection) -> None:
        idle = self._idle[connection.server]
        if connection in idle:
            idle.remove(connection)
        if not self._done.done():
            self._connect(connection.server)

    def _start(self, connection: _Connection, queue: SendQueue) -> None:
        send = queue[0]
        call = Call(send.cast, connection.server, time.monotonic_ns())
        self.history.calls.append(call)
        connection.send(queue, call, self._request(send.cast))

    def _answered(self, queue: SendQueue, call: Call, head: bytes) -> None:
        self.answered += 1
        if is_visitor(call.cast.voter) and call.cast.voter not in self.history.cookies:
            self.history.cookies[call.cast.voter] = _cookie(head)
        queue.popleft()
        if queue:
            self._push(queue)
            return
        self._unfinished -= 1
        if not self._unfinished and not self._done.done():
            self._done.set_result(None)

    def _resend(self, queue: SendQueue, head: bytes) -> None:
        """The same cast again, to the next server."""
        cast, server = queue[0].cast, queue[0].server
        if is_visitor(cast.voter) and cast.voter not in self.history.cookies:
            self._fail(UnexpectedAnswer(f"{cast}: a first vote without a cookie cannot be sent again"))
        queue[0] = Send(cast, (server + 1) % len(self._ports))
        asyncio.get_running_loop().call_later(_retry_after(head), self._push, queue)

    def _push(self, queue: SendQueue) -> None:
        server = queue[0].server
        self._waiting[server].append(queue)
        if self._idle[server]:
            self.free(self._idle[server].pop())

    def _request(self, cast: Cast) -> bytes:
        visitor = is_visitor(cast.voter)
        credentials = self._cookie_of(cast.voter) if visitor else self._key
        fields = {"id": str(UUID(bytes=cast.id))} if cast.id else {}
        if not visitor:
            fields["voter"] = cast.voter
        if cast.choice is None:
            query = f"?{urlencode(fields)}" if fields else ""
            return b"DELETE /v1/votes/%b%b HTTP/1.1\r\nHost: shiplog\r\n%b\r\n" % (
                cast.tool.encode(),
                query.encode(),
                credentials,
            )
        body = json.dumps({"tool": cast.tool, "choice": cast.choice, **fields}).encode()
        return (
            b"POST /v1/votes HTTP/1.1\r\nHost: shiplog\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n%b\r\n%b" % (len(body), credentials, body)
        )

    def _cookie_of(self, visitor: str) -> bytes:
        cookie = self.history.cookies.get(visitor)
        return b"Cookie: %b\r\n" % cookie if cookie else b""


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight. It parses only status and length."""

    transport: asyncio.Transport
    queue: SendQueue
    call: Call

    def __init__(self, client: LoadClient, server: int) -> None:
        self.server = server
        self._client = client
        self._received = b""
        self._in_flight = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typed(asyncio.Transport, transport)  # uvloop's transport does not inherit from it
        if transport.get_extra_info("sockname") == transport.get_extra_info("peername"):
            self.transport.abort()  # no server listens, and TCP has connected the socket to itself
            return
        self._client.free(self)

    def send(self, queue: SendQueue, call: Call, request: bytes) -> None:
        self.queue, self.call, self._in_flight = queue, call, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(header(head, b"content-length") or 0)
        if len(rest) >= length:
            self._received, self._in_flight = rest[length:], False
            self._client.ended(self, int(head[9:12]), head, rest[:length])
            self._client.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self._in_flight:
            self._in_flight = False
            self._client.ended(self, 0, b"", b"")
        self._client.closed(self)


def header(head: bytes, name: bytes) -> bytes | None:
    """The first value of a header; names are case-insensitive."""
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end > 0 else None].strip()


def _cookie(head: bytes) -> bytes:
    return (header(head, b"set-cookie") or b"").partition(b";")[0]


def _retry_after(head: bytes) -> float:
    asked = header(head, b"retry-after")
    return min(float(asked), _RETRY_SECONDS_MAX) if asked else _RETRY_SECONDS


async def send_all(
    history: History, ports: Sequence[int], key: str, *alongside: Callable[[LoadClient], Awaitable[object]]
) -> None:
    """Send the whole workload while ``alongside`` runs, which must end by itself."""
    client = LoadClient(ports, key, history)
    queues = plan(history.workload, history.now_ms)
    await asyncio.gather(client.send(queues), *(each(client) for each in alongside))


@contextmanager
def saved_on_failure(history: History, folder: Path) -> Iterator[None]:
    """If the block fails, saves the history and adds a note to the error that says where."""
    try:
        yield
    except BaseException as error:
        error.add_note(history.write(folder / "history.ndjson"))
        raise


async def eventually(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """Poll until the condition is true, while other tasks run; returns its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        await asyncio.sleep(0.01)
    return value


def summary(history: History) -> str:
    """Casts, calls and the rate in one line."""
    by_status = dict(sorted(Counter(call.status for call in history.calls).items()))
    rate = len(history.calls) / history.seconds
    return (
        f"{history.workload.casts} casts in {len(history.calls)} calls, {history.seconds:.1f} s, "
        f"{rate:.0f} calls/s, answers by status {by_status}"
    )
