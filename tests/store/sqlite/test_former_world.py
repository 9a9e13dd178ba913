"""What callctl 0.1.0 stored with the API address as it was spelled is there for the world that it is today."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from claims import claimed
from events import START, event, sid

from callctl.calls.action import ActionEvent
from callctl.settings import Settings, load
from callctl.store.event_store import EventStore
from callctl.store.opening import open_existing, open_for_watch, open_readonly, open_store
from callctl.store.records import OpenClaim
from callctl.store.sqlite.store import SqliteStore

UNTIL = START + timedelta(minutes=1)
Open = Callable[[Settings], EventStore | None]


def as_watch(settings: Settings) -> EventStore:
    return open_for_watch(settings, on_trouble=lambda _text: None)


def settings_at(home: Path, url: str) -> Settings:
    account = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake"}
    return load({"HOME": str(home), "CALLCTL_API_URL": url, **account}, cwd=home)


def claim_on(call: int) -> OpenClaim:
    return OpenClaim("rule", sid(call), sid(call), "hangup")


@pytest.mark.parametrize("open_again", [open_store, as_watch, open_existing, open_readonly])
@pytest.mark.parametrize("url", ["https://API.twilio.com:443/", "https://api.ashburn.us1.twilio.com"])
def test_rows_of_the_address_as_it_was_spelled_are_found(tmp_path: Path, open_again: Open, url: str) -> None:
    settings = settings_at(tmp_path, url)
    (former_world,) = settings.former_worlds
    with closing(SqliteStore.open(settings.store, world=former_world)) as before:
        before.append(event(1, "ringing"))
        before.append(event(1, "completed"))
        before.append(event(2, "ringing"))
        before.remember_placed(sid(1), at=UNTIL)
        held = claimed(before, claim_on(1), now=START, until=UNTIL)
        before.settle(held, ActionEvent(START, sid(1), "hangup", (), "done", rule="rule"))
        before.claim(claim_on(2), now=START, until=UNTIL)
        before.add_intents([sid(2)], now=START, until=UNTIL)
    plain = settings_at(tmp_path, "https://api.twilio.com")
    with closing(SqliteStore.open(settings.store, world=plain.world)) as other:  # by another shell since
        other.append(event(1, "in-progress"))
        other.append(event(3, "ringing"))
        other.remember_placed(sid(3), at=START)
        other.claim(claim_on(1), now=START, until=UNTIL)
    for _ in range(2):
        store = open_again(settings)
        assert store is not None
        with closing(store):
            found = [(one.call_sid, one.status) for one in store.replay(since=None)]
            assert found == [
                (sid(1), "ringing"),
                (sid(1), "completed"),
                (sid(2), "ringing"),
                (sid(1), "in-progress"),
                (sid(3), "ringing"),
            ]
            row = store.call(sid(1))
            assert row is not None
            assert (row.status, row.is_final) == ("completed", True)
            assert store.last_placed() == sid(1)
            assert store.was_placed(sid(1))
            assert store.claim_keys() == {("rule", sid(1)), ("rule", sid(2))}
            assert [one.outcome for one in store.actions(sid(1))] == ["done"]
            assert store.had_intent(sid(2))
    with closing(SqliteStore.open(settings.store, world=former_world)) as before:
        assert list(before.replay(since=None)) == []


def test_rows_of_another_address_stay_apart(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, "https://Example.com/API")
    other = settings_at(tmp_path, "https://example.com/api")
    with closing(open_store(other)) as store:
        store.append(event(1, "ringing"))
    with closing(open_store(settings)) as store:
        assert list(store.replay(since=None)) == []
