"""The schema of a shared store: made once, however many make it, and refused where it is not one to work with."""

from __future__ import annotations

import json
import re
import threading
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from events import WORLD, event
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from postgresql_server import PostgresServer
from running import Callctl

from callctl.calls.event import CALLBACK, MISSED, POLLED, TWIML_REQUEST
from callctl.calls.other_callbacks import FEATURES
from callctl.errors import StoreError
from callctl.store.postgresql import schema
from callctl.store.postgresql.maintenance import check, migrate
from callctl.store.postgresql.rows import fit, unfit
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import Undelivered


def set_version(url: str, version: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE callctl.schema_version SET version = %s", (version,))


def test_of_many_who_make_the_schema_at_once_one_does(postgresql: PostgresServer) -> None:
    url, found = postgresql.new_database(), list[tuple[int, int]]()
    threads = [threading.Thread(target=lambda: found.append(migrate(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(0, schema.VERSION)] + [(schema.VERSION, schema.VERSION)] * 5
    assert check(url, world=WORLD) == ([], schema.VERSION)


def test_a_listener_goes_on_while_the_schema_is_made_anew_and_with_the_next_version(own_shared_store: str) -> None:
    with closing(PostgresStore.open(own_shared_store, world=WORLD)) as store:
        assert store.append(event(1, "ringing", number=0, at=1))
        assert migrate(own_shared_store) == (schema.VERSION, schema.VERSION)
        set_version(own_shared_store, schema.VERSION + 1)  # as a newer callctl leaves it
        assert store.append(event(2, "ringing", number=0, at=1))
    PostgresStore.open(own_shared_store, world=WORLD).close()  # and one that is started now


def test_a_schema_of_version_1_is_brought_up_to_date_with_what_it_holds(
    postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, one = postgresql.new_database(), event(1, "ringing", number=0, at=1)
    with monkeypatch.context() as before:
        before.setattr(schema, "VERSION", 1)
        assert migrate(url) == (0, 1)
        with closing(PostgresStore.open(url, world=WORLD)) as store:
            assert store.append(one)
            assert migrate_to(2, url) == (1, 2)
            assert store.delete_older_than(one.received_at) == 0  # a listener of the version before goes on
    assert migrate(url) == (2, schema.VERSION)
    with closing(PostgresStore.open(url, world=WORLD)) as store:
        request = Undelivered(one.call_sid, one.key, "http://127.0.0.1:5000/", one.received_at, "", timedelta())
        store.keep_undelivered([request], now=one.received_at)
        assert [found for _, found in store.undelivered(now=one.received_at)] == [one]


def migrate_to(version: int, url: str) -> tuple[int, int]:
    """Bring a schema up to date as a callctl of that version does."""
    with pytest.MonkeyPatch.context() as later:
        later.setattr(schema, "VERSION", version)
        return migrate(url)


def test_a_much_newer_schema_and_none_are_refused_with_a_sentence(
    postgresql: PostgresServer, own_shared_store: str
) -> None:
    set_version(own_shared_store, schema.VERSION + 2)
    with pytest.raises(StoreError, match="was made by a newer callctl"):
        PostgresStore.open(own_shared_store, world=WORLD)
    with pytest.raises(StoreError, match="was made by a newer callctl"):
        migrate(own_shared_store)
    with pytest.raises(StoreError, match="there is no schema of callctl") as refused:
        PostgresStore.open(postgresql.new_database(), world=WORLD)
    assert "callctl store migrate" in (refused.value.hint or "")


def test_a_schema_is_made_wholly_or_not_at_all(postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url, statements = postgresql.new_database(), schema._statements
    monkeypatch.setattr(schema, "_statements", lambda number: statements(number) + "SELECT 1 / 0;")
    with pytest.raises(StoreError, match="division by zero"):
        migrate(url)
    monkeypatch.setattr(schema, "_statements", statements)
    with pytest.raises(StoreError, match="there is no schema"):
        PostgresStore.open(url, world=WORLD)
    assert migrate(url) == (0, schema.VERSION)


def test_the_commands_make_and_check_a_schema(callctl: Callctl, postgresql: PostgresServer) -> None:
    url = postgresql.new_database()
    env = {"CALLCTL_STORE": url.replace("callctl@", "callctl:fake-password@")}
    unmade = callctl("store", "check", env=env)
    assert (unmade.code, "there is no schema" in unmade.out) == (1, True)
    assert "is made: version 3" in callctl("store", "migrate", env=env).out
    assert "was up to date" in callctl("store", "migrate", env=env).out
    for arguments in (("store",), ("store", "check"), ("store", "check", "--json"), ("doctor",)):
        outcome = callctl(*arguments, env=env)
        assert "fake-password" not in outcome.out + outcome.err
        assert "can be read and written" in outcome.out or '"troubles": []' in outcome.out
    assert "its schema is of version 3" in callctl("store", "check", env=env).out
    assert json.loads(callctl("store", "check", "--json", env=env).out)["version"] == 3


PAGE = (ROOT / "docs" / "postgresql.md").read_text(encoding="utf-8")
SQL = dict(re.findall(r"<!-- file: (\S+) -->\n\n```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_leads_from_no_role_to_a_store_that_is_used(callctl: Callctl, postgresql: PostgresServer) -> None:
    user, owner, database = "page_user", "page_owner", "page_database"
    names = {"callctl_owner": owner, "ROLE callctl ": f"ROLE {user} ", "DATABASE callctl ": f"DATABASE {database} "}

    def play(name: str, url: str) -> None:
        text = SQL[name]
        for documented, real in (names | {" TO callctl;": f" TO {user};"}).items():
            text = text.replace(documented, real)
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            for statement in text.split(";"):
                if statement.strip():
                    connection.execute(statement.encode())

    url = postgresql.url(database)
    as_user, as_owner = (url.replace("callctl@", f"{role}@") for role in (user, owner))
    play("roles.sql", postgresql.url("postgres"))
    refused = callctl("store", "migrate", env={"CALLCTL_STORE": as_user})
    assert refused.code == 1
    assert "the database's owner makes the schema: have CALLCTL_STORE name that role" in refused.err
    assert "is made: version 3" in callctl("store", "migrate", env={"CALLCTL_STORE": as_owner}).out
    without = callctl("store", "check", env={"CALLCTL_STORE": as_user})
    assert (without.code, f"the role {user}" in without.out) == (1, True)
    with closing(psycopg.connect(as_owner, autocommit=True)) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA callctl TO {user}".encode())
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA callctl TO {user}".encode())
    partly = callctl("store", "check", env={"CALLCTL_STORE": as_user})
    assert partly.code == 1
    assert re.search(rf"the role {user} may not use all of .*\bclaims, .*\bfences\b.*\bstored_events\b", partly.out)
    assert "schema_version" not in partly.out
    play("grants.sql", as_owner)
    assert callctl("store", "check", env={"CALLCTL_STORE": as_user}).code == 0
    with closing(PostgresStore.open(as_user, world=WORLD)) as store:
        store.check_writable()
        assert store.append(event(1, "ringing"))
        store.announce("n", {}, lasting=timedelta(minutes=1))
        assert list(store.announced()) == ["n"]
    with closing(psycopg.connect(as_owner, autocommit=True)) as connection:  # as a version to come may do
        connection.execute("CREATE TABLE callctl.more (x integer)")
        # As where functions are not for everybody.
        connection.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA callctl FROM PUBLIC")
    assert callctl("store", "check", env={"CALLCTL_STORE": as_user}).code == 0
    with closing(psycopg.connect(as_owner, autocommit=True)) as connection:
        connection.execute(f"REVOKE EXECUTE ON FUNCTION callctl.recent_calls, callctl.settle FROM {user}".encode())
    partly = callctl("store", "check", env={"CALLCTL_STORE": as_user})
    assert (partly.code, "may not use all of" in partly.out, ": recent_calls, settle (" in partly.out) == (
        1,
        True,
        True,
    )


def test_rows_that_are_hidden_from_a_role_are_named(callctl: Callctl, postgresql: PostgresServer) -> None:
    """Hosted databases switch row level security on for each new table."""
    user, url = "hidden_user", postgresql.new_store()
    env = {"CALLCTL_STORE": url.replace("callctl@", f"{user}@")}
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN".encode())
        for statement in SQL["grants.sql"].replace(" TO callctl;", f" TO {user};").split(";"):
            if statement.strip():
                connection.execute(statement.encode())
        for table, others in ("claims", "leaders"), ("schema_version", "stored_events"):
            connection.execute(f"ALTER TABLE callctl.{table} ENABLE ROW LEVEL SECURITY".encode())
            connection.execute(f"ALTER TABLE callctl.{others} ENABLE ROW LEVEL SECURITY".encode())
            checked = callctl("store", "check", env=env)
            assert checked.code == 1
            assert "row level security hides rows of" in checked.out
            assert f"{table}, " in checked.out
            assert "there is no schema" not in checked.out
        for table in ("claims", "leaders", "schema_version", "stored_events"):
            connection.execute(f"CREATE POLICY all_rows ON callctl.{table} USING (true)".encode())
        assert callctl("store", "check", env=env).code == 0


def test_the_page_names_all_kinds_of_events() -> None:
    (text,) = re.findall(r"^`kind` is .*?`form` is", PAGE, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`([a-z-]+)`", text)) - {"kind", "form"} == {
        CALLBACK,
        TWIML_REQUEST,
        POLLED,
        MISSED,
        *FEATURES,
    }


def test_a_file_needs_no_migration(callctl: Callctl) -> None:
    outcome = callctl("store", "migrate")
    assert outcome.code == 2
    assert "is a file" in outcome.err
    assert callctl("store").code == 0


def test_without_the_driver_the_extra_is_named(callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    outcome = callctl("store", "check", env={"CALLCTL_STORE": "postgresql://callctl@localhost/callctl"})
    assert outcome.code == 1
    assert "pip install 'callctl[postgresql]'" in outcome.out


ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(st.recursive(ANY_TEXT | st.none() | st.booleans(), lambda inner: st.lists(inner)))
def test_any_text_fits_and_comes_back(value: object) -> None:
    fitted = fit(value)
    assert "\0" not in str(fitted)
    str(fitted).encode()
    assert unfit(fitted) == value
