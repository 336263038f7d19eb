"""Rate limits over HTTP: 429 with its headers for clients over a limit, and no effect on others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import TypeAlias

import httpx
import msgspec
import pytest
from asyncpg import Pool, Record
from litestar import Litestar
from redis.asyncio import Redis

from services.api.app import create_app
from services.auth.accounts import create_user
from services.embedded.valkey import Valkey
from services.settings import Settings
from tests.support.stage import Headers, assert_problem, list_tool, vote, vote_as

Answer: TypeAlias = httpx.Response
ADDRESS, OTHER_ADDRESS = "192.0.2.1", "198.51.100.1"
NAME = {"name": "ada", "password": "wrong"}


@asynccontextmanager
async def limited(settings: Settings, key: Headers, **limits: object) -> AsyncIterator[Litestar]:
    """An app with the tool `quill` and only these limits."""
    app = create_app(msgspec.structs.replace(settings, **limits))
    async with app.lifespan():
        await list_tool(visitor(app), key)
        yield app


def visitor(app: Litestar, address: str = ADDRESS, **headers: str) -> httpx.AsyncClient:
    """A client with its own cookies."""
    transport = httpx.ASGITransport(app, client=(address, 4321))
    return httpx.AsyncClient(transport=transport, base_url="http://shiplog.test", headers=headers)


async def statuses(times: int, send: Callable[[], Awaitable[Answer]]) -> list[int]:
    return [(await send()).status_code for _ in range(times)]


def assert_limited(answer: Answer, name: str, policy: str) -> None:
    assert_problem(answer, 429)
    assert answer.json()["type"] == "urn:shiplog:rate-limited"
    wait = int(answer.headers["retry-after"])
    assert wait > 0
    assert f"in {wait} s" in answer.json()["detail"]
    assert answer.headers["ratelimit-policy"] == f'"{name}";{policy}'
    assert answer.headers["ratelimit"] == f'"{name}";r=0;t={wait}'
    assert "set-cookie" not in answer.headers


async def test_a_visitor_over_the_limit_is_rejected(settings: Settings, catalogue_key: Headers) -> None:
    async with limited(settings, catalogue_key, limit_visitor=4) as app:
        ada, bob = visitor(app), visitor(app)
        assert (
            "ratelimit" not in (await vote(ada)).headers
        )  # the first vote counts by address, which has no limit
        answers = [await vote(ada, choice=choice) for choice in ("skip", "ship", "skip", "ship")]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert [each.headers["ratelimit"][:13] for each in answers] == [
            f'"visitor";r={r}' for r in (2, 1, 0, 0)
        ]
        assert {each.headers["ratelimit-policy"] for each in answers} == {'"visitor";q=4;w=60'}
        assert_limited(answers[-1], "visitor", "q=4;w=60")
        assert (await ada.get("/v1/me/votes")).json()["items"][0]["choice"] == "skip"
        assert await statuses(4, lambda: vote(bob)) == [200] * 4


VOTE = b'{"tool": "quill", "choice": "ship"}'
NOT_PLAIN = {
    "Content-Type": "application/json; charset=utf-8"
}  # answered by the router, not by the fast path


async def test_all_writes_of_a_visitor_share_a_limit(settings: Settings, catalogue_key: Headers) -> None:
    async with limited(settings, catalogue_key, limit_visitor=4) as app:
        ada = visitor(app)
        await vote(ada)
        saved = await ada.put("/v1/me/bookmarks/quill")
        retracted = await ada.delete("/v1/votes/quill")
        dropped = await ada.delete("/v1/me/bookmarks/quill")
        left = [each.headers["ratelimit"].split(";")[1] for each in (saved, retracted, dropped)]
        assert left == ["r=2", "r=1", "r=0"]
        for rejected in (
            await vote(ada),
            await ada.post("/v1/votes", content=VOTE, headers=NOT_PLAIN),
            await ada.delete("/v1/votes/quill"),
            await ada.put("/v1/me/bookmarks/quill"),
            await ada.delete("/v1/me/bookmarks/quill"),
        ):
            assert_limited(rejected, "visitor", "q=4;w=60")


@pytest.mark.parametrize("forged", ["", "x", "AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAA"])
async def test_new_visitors_are_limited_by_address(
    settings: Settings, catalogue_key: Headers, forged: str
) -> None:
    """A visitor without a cookie, or with a forged one, is new."""
    async with limited(settings, catalogue_key, limit_address=4) as app:
        cookie = {"Cookie": f"shiplog_visitor={forged}"} if forged else {}
        answers = [await vote(visitor(app, ADDRESS, **cookie)) for _ in range(5)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
        assert_limited(answers[-1], "address", "q=4;w=60")
        assert (await visitor(app, ADDRESS, **cookie).delete("/v1/votes/quill")).status_code == 429
        assert (await vote(visitor(app, OTHER_ADDRESS))).status_code == 200


async def test_a_known_visitor_is_not_limited_by_address(settings: Settings, catalogue_key: Headers) -> None:
    async with limited(settings, catalogue_key, limit_address=2) as app:
        ada = visitor(app)
        assert await statuses(4, lambda: vote(ada)) == [200] * 4
        await vote(visitor(app))
        assert_limited(await vote(visitor(app)), "address", "q=2;w=60")
        assert (await vote(ada, choice="skip")).status_code == 200


FORWARDED: Mapping[str, str] = {
    "X-Forwarded-For": "203.0.113.{n}",
    "X-Real-IP": "203.0.113.{n}",
    "Forwarded": "for=203.0.113.{n}",
    "True-Client-IP": "203.0.113.{n}",
    "CF-Connecting-IP": "203.0.113.{n}",
    "X-Client-IP": "203.0.113.{n}",
}


@pytest.mark.parametrize("header", FORWARDED)
async def test_a_spoofed_header_does_not_change_the_address(
    settings: Settings, catalogue_key: Headers, header: str
) -> None:
    async with limited(settings, catalogue_key, limit_address=4, limit_login=4) as app:
        spoofs = [{header: FORWARDED[header].format(n=n)} for n in range(6)]
        votes = [await vote(visitor(app, ADDRESS, **spoof)) for spoof in spoofs]
        assert [each.status_code for each in votes] == [200] * 3 + [429] * 3
        attempts = [await visitor(app, ADDRESS, **spoof).post("/v1/session", json=NAME) for spoof in spoofs]
        assert [each.status_code for each in attempts] == [401] * 3 + [429] * 3


async def test_clients_of_a_trusted_proxy_are_limited_separately(
    settings: Settings, catalogue_key: Headers
) -> None:
    proxies = (ip_network("10.0.0.0/8"),)
    async with limited(settings, catalogue_key, limit_address=1, trusted_proxies=proxies) as app:

        async def through(forwarded: str, proxy: str = "10.0.0.1") -> int:
            return (await vote(visitor(app, proxy, **{"X-Forwarded-For": forwarded}))).status_code

        assert [await through(f"{ADDRESS}"), await through(f"{OTHER_ADDRESS}")] == [200, 200]
        assert [await through(f"203.0.113.{n}, {ADDRESS}") for n in range(3)] == [429] * 3
        assert await through("203.0.113.1", proxy=ADDRESS) == 429
        assert [await through("rubbish"), await through("more rubbish")] == [200, 429]


async def test_a_key_has_no_limit_by_default_and_sends_nothing_to_redis(
    settings: Settings, catalogue_key: Headers, vote_key: Headers, valkey: Valkey
) -> None:
    defaults = {
        name: getattr(Settings(database_url="", secret=b""), name) for name in settings.__struct_fields__
    }
    limits = {name: value for name, value in defaults.items() if name.startswith("limit_")}
    async with (
        limited(settings, catalogue_key, **limits, redis_url=valkey.url()) as app,
        Redis.from_url(valkey.url()) as redis,
    ):
        before = await redis.info("commandstats")
        answers = [await vote_as(visitor(app), vote_key, f"voter {n % 2}", "ship") for n in range(150)]
        assert {each.status_code for each in answers} == {200}
        assert not [name for each in answers for name in each.headers if name.startswith("ratelimit")]
        after = await redis.info("commandstats")
        for command in ("cmdstat_evalsha", "cmdstat_eval"):
            assert after.get(command, {}).get("calls") == before.get(command, {}).get("calls")


async def test_requests_of_all_kinds_share_the_limit_of_a_key(
    settings: Settings, catalogue_key: Headers, vote_key: Headers
) -> None:
    """A bulk request counts as one, however many lines it has."""
    line = '{"tool": "quill", "choice": "ship", "voter": "v"}\n'
    ndjson = {**vote_key, "Content-Type": "application/x-ndjson"}
    async with limited(settings, catalogue_key, limit_key=2) as app:
        answers = await asyncio.gather(
            *(visitor(app).post("/v1/votes/bulk", content=line * 50, headers=ndjson) for _ in range(10)),
            *(vote_as(visitor(app), vote_key, "ada", "ship") for _ in range(10)),
        )
        assert {each.status_code for each in answers} == {200, 429}
        assert {each.headers["ratelimit-policy"] for each in answers} == {'"key";q=2;w=1'}
        assert_limited(next(each for each in answers if each.status_code == 429), "key", "q=2;w=1")
        assert {each.json()["received"] for each in answers[:10] if each.status_code == 200} <= {50}


async def test_wrong_passwords_are_limited_by_address(settings: Settings, catalogue_key: Headers) -> None:
    """Whatever the names, three times what one name may have."""
    async with limited(settings, catalogue_key, limit_login=2) as app:
        attempts = [
            await visitor(app).post("/v1/session", json={**NAME, "name": f"user {n}"}) for n in range(5)
        ]
        assert [each.status_code for each in attempts] == [401, 401, 401, 401, 429]
        assert_limited(attempts[-1], "login-address", "q=6;w=60")
        assert (await visitor(app, OTHER_ADDRESS).post("/v1/session", json=NAME)).status_code == 401


async def test_wrong_passwords_are_limited_by_address_and_name(
    settings: Settings, catalogue_key: Headers
) -> None:
    async with limited(settings, catalogue_key, limit_login=4) as app:
        attempts = [await visitor(app).post("/v1/session", json=NAME) for _ in range(4)]
        assert [each.status_code for each in attempts] == [401, 401, 401, 429]
        assert_limited(attempts[-1], "login", "q=4;w=60")
        other = await visitor(app).post("/v1/session", json={**NAME, "name": "bob"})
        assert other.status_code == 401


async def test_attempts_from_elsewhere_do_not_lock_the_owner_of_a_name_out(
    settings: Settings, catalogue_key: Headers, pool: Pool[Record]
) -> None:
    ada = {"name": "ada", "password": (await create_user(pool, "ada", "editor")).password}
    async with limited(settings, catalogue_key, limit_login=4) as app:
        attempts = [await visitor(app, f"203.0.113.{n}").post("/v1/session", json=NAME) for n in range(20)]
        assert {each.status_code for each in attempts} == {401}
        assert (await visitor(app).post("/v1/session", json=ada)).status_code == 200


async def test_a_device_that_a_name_has_logged_in_with_has_a_limit_of_its_own(
    settings: Settings, catalogue_key: Headers, pool: Pool[Record]
) -> None:
    """Also where the attempts come from the owner's own address, as from behind one proxy."""
    ada = {"name": "ada", "password": (await create_user(pool, "ada", "editor")).password}
    bob = {"name": "bob", "password": (await create_user(pool, "bob", "editor")).password}
    async with limited(settings, catalogue_key, limit_login=4) as app:
        known = visitor(app)
        assert (await known.post("/v1/session", json=ada)).status_code == 200
        assert await statuses(4, lambda: visitor(app).post("/v1/session", json=NAME)) == [401, 401, 429, 429]
        assert (await known.delete("/v1/session")).status_code == 204
        assert await statuses(3, lambda: known.post("/v1/session", json=NAME)) == [401] * 3
        assert_limited(await known.post("/v1/session", json=ada), "login-device", "q=4;w=60")

        # A device of one name is unknown to another, and a forged cookie is none.
        forged = visitor(app, Cookie=f"shiplog_device={known.cookies['shiplog_device'][:-2]}AA")
        for stranger in (forged, visitor(app)):
            assert_limited(await stranger.post("/v1/session", json=ada), "login", "q=4;w=60")
        assert (await known.post("/v1/session", json=bob)).headers["ratelimit"].startswith('"login-address"')


