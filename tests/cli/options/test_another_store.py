"""What commands say where the listener that runs keeps events in another store than they do."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
from cli.setup import ANSWERS, CliSetup
from running import env_for

from callctl.settings import Settings, load
from callctl.watch.registry.process import process_space
from callctl.watch.registry.record import WatchRecord
from callctl.watch.registry.registry import keeps_another_store, write_record


def settings_of(setup: CliSetup, **env: str) -> Settings:
    return load({"HOME": str(setup.home), **env_for(setup.simulator), **env}, cwd=setup.home)


def record_of(settings: Settings, *, store: str, **more: str) -> WatchRecord:
    fields = {"command": "listen", "processes": process_space(), "keep_days": "30", "nonce": "n1", **more}
    known = {"account_sid": settings.account_sid or "", "api_url": settings.api_url, "version": "1.0"}
    return WatchRecord(
        "http://127.0.0.1:9/status", "http://127.0.0.1:9/healthz", pid=os.getpid(), store=store, **fields, **known
    )


COMMANDS = [
    ("hangup", "{sid}"),
    ("hangup", "@last"),
    ("hangup", "--all", "--dry-run"),
    ("redirect", "{sid}", "--url", "survey"),
    ("wait", "{sid}", "--for", "ringing"),
    ("show", "{sid}"),
    ("list",),
    ("place", ANSWERS, "--say", "Hello", "--status-callback", "none"),
    ("place", ANSWERS, "--say", "Hello"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_that_the_listener_keeps_another_store_is_said_once(setup: CliSetup, command: tuple[str, ...]) -> None:
    sid, settings = setup.place(after=5), settings_of(setup)
    args = [word.format(sid=sid) for word in command]
    write_record(settings, record_of(settings, store=str(setup.home / "its own.db")))
    outcome = setup.callctl(*args)
    there, here = setup.home / "its own.db", settings.store
    assert outcome.err.count("warning: the running listener") == 1
    assert f"(process {os.getpid()}) keeps events in {there}, not in {here}: neither knows" in outcome.err
    assert f"; set CALLCTL_STORE='{there}' to use the same store\n" in outcome.err


def test_where_one_keeps_this_store_or_that_is_not_known_nothing_is_said(setup: CliSetup) -> None:
    sid, settings = setup.place(after=5), settings_of(setup)
    (setup.home / "link").symlink_to(settings.store)
    other = record_of(settings, store=str(setup.home / "other.db"))
    for record in (
        replace(other, pid=2**22 + 1),
        replace(other, processes="those of a container"),
        replace(other, keep_days=""),
        replace(other, account_sid="AC" + "1" * 32),
        replace(other, store=str(setup.home / "link")),
    ):
        write_record(settings, record)
        assert "events in" not in setup.callctl("hangup", sid).err
    write_record(settings, other)
    write_record(settings, replace(other, nonce="n2", store=str(settings.store)))
    assert "events in" not in setup.callctl("hangup", sid).err


def test_where_callbacks_go_to_one_with_another_store_that_is_said(
    setup: CliSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(setup)
    own, other = record_of(settings, store=str(settings.store)), record_of(settings, store="/data/b.db", nonce="n2")
    for record, age in ((own, 60), (other, 0)):
        os.utime(write_record(settings, record), times=(time.time() - age,) * 2)
    monkeypatch.setattr("callctl.watch.registry.registry.is_alive", lambda *_args, **_more: True)
    outcome = setup.callctl("place", ANSWERS, "--say", "Hello")
    assert outcome.err.count("keeps events in /data/b.db, not in") == 1
    assert "status callbacks go to the running listener" in outcome.err


def test_of_databases_only_the_settings_know_which_they_are(setup: CliSetup) -> None:
    file, database = settings_of(setup), settings_of(setup, CALLCTL_STORE="postgresql://localhost/calls")
    on_file, on_database = record_of(file, store="/data/events.db"), record_of(database, store="")
    assert [keeps_another_store(database, record) for record in (on_file, on_database)] == [True, False]
    assert keeps_another_store(file, on_database)
    write_record(file, on_database)
    said = setup.callctl("list").err
    assert f"keeps events in a database, not in {file.store}" in said
    assert "set CALLCTL_STORE as it has it" in said
