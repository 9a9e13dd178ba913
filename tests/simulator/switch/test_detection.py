"""Answering machine detection: what is found, when, and who is told of it."""

import pytest
from simulator.setup import ANSWERS, VOICEMAIL, SimulatorSetup, simulator_setup

from callctl.simulator import FarEnd
from callctl.simulator.models import Detection
from callctl.simulator.switch.detection import judge

OTHER = "+12025550150"
PAUSE = "<Response><Pause length='60'/></Response>"


@pytest.mark.parametrize(
    ("far_end", "mode", "found"),
    [
        (FarEnd(), "Enable", ("human", 2000)),
        (FarEnd(), "DetectMessageEnd", ("human", 2000)),
        (FarEnd(voicemail=True), "Enable", ("machine_start", 2000)),
        (FarEnd(voicemail=True), "DetectMessageEnd", ("machine_end_beep", 5000)),
        (FarEnd(answered_by="machine_end_silence"), "Enable", ("machine_start", 2000)),
        (FarEnd(answered_by="machine_end_silence", greeting=8), "DetectMessageEnd", ("machine_end_silence", 8000)),
        (FarEnd(answered_by="machine_end_other"), "DetectMessageEnd", ("machine_end_other", 5000)),
        (FarEnd(answered_by="machine_start"), "DetectMessageEnd", ("machine_end_beep", 5000)),
        (FarEnd(answered_by="fax"), "Enable", ("fax", 2000)),
        (FarEnd(voicemail=True, answered_by="human"), "Enable", ("human", 2000)),
        (FarEnd(answered_by="unknown"), "Enable", ("unknown", 4000)),  # nothing is heard
        (FarEnd(voicemail=True, greeting=40), "DetectMessageEnd", ("unknown", 20000)),  # no time is left
    ],
)
def test_what_is_found_of_a_far_end(far_end: FarEnd, mode: str, found: tuple[str, int]) -> None:
    parameters = judge(Detection(mode, timeout=20, silence_timeout=4), far_end).parameters()
    assert parameters == {"AnsweredBy": found[0], "MachineDetectionDuration": str(found[1])}


async def test_the_document_is_told_who_answered_after_how_long(setup: SimulatorSetup) -> None:
    setup.listener.documents["/doc"] = PAUSE
    await setup.place(VOICEMAIL, Url=f"{setup.listener.url}/doc", MachineDetection="DetectMessageEnd")
    await setup.advance(20)
    (arrived,) = setup.listener.at("/doc")
    assert (arrived.form["AnsweredBy"], arrived.form["MachineDetectionDuration"]) == ("machine_end_beep", "5000")


async def test_the_callback_has_no_more_than_the_verdict(setup: SimulatorSetup) -> None:
    asynchronous = {"AsyncAmd": "true", "AsyncAmdStatusCallback": f"{setup.listener.url}/status-amd"}
    call = await setup.place(VOICEMAIL, Twiml=PAUSE, MachineDetection="Enable", **asynchronous)
    await setup.advance(20)
    (arrived,) = setup.listener.at("/status-amd")
    common = {"CallSid": call["sid"], "AccountSid": setup.sim.account_sid}
    assert arrived.form == common | {"AnsweredBy": "machine_start", "MachineDetectionDuration": "2000"}
    assert [each.event for each in setup.sim.callbacks if each.leg == call["sid"]].count("machine-detection") == 1
    assert await setup.notes(call["sid"]) == []


async def test_without_a_callback_there_is_a_warning(setup: SimulatorSetup) -> None:
    call = await setup.place(VOICEMAIL, Twiml=PAUSE, MachineDetection="Enable", AsyncAmd="true")
    await setup.advance(20)
    assert (await setup.fetch(call["sid"]))["answered_by"] == "machine_start"
    assert await setup.notes(call["sid"]) == [("21262", "1")]


