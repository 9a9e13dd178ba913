"""Listeners on other machines, which are known by what they announce in the shared store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest
from announcements import LOCAL_URL, URL, announce_at, record_of, settings_of
from processes import Piped
from running import Callctl, env_for

from callctl.settings import Settings
from callctl.simulator import Simulator
from callctl.store.opening import open_store
from callctl.watch.registry.health import trouble_of
from callctl.watch.registry.process import process_space
from callctl.watch.registry.registry import announce, announced, find, keepers, others, services, write_record


@pytest.fixture
def settings(simulator: Simulator, home: Path, shared_store: str) -> Settings:
    return settings_of(simulator, home, shared_store)


def test_a_listener_elsewhere_is_found_by_what_it_announced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (find(settings), services(settings)) == (None, [])
    announce_at("web1", settings, record_of(settings), monkeypatch)
    found = find(settings)
    assert found is not None
    assert (found.callback_url, found.host, found.health_url) == (URL, "web1", "http://web1:8765/healthz")
    assert services(settings) == [found]
    announce_at("web1", settings, record_of(settings, callback_url=LOCAL_URL), monkeypatch)
    assert find(settings) is None  # nobody reaches that from here


def test_what_is_announced_here_and_has_no_record_here_is_another_users(settings: Settings) -> None:
    record = record_of(settings, callback_url=LOCAL_URL)
    with closing(open_store(settings)) as store:
        announce(store, replace(record, pid=os.getpid()))
    (found,) = announced(settings)
    assert (found.nonce, found.host, found.pid) == (record.nonce, socket.gethostname(), os.getpid())
    assert find(settings) == found  # here it can be reached on loopback
    assert services(settings) == [found]


def test_what_has_a_record_here_counts_by_that_alone(settings: Settings) -> None:
    record = replace(record_of(settings), pid=os.getpid())
    with closing(open_store(settings)) as store:
        announce(store, record)
    write_record(settings, record)  # it does not answer
    assert announced(settings) == []


@pytest.mark.parametrize(("space", "counts"), [(process_space(), False), ("of another container", True), ("", True)])
def test_what_is_announced_here_is_over_with_its_process(settings: Settings, space: str, counts: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    record = replace(record_of(settings), pid=ended.pid, host=socket.gethostname(), processes=space)
    with closing(open_store(settings)) as store:
        store.announce(record.nonce, asdict(record), lasting=timedelta(minutes=1))
    assert announced(settings) == ([record] if counts else [])


def test_those_that_keep_events_in_the_shared_store_are_known_wherever_they_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = record_of(settings, nonce="own", keep_days="7")
    announce_at("web1", settings, own, monkeypatch)
    announce_at("web2", settings, record_of(settings, nonce="there", keep_days="30"), monkeypatch)
    with closing(open_store(settings)) as store:
        announce(store, replace(record_of(settings, nonce="beside", keep_days="14"), pid=os.getpid()))
        found = keepers(store, other_than=own.nonce)
    kept = {(record.nonce, record.days_kept, record.host) for record in found}
    assert kept == {("there", 30, "web2"), ("beside", 14, "")}


def test_others_behind_the_same_url_are_known_wherever_they_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = record_of(settings, nonce="own")
    announce_at("web1", settings, own, monkeypatch)
    announce_at("web1", settings, record_of(settings, nonce="beside"), monkeypatch)
    announce_at("web2", settings, record_of(settings, nonce="there"), monkeypatch)
    announce_at("web3", settings, record_of(settings, nonce="other", callback_url="https://example.com/x"), monkeypatch)
    assert others(settings, own)() == {"beside", "there"}


def test_the_record_of_an_older_version_names_no_trouble(settings: Settings) -> None:
    fields = asdict(record_of(settings)) | {"host": "web1"}
    with closing(open_store(settings)) as store:
        store.announce("n1", {name: fields[name] for name in fields if name != "trouble"}, lasting=timedelta(minutes=1))
    assert [trouble_of(record) for record in announced(settings)] == [None]


def test_what_is_no_record_or_is_over_counts_for_nothing(settings: Settings) -> None:
    with closing(open_store(settings)) as store:
        store.announce("odd", {"host": "web1"}, lasting=timedelta(minutes=1))
        record = asdict(record_of(settings)) | {"host": "web1"}
        store.announce("typed", record | {"callback_url": 7}, lasting=timedelta(minutes=1))
        store.announce("over", record, lasting=-timedelta(seconds=1))
    assert announced(settings) == []


def test_calls_report_to_a_listener_elsewhere_and_a_watch_shows_what_it_stores(
    callctl: Callctl, simulator: Simulator, home: Path, shared_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(simulator, home, shared_store)
    env = {**env_for(simulator), "CALLCTL_STORE": shared_store}
    announce_at("web1", settings, record_of(settings), monkeypatch)
    placed = callctl("place", "+12025550103", "--say", "Hello", env=env)
    assert placed.code == 0, placed.err
    sent = next(one for one in simulator.requests if one.form.get("To"))
    assert sent.form["StatusCallback"][0].startswith(URL)
    assert "warning" not in placed.err
    announce_at("web1", settings, record_of(settings, trouble="no request comes through to it now"), monkeypatch)
    placed = callctl("place", "+12025550103", "--say", "Hello", env=env)
    assert "callctl: warning: no request comes through to it now, so that they may be lost" in placed.err
    announce_at("web1", settings, record_of(settings), monkeypatch)
    with Piped("watch", "--json", home=home, env=env) as watch:
        ready = watch.record()
        assert (ready["callback_url"], ready["host"]) == (URL, "web1")
        said = watch.until_said("what keys request")
        assert "callctl: following web1\n" in said  # at whose port 8765 nothing may answer from here
        assert f"A listener of this account listens on web1 (process 7), with callbacks at {URL}." in said
        with closing(open_store(settings)) as store:
            store.withdraw("n1")
        while (record := watch.record())["type"] != "trouble":
            pass
        assert "is gone" in record["text"]


def test_the_shared_store_is_not_emptied_at_the_end_of_a_watch(
    callctl: Callctl, simulator: Simulator, shared_store: str
) -> None:
    env = {**env_for(simulator), "CALLCTL_STORE": shared_store}
    for command in ("watch", "listen"):
        outcome = callctl(command, "--keep-days", "0", env=env)
        assert outcome.code == 2
        assert "would delete what others keep" in outcome.err
