"""What follows from the public address: cookies, links, and which pages may write. A Host header alone decides nothing."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from ipaddress import ip_network
from xml.etree import ElementTree as ET

import httpx
import pytest
from msgspec.structs import replace

from services.auth.identity import SESSION_COOKIE, VISITOR_COOKIE
from services.public_address import PublicAddress
from services.webhooks.sending import open_sender
from tests.integration.conftest import stage_on
from tests.support.receiver import answer, receiving
from tests.support.stage import Client, Stage, catch_up, list_tool, log_in, new_visitor, publish, vote

ATOM = "{http://www.w3.org/2005/Atom}"
SHIP = PublicAddress("https", "verdicts.example", "/ship")
BASE = "https://verdicts.example/ship"
LOOPBACK = (ip_network("127.0.0.0/8"),)
EVIL = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
REPORTED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "verdicts.example",
    "X-Forwarded-Prefix": "/ship",
}
PAGES = [
    "/",
    "/?sort=new",
    "/tools/quill",
    "/categories/writing",
    "/compare/quill-vs-pen",
    "/flips",
    "/ledger",
]


@pytest.fixture(scope="module")
async def shown(stage: Stage) -> Stage:
    """The stage with two tools, a take, and the read models that show them."""
    await list_tool(stage.client, stage.catalogue_key, "pen")
    await publish(stage.client, stage.catalogue_key, "quill", "builder", 90, "ship")
    await catch_up(stage.log)
    return stage


@pytest.fixture(scope="module")
async def public(shown: Stage) -> AsyncIterator[Client]:
    """The same log, served by an app with a public URL."""
    settings = replace(shown.settings, public_address=SHIP, webhook_networks=LOOPBACK)
    async with stage_on(settings) as stage:
        yield stage.client


@pytest.fixture(scope="module")
async def behind(shown: Stage) -> AsyncIterator[Client]:
    """The same log, served by an app that trusts its peer, which reports the address in each request."""
    async with stage_on(replace(shown.settings, trusted_proxies=LOOPBACK)) as stage:
        stage.client.headers.update(REPORTED)
        yield stage.client


@pytest.fixture(params=["public", "behind"])
def reached(request: pytest.FixtureRequest, public: Client, behind: Client) -> Client:
    """Each of the two apps that know their address."""
    return {"public": public, "behind": behind}[request.param]


@pytest.fixture
def client(shown: Stage) -> Client:
    """An app with neither."""
    return shown.client


def cookie_of(answer: httpx.Response, name: str) -> tuple[str, bool]:
    """Its path, and whether it is sent over TLS alone."""
    morsel = SimpleCookie(answer.headers["set-cookie"])[name]
    return morsel["path"], bool(morsel["secure"])


async def feed_of(client: Client, query: str = "", **headers: str) -> tuple[str, set[str]]:
    """The id of the Atom feed, and all addresses in both feeds."""
    atom = ET.fromstring((await client.get(f"/v1/verdicts/flips.atom{query}", headers=headers)).content)
    json = (await client.get(f"/v1/verdicts/flips.json{query}", headers=headers)).json()
    links = {link.get("href", "") for link in atom.iter(f"{ATOM}link")}
    links |= {json["home_page_url"], json["feed_url"], *(each["url"] for each in json["items"])}
    return atom.findtext(f"{ATOM}id", ""), links


async def test_behind_tls_cookies_are_secure_and_bound_to_the_prefix(
    reached: Client, shown: Stage, request: pytest.FixtureRequest
) -> None:
    async with new_visitor(reached) as visitor:
        visitor.headers.update(reached.headers)
        assert cookie_of(await vote(visitor), VISITOR_COOKIE) == ("/ship", True)
        opened = await visitor.post("/v1/session", json={"name": "nobody", "password": "x"})
        assert opened.status_code == 401
        await log_in(visitor, shown.log, request.node.name, "editor")
        assert cookie_of(await visitor.delete("/v1/session"), SESSION_COOKIE) == ("/ship", True)


async def test_a_forwarded_scheme_is_ignored_from_others(client: Client) -> None:
    async with new_visitor(client) as visitor:
        answer = await visitor.post("/v1/votes", json={"tool": "quill", "choice": "ship"}, headers=REPORTED)
        assert cookie_of(answer, VISITOR_COOKIE) == ("/", False)


async def test_absolute_links_begin_with_the_public_address(reached: Client) -> None:
    _, links = await feed_of(reached)
    assert {f"{BASE}/flips", f"{BASE}/v1/verdicts/flips.atom", f"{BASE}/v1/verdicts/flips.json"} <= links
    assert all(each.startswith(f"{BASE}/") for each in links)
    for page in PAGES:
        html = (await reached.get(page)).text
        path = page if page != "/compare/quill-vs-pen" else "/compare/pen-vs-quill"
        assert f'<link rel="canonical" href="{BASE}{path}">' in html
        assert set(re.findall(r"""(?:href|src|action)="(/[a-z]*)""", html)) == {"/ship"}
    assert f'"url": "{BASE}/tools/quill"' in (await reached.get("/tools/quill")).text
    listed = await reached.get("/v1/tools?limit=1&sort=new")
    assert listed.headers["link"].startswith(f"<{BASE}/v1/tools?")
    assert (await reached.get("/schema/openapi.json")).json()["servers"] == [{"url": BASE}]
    assert 'href="/ship/schema/openapi.json"' in (await reached.get("/schema/swagger")).text
    missing = await reached.get("/nothing", headers={"Accept": "text/html"})
    assert missing.status_code == 404
    assert 'href="/ship/"' in missing.text


