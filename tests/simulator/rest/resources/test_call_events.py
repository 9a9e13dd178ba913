"""Events of a call over REST: what the application was asked, and how it answered."""

from email.utils import parsedate_to_datetime

from simulator.setup import FROM, Json, SimulatorSetup


async def events(setup: SimulatorSetup, sid: str, **query: str) -> list[Json]:
    status, body = await setup.request("GET", f"{setup.account}/Calls/{sid}/Events.json", query)
    assert status == 200, body
    return list(body["events"])


async def test_they_are_what_the_application_was_asked_and_answered(setup: SimulatorSetup) -> None:
    document = "<Response><Say>Hi</Say></Response>"
    setup.listener.documents["/voice"] = document
    url = f"{setup.listener.url}/voice"
    call = await setup.place(Url=url)
    await setup.advance(10)
    found = await events(setup, call["sid"])
    ended, asked = found[0], next(each for each in found if each["request"]["url"] == url)
    assert ended["request"]["url"] == setup.status
    assert ended["request"]["parameters"]["sip_response_code"] == "200"
    assert (ended["request"]["parameters"]["call_status"], ended["response"]["response_body"]) == ("completed", "")
    assert {each["request"]["parameters"]["call_sid"] for each in found} == {call["sid"]}
    parameters = asked["request"].pop("parameters")
    assert asked["request"] == {"method": "POST", "url": url}
    assert (parameters["call_sid"], parameters["from"], parameters["call_status"]) == (call["sid"], FROM, "in-progress")
    answer = asked["response"]
    assert parsedate_to_datetime(answer.pop("date_created")) is not None
    assert isinstance(answer.pop("request_duration"), int)
    assert answer == {"response_code": 200, "content_type": "text/xml", "response_body": document}


async def test_who_does_not_answer_has_no_response(setup: SimulatorSetup) -> None:
    call = await setup.place(Url="http://anna:secret@127.0.0.1:9/voice#rc=0", StatusCallback=None)
    other = await setup.place(Url="http://127.0.0.1:9/other", StatusCallback=None)
    await setup.advance(10)
    (event,) = await events(setup, call["sid"])
    assert (event["request"]["url"], event["response"]) == ("http://127.0.0.1:9/voice", None)
    (event,) = await events(setup, other["sid"], PageSize="1")
    assert event["request"]["url"] == "http://127.0.0.1:9/other"


async def test_of_an_unknown_call(setup: SimulatorSetup) -> None:
    status, body = await setup.request("GET", f"{setup.account}/Calls/CA0/Events.json")
    assert (status, body["code"]) == (404, 20404)
