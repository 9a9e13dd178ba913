"""Parameters of the API that are not imitated: each is said once in a call, and a strict simulator fails the call."""

from typing import Any

import pytest
from simulator.setup import (
    ANSWERS,
    FROM,
    LATE,
    OPENAPI,
    VOICE,
    SimulatorSetup,
    parameters_of,
    simulator_setup,
)

from callctl.simulator.rest import requests
from callctl.simulator.rest.resources import participants

CALLS = "/2010-04-01/Accounts/{AccountSid}/Calls.json"
CALL = "/2010-04-01/Accounts/{AccountSid}/Calls/{Sid}.json"
PARTICIPANTS = "/2010-04-01/Accounts/{AccountSid}/Conferences/{ConferenceSid}/Participants.json"
PARTICIPANT = "/2010-04-01/Accounts/{AccountSid}/Conferences/{ConferenceSid}/Participants/{CallSid}.json"
# Of all that Twilio's description has.
NOT_AT_CALLS = {"SipAuthUsername", "SipAuthPassword", "CallerId", "Byoc", "CallToken", "ClientNotificationUrl"}
PAUSE = "<Response><Pause length='60'/></Response>"
NOTED = ("12200", "1")


async def added(setup: SimulatorSetup, **form: Any) -> dict[str, Any]:
    path = f"{setup.account}/Conferences/room/Participants.json"
    status, body = await setup.request("POST", path, {"To": ANSWERS, "From": FROM} | form)
    assert status == 201, body
    return body


async def texts(setup: SimulatorSetup, sid: str) -> list[str]:
    _, body = await setup.request("GET", f"{setup.account}/Calls/{sid}/Notifications.json")
    return [note["message_text"] for note in reversed(body["notifications"])]


def test_what_twilio_describes_and_is_not_imitated() -> None:
    assert parameters_of(OPENAPI, CALLS) - requests.PLACED == NOT_AT_CALLS
    assert parameters_of(OPENAPI, CALL) - requests.UPDATED == set()
    assert parameters_of(VOICE, PARTICIPANTS) - participants.CREATED == NOT_AT_CALLS
    assert parameters_of(VOICE, PARTICIPANT) - participants.UPDATED == set()


@pytest.mark.parametrize("name", sorted(NOT_AT_CALLS | {"StatusCalback"}))
async def test_at_a_call(setup: SimulatorSetup, name: str) -> None:
    call = await setup.place(Twiml=PAUSE, **{name: "x"})
    assert await setup.notes(call["sid"]) == [NOTED]
    assert await texts(setup, call["sid"]) == [f"{name} of the request is not imitated; it was passed over"]
    await setup.advance(5)
    assert (await setup.fetch(call["sid"]))["status"] == "in-progress"


async def test_what_is_empty_asks_for_nothing(setup: SimulatorSetup) -> None:
    call = await setup.place(Twiml=PAUSE, CallerId="", CallReason="A delivery")
    await setup.advance(5)
    assert await setup.notes(call["sid"]) == []


async def test_at_an_update_once_in_a_call(setup: SimulatorSetup) -> None:
    sid = await setup.running_call()
    for _ in range(2):
        status, _ = await setup.update(sid, Twiml=PAUSE, StatusCallbackEvent="ringing")
        assert status == 200
    assert await setup.notes(sid) == [NOTED]
    await setup.update(sid, Status="completed", Reason="none")
    assert await setup.notes(sid) == [NOTED, NOTED]


async def test_at_a_participant(setup: SimulatorSetup) -> None:
    body = await added(setup, CallerId="+12025550111", Beep="false", EarlyMedia="true", Label="ann")
    assert await setup.notes(body["call_sid"]) == [NOTED]
    await setup.advance(5)
    path = f"{setup.account}/Conferences/{body['conference_sid']}/Participants/ann.json"
    status, _ = await setup.request("POST", path, {"Status": "completed"})  # which some take for the way to kick
    assert status == 200
    assert await setup.notes(body["call_sid"]) == [NOTED, NOTED]
    assert (await setup.fetch(body["call_sid"]))["status"] == "in-progress"


class TestStrict:
    async def test_a_call(self) -> None:
        async with simulator_setup(strict=True) as setup:
            call = await setup.place(Twiml=PAUSE, CallerId="+12025550111")
            await setup.advance(5)
            assert (await setup.fetch(call["sid"]))["status"] == "failed"
            assert setup.statuses(call["sid"]) == ["failed"]
            assert await setup.notes(call["sid"]) == [NOTED, ("12100", "0")]
            what = "CallerId of the request is not imitated"
            why = f"the call failed, since the simulator is strict: {what}"
            assert sorted(await texts(setup, call["sid"])) == [what, why]  # it was not passed over

    async def test_an_update(self) -> None:
        async with simulator_setup(strict=True) as setup:
            sid = await setup.running_call()
            await setup.update(sid, Twiml=PAUSE, StatusCallbackEvent="ringing")
            await setup.advance(1)
            assert setup.statuses(sid)[-1] == "failed"

    async def test_a_participant_leaves_the_conference_that_it_could_not_join(self) -> None:
        async with simulator_setup(strict=True) as setup:
            first = await added(setup, To=LATE)
            body = await added(setup, CallerId="+12025550111")
            await setup.advance(5)
            assert (await setup.fetch(body["call_sid"]))["status"] == "failed"
            path = f"{setup.account}/Conferences/{body['conference_sid']}/Participants.json"
            _, listed = await setup.request("GET", path)
            assert [each["call_sid"] for each in listed["participants"]] == [first["call_sid"]]

    async def test_what_is_imitated_is_not_failed_for(self) -> None:
        async with simulator_setup(strict=True) as setup:
            gather = '<Gather input="dtmf speech" hints="yes" timeout="1"><Say voice="alice">Well?</Say></Gather>'
            detection = {"MachineDetection": "Enable", "MachineDetectionTimeout": "9", "Record": "true"}
            call = await setup.place(Twiml=f"<Response>{gather}<Play digits='1'/></Response>", **detection)
            await setup.advance(20)
            assert await setup.notes(call["sid"]) == []
            assert setup.statuses(call["sid"])[-1] == "completed"
