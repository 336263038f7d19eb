"""A TypeScript client generated from the document: every operation is called with checked types, on a running instance."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.calls import CALLS, STREAM, Call
from tests.clients.conftest import Site

pytestmark = pytest.mark.xdist_group("clients")
HERE = Path(__file__).parent / "node"
MODULES = HERE / "node_modules"
NODE_VERSION_MIN = 18


@pytest.fixture(scope="module")
def node() -> str:
    """Node with the locked packages. Without it tests are skipped, except in CI."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None or _version(program) < NODE_VERSION_MIN:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"Node {NODE_VERSION_MIN} or newer, with npm, is not installed"
        )
    lock, installed = HERE / "package-lock.json", MODULES / "installed.json"
    if not installed.exists() or not filecmp.cmp(lock, installed, shallow=False):
        run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], HERE)
        shutil.copy(lock, installed)
    return program


def test_every_operation_works_through_a_generated_client(
    clients_site: Site, node: str, tmp_path: Path
) -> None:
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES)
    binaries = MODULES / ".bin"
    documented = clients_site.documented_arguments("openapi-typescript")
    run([str(binaries / "openapi-typescript"), *documented], tmp_path)
    document = json.loads(clients_site.document.read_bytes())
    (tmp_path / "calls.ts").write_text(program(document, clients_site))
    run([str(binaries / "tsc"), "--project", "."], tmp_path)
    run([node, "calls.js"], tmp_path)


def test_javascript_reads_every_pattern(clients_site: Site, node: str) -> None:
    """As `pattern` of HTML and validators of JSON Schema do, with the flags u and v."""
    check = "for (const flag of 'uv') for (const p of JSON.parse(process.argv[1])) new RegExp(p, flag)"
    patterns = re.findall(r'"pattern":("(?:[^"\\]|\\.)*")', clients_site.document.read_text())
    assert len(patterns) > 10
    run([node, "-e", check, f"[{','.join(patterns)}]"], HERE)


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command[0]}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


def _version(program: str) -> int:
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30).stdout
    return int(printed.lstrip("v").partition(".")[0])


def program(document: dict[str, Any], site: Site) -> str:
    """A program with one typed call for each of CALLS."""
    places = {
        operation["operationId"]: (method.upper(), path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    calls = "\n".join(_call(call, *places[call.operation]) for call in CALLS)
    return f"""import createClient from "openapi-fetch";
import type {{ paths }} from "./schema.d.ts";

const baseUrl = {json.dumps(site.url)};
const names: Record<string, string> = {json.dumps(site.names("typescript"))};
const cookies = new Map<string, string>();
const visitor = createClient<paths>({{ baseUrl }});
visitor.use({{
  onRequest: ({{ request }}) => request.headers.set("Cookie", [...cookies.values()].join("; ")),
  onResponse: ({{ response }}) => {{
    for (const sent of response.headers.getSetCookie())
      cookies.set(sent.replace(/=.*/, ""), sent.replace(/;.*/, ""));
  }},
}});
const key = createClient<paths>({{ baseUrl, headers: {{ Authorization: {json.dumps("Bearer " + site.key)} }} }});
const session = createClient<paths>({{ baseUrl, headers: {{ Cookie: {json.dumps("shiplog_session=" + site.session)} }} }});

function check(operation: string, response: Response, statuses: number[], answer: unknown): void {{
  if (!statuses.includes(response.status) || (response.status !== 204 && answer === undefined))
    throw new Error(`${{operation}}: ${{response.status}} ${{JSON.stringify(answer)}}`);
}}

{calls}
"""


def _call(call: Call, method: str, path: str) -> str:
    request = f"{call.identity}.{method}({json.dumps(path)}, {{{', '.join(_options(call))}}})"
    lines = [f"let {{ data, error, response }} = await {request};"]
    if call.until:
        field, values = call.until
        lines.append(
            f"while (!{json.dumps(values)}.includes(data?.{field} as string)) "
            f"({{ data, error, response }} = await {request});"
        )
    lines.append(
        f"check({json.dumps(call.operation)}, response, {json.dumps(call.statuses)}, data ?? error);"
    )
    lines += [
        f"names[{json.dumps(name)}] = String(data{_optional_chain(place)});"
        for name, place in call.saves.items()
    ]
    if call.operation == STREAM:
        lines.append("await data?.cancel();")
    return "{\n  " + "\n  ".join(lines) + "\n}"


def _optional_chain(place: str) -> str:
    return "".join(f"?.[{name}]" if name.isdecimal() else f"?.{name}" for name in place.split("."))


def _options(call: Call) -> list[str]:
    given = {"path": call.path, "query": call.query}
    parameters = [f"{place}: {_literal(values)}" for place, values in given.items() if values]
    options = [f"params: {{ {', '.join(parameters)} }}"] if parameters else []
    if call.body is not None:
        options.append(f"body: {_literal(call.body)}")
    if isinstance(call.body, str):
        media_type = json.dumps(call.media_type)
        options.append(f'headers: {{ "Content-Type": {media_type} }}, bodySerializer: (body: string) => body')
    if call.operation == STREAM:
        options.append('parseAs: "stream"')
    if "Atom" in call.operation:
        options.append('parseAs: "text"')
    return options


def _literal(value: Any) -> str:
    """JSON, with ``{name}`` in a text as a lookup, so that the types of all other values are checked."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)}: {_literal(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, str) and re.search(r"\{\w+\}", value):
        escaped = json.dumps(value)[1:-1].replace('\\"', '"')
        return "`" + re.sub(r"\{(\w+)\}", r"${names.\1}", escaped) + "`"
    return json.dumps(value)
