"""Sending: one signed POST to a checked address. Redirects, proxies and further DNS look-ups are off, against SSRF."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TypeAlias

import httpx2
import structlog
from asyncpg import Pool, Record
from msgspec import Struct

from domain.webhooks.endpoints import (
    Address,
    Endpoint,
    InvalidEndpoint,
    Network,
    check_reachable,
    parse_endpoint,
)
from domain.webhooks.messages import AttemptResult, parse_retry_after, sign
from services.settings import Settings
from services.webhooks.deliveries import ClaimedDelivery, claim, settle
from services.webhooks.secrets import WebhookSecrets, WrongKey

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
BODY_SECONDS = 1.0  # to read the body; the status is known by then
BODY_BYTES_MAX = 1_024
_ADDRESSES_MAX = 3
_REASON_CHARS_MAX = 200
_log = structlog.get_logger()


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host, from the system's resolver."""
    results = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(address[0]) for *_, address in results]


class Sender(Struct, frozen=True):
    """``own``: private networks that webhooks may reach. ``timeout``: seconds for an attempt, without reading the body."""

    keys: WebhookSecrets
    own: tuple[Network, ...]
    tls: ssl.SSLContext
    resolve: Resolve = resolve
    timeout: float = TOTAL_SECONDS

    async def deliver(self, pool: Pool[Record]) -> bool:
        """Claim one delivery, send it and settle it. False when none is due."""
        claimed = await claim(pool)
        if claimed is None:
            return False
        await settle(pool, claimed, await self.send(claimed))
        return True

    async def send(self, message: ClaimedDelivery) -> AttemptResult:
        """Never raises: every failure is an AttemptResult."""
        try:
            endpoint = parse_endpoint(message.url, self.own)
            headers, body = self._signed(message), message.payload.encode()
            async with self._client() as client:
                async with asyncio.timeout(self.timeout):
                    addresses = await self._addresses_of(endpoint)
                    response = await _post(client, endpoint, addresses, headers, body)
                return await _answer_of(response)
        except TimeoutError:
            return AttemptResult(error=f"no answer within {self.timeout:g} s")
        except (InvalidEndpoint, WrongKey) as refused:
            return AttemptResult(error=str(refused))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return AttemptResult(error=_connection_error(error))
        except Exception:  # noqa: BLE001 - no receiver may stop the worker
            _log.exception("unexpected error while sending a webhook", delivery=message.message_id)
            return AttemptResult(error="an unexpected error, which is in the worker's log")

    def _client(self) -> httpx2.AsyncClient:
        timeout = httpx2.Timeout(self.timeout, connect=CONNECT_SECONDS)
        return httpx2.AsyncClient(verify=self.tls, timeout=timeout, trust_env=False, follow_redirects=False)

    def _signed(self, message: ClaimedDelivery) -> dict[str, str]:
        encrypted = [each for each in (message.secret, message.old_secret) if each is not None]
        secrets = [self.keys.decrypt(message.webhook, each) for each in encrypted]
        timestamp = int(time.time())
        return {
            "content-type": "application/json",
            "user-agent": "Shiplog",
            "accept-encoding": "identity",
            "webhook-id": message.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secrets, message.message_id, timestamp, message.payload.encode()),
        }

    async def _addresses_of(self, endpoint: Endpoint) -> Sequence[Address]:
        """Resolved once. Nothing is sent if any of the addresses may not be reached."""
        literal = endpoint.literal
        try:
            addresses = [literal] if literal else await self.resolve(endpoint.host, endpoint.port)
        except (OSError, ValueError):
            addresses = []
        if not addresses:
            raise InvalidEndpoint(problem=f"the name {endpoint.host} was not found")
        for address in addresses:
            check_reachable(endpoint, address, self.own)
        return list(dict.fromkeys(addresses))[:_ADDRESSES_MAX]


def open_sender(settings: Settings) -> Sender:
    return Sender(WebhookSecrets(settings), settings.webhook_networks, ssl.create_default_context())


async def _post(
    client: httpx2.AsyncClient,
    endpoint: Endpoint,
    addresses: Sequence[Address],
    headers: Mapping[str, str],
    body: bytes,
) -> httpx2.Response:
    """POST to the first address that accepts a connection. The body of the response is not read yet."""
    for address in addresses[:-1]:
        with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
            return await client.send(_request(client, endpoint, address, headers, body), stream=True)
    return await client.send(_request(client, endpoint, addresses[-1], headers, body), stream=True)


def _request(
    client: httpx2.AsyncClient,
    endpoint: Endpoint,
    address: Address,
    headers: Mapping[str, str],
    body: bytes,
) -> httpx2.Request:
    """A request to the address, with the endpoint's name as Host and for TLS."""
    url = httpx2.URL(
        scheme=endpoint.scheme, host=str(address), port=endpoint.port, raw_path=endpoint.target.encode()
    )
    named = {"sni_hostname": endpoint.host} if endpoint.literal is None else {}
    return client.build_request(
        "POST", url, headers={**headers, "host": endpoint.authority}, content=body, extensions=named
    )


def _connection_error(error: Exception) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    reason = _readable(str(error))[:_REASON_CHARS_MAX]
    return f"the connection failed: {reason}" if reason else "the connection failed"


async def _answer_of(response: httpx2.Response) -> AttemptResult:
    wait = parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC))
    return AttemptResult(
        response.status_code, _problem(response.status_code), wait, await _read_body(response)
    )


async def _read_body(response: httpx2.Response) -> str:
    """The first bytes of a body that may be slow, endless, broken or compressed. Only the status counts as an answer."""
    body = bytearray()
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) >= BODY_BYTES_MAX:
                    break
    return _readable(bytes(body[:BODY_BYTES_MAX]).decode(errors="replace"))


def _readable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text).strip()


def _problem(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"the receiver answered {status}; redirects are not followed, so change the webhook's URL"
    return f"the receiver answered {status}"
