"""The life of a call: statuses, callbacks, time-outs and limits; read from what a real listener received."""

import pytest
from simulator.setup import (
    ANSWERS,
    BUSY,
    DIGITS,
    FAILS,
    FROM,
    HANGS_UP,
    LATE,
    NEVER,
    VOICEMAIL,
    SimulatorSetup,
    simulator_setup,
)


async def test_a_call_goes_from_queued_to_completed(setup: SimulatorSetup) -> None:
    call = await setup.place(HANGS_UP)
    assert (call["status"], call["direction"], call["queue_time"]) == ("queued", "outbound-api", "0")
    assert [call[key] for key in ("start_time", "end_time", "duration", "price")] == [None] * 4

    seen = []
    for seconds in (0.05, 0.3, 2.2, 5.0):
        await setup.advance(seconds)
        seen.append((await setup.fetch(call["sid"]))["status"])

    assert seen == ["queued", "ringing", "in-progress", "completed"]
    assert setup.callbacks(call["sid"]) == [("initiated", 0), ("ringing", 1), ("in-progress", 2), ("completed", 3)]
    ended = await setup.fetch(call["sid"])
    assert ended["duration"] == "5"
    assert ended["start_time"].endswith("+0000") and ended["end_time"].endswith("+0000")
    last = setup.last(call["sid"])
    assert (last["CallDuration"], last["Duration"], last["SipResponseCode"]) == ("5", "1", "200")


async def test_initiated_is_never_a_rest_status(setup: SimulatorSetup) -> None:
    call = await setup.place(FAILS)
    await setup.advance(0.2)
    assert setup.statuses(call["sid"]) == ["initiated"]
    assert (await setup.fetch(call["sid"]))["status"] == "queued"


@pytest.mark.parametrize(
    ("to", "seconds", "reported", "sip"),
    [
        (BUSY, 2, ["initiated", "ringing", "busy"], "486"),
        (NEVER, 61, ["initiated", "ringing", "no-answer"], "487"),
        (FAILS, 1, ["initiated", "failed"], "404"),
        ("sip:busy@example.com", 2, ["initiated", "ringing", "busy"], "486"),
        ("client:no-answer", 61, ["initiated", "ringing", "no-answer"], "487"),
    ],
)
async def test_a_call_that_is_not_connected(
    setup: SimulatorSetup, to: str, seconds: float, reported: list[str], sip: str
) -> None:
    call = await setup.place(to)
    await setup.advance(seconds)
    assert setup.statuses(call["sid"]) == reported
    last = setup.last(call["sid"])
    assert (last["SipResponseCode"], last["CallDuration"], last["Duration"]) == (sip, "0", "0")
    shown = await setup.fetch(call["sid"])
    assert (shown["status"], shown["duration"], shown["end_time"]) == (reported[-1], None, None)
    assert shown["start_time"] is not None


async def test_ringing_lasts_sixty_seconds_unless_set(setup: SimulatorSetup) -> None:
    usual = await setup.place(NEVER)
    short = await setup.place(NEVER, Timeout=10)
    await setup.advance(9.9)
    assert (await setup.fetch(short["sid"]))["status"] == "ringing"
    await setup.advance(0.3)
    assert (await setup.fetch(short["sid"]))["status"] == "no-answer"
    await setup.advance(49.5)
    assert (await setup.fetch(usual["sid"]))["status"] == "ringing"
    await setup.advance(0.5)
    assert (await setup.fetch(usual["sid"]))["status"] == "no-answer"


async def test_nobody_rings_longer_than_ten_minutes(setup: SimulatorSetup) -> None:
    call = await setup.place(NEVER, Timeout=9999)
    await setup.advance(600)
    assert setup.statuses(call["sid"])[-1] == "ringing"
    await setup.advance(0.2)
    assert setup.statuses(call["sid"])[-1] == "no-answer"


async def test_a_late_answer_is_one_within_the_timeout(setup: SimulatorSetup) -> None:
    call = await setup.place(LATE)
    await setup.advance(20.2)
    assert setup.statuses(call["sid"]) == ["initiated", "ringing"]
    await setup.advance(0.2)
    assert setup.statuses(call["sid"]) == ["initiated", "ringing", "in-progress"]


