"""Defaults of a database, or of the environment, under which what is stored is read back all the same."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from events import WORLD, event, moment, sid
from psycopg import sql

from callctl.calls.filter import CallFilter
from callctl.reports.stored_figures import read_figures
from callctl.store.postgresql.connection import Engine
from callctl.store.postgresql.store import PostgresStore
from callctl.store.records import OpenClaim, Undelivered

NAME = "J\u00fcrgen \u4e2d\u6587 \U0001f600 \\ ' \""
DEFAULTS = [
    ("datestyle", "German"),
    ("datestyle", "SQL, DMY"),
    ("datestyle", "Postgres, MDY"),
    ("client_encoding", "LATIN1"),
    ("client_encoding", "EUC_JP"),
    ("client_encoding", "SQL_ASCII"),
    ("timezone", "Asia/Kathmandu"),
    ("intervalstyle", "sql_standard"),
    ("intervalstyle", "iso_8601"),
    ("intervalstyle", "postgres_verbose"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("extra_float_digits", "-15"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("search_path", ""),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("lock_timeout", "1ms"),
    ("idle_in_transaction_session_timeout", "1ms"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("client_min_messages", "error"),
]


def check(url: str) -> None:
    """Store an event with what is hard to write, and read it in every way."""
    one = event(1, "ringing", number=1, at=2.25, received=3.123456, CallerName=NAME)
    store = PostgresStore.open(url, world=WORLD)
    with closing(store):
        assert store.append(one)
        assert not store.append(one)
        (read,) = store.replay(since=None)
        assert read.to_record() == one.to_record()
        assert list(store.family(sid(1))) == [read]
        row = store.call(sid(1))
        assert row is not None
        assert row.status == "ringing"
        claim = OpenClaim("limit", sid(1), sid(1), "hangup")
        assert isinstance(store.claim(claim, now=moment(0), until=moment(90)), OpenClaim)
        for tried_for in (timedelta(), timedelta(days=2, hours=3)):
            failed = Undelivered(sid(1), one.key, "http://127.0.0.1:5000/", one.received_at, "no answer", tried_for)
            store.keep_undelivered([failed], now=moment(0))
            ((kept, of),) = store.undelivered(now=moment(0))
            assert (kept._replace(tried_for=tried_for), of.form) == (failed, one.form)
            assert tried_for - timedelta(days=1) < kept.tried_for <= tried_for
        assert read_figures(store, CallFilter()).all.legs == 1
        store.check_writable()
    with closing(PostgresStore.open(url, world=WORLD)) as again:
        assert [found.form for found in again.replay(since=None)] == [one.form]


@pytest.mark.parametrize(("name", "value"), DEFAULTS)
def test_a_default_of_the_database(own_shared_store: str, name: str, value: str) -> None:
    with psycopg.connect(own_shared_store, autocommit=True) as owner:
        database = sql.Identifier(own_shared_store.rpartition("/")[2])
        owner.execute(sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.Identifier(name), value))
    check(own_shared_store)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGDATESTYLE", "German"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGTZ", "Asia/Kathmandu"),
        ("PGOPTIONS", "-c datestyle=SQL,MDY -c intervalstyle=iso_8601 -c client_encoding=LATIN1 -c lock_timeout=1"),
        ("PGAPPNAME", "other"),
    ],
)
def test_the_environment(own_shared_store: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    check(own_shared_store)


def test_a_connection_that_waits_is_not_ended_by_a_limit(own_shared_store: str) -> None:
    database = sql.Identifier(own_shared_store.rpartition("/")[2])
    known = []
    with psycopg.connect(own_shared_store, autocommit=True) as owner:
        for name in ("lock_timeout", "idle_session_timeout", "transaction_timeout"):
            if owner.execute("SELECT current_setting(%s, true)", (name,)).fetchone() != (None,):
                known.append(name)
                owner.execute(sql.SQL("ALTER DATABASE {} SET {} = '60s'").format(database, sql.Identifier(name)))
    with closing(Engine(own_shared_store).connect()) as connection:
        for name in known:
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == ("0",)
