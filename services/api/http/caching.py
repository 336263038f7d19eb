"""Cache-Control of answers that no cache may keep."""

from __future__ import annotations

NO_STORE = {"Cache-Control": "no-store"}
PRIVATE_NO_STORE = {"Cache-Control": "private, no-store"}