async def test_time_limit_ends_a_call(setup: SimulatorSetup) -> None:
    call = await setup.place(ANSWERS, TimeLimit=30)
    await setup.advance(33)
    assert (await setup.fetch(call["sid"]))["duration"] == "30"
    assert setup.statuses(call["sid"])[-1] == "completed"


async def test_a_call_without_a_limit_ends_after_four_hours(setup: SimulatorSetup) -> None:
    forever = await setup.place(ANSWERS, Twiml='<Response><Play loop="0">http://127.0.0.1:9/x.mp3</Play></Response>')
    await setup.advance(14400)
    assert (await setup.fetch(forever["sid"]))["status"] == "in-progress"
    await setup.advance(3)
    assert (await setup.fetch(forever["sid"]))["duration"] == "14400"
    assert (setup.statuses(forever["sid"])[-1], setup.last(forever["sid"])["CallDuration"]) == ("completed", "14400")


async def test_a_document_that_redirects_for_ever_costs_a_tenth_of_a_second_each_time(setup: SimulatorSetup) -> None:
    setup.listener.documents["/loop"] = "<Response><Redirect/></Response>"
    call = await setup.place(ANSWERS, Url=f"{setup.listener.url}/loop", TimeLimit=5)
    await setup.advance(10)
    assert (await setup.fetch(call["sid"]))["status"] == "completed"
    assert 45 <= len(setup.listener.at("/loop")) <= 51


async def test_only_the_events_asked_for_are_reported_and_the_numbers_count_those(setup: SimulatorSetup) -> None:
    answered = await setup.place(HANGS_UP, StatusCallbackEvent=["answered"])
    default = await setup.place(HANGS_UP, StatusCallbackEvent=None)
    two = await setup.place(HANGS_UP, StatusCallbackEvent=["ringing", "completed"])
    without_callbacks = await setup.place(HANGS_UP, StatusCallback=None)
    await setup.advance(10)
    assert setup.callbacks(answered["sid"]) == [("in-progress", 0)]
    assert setup.callbacks(default["sid"]) == [("completed", 0)]
    assert setup.callbacks(two["sid"]) == [("ringing", 0), ("completed", 1)]
    assert setup.callbacks(without_callbacks["sid"]) == []
    assert [(await setup.fetch(each["sid"]))["status"] for each in (answered, without_callbacks)] == ["completed"] * 2


async def test_calls_beyond_the_rate_wait_in_the_queue() -> None:
    async with simulator_setup(cps=1) as setup:
        calls = [await setup.place() for _ in range(3)]
        await setup.advance(0.5)
        assert [(await setup.fetch(call["sid"]))["status"] for call in calls] == ["ringing", "queued", "queued"]
        await setup.advance(2)
        shown = [await setup.fetch(call["sid"]) for call in calls]
        assert [call["queue_time"] for call in shown] == ["0", "1000", "2000"]
        assert "queued" not in {call["status"] for call in shown}


@pytest.mark.parametrize(
    ("to", "mode", "answered_by"),
    [
        (VOICEMAIL, "Enable", "machine_start"),
        (VOICEMAIL, "DetectMessageEnd", "machine_end_beep"),
        (ANSWERS, "Enable", "human"),
    ],
)
async def test_who_answered_is_reported_when_asked(setup: SimulatorSetup, to: str, mode: str, answered_by: str) -> None:
    setup.listener.documents["/twiml"] = "<Response><Say>Hello</Say></Response>"
    call = await setup.place(to, Url=f"{setup.listener.url}/twiml", MachineDetection=mode)
    await setup.advance(4.2)
    assert setup.listener.at("/twiml") == []  # TwiML waits for it
    await setup.advance(20)
    assert setup.listener.at("/twiml")[0].form["AnsweredBy"] == answered_by
    assert setup.last(call["sid"])["AnsweredBy"] == answered_by
    assert (await setup.fetch(call["sid"]))["answered_by"] == answered_by


async def test_who_answered_is_not_reported_unasked_or_with_send_digits(setup: SimulatorSetup) -> None:
    for params in ({}, {"MachineDetection": "Enable", "SendDigits": "1"}):
        call = await setup.place(VOICEMAIL, Twiml="<Response><Say>Hello</Say></Response>", **params)
        await setup.advance(20)
        assert "AnsweredBy" not in setup.last(call["sid"])
        assert (await setup.fetch(call["sid"]))["answered_by"] is None


