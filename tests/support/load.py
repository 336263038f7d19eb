"""Load: seeded histories of votes, and a client quick enough to send them and honest enough to be judged by.

The client keeps one HTTP/1.1 request in flight on each of its connections, and writes every call down before
it is sent and after it has ended. A time-out, a cut connection and a 503 mean "may have happened": the same
cast, with the same id, is sent again to the next server, until it is answered.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar
from typing import cast as typed
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from tests.oracles import votes as vote_oracle
from tests.oracles.votes import Answer, Ballot, Cast

T = TypeVar("T")


# What is sent.


@dataclass(frozen=True)
class Shape:
    """What a history of votes looks like; shares are of all ballots, or of all casts that have an id."""

    seed: int
    casts: int
    voters: int
    tools: tuple[str, ...]
    servers: int = 2
    zipf: bool = True
    visitors: float = 0.1  # of the voters: known by cookie
    again: float = 0.4  # of the casts: on a ballot that was cast before
    racing: float = 0.3  # of the ballots: all their casts in flight together
    minted: float = 0.25  # of the others: without ids
    ahead: float = 0.05  # of the others: ids of a fast clock, in turns with none
    late: float = 0.2  # of the others: two ids arrive in the wrong order
    resent: float = 0.08  # of the casts: 1 to 4 times more


@dataclass(frozen=True, slots=True)
class Send:
    cast: Cast
    server: int


Strand = deque[Send]  # sends that wait for one another


def plan(shape: Shape, now_ms: int) -> deque[Strand]:
    """The same for the same shape and time. Strands that race stand side by side."""
    rng = Random(shape.seed)
    visits: dict[str, Strand] = defaultdict(deque)
    blocks: list[list[Strand]] = []
    for (voter, tool), choices in _ballots(shape, rng).items():
        racing = not is_visitor(voter) and rng.random() < shape.racing
        ids = _ids(shape, rng, len(choices), now_ms, racing=racing)
        casts = [Cast(voter, tool, *each) for each in zip(choices, ids, strict=True)]
        sends = _sends(shape, rng, casts)
        if is_visitor(voter):
            visits[voter] += sends
        elif racing:
            rng.shuffle(sends)
            blocks.append([deque([send]) for send in sends])
        else:
            blocks.append([deque(sends)])
    blocks += [[visit] for visit in visits.values()]
    rng.shuffle(blocks)
    return deque(strand for block in blocks for strand in block)


def is_visitor(voter: str) -> bool:
    return voter.startswith("visitor")


def _ballots(shape: Shape, rng: Random) -> dict[Ballot, list[str | None]]:
    """Every voter's choices, tool by tool; each voter casts at least once."""
    guests = int(shape.voters * shape.visitors)
    voters = [f"{'visitor' if n < guests else 'voter'}-{n}" for n in range(shape.voters)]
    weights = [1 / (n + 1) if shape.zipf else 1.0 for n in range(len(shape.tools))]
    leans = {tool: rng.uniform(0.2, 0.9) for tool in shape.tools}
    ballots: dict[Ballot, list[str | None]] = defaultdict(list)
    known: list[Ballot] = []
    for n in range(shape.casts):
        if n >= len(voters) and rng.random() < shape.again:
            ballot = rng.choice(known)
        else:
            voter = voters[n] if n < len(voters) else rng.choice(voters)
            known.append(ballot := (voter, rng.choices(shape.tools, weights)[0]))
        ballots[ballot].append(_choice(rng, leans[ballot[1]]))
    return ballots


def _choice(rng: Random, lean: float) -> str | None:
    if rng.random() < 0.15:
        return None
    return "ship" if rng.random() < lean else "skip"


def _ids(shape: Shape, rng: Random, count: int, now_ms: int, *, racing: bool) -> list[bytes | None]:
    kind = 1.0 if racing else rng.random()
    if kind < shape.minted:
        return [None] * count
    if kind < shape.minted + shape.ahead:
        return [uuid7(now_ms + 30_000 + n, rng) if n % 2 == 0 else None for n in range(count)]
    moment = now_ms - 600_000 + rng.randrange(500_000)
    ids: list[bytes | None] = []
    for _ in range(count):
        moment += rng.choice((0, 1, 50))
        ids.append(uuid7(moment, rng))
    if count > 1 and rng.random() < shape.late:
        a, b = rng.sample(range(count), 2)
        ids[a], ids[b] = ids[b], ids[a]
    return ids


def uuid7(milliseconds: int, rng: Random) -> bytes:
    """RFC 9562 section 5.7."""
    number = milliseconds << 80 | 7 << 76 | rng.getrandbits(12) << 64 | 2 << 62 | rng.getrandbits(62)
    return number.to_bytes(16)


def _sends(shape: Shape, rng: Random, casts: Sequence[Cast]) -> list[Send]:
    """In order, and some again: at once, or after newer ones."""
    order = list(casts)
    for cast in casts:
        if cast.id and rng.random() < shape.resent:
            for _ in range(rng.randint(1, 4)):
                order.insert(rng.randint(order.index(cast) + 1, len(order)), cast)
    return [Send(cast, rng.randrange(shape.servers)) for cast in order]