async def test_unknown_names_have_the_limits_of_known_ones(
    settings: Settings, catalogue_key: Headers, pool: Pool[Record]
) -> None:
    await create_user(pool, "ada", "editor")
    answers = []
    async with limited(settings, catalogue_key, limit_login=4) as app:
        for name, address in (("ada", ADDRESS), ("nobody", OTHER_ADDRESS)):
            body = {"name": name, "password": "wrong"}
            sent = [await visitor(app, address).post("/v1/session", json=body) for _ in range(4)]
            answers.append([(each.status_code, each.json()) for each in sent[:3]])
            assert sent[3].status_code == 429
    assert answers[0] == answers[1]


async def test_a_thousand_wrong_passwords_do_not_limit_votes(
    settings: Settings, catalogue_key: Headers, valkey: Valkey
) -> None:
    limits = {"limit_login": 4, "limit_visitor": 60, "limit_address": 30, "redis_url": valkey.url()}
    async with limited(settings, catalogue_key, **limits) as app:
        ada = visitor(app)
        attempts = await statuses(1_000, lambda: visitor(app).post("/v1/session", json=NAME))
        assert attempts.count(401) < 20  # more than the limit if they take over a minute
        assert attempts.count(401) + attempts.count(429) == 1_000
        assert await statuses(10, lambda: vote(ada)) == [200] * 10