async def test_the_app_answers_with_the_prefix_and_without(public: Client) -> None:
    async with new_visitor(public) as visitor:
        assert (await visitor.get("/ship")).text == (await visitor.get("/")).text
        body = {"tool": "quill", "choice": "ship"}
        assert (await visitor.post("/ship/v1/votes", json=body)).status_code == 200
        script = re.findall(r'src="(/ship/static/[^"]+)', (await visitor.get("/ship/")).text)[0]
        assert (await visitor.get(script)).headers["content-type"].startswith("text/javascript")
        assert (await visitor.get(script.removeprefix("/ship"))).status_code == 200
        assert (await visitor.get("/ship/ship/v1/tools")).status_code == 404


async def test_without_a_public_address_no_host_owns_what_others_may_read(client: Client) -> None:
    """Links are paths: the same bytes for every Host header, and no cache can be poisoned by one."""
    _, links = await feed_of(client, "?tool=quill", **EVIL)
    assert all(each.startswith("/") for each in links)
    documents = ["/v1/verdicts/flips.atom", "/v1/verdicts/flips.json", "/schema/openapi.json", *PAGES]
    for path in documents:
        plain, forged = await client.get(path), await client.get(path, headers=EVIL)
        assert forged.content == plain.content, path
    for path in ("/v1/tools?limit=1", "/v1/tools?limit=1&sort=new"):
        assert (await client.get(path, headers=EVIL)).headers["link"].startswith("</v1/tools?")


async def test_the_feeds_id_never_changes(client: Client, public: Client, behind: Client) -> None:
    ids = {(await feed_of(each))[0] for each in (client, public, behind)}
    ids |= {(await feed_of(client, **EVIL))[0]}
    assert len(ids) == 1
    assert ids.pop().startswith("urn:uuid:")
    assert (await feed_of(client, "?tool=quill"))[0] != (await feed_of(client))[0]


@pytest.mark.parametrize(
    ("headers", "link"),
    [
        (EVIL, "/"),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://desk.example"}, "https://desk.example"),
    ],
)
async def test_a_webhook_keeps_no_host_that_the_editors_page_did_not_have(
    shown: Stage, headers: dict[str, str], link: str
) -> None:
    settings = replace(shown.settings, webhook_networks=LOOPBACK)
    async with stage_on(settings) as stage, receiving(answer(200)) as receiver:
        await log_in(stage.client, stage.log, f"opens {link}", "editor")
        opened = await stage.client.post("/v1/webhooks", json={"url": receiver.url}, headers=headers)
        await stage.client.post(f"{opened.headers['location']}/test")
        await open_sender(settings).deliver(stage.log)
        assert receiver.requests[-1].verified(opened.json()["secret"])["data"] == {"url": link}


