"""Requests for TwiML: documents that a watch serves, and requests at the callback URL."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from events import ACCOUNT, form, sid
from listeners import PUBLIC, VOICE_DOCUMENT, FailingStore, Reports, Start, post, sign, twiml_form
from watches import running_watch, settings_in, until

from callctl.errors import NoThreadError, StoreAwayError, StoreError, UsageError
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.listener.server import Limits, is_from_here
from callctl.watch.listener.twiml_responder import Documents, TwimlResponder
from callctl.watch.options import WatchOptions

DOCUMENT = "<Response><Say>Hello</Say></Response>"


def survey_in(folder: Path) -> tuple[Path, Documents]:
    """Write a document; return its file, and the documents of which it is the one named survey."""
    file = folder / "survey.xml"
    file.write_text(DOCUMENT)
    return file, Documents.read_options(["survey=survey.xml"], folder=folder)


async def test_a_request_for_twiml_at_the_callback_url_is_reported(tmp_path: Path) -> None:
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0)) as watch:
        assert (await post(watch.ready.callback_url, twiml_form(1)))[0] == 404
        assert "this URL is for status callbacks; give --serve" in await watch.view.until_noted("404")
        await watch.view.until(lambda view: [event.kind for event in view.events] == ["twiml-request"])


async def test_a_document_is_served_to_verified_requests_alone(tmp_path: Path) -> None:
    file, documents = survey_in(tmp_path)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, documents=documents)) as watch:
        url = watch.ready.documents["survey"]
        assert url == f"http://127.0.0.1:{watch.ready.port}/twiml/survey"
        assert await post(url, twiml_form(1)) == (200, DOCUMENT)
        await watch.view.until(lambda view: [event.call_sid for event in view.events] == [sid(1)])
        assert watch.view.events[0].kind == "twiml-request"
        assert (await post(url, twiml_form(2), **{"X-Twilio-Signature": "forged"}))[0] == 403
        signed_elsewhere = sign(watch.ready.callback_url, twiml_form(2))
        assert (await post(url, twiml_form(2), **signed_elsewhere))[0] == 403
        assert (await post(url + "x", twiml_form(2)))[0] == 404
        file.write_text(DOCUMENT.replace("Hello", "Good-bye"))
        assert "Good-bye" in (await post(url, twiml_form(3)))[1]
        file.write_text("<Response>")
        assert (await post(url, twiml_form(4)))[0] == 500
        assert "not well-formed" in await watch.view.until_noted("answered with 500")


async def test_only_doctor_hears_that_a_documents_file_is_no_good_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, documents = survey_in(tmp_path)
    readers: list[threading.Thread] = []
    read = Documents.text

    def text(documents: Documents, name: str) -> str:
        readers.append(threading.current_thread())
        return read(documents, name)

    monkeypatch.setattr(Documents, "text", text)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, documents=documents)) as watch:
        url = watch.ready.documents["survey"]
        assert await head(url) == 405
        file.unlink()
        assert await head(url) == 410
        assert len(readers) == 2
        assert threading.current_thread() not in readers  # that of the event loop, for which callbacks wait
        for name, value in (
            ("Host", "calls.example.com"),
            ("Host", ""),
            ("Host", "["),
            ("Forwarded", "for=192.0.2.1"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("X-Forwarded-Host", "calls.example.com"),
            ("Via", "1.1 proxy"),
        ):
            assert await head(url, **{name: value}) == 405
        assert len(readers) == 2


async def test_a_document_whose_file_is_being_read_is_not_read_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    readers: list[str] = []

    def text(_documents: Documents, name: str) -> str:
        readers.append(name)
        assert goes_on.wait(60)
        raise UsageError("can't read it")

    monkeypatch.setattr(Documents, "text", text)
    responder = TwimlResponder(Documents({"one": Path("one.xml")}), forwarder=None, trouble=lambda _trouble: None)
    looks = [asyncio.create_task(responder.lacks("/twiml/one")) for _ in range(3)]
    looks[0].cancel()
    await asyncio.wait(looks[:1])
    goes_on.set()
    assert await asyncio.gather(*looks[1:]) == [True, True]
    assert readers == ["one"]
    assert await responder.lacks("/twiml/one")
    assert readers == ["one", "one"]


async def test_a_document_on_a_disk_that_does_not_answer_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, documents = survey_in(tmp_path)
    is_read, answers = threading.Event(), threading.Event()
    read = Documents.text

    def text(documents: Documents, name: str) -> str:
        is_read.set()
        assert answers.wait(60)
        return read(documents, name)

    monkeypatch.setattr(Documents, "text", text)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, documents=documents)) as watch:
        url = watch.ready.documents["survey"]
        waiting = asyncio.create_task(post(url, twiml_form(1)))
        await until(is_read.is_set)
        assert (await post(watch.ready.callback_url, form(2, "ringing")))[0] == 204
        assert not waiting.done()
        answers.set()
        assert await waiting == (200, DOCUMENT)
        answers.clear()
        monkeypatch.setattr("callctl.watch.listener.twiml_responder._READ_LIMIT", 0.05)
        assert (await post(url, twiml_form(3)))[0] == 500
        assert "survey.xml (--serve survey): its disk has not answered for 0.05 s" in await watch.view.until_noted(
            "500"
        )
        answers.set()


async def test_a_document_is_read_though_the_system_has_no_thread_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "survey.xml").write_text(DOCUMENT)
    responder = TwimlResponder(
        Documents({"survey": tmp_path / "survey.xml"}), forwarder=None, trouble=lambda _trouble: None
    )
    monkeypatch.setattr("callctl.watch.listener.twiml_responder.start_in_thread", Mock(side_effect=NoThreadError))
    assert not await responder.lacks("/twiml/survey")


@pytest.mark.parametrize(
    ("peer", "own", "url", "is_here"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:8765", True),
        ("127.0.0.1", "127.0.0.5", "http://127.0.0.5:8765", True),
        ("::1", "::1", "http://[::1]:8765", True),
        ("192.0.2.1", "192.0.2.1", "http://192.0.2.1:8765", True),
        ("fe80::1%eth0", "fe80::1%eth0", "http://[fe80::1%eth0]:8765", True),
        ("192.0.2.7", "192.0.2.1", "http://192.0.2.1:8765", False),
        ("192.0.2.7", "192.0.2.1", "http://127.0.0.1:8765", False),
    ],
)
def test_a_request_is_from_here_whose_other_end_is_here(peer: str, own: str, url: str, *, is_here: bool) -> None:
    ends = {"peername": (peer, 50000), "sockname": (own, 8765)}
    transport = Mock(get_extra_info=ends.get)
    host = url.removeprefix("http://").replace("%eth0", "")
    request = make_mocked_request("HEAD", "/twiml/one", headers={"Host": host}, transport=transport)
    assert is_from_here(request, url) is is_here
    assert not is_from_here(make_mocked_request("HEAD", "/twiml/one", headers={"Host": host}), url)


async def head(url: str, **headers: str) -> int:
    """Return the status of the answer to a HEAD."""
    async with aiohttp.ClientSession() as http, http.head(url, headers=headers) as answer:
        return answer.status


async def test_a_document_is_served_as_it_is_checked(tmp_path: Path) -> None:
    declared = f'<?xml version="1.0" encoding="UTF-8"?>\n{DOCUMENT}'
    (tmp_path / "lead.xml").write_text(f"\n \ufeff\t{declared}\n\n", encoding="utf-8")
    documents = Documents.read_options(["lead=lead.xml"], folder=tmp_path)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, documents=documents)) as watch:
        assert await post(watch.ready.documents["lead"], twiml_form(1)) == (200, declared)


async def test_events_that_are_none_are_reported_where_documents_are_served(tmp_path: Path) -> None:
    wrong = '<Response><Dial><Client statusCallbackEvent="ringing,answered">ann</Client></Dial></Response>'
    file = tmp_path / "one.xml"
    file.write_text(wrong)
    with pytest.raises(UsageError, match="no such event: ringing,answered"):
        Documents.read_options(["one=one.xml"], folder=tmp_path)
    file.write_text(DOCUMENT)
    documents = Documents.read_options(["one=one.xml"], folder=tmp_path)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, documents=documents)) as watch:
        file.write_text(wrong)  # Twilio would run it, so it is served
        assert await post(watch.ready.documents["one"], twiml_form(1)) == (200, wrong)
        assert "no such callbacks will come" in await watch.view.until_noted("no such event: ringing,answered")


async def test_a_document_lies_beside_the_public_callback_url(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(DOCUMENT)
    documents = Documents.read_options(["one=one.xml"], folder=tmp_path)
    for public, expected in (
        ("https://example.com/status", "https://example.com/twiml/one"),
        ("https://example.com/hooks/status?tenant=1", "https://example.com/hooks/twiml/one"),
        ("https://example.com/callbacks", "https://example.com/twiml/one"),
    ):
        options = WatchOptions("127.0.0.1", 0, public_url=public, documents=documents)
        async with running_watch(settings_in(tmp_path), options) as watch:
            assert watch.ready.documents == {"one": expected}
            local = f"http://127.0.0.1:{watch.ready.port}/twiml/one"
            fields = twiml_form(1)
            signature = sign(expected, fields)
            assert await post(local, fields, **signature) == (200, DOCUMENT)


@pytest.mark.parametrize(
    ("failure", "status"),
    [(StoreError("disk is full"), 500), (KeyError("x"), 500), (StoreAwayError("can't reach it"), 503)],
    ids=repr,
)
async def test_a_call_that_can_not_be_stored_gets_its_twiml(
    start: Start, reports: Reports, store: SqliteStore, voice: TwimlResponder, failure: Exception, status: int
) -> None:
    listener = await start(kept_by=FailingStore(store, failure), responder=voice)
    url = listener.url + "/status"
    assert await post(url, twiml_form(1), signed_url=PUBLIC) == (200, VOICE_DOCUMENT)
    assert f"callbacks are answered with {status}" in reports.troubles[0]
    assert not listener.store_works
    assert (await post(url, form(1, "ringing"), signed_url=PUBLIC))[0] == status
    assert (listener.failed, listener.accepted, reports.events) == (2, 0, [])


async def test_a_call_gets_its_twiml_while_the_store_hangs_and_is_stored_once_it_goes_on(
    start: Start, reports: Reports, store: SqliteStore, voice: TwimlResponder
) -> None:
    listener = await start(responder=voice, limits=Limits(twiml_store_seconds=0.05, store_seconds=1000))
    with store._writing._lock:  # as while its thread is in a write that hangs
        assert await post(listener.url + "/status", twiml_form(1), signed_url=PUBLIC) == (200, VOICE_DOCUMENT)
        assert (listener.accepted, listener.counts.pending) == (0, 1)
    (event,) = await reports.of(1)
    assert (event.kind, event.call_sid) == ("twiml-request", sid(1))
    assert (listener.accepted, listener.counts.pending, reports.troubles) == (1, 0, [])


@pytest.mark.parametrize(
    "limits",
    [
        Limits(twiml_store_seconds=0.05, store_seconds=1000, stop_seconds=0.05),
        Limits(twiml_store_seconds=0.05, store_seconds=1000, stop_seconds=1000, last_store_seconds=0.05),
    ],
)
async def test_a_store_that_hangs_keeps_no_listener_from_stopping(
    start: Start, reports: Reports, store: SqliteStore, voice: TwimlResponder, limits: Limits
) -> None:
    listener = await start(responder=voice, limits=limits)
    with store._writing._lock:
        assert (await post(listener.url + "/status", twiml_form(1), signed_url=PUBLIC))[0] == 200
        await listener.stop()
    assert listener.counts.pending == 0
    assert reports.troubles[-1] == "1 event that came last may be missing from the event store"


@pytest.mark.parametrize("name", ["ParentCallSid", "AgentCallSid"])
async def test_a_call_gets_its_twiml_whatever_parameters_its_client_gave_it(
    start: Start, reports: Reports, store: SqliteStore, voice: TwimlResponder, name: str
) -> None:
    listener = await start(responder=voice)
    fields = twiml_form(1) | {name: sid(2)}
    assert await post(listener.url + "/status", fields, signed_url=PUBLIC) == (200, VOICE_DOCUMENT)
    (trouble,) = reports.troubles
    assert trouble.startswith("a request for TwiML, signed, of ")
    assert sid(1) in trouble
    assert (listener.ignored, list(store.replay(since=None))) == (1, [])
    callback = form(1, "ringing") | {name: sid(2), "Direction": "inbound"}
    assert (await post(listener.url + "/status", callback, signed_url=PUBLIC))[0] == 204


async def test_a_clients_own_timestamp_makes_its_call_no_callback(
    start: Start, reports: Reports, voice: TwimlResponder
) -> None:
    listener = await start(responder=voice)
    fields = twiml_form(1) | {"Timestamp": "1764432000"}
    assert await post(listener.url + "/status", fields, signed_url=PUBLIC) == (200, VOICE_DOCUMENT)
    (event,) = await reports.of(1)
    assert (event.kind, event.timestamp) == ("twiml-request", None)


ANNOUNCEMENT = {"AccountSid": ACCOUNT, "ConferenceSid": "CF" + "1" * 32, "FriendlyName": "room"}


async def test_an_announcement_to_a_conference_gets_its_document(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(DOCUMENT)
    documents = Documents.read_options(["one=one.xml"], folder=tmp_path)
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0, documents=documents)) as watch:
        assert await post(watch.ready.documents["one"], ANNOUNCEMENT) == (200, DOCUMENT)
        assert watch.view.events == []


async def test_an_announcement_at_the_callback_url_is_answered_by_the_application(
    start: Start, voice: TwimlResponder
) -> None:
    listener = await start(responder=voice)
    url = listener.url + "/status"
    assert await post(url, ANNOUNCEMENT, signed_url=PUBLIC) == (200, VOICE_DOCUMENT)
    for other in ({"StatusCallbackEvent": "conference-end"}, {"RecordingSid": "RE1"}):
        assert (await post(url, ANNOUNCEMENT | other, signed_url=PUBLIC))[0] == 204
    assert (await post(url, {"AccountSid": ACCOUNT, "StreamSid": "MZ1"}, signed_url=PUBLIC))[0] == 204
    assert (listener.ignored, listener.accepted) == (3, 0)
