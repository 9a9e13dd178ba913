"""What is done to a shared store by hand: its schema, and a look at the settings that it relies on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from callctl.errors import StoreError
from callctl.store.postgresql.connection import Engine, check_driver, explained, role_of
from callctl.store.postgresql.schema import check_version, version_of
from callctl.store.postgresql.schema import migrate as migrate_schema

if TYPE_CHECKING:
    from psycopg import Connection

# Under these an event that was answered for may be lost with the server's power.
_UNSAFE = {
    "fsync": ("off", "the server does not write to the disk what it says is written"),
    "full_page_writes": ("off", "a page that was half written when the power failed can't be repaired"),
    "synchronous_commit": (
        "off",
        "the server answers before a commit is on the disk; callctl sets it on for itself",
    ),
}
# What a role may not use that it needs.
_FORBIDDEN = """
    SELECT relname FROM pg_class WHERE relnamespace = 'callctl'::regnamespace AND CASE
        WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, 'USAGE')
        WHEN relkind <> 'r' THEN false
        WHEN relname = 'schema_version' THEN NOT has_table_privilege(oid, 'SELECT')
        ELSE NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
    END ORDER BY relname
"""
_FORBIDDEN_FUNCTIONS = """
    SELECT DISTINCT proname FROM pg_proc
    WHERE pronamespace = 'callctl'::regnamespace AND NOT has_function_privilege(oid, 'EXECUTE') ORDER BY proname
"""
_HIDDEN = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'callctl'::regnamespace AND relkind = 'r' AND row_security_active(oid)
        AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid) ORDER BY relname
"""
_HAS_SCHEMA = "SELECT to_regnamespace('callctl') IS NOT NULL"
_OLDEST = 150000
_LONGEST = 3600.0  # seconds that a migration may take


def migrate(url: str) -> tuple[int, int]:
    """Make the schema, or bring it up to date; return its version before and after.

    Raises:
        StoreError: That can't be done.
    """
    check_driver()
    import psycopg

    engine = Engine(url)
    with closing(engine.connect(statement_limit=_LONGEST)) as connection:
        try:
            return migrate_schema(connection, name=engine.name)
        except psycopg.Error as error:
            raise explained(error, "migrate", engine.name, role=role_of(connection)) from error


class Checked(NamedTuple):
    """What is wrong with a store and its server, a sentence each; and the version of its schema.

    The version is 0 where there is none, and None where that could not be read.
    """

    troubles: list[str]
    version: int | None


def check(url: str, *, world: str) -> Checked:
    """Return what is wrong with a store and its server, and with storing events of a world; nothing is changed."""
    try:
        check_driver()
        engine = Engine(url)
        connection = engine.connect()
    except StoreError as error:
        return Checked([_sentence(error)], None)
    import psycopg

    troubles: list[str] = []
    version: int | None = None
    with closing(connection):
        try:
            troubles += _server_troubles(connection)
            version = version_of(connection)
            missing = list(_missing_rights(connection, engine.name))
            troubles += missing
            if not missing:  # else the version may be hidden too
                check_version(version, name=engine.name)
                troubles += _trial_troubles(connection, engine.name, world=world)
        except psycopg.Error as error:
            troubles.append(_sentence(explained(error, "read", engine.name, role=role_of(connection))))
        except StoreError as error:
            troubles.append(_sentence(error))
    return Checked(troubles, version)


def _missing_rights(connection: Connection[Any], name: str) -> Iterator[str]:
    if connection.execute(_HAS_SCHEMA).fetchone() != (True,):
        return
    forbidden, functions, hidden = (
        ", ".join(row[0] for row in connection.execute(sql).fetchall())
        for sql in (_FORBIDDEN, _FORBIDDEN_FUNCTIONS, _HIDDEN)
    )
    if what := ", ".join(filter(None, (forbidden, functions))):
        yield f"{role_of(connection)} may not use all of {name}: {what} (docs/postgresql.md has the grants)"
    if hidden:
        who = role_of(connection)
        yield f"row level security hides rows of {name} from {who}: {hidden} (disable it, or add policies)"


def _trial_troubles(connection: Connection[Any], name: str, *, world: str) -> Iterator[str]:
    import psycopg

    from callctl.store.postgresql.trial import trial

    try:
        connection.execute(trial(world).encode(), {})
    except psycopg.Error as error:
        what = explained(error, "write to", name, is_lost=connection.closed, role=role_of(connection))
        yield _sentence(what)


def _server_troubles(connection: Connection[Any]) -> Iterator[str]:
    for name, (value, why) in _UNSAFE.items():
        row = connection.execute("SELECT reset_val FROM pg_settings WHERE name = %s", (name,)).fetchone()
        if row is not None and row[0] == value:
            yield f"{name} is {value}: {why}"
    if connection.info.server_version < _OLDEST:
        yield f"PostgreSQL {connection.info.server_version // 10000} is too old: 15 is the oldest"


def _sentence(error: StoreError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