async def test_links_of_webhooks_begin_with_the_public_url_of_today(shown: Stage, public: Client) -> None:
    """Also those of a webhook that was created before the address was set."""
    settings = replace(shown.settings, webhook_networks=LOOPBACK)
    async with stage_on(settings) as stage, receiving(answer(200)) as receiver:
        await log_in(stage.client, stage.log, "before", "editor")
        opened = await stage.client.post("/v1/webhooks", json={"url": receiver.url})
        async with new_visitor(public) as editor:
            await log_in(editor, shown.log, "after", "editor")
            sent = await editor.post(f"{opened.headers['location']}/test", headers=cookies_of(editor))
        assert sent.status_code == 202, sent.text
        await open_sender(settings).deliver(stage.log)
        assert receiver.requests[-1].verified(opened.json()["secret"])["data"] == {"url": BASE}


ALLOWED = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://v.example", "Host": "v.example:443"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://v.example", "Host": "127.0.0.1:8000"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://v.example", "Host": "v.example"},
    {"Origin": "https://v.example", "Host": "V.example:443"},
    {"Origin": "http://v.example", "Host": "v.example:80"},
    {"Origin": "http://v.example:8000", "Host": "v.example:8000"},
    {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
]
FOREIGN = [
    {"Origin": "https://evil.example", "Host": "v.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://a.v.example", "Host": "v.example", "Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
    {"Origin": "https://v.example", "Host": "v.example", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "Same-Origin, cross-site"},
    {"Origin": "null", "Host": "v.example"},
    {"Origin": "https://v.example:444", "Host": "v.example:443"},
    {"Origin": "http://v.example:443", "Host": "v.example"},
    {"Origin": "https://evil.example", "Host": "v.example", "X-Forwarded-Host": "evil.example"},
]


@pytest.mark.parametrize("headers", ALLOWED)
async def test_a_page_of_this_site_may_write(client: Client, headers: dict[str, str]) -> None:
    """The first vote takes the documented route, the second one the fast path."""
    async with new_visitor(client) as visitor:
        for choice in ("ship", "skip"):
            body = {"tool": "quill", "choice": choice}
            answer = await visitor.post("/v1/votes", json=body, headers=headers | cookies_of(visitor))
            assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("headers", FOREIGN)
async def test_a_page_of_another_site_may_not(client: Client, headers: dict[str, str]) -> None:
    async with new_visitor(client) as visitor:
        await vote(visitor)
        for sent in ({}, cookies_of(visitor)):
            body = {"tool": "quill", "choice": "skip"}
            answer = await visitor.post("/v1/votes", json=body, headers=headers | sent)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:shiplog:cross-site")


async def test_behind_a_proxy_that_changes_the_host_the_public_address_is_ours(
    reached: Client,
) -> None:
    """Also for an old browser, which sends no Sec-Fetch-Site."""
    async with new_visitor(reached) as visitor:
        visitor.headers.update(reached.headers)
        for origin, status in (("https://verdicts.example", 200), ("https://evil.example", 403)):
            for sent in ({}, cookies_of(visitor)):
                headers = {"Origin": origin, "Host": "127.0.0.1:8000"} | sent
                body = {"tool": "quill", "choice": "ship"}
                answer = await visitor.post("/v1/votes", json=body, headers=headers)
                assert answer.status_code == status, answer.text


def cookies_of(visitor: Client) -> dict[str, str]:
    """The visitor's cookie as a header, also where the jar would keep it back from another host."""
    return (
        {"Cookie": "; ".join(f"{each.name}={each.value}" for each in visitor.cookies.jar)}
        if visitor.cookies
        else {}
    )


async def test_a_cookie_of_another_instance_on_the_same_host_hides_no_other(
    public: Client, shown: Stage
) -> None:
    """At `/` and at `/ship` two instances set cookies of one name, and a browser sends both."""
    async with new_visitor(public) as visitor:
        own = SimpleCookie((await vote(visitor)).headers["set-cookie"])[VISITOR_COOKIE].value
        both = [f"{VISITOR_COOKIE}={own}", f"{VISITOR_COOKIE}=of.another"]
        for cookies in (both, both[::-1]):
            visitor.cookies.clear()
            headers = {"Cookie": "; ".join(cookies)}
            changed = await visitor.post("/v1/votes", json={"tool": "pen", "choice": "ship"}, headers=headers)
            assert "set-cookie" not in changed.headers
            votes = (await visitor.get("/v1/me/votes", headers=headers)).json()["items"]
            assert {each["tool"] for each in votes} == {"quill", "pen"}