async def test_detection_beside_the_document(setup: SimulatorSetup) -> None:
    url = setup.listener.url
    setup.listener.documents |= {"/twiml": "<Response><Pause length='30'/></Response>", "/amd": ""}
    await setup.place(
        VOICEMAIL, Url=f"{url}/twiml", MachineDetection="Enable", AsyncAmd="true", AsyncAmdStatusCallback=f"{url}/amd"
    )
    await setup.advance(4.5)
    assert len(setup.listener.at("/twiml")) == 1
    await setup.advance(4)
    assert [arrived.form["AnsweredBy"] for arrived in setup.listener.at("/amd")] == ["machine_start"]


async def test_an_incoming_call_rings_answers_and_ends(setup: SimulatorSetup) -> None:
    setup.listener.documents["/in"] = "<Response><Say>Welcome</Say></Response>"
    call = await setup.incoming(f"{setup.listener.url}/in")
    assert (call["status"], call["direction"], call["to"]) == ("ringing", "inbound", FROM)
    await setup.advance(5)
    form = setup.listener.at("/in")[0].form
    assert (form["CallStatus"], form["Direction"]) == ("ringing", "inbound")
    assert setup.callbacks(call["sid"]) == [("in-progress", 0), ("completed", 1)]
    assert "SipResponseCode" not in setup.last(call["sid"])  # absent on inbound (a capture)


async def test_an_incoming_call_that_is_never_answered_is_given_up_after_four_hours(setup: SimulatorSetup) -> None:
    noun = f"<Number>{NEVER}</Number>"
    setup.listener.documents["/in"] = f'<Response><Dial answerOnBridge="true" timeout="80000">{noun}</Dial></Response>'
    call = await setup.incoming(f"{setup.listener.url}/in")
    await setup.advance(14399)
    assert (await setup.fetch(call["sid"]))["status"] == "ringing"
    await setup.advance(2)
    assert setup.statuses(call["sid"]) == ["canceled"]
    assert [leg["status"] for leg in await setup.children(call["sid"])] == ["canceled"]


async def test_an_incoming_caller_hangs_up_as_the_far_end_of_that_number(setup: SimulatorSetup) -> None:
    setup.listener.documents["/in"] = "<Response><Pause length='1'/><Pause length='60'/></Response>"
    call = await setup.incoming(f"{setup.listener.url}/in", caller=HANGS_UP)
    await setup.advance(7)
    assert (await setup.fetch(call["sid"]))["duration"] == "5"


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ("<Response><Reject/></Response>", "no-answer"),
        ('<Response><Reject reason="busy"/></Response>', "busy"),
        ("<Response><Pause/><Reject/></Response>", "no-answer"),
        ("<Response><Hangup/></Response>", "completed"),
        ("<Response/>", "completed"),
    ],
)
async def test_an_incoming_call_may_be_refused(setup: SimulatorSetup, document: str, status: str) -> None:
    setup.listener.documents["/in"] = document
    call = await setup.incoming(f"{setup.listener.url}/in")
    await setup.advance(3)
    statuses = setup.statuses(call["sid"])
    assert statuses == (["in-progress", "completed"] if status == "completed" else [status])


async def test_a_first_pause_delays_the_answer(setup: SimulatorSetup) -> None:
    setup.listener.documents["/in"] = "<Response><Pause length='3'/><Say>Hello</Say></Response>"
    call = await setup.incoming(f"{setup.listener.url}/in")
    await setup.advance(3)
    assert (await setup.fetch(call["sid"]))["status"] == "ringing"
    await setup.advance(0.2)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


async def test_digits_are_pressed_at_a_gather(setup: SimulatorSetup) -> None:
    url = setup.listener.url
    setup.listener.documents |= {
        "/menu": '<Response><Gather numDigits="1" action="/choice"><Say>Press one</Say></Gather></Response>',
        "/choice": "<Response><Say>Thanks</Say></Response>",
    }
    await setup.place(DIGITS, Url=f"{url}/menu")
    await setup.advance(10)
    assert [arrived.form["Digits"] for arrived in setup.listener.at("/choice")] == ["1"]
