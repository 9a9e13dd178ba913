"""Opening a shared store: a server that gave no answer is not waited for again and again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from callctl.errors import StoreAwayError
from callctl.settings import Settings, load
from callctl.store import opening
from callctl.store.postgresql.store import PostgresStore

URL = "postgresql://callctl@127.0.0.1/callctl"


class Server:
    """A database server that is away; each who asks waits for so many seconds."""

    def __init__(self) -> None:
        self.now, self.wait, self.asked = 1000.0, 2.0, 0

    def open(self, *_args: object, **_options: object) -> PostgresStore:
        self.asked += 1
        self.now += self.wait
        raise StoreAwayError("can't reach it", hint="look at it")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setattr(PostgresStore, "open", server.open)
    monkeypatch.setattr(opening, "elapsed", lambda: server.now)
    monkeypatch.setattr(opening, "_silent", {})
    monkeypatch.setattr(opening, "_kept_open", set())
    yield server


@pytest.fixture
def settings(home: Path) -> Settings:
    env = {"HOME": str(home), "TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32}
    return load(env | {"CALLCTL_STORE": URL}, cwd=home)


def ask(settings: Settings) -> None:
    for opens in (opening.open_existing, opening.open_readonly, opening.open_store):
        with pytest.raises(StoreAwayError, match="can't reach it") as caught:
            opens(settings)
        assert caught.value.hint == "look at it"


def test_a_server_that_gave_no_answer_is_not_asked_again_for_a_while(server: Server, settings: Settings) -> None:
    ask(settings)
    assert server.asked == 1
    server.now += 10
    ask(settings)
    assert server.asked == 2


def test_one_that_refuses_at_once_is(server: Server, settings: Settings) -> None:
    server.wait = 0.1
    ask(settings)
    assert server.asked == 3


@pytest.mark.parametrize("is_listener", [True, False])
def test_a_process_that_keeps_it_open_tries_again_each_time(
    server: Server, settings: Settings, is_listener: bool
) -> None:
    """A watch goes on for days: what its keys do is written down as soon as the server answers again."""
    ask(settings)
    assert server.asked == 1
    with pytest.raises(StoreAwayError):
        if is_listener:
            opening.open_for_watch(settings, on_trouble=lambda _text: None)
        else:
            opening.open_store(settings, stays_open=True)
    ask(settings)
    assert server.asked == 5


def test_who_keeps_it_open_asks_again_and_waits_longer(
    server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch that follows a listener: where the first name server is dead, a look-up takes five seconds."""
    ask(settings)
    given = list[dict[str, object]]()
    monkeypatch.setattr(PostgresStore, "open", lambda *_args, **options: given.append(options))
    opening.open_store(settings, stays_open=True)
    assert "connect_limit" not in given[0]
    assert server.asked == 1
