"""The schema's version: whether this callctl can work with it, and how it is made or brought up to date.

A version's functions and tables stay as long as the next one: listeners are updated one by one, so this callctl works
with the schema that follows its own, and refuses those after it. Only ``callctl store migrate`` changes the schema.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from callctl.errors import StoreError

if TYPE_CHECKING:
    from psycopg import Connection

VERSION = 3
_MIGRATE = "`callctl store migrate` makes it"
# "callctl" in ASCII, cut to eight bytes: no other program that follows this rule takes the same lock.
_LOCK = 0x63616C6C63746C00 >> 8
_HAS_TABLE = "SELECT to_regclass('callctl.schema_version') IS NOT NULL"


def version_of(connection: Connection[Any]) -> int:
    """Return the version of the schema in a database; 0 if there is none."""
    row = connection.execute(_HAS_TABLE).fetchone()
    if row is None or not row[0]:
        return 0
    stored = connection.execute("SELECT version FROM callctl.schema_version").fetchone()
    return 0 if stored is None else int(stored[0])


def check_version(version: int, *, name: str) -> None:
    """Make sure that this callctl can work with a version of the schema.

    Raises:
        StoreError: There is no schema, or an older or a much newer one.
    """
    if version == 0:
        raise StoreError(f"there is no schema of callctl in {name}", hint=_MIGRATE)
    if version < VERSION:
        raise StoreError(
            f"the schema in {name} is of version {version}, and this callctl works with {VERSION} and {VERSION + 1}",
            hint="`callctl store migrate` brings it up to date; listeners of the version before go on with it",
        )
    if version > VERSION + 1:
        raise StoreError(
            f"the schema in {name} was made by a newer callctl (version {version}, this one works with {VERSION} and "
            f"{VERSION + 1})",
            hint="update callctl",
        )


def migrate(connection: Connection[Any], *, name: str) -> tuple[int, int]:
    """Make the schema, or bring it up to date, wholly or not at all; return its version before and after.

    Of several that do so at once one does, and the others find it done.

    Raises:
        StoreError: A newer callctl made it, or the database does not hold UTF-8.
        psycopg.Error: The user may not.
    """
    row = connection.execute("SHOW server_encoding").fetchone()
    if row is None or row[0] != "UTF8":
        raise StoreError(f"the database {name} does not hold UTF-8", hint="make it with createdb --encoding=UTF8")
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        connection.execute("SET LOCAL statement_timeout = 0")
        before = version_of(connection)
        if before > VERSION:
            check_version(max(before, VERSION + 2), name=name)
        if before == 0:
            connection.execute("CREATE SCHEMA IF NOT EXISTS callctl")
            connection.execute("CREATE TABLE callctl.schema_version (version integer NOT NULL)")
            connection.execute("INSERT INTO callctl.schema_version VALUES (0)")
        for number in range(before + 1, VERSION + 1):
            connection.execute(_statements(number).encode(), prepare=False)
        connection.execute("UPDATE callctl.schema_version SET version = %s", (VERSION,))
    return before, VERSION


def _statements(number: int) -> str:
    return resources.files(__package__).joinpath("sql", f"{number:04}.sql").read_text(encoding="utf-8")
