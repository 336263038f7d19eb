"""Known devices: browsers that a person has logged in with before, by a signed cookie.

Somebody who guesses passwords is limited by address and name, and does not lock out the owner of the name on a device
of theirs (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
"""

from __future__ import annotations

import base64
import hmac
import secrets

from services.auth.identity import KeyedHash
from services.settings import Settings

DEVICE_COOKIE = "shiplog_device"
_DEVICE_BYTES = 16
_COOKIE_CHARS_MAX = 200


class KnownDevices:
    """A cookie holds an id, and the keyed hash of the id and of the name that logged in."""

    def __init__(self, settings: Settings) -> None:
        self._hash = KeyedHash(settings.key("known devices"))

    def mint(self, name: str) -> str:
        return self._signed(secrets.token_hex(_DEVICE_BYTES), name)

    def device_of(self, cookie: str | None, name: str) -> str | None:
        """The id of the device, if ``name`` has logged in with it."""
        if cookie is None or len(cookie) > _COOKIE_CHARS_MAX:
            return None
        device = cookie.partition(".")[0]
        genuine = hmac.compare_digest(self._signed(device, name).encode(), cookie.encode())
        return device if genuine else None

    def _signed(self, device: str, name: str) -> str:
        digest = self._hash.digest(f"{device}\0{name}".encode())
        return f"{device}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
