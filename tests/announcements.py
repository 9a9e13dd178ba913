"""Listeners elsewhere, as they announce themselves in a shared store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from running import env_for

from callctl.settings import Settings, load
from callctl.simulator import Simulator
from callctl.store.opening import open_store
from callctl.watch.registry.record import WatchRecord
from callctl.watch.registry.registry import announce

URL = "https://calls.example.com/status"
LOCAL_URL = "http://127.0.0.1:8765/status"


def settings_of(simulator: Simulator, home: Path, url: str) -> Settings:
    return load({**env_for(simulator), "HOME": str(home), "CALLCTL_STORE": url}, cwd=home)


def record_of(settings: Settings, **more: str) -> WatchRecord:
    fields = {"callback_url": URL, "health_url": "http://127.0.0.1:8765/healthz", "nonce": "n1", "command": "listen"}
    known = {"account_sid": settings.account_sid or "", "api_url": settings.api_url, "version": "1.0"}
    return WatchRecord(pid=7, **{**fields, **known, **more})


def announce_at(host: str, settings: Settings, record: WatchRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there, closing(open_store(settings)) as store:
        there.setattr("callctl.watch.registry.registry.socket.gethostname", lambda: host)
        there.setattr("callctl.watch.registry.registry.process_space", lambda: f"processes of {host}")
        announce(store, record)


def withdraw(settings: Settings, record: WatchRecord) -> None:
    with closing(open_store(settings)) as store:
        store.withdraw(record.nonce)
