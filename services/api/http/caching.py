"""Headers of answers: Cache-Control where no cache may keep it, and nosniff everywhere."""

from __future__ import annotations

NOSNIFF = {"X-Content-Type-Options": "nosniff"}
NO_STORE = {"Cache-Control": "no-store"}
PRIVATE_NO_STORE = {"Cache-Control": "private, no-store"}
