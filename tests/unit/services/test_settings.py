"""Settings: an error names the variable that is missing or invalid, and what to set it to."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.settings import Settings, SettingsError, from_environment, unknown_variables, variable_of

SECRET = "0123456789abcdef0123456789abcdef"
REQUIRED = {"DATABASE_URL": "postgresql://user@host/log", "SHIPLOG_SECRET": SECRET}


def test_the_required_settings_are_enough() -> None:
    assert from_environment(REQUIRED) == Settings(
        database_url="postgresql://user@host/log", secret=SECRET.encode()
    )


def test_optional_settings_are_read() -> None:
    numbers = {"SHIPLOG_POOL_SIZE": "4", "SHIPLOG_QUEUE_PER_SHARD": "50", "SHIPLOG_GROUP": "7"}
    settings = from_environment({**REQUIRED, **numbers, "REDIS_URL": "redis://host/0"})
    assert (settings.pool_size, settings.queue_per_shard, settings.group) == (4, 50, 7)
    assert settings.redis_url == "redis://host/0"


def test_history_is_sealed_only_if_a_folder_is_set() -> None:
    assert from_environment(REQUIRED).segments is None
    assert from_environment({**REQUIRED, "SHIPLOG_SEGMENTS": ""}).segments is None
    settings = from_environment({**REQUIRED, "SHIPLOG_SEGMENTS": "/srv/sealed", "SHIPLOG_SEGMENT": "1000"})
    assert (settings.segments, settings.segment) == (Path("/srv/sealed"), 1000)


def test_an_empty_redis_url_means_no_redis() -> None:
    assert from_environment({**REQUIRED, "REDIS_URL": ""}).redis_url is None


@pytest.mark.parametrize("name", ["DATABASE_URL", "SHIPLOG_SECRET"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_setting_is_named(name: str, value: str | None) -> None:
    environ = {key: setting for key, setting in {**REQUIRED, name: value}.items() if setting is not None}
    with pytest.raises(SettingsError, match=f"{name} is not set. Set it to"):
        from_environment(environ)


def test_a_short_secret_is_rejected_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="shorter than 32") as rejected:
        from_environment({**REQUIRED, "SHIPLOG_SECRET": "hunter2"})
    assert "hunter2" not in str(rejected.value)


@pytest.mark.parametrize(
    "name", ["SHIPLOG_POOL_SIZE", "SHIPLOG_QUEUE_PER_SHARD", "SHIPLOG_GROUP", "SHIPLOG_SEAL_BEHIND"]
)
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "ten", " 4", "1e3"])
def test_numbers_are_whole_and_above_0(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match="whole number above 0"):
        from_environment({**REQUIRED, name: value})


LIMITS = ["SHIPLOG_LIMIT_VISITOR", "SHIPLOG_LIMIT_ADDRESS", "SHIPLOG_LIMIT_KEY", "SHIPLOG_LIMIT_LOGIN"]


def test_a_limit_can_be_set_or_removed() -> None:
    settings = from_environment({**REQUIRED, **dict(zip(LIMITS, ["0", "1", "2", ""], strict=True))})
    assert (settings.limit_visitor, settings.limit_address, settings.limit_key) == (0, 1, 2)
    assert settings.limit_login == from_environment(REQUIRED).limit_login


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", ["-1", "1.5", "ten", " 4", "1e3", "1" * 10])
def test_a_limit_must_be_a_whole_number(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match="0 for no limit"):
        from_environment({**REQUIRED, name: value})


def test_proxies_can_be_given_as_addresses_and_networks() -> None:
    settings = from_environment({**REQUIRED, "SHIPLOG_TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1,fd00::/8"})
    assert [str(network) for network in settings.trusted_proxies] == [
        "10.0.0.0/8",
        "192.0.2.1/32",
        "fd00::/8",
    ]
    assert from_environment(REQUIRED).trusted_proxies == ()


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1,", ",", "*"])
def test_an_invalid_network_is_an_error(value: str) -> None:
    with pytest.raises(SettingsError, match=r"SHIPLOG_TRUSTED_PROXIES is .*Set it to"):
        from_environment({**REQUIRED, "SHIPLOG_TRUSTED_PROXIES": value})


def test_each_purpose_has_its_own_key() -> None:
    settings = from_environment(REQUIRED)
    keys = {settings.key(purpose) for purpose in ("visitor cookie", "pseudonym", "api keys and sessions")}
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 3


def test_another_secret_gives_other_keys() -> None:
    other = from_environment({**REQUIRED, "SHIPLOG_SECRET": SECRET[::-1]})
    assert other.key("pseudonym") != from_environment(REQUIRED).key("pseudonym")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SHIPLOG_POOL_SIZ", "SHIPLOG_POOL_SIZE"),
        ("SHIPLOG_POOLSIZE", "SHIPLOG_POOL_SIZE"),
        ("SHIPLOG_TRUSTED_PROXY", "SHIPLOG_TRUSTED_PROXIES"),
        ("shiplog_pool_size", "SHIPLOG_POOL_SIZE"),
        ("SHIPLOG_SECERT", "SHIPLOG_SECRET"),
        ("SHIPLOG_SEGMENTS_", "SHIPLOG_SEGMENTS"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not a setting. Did you mean {nearest}?"):
        from_environment({**REQUIRED, name: "5"})


def test_variables_of_others_are_no_misspelt_settings() -> None:
    """Kubernetes sets variables for each service: one for Shiplog itself begins with SHIPLOG_ too."""
    kubernetes = {
        "SHIPLOG_SERVICE_HOST": "10.0.0.1",
        "SHIPLOG_SERVICE_PORT": "80",
        "SHIPLOG_PORT": "tcp://10.0.0.1:80",
        "SHIPLOG_PORT_80_TCP_ADDR": "10.0.0.1",
        "SHIPLOG_POOL_SERVICE_HOST": "10.0.0.2",
        "SHIPLOG_POOL_SERVICE_PORT": "80",
    }
    others = {"SHIPLOG_DATA": "x", "SHIPLOG_POSTGRES_BIN": "x", "SHIPLOG_SEED": "1", "SHIPLOG_FAULTS": "1"}
    from_environment({**REQUIRED, **kubernetes, **others})
    assert unknown_variables({**REQUIRED, **kubernetes, **others, "SHIPLOG_IMAGE": "x"}) == ["SHIPLOG_IMAGE"]


def test_every_field_is_set_by_its_own_variable() -> None:
    """`shiplog config` and the check for misspelt variables rely on it."""
    asked = set()

    class Environment(dict[str, str]):
        def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
            asked.add(name)
            return super().get(name, default)

        def __getitem__(self, name: str) -> str:
            asked.add(name)
            return super().__getitem__(name)

    from_environment(Environment(REQUIRED))
    assert asked == {variable_of(field) for field in Settings.__struct_fields__}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "notaurl"),
        ("DATABASE_URL", "mysql://user:hunter2@host/log"),
        ("DATABASE_URL", "postgresql+asyncpg://user:hunter2@host/log"),
        ("DATABASE_URL", "postgresql://user:hunter2@host:port/log"),
        ("DATABASE_URL", "postgresql://user:hunter2@[::1/log"),
        ("DATABASE_URL", "postgresql:/log"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://:hunter2@host"),
        ("REDIS_URL", "redis://host:port"),
    ],
)
def test_a_url_of_another_kind_is_refused_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        from_environment({**REQUIRED, name: value})
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["SHIPLOG_POOL_SIZE", "SHIPLOG_CONNECTIONS", "SHIPLOG_RECOUNT_SECONDS", "SHIPLOG_SEGMENT"]
)
@pytest.mark.parametrize("value", ["9" * 10, "9" * 5000])
def test_a_number_that_nothing_could_use_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match="above 0 and up to") as refused:
        from_environment({**REQUIRED, name: value})
    assert len(str(refused.value)) < 250


def test_unsafe_durability_is_accepted_by_name() -> None:
    accepted = from_environment({**REQUIRED, "SHIPLOG_ACCEPT_UNSAFE_DURABILITY": "fsync, full_page_writes"})
    assert accepted.accept_unsafe_durability == {"fsync", "full_page_writes"}
    with pytest.raises(SettingsError, match="may name fsync, full_page_writes, synchronous_commit"):
        from_environment({**REQUIRED, "SHIPLOG_ACCEPT_UNSAFE_DURABILITY": "yes"})
