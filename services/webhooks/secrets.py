"""Secrets of webhooks, encrypted with a key derived from SHIPLOG_SECRET (AES-256-GCM, NIST SP 800-38D)."""

from __future__ import annotations

import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.webhooks.messages import SECRET_BYTES
from services.settings import Settings

_NONCE_BYTES = 12


class WrongKey(Exception):
    """Another SHIPLOG_SECRET encrypted the secret of this webhook. Rotate it."""


class WebhookSecrets:
    """The webhook's id is associated data: a secret copied to another row does not decrypt."""

    def __init__(self, settings: Settings) -> None:
        self._cipher = AESGCM(settings.key("webhook secrets"))

    def mint(self) -> bytes:
        return secrets.token_bytes(SECRET_BYTES)

    def encrypt(self, webhook: UUID, secret: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, webhook.bytes)

    def decrypt(self, webhook: UUID, encrypted: bytes) -> bytes:
        """Raises WrongKey."""
        try:
            return self._cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], webhook.bytes)
        except InvalidTag:
            raise WrongKey(WrongKey.__doc__) from None