async def test_a_callback_that_can_not_be_sent_is_noted(setup: SimulatorSetup) -> None:
    asynchronous = {"AsyncAmd": "true", "AsyncAmdStatusCallback": f"{setup.listener.url}/nowhere"}
    call = await setup.place(VOICEMAIL, Twiml=PAUSE, MachineDetection="Enable", **asynchronous)
    await setup.advance(20)
    assert await setup.notes(call["sid"]) == [("11200", "0")]


async def test_the_times_of_the_request_hold() -> None:
    async with simulator_setup(far_end={OTHER: FarEnd(answered_by="unknown")}) as setup:
        setup.listener.documents["/doc"] = PAUSE
        url = f"{setup.listener.url}/doc"
        await setup.place(OTHER, Url=url, MachineDetection="Enable", MachineDetectionSilenceTimeout="3000")
        await setup.advance(20)
        assert setup.listener.at("/doc")[0].form["MachineDetectionDuration"] == "3000"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MachineDetection", "true"),
        ("MachineDetectionTimeout", "2"),
        ("MachineDetectionTimeout", "61"),
        ("MachineDetectionSpeechThreshold", "999"),
        ("MachineDetectionSpeechEndThreshold", "5001"),
        ("MachineDetectionSilenceTimeout", "soon"),
        ("AsyncAmdStatusCallbackMethod", "PUT"),
    ],
)
async def test_what_is_out_of_range_is_refused(setup: SimulatorSetup, name: str, value: str) -> None:
    form = {"To": ANSWERS, "From": "+15005550006", "Twiml": PAUSE, name: value}
    status, body = await setup.request("POST", f"{setup.account}/Calls.json", form)
    assert (status, body["code"]) == (400, 21200 if name.endswith("Method") else 20001)


async def test_a_noun_has_a_callback_of_its_own(setup: SimulatorSetup) -> None:
    callback = 'amdStatusCallback="/status-amd" amdStatusCallbackMethod="GET"'
    noun = f'<Number machineDetection="DetectMessageEnd" {callback}>{VOICEMAIL}</Number>'
    setup.listener.documents["/doc"] = f"<Response><Dial>{noun}</Dial></Response>"
    call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc")
    await setup.advance(30)
    (child,) = await setup.children(call["sid"])
    (arrived,) = setup.listener.at("/status-amd")
    assert (arrived.method, arrived.form["CallSid"]) == ("GET", child["sid"])
    assert (arrived.form["AnsweredBy"], arrived.form["MachineDetectionDuration"]) == ("machine_end_beep", "5000")


async def test_a_noun_with_another_mode_is_told_and_not_judged(setup: SimulatorSetup) -> None:
    noun = f'<Number machineDetection="true">{VOICEMAIL}</Number>'
    call = await setup.place(ANSWERS, Twiml=f"<Response><Dial>{noun}</Dial></Response>")
    await setup.advance(30)
    (child,) = await setup.children(call["sid"])
    assert child["answered_by"] is None
    assert await setup.notes(call["sid"]) == [("12200", "1")]


async def test_a_participant_has_one_too(setup: SimulatorSetup) -> None:
    form = {"To": VOICEMAIL, "From": "+15005550006", "MachineDetection": "Enable"}
    form |= {"AmdStatusCallback": f"{setup.listener.url}/status-amd"}
    status, body = await setup.request("POST", f"{setup.account}/Conferences/room/Participants.json", form)
    assert status == 201
    await setup.advance(20)
    (arrived,) = setup.listener.at("/status-amd")
    assert (arrived.form["CallSid"], arrived.form["AnsweredBy"]) == (body["call_sid"], "machine_start")


async def test_who_hangs_up_before_is_not_judged() -> None:
    async with simulator_setup(far_end={OTHER: FarEnd(hang_up_after=1)}) as setup:
        asynchronous = {"AsyncAmd": "true", "AsyncAmdStatusCallback": f"{setup.listener.url}/status-amd"}
        call = await setup.place(OTHER, Twiml=PAUSE, MachineDetection="Enable", **asynchronous)
        await setup.advance(20)
        assert (await setup.fetch(call["sid"]))["answered_by"] is None
        assert setup.listener.at("/status-amd") == []
