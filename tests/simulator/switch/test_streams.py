"""Media streams: what an application hears of a call, what it may say, and what ends them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulator.media_application import CLEAR, MediaApplication, Message, mark, sound
from simulator.setup import ANSWERS, SimulatorSetup, served, simulator_setup

from callctl.simulator.outgoing import websocket
from callctl.simulator.switch import streams

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner))
BODIES = st.dictionaries(st.sampled_from(["payload", "name"]), JSON) | JSON
MESSAGES = st.fixed_dictionaries(
    {"event": st.sampled_from(["media", "mark", "clear", "stop"]) | JSON}, optional={"media": BODIES, "mark": BODIES}
)


@pytest.fixture
async def media(setup: SimulatorSetup) -> AsyncIterator[MediaApplication]:
    application = MediaApplication(setup.sim.auth_token)
    async with served(application.handle) as url:
        application.url = url.replace("http:", "wss:")
        yield application
    assert all(application.signed)


def connect(media: MediaApplication, more: str = "", *, attributes: str = "", action: str = "") -> str:
    stream = f"<Stream url='{media.url}/media' {attributes}>{more}</Stream>"
    return f"<Response><Connect {action}>{stream}</Connect><Pause length='5'/></Response>"


def start(media: MediaApplication, then: str, *, attributes: str = "") -> str:
    return f"<Response><Start><Stream url='{media.url}/media' {attributes}/></Start>{then}</Response>"


def reports(setup: SimulatorSetup) -> list[dict[str, str]]:
    return [arrived.form for arrived in setup.listener.at("/status/stream")]


def stream_events(setup: SimulatorSetup) -> list[str]:
    return [form["StreamEvent"] for form in reports(setup)]


async def test_an_application_hears_all_messages_in_order(setup: SimulatorSetup, media: MediaApplication) -> None:
    parameters = "<Parameter name='name' value='Ann'/><Parameter name='plan' value='gold'/>"
    report = f"statusCallback='{setup.status}/stream'"
    call = await setup.place(ANSWERS, Twiml=connect(media, parameters, attributes=f"name='agent' {report}"))
    await setup.advance(5)
    await setup.by_hand(call["sid"], "press", digits="1#")
    await setup.advance(1)
    await setup.update(call["sid"], Status="completed")
    await setup.advance(0)
    assert media.events("media") == ["connected", "start", "dtmf", "dtmf", "stop"]
    assert media.heard[0] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    begin = media.heard[1]
    sid = begin["streamSid"]
    assert sid.startswith("MZ")
    assert len(sid) == 34
    assert begin == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": setup.sim.account_sid,
            "streamSid": sid,
            "callSid": call["sid"],
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"name": "Ann", "plan": "gold"},
        },
        "streamSid": sid,
    }
    frames = media.of("media")
    assert frames[0]["media"]["track"] == "inbound"
    assert [frame["media"]["chunk"] for frame in frames] == [str(number + 1) for number in range(len(frames))]
    assert [int(frame["media"]["timestamp"]) for frame in frames] == [20 * (n + 1) for n in range(len(frames))]
    assert {base64.b64decode(frame["media"]["payload"]) for frame in frames} == {b"\xff" * 160}
    assert [frame["dtmf"] for frame in media.of("dtmf")] == [
        {"track": "inbound_track", "digit": digit} for digit in "1#"
    ]
    assert media.heard[-1]["stop"] == {"accountSid": setup.sim.account_sid, "callSid": call["sid"]}
    assert [int(message["sequenceNumber"]) for message in media.heard[1:]] == list(range(1, len(media.heard)))
    assert {message["streamSid"] for message in media.heard[1:]} == {sid}
    assert media.closes == [1000]
    assert [(form["StreamEvent"], form["StreamName"], form["StreamSid"]) for form in reports(setup)] == [
        ("stream-started", "agent", sid),
        ("stream-stopped", "agent", sid),
    ]
    assert set(reports(setup)[0]) == {*("AccountSid", "CallSid", "StreamSid", "StreamName", "StreamEvent", "Timestamp")}
    assert not await setup.notes(call["sid"])


async def test_sound_lasts_as_long_as_the_stream(setup: SimulatorSetup, media: MediaApplication) -> None:
    await setup.place(ANSWERS, Twiml=connect(media))
    await setup.advance(5)
    before = len(media.of("media"))
    await setup.advance(10)
    assert len(media.of("media")) == before + 500


async def test_a_mark_comes_back_when_the_sound_before_it_is_played(
    setup: SimulatorSetup, media: MediaApplication
) -> None:
    at: list[tuple[str, float]] = []

    def answer(message: Message) -> list[Message]:
        at.append((message["event"], setup.sim.simulated_seconds()))
        return [mark("empty"), sound(2), mark("two"), sound(1), mark("three")] if message["event"] == "start" else []

    media.on_message = answer
    await setup.place(ANSWERS, Twiml=connect(media))
    await setup.advance(10)
    assert [message["mark"]["name"] for message in media.of("mark")] == ["empty", "two", "three"]
    began = next(when for event, when in at if event == "start")
    assert [when - began for event, when in at if event == "mark"] == pytest.approx([0, 2, 3])


async def test_clear_brings_back_the_marks_that_wait(setup: SimulatorSetup, media: MediaApplication) -> None:
    def answer(message: Message) -> list[Message]:
        match message["event"]:
            case "start":
                return [sound(60), mark("one"), sound(60), mark("two")]
            case "dtmf":
                return [CLEAR, mark("after")]
        return []

    media.on_message = answer
    call = await setup.place(ANSWERS, Twiml=connect(media))
    await setup.advance(5)
    assert not media.of("mark")
    await setup.by_hand(call["sid"], "press", digits="*")
    await setup.advance(0)
    assert [message["mark"]["name"] for message in media.of("mark")] == ["one", "two", "after"]


@pytest.mark.parametrize("with_action", [True, False])
async def test_the_call_goes_on_when_the_application_closes(
    with_action: bool,
    setup: SimulatorSetup,
    media: MediaApplication,
) -> None:
    media.on_message = lambda message: None if message["event"] == "dtmf" else []
    setup.listener.documents["/after"] = "<Response><Pause length='5'/></Response>"
    action = f"action='{setup.listener.url}/after'" if with_action else ""
    report = f"statusCallback='{setup.status}/stream'"
    call = await setup.place(ANSWERS, Twiml=connect(media, attributes=report, action=action))
    await setup.advance(120)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"  # as long as the socket
    await setup.by_hand(call["sid"], "press", digits="0")
    await setup.advance(1)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"
    assert len(setup.listener.at("/after")) == with_action
    assert stream_events(setup) == ["stream-started", "stream-stopped"]
    await setup.advance(10)
    assert setup.statuses(call["sid"])[-1] == "completed"
    assert "stop" not in media.events()


async def test_a_redirect_ends_it_without_its_action(setup: SimulatorSetup, media: MediaApplication) -> None:
    action = f"action='{setup.listener.url}/after'"
    call = await setup.place(ANSWERS, Twiml=connect(media, action=action))
    await setup.advance(5)
    status, _ = await setup.update(call["sid"], Twiml="<Response><Pause length='60'/></Response>")
    assert status == 200
    await setup.advance(5)
    assert media.events("media") == ["connected", "start", "stop"]
    assert not setup.listener.at("/after")
    await setup.check_goes_on(call["sid"])


async def test_an_application_listens_while_the_document_goes_on(
    setup: SimulatorSetup, media: MediaApplication
) -> None:
    stop = "<Stop><Stream name='ear'/></Stop>"
    report = f"statusCallback='{setup.status}/stream'"
    document = start(
        media,
        f"<Pause length='2'/>{stop}<Pause length='60'/>",
        attributes=f"name='ear' track='both_tracks' {report}",
    )
    call = await setup.place(ANSWERS, Twiml=document)
    await setup.advance(10)
    assert media.events("media") == ["connected", "start", "stop"]
    assert media.of("start")[0]["start"]["tracks"] == ["inbound", "outbound"]
    frames = media.of("media")
    assert [frame["media"]["track"] for frame in frames] == ["inbound", "outbound"] * 100
    assert [frame["media"]["chunk"] for frame in frames[:4]] == ["1", "1", "2", "2"]
    assert stream_events(setup) == ["stream-started", "stream-stopped"]
    assert not await setup.notes(call["sid"])
    await setup.check_goes_on(call["sid"])


async def test_it_listens_until_the_call_ends_through_a_redirect(
    setup: SimulatorSetup, media: MediaApplication
) -> None:
    call = await setup.place(ANSWERS, Twiml=start(media, "<Pause length='60'/>"))
    await setup.advance(5)
    await setup.update(call["sid"], Twiml="<Response><Pause length='7'/></Response>")
    await setup.advance(5)
    assert "stop" not in media.events()
    await setup.by_hand(call["sid"], "press", digits="1")
    await setup.advance(5)
    assert media.events("media") == ["connected", "start", "stop"]  # keys are for those who talk (STRM)
    assert (await setup.fetch(call["sid"]))["status"] == "completed"


async def test_who_only_listens_may_say_nothing(setup: SimulatorSetup, media: MediaApplication) -> None:
    media.on_message = lambda message: [sound(1), mark("x")] if message["event"] == "start" else []
    call = await setup.place(ANSWERS, Twiml=start(media, "<Pause length='60'/>"))
    await setup.advance(10)
    assert await setup.notes(call["sid"]) == [("31924", "0")]
    assert "mark" not in media.events()


@pytest.mark.parametrize(
    "answer",
    [
        {"event": "music"},
        {"event": "media", "media": {"payload": "no base64!"}},
        {"event": "media"},
        {"event": "mark", "mark": "x"},
        {},
    ],
)
async def test_what_is_no_message_is_noted_once(
    answer: Message, setup: SimulatorSetup, media: MediaApplication
) -> None:
    media.on_message = lambda message: [answer, answer, mark("x")] if message["event"] == "start" else []
    call = await setup.place(ANSWERS, Twiml=connect(media))
    await setup.advance(10)
    assert await setup.notes(call["sid"]) == [("31924", "0")]
    assert "mark" in media.events()


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ("url='/media'", "31923"),  # the document has no address
        ("", "31923"),
        ("url='wss://[oh'", "31923"),
        ("url='ws://127.0.0.1:9/media'", "31922"),
        ("url='https://127.0.0.1:9/media'", "31922"),
        ("url='wss://127.0.0.1:9/media' track='outbound_track'", "31941"),
        ("url='wss://127.0.0.1:1/media'", "31902"),
        ("url='wss://example.com/media'", "31901"),
    ],
)
async def test_a_stream_that_can_not_be_opened(attributes: str, code: str, setup: SimulatorSetup) -> None:
    report = f"statusCallback='{setup.status}/stream'"
    document = f"<Response><Connect><Stream {report} {attributes}/></Connect><Pause length='60'/></Response>"
    call = await setup.place(ANSWERS, Twiml=document)
    await setup.advance(5)
    assert await setup.notes(call["sid"]) == [(code, "0")]
    (form,) = reports(setup)
    assert form["StreamEvent"] == "stream-error"
    assert form["StreamError"]
    _, body = await setup.request("GET", f"{setup.account}/Calls/{call['sid']}/Notifications.json")
    given = attributes.partition("'")[2].partition("'")[0]
    assert given in body["notifications"][0]["message_text"] or code == "31941"
    await setup.check_goes_on(call["sid"])


async def test_a_relative_address_and_a_query(setup: SimulatorSetup) -> None:
    """The address is relative to the document's, and its query does not arrive."""
    setup.listener.documents["/answer"] = (
        "<Response><Connect><Stream url='/media?token=1'/></Connect><Pause length='60'/></Response>"
    )
    call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/answer")
    await setup.advance(5)
    (arrived,) = setup.listener.at("/media")
    assert (arrived.method, arrived.form) == ("GET", {})
    assert await setup.notes(call["sid"]) == [("12200", "1"), ("31920", "0")]  # the listener answers 404
    setup.listener.arrived.remove(arrived)  # it checks the signature of an http URL


