"""Accounts over HTTP: people list and end their sessions; a new password, another role and a removal end all of them."""

from __future__ import annotations

import asyncio

import pytest

from eventstore.polling import poll_until
from services.auth import accounts
from services.auth.accounts import InvalidUserName, UnknownUser, UserExists
from services.auth.identity import SESSION_COOKIE
from tests.support.stage import TOOL, Client, Stage, assert_problem, new_visitor


async def logged_in(stage: Stage, name: str, password: str, agent: str = "a browser") -> Client:
    client = new_visitor(stage.client)
    client.headers["user-agent"] = agent
    opened = await client.post("/v1/session", json={"name": name, "password": password})
    assert opened.status_code == 200, opened.text
    return client


async def changes(stage: Stage, name: str, change: str) -> None:
    match change:
        case "password":
            await accounts.set_password(stage.log, name, "a password of my own")
        case "role":
            await accounts.set_role(stage.log, name, "reviewer", "builder")
        case _:
            await accounts.remove_user(stage.log, name)


@pytest.mark.parametrize("change", ["password", "role", "removal"])
async def test_no_old_session_writes_after(stage: Stage, change: str) -> None:
    user = await accounts.create_user(stage.log, f"ed {change}", "editor")
    other = await accounts.create_user(stage.log, f"other {change}", "editor")
    clients = [await logged_in(stage, user.name, user.password) for _ in range(2)]
    unconcerned = await logged_in(stage, other.name, other.password)
    await changes(stage, user.name, change)
    for client in clients:
        assert_problem(await client.put("/v1/tools/quill", json=TOOL), 401)
        assert_problem(await client.get("/v1/session"), 401)
    assert (await unconcerned.put("/v1/tools/quill", json=TOOL)).status_code == 200


async def test_a_log_in_during_a_change_of_the_password_opens_no_session(stage: Stage) -> None:
    """The password was checked before the change, and the session would be opened after it."""
    user = await accounts.create_user(stage.log, "slow", "editor")
    checked = await stage.log.fetchval("SELECT password FROM users WHERE name = 'slow'")
    async with stage.log.acquire() as conn:
        change = conn.transaction()
        await change.start()
        await conn.execute(accounts.SET_HASH, user.name, "another hash", None)
        opening = asyncio.create_task(accounts.open_session(stage.log, b"digest", user.name, checked, ""))
        waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
        assert await poll_until(lambda: stage.log.fetchval(waiting), seconds=10)
        await conn.execute(accounts.END_SESSIONS, user.name)
        await change.commit()
    assert await opening is False
    assert await accounts.read_sessions(stage.log, user.name) == []


async def test_people_list_and_end_their_own_sessions(stage: Stage) -> None:
    user = await accounts.create_user(stage.log, "vera", "reviewer", "builder")
    other = await accounts.create_user(stage.log, "walt", "editor")
    first = await logged_in(stage, user.name, user.password, "Firefox\x7f on Linux")
    second = await logged_in(stage, user.name, user.password, "x" * 500)
    stranger = await logged_in(stage, other.name, other.password)
    listed = (await second.get("/v1/me/sessions")).json()["items"]
    assert [(each["agent"], each["current"]) for each in listed] == [
        ("x" * 200, True),
        ("Firefox on Linux", False),
    ]
    ids = [each["id"] for each in listed]
    token = second.cookies[SESSION_COOKIE]
    assert not any(each in token for each in ids)

    assert_problem(await stranger.delete(f"/v1/me/sessions/{ids[1]}"), 404)
    assert_problem(await second.delete("/v1/me/sessions/xyz"), 400)
    assert (await second.delete(f"/v1/me/sessions/{ids[1]}")).status_code == 204
    assert_problem(await first.get("/v1/session"), 401)
    assert_problem(await second.delete(f"/v1/me/sessions/{ids[1]}"), 404)

    for _ in range(2):
        await logged_in(stage, user.name, user.password)
    assert (await second.delete("/v1/me/sessions")).json() == {"ended": 2}
    assert [each["current"] for each in (await second.get("/v1/me/sessions")).json()["items"]] == [True]
    assert (await stranger.get("/v1/session")).status_code == 200
    assert_problem(await new_visitor(stage.client).get("/v1/me/sessions"), 401)


async def test_a_person_changes_their_password_and_stays_logged_in_here_alone(stage: Stage) -> None:
    user = await accounts.create_user(stage.log, "xena", "editor")
    here, there = [await logged_in(stage, user.name, user.password) for _ in range(2)]
    mine = "a password of my own"
    wrong = await here.put("/v1/me/password", json={"current": "guessed", "new": mine})
    assert_problem(wrong, 403)
    short = await here.put("/v1/me/password", json={"current": user.password, "new": "short"})
    assert_problem(short, 400)
    old = here.cookies[SESSION_COOKIE]
    changed = await here.put("/v1/me/password", json={"current": user.password, "new": mine})
    assert (changed.status_code, changed.json()) == (200, {"name": "xena", "role": "editor"})
    assert here.cookies[SESSION_COOKIE] != old
    assert (await here.get("/v1/session")).status_code == 200
    assert_problem(await there.get("/v1/session"), 401)
    forgotten = await there.post("/v1/session", json={"name": "xena", "password": user.password})
    assert_problem(forgotten, 401)
    await logged_in(stage, "xena", mine)


async def test_accounts_have_one_name_each_and_errors_that_say_what_to_do(stage: Stage) -> None:
    await accounts.create_user(stage.log, "zoe", "editor")
    with pytest.raises(UserExists, match="shiplog users password"):
        await accounts.create_user(stage.log, "zoe", "reviewer", "builder")
    with pytest.raises(UnknownUser):
        await accounts.set_password(stage.log, "nobody", "whatever it is")
    with pytest.raises(UnknownUser):
        await accounts.remove_user(stage.log, "nobody")
    for name in ("", " zoe", "zoe ", "zo\ne", "z" * 81, "\x00"):
        with pytest.raises(InvalidUserName):
            await accounts.create_user(stage.log, name, "editor")
