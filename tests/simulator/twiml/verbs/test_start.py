"""<Start><Recording> and <Stop>: a call is recorded while it goes on."""

from simulator.setup import Json, SimulatorSetup


async def answered(setup: SimulatorSetup, body: str) -> str:
    """Let a call come in whose document has this in it; return its SID."""
    setup.listener.documents["/start"] = f"<Response>{body}</Response>"
    call = await setup.incoming(f"{setup.listener.url}/start")
    return str(call["sid"])


async def recordings(setup: SimulatorSetup, sid: str) -> list[Json]:
    status, body = await setup.request("GET", f"{setup.account}/Calls/{sid}/Recordings.json")
    assert status == 200
    found: list[Json] = body["recordings"]
    return found


def callback(setup: SimulatorSetup) -> str:
    return f'recordingStatusCallback="{setup.status}/recording"'


async def test_it_is_recorded_until_the_call_ends(setup: SimulatorSetup) -> None:
    events = 'recordingStatusCallbackEvent="in-progress completed"'
    recording = f'<Recording {callback(setup)} {events} track="inbound" trim="do-not-trim"/>'
    sid = await answered(setup, f"<Start>{recording}</Start><Pause length='3'/>")
    await setup.advance(10)
    (found,) = await recordings(setup, sid)
    assert (found["source"], found["channels"], found["duration"]) == ("StartCallRecordingTwiML", 2, "3")
    arrived = [each.form for each in setup.listener.at("/status/recording")]
    assert [form["RecordingStatus"] for form in arrived] == ["in-progress", "completed"]
    assert (arrived[1]["RecordingSource"], arrived[1]["RecordingDuration"]) == ("StartCallRecordingTwiML", "3")
    assert arrived[1]["RecordingTrack"] == "both"
    assert await setup.notes(sid) == []


async def test_it_goes_on_through_a_redirect(setup: SimulatorSetup) -> None:
    sid = await answered(setup, "<Start><Recording channels='mono'/></Start><Pause length='60'/>")
    await setup.advance(2)
    await setup.update(sid, Twiml="<Response><Pause length='60'/></Response>")
    await setup.advance(2)
    assert [(each["status"], each["channels"]) for each in await recordings(setup, sid)] == [("processing", 1)]


async def test_it_is_stopped_by_its_name(setup: SimulatorSetup) -> None:
    start = "<Start><Recording name='whole'/></Start><Pause length='2'/>"
    stop = "<Stop><Recording name='whole'/></Stop>"
    sid = await answered(setup, f"{start}{stop}<Pause length='30'/>{stop}")
    await setup.advance(10)
    assert [(each["status"], each["duration"]) for each in await recordings(setup, sid)] == [("completed", "2")]
    assert await setup.notes(sid) == []
    await setup.advance(30)
    assert await setup.notes(sid) == [("12200", "1")]  # nothing of that name is under way


async def test_a_relative_callback_is_lost(setup: SimulatorSetup) -> None:
    sid = await answered(setup, "<Start><Recording recordingStatusCallback='/status/recording'/></Start>")
    await setup.advance(10)
    assert await setup.notes(sid) == [("11200", "0")]
    assert setup.listener.at("/status/recording") == []
    assert len(await recordings(setup, sid)) == 1


async def test_what_else_is_started_is_noted(setup: SimulatorSetup) -> None:
    sid = await answered(setup, "<Start><Siprec name='it'/></Start><Stop><Siprec name='it'/></Stop>")
    await setup.advance(10)
    assert await setup.notes(sid) == [("12200", "1"), ("12200", "1")]


async def test_a_connect_with_nothing_that_is_imitated_is_noted_by_what_it_holds(setup: SimulatorSetup) -> None:
    sid = await answered(
        setup, "<Connect action='/after' method='GET'><ConversationRelay url='wss://a.test'/></Connect>"
    )
    await setup.advance(10)
    status, body = await setup.request("GET", f"{setup.account}/Calls/{sid}/Notifications.json")
    assert status == 200
    assert ["ConversationRelay" in note["message_text"] for note in body["notifications"]] == [True]
