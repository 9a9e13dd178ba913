"""<Record>: what ends it, how long it is, what its action and its callbacks carry."""

import pytest
from simulator.setup import FROM, ArrivedRequest, SimulatorSetup, simulator_setup

from callctl.simulator import FarEnd

CALLER = "+12025550151"
WORDS = "Please call me back, it is about the boiler again."  # 50 characters: three seconds


async def takes_a_message(setup: SimulatorSetup, *, then: str = "<Hangup/>", **attributes: str) -> str:
    """Let a call come in whose document records; its action is /after. Return the call's SID."""
    url = setup.listener.url
    attributes = {"action": "/after"} | attributes
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    setup.listener.documents["/record"] = f"<Response><Record{extra}/>{then}</Response>"
    setup.listener.documents.setdefault("/after", "<Response><Pause length='5'/></Response>")
    call = await setup.incoming(f"{url}/record", caller=CALLER)
    return str(call["sid"])


def action(setup: SimulatorSetup) -> ArrivedRequest:
    (request,) = setup.listener.at("/after")
    return request


def talker(**far_end: object) -> dict[str, FarEnd]:
    return {CALLER: FarEnd(words=WORDS, **far_end)}  # type: ignore[arg-type]


async def test_silence_after_the_words_ends_it_and_is_trimmed() -> None:
    async with simulator_setup(far_end=talker()) as setup:
        sid = await takes_a_message(setup)
        await setup.advance(20)
        request = action(setup)
        assert request.at == pytest.approx(0.1 + 3 + 5)
        form = request.form
        assert (form["CallSid"], form["CallStatus"], form["RecordingDuration"]) == (sid, "in-progress", "3")
        assert form["RecordingSid"].startswith("RE")
        assert form["RecordingUrl"] == f"{setup.sim.url}{setup.account}/Recordings/{form['RecordingSid']}"
        assert "Digits" not in form


@pytest.mark.parametrize(
    ("attributes", "ends", "length"),
    [
        ({"timeout": "2"}, 5, "3"),
        ({"timeout": "2", "trim": "do-not-trim"}, 5, "5"),
        ({"maxLength": "2"}, 2, "2"),
        ({"timeout": "0", "maxLength": "30"}, 30, "3"),
        ({"timeout": "x", "maxLength": "x"}, 8, "3"),
        ({"playBeep": "false"}, 8, "3"),
    ],
)
async def test_what_its_attributes_say(attributes: dict[str, str], ends: float, length: str) -> None:
    async with simulator_setup(far_end=talker()) as setup:
        sid = await takes_a_message(setup, **attributes)
        await setup.advance(60)
        assert action(setup).at == pytest.approx(0.1 + ends)
        assert action(setup).form["RecordingDuration"] == length
        assert await setup.notes(sid) == []


@pytest.mark.parametrize(("finish_on", "key"), [("", "1"), ("#", "#"), ("1234567890*#", "5")])
async def test_a_key_ends_it(finish_on: str, key: str) -> None:
    async with simulator_setup(far_end=talker()) as setup:
        sid = await takes_a_message(setup, **({"finishOnKey": finish_on} if finish_on else {}))
        await setup.advance(1.1)
        await setup.by_hand(sid, "press", digits=key)
        await setup.advance(1)
        form = action(setup).form
        assert (form["Digits"], form["RecordingDuration"]) == (key, "1")


@pytest.mark.parametrize("finish_on", ["", "#"])
async def test_another_key_does_not(finish_on: str) -> None:
    async with simulator_setup(far_end=talker()) as setup:
        sid = await takes_a_message(setup, finishOnKey=finish_on)
        await setup.advance(1.1)
        await setup.by_hand(sid, "press", digits="12")
        await setup.advance(20)
        assert action(setup).at == pytest.approx(0.1 + 8)
        assert "Digits" not in action(setup).form


