"""Recordings of a whole call and of a Dial: from when to when, and who is told."""

import pytest
from simulator.setup import ANSWERS, BUSY, HANGS_UP, LATE, NEVER, SimulatorSetup, simulator_setup

from callctl.simulator import FarEnd

EVENTS = ["in-progress", "completed", "absent"]


def recording_callbacks(setup: SimulatorSetup) -> list[dict[str, str]]:
    return [request.form for request in setup.listener.at("/status/recording")]


async def recorded(setup: SimulatorSetup, to: str = HANGS_UP, **params: object) -> str:
    """Place a call that is recorded as a whole; return its SID when it is over."""
    callback = {"RecordingStatusCallback": f"{setup.status}/recording", "RecordingStatusCallbackEvent": EVENTS}
    call = await setup.place(to, **({"Record": "true"} | callback | params))
    await setup.advance(30)
    return str(call["sid"])


async def dialled(setup: SimulatorSetup, record: str, to: str = HANGS_UP, **attributes: str) -> str:
    """Place a call whose document dials and records; its action is /after. Return its SID when it is over."""
    attributes = {"record": record, "action": "/after", "recordingStatusCallback": "/status/recording"} | attributes
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    number = f'<Number statusCallback="{setup.status}">{to}</Number>'
    setup.listener.documents |= {
        "/dial": f"<Response><Dial{extra}>{number}</Dial></Response>",
        "/after": "<Response><Hangup/></Response>",
    }
    call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/dial")
    await setup.advance(30)
    return str(call["sid"])


async def test_a_whole_call(setup: SimulatorSetup) -> None:
    sid = await recorded(setup)
    begun, ended = recording_callbacks(setup)
    assert (begun["RecordingStatus"], ended["RecordingStatus"], ended["RecordingDuration"]) == (*EVENTS[:2], "5")
    assert {form["RecordingSource"] for form in (begun, ended)} == {"OutboundAPI"}
    last = setup.last(sid)
    assert (last["RecordingSid"], last["RecordingDuration"]) == (ended["RecordingSid"], "5")
    assert last["RecordingUrl"] == ended["RecordingUrl"]


async def test_its_options(setup: SimulatorSetup) -> None:
    await recorded(
        setup, RecordingChannels="dual", RecordingTrack="inbound", RecordingStatusCallbackEvent="in-progress completed"
    )
    assert len(recording_callbacks(setup)) == 2  # separated by spaces
    for form in recording_callbacks(setup):
        assert (form["RecordingChannels"], form["RecordingTrack"]) == ("2", "inbound")


@pytest.mark.parametrize("to", [BUSY, NEVER])
async def test_a_call_that_nobody_answers_is_not_recorded(setup: SimulatorSetup, to: str) -> None:
    sid = await recorded(setup, to, Timeout="5")
    assert recording_callbacks(setup) == []
    assert "RecordingSid" not in setup.last(sid)


@pytest.mark.parametrize("record", ["false", ""])
async def test_without_record_its_options_do_nothing(setup: SimulatorSetup, record: str) -> None:
    await recorded(setup, Record=record)
    assert recording_callbacks(setup) == []


@pytest.mark.parametrize(
    "params",
    [
        {"RecordingChannels": "three"},
        {"RecordingTrack": "mine"},
        {"Trim": "yes"},
        {"RecordingStatusCallback": "/relative"},
        {"RecordingStatusCallbackMethod": "PUT"},
    ],
)
async def test_options_that_make_no_sense_are_refused(setup: SimulatorSetup, params: dict[str, str]) -> None:
    form = {"To": ANSWERS, "From": "+15005550006", "Twiml": "<Response/>", "Record": "true"} | params
    status, _ = await setup.request("POST", f"{setup.account}/Calls.json", form)
    assert status == 400


@pytest.mark.parametrize(
    ("record", "length", "channels"),
    [
        ("record-from-answer", "5", "1"),
        ("true", "5", "1"),
        ("record-from-answer-dual", "5", "2"),
        ("record-from-ringing", "7", "1"),
        ("record-from-ringing-dual", "7", "2"),
    ],
)
async def test_a_dial(setup: SimulatorSetup, record: str, length: str, channels: str) -> None:
    sid = await dialled(setup, record)
    (form,) = recording_callbacks(setup)
    assert (form["RecordingDuration"], form["RecordingChannels"]) == (length, channels)
    assert (form["RecordingSource"], form["CallSid"]) == ("DialVerb", sid)
    (action,) = (request.form for request in setup.listener.at("/after"))
    assert (action["RecordingUrl"], action["RecordingSid"]) == (form["RecordingUrl"], form["RecordingSid"])
    assert action["DialCallStatus"] == "completed"
    (child,) = await setup.children(sid)
    assert setup.last(child["sid"])["RecordingSid"] == form["RecordingSid"]
    assert "RecordingSid" not in setup.last(sid)


@pytest.mark.parametrize("record", ["do-not-record", "false", ""])
async def test_a_dial_that_is_not_recorded(setup: SimulatorSetup, record: str) -> None:
    sid = await dialled(setup, record)
    assert recording_callbacks(setup) == []
    assert "RecordingUrl" not in setup.listener.at("/after")[0].form
    assert await setup.notes(sid) == []


async def test_another_value_is_noted(setup: SimulatorSetup) -> None:
    sid = await dialled(setup, "record-from-start")
    assert await setup.notes(sid) == [("13217", "1")]
    assert recording_callbacks(setup) == []


async def test_a_dial_that_nobody_answers_is_not_recorded_from_the_answer(setup: SimulatorSetup) -> None:
    await dialled(setup, "true", BUSY)
    assert recording_callbacks(setup) == []


