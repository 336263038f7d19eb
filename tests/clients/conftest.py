"""An instance for generated clients, which adopt rulebooks and cut over replays, and its document."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.instances import start_instance

MANUAL = Path(__file__).parents[2] / "docs/http-api.md"


@dataclass(frozen=True)
class Site:
    """Where the clients call, with what, and the document they are generated from.

    ``session`` is an editor's. ``user`` and ``password`` are a reviewer's, for the calls that end sessions.
    """

    url: str
    key: str
    session: str
    user: str
    password: str
    document: Path

    def names(self, prefix: str) -> dict[str, str]:
        """What calls find under ``{name}`` before anything is saved."""
        return {"prefix": prefix, "user": self.user, "password": self.password}

    def documented_arguments(self, generator: str) -> list[str]:
        """What docs/http-api.md says to run, for this instance. Without the name of the program."""
        (line,) = re.findall(rf"^    {generator} (.*)$", MANUAL.read_text(), re.MULTILINE)
        return shlex.split(line.replace("http://127.0.0.1:8000", self.url))


@pytest.fixture(scope="package")
def clients_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("clients")
    with start_instance(folder / "data") as instance, ThreadPoolExecutor() as threads:
        key = threads.submit(instance.create_key, "votes:write", "catalogue:write", "read")
        editor, reviewer = threads.map(
            lambda arguments: json.loads(instance.command("users", "create", *arguments, "--json")),
            (["ada", "--role", "editor"], ["grace", "--role", "reviewer", "--reviewer", "builder"]),
        )
        document = folder / "openapi.json"
        with httpx.Client(base_url=instance.url) as client:
            document.write_bytes(client.get("/schema/openapi.json").content)
            opened = client.post("/v1/session", json={"name": "ada", "password": editor["password"]})
            session = opened.cookies["shiplog_session"]
        yield Site(instance.url, key.result(), session, "grace", reviewer["password"], document)