async def test_the_caller_hangs_up_and_the_action_is_requested_all_the_same() -> None:
    async with simulator_setup(far_end=talker(hang_up_after=2.1)) as setup:
        sid = await takes_a_message(setup)
        await setup.advance(20)
        form = action(setup).form
        assert (form["Digits"], form["RecordingDuration"], form["CallStatus"]) == ("hangup", "2", "completed")
        assert (await setup.fetch(sid))["status"] == "completed"


async def test_a_redirect_drops_it_without_its_action() -> None:
    async with simulator_setup(far_end=talker()) as setup:
        sid = await takes_a_message(setup, recordingStatusCallback="/status/recording")
        await setup.advance(1.1)
        await setup.update(sid, Twiml="<Response><Pause length='20'/></Response>")
        await setup.advance(20)
        assert setup.listener.at("/after") == []
        (callback,) = setup.listener.at("/status/recording")
        assert callback.form["RecordingDuration"] == "1"


async def test_silence_alone_is_a_short_recording(setup: SimulatorSetup) -> None:
    await takes_a_message(setup, transcribe="true", transcribeCallback="/status/text")
    await setup.advance(20)
    assert action(setup).at == pytest.approx(0.1 + 5)
    assert action(setup).form["RecordingDuration"] == "1"
    assert setup.listener.at("/status/text") == []  # too short


async def test_in_the_other_reading_silence_goes_on_with_the_next_verb() -> None:
    async with simulator_setup(readings=["empty-recording-falls-through"]) as setup:
        setup.listener.documents["/next"] = "<Response/>"
        await takes_a_message(setup, then="<Redirect>/next</Redirect>")
        await setup.advance(20)
        assert (len(setup.listener.at("/next")), setup.listener.at("/after")) == (1, [])


async def test_what_is_said_meanwhile_is_heard(setup: SimulatorSetup) -> None:
    sid = await takes_a_message(setup, transcribe="true", transcribeCallback="/status/text")
    await setup.advance(2.1)
    assert (await setup.by_hand(sid, "say", words=WORDS))[0] == 200
    await setup.advance(1)
    await setup.by_hand(sid, "say", words="And thanks.")
    await setup.advance(20)
    assert action(setup).at == pytest.approx(0.1 + 2 + 3.66 + 5)
    assert action(setup).form["RecordingDuration"] == "4"
    (text,) = setup.listener.at("/status/text")
    assert text.form["TranscriptionText"] == f"{WORDS} And thanks."


async def test_where_nobody_listens_words_are_lost(setup: SimulatorSetup) -> None:
    sid = await setup.running_call()
    assert (await setup.by_hand(sid, "say", words="Hello?"))[0] == 200
    assert (await setup.by_hand(sid, "say"))[0] == 400
    await setup.check_goes_on(sid)
    assert (await setup.by_hand(sid, "say", words="Hello?"))[0] == 400


async def test_its_callbacks(setup: SimulatorSetup) -> None:
    sid = await takes_a_message(
        setup,
        trim="do-not-trim",
        recordingStatusCallback="/status/recording",
        recordingStatusCallbackEvent="in-progress completed absent",
    )
    await setup.advance(20)
    begun, ended = (request.form for request in setup.listener.at("/status/recording"))
    recording = action(setup).form["RecordingSid"]
    common = {
        "AccountSid": setup.sim.account_sid,
        "CallSid": sid,
        "RecordingSid": recording,
        "RecordingUrl": f"{setup.sim.url}{setup.account}/Recordings/{recording}",
        "RecordingStartTime": begun["RecordingStartTime"],
        "RecordingSource": "RecordVerb",
        "RecordingTrack": "both",
        "RecordingChannels": "1",
    }
    assert begun == common | {"RecordingStatus": "in-progress"}
    assert ended == common | {"RecordingStatus": "completed", "RecordingDuration": "5"}
    assert action(setup).at < setup.listener.at("/status/recording")[1].at  # the file is there a little later


