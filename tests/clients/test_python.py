"""A Python client generated from the document calls every operation of a running instance, and reads its answers."""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from openapi_python_client.strings import PythonIdentifier

from tests.clients.calls import CALLS, STREAM, Call
from tests.clients.conftest import Site

pytestmark = pytest.mark.xdist_group("clients")
# The command in the manual names python.yaml without its folder.
HERE = Path(__file__).parent


def test_the_calls_cover_the_document(clients_site: Site) -> None:
    paths = json.loads(clients_site.document.read_bytes())["paths"]
    operations = {operation["operationId"] for item in paths.values() for operation in item.values()}
    assert {call.operation for call in CALLS} == operations


def test_every_operation_works_through_a_generated_client(clients_site: Site, tmp_path: Path) -> None:
    with generated(clients_site, tmp_path) as package:
        client = Client(package, clients_site)
        for call in CALLS:
            client.make(call)


@contextmanager
def generated(site: Site, folder: Path) -> Iterator[ModuleType]:
    documented = site.documented_arguments("openapi-python-client")
    command = [sys.executable, "-m", "openapi_python_client", *documented, "--meta", "none"]
    output = ["--output-path", str(folder / "shiplog_client")]
    done = subprocess.run([*command, *output], cwd=HERE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    left_out = re.findall(r"WARNING.*\n\n.*\n", done.stdout + done.stderr)
    assert len(left_out) == 1, left_out
    assert "Unsupported content type application/toml" in left_out[0]
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("shiplog_client")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == "shiplog_client"]:
            del sys.modules[name]


class Client:
    """Makes calls as each identity. What they save is in ``names``."""

    def __init__(self, package: ModuleType, site: Site) -> None:
        self.names = site.names("python")
        plain = {"base_url": site.url, "raise_on_unexpected_status": True}
        self._clients = {
            "visitor": package.Client(**plain),
            "key": package.AuthenticatedClient(token=site.key, **plain),
            "session": package.Client(cookies={"shiplog_session": site.session}, **plain),
        }
        api = importlib.import_module(f"{package.__name__}.api")
        found = [each.name for each in pkgutil.walk_packages(api.__path__, f"{api.__name__}.")]
        self._modules = {name.rpartition(".")[2]: name for name in found}
        self._problem = importlib.import_module(f"{package.__name__}.models").Problem
        self._file = importlib.import_module(f"{package.__name__}.types").File

    def make(self, call: Call) -> None:
        module = importlib.import_module(self._modules[str(PythonIdentifier(call.operation, prefix=""))])
        client, arguments = self._clients[call.identity], self._arguments(module, call)
        if call.operation == STREAM:
            with client.get_httpx_client().stream(**module._get_kwargs(**arguments)) as answer:
                assert any(line == "event: tally" for line in answer.iter_lines())
            return
        answer = module.sync_detailed(client=client, **arguments)
        while call.until and json.loads(answer.content)[call.until[0]] not in call.until[1]:
            answer = module.sync_detailed(client=client, **arguments)
        assert answer.status_code in call.statuses, (call.operation, answer.status_code, answer.content)
        self._check(call, answer)
        for name, place in call.saves.items():
            self.names[name] = str(_follow(json.loads(answer.content), place))

    def _check(self, call: Call, answer: Any) -> None:
        """The answer was read as its type, which knows all of its fields."""
        if answer.status_code == 204:
            return
        assert answer.parsed is not None, call.operation
        assert isinstance(answer.parsed, self._problem) == (answer.status_code >= 400), call.operation
        assert getattr(answer.parsed, "additional_properties", {}) == {}, call.operation

    def _arguments(self, module: ModuleType, call: Call) -> dict[str, Any]:
        types = typing.get_type_hints(module.sync_detailed)
        arguments: dict[str, Any] = {}
        for name, text in {**call.path, **call.query}.items():
            python_name = str(PythonIdentifier(name, prefix=""))
            value = fill(text, self.names)
            arguments[python_name] = (
                UUID(value) if UUID in {types[python_name], *typing.get_args(types[python_name])} else value
            )
        if call.body is not None:
            arguments["body"] = self._body(types["body"], fill(call.body, self.names))
        return arguments

    def _body(self, type: Any, body: Any) -> Any:
        if isinstance(body, str):
            return self._file(payload=io.BytesIO(body.encode()))
        models = [each for each in (type, *typing.get_args(type)) if hasattr(each, "from_dict")]
        return models[0].from_dict(body)


def fill(value: Any, names: Mapping[str, str]) -> Any:
    """``{name}`` replaced, in all texts of a parameter or body."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, dict):
        return {key: fill(each, names) for key, each in value.items()}
    return [fill(each, names) for each in value] if isinstance(value, list) else value


def _follow(value: Any, place: str) -> Any:
    for name in place.split("."):
        value = value[int(name) if isinstance(value, list) else name]
    return value
