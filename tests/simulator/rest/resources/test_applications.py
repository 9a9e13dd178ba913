"""Applications: what can be set, and the calls that name one."""

from typing import Any

import pytest
from simulator.setup import ANSWERS, FROM, Json, SimulatorSetup


async def asked(setup: SimulatorSetup, method: str, rest: str = "", **form: Any) -> tuple[int, Json]:
    return await setup.request(method, f"{setup.account}/Applications{rest}.json", form)


async def create(setup: SimulatorSetup, **form: Any) -> str:
    status, body = await asked(setup, "POST", **form)
    assert status == 201, body
    return str(body["sid"])


async def test_create_fetch_update_list_and_delete(setup: SimulatorSetup) -> None:
    urls = {"VoiceUrl": "http://127.0.0.1:9/voice", "StatusCallback": "http://127.0.0.1:9/status"}
    sid = await create(setup, FriendlyName="Phone menu", PublicApplicationConnectEnabled="true", **urls)
    await create(setup, FriendlyName="Other")
    _, body = await asked(setup, "GET", f"/{sid}")
    assert (body["voice_url"], body["status_callback"]) == tuple(urls.values())
    assert (body["friendly_name"], body["public_application_connect_enabled"]) == ("Phone menu", True)
    status, body = await asked(setup, "POST", f"/{sid}", VoiceMethod="get", VoiceUrl="")
    assert (status, body["voice_method"], body["voice_url"]) == (200, "GET", "")
    _, body = await asked(setup, "GET", FriendlyName="Phone menu")
    assert [each["sid"] for each in body["applications"]] == [sid]
    assert [each["friendly_name"] for each in (await asked(setup, "GET"))[1]["applications"]] == ["Other", "Phone menu"]
    assert (await asked(setup, "DELETE", f"/{sid}"))[0] == 204
    assert (await asked(setup, "GET", f"/{sid}"))[0] == 404


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"VoiceUrl": "voice"}, 21402),
        ({"StatusCallbackMethod": "PUT"}, 21403),
        ({"VoiceFallbackUrl": "http://127.0.0.1:9/"}, 21405),
        ({"FriendlyName": "x" * 65}, 20001),
    ],
)
async def test_what_is_refused(setup: SimulatorSetup, form: dict[str, str], code: int) -> None:
    status, body = await asked(setup, "POST", **form)
    assert (status, body["code"]) == (400, code)


async def test_a_call_placed_with_an_application_has_its_urls_and_none_of_its_own(setup: SimulatorSetup) -> None:
    setup.listener.documents["/app"] = "<Response><Pause length='5'/></Response>"
    app = await create(
        setup,
        VoiceUrl=f"{setup.listener.url}/app",
        VoiceMethod="GET",
        StatusCallback=f"{setup.listener.url}/status-app",
    )
    call = await setup.place(ANSWERS, ApplicationSid=app, Url="http://127.0.0.1:9/not", Twiml="<Response/>")
    await setup.advance(20)
    assert [each.method for each in setup.listener.at("/app")] == ["GET"]
    assert [each.form["CallStatus"] for each in setup.listener.at("/status-app")] == ["completed"]
    assert setup.callbacks(call["sid"]) == []


async def test_an_application_without_url_or_that_is_none_can_not_be_called_with(setup: SimulatorSetup) -> None:
    form = {"To": ANSWERS, "From": FROM}
    for sid, code in ((await create(setup), 21205), ("AP" + "1" * 32, 21218)):
        status, body = await setup.request("POST", f"{setup.account}/Calls.json", form | {"ApplicationSid": sid})
        assert (status, body["code"]) == (400, code)


async def test_a_clients_call_reaches_its_application_with_its_own_parameters(setup: SimulatorSetup) -> None:
    setup.listener.documents["/app"] = "<Response><Pause length='5'/></Response>"
    app = await create(setup, VoiceUrl=f"{setup.listener.url}/app", StatusCallback=setup.status)
    given = {"from": "client:alice", "application_sid": app, "parameters": {"room": "7", "CallSid": "CA"}}
    status, call = await setup.control("POST", "/calls", given)
    assert (status, call["direction"], call["from"], call["to"]) == (201, "inbound", "client:alice", f"app:{app}")
    await setup.advance(10)
    (asked_for,) = setup.listener.at("/app")
    assert (asked_for.form["From"], asked_for.form["room"]) == ("client:alice", "7")
    assert asked_for.form["CallSid"] == call["sid"]  # what Twilio itself says can't be said otherwise
    assert setup.statuses(call["sid"]) == ["completed"]
