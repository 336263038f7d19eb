"""Any proof is confirmed by the standalone verifier, and with any byte changed it is rejected."""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from hashlib import sha256
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import services.api
from domain.rulebooks.presets import PRESETS
from domain.verdicts.decay import Ballots, DayVotes
from domain.verdicts.proofs import prove
from domain.verdicts.verdict import Judgement
from tests.support.random_verdicts import Case, cases

VERIFIER = Path(services.api.__file__).parent / "site/static/verify_verdict.py"
TAKES = [Judgement("builder", 74, "ship"), Judgement("pm", 55, "skip"), Judgement("skeptic", 68, "ship")]
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_verdict", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = program
    spec.loader.exec_module(program)
    return program


VERIFY: Any = load()


def proof_of(case: Case) -> bytes:
    return prove("quill", "0.12,1.3,2.0", case.takes, case.ballots, case.book)


@quick
@given(cases)
def test_any_proof_is_recomputed_byte_for_byte(case: Case) -> None:
    check_with_verifier(case)


@pytest.mark.slow
@settings(quick, max_examples=10_000)
@given(cases)
def test_any_of_ten_thousand_proofs_is_recomputed_byte_for_byte(case: Case) -> None:
    check_with_verifier(case)


def check_with_verifier(case: Case) -> None:
    raw = proof_of(case)
    found, verdict = VERIFY.differences(json.loads(raw), raw)
    assert found == []
    assert b',"verdict":' + verdict + b"}\n" in raw


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Isolated: without environment, site packages or our code on the path."""
    command = [sys.executable, "-I", "-S", str(VERIFIER), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, env={}, cwd="/", timeout=60)


@pytest.fixture
def proof() -> bytes:
    return prove("quill", "0.12,1.3,2.0", TAKES, Ballots(31, 69), PRESETS["community-veto"])


def test_a_confirmed_verdict_is_printed_and_exits_with_0(proof: bytes, tmp_path: Path) -> None:
    (tmp_path / "proof.json").write_bytes(proof)
    for done in (run(str(tmp_path / "proof.json")), run("-", stdin=proof)):
        assert (done.returncode, done.stderr) == (0, b"")
        assert json.loads(done.stdout) == json.loads(proof)["verdict"]
        assert done.stdout.rstrip(b"\n") in proof


def test_every_field_that_differs_is_named(proof: bytes) -> None:
    bundle = json.loads(proof)
    bundle["verdict"]["label"] = "Skip"
    bundle["verdict"]["margin"]["votes"] = 7
    bundle["verdict"]["explanation"][0] = "The panel was asleep."
    done = run("-", stdin=signed(bundle))
    assert (done.returncode, done.stdout) == (1, b"")
    assert [line.split(b":")[0] for line in done.stderr.splitlines()] == [
        b"verdict.explanation[0]",
        b"verdict.label",
        b"verdict.margin.votes",
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("inputs", "ship"), 32, "inputs"),
        (("inputs", "takes", 0, "score"), 75, "verdict"),
        (("inputs", "takes", 0, "score"), 101, "inputs.takes.score: is no whole number from 0 to 100"),
        (("inputs", "ship"), 31.0, "inputs.ship: is no whole number"),
        (("inputs", "ship"), True, "inputs.ship: is no whole number"),
        (("rulebook", "community", "veto_below"), "1/4", "verdict"),
        (("rulebook", "community", "veto_below"), "2/8", "in lowest terms"),
        (("rulebook", "community", "half_life_days"), 0, "rulebook.community.half_life_days: is no whole"),
        (("rulebook", "ship"), ">1/0", "rulebook.ship: divides by 0"),
        (("rulebook", "ship"), ">=1/2", "verdict.explanation[3]"),
        (("rulebook", "pannel"), {}, "rulebook.pannel: belongs to no bundle"),
        (("verdict", "margin", "more"), 1, "verdict.margin.more: the bundle says 1"),
        (("verdict", "margin", "votes"), True, "verdict.margin.votes: the bundle says true"),
        (("positions",), 3, "positions: is no text"),
        (("inputs", "takes"), [], "verdict"),
    ],
)
def test_a_change_with_a_new_digest_is_reported(
    proof: bytes, path: tuple[str | int, ...], value: object, expected: str
) -> None:
    bundle = json.loads(proof)
    changed: Any = bundle
    for name in path[:-1]:
        changed = changed[name]
    changed[path[-1]] = value
    done = run("-", stdin=signed(bundle))
    assert done.returncode == 1
    assert expected in done.stderr.decode()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 10**16)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@quick
@given(cases, values, st.randoms(use_true_random=False))
def test_any_value_anywhere_is_verified_or_reported_without_a_traceback(
    case: Case, value: object, random: Random
) -> None:
    bundle = json.loads(proof_of(case))
    node, name = random.choice([each for each in places(bundle) if each[1] != "format"])
    before, node[name] = node[name], value
    stderr = io.StringIO()
    with redirect_stderr(stderr):
        status, verdict = VERIFY.check(signed(bundle))
    if status == 0:
        assert b',"verdict":' + verdict.rstrip() + b"}" in signed(bundle)
    else:
        assert (status, verdict) == (1, b"")
        assert canonical(before) != canonical(value)
        assert stderr.getvalue()


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in the bundle, as its container and key."""
    for name in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, name
        yield from places(node[name])


