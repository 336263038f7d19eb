"""Settings: read once from the environment and passed on as one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from hashlib import sha256
from hmac import digest as hmac
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeAlias, overload
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

from services.public_address import InvalidAddress, PublicAddress, parse_public_url

Network: TypeAlias = IPv4Network | IPv6Network


# What Postgres must have on, or else it acknowledges commits that a crash can lose.
DURABILITY = ("fsync", "full_page_writes", "synchronous_commit")


class Settings(Struct, frozen=True, kw_only=True):
    """``secret`` signs cookies and keys pseudonyms: all processes of one log need the same one, for ever.

    Limits are per minute, ``limit_key`` per second; 0 means no limit. A worker verifies one read model in one shard
    every ``recount_seconds``, and rebuilds one every ``replay_hours`` unless that is 0. Without ``segments`` no history
    is sealed. Webhooks may go to public addresses and to ``webhook_networks``. Without ``public_address`` it follows from
    each request.
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
    public_address: PublicAddress | None = None
    accept_unsafe_durability: frozenset[str] = frozenset()

    def key(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose, derived from the secret."""
        return hmac(self.secret, b"shiplog " + purpose.encode(), sha256)

    @property
    def installation(self) -> UUID:
        """Identifies the log in ids that others keep, wherever it is served: the same as long as the secret is."""
        return uuid5(NAMESPACE_URL, f"urn:shiplog:{self.key('installation').hex()}")


class SettingsError(Exception):
    """A setting is missing or cannot be used."""


_NAMED_OTHERWISE = {
    "database_url": "DATABASE_URL",
    "redis_url": "REDIS_URL",
    "public_address": "SHIPLOG_PUBLIC_URL",
}


def variable_of(field: str) -> str:
    """The environment variable of a field of Settings."""
    return _NAMED_OTHERWISE.get(field, f"SHIPLOG_{field.upper()}")


SETTING_VARIABLES = [variable_of(field) for field in Settings.__struct_fields__]
# Read elsewhere: the command's data folder, programs of the embedded servers, tests, and benchmarks.
_OTHER_VARIABLES = (
    "SHIPLOG_DATA",
    "SHIPLOG_POSTGRES_BIN",
    "SHIPLOG_VALKEY_BIN",
    "SHIPLOG_WORKER_METRICS",
    "SHIPLOG_SEED",
    "SHIPLOG_FAULTS",
    "SHIPLOG_TEST",
    "SHIPLOG_BENCH",
)
_EXAMPLES = {
    "DATABASE_URL": "postgresql://user:password@host/database",
    "REDIS_URL": "redis://:password@host:6379/0",
}


def from_environment(environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError, whose text says what to set. An empty value counts as not given."""
    refuse_misspelt(environ)
    return Settings(
        database_url=_url(
            _required(
                environ, "DATABASE_URL", "the Postgres to use, as postgresql://user:password@host/database"
            ),
            "DATABASE_URL",
            ("postgresql", "postgres"),
        ),
        redis_url=_url(environ.get("REDIS_URL") or None, "REDIS_URL", ("redis", "rediss", "unix")),
        secret=_secret(environ),
        pool_size=_number(environ, "SHIPLOG_POOL_SIZE", 16, 10_000),
        connections=_number(environ, "SHIPLOG_CONNECTIONS", 2_000, 1_000_000),
        queue_per_shard=_number(environ, "SHIPLOG_QUEUE_PER_SHARD", 1_000, 1_000_000),
        group=_number(environ, "SHIPLOG_GROUP", 1_000, 100_000),
        bulk_group=_number(environ, "SHIPLOG_BULK_GROUP", 2_000, 100_000),
        replay_hours=_limit(environ, "SHIPLOG_REPLAY_HOURS", 0),
        recount_seconds=_number(environ, "SHIPLOG_RECOUNT_SECONDS", 60, 31_536_000),
        limit_visitor=_limit(environ, "SHIPLOG_LIMIT_VISITOR", 300),
        limit_address=_limit(environ, "SHIPLOG_LIMIT_ADDRESS", 300),
        limit_key=_limit(environ, "SHIPLOG_LIMIT_KEY", 0),
        limit_login=_limit(environ, "SHIPLOG_LIMIT_LOGIN", 10),
        trusted_proxies=_networks(environ, "SHIPLOG_TRUSTED_PROXIES", "the addresses of your proxies"),
        segments=Path(environ["SHIPLOG_SEGMENTS"]) if environ.get("SHIPLOG_SEGMENTS") else None,
        segment=_number(environ, "SHIPLOG_SEGMENT", 1_048_576),
        seal_behind=_number(environ, "SHIPLOG_SEAL_BEHIND", 65_536),
        fold_threads=_number(environ, "SHIPLOG_FOLD_THREADS", 2, 1_024),
        webhook_networks=_networks(
            environ, "SHIPLOG_WEBHOOK_NETWORKS", "the private networks that webhooks may reach"
        ),
        public_address=_public_address(environ),
        accept_unsafe_durability=_words(environ, "SHIPLOG_ACCEPT_UNSAFE_DURABILITY", DURABILITY),
    )


def refuse_misspelt(environ: Mapping[str, str]) -> None:
    """Raises SettingsError for a variable that is nearly that of a setting."""
    for name in unknown_variables(environ):
        if nearest := get_close_matches(name.upper(), SETTING_VARIABLES, 1, cutoff=0.85):
            raise SettingsError(f"{name} is not a setting. Did you mean {nearest[0]}?")


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that begin with SHIPLOG_ and are neither settings nor set by Kubernetes for a service of that name."""
    services = tuple(name.removesuffix("_SERVICE_HOST") for name in environ if name.endswith("_SERVICE_HOST"))
    of_services = tuple(f"{service}_{part}" for service in services for part in ("SERVICE_", "PORT"))
    return [
        name
        for name in environ
        if name.upper().startswith("SHIPLOG_")
        and name not in SETTING_VARIABLES
        and not name.startswith((*_OTHER_VARIABLES, *of_services))
    ]


def worker_metrics_folder() -> str | None:
    """SHIPLOG_WORKER_METRICS: where workers write their metrics, and API processes read them."""
    return os.environ.get("SHIPLOG_WORKER_METRICS") or None


def _required(environ: Mapping[str, str], name: str, meaning: str) -> str:
    if not environ.get(name):
        raise SettingsError(f"{name} is not set. Set it to {meaning}.")
    return environ[name]


@overload
def _url(value: str, name: str, schemes: tuple[str, ...]) -> str: ...
@overload
def _url(value: str | None, name: str, schemes: tuple[str, ...]) -> str | None: ...
def _url(value: str | None, name: str, schemes: tuple[str, ...]) -> str | None:
    """The URL, if one of its schemes is known. An error never repeats it, since it may hold a password."""
    if value is None:
        return None
    try:
        url = urlsplit(value)
        scheme, _ = url.scheme, url.port
    except ValueError as error:
        raise SettingsError(f"{name} cannot be used: {error}. In a password, write / as %2F.") from None
    if scheme not in schemes or "://" not in value or not value.isprintable():
        found = f"begins with {scheme}:" if scheme and "://" in value else "is not a URL"
        raise SettingsError(f"{name} {found}. Begin it with {schemes[0]}://, as in {_EXAMPLES[name]}.")
    return value


def _words(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> frozenset[str]:
    words = frozenset(word.strip() for word in environ.get(name, "").split(",") if word.strip())
    if unknown := sorted(words - set(allowed)):
        raise SettingsError(f"{name} contains {unknown[0]!r}. It may name {', '.join(allowed)}.")
    return words


def _secret(environ: Mapping[str, str]) -> bytes:
    secret = _required(
        environ, "SHIPLOG_SECRET", "at least 32 random characters, the same for every process"
    ).encode()
    if len(secret) < 32:
        raise SettingsError(
            "SHIPLOG_SECRET is shorter than 32 characters. Make one with: openssl rand -hex 32"
        )
    return secret


def _number(environ: Mapping[str, str], name: str, default: int, maximum: int = 10**9 - 1) -> int:
    value = environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) <= 10 and 0 < int(value) <= maximum):
        raise SettingsError(
            f"{name} is {value[:40]!r}. Set it to a whole number above 0 and up to {maximum}, or leave it out for {default}."
        )
    return int(value)


def _limit(environ: Mapping[str, str], name: str, default: int) -> int:
    value = environ.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise SettingsError(
            f"{name} is {value[:40]!r}. Set it to a whole number, 0 for no limit, or leave it out for {default}."
        )
    return int(value)


def _public_address(environ: Mapping[str, str]) -> PublicAddress | None:
    value = environ.get("SHIPLOG_PUBLIC_URL") or ""
    try:
        return parse_public_url(value) if value else None
    except InvalidAddress as error:
        raise SettingsError(
            f"SHIPLOG_PUBLIC_URL is {value!r}: {error}. Set it to the address that people use, as "
            "https://verdicts.example or https://example.org/ship."
        ) from None


def _networks(environ: Mapping[str, str], name: str, meaning: str) -> tuple[Network, ...]:
    value = environ.get(name) or ""
    try:
        return tuple(ip_network(network.strip()) for network in value.split(",") if value)
    except ValueError as error:
        raise SettingsError(
            f"{name} is {value!r}: {error}. Set it to {meaning}, as 10.0.0.0/8,192.0.2.1."
        ) from None
