"""Walkthroughs: the shell blocks of a document run in order, and their output is compared with the one shown.

In an output, ``…`` stands for any text, and alone on a line for any lines. Ids, positions, times and keys may
differ. A command that repeats such a value is run with the actual one.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from msgspec import Struct

ADDRESS = "http://127.0.0.1:8000"

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n(?=```(?:text|json|http)\n))?", re.DOTALL | re.MULTILINE)
# Values of this run, which later commands may name.
_VALUE = (
    r"\d+\.\d+(?:,\d+\.\d+)+"  # a position of every shard
    r"|(?:(?<=position\":\")|(?<=position )|(?<= it at ))\d+\.\d+"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|slk_[\w-]+|(?<=etag: \")[\w-]+"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"
)
# Figures that change from run to run.
_FIGURE = (
    r"[\d,.]+(?= s\b)|[\d,]+(?= a second)|\d+\.\d(?= │)|\d{4}-\d\d-\d\d(?!T)"
    r"|(?<=editor / )\S+|(?<=digest )[0-9a-f]{16}"
)
_TOKEN = re.compile(rf"(?P<value>{_VALUE})|(?P<figure>{_FIGURE})|(?P<rest>…)|(?P<space>\s+)|(?P<rule>─+)")
# A block without any of these may be run again until the read models have caught up.
_WRITES = re.compile(r" -X | -d |--data-binary|\bimport\b|\badopt\b|\bcreate\b|\breplay\b")
_CURL_TIMED_OUT = 28
_PATIENCE_SECONDS = 10


class Step(Struct, frozen=True):
    """A shell block, and the output that the document shows for it, if any."""

    commands: str
    shown: str | None


def steps_of(document: Path) -> Iterator[Step]:
    blocks = list(_FENCED.finditer(document.read_text()))
    for block, following in zip_longest(blocks, blocks[1:]):
        if block[1] == "sh":
            adjacent = following is not None and block.end() == following.start() and following[1] != "sh"
            yield Step(block[2], following[2] if following and adjacent else None)


class Walkthrough:
    """Runs documents against one instance. Values, and the shell variables in ``state``, are kept from block to block."""

    def __init__(self, folder: Path, environment: Mapping[str, str], address: str, state: Path) -> None:
        self._folder, self._environment, self._address = folder, dict(environment), address
        self._state = state
        self._values: dict[str, str] = {}

    def follow(self, document: Path) -> None:
        for step in steps_of(document):
            printed = self._run(step.commands)
            if step.shown is not None:
                self._values |= self._compare(step.commands, step.shown, printed)

    def _compare(self, commands: str, shown: str, printed: str) -> dict[str, str]:
        """Read models may be a second behind: commands that only read are repeated until they print the output shown."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (values := self._match(shown, printed)) is None:
            repeatable = not _WRITES.search(commands) and time.monotonic() < deadline
            assert repeatable, f"{commands}\nshows\n{shown}\nbut printed\n{printed}"
            printed = self._run(commands)
        return values

    def _match(self, shown: str, printed: str) -> dict[str, str] | None:
        """The actual values by those shown; None if the output differs otherwise."""
        return match(shown, printed.replace(self._address, ADDRESS), self._values)

    def _run(self, commands: str) -> str:
        """Returns standard output. Keeps the variables of the block for the next one."""
        self._state.touch()
        script = f"set -aeu\n. {self._state}\n{self._translate(commands)}\nexport -p > {self._state}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        expected = {0, _CURL_TIMED_OUT} if "--max-time" in commands else {0}
        assert done.returncode in expected, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _translate(self, commands: str) -> str:
        named = {ADDRESS: self._address, **self._values}
        pattern = "|".join(re.escape(each) for each in sorted(named, key=len, reverse=True))
        return re.sub(rf"(?<![\w.])(?:{pattern})(?![\w.])", lambda found: named[found[0]], commands)


def match(shown: str, printed: str, known: Mapping[str, str]) -> dict[str, str] | None:
    """Maps the values in ``shown`` to those in ``printed``; None if the rest differs.

    A shown value that is ``known`` must have the same actual value again.
    """
    pattern, values, end = "", [], 0
    text = shown.strip()
    for token in _TOKEN.finditer(text):
        pattern += re.escape(text[end : token.start()]) + _pattern_of(token, known, values)
        end = token.end()
    found = re.fullmatch(pattern + re.escape(text[end:]), printed.replace("\r", "").strip())
    return None if found is None else dict(zip(values, found.groups(), strict=True))


def _pattern_of(token: re.Match[str], known: Mapping[str, str], values: list[str]) -> str:
    match token.lastgroup:
        case "value" if token[0] in known:
            return re.escape(known[token[0]])
        case "value" if token[0] in values:
            return rf"(?:\{values.index(token[0]) + 1})"
        case "value":
            values.append(token[0])
            return f"({_VALUE})"
        case "figure":
            return rf"(?:{_FIGURE})"
        case "rest":
            return r"(?:.|\n)*?" if _is_a_line(token) else r"[^\n]*?"
        case "space":
            return r"\s*\n\s*" if "\n" in token[0] else "[ \t]+"
        case _:
            return "─+"


def _is_a_line(token: re.Match[str]) -> bool:
    before, after = token.string[: token.start()], token.string[token.end() :]
    return (not before or before.endswith("\n")) and (not after or after.startswith("\n"))
