"""Settings: whatever is missing or unusable is named, with what to set."""

from __future__ import annotations

import pytest

from services.settings import Settings, SettingsError, from_environment

SECRET = "0123456789abcdef0123456789abcdef"
LEAST = {"DATABASE_URL": "postgresql://user@host/log", "SHIPLOG_SECRET": SECRET}


def test_the_least_there_must_be() -> None:
    assert from_environment(LEAST) == Settings(
        database_url="postgresql://user@host/log", secret=SECRET.encode()
    )


def test_everything_there_can_be() -> None:
    numbers = {"SHIPLOG_POOL_SIZE": "4", "SHIPLOG_QUEUE_PER_SHARD": "50", "SHIPLOG_GROUP": "7"}
    settings = from_environment({**LEAST, **numbers, "REDIS_URL": "redis://host/0"})
    assert (settings.pool_size, settings.queue_per_shard, settings.group) == (4, 50, 7)
    assert settings.redis_url == "redis://host/0"


def test_no_redis_is_no_redis() -> None:
    assert from_environment({**LEAST, "REDIS_URL": ""}).redis_url is None


@pytest.mark.parametrize("name", ["DATABASE_URL", "SHIPLOG_SECRET"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_is_named(name: str, value: str | None) -> None:
    environ = {key: setting for key, setting in {**LEAST, name: value}.items() if setting is not None}
    with pytest.raises(SettingsError, match=f"{name} is not set. Set it to"):
        from_environment(environ)


def test_a_short_secret_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="shorter than 32") as refused:
        from_environment({**LEAST, "SHIPLOG_SECRET": "hunter2"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["SHIPLOG_POOL_SIZE", "SHIPLOG_QUEUE_PER_SHARD", "SHIPLOG_GROUP"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "ten", " 4", "1e3"])
def test_numbers_are_whole_and_above_0(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match="whole number above 0"):
        from_environment({**LEAST, name: value})


def test_each_purpose_has_a_key_of_its_own() -> None:
    settings = from_environment(LEAST)
    keys = {settings.key(purpose) for purpose in ("visitor cookie", "pseudonym", "api keys and sessions")}
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 3


def test_another_secret_gives_other_keys() -> None:
    other = from_environment({**LEAST, "SHIPLOG_SECRET": SECRET[::-1]})
    assert other.key("pseudonym") != from_environment(LEAST).key("pseudonym")