@pytest.mark.parametrize("who", ["parent", "child"])
async def test_a_redirect_ends_the_recording_of_a_dial(setup: SimulatorSetup, who: str) -> None:
    setup.listener.documents |= {"/on": "<Response><Pause length='20'/></Response>"}
    number = f"<Number>{ANSWERS}</Number>"
    attributes = 'record="true" action="/after" recordingStatusCallback="/status/recording"'
    setup.listener.documents["/dial"] = f"<Response><Dial {attributes}>{number}</Dial></Response>"
    call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/dial")
    await setup.advance(2.3 + 0.1 + 2.2 + 4)
    (child,) = await setup.children(call["sid"])
    await setup.update({"parent": call, "child": child}[who]["sid"], Url=f"{setup.listener.url}/on")
    await setup.advance(10)
    (form,) = recording_callbacks(setup)
    assert form["RecordingDuration"] == "4"
    (action,) = (request.form for request in setup.listener.at("/after"))
    assert action["RecordingSid"] == form["RecordingSid"]


async def test_the_caller_of_a_recorded_dial_hangs_up() -> None:
    async with simulator_setup(far_end={ANSWERS: FarEnd(hang_up_after=6.3)}) as setup:
        await dialled(setup, "true", LATE, sequential="true")
        assert recording_callbacks(setup) == []
        setup.listener.arrived.clear()
        await dialled(setup, "true", "+12025550160")
        (form,) = recording_callbacks(setup)
        assert form["RecordingDuration"] == "4"


async def conference(setup: SimulatorSetup, *wishes: str) -> list[str]:
    """Let a call enter a conference for each wish as to its recording, a second apart; return their SIDs."""
    calls = []
    for wish in wishes:
        noun = f'<Conference {wish} recordingStatusCallback="{setup.status}/recording">room</Conference>'
        call = await setup.place(ANSWERS, Twiml=f"<Response><Dial>{noun}</Dial></Response>")
        await setup.advance(3)
        calls.append(str(call["sid"]))
    return calls


async def test_a_conference_is_recorded_from_its_start_to_its_end(setup: SimulatorSetup) -> None:
    first, second = await conference(
        setup, 'record="record-from-start" recordingStatusCallbackEvent="in-progress completed"', ""
    )
    await setup.advance(6)
    await setup.update(second, Status="completed")
    await setup.advance(1)
    await setup.update(first, Status="completed")
    await setup.advance(2)
    begun, ended = recording_callbacks(setup)
    assert (ended["RecordingStatus"], ended["RecordingSource"]) == ("completed", "Conference")
    assert ended["RecordingDuration"] == "8"  # 0.7 s of the second's own three, 6 and 1
    assert ended["ConferenceSid"] == begun["ConferenceSid"]
    assert ended["ConferenceSid"].startswith("CF")
    assert "CallSid" not in ended
    assert [await setup.notes(sid) for sid in (first, second)] == [[], []]


@pytest.mark.parametrize("wish", ['record="do-not-record"', "", 'record="true"'])
async def test_a_conference_is_not_recorded(setup: SimulatorSetup, wish: str) -> None:
    first, second = await conference(setup, wish, 'record="record-from-start"')  # the first decides
    await setup.update(first, Status="completed")
    await setup.update(second, Status="completed")
    await setup.advance(5)
    assert recording_callbacks(setup) == []
    assert await setup.notes(first) == ([("12200", "1")] if "true" in wish else [])


async def test_a_conference_that_never_begins_is_not_recorded(setup: SimulatorSetup) -> None:
    (only,) = await conference(setup, 'record="record-from-start"')
    await setup.update(only, Status="completed")
    await setup.advance(5)
    assert recording_callbacks(setup) == []


async def test_participants_and_their_conference_are_recorded(setup: SimulatorSetup) -> None:
    callback = f"{setup.status}/recording"
    form = {
        "From": "+15005550006",
        "Record": "true",
        "RecordingStatusCallback": callback,
        "RecordingStatusCallbackEvent": "started in-progress stopped completed",
        "ConferenceRecord": "record-from-start",
        "ConferenceRecordingStatusCallback": f"{callback}/room",
    }
    path = f"{setup.account}/Conferences/room/Participants.json"
    for to in (ANSWERS, HANGS_UP):
        assert (await setup.request("POST", path, form | {"To": to}))[0] == 201
    await setup.advance(20)
    conferences = (await setup.request("GET", f"{setup.account}/Conferences.json"))[1]["conferences"]
    await setup.request("POST", f"{setup.account}/Conferences/{conferences[0]['sid']}.json", {"Status": "completed"})
    await setup.advance(5)
    seen = [(form["RecordingStatus"], form["CallSid"]) for form in recording_callbacks(setup)]
    for sid in {sid for _, sid in seen}:
        assert [status for status, of in seen if of == sid] == ["started", "in-progress", "stopped", "completed"]
    (room,) = setup.listener.at("/status/recording/room")
    assert room.form["ConferenceSid"] == conferences[0]["sid"]
    bad = form | {"To": ANSWERS, "ConferenceRecord": "maybe"}
    assert (await setup.request("POST", path, bad))[0] == 400


async def test_the_oldest_are_dropped() -> None:
    async with simulator_setup(keep_finished=2) as setup:
        for _ in range(3):
            await recorded(setup)
        status, body = await setup.request("GET", f"{setup.account}/Recordings.json")
        assert (status, len(body["recordings"])) == (200, 2)


async def test_a_seed_gives_the_same_sids() -> None:
    sids = []
    for _ in range(2):
        async with simulator_setup(seed=7) as setup:
            await recorded(setup)
            sids.append(recording_callbacks(setup)[0]["RecordingSid"])
    assert sids[0] == sids[1]
