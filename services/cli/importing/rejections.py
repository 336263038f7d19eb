"""Rejected lines as a person reads them: an unlisted or retired tool once, with a count; other lines one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from domain.shared.errors import Retired, Unknown
from domain.shared.plurals import count_of
from services.ingest.ndjson_votes import BadLine

LISTED_MAX = 100
_TOOLS_MAX = 10_000
_OF_TOOLS = {f"urn:shiplog:{error.slug}" for error in (Unknown, Retired)}


class RejectedTool(Struct):
    """``lines`` that were rejected with this ``detail``, the first of which is ``line``."""

    type: str
    detail: str
    lines: int
    line: int


class Rejections:
    """All rejected lines of an import. Keeps the first hundred that are not about a tool, and counts of tools."""

    def __init__(self) -> None:
        self.lines: list[BadLine] = []
        self.total = self._in_tools = 0
        self._tools: dict[str, RejectedTool] = {}

    def add(self, bad: Sequence[BadLine]) -> None:
        self.total += len(bad)
        for each in bad:
            if each.type in _OF_TOOLS:
                self._add_tool(each)
            elif len(self.lines) < LISTED_MAX:
                self.lines.append(each)

    @property
    def tools(self) -> list[RejectedTool]:
        """Most lines first, at most 100."""
        return sorted(self._tools.values(), key=lambda tool: (-tool.lines, tool.line))[:LISTED_MAX]

    def report(self) -> Iterator[str]:
        """The lines for standard error."""
        for tool in self.tools:
            yield f"{count_of(tool.lines, 'line')}, the first is {tool.line}: {tool.detail}"
        for bad in self.lines:
            yield f"line {bad.line}: {bad.detail}"
        if len(self._tools) > LISTED_MAX or self.total - self._in_tools > len(self.lines):
            yield "These are the first hundred; --rejected FILE writes all of them."

    def _add_tool(self, bad: BadLine) -> None:
        self._in_tools += 1
        tool = self._tools.get(bad.detail)
        if tool is not None:
            tool.lines += 1
        elif len(self._tools) < _TOOLS_MAX:
            self._tools[bad.detail] = RejectedTool(bad.type, bad.detail, 1, bad.line)
