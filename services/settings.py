"""Settings: read once from the environment and passed on as one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from hmac import digest as hmac
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

Network: TypeAlias = IPv4Network | IPv6Network


class Settings(Struct, frozen=True, kw_only=True):
    """``secret`` signs cookies and keys pseudonyms: all processes of one log need the same one, for ever.

    Limits are per minute, ``limit_key`` per second; 0 means no limit. A worker verifies one read model in one shard
    every ``recount_seconds``, and rebuilds one every ``replay_hours`` unless that is 0. Without ``segments`` no history
    is sealed. Webhooks may go to public addresses and to ``webhook_networks``.
    """

    database_url: str
    secret: bytes
    redis_url: str | None = None
    pool_size: int = 16
    connections: int = 2_000
    queue_per_shard: int = 1_000
    group: int = 1_000
    bulk_group: int = 2_000
    recount_seconds: int = 60
    replay_hours: int = 0
    limit_visitor: int = 300
    limit_address: int = 300
    limit_key: int = 0
    limit_login: int = 10
    trusted_proxies: tuple[Network, ...] = ()
    segments: Path | None = None
    segment: int = 1_048_576
    seal_behind: int = 65_536
    fold_threads: int = 2
    webhook_networks: tuple[Network, ...] = ()

    def key(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose, derived from the secret."""
        return hmac(self.secret, b"shiplog " + purpose.encode(), sha256)


class SettingsError(Exception):
    """A setting is missing or cannot be used."""


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError, whose text says what to set."""
    return Settings(
        database_url=_required(
            environ, "DATABASE_URL", "the Postgres to use, as postgresql://user:password@host/database"
        ),
        redis_url=environ.get("REDIS_URL") or None,
        secret=_secret(environ),
        pool_size=_number(environ, "SHIPLOG_POOL_SIZE", 16),
        connections=_number(environ, "SHIPLOG_CONNECTIONS", 2_000),
        queue_per_shard=_number(environ, "SHIPLOG_QUEUE_PER_SHARD", 1_000),
        group=_number(environ, "SHIPLOG_GROUP", 1_000),
        bulk_group=_number(environ, "SHIPLOG_BULK_GROUP", 2_000),
        replay_hours=_limit(environ, "SHIPLOG_REPLAY_HOURS", 0),
        recount_seconds=_number(environ, "SHIPLOG_RECOUNT_SECONDS", 60),
        limit_visitor=_limit(environ, "SHIPLOG_LIMIT_VISITOR", 300),
        limit_address=_limit(environ, "SHIPLOG_LIMIT_ADDRESS", 300),
        limit_key=_limit(environ, "SHIPLOG_LIMIT_KEY", 0),
        limit_login=_limit(environ, "SHIPLOG_LIMIT_LOGIN", 10),
        trusted_proxies=_networks(environ, "SHIPLOG_TRUSTED_PROXIES", "the addresses of your proxies"),
        segments=Path(environ["SHIPLOG_SEGMENTS"]) if environ.get("SHIPLOG_SEGMENTS") else None,
        segment=_number(environ, "SHIPLOG_SEGMENT", 1_048_576),
        seal_behind=_number(environ, "SHIPLOG_SEAL_BEHIND", 65_536),
        fold_threads=_number(environ, "SHIPLOG_FOLD_THREADS", 2),
        webhook_networks=_networks(
            environ, "SHIPLOG_WEBHOOK_NETWORKS", "the private networks that webhooks may reach"
        ),
    )


def worker_metrics_folder() -> str | None:
    """SHIPLOG_WORKER_METRICS: where workers write their metrics, and API processes read them."""
    return os.environ.get("SHIPLOG_WORKER_METRICS") or None


def _required(environ: Mapping[str, str], name: str, meaning: str) -> str:
    if not environ.get(name):
        raise SettingsError(f"{name} is not set. Set it to {meaning}.")
    return environ[name]


def _secret(environ: Mapping[str, str]) -> bytes:
    secret = _required(
        environ, "SHIPLOG_SECRET", "at least 32 random characters, the same for every process"
    ).encode()
    if len(secret) < 32:
        raise SettingsError(
            "SHIPLOG_SECRET is shorter than 32 characters. Make one with: openssl rand -hex 32"
        )
    return secret


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and int(value)):
        raise SettingsError(
            f"{name} is {value!r}. Set it to a whole number above 0, or leave it out for {default}."
        )
    return int(value)


def _limit(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise SettingsError(
            f"{name} is {value!r}. Set it to a whole number, 0 for no limit, or leave it out for {default}."
        )
    return int(value)


def _networks(environ: Mapping[str, str], name: str, meaning: str) -> tuple[Network, ...]:
    value = environ.get(name) or ""
    try:
        return tuple(ip_network(network.strip()) for network in value.split(",") if value)
    except ValueError as error:
        raise SettingsError(
            f"{name} is {value!r}: {error}. Set it to {meaning}, as 10.0.0.0/8,192.0.2.1."
        ) from None