async def test_a_recording_of_nothing_is_absent() -> None:
    async with simulator_setup(far_end={CALLER: FarEnd(hang_up_after=0.2)}) as setup:
        await takes_a_message(
            setup,
            recordingStatusCallback="/status/recording",
            recordingStatusCallbackEvent="completed absent",
            recordingStatusCallbackMethod="GET",
        )
        await setup.advance(20)
        (callback,) = setup.listener.at("/status/recording")
        assert (callback.method, callback.form["RecordingStatus"]) == ("GET", "absent")
        assert callback.form["ErrorCode"] == "16101"  # too short
        assert "RecordingDuration" not in callback.form


async def test_an_event_that_is_none_is_noted(setup: SimulatorSetup) -> None:
    sid = await takes_a_message(
        setup, recordingStatusCallback="/status/recording", recordingStatusCallbackEvent="completed,absent completed"
    )
    await setup.advance(20)
    assert await setup.notes(sid) == [("21626", "1")]
    assert len(setup.listener.at("/status/recording")) == 1


async def test_it_is_transcribed() -> None:
    async with simulator_setup(far_end=talker()) as setup:
        sid = await takes_a_message(setup, transcribe="true", transcribeCallback="/status/text")
        await setup.advance(20)
        (request,) = setup.listener.at("/status/text")
        form = request.form
        assert (form["TranscriptionText"], form["TranscriptionStatus"]) == (WORDS, "completed")
        assert (form["CallSid"], form["From"], form["To"]) == (sid, CALLER, FROM)
        assert form["TranscriptionSid"].startswith("TR")
        assert form["RecordingSid"] == action(setup).form["RecordingSid"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"transcribeCallback": "/status/text"},
        {"transcribe": "true"},
        {"transcribe": "true", "transcribeCallback": "/status/text", "maxLength": "2"},
        {"transcribe": "true", "transcribeCallback": "/status/text", "timeout": "0", "trim": "do-not-trim"},
    ],
)
async def test_it_is_not_transcribed(attributes: dict[str, str]) -> None:
    async with simulator_setup(far_end=talker()) as setup:
        await takes_a_message(setup, **attributes)
        await setup.advance(200)
        assert action(setup).form["RecordingUrl"]
        assert setup.listener.at("/status/text") == []


async def test_without_an_action_the_document_is_requested_again(setup: SimulatorSetup) -> None:
    taken = "<Response><Pause length='3'/></Response>"
    record = "<Response><Record/></Response>"
    setup.listener.documents["/doc"] = lambda form: taken if "RecordingUrl" in form else record
    call = await setup.place(Url=f"{setup.listener.url}/doc")
    await setup.advance(20)
    assert len(setup.listener.at("/doc")) == 2
    assert setup.statuses(call["sid"])[-1] == "completed"


@pytest.mark.parametrize("attribute", ["", 'action="/after"'])
async def test_in_a_document_without_an_address_the_action_must_be_absolute(
    setup: SimulatorSetup, attribute: str
) -> None:
    call = await setup.place(Twiml=f"<Response><Record {attribute}/><Pause length='60'/></Response>")
    await setup.advance(5)
    assert await setup.notes(call["sid"]) == [("11100", "0")]
    assert (await setup.fetch(call["sid"]))["status"] == "completed"


async def test_relative_addresses_that_lead_nowhere_are_noted(setup: SimulatorSetup) -> None:
    setup.listener.documents["/after"] = "<Response/>"
    record = f'<Record action="{setup.listener.url}/after" recordingStatusCallback="/r" transcribeCallback="/t" '
    call = await setup.place(Twiml=f'<Response>{record} transcribe="true"/></Response>')
    await setup.advance(20)
    assert await setup.notes(call["sid"]) == [("11200", "0"), ("11200", "0")]
    assert action(setup).form["RecordingUrl"]


async def test_nothing_in_it_is_imitated(setup: SimulatorSetup) -> None:
    setup.listener.documents["/record"] = '<Response><Record mood="good"><Say>No</Say></Record></Response>'
    call = await setup.incoming(f"{setup.listener.url}/record")
    await setup.advance(1)
    assert await setup.notes(call["sid"]) == [("12200", "1"), ("12200", "1")]
