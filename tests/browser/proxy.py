"""A reverse proxy in front of an instance, which can answer API requests in its place, as proxies do when one is down."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit


class Substitute(NamedTuple):
    """What the proxy answers; with status 0 it closes the connection without an answer."""

    status: int
    content_type: str = "text/html"
    body: bytes = b""


class Proxy(ThreadingHTTPServer):
    """Forwards to ``target``. While ``substitute`` is set, it answers requests under /v1 by itself."""

    daemon_threads = True
    substitute: Substitute | None = None

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/v1/") and self.server.substitute:
            self._substitute(self.server.substitute)
        elif self.path.startswith("/v1/tallies/stream"):
            self._substitute(Substitute(204))  # ends the browser's stream for good
        else:
            self._forward(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def _substitute(self, substitute: Substitute) -> None:
        if substitute.status:
            self._send(substitute.status, [("Content-Type", substitute.content_type)], substitute.body)

    def _forward(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection(self.server.target, timeout=20)
        upstream.request(self.command, self.path, body or None, dict(self.headers))
        answer = upstream.getresponse()
        kept = [
            each for each in answer.getheaders() if each[0].lower() not in ("content-length", "connection")
        ]
        self._send(answer.status, kept, answer.read())
        upstream.close()

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    with Proxy(target) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
