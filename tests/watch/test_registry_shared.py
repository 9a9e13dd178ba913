"""Listeners on other machines, which are known by what they announce in the shared store."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
from processes import Piped
from running import Callctl, env_for

from callctl.settings import Settings, load
from callctl.simulator import Simulator
from callctl.store.opening import open_store
from callctl.watch.registry import WatchRecord, announce, announced, find, others, services

URL = "https://calls.example.com/status"


def settings_of(simulator: Simulator, home: Path, url: str) -> Settings:
    return load({**env_for(simulator), "HOME": str(home), "CALLCTL_STORE": url}, cwd=home)


def record_of(settings: Settings, **more: str) -> WatchRecord:
    fields = {"callback_url": URL, "health_url": "http://127.0.0.1:8765/healthz", "nonce": "n1", "command": "listen"}
    known = {"account_sid": settings.account_sid or "", "api_url": settings.api_url, "version": "1.0"}
    return WatchRecord(pid=7, **{**fields, **known, **more})


@pytest.fixture
def settings(simulator: Simulator, home: Path, shared_store: str) -> Settings:
    return settings_of(simulator, home, shared_store)


def announce_at(host: str, settings: Settings, record: WatchRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there, closing(open_store(settings)) as store:
        there.setattr("callctl.watch.registry.socket.gethostname", lambda: host)
        announce(store, record)


def test_a_listener_elsewhere_is_found_by_what_it_announced(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (find(settings), services(settings)) == (None, [])
    announce_at("web1", settings, record_of(settings), monkeypatch)
    found = find(settings)
    assert found is not None
    assert (found.callback_url, found.host, found.health_url) == (URL, "web1", "http://web1:8765/healthz")
    assert services(settings) == [found]
    announce_at("web1", settings, record_of(settings, callback_url="http://127.0.0.1:8765/status"), monkeypatch)
    assert find(settings) is None  # nobody reaches that from here


def test_what_is_announced_here_counts_by_the_record_on_this_machine_alone(settings: Settings) -> None:
    with closing(open_store(settings)) as store:
        announce(store, record_of(settings))
    assert announced(settings) == []


def test_others_behind_the_same_url_are_known_wherever_they_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = record_of(settings, nonce="own")
    announce_at("web1", settings, own, monkeypatch)
    announce_at("web1", settings, record_of(settings, nonce="beside"), monkeypatch)
    announce_at("web2", settings, record_of(settings, nonce="there"), monkeypatch)
    announce_at("web3", settings, record_of(settings, nonce="other", callback_url="https://example.com/x"), monkeypatch)
    assert others(settings, own)() == {"beside", "there"}


def test_what_is_no_record_or_is_over_counts_for_nothing(settings: Settings) -> None:
    with closing(open_store(settings)) as store:
        store.announce("odd", {"host": "web1"}, lasting=timedelta(hours=1))
        record = asdict(record_of(settings)) | {"host": "web1"}
        store.announce("typed", record | {"callback_url": 7}, lasting=timedelta(hours=1))
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
    with Piped("watch", "--json", home=home, env=env) as watch:
        ready = watch.record()
        assert (ready["callback_url"], ready["host"]) == (URL, "web1")
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
