"""Keyring: the secrets of webhooks, readable only to who has SHIPLOG_SECRET (AES-256-GCM, NIST SP 800-38D)."""

from __future__ import annotations

import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.webhooks.messages import SECRET_BYTES
from services.settings import Settings

_NONCE_BYTES = 12


class NotOurs(Exception):
    """Another SHIPLOG_SECRET encrypted the secret of this webhook. Rotate it."""


class WebhookSecrets:
    """A secret is bound to its webhook: copied to another row it does not open."""

    def __init__(self, settings: Settings) -> None:
        self._cipher = AESGCM(settings.key("webhook secrets"))

    def mint(self) -> bytes:
        return secrets.token_bytes(SECRET_BYTES)

    def lock(self, webhook: UUID, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, webhook.bytes)

    def unlock(self, webhook: UUID, locked: bytes) -> bytes:
        """Raises NotOurs."""
        try:
            return self._cipher.decrypt(locked[:_NONCE_BYTES], locked[_NONCE_BYTES:], webhook.bytes)
        except InvalidTag:
            raise NotOurs(NotOurs.__doc__) from None