# What happened.


@dataclass(slots=True)
class Call:
    """A line of the history: written when the cast is sent, completed when the call has ended."""

    cast: Cast
    server: int
    sent: int
    ended: int = 0
    status: int = 0  # 0 is a cut connection or a time-out
    body: bytes = b""

    def judged(self) -> vote_oracle.Call:
        return vote_oracle.Call(
            self.cast, self.sent, self.ended, self._answer() if self.status == 200 else None
        )

    def _answer(self) -> Answer:
        told = json.loads(self.body)
        stood = UUID(told["id"]).bytes
        return Answer(told["outcome"], told["position"], stood, told["choice"], told["replaced"])

    def line(self) -> str:
        cast = asdict(self.cast) | {"id": self.cast.id and str(UUID(bytes=self.cast.id))}
        ended = {"sent": self.sent, "ended": self.ended, "status": self.status, "body": self.body.decode()}
        return json.dumps(cast | {"server": self.server} | ended)


@dataclass
class History:
    shape: Shape
    now_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    calls: list[Call] = field(default_factory=list)
    cookies: dict[str, bytes] = field(default_factory=dict)
    seconds: float = 0.0

    def judged(self) -> list[vote_oracle.Call]:
        return [call.judged() for call in self.calls]

    def write(self, path: Path) -> str:
        """For whoever wants to know how it failed; the sentence that says where it is."""
        head = json.dumps(asdict(self.shape) | {"now_ms": self.now_ms})
        path.write_text("\n".join([head, *(call.line() for call in self.calls)]) + "\n")
        return f"seed {self.shape.seed}; history in {path}"


# How it is sent.

_PATIENCE = 10.0  # seconds for one answer
_STALL = 60.0  # seconds without any answer
_PAUSE = 0.05  # seconds before a refused connection is tried again
_LONGEST_RETRY = 0.25  # seconds; a server's Retry-After is heeded up to here


class Refused(Exception):
    """An answer that a correct cast must not get."""


