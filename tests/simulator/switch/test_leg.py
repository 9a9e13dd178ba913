"""The life of a call: statuses, callbacks, time-outs and limits; read from what a real listener received."""

import pytest
from simulator.world import ANSWERS, BUSY, DIGITS, FAILS, FROM, HANGS_UP, LATE, NEVER, VOICEMAIL, World, a_world


async def test_a_call_goes_from_queued_to_completed(world: World) -> None:
    call = await world.place(HANGS_UP)
    assert (call["status"], call["direction"], call["queue_time"]) == ("queued", "outbound-api", "0")
    assert [call[key] for key in ("start_time", "end_time", "duration", "price")] == [None] * 4

    seen = []
    for seconds in (0.05, 0.3, 2.2, 5.0):
        await world.advance(seconds)
        seen.append((await world.fetch(call["sid"]))["status"])

    assert seen == ["queued", "ringing", "in-progress", "completed"]
    assert world.callbacks(call["sid"]) == [("initiated", 0), ("ringing", 1), ("in-progress", 2), ("completed", 3)]
    ended = await world.fetch(call["sid"])
    assert ended["duration"] == "5"
    assert ended["start_time"].endswith("+0000") and ended["end_time"].endswith("+0000")
    last = world.last(call["sid"])
    assert (last["CallDuration"], last["Duration"], last["SipResponseCode"]) == ("5", "1", "200")


async def test_initiated_is_never_a_rest_status(world: World) -> None:
    call = await world.place(FAILS)
    await world.advance(0.2)
    assert world.statuses(call["sid"]) == ["initiated"]
    assert (await world.fetch(call["sid"]))["status"] == "queued"


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
    world: World, to: str, seconds: float, reported: list[str], sip: str
) -> None:
    call = await world.place(to)
    await world.advance(seconds)
    assert world.statuses(call["sid"]) == reported
    last = world.last(call["sid"])
    assert (last["SipResponseCode"], last["CallDuration"], last["Duration"]) == (sip, "0", "0")
    shown = await world.fetch(call["sid"])
    assert (shown["status"], shown["duration"], shown["end_time"]) == (reported[-1], None, None)
    assert shown["start_time"] is not None


async def test_ringing_lasts_sixty_seconds_unless_set(world: World) -> None:
    usual = await world.place(NEVER)
    short = await world.place(NEVER, Timeout=10)
    await world.advance(9.9)
    assert (await world.fetch(short["sid"]))["status"] == "ringing"
    await world.advance(0.3)
    assert (await world.fetch(short["sid"]))["status"] == "no-answer"
    await world.advance(49.5)
    assert (await world.fetch(usual["sid"]))["status"] == "ringing"
    await world.advance(0.5)
    assert (await world.fetch(usual["sid"]))["status"] == "no-answer"


async def test_nobody_rings_longer_than_ten_minutes(world: World) -> None:
    call = await world.place(NEVER, Timeout=9999)
    await world.advance(600)
    assert world.statuses(call["sid"])[-1] == "ringing"
    await world.advance(0.2)
    assert world.statuses(call["sid"])[-1] == "no-answer"


async def test_a_late_answer_is_one_within_the_timeout(world: World) -> None:
    call = await world.place(LATE)
    await world.advance(20.2)
    assert world.statuses(call["sid"]) == ["initiated", "ringing"]
    await world.advance(0.2)
    assert world.statuses(call["sid"]) == ["initiated", "ringing", "in-progress"]


async def test_time_limit_ends_a_call(world: World) -> None:
    call = await world.place(ANSWERS, TimeLimit=30)
    await world.advance(33)
    assert (await world.fetch(call["sid"]))["duration"] == "30"
    assert world.statuses(call["sid"])[-1] == "completed"


async def test_a_call_without_a_limit_ends_after_four_hours(world: World) -> None:
    forever = await world.place(ANSWERS, Twiml='<Response><Play loop="0">http://127.0.0.1:9/x.mp3</Play></Response>')
    await world.advance(14400)
    assert (await world.fetch(forever["sid"]))["status"] == "in-progress"
    await world.advance(3)
    assert (await world.fetch(forever["sid"]))["duration"] == "14400"
    assert (world.statuses(forever["sid"])[-1], world.last(forever["sid"])["CallDuration"]) == ("completed", "14400")


async def test_a_document_that_redirects_for_ever_costs_a_tenth_of_a_second_each_time(world: World) -> None:
    world.listener.documents["/loop"] = "<Response><Redirect/></Response>"
    call = await world.place(ANSWERS, Url=f"{world.listener.url}/loop", TimeLimit=5)
    await world.advance(10)
    assert (await world.fetch(call["sid"]))["status"] == "completed"
    assert 45 <= len(world.listener.at("/loop")) <= 51


async def test_only_the_events_asked_for_are_reported_and_the_numbers_count_those(world: World) -> None:
    answered = await world.place(HANGS_UP, StatusCallbackEvent=["answered"])
    default = await world.place(HANGS_UP, StatusCallbackEvent=None)
    two = await world.place(HANGS_UP, StatusCallbackEvent=["ringing", "completed"])
    without_callbacks = await world.place(HANGS_UP, StatusCallback=None)
    await world.advance(10)
    assert world.callbacks(answered["sid"]) == [("in-progress", 0)]
    assert world.callbacks(default["sid"]) == [("completed", 0)]
    assert world.callbacks(two["sid"]) == [("ringing", 0), ("completed", 1)]
    assert world.callbacks(without_callbacks["sid"]) == []
    assert [(await world.fetch(each["sid"]))["status"] for each in (answered, without_callbacks)] == ["completed"] * 2