async def test_what_else_they_may_hold_is_named(setup: SimulatorSetup) -> None:
    verbs = (
        "<Connect><ConversationRelay url='wss://127.0.0.1:9/relay'/></Connect>"
        "<Connect><VirtualAgent/></Connect><Start><Transcription/></Start><Stop><Transcription/></Stop>"
        "<Stop><Stream name='x'/></Stop>"
    )
    call = await setup.place(ANSWERS, Twiml=f"<Response>{verbs}<Pause length='60'/></Response>")
    await setup.advance(5)
    _, body = await setup.request("GET", f"{setup.account}/Calls/{call['sid']}/Notifications.json")
    texts = " ".join(note["message_text"] for note in body["notifications"])
    for name in ("<ConversationRelay> in <Connect>", "<VirtualAgent>", "<Transcription> in <Start>", "name 'x'"):
        assert name in texts
    assert len(body["notifications"]) == 5
    await setup.check_goes_on(call["sid"])


async def test_streams_end_with_the_simulator() -> None:
    """None of its calls is reported as ended, and its end waits for nothing."""
    async with simulator_setup() as setup:
        media = MediaApplication(setup.sim.auth_token)
        async with served(media.handle) as url:
            media.url = url.replace("http:", "wss:")
            await setup.place(ANSWERS, Twiml=start(media, connect(media)[10:-11]))
            await setup.advance(5)
            assert media.events("media") == ["connected", "start"] * 2
            await setup.sim.__aexit__()
            await setup.sim.__aenter__()
    assert "stop" not in media.events()


