"""Sending: one signed POST to one checked address. No redirect, proxy or second look-up leads it elsewhere."""

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
from services.webhooks.deliveries import Claimed, claim, settle
from services.webhooks.secrets import NotOurs, WebhookSecrets

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
BODY_SECONDS = 1.0  # for the text of an answer, whose status is known already
BODY_BYTES = 1_024
_ADDRESSES_MAX = 3
_log = structlog.get_logger()


async def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host, as the system has them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(address[0]) for *_, address in found]


class Sender(Struct, frozen=True):
    """``own``: networks that may be reached although they are not public. ``patience``: seconds for all of an attempt."""

    keys: WebhookSecrets
    own: tuple[Network, ...]
    tls: ssl.SSLContext
    resolve: Resolve = resolve
    patience: float = TOTAL_SECONDS

    async def deliver(self, pool: Pool[Record]) -> bool:
        """Claim one message, send and settle it. False when nothing is due."""
        claimed = await claim(pool)
        if claimed is None:
            return False
        await settle(pool, claimed, await self.send(claimed))
        return True

    async def send(self, message: Claimed) -> AttemptResult:
        """Whatever happens is an answer."""
        try:
            endpoint = parse_endpoint(message.url, self.own)
            headers, body = self._signed(message), message.payload.encode()
            async with self._client() as client:
                async with asyncio.timeout(self.patience):
                    addresses = await self._addresses_of(endpoint)
                    response = await _post(client, endpoint, addresses, headers, body)
                return await _answer_of(response)
        except TimeoutError:
            return AttemptResult(error=f"no answer within {self.patience:g} s")
        except (InvalidEndpoint, NotOurs) as refused:
            return AttemptResult(error=str(refused))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return AttemptResult(error=f"{type(error).__name__}: {_readable(str(error))[:200]}")
        except Exception as error:  # noqa: BLE001 - no receiver may stop the worker
            _log.exception("a delivery failed in a way nobody foresaw", delivery=message.name)
            return AttemptResult(error=f"{type(error).__name__}: see the worker's log")

    def _client(self) -> httpx2.AsyncClient:
        """For one message: no connection is used for two."""
        timeout = httpx2.Timeout(self.patience, connect=CONNECT_SECONDS)
        return httpx2.AsyncClient(verify=self.tls, timeout=timeout, trust_env=False, follow_redirects=False)

    def _signed(self, message: Claimed) -> dict[str, str]:
        locked = [each for each in (message.secret, message.old_secret) if each is not None]
        secrets = [self.keys.unlock(message.webhook, each) for each in locked]
        timestamp = int(time.time())
        return {
            "content-type": "application/json",
            "user-agent": "Shiplog",
            "accept-encoding": "identity",
            "webhook-id": message.name,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(secrets, message.name, timestamp, message.payload.encode()),
        }

    async def _addresses_of(self, endpoint: Endpoint) -> Sequence[Address]:
        """Looked up once. One address that may not be reached, among however many, and nothing is sent."""
        literal = endpoint.literal
        try:
            found = [literal] if literal else await self.resolve(endpoint.host, endpoint.port)
        except (OSError, ValueError):
            found = []
        if not found:
            raise InvalidEndpoint(problem=f"the name {endpoint.host} was not found")
        for address in found:
            check_reachable(endpoint, address, self.own)
        return list(dict.fromkeys(found))[:_ADDRESSES_MAX]


def open_sender(settings: Settings) -> Sender:
    return Sender(WebhookSecrets(settings), settings.webhook_networks, ssl.create_default_context())


async def _post(
    client: httpx2.AsyncClient,
    endpoint: Endpoint,
    addresses: Sequence[Address],
    headers: Mapping[str, str],
    body: bytes,
) -> httpx2.Response:
    """To the first of the addresses that takes a connection. The body of the response is still to be read."""
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
    """The connection goes to the address; the certificate is held to the name."""
    url = httpx2.URL(
        scheme=endpoint.scheme, host=str(address), port=endpoint.port, raw_path=endpoint.target.encode()
    )
    named = {"sni_hostname": endpoint.host} if endpoint.literal is None else {}
    return client.build_request(
        "POST", url, headers={**headers, "host": endpoint.authority}, content=body, extensions=named
    )


async def _answer_of(response: httpx2.Response) -> AttemptResult:
    wait = parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC))
    return AttemptResult(
        response.status_code, _problem(response.status_code), wait, await _beginning(response)
    )


async def _beginning(response: httpx2.Response) -> str:
    """Of a body that may be slow, endless, broken or packed. The status alone decides."""
    read = bytearray()
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in response.aiter_raw():
                read += piece
                if len(read) >= BODY_BYTES:
                    break
    return _readable(bytes(read[:BODY_BYTES]).decode(errors="replace"))


def _readable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text).strip()


def _problem(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"the receiver answered {status}; redirects are not followed, so change the webhook's URL"
    return f"the receiver answered {status}"