class Crowd:
    """All connections to all servers, and the strands that wait for them."""

    def __init__(self, ports: Sequence[int], key: str, history: History, connections: int = 64) -> None:
        self.history = history
        self.answered = 0
        self._ports, self._connections = ports, connections
        self._key = f"Authorization: Bearer {key}\r\n".encode()
        self._waiting: list[deque[Strand]] = [deque() for _ in ports]
        self._idle: list[list[_Connection]] = [[] for _ in ports]
        self._busy: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._left = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, strands: deque[Strand]) -> None:
        """Until every cast has been answered. Raises Refused, or TimeoutError when nothing moves any more."""
        began, self._left = time.monotonic(), len(strands)
        for strand in strands:
            self._waiting[strand[0].server].append(strand)
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
        await eventually(lambda: self.answered >= count or self.finished, _STALL * 10)

    def _connect(self, server: int) -> None:
        task = asyncio.create_task(self._keep_connecting(server))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _keep_connecting(self, server: int) -> None:
        loop = asyncio.get_running_loop()
        while not self._done.done():
            try:
                await loop.create_connection(
                    lambda: _Connection(self, server), "127.0.0.1", self._ports[server]
                )
            except OSError:
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def _watch(self) -> None:
        """Cuts what is overdue; gives up when nothing has been answered for long."""
        answered, moved = self.answered, time.monotonic()
        while not self._done.done():
            await asyncio.sleep(0.25)
            now = time.monotonic()
            if self.answered != answered:
                answered, moved = self.answered, now
            if now - moved > _STALL:
                self._fail(TimeoutError(f"nothing answered for {_STALL} s, {self._left} strands left"))
            overdue = time.monotonic_ns() - int(_PATIENCE * 1e9)
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

    # What a connection tells.

    def free(self, connection: _Connection) -> None:
        """It may send: the next strand that waits for its server, or whichever comes."""
        waiting = self._waiting[connection.server]
        if waiting:
            self._busy.add(connection)
            self._start(connection, waiting.popleft())
        else:
            self._idle[connection.server].append(connection)

    def ended(self, connection: _Connection, status: int, head: bytes, body: bytes) -> None:
        """Its call was answered, or cut off with status 0."""
        strand, call = connection.strand, connection.call
        self._busy.discard(connection)
        if self._done.done():
            return
        call.ended, call.status, call.body = time.monotonic_ns(), status, body
        if status == 200:
            self._answered(strand, call, head)
        elif status in (0, 429, 503):
            self._unsettled(strand, head)
        else:
            self._fail(Refused(f"{call.cast} was answered {status}: {body.decode()}"))

    def gone(self, connection: _Connection) -> None:
        idle = self._idle[connection.server]
        if connection in idle:
            idle.remove(connection)
        if not self._done.done():
            self._connect(connection.server)

    def _start(self, connection: _Connection, strand: Strand) -> None:
        send = strand[0]
        call = Call(send.cast, connection.server, time.monotonic_ns())
        self.history.calls.append(call)
        connection.send(strand, call, self._request(send.cast))

    def _answered(self, strand: Strand, call: Call, head: bytes) -> None:
        self.answered += 1
        if is_visitor(call.cast.voter) and call.cast.voter not in self.history.cookies:
            self.history.cookies[call.cast.voter] = _cookie(head)
        strand.popleft()
        if strand:
            self._push(strand)
            return
        self._left -= 1
        if not self._left and not self._done.done():
            self._done.set_result(None)

    def _unsettled(self, strand: Strand, head: bytes) -> None:
        """The same cast again, to the next server."""
        cast, server = strand[0].cast, strand[0].server
        if is_visitor(cast.voter) and cast.voter not in self.history.cookies:
            self._fail(Refused(f"{cast}: a first vote without a cookie cannot be settled by resending"))
        strand[0] = Send(cast, (server + 1) % len(self._ports))
        asyncio.get_running_loop().call_later(_retry_after(head), self._push, strand)

    def _push(self, strand: Strand) -> None:
        server = strand[0].server
        self._waiting[server].append(strand)
        if self._idle[server]:
            self.free(self._idle[server].pop())

    def _request(self, cast: Cast) -> bytes:
        visitor = is_visitor(cast.voter)
        who = self._cookie_of(cast.voter) if visitor else self._key
        fields = {"id": str(UUID(bytes=cast.id))} if cast.id else {}
        if not visitor:
            fields["voter"] = cast.voter
        if cast.choice is None:
            query = f"?{urlencode(fields)}" if fields else ""
            return b"DELETE /v1/votes/%b%b HTTP/1.1\r\nHost: shiplog\r\n%b\r\n" % (
                cast.tool.encode(),
                query.encode(),
                who,
            )
        body = json.dumps({"tool": cast.tool, "choice": cast.choice, **fields}).encode()
        return (
            b"POST /v1/votes HTTP/1.1\r\nHost: shiplog\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n%b\r\n%b" % (len(body), who, body)
        )

    def _cookie_of(self, visitor: str) -> bytes:
        cookie = self.history.cookies.get(visitor)
        return b"Cookie: %b\r\n" % cookie if cookie else b""


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight. It reads status and length, no more."""

    transport: asyncio.Transport
    strand: Strand
    call: Call

    def __init__(self, crowd: Crowd, server: int) -> None:
        self.server = server
        self._crowd = crowd
        self._heard = b""
        self._in_flight = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = typed(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if transport.get_extra_info("sockname") == transport.get_extra_info("peername"):
            self.transport.abort()  # nobody listens, and TCP has connected the socket to itself
            return
        self._crowd.free(self)

    def send(self, strand: Strand, call: Call, request: bytes) -> None:
        self.strand, self.call, self._in_flight = strand, call, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, found, rest = self._heard.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(header(head, b"content-length") or 0)
        if len(rest) >= length:
            self._heard, self._in_flight = rest[length:], False
            self._crowd.ended(self, int(head[9:12]), head, rest[:length])
            self._crowd.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self._in_flight:
            self._in_flight = False
            self._crowd.ended(self, 0, b"", b"")
        self._crowd.gone(self)


def header(head: bytes, name: bytes) -> bytes | None:
    """The first value of a header, whatever its case."""
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
    return min(float(asked), _LONGEST_RETRY) if asked else _PAUSE


async def send_all(
    history: History, ports: Sequence[int], key: str, *alongside: Callable[[Crowd], Awaitable[object]]
) -> None:
    """Send the history's whole plan while whatever is named ``alongside`` goes on; it must end by itself."""
    crowd = Crowd(ports, key, history)
    strands = plan(history.shape, history.now_ms)
    await asyncio.gather(crowd.send(strands), *(each(crowd) for each in alongside))


def free_ports(count: int = 2) -> int:
    """The first of free ports that follow one another, below those that the system gives to clients.

    One of those could take the place of a killed server before it has started again.
    """
    for first in Random().sample(range(10_000, 30_000), 1_000):
        with ExitStack() as held, suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
    raise OSError("no free ports")


def ports_of(url: str, servers: int = 2) -> tuple[int, ...]:
    """API processes listen on ports that follow one another."""
    first = urlsplit(url).port or 80
    return tuple(range(first, first + servers))


@contextmanager
def kept_for(history: History, folder: Path) -> Iterator[None]:
    """When what is done with a history fails, it is written down, and the failure says where."""
    try:
        yield
    except BaseException as error:
        error.add_note(history.write(folder / "history.ndjson"))
        raise


async def eventually(true: Callable[[], T], seconds: float = 30.0) -> T:
    """Poll until the condition holds, while other tasks go on; its value."""
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {true}"
        await asyncio.sleep(0.01)
    return value


def summary(history: History) -> str:
    """Casts, calls and the rate, on one line."""
    by_status = dict(sorted(Counter(call.status for call in history.calls).items()))
    rate = len(history.calls) / history.seconds
    return (
        f"{history.shape.casts} casts in {len(history.calls)} calls, {history.seconds:.1f} s, "
        f"{rate:.0f} calls/s, answers by status {by_status}"
    )