def signed(bundle: dict[str, Any]) -> bytes:
    """The canonical form with a matching digest, as a forger would write it."""
    rest = {name: each for name, each in bundle.items() if name != "digest"}
    digest = "sha256:" + sha256(canonical(rest)).hexdigest()
    return canonical({**rest, "digest": digest}) + b"\n"


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_a_change_of_any_byte_is_reported() -> None:
    days = (DayVotes(19_940, 2, 9), DayVotes(20_000, 4, 0))
    change_every_byte(prove("quill", "0.12", TAKES[:1], Ballots(6, 9, 20_000, days), PRESETS["sixty-days"]))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(cases)
def test_a_change_of_any_byte_of_any_proof_is_reported(case: Case) -> None:
    change_every_byte(proof_of(case))


def change_every_byte(proof: bytes) -> None:
    seed = int.from_bytes(os.urandom(4))
    random = Random(seed)
    for index in range(len(proof)):
        other = random.choice([byte for byte in range(256) if byte != proof[index]])
        assert not confirmed(proof[:index] + bytes([other]) + proof[index + 1 :]), (seed, index, other)


def confirmed(raw: bytes) -> bool:
    stderr = io.StringIO()
    with redirect_stderr(stderr):
        status = VERIFY.check(raw)[0]
    assert status == 0 or stderr.getvalue()
    return bool(status == 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\n",
        lambda raw: b" " + raw,
        lambda raw: raw.replace(b":", b": ", 1),
        lambda raw: b'{"format":"shiplog-verdict-1",' + raw[1:],
        lambda raw: raw.replace(b"quill", b"qu\\u0069ll"),
        lambda raw: (
            json.dumps(dict(reversed(json.loads(raw).items())), separators=(",", ":")).encode() + b"\n"
        ),
        lambda raw: raw.replace(b"sha256:", b"sha255:", 1),
    ],
)
def test_a_form_that_is_not_canonical_is_reported(proof: bytes, change: Any) -> None:
    assert not confirmed(change(proof))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"{",
        b"[]",
        b"{}",
        b"NaN",
        b'{"format":"shiplog-verdict-2"}',
        b'"\\ud800"',
        b"[" * 100_000,
        b"1" * 5_000,
        b'{"format":' + b"9" * 5_000 + b"}",
    ],
)
def test_input_that_is_not_a_bundle_exits_with_2(raw: bytes) -> None:
    done = run("-", stdin=raw)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr
    assert b"Traceback" not in done.stderr


def test_the_verifier_needs_python_3_8_and_the_standard_library_alone() -> None:
    program = ast.parse(VERIFIER.read_text(), feature_version=(3, 8))
    imported = [node for node in ast.walk(program) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {each.name for node in imported if isinstance(node, ast.Import) for each in node.names}
    named |= {str(node.module) for node in imported if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} <= sys.stdlib_module_names


def test_a_missing_file_or_argument_exits_with_2() -> None:
    assert run("/nowhere/proof.json").returncode == 2
    assert run().returncode == 2
