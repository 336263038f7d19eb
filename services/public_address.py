"""The public address: the scheme, host and path prefix under which people reach the instance."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

# The first segments of Shiplog's own paths. Under such a prefix, a path could be read with the prefix and without it.
OWN_SEGMENTS: Final = frozenset(
    {
        "bookmarks",
        "categories",
        "compare",
        "editor",
        "embed",
        "flips",
        "healthz",
        "ledger",
        "mcp",
        "methodology",
        "metrics",
        "newsletter",
        "readyz",
        "reviewers",
        "schema",
        "static",
        "tools",
        "v1",
    }
)
_PREFIX_CHARS_MAX = 200
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class InvalidAddress(ValueError):
    """The text is not a public address; the message says why."""


class PublicAddress(Struct, frozen=True):
    """``host`` includes a port that is not the scheme's own; it is empty if the host is not known, and links are paths then.

    ``prefix`` is empty, or begins with a slash and does not end with one.
    """

    scheme: str
    host: str = ""
    prefix: str = ""

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    @property
    def cookie_path(self) -> str:
        return self.prefix or "/"

    @property
    def base(self) -> str:
        """What precedes the path in a link."""
        return f"{self.scheme}://{self.host}{self.prefix}" if self.host else self.prefix

    def link(self, path: str) -> str:
        """An absolute link to a path of Shiplog; without a known host, the path that a browser resolves to it."""
        return self.base + path


def parse_public_url(text: str) -> PublicAddress:
    """Raises InvalidAddress."""
    try:
        parts = urlsplit(text)
        scheme, host = parts.scheme, host_of(parts.netloc, parts.scheme)
    except ValueError as error:
        raise InvalidAddress(str(error)) from None
    if scheme not in _DEFAULT_PORTS or not parts.netloc:
        raise InvalidAddress("it does not begin with https:// or http:// and a host")
    if host is None:
        raise InvalidAddress(f"{parts.netloc!r} is not a host with an optional port")
    if "?" in text or "#" in text:
        raise InvalidAddress("it has a query or a fragment")
    prefix = parts.path.rstrip("/")
    if prefix.split("/")[1:2] and prefix.split("/")[1] in OWN_SEGMENTS:
        raise InvalidAddress(
            f"its path begins with /{prefix.split('/')[1]}, which is a path of Shiplog itself; choose another"
        )
    if prefix_of(prefix) is None:
        raise InvalidAddress(
            "its path may have letters, digits and -._~ between slashes, and at most 200 of them"
        )
    return PublicAddress(scheme, host, prefix)


def host_of(text: str, scheme: str) -> str | None:
    """A host and optional port in lower case, without the scheme's own port; None if it is malformed."""
    if not _HOST.fullmatch(text):
        return None
    port = text.rpartition(":")[2] if re.search(r":[0-9]+$", text) else "1"
    if not 1 <= int(port) <= 65535:
        return None
    return text.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ""))


def prefix_of(text: str) -> str | None:
    """A path prefix without a slash at its end; None if it is malformed, or begins with a path of Shiplog itself."""
    prefix = text.rstrip("/")
    if len(prefix) > _PREFIX_CHARS_MAX or not _PREFIX.fullmatch(prefix):
        return None
    return None if prefix.partition("/")[2].partition("/")[0] in OWN_SEGMENTS else prefix
