"""What becomes of requests that an application does not take: tried again in order per call, then kept as failed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from events import WORLD, event_of, form, sid
from listeners import post, twiml_form
from watches import Application, Sent, running_watch, settings_in, until
from web_site import closed_port

from callctl.calls.watch_trouble import Cause, Forwarded, Trouble
from callctl.errors import StoreError
from callctl.store.records import Undelivered
from callctl.store.sqlite.store import SqliteStore
from callctl.support.backoff import Backoff
from callctl.watch.forwarding import forwarder as module
from callctl.watch.forwarding.forwarder import AT_ONCE, FAILED_TRIES, GIVEN_UP, TAKEN, WAITING, Forwarder
from callctl.watch.listener.server import ReceivedRequest
from callctl.watch.listener.signature import SignedRequest
from callctl.watch.options import WatchOptions

SOON = Backoff(first=0.01, factor=2, longest=0.05)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", SOON)
    monkeypatch.setattr(module, "KEPT_AFTER", 0.05)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    yield store
    store.close()


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Forwarding:
    """A forwarder that runs, and what it said."""

    forwarder: Forwarder
    store: SqliteStore
    notes: list[Forwarded] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def put(self, call: int, status: str, *, number: int = 0, query: str = "", method: str = "POST") -> None:
        """Forward the callback of an event that was stored, as a listener does."""
        fields = form(call, status, number=number)
        event, body = event_of(fields), urlencode(fields).encode()
        self.store.append(event)
        signed = SignedRequest(f"/status{query}", signature=event.key)
        target = f"/status{query}" if method == "POST" else f"/status?{body.decode()}"
        headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
        self.forwarder.put(
            ReceivedRequest(method, target, headers, body if method == "POST" else b"", event.form, signed), event
        )

    def kept(self) -> list[Undelivered]:
        return [request for request, _ in self.store.undelivered(now=now())]


@asynccontextmanager
async def forwarding(store: SqliteStore, *urls: str, **more: Any) -> AsyncIterator[Forwarding]:
    notes: list[Forwarded] = []
    troubles: list[Trouble] = []
    forwarder = Forwarder(urls, note=notes.append, trouble=troubles.append, **more)
    forwarder.start(store)
    try:
        yield Forwarding(forwarder, store, notes, troubles)
    finally:
        await forwarder.stop()


def reported(sent: Sent) -> tuple[str, str]:
    """Return the call and the status of a request as the application saw it."""
    fields = parse_qs(sent.body.decode())
    return fields["CallSid"][0], fields["CallStatus"][0]


def refusing(application: Application, fails: Callable[[tuple[str, str]], bool], *, status: int = 503) -> None:
    """Have an application fail for some callbacks."""

    async def answer(sent: Sent) -> str:
        application.status = status if fails(reported(sent)) else 200
        return ""

    application.answer = answer


async def test_a_call_waits_for_its_own_callback_that_failed_and_for_no_others(
    store: SqliteStore, application: Application
) -> None:
    tries = iter(range(100))
    refusing(application, lambda one: one == (sid(1), "ringing") and next(tries) < 3)
    async with forwarding(store, application.url) as running:
        running.put(1, "ringing", number=0)
        running.put(1, "in-progress", number=1)
        running.put(1, "completed", number=2)
        running.put(2, "ringing")
        sent = [reported(one) for one in await application.requests(7)]
        assert [status for call, status in sent if call == sid(1)] == ["ringing"] * 4 + ["in-progress", "completed"]
        assert (sid(2), "ringing") in sent[:3]
        await until(lambda: not running.forwarder.waiting)
    (trouble,) = running.troubles
    assert (trouble.cause, trouble.status, trouble.call_sid) == (Cause.FORWARD, 503, sid(1))
    assert "  503 in " in trouble
    assert trouble.endswith(f"{sid(1)} ringing; trying again for 300 s")
    record = trouble.to_json()
    assert (record["event"], record["attempt"], record["reason"], record["kept"]) == ("ringing", 1, "HTTP 503", False)
    taken = next(note for note in running.notes if note.ends_trouble)
    assert taken.endswith(f"{sid(1)} ringing  (try 4)")
    assert taken.to_json() == {
        "v": 1,
        "type": "forwarded",
        "text": str(taken),
        "url": application.url,
        "call_sid": sid(1),
        "event": "ringing",
        "status": 200,
        "seconds": taken.seconds,
        "attempt": 4,
    }
    assert running.forwarder.counts == {TAKEN: 4, FAILED_TRIES: 3, GIVEN_UP: 0}


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (302, 1), (403, 1), (408, 2), (429, 2), (500, 2)])
async def test_what_is_an_answer_and_what_is_tried_again(
    store: SqliteStore, application: Application, status: int, tries: int
) -> None:
    count = iter(range(100))
    refusing(application, lambda one: one[0] == sid(1) and next(count) == 0, status=status)
    async with forwarding(store, application.url) as running:
        running.put(1, "ringing")
        running.put(1, "completed", number=1)
        sent = [reported(one)[1] for one in await application.requests(tries + 1)]
        await until(lambda: not running.forwarder.waiting)
    assert sent == ["ringing"] * tries + ["completed"]


async def test_each_url_gets_every_request_and_none_waits_for_another(
    store: SqliteStore, application: Application
) -> None:
    held = Application(hold=asyncio.Event())
    await held.start()
    with closed_port() as port:
        async with forwarding(store, f"http://127.0.0.1:{port}/x", held.url, f"{application.url}/y") as running:
            for call in range(20):
                running.put(call, "ringing")
            assert {reported(one)[0] for one in await application.requests(20)} == {sid(call) for call in range(20)}
            assert len(await held.requests(AT_ONCE)) == AT_ONCE
            assert held.hold is not None
            held.hold.set()
            assert {reported(one)[0] for one in await held.requests(20)} == {sid(call) for call in range(20)}
    await held.stop()


async def test_a_url_with_a_password_shows_it_nowhere(store: SqliteStore) -> None:
    with closed_port() as port:
        async with forwarding(store, f"http://ann:secret@127.0.0.1:{port}/app?key=1") as running:
            running.put(1, "ringing", query="?tenant=3")
            await until(lambda: bool(running.kept()))
    (kept,) = running.kept()
    assert kept.url == f"http://ann:***@127.0.0.1:{port}/app?key=1&tenant=3"
    assert not any("secret" in str(trouble.to_json()) for trouble in running.troubles)


async def test_the_first_url_answers_for_twiml_and_the_others_see_the_request(
    tmp_path: Path, application: Application
) -> None:
    other = Application(text="<Response><Reject/></Response>", content_type="text/xml")
    await other.start()
    application.text, application.content_type = "<Response/>", "text/xml"
    options = WatchOptions("127.0.0.1", 0, forward_to=(application.url, other.url))
    async with running_watch(settings_in(tmp_path), options) as watch:
        assert await post(watch.ready.callback_url, twiml_form(1)) == (200, "<Response/>")
        assert len(await other.requests(1)) == len(await application.requests(1)) == 1
        application.status = 500  # the call's own affair: it has its answer, and is not tried again
        assert (await post(watch.ready.callback_url, twiml_form(2)))[0] == 500
        await other.requests(2)
        await watch.view.until_noted("500 in ")
    assert len(application.sent) == 2
    await other.stop()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_each_call_is_told_in_order_and_nothing_is_left_out(
    store: SqliteStore, application: Application, seed: int
) -> None:
    chance, taken = random.Random(seed), list[tuple[str, int]]()

    async def answer(sent: Sent) -> str:
        fields = parse_qs(sent.body.decode())
        await asyncio.sleep(chance.random() / 200)
        application.status = chance.choice([204, 204, 404, 500, 503, 429])
        if application.status in (204, 404):
            taken.append((fields["CallSid"][0], int(fields["SequenceNumber"][0])))
        return ""

    application.answer = answer
    async with forwarding(store, application.url) as running:
        for number in range(60):
            running.put(chance.randrange(6), "ringing", number=number)
            if chance.random() < 0.2:
                await asyncio.sleep(0.002)
        await until(lambda: not running.forwarder.waiting)
        await until(lambda: not running.kept())
    assert sorted(number for _, number in taken) == list(range(60))
    for call in {call for call, _ in taken}:
        numbers = [number for one, number in taken if one == call]
        assert numbers == sorted(numbers)


# Kept as failed


async def test_what_is_not_taken_in_time_is_kept_as_failed_and_the_call_goes_on(
    store: SqliteStore, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIED_FOR", 0.2)
    refusing(application, lambda one: one[1] == "ringing")
    async with forwarding(store, f"{application.url}/app") as running:
        running.put(1, "ringing", number=0)
        await until(lambda: running.forwarder.counts[GIVEN_UP] == 1)
        running.put(1, "completed", number=1)
        await until(lambda: running.forwarder.counts[TAKEN] == 1)
        await until(lambda: [one.tried_for for one in running.kept()] == [timedelta()])
    (kept,) = running.kept()
    assert (kept.call_sid, kept.url, kept.why) == (sid(1), f"{application.url}/app", "HTTP 503")
    given_up = running.troubles[-1]
    assert "given up after " in given_up
    assert "`callctl replay --failed`" in given_up
    assert given_up.to_json()["kept"] is True
    assert given_up.to_json()["attempt"] > 1


async def test_what_waits_is_kept_while_it_is_tried_and_forgotten_once_it_is_taken(
    store: SqliteStore, application: Application
) -> None:
    application.hold = asyncio.Event()
    async with forwarding(store, application.url) as running:
        for call in range(2 * AT_ONCE):
            running.put(call, "ringing")
        await until(lambda: len(running.kept()) == 2 * AT_ONCE)
        assert all(timedelta(minutes=4) < one.tried_for <= timedelta(minutes=5) for one in running.kept())
        application.hold.set()
        await until(lambda: not running.kept())


@pytest.mark.parametrize("limit", [0.0, 5.0])
async def test_what_waits_at_the_end_is_kept_as_failed(store: SqliteStore, limit: float) -> None:
    with closed_port() as port:
        async with forwarding(store, f"http://127.0.0.1:{port}/app") as running:
            running.put(1, "ringing")
            running.put(1, "completed", number=1)
            running.put(2, "ringing", method="GET")
            await until(lambda: len(running.troubles) == 2)
            await running.forwarder.stop(limit)
    assert [(one.call_sid, one.tried_for) for one in running.kept()] == [
        (sid(1), timedelta()),
        (sid(1), timedelta()),
        (sid(2), timedelta()),
    ]
    assert {one.url for one in running.kept()} == {f"http://127.0.0.1:{port}/app"}  # the query of a GET is its form
    assert "3 requests were not passed on" in running.troubles[-1]
    assert "kept for `callctl replay --failed`" in running.troubles[-1]


async def test_what_the_store_did_not_take_at_the_end_is_not_said_to_be_kept(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise StoreError("the database is locked")

    monkeypatch.setattr(store, "keep_undelivered", fail)
    with closed_port() as port:
        async with forwarding(store, f"http://127.0.0.1:{port}/app") as running:
            running.put(1, "ringing")
            await until(lambda: bool(running.troubles))
    assert running.kept() == []
    assert "1 request was not passed on" in running.troubles[-1]
    assert "may not be kept" in running.troubles[-1]
    assert "replay --failed" not in running.troubles[-1]


async def test_too_many_for_a_held_application_are_kept_and_memory_holds_no_more(
    store: SqliteStore, application: Application
) -> None:
    application.hold = asyncio.Event()
    async with forwarding(store, application.url) as running:
        for number in range(WAITING + 50):
            running.put(number % 500, "ringing", number=number)
        assert running.forwarder.waiting == WAITING
        await until(lambda: sum(not one.tried_for for one in running.kept()) == 50)
    assert [str(one) for one in running.troubles if "too slow: 32 requests were not passed on, kept" in one]
    assert len(running.kept()) == WAITING + 50 - running.forwarder.counts[TAKEN]


async def test_what_was_sent_by_hand_meanwhile_is_not_kept_anew_when_its_turn_comes(
    store: SqliteStore, application: Application
) -> None:
    """Its turn comes after its time, for the application held all that came before it."""
    at = [0.0]
    application.hold = asyncio.Event()
    async with forwarding(store, application.url, clock=lambda: at[0]) as running:
        for number in range(3):
            running.put(1, "ringing", number=number)
        at[0] = 2 * module.KEPT_AFTER
        await until(lambda: len(running.kept()) == 3)
        at[0] = module.TRIED_FOR + 1
        store.forget_undelivered(running.kept())
        application.hold.set()
        await until(lambda: not running.forwarder.waiting)
    assert running.kept() == []
    assert running.forwarder.counts == {TAKEN: 1, FAILED_TRIES: 0, GIVEN_UP: 2}
    assert "its turn did not come in 300 s (it was not sent yet)" in running.troubles[-1]
    assert (running.troubles[-1].to_json()["seconds"], running.troubles[-1].to_json()["attempt"]) == (None, 0)


async def test_what_is_no_event_of_a_call_is_not_kept(store: SqliteStore) -> None:
    with closed_port() as port:
        async with forwarding(store, f"http://127.0.0.1:{port}/app") as running:
            signed = SignedRequest("/status", signature="signed")
            running.forwarder.put(ReceivedRequest("POST", "/status", (), b"a=b", (("a", "b"),), signed))
            await until(lambda: bool(running.troubles))
    assert "1 request was not passed on" in running.troubles[-1]
    assert running.troubles[-1].endswith("and not kept")
    assert running.kept() == []


async def test_a_store_that_can_not_be_written_holds_nothing_up_and_gets_it_later(
    store: SqliteStore, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_more: object) -> None:
        raise StoreError("the disk is full")

    with closed_port() as port, monkeypatch.context() as broken:
        broken.setattr(store, "keep_undelivered", fail)
        async with forwarding(store, f"http://127.0.0.1:{port}/app", application.url) as running:
            running.put(1, "ringing")
            await application.requests(1)
            await until(lambda: any(one.cause is Cause.STORE for one in running.troubles))
            broken.undo()
            await until(lambda: bool(running.kept()))
    assert sum(one.cause is Cause.STORE for one in running.troubles) == 1


async def test_what_waited_for_a_while_when_the_listener_ends_is_kept_as_failed(store: SqliteStore) -> None:
    """Also where it was not written yet that it waits, as that is done once a second."""
    at = [0.0]
    with closed_port() as port:
        async with forwarding(store, f"http://127.0.0.1:{port}/app", clock=lambda: at[0]) as running:
            running.put(1, "ringing")
            await until(lambda: bool(running.troubles))
            at[0] += 5.0
        ((row, event),) = store.undelivered(now=now())
    assert (row.tried_for, event.status) == (timedelta(0), "ringing")


async def test_a_listener_answers_at_once_whatever_its_applications_do(
    tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many callbacks, an application that accepts them and never answers, and one that is not there."""
    monkeypatch.setattr(
        "callctl.watch.forwarding.application.LIMIT", 600.0
    )  # all are sent before the first is given up
    monkeypatch.setattr(module, "_LAST_WRITE", 600.0)  # all are written, however slow the disk is
    application.hold = asyncio.Event()
    with closed_port() as port:
        options = WatchOptions("127.0.0.1", 0, forward_to=(application.url, f"http://127.0.0.1:{port}/"))
        async with running_watch(settings_in(tmp_path), options) as watch:
            url = watch.ready.callback_url
            for number in range(200):
                assert (await post(url, form(number % 50, "ringing", number=number)))[0] == 204
            assert len(application.sent) <= AT_ONCE
            forwarder = watch.session._forwarder
            assert forwarder is not None
            assert forwarder.waiting == 400
    found = SqliteStore.open_readonly(watch.settings.store, world=watch.settings.world)
    assert len(found.undelivered(now=now())) == 400
    found.close()


async def test_a_callback_of_the_applications_own_path_is_kept_with_this_path(
    store: SqliteStore, application: Application
) -> None:
    application.status = 503
    forwarder = Forwarder([f"http://user:secret@127.0.0.1:{application.port}/voice"], note=print, trouble=print)
    forwarder.start(store)
    for call, (method, target) in enumerate([("POST", "/call?a=b"), ("GET", "/by-get?")]):
        event = event_of(form(call, "ringing"))
        store.append(event)
        body = urlencode(event.form)
        sent = (target, body.encode()) if method == "POST" else (target + body, b"")
        signed = SignedRequest(target, signature=event.key)
        forwarder.put(ReceivedRequest(method, sent[0], (), sent[1], event.form, signed, is_elsewhere=True), event)
    await forwarder.stop()
    place = f"http://user:***@127.0.0.1:{application.port}"
    assert {request.url for request, _ in store.undelivered(now=now())} == {f"{place}/call?a=b", f"{place}/by-get"}
    assert {sent.target.partition("?")[0] for sent in application.sent} == {"/call", "/by-get"}
    assert all(("Authorization", "Basic dXNlcjpzZWNyZXQ=") in sent.headers for sent in application.sent)