async def test_without_a_manual_clock_sound_comes_by_itself() -> None:
    async with simulator_setup(manual_clock=False, speed=50.0) as setup:
        media = MediaApplication(setup.sim.auth_token)
        media.on_message = lambda message: (
            [sound(5), mark("x")] if message["event"] == "start" else None if message["event"] == "mark" else []
        )
        async with served(media.handle) as url:
            media.url = url.replace("http:", "wss:")
            call = await setup.place(ANSWERS, Twiml=connect(media))
            while (await setup.fetch(call["sid"]))["status"] != "completed":
                pass
    assert media.events("media") == ["connected", "start", "mark"]
    assert len(media.of("media")) >= 250


async def test_an_application_that_does_not_read_loses_sound_and_holds_nothing_up(
    setup: SimulatorSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "ANSWERS_WITHIN", 0.01)
    monkeypatch.setattr(websocket, "CLOSES_WITHIN", 0.01)
    monkeypatch.setattr(streams, "SILENCE", "/" * 64 * 1024)  # so that the buffers between them are soon full
    monkeypatch.setattr(streams, "MOST_BACKLOG", 20)
    ended = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        request.transport.pause_reading()
        await ended.wait()
        return socket

    async with served(handle) as url:
        media = MediaApplication(setup.sim.auth_token)
        media.url = url.replace("http:", "wss:")
        call = await setup.place(ANSWERS, Twiml=connect(media))
        await setup.advance(30)
        assert await setup.notes(call["sid"]) == [("31930", "1")]
        await setup.by_hand(call["sid"], "hangup")
        await setup.advance(1)
        assert setup.statuses(call["sid"])[-1] == "completed"
        ended.set()


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.text(), MESSAGES.map(json.dumps)), max_size=20))
async def test_whatever_an_application_says_its_call_goes_on(texts: list[str]) -> None:
    heard: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        for text in texts:
            await socket.send_str(text)
        async for frame in socket:
            heard.append(json.loads(frame.data)["event"])
        return socket

    async with simulator_setup() as setup, served(handle) as url:
        media = MediaApplication(setup.sim.auth_token)
        media.url = url.replace("http:", "wss:")
        call = await setup.place(ANSWERS, Twiml=connect(media))
        await setup.advance(10)
        await setup.by_hand(call["sid"], "press", digits="1")
        await setup.advance(1)
        assert heard[:2] == ["connected", "start"]
        assert "dtmf" in heard
        await setup.by_hand(call["sid"], "hangup")
        await setup.advance(1)
        assert heard[-1] == "stop"
        assert set(await setup.notes(call["sid"])) <= {("31924", "0")}
