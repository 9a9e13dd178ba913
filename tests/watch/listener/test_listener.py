from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from events import form, samples, sid
from listeners import PUBLIC, TOKEN, FailingStore, Reports, Start, post, sign
from watches import until
from yarl import URL

from callctl.errors import CallctlError, PortTakenError, SettingsError, StoreAwayError, StoreBusyError, StoreError
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.listener import listener as listener_module
from callctl.watch.listener import server as server_module
from callctl.watch.listener.address import Address
from callctl.watch.listener.listener import Listener, ListenerConfig
from callctl.watch.listener.server import Limits, ReceivedRequest
from callctl.watch.registry.health import why_callbacks_may_be_lost


async def test_a_signed_callback_is_stored_answered_and_reported(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing", number=1, CallerCity="", CalledCity="São Paulo", CallerName="A&B=C+D %")
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
    (event,) = await reports.of(1)
    assert (event.call_sid, event.verified, dict(event.form)) == (sid(1), True, fields)
    assert list(store.replay(since=None)) == [event]
    assert (listener.accepted, listener.refused, listener.duplicates) == (1, 0, 0)
    assert listener.last_callback_at == event.received_at


async def test_numbers_of_five_thousand_digits_are_kept_and_count_as_absent(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    huge = "9" * 5000
    numbers = dict.fromkeys(("SequenceNumber", "Timestamp", "CallDuration"), huge)
    amd = {"CallSid": sid(1), "AnsweredBy": "human", "MachineDetectionDuration": huge}
    for fields in (form(1, "completed") | numbers, amd):
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            assert answer.status == 204
    ended, detected = await reports.of(2)
    assert (ended.status, ended.sequence_number, ended.timestamp, ended.duration) == ("completed", None, None, None)
    assert dict(ended.form) == form(1, "completed") | numbers
    assert (detected.in_words, detected.to_json()["machine_detection_duration"]) == ("answered by human", None)
    assert list(store.replay(since=None)) == [ended, detected]


async def test_it_is_in_the_database_when_it_is_answered(
    start: Start, tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    for call in range(20):
        fields = form(call, "ringing")
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            assert answer.status == 204
        connection = sqlite3.connect(tmp_path / "events.db")  # another connection sees only what is committed
        assert connection.execute("SELECT count(*) FROM calls WHERE sid = ?", (sid(call),)).fetchone() == (1,)
        connection.close()


async def test_a_callback_by_get_and_the_urls_own_query(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start(public_url=PUBLIC + "?tenant=a%20b")
    query = urlencode({"tenant": "a b"} | form(1, "busy", SipResponseCode="486"))
    async with http.get(f"{listener.url}/status?{query}", headers=sign(f"{PUBLIC}?{query}")) as answer:
        assert answer.status == 204
    fields = form(2, "busy")
    url = f"{PUBLIC}?tenant=a%20b"
    posted = URL(f"{listener.url}/status?tenant=a%20b", encoded=True)
    async with http.post(posted, data=fields, headers=sign(url, fields)) as answer:
        assert answer.status == 204
    one, two = await reports.of(2)
    assert (one.sip_response_code, ("tenant", "a b") in one.form) == ("486", True)
    assert two.call_sid == sid(2)


async def test_a_local_simulator_signs_the_local_url(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    for name in ("127.0.0.1", "localhost"):
        fields = form(1, "ringing", Name=name)
        url = f"http://{name}:{listener.port}/status"
        async with http.post(listener.url + "/status", data=fields, headers=sign(url, fields)) as answer:
            assert answer.status == 204
    assert (await start(public_url=None)).callback_url.startswith("http://127.0.0.1:")


async def test_two_keys_count_while_a_token_is_rotated(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start(keys=(TOKEN, "new"))
    for token in (TOKEN, "new"):
        fields = form(1, "ringing", Token=token)
        headers = sign(PUBLIC, fields, token=token)
        async with http.post(listener.url + "/status", data=fields, headers=headers) as answer:
            assert answer.status == 204
    assert listener.accepted == 2


async def test_a_replayed_callback_is_a_duplicate(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "completed", number=3)
    for _ in range(3):
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            assert answer.status == 204
    await reports.of(3)
    assert [is_new for _, is_new in reports.events] == [True, False, False]
    assert (listener.accepted, listener.duplicates) == (1, 2)
    assert len(list(store.replay(since=None))) == 1


async def test_every_sample_is_taken_in(start: Start, reports: Reports, http: aiohttp.ClientSession) -> None:
    listener = await start()
    statuses = {}
    sent = samples("callbacks.jsonl")
    for sample in sent:
        body = sample.get("raw_body") or urlencode(sample["params"])
        if sample["method"] == "GET":
            url = URL(f"{listener.url}/status?{body}", encoded=True)
            reply = http.get(url, headers=sign(f"{PUBLIC}?{body}"))
        else:
            headers = sign(PUBLIC, sample["params"]) | {"Content-Type": "application/x-www-form-urlencoded"}
            reply = http.post(listener.url + "/status", data=body, headers=headers)
        async with reply as answer:
            statuses[sample["id"]] = answer.status
    events = await reports.of(len(sent) - 1)
    requests = {number for number, status in statuses.items() if status == 404}
    assert len(requests) == sum(event.kind == "twiml-request" for event in events)
    assert {status for number, status in statuses.items() if number not in requests} == {204}
    assert (listener.refused, listener.failed, listener.ignored) == (0, 0, 1)


async def test_a_request_for_twiml_is_shown_but_gets_none(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    fields = form(1, "ringing", ApiVersion="2010-04-01")
    del fields["CallbackSource"]
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 404
        assert "status callbacks" in await answer.text()
    (event,) = await reports.of(1)
    assert event.kind == "twiml-request"


async def test_unverified_takes_in_everything_and_marks_it(
    start: Start, reports: Reports, http: aiohttp.ClientSession
) -> None:
    listener = await start(keys=None)
    async with http.post(listener.url + "/status", data=form(1, "ringing")) as answer:
        assert answer.status == 204
    (event,) = await reports.of(1)
    assert not event.verified


async def test_no_key_at_all_is_said_at_once(start: Start) -> None:
    with pytest.raises(SettingsError, match="API key") as caught:
        await start(keys=())
    assert caught.value.hint is not None
    assert "CALLCTL_SIGNING_TOKEN" in caught.value.hint


async def test_a_store_that_fails_is_said_once_and_recovers(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    failing = FailingStore(store)
    listener = await start(kept_by=failing)
    fields = form(1, "ringing")

    async def status() -> int:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    assert [await status(), await status()] == [500, 500]
    assert (listener.failed, listener.accepted, reports.events) == (2, 0, [])
    failing.fails = False
    assert await status() == 204
    failing.fails = True
    assert await status() == 500
    # One for each time it began to fail, and one for the end.
    assert ["disk is full" in text for text in reports.troubles] == [True, False, True]
    assert [(text.cause, text.status, text.is_over) for text in reports.troubles] == [
        ("store", 500, False),
        ("store", None, True),
        ("store", 500, False),
    ]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (StoreError("can't write to /home/ann/events.db"), 500),
        (KeyError("/home/ann/events.db"), 500),
        (StoreAwayError("can't reach the event store /home/ann"), 503),
        (StoreBusyError("can't write to the event store /home/ann: a lock"), 503),
    ],
    ids=repr,
)
async def test_whatever_keeps_an_event_from_being_stored_health_says_so_until_one_is(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession, failure: Exception, status: int
) -> None:
    failing = FailingStore(store, failure)
    listener = await start(kept_by=failing)
    fields = form(1, "ringing")

    async def send() -> tuple[int, int, str | None]:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            status = answer.status
        async with http.get(listener.health_url) as answer:
            health = await answer.json()
            assert health["nonce"] == "a-nonce"
            assert "/home/ann" not in str(health)  # anybody may ask
            return status, answer.status, why_callbacks_may_be_lost(health)

    why = f"it can't store callbacks now and answers with {status}"
    assert await send() == (status, 503, why)
    assert await send() == (status, 503, why)
    assert len(reports.troubles) == 1
    failing.fails = False
    assert await send() == (204, 200, None)


async def test_a_test_of_the_store_that_callbacks_belie_counts_less_until_one_is_stored(
    start: Start, reports: Reports, store: SqliteStore
) -> None:
    failing = FailingStore(store)
    listener = await start(kept_by=failing)

    async def fails() -> None:
        assert (await post(listener.url + "/status", form(1, "ringing"), signed_url=PUBLIC))[0] == 500

    async def tests_until_it_works() -> int:
        await fails()
        number = 0
        while not listener.store_works:
            listener.store_tested(passed=True)
            number += 1
        return number

    assert [await tests_until_it_works() for _ in range(4)] == [1, 2, 4, 8]
    await fails()
    outcomes = [True] * 15 + [False] + [True] * 15  # sixteen that pass, one after the other, are needed
    for passed in outcomes:
        listener.store_tested(passed=passed)
    await fails()
    listener.store_tested(passed=True)
    assert not listener.store_works
    assert [trouble.is_over for trouble in reports.troubles] == [False, True] * 4 + [False]
    failing.fails = False
    assert (await post(listener.url + "/status", form(1, "ringing"), signed_url=PUBLIC))[0] == 204
    failing.fails = True
    assert await tests_until_it_works() == 1


async def test_a_disk_that_does_not_answer_keeps_nobody_waiting_until_twilio_gives_up(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start(limits=Limits(store_seconds=0.5))
    fields = form(1, "ringing")

    async def send() -> int:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    with store._writing._lock:  # as while its thread is in a write that hangs
        assert await send() == 500
        async with http.get(listener.health_url) as answer:
            assert answer.status == 503
    assert "takes longer than 0.5 s" in reports.troubles[0]
    while await send() != 204:  # once what hung is over
        pass
    async with http.get(listener.health_url) as answer:
        assert answer.status == 200


async def test_what_waits_for_a_store_that_hangs_is_answered_with_500_soon_after_the_listener_is_to_stop(
    start: Start, reports: Reports, store: SqliteStore
) -> None:
    listener = await start(limits=Limits(store_seconds=1000, stop_seconds=1000, last_store_seconds=0.05))
    url = listener.url + "/status"
    with store._writing._lock:
        waiting = [asyncio.create_task(post(url, form(call, "ringing"), signed_url=PUBLIC)) for call in (1, 2)]
        await until(lambda: listener.counts.pending == 2)
        await listener.stop()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [500, 500]
    assert reports.troubles[-1] == "2 events that came last may be missing from the event store"


async def test_a_listener_that_stored_what_came_last_has_nothing_to_report(
    start: Start, reports: Reports, store: SqliteStore
) -> None:
    failing = FailingStore(store)
    listener = await start(kept_by=failing)
    url = listener.url + "/status"
    assert (await post(url, form(1, "ringing"), signed_url=PUBLIC))[0] == 500
    failing.fails = False
    assert (await post(url, form(1, "ringing"), signed_url=PUBLIC))[0] == 204
    await listener.stop()
    assert reports.troubles[-1] == "events are stored again"


async def test_what_was_kept_though_it_was_answered_with_500_is_reported_once_it_is_sent_again(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    # Long enough for a commit on a busy machine: within 0.2 s it was not always made, and answered with 500 once more.
    listener = await start(limits=Limits(store_seconds=2.0))
    fields = form(1, "ringing")

    async def send() -> int:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    with store._writing._lock:
        assert await send() == 500
    await until(lambda: store.call(fields["CallSid"]) is not None)
    assert [await send(), await send()] == [204, 204]
    await reports.of(2)
    assert [is_new for _, is_new in reports.events] == [True, False]
    assert (listener.failed, listener.accepted, listener.duplicates) == (1, 1, 1)


async def test_a_full_database_is_answered_with_500_until_there_is_room(
    start: Start, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    (pages,) = store._writing.connection.execute("PRAGMA page_count").fetchone()
    store._writing.connection.execute(f"PRAGMA max_page_count = {pages}")
    fields = form(1, "ringing", Filler="x" * 30_000)
    statuses = []
    for room in (pages, 100_000):
        store._writing.connection.execute(f"PRAGMA max_page_count = {room}")
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            statuses.append(answer.status)
    assert statuses == [500, 204]


async def test_health_is_reported_to_who_asks(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start()
    async with http.get(listener.health_url) as answer:
        record = await answer.json()
        assert (answer.status, record["status"], record["nonce"]) == (200, "ok", "a-nonce")
        assert record["version"]


async def test_health_shows_no_password_of_the_public_url(start: Start, http: aiohttp.ClientSession) -> None:
    listener = await start(public_url="https://ann:secret@example.com/status")
    async with http.get(listener.url + "/healthz") as answer:
        assert (await answer.json())["callback_url"] == "https://ann:***@example.com/status"


async def test_a_taken_port_is_named(start: Start) -> None:
    listener = await start()
    with pytest.raises(PortTakenError, match=str(listener.port)) as caught:
        await start(port=listener.port)
    assert caught.value.hint is not None
    assert "--port" in caught.value.hint


async def test_an_address_that_is_not_ours_is_named(store: SqliteStore, reports: Reports) -> None:
    listener = Listener(
        ListenerConfig(address=Address("192.0.2.1", 0, "/status", None), keys=[TOKEN], world="w"),
        append=store.append_async,
        on_event=reports.take,
        now=reports.now,
    )
    with pytest.raises(CallctlError, match=r"192\.0\.2\.1"):
        await listener.start()


async def test_many_at_once_are_all_kept(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start()

    async def send(call: int) -> int:
        fields = form(call % 50, "in-progress", number=call)
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            return answer.status

    assert set(await asyncio.gather(*(send(call) for call in range(300)))) == {204}
    assert len(await reports.of(300)) == len(list(store.replay(since=None))) == 300


async def test_it_stops_while_a_client_is_connected(start: Start) -> None:
    listener = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    async with asyncio.timeout(20):
        await listener.stop()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", listener.port)
    writer.close()


@pytest.mark.parametrize("rest", [True, False])
async def test_a_request_that_is_coming_in_when_it_stops_is_answered_if_the_rest_comes(
    start: Start, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, rest: bool
) -> None:
    real, has_header = server_module.receive, asyncio.Event()

    async def receive(*args: Any, **more: Any) -> ReceivedRequest:
        has_header.set()
        return await real(*args, **more)

    monkeypatch.setattr(listener_module, "receive", receive)
    listener = await start(limits=Limits(stop_seconds=60.0 if rest else 0.05))
    fields = form(1, "ringing")
    body = urlencode(fields).encode()
    head = [f"{name}: {value}" for name, value in sign(PUBLIC, fields).items()]
    head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    idle, idle_writer = await asyncio.open_connection("127.0.0.1", listener.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    async with asyncio.timeout(60):
        idle_writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await idle.readuntil(b"}")
        writer.write("\r\n".join(["POST /status HTTP/1.1", "Host: x", *head, "", ""]).encode())
        await has_header.wait()  # it waits for its body
        stopping = asyncio.create_task(listener.stop())
        assert await idle.read() == b""  # one without a request is closed at once
        if rest:
            writer.write(body)
        answer = await reader.read()
        await stopping
    assert (b" 204 " in answer, b"Connection: close" in answer) == (rest, rest)
    assert len(list(store.replay(since=None))) == rest
    idle_writer.close()
    writer.close()


async def test_what_twilio_appends_to_a_url_counts_not_what_the_url_had(
    start: Start, reports: Reports, http: aiohttp.ClientSession, store: SqliteStore
) -> None:
    listener = await start()
    own = "?From=me&CallStatus=done&CallSid=mine"
    query = f"{own}&{urlencode(form(1, 'ringing'))}"
    async with http.get(URL(f"{listener.url}/status{query}", encoded=True), headers=sign(PUBLIC + query)) as answer:
        assert answer.status == 204
    (event,) = await reports.of(1)
    assert (event.call_sid, event.status, event.from_) == (sid(1), "ringing", "+15005550006")
    assert list(store.replay(since=None)) == [event]


async def test_a_subaccounts_get_is_explained(start: Start, reports: Reports, http: aiohttp.ClientSession) -> None:
    listener = await start()
    query = "?" + urlencode(form(1, "ringing") | {"AccountSid": "AC" + "1" * 32})
    headers = sign(PUBLIC + query, token="its own")
    async with http.get(URL(f"{listener.url}/status{query}", encoded=True), headers=headers) as answer:
        assert answer.status == 403
    assert [text.split(": ")[1] for text in reports.troubles] == ["other account"]


async def test_detections_recordings_and_conferences_are_stored_answered_and_counted_by_kind(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start()
    recording = {"CallSid": sid(1), "RecordingSid": "RE1", "RecordingStatus": "completed", "RecordingDuration": "25"}
    sent = [
        {"CallSid": sid(1), "AnsweredBy": "fax", "MachineDetectionDuration": "3400"},
        recording,
        {"ConferenceSid": "CF1", "StatusCallbackEvent": "conference-start"},
        {"ConferenceSid": "CF1", "StatusCallbackEvent": "participant-join", "CallSid": sid(1)},
        recording,
    ]
    for fields in sent:
        async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
            assert answer.status == 204
    events = await reports.of(5)
    assert [event.kind for event in events] == ["amd", "recording", "conference", "conference", "recording"]
    assert list(store.replay(since=None)) == events[:4]
    assert listener.features == {"amd": 1, "recording": 1, "conference": 2}
    assert (listener.accepted, listener.duplicates, listener.ignored) == (0, 1, 0)


async def test_callbacks_without_a_status_get_no_twiml_where_documents_are_served(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    failing = FailingStore(store)
    listener = await start(kept_by=failing, documents=("survey",))
    url, fields = PUBLIC.replace("status", "twiml/survey"), {"CallSid": sid(1), "AnsweredBy": "fax"}

    async def status() -> int:
        async with http.post(listener.url + "/twiml/survey", data=fields, headers=sign(url, fields)) as answer:
            return answer.status

    assert await status() == 500
    failing.fails = False
    assert await status() == 204
    assert [event.kind for event in await reports.of(1)] == ["amd"]


async def test_a_recording_that_can_not_be_stored_is_not_acknowledged(
    start: Start, reports: Reports, store: SqliteStore, http: aiohttp.ClientSession
) -> None:
    listener = await start(kept_by=FailingStore(store))
    fields = {"CallSid": sid(1), "RecordingSid": "RE1", "RecordingStatus": "completed"}
    async with http.post(listener.url + "/status", data=fields, headers=sign(PUBLIC, fields)) as answer:
        assert answer.status == 500
    assert (listener.failed, listener.features, reports.events) == (1, {}, [])