async def test_two_processes_share_a_limit(
    settings: Settings, catalogue_key: Headers, valkey: Valkey
) -> None:
    limits = {"limit_address": 20, "limit_visitor": 20, "redis_url": valkey.url()}
    async with (
        limited(settings, catalogue_key, **limits) as one,
        limited(settings, catalogue_key, **limits) as other,
    ):
        new = [
            await vote(visitor(app, "203.0.113.77", **{"X-Forwarded-For": f"203.0.113.{n}"}))
            for n in range(40)
            for app in (one, other)
        ]
        assert 11 <= sum(each.status_code == 200 for each in new) <= 20
        cookie = {"Cookie": new[0].headers["set-cookie"].partition(";")[0]}
        known = [await vote(visitor(app, OTHER_ADDRESS, **cookie)) for _ in range(40) for app in (one, other)]
        assert 11 <= sum(each.status_code == 200 for each in known) <= 20
        assert {each.status_code for each in (*new, *known)} == {200, 429}


async def test_without_redis_each_process_limits_alone(settings: Settings, catalogue_key: Headers) -> None:
    limits = {"limit_visitor": 4, "redis_url": "redis://127.0.0.1:1/0"}
    async with limited(settings, catalogue_key, **limits) as app:
        ada = visitor(app)
        assert await statuses(6, lambda: vote(ada)) == [200] * 4 + [429] * 2


