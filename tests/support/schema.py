"""The durable schema of a database as SQL: the output of pg_dump, table by table. `make schema` writes it to migrations/schema.sql."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterable
from difflib import unified_diff
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
from msgspec import Struct

from eventstore.migrations import FOLDER, migrate
from services.embedded.binaries import POSTGRES, find_folder, server_account
from services.embedded.postgres import OWNER, Postgres

FILE = FOLDER / "schema.sql"
HEADER = """
-- The durable schema, as `shiplog migrate` creates it. Written by `make schema`; a test compares the two.
-- extend_events adds the partitions of events, and projections/ the tables of read_models.

DO $$ BEGIN
    CREATE ROLE shiplog_app;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- roles belong to the cluster: another database has created it
END $$;
"""

# The heading of an entry, with its four groups, and the end of a dump.
ENTRY = re.compile(
    r"^--\n-- TOC entry \d+ \(class \d+ OID (\d+)\)\n(?:-- Dependencies: .*\n)?"
    r"-- Name: (.+); Type: (.+); Schema: .+; Owner: .+\n--\n",
    re.MULTILINE,
)
LAST = 2**32  # above every OID
END = "\n-- Completed on "
# Settings of the session, and the owner, which differs between databases.
NOISE = re.compile(rf"^(?:SET .*|ALTER .* OWNER TO {OWNER});\n", re.MULTILINE)
PARTITION = re.compile(r"events_\d")
INDEXED = re.compile(r" ON (?:ONLY )?(\w+) ")
# Within a table, where constraints and indexes come third.
ORDER = {"SCHEMA": 0, "TABLE": 0, "FUNCTION": 0, "COMMENT": 1, "ACL": 3}


class Entry(Struct, frozen=True):
    """An object of the catalog, or a comment or grant on one, whose ``oid`` is 0."""

    type: str
    name: str
    oid: int
    sql: str

    @property
    def subject(self) -> str:
        """The table that an entry is about; otherwise the function or schema."""
        if self.type == "INDEX" and (indexed := INDEXED.search(self.sql)):
            return indexed[1]
        if self.type in ("COMMENT", "ACL"):
            return re.sub(r"^COLUMN (\w+)\..*|^[A-Z]+ ", r"\1", self.name)
        return self.name.split(" ")[0] if "CONSTRAINT" in self.type else self.name


def read_entries(url: str) -> list[Entry]:
    """All but the tables of read models."""
    dump = _run("pg_dump", "--schema-only", "--verbose", "--exclude-table=read_models.*", url)
    _, *parts = ENTRY.split(dump.split(END)[0])
    return [
        Entry(kind, name, int(oid), _readable(sql))
        for oid, name, kind, sql in zip(*(parts[n::4] for n in range(4)), strict=True)
    ]


def _readable(sql: str) -> str:
    return (
        NOISE.sub("", sql)
        .replace("public.", "")
        .replace("\n    ADD ", " ADD ")
        .replace("\n\n\n", "\n")
        .strip()
    )


def read_role(url: str) -> str:
    """The attributes and memberships of the role that Shiplog works under."""
    lines = _run("pg_dumpall", "--roles-only", "--no-role-passwords", f"--dbname={url}").splitlines()
    of_role = [line for line in lines if re.match(r"(ALTER ROLE|GRANT) shiplog_app ", line)]
    return "\n".join(of_role).replace(OWNER, "CURRENT_USER")


def write_schema(role: str, entries: Iterable[Entry]) -> str:
    """Tables in the order in which they were created, each with its comments, constraints, indexes and grants; then functions."""
    kept = [each for each in entries if not PARTITION.match(each.name)]
    created = {each.name: each.oid for each in kept if each.type in ("SCHEMA", "TABLE")}
    place = {each.subject: (created.get(each.subject, LAST), each.subject) for each in kept}
    kept.sort(key=lambda each: (place[each.subject], ORDER.get(each.type, 2), each.oid))
    subjects = [
        "\n".join(each.sql for each in group) for _, group in groupby(kept, lambda each: each.subject)
    ]
    return "\n\n".join([HEADER.strip() + "\n" + role, *subjects]) + "\n"


def sorted_schema(entries: Iterable[Entry], without: Iterable[str] = ()) -> str:
    """For two databases whose objects were created in another order. ``without``: names of entries."""
    return "\n".join(sorted(each.sql for each in entries if each.name not in without))


def difference(expected: str, actual: str) -> str:
    return "\n".join(
        unified_diff(expected.splitlines(), actual.splitlines(), "expected", "actual", lineterm="")
    )


def _run(program: str, *arguments: str) -> str:
    command = [str(find_folder(POSTGRES, server_account()) / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    with TemporaryDirectory() as folder:
        server = Postgres.start(Path(folder))
        try:
            asyncio.run(_migrate(server.url()))
            FILE.write_text(write_schema(read_role(server.url()), read_entries(server.url())))
        finally:
            server.stop("immediate")


async def _migrate(url: str) -> None:
    conn = await asyncpg.connect(url)
    await migrate(conn)
    await conn.close()


if __name__ == "__main__":
    main()
