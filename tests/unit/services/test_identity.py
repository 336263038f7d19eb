"""Pseudonyms and digests: the same bytes in every release, or every voter in the log would become somebody else."""

from __future__ import annotations

import hmac
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.identity import Identity, KeyedHash, SubjectKind
from services.settings import Settings

SECRET = b"0123456789abcdef0123456789abcdef"
COOKIE = "AAECAwQFBgcICQoLDA0ODw.Q-3MInP4sTdRb9SXP5L7yzeXG04DU-AJ2rsiGI-qQCA"
identity = Identity(Settings(database_url="", secret=SECRET), cast(Any, None))


@pytest.mark.parametrize(
    ("kind", "pseudonym"),
    [
        ("visitor", "e50decd2-1c60-0fa2-c13d-092c1be51491"),
        ("voter", "8043af89-f0ce-6210-63cd-c4e5c5ceacfb"),
        ("user", "e81300d9-bd5e-c4ea-0cb7-3f02e9d639a9"),
        ("address", "65273300-c1a1-3a52-3938-d989f93875ef"),
    ],
)
def test_pseudonyms_keep_their_bytes(kind: SubjectKind, pseudonym: str) -> None:
    assert identity.pseudonym(kind, b"ada") == UUID(pseudonym)


def test_digests_and_cookies_keep_their_bytes() -> None:
    digest = "12bc36b620e1087bc2a0e1e44588c719974bfa0d081c9329193c46d9dc3c53ed"
    assert identity.digest("slk_token").hex() == digest
    assert identity.visitor(COOKIE) == UUID("3b8977b4-e151-3b32-52a9-24ba495c1bf2")


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=200), st.binary(max_size=200))
def test_a_keyed_hash_is_hmac_sha256_of_prefix_and_message(key: bytes, prefix: bytes, message: bytes) -> None:
    keyed = KeyedHash(key, prefix)
    expected = hmac.digest(key, prefix + message, "sha256")
    assert [keyed.digest(message), keyed.digest(message)] == [expected, expected]
