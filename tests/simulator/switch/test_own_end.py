"""A call to a number of the account, or to one of its applications: a second call comes in there."""

import pytest
from simulator.setup import ANSWERS, DIGITS, HANGS_UP, Json, SimulatorSetup, simulator_setup

from callctl.simulator import FarEnd

MINE = "+12025550142"
TALKS = "<Response><Say>Hi</Say><Pause length='20'/></Response>"


async def number(setup: SimulatorSetup, document: str | None = TALKS, **form: str) -> Json:
    if document is not None:
        setup.listener.documents["/mine"] = document
        form = {"VoiceUrl": f"{setup.listener.url}/mine", "StatusCallback": setup.status} | form
    status, body = await setup.request(
        "POST", f"{setup.account}/IncomingPhoneNumbers.json", {"PhoneNumber": MINE} | form
    )
    assert status == 201, body
    return body


async def incoming(setup: SimulatorSetup) -> Json:
    (call,) = [call for call in await setup.calls(To=MINE) if call["direction"] == "inbound"]
    return call


async def test_its_document_answers_both_and_its_end_ends_both(setup: SimulatorSetup) -> None:
    sid = (await number(setup))["sid"]
    call = await setup.place(MINE)
    await setup.advance(5)
    called = await incoming(setup)
    assert (called["status"], called["phone_number_sid"], called["parent_call_sid"]) == ("in-progress", sid, None)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"
    (asked,) = setup.listener.at("/mine")
    assert (asked.form["CallSid"], asked.form["Direction"]) == (called["sid"], "inbound")
    await setup.advance(30)
    assert setup.statuses(called["sid"]) == ["completed"]
    assert setup.statuses(call["sid"]) == ["initiated", "ringing", "in-progress", "completed"]


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ("<Response><Reject reason='busy'/></Response>", "busy"),
        ("<Response><Reject/></Response>", "no-answer"),
        ("no TwiML", "failed"),
        (None, "failed"),
    ],
)
async def test_it_may_not_answer(setup: SimulatorSetup, document: str | None, status: str) -> None:
    await number(setup, document)
    call = await setup.place(MINE)
    await setup.advance(5)
    rings = [] if document is None else ["ringing"]
    assert setup.statuses(call["sid"]) == ["initiated", *rings, status]
    assert await setup.notes(call["sid"]) == []


@pytest.mark.parametrize("which", ["calling", "called"])
@pytest.mark.parametrize("after", [1.0, 5.0])
async def test_the_end_of_either_is_the_end_of_both(setup: SimulatorSetup, which: str, after: float) -> None:
    document = TALKS if after > 1 else f"<Response><Pause length='9'/>{TALKS.removeprefix('<Response>')}"
    await number(setup, document)
    call = await setup.place(MINE)
    await setup.advance(after)
    called = await incoming(setup)
    await setup.update((call if which == "calling" else called)["sid"], Status="completed")
    await setup.advance(1)
    ends = {(await setup.fetch(each["sid"]))["status"] for each in (call, called)}
    assert ends == ({"completed"} if after > 1 else {"canceled"} if which == "calling" else {"canceled", "failed"})


async def test_it_may_be_dialled_and_hears_who_called_first(setup: SimulatorSetup) -> None:
    menu = '<Response><Gather numDigits="1" action="/chosen"><Say>Press a key.</Say></Gather></Response>'
    setup.listener.documents["/chosen"] = "<Response><Say>Thank you.</Say></Response>"
    await number(setup, menu)
    setup.listener.documents["/front"] = f"<Response><Dial>{MINE}</Dial></Response>"
    await setup.incoming(f"{setup.listener.url}/front", caller=DIGITS)
    await setup.advance(15)
    (chosen,) = setup.listener.at("/chosen")
    assert (chosen.form["Digits"], chosen.form["From"], chosen.form["To"]) == ("1", DIGITS, MINE)


@pytest.mark.parametrize("sent", ["SendDigits", "sendDigits"])
async def test_it_hears_the_digits_that_are_sent_once_it_has_answered(setup: SimulatorSetup, sent: str) -> None:
    menu = '<Response><Gather numDigits="3" timeout="2" action="/chosen"/><Say>Nobody.</Say></Response>'
    setup.listener.documents["/chosen"] = TALKS
    await number(setup, menu)
    if sent == "SendDigits":
        await setup.place(MINE, SendDigits="w1W2#3")
    else:
        noun = f'<Number sendDigits="w1W2#3">{MINE}</Number>'
        await setup.place(ANSWERS, Twiml=f"<Response><Dial>{noun}</Dial></Response>")
    await setup.advance(10)
    (chosen,) = setup.listener.at("/chosen")
    assert (chosen.form["Digits"], chosen.form["To"]) == ("12", MINE)


async def test_a_far_end_that_was_set_for_it_counts_first() -> None:
    async with simulator_setup(far_end={MINE: FarEnd("busy")}) as setup:
        await number(setup)
        call = await setup.place(MINE)
        await setup.advance(5)
        assert ((await setup.fetch(call["sid"]))["status"], setup.listener.at("/mine")) == ("busy", [])


async def test_an_application_may_be_a_participant(setup: SimulatorSetup) -> None:
    setup.listener.documents["/app"] = TALKS
    form = {"VoiceUrl": f"{setup.listener.url}/app"}
    _, app = await setup.request("POST", f"{setup.account}/Applications.json", form)
    participants = f"{setup.account}/Conferences/room/Participants.json"
    for to in (f"app:{app['sid']}", ANSWERS):
        status, body = await setup.request("POST", participants, {"To": to, "From": HANGS_UP})
        assert status == 201, body
    await setup.advance(5)
    _, listed = await setup.request("GET", f"{setup.account}/Conferences.json", {"Status": "in-progress"})
    (conference,) = listed["conferences"]
    path = f"{setup.account}/Conferences/{conference['sid']}/Participants.json"
    assert len((await setup.request("GET", path))[1]["participants"]) == 2
    await setup.advance(30)
    assert len((await setup.request("GET", path))[1]["participants"]) == 1
    status, body = await setup.request("POST", participants, {"To": "app:AP" + "1" * 32, "From": HANGS_UP})
    assert (status, body["code"]) == (400, 21211)