async def test_limited_routes_document_the_429() -> None:
    paths = create_app(Settings(database_url="", secret=b"")).openapi_schema.to_schema()["paths"]
    documented = {
        f"{method} {path}"
        for path, item in paths.items()
        for method, operation in item.items()
        if "429" in operation["responses"]
    }
    assert documented == {
        "post /v1/votes", "delete /v1/votes/{tool}", "post /v1/votes/bulk", "post /v1/session", "put /v1/me/password",
        "put /v1/me/bookmarks/{tool}", "delete /v1/me/bookmarks/{tool}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("addresses", "network", "admitted"),
    [
        ([f"2001:db8:1:{n:x}::1" for n in range(40)], "network-56", 8 + 1),  # one /56
        ([f"2001:db8:2:{n << 8:x}::1" for n in range(40)], "network-48", 16 + 1),  # a /48, each another /56
        ([f"198.18.7.{n}" for n in range(40)], "network-24", 16 + 1),
    ],
    ids=["/56", "/48", "/24"],
)
@pytest.mark.parametrize("with_redis", [False, True], ids=["alone", "redis"])
async def test_addresses_of_one_network_share_a_wider_limit(
    settings: Settings,
    catalogue_key: Headers,
    valkey: Valkey,
    addresses: list[str],
    network: str,
    admitted: int,
    with_redis: bool,
) -> None:
    redis_url = valkey.url() if with_redis else None
    async with limited(settings, catalogue_key, limit_address=8, redis_url=redis_url) as app:
        answers = [await vote(visitor(app, each)) for each in addresses]
        rejected = [number for number, answer in enumerate(answers) if answer.status_code != 200]
        assert rejected[0] >= admitted
        assert_limited(answers[rejected[0]], network, f"q={2 * (admitted - 1)};w=60")
        assert (await vote(visitor(app, "2001:db8:ffff::1"))).status_code == 200