async def test_calls_beyond_the_rate_wait_in_the_queue() -> None:
    async with a_world(cps=1) as world:
        calls = [await world.place() for _ in range(3)]
        await world.advance(0.5)
        assert [(await world.fetch(call["sid"]))["status"] for call in calls] == ["ringing", "queued", "queued"]
        await world.advance(2)
        shown = [await world.fetch(call["sid"]) for call in calls]
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
async def test_who_answered_is_reported_when_asked(world: World, to: str, mode: str, answered_by: str) -> None:
    world.listener.documents["/twiml"] = "<Response><Say>Hello</Say></Response>"
    call = await world.place(to, Url=f"{world.listener.url}/twiml", MachineDetection=mode)
    await world.advance(4.2)
    assert world.listener.at("/twiml") == []  # TwiML waits for it
    await world.advance(20)
    assert world.listener.at("/twiml")[0].form["AnsweredBy"] == answered_by
    assert world.last(call["sid"])["AnsweredBy"] == answered_by
    assert (await world.fetch(call["sid"]))["answered_by"] == answered_by


async def test_who_answered_is_not_reported_unasked_or_with_send_digits(world: World) -> None:
    for params in ({}, {"MachineDetection": "Enable", "SendDigits": "1"}):
        call = await world.place(VOICEMAIL, Twiml="<Response><Say>Hello</Say></Response>", **params)
        await world.advance(20)
        assert "AnsweredBy" not in world.last(call["sid"])
        assert (await world.fetch(call["sid"]))["answered_by"] is None


async def test_detection_beside_the_document(world: World) -> None:
    url = world.listener.url
    world.listener.documents |= {"/twiml": "<Response><Pause length='30'/></Response>", "/amd": ""}
    await world.place(
        VOICEMAIL, Url=f"{url}/twiml", MachineDetection="Enable", AsyncAmd="true", AsyncAmdStatusCallback=f"{url}/amd"
    )
    await world.advance(4.5)
    assert len(world.listener.at("/twiml")) == 1
    await world.advance(4)
    assert [arrived.form["AnsweredBy"] for arrived in world.listener.at("/amd")] == ["machine_start"]


async def test_an_incoming_call_rings_answers_and_ends(world: World) -> None:
    world.listener.documents["/in"] = "<Response><Say>Welcome</Say></Response>"
    call = await world.incoming(f"{world.listener.url}/in")
    assert (call["status"], call["direction"], call["to"]) == ("ringing", "inbound", FROM)
    await world.advance(5)
    form = world.listener.at("/in")[0].form
    assert (form["CallStatus"], form["Direction"]) == ("ringing", "inbound")
    assert world.callbacks(call["sid"]) == [("in-progress", 0), ("completed", 1)]
    assert "SipResponseCode" not in world.last(call["sid"])  # absent on inbound (a capture)


async def test_an_incoming_call_that_is_never_answered_is_given_up_after_four_hours(world: World) -> None:
    noun = f"<Number>{NEVER}</Number>"
    world.listener.documents["/in"] = f'<Response><Dial answerOnBridge="true" timeout="80000">{noun}</Dial></Response>'
    call = await world.incoming(f"{world.listener.url}/in")
    await world.advance(14399)
    assert (await world.fetch(call["sid"]))["status"] == "ringing"
    await world.advance(2)
    assert world.statuses(call["sid"]) == ["canceled"]
    assert [leg["status"] for leg in await world.children(call["sid"])] == ["canceled"]


async def test_an_incoming_caller_hangs_up_as_the_far_end_of_that_number(world: World) -> None:
    world.listener.documents["/in"] = "<Response><Pause length='1'/><Pause length='60'/></Response>"
    call = await world.incoming(f"{world.listener.url}/in", caller=HANGS_UP)
    await world.advance(7)
    assert (await world.fetch(call["sid"]))["duration"] == "5"


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
async def test_an_incoming_call_may_be_refused(world: World, document: str, status: str) -> None:
    world.listener.documents["/in"] = document
    call = await world.incoming(f"{world.listener.url}/in")
    await world.advance(3)
    statuses = world.statuses(call["sid"])
    assert statuses == (["in-progress", "completed"] if status == "completed" else [status])


async def test_a_first_pause_delays_the_answer(world: World) -> None:
    world.listener.documents["/in"] = "<Response><Pause length='3'/><Say>Hello</Say></Response>"
    call = await world.incoming(f"{world.listener.url}/in")
    await world.advance(3)
    assert (await world.fetch(call["sid"]))["status"] == "ringing"
    await world.advance(0.2)
    assert (await world.fetch(call["sid"]))["status"] == "in-progress"


async def test_digits_are_pressed_at_a_gather(world: World) -> None:
    url = world.listener.url
    world.listener.documents |= {
        "/menu": '<Response><Gather numDigits="1" action="/choice"><Say>Press one</Say></Gather></Response>',
        "/choice": "<Response><Say>Thanks</Say></Response>",
    }
    await world.place(DIGITS, Url=f"{url}/menu")
    await world.advance(10)
    assert [arrived.form["Digits"] for arrived in world.listener.at("/choice")] == ["1"]
