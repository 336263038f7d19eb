"""From an empty instance to a published comparison through the API alone, and what `shiplog up` prints on the way."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.support.instances import start_instance

REVIEWERS = ("builder", "skeptic", "pm")
TAKES = {"zed": ("ship", "ship", "skip"), "neovim": ("ship", "skip", "skip")}


def put(client: httpx.Client, address: str, body: object) -> str:
    """The position of the write."""
    answer = client.put(address, json=body)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["position"])


def build_a_comparison(client: httpx.Client) -> str:
    """Each write follows the one before at once, and the position of the last one is returned."""
    for slug in REVIEWERS:
        put(client, f"/v1/reviewers/{slug}", {"name": slug.title(), "tagline": f"What does {slug} ask?"})
    put(client, "/v1/reviewers/order", {"order": ["pm", "builder", "skeptic"]})
    for tool, choices in TAKES.items():
        put(client, f"/v1/tools/{tool}", {"name": tool.title(), "category": "editors"})
        for reviewer, choice in zip(REVIEWERS, choices, strict=True):
            take = {
                "score": 80 if choice == "ship" else 20,
                "choice": choice,
                "text": f"{reviewer} on {tool}.",
            }
            written = put(client, f"/v1/tools/{tool}/takes/{reviewer}", take)
    return written


@pytest.mark.xdist_group("first run")
def test_an_empty_instance_is_filled_through_the_api(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with start_instance(data, "--empty") as instance:
        lost = f"new password: shiplog users password editor --data {data}"
        assert instance.printed[0].startswith("editor login editor ")
        assert list(instance.printed[1:-1]) == [
            lost,
            f"next: {instance.url}/editor: log in, seat reviewers, list two tools, publish takes",
        ]
        with httpx.Client(base_url=instance.url, timeout=10) as client:
            assert (
                client.get("/v1/reviewers").json()
                == client.get("/v1/categories").json()
                == {"items": [], "next": None}
            )
            client.headers["Authorization"] = f"Bearer {instance.create_key('catalogue:write')}"
            written = build_a_comparison(client)
            comparison = client.get("/v1/comparisons/zed/neovim", params={"min_position": written}).json()
            assert comparison["winner"]["label"] == "Zed"
            assert [row["reviewer"]["slug"] for row in comparison["scorecard"]] == [
                "pm",
                "builder",
                "skeptic",
            ]
            assert client.get("/v1/categories").json()["items"] == [
                {"slug": "editors", "name": "Editors", "tools": 2}
            ]
        assert instance.command("reviewers", "list").startswith("pm  Pm  revision 1\n")
        log_in_with_a_new_password(instance.url, instance.command("users", "password", "editor", "--json"))
    with start_instance(data, "--empty") as again:
        assert list(again.printed[:-1]) == [lost]


def log_in_with_a_new_password(site: str, printed: str) -> None:
    user = json.loads(printed)
    body = {"name": user["name"], "password": user["password"]}
    with httpx.Client(base_url=site, timeout=10) as client:
        assert client.post("/v1/session", json=body).json() == {"name": "editor", "role": "editor"}
        assert [each["current"] for each in client.get("/v1/me/sessions").json()["items"]] == [True]
