"""A call comes in to a number that Twilio's own client has set up: a menu answers it, and puts it through."""

import asyncio

from simulator.setup import ALL_EVENTS, DIGITS, HANGS_UP, SimulatorSetup
from twilio.rest import Client
from twilio.rest.api.v2010.account.incoming_phone_number import IncomingPhoneNumberInstance

MENU = """<Response>
  <Gather numDigits="1" action="/menu" method="GET"><Say>For support press one.</Say></Gather>
  <Say>We did not hear you.</Say>
</Response>"""
GOODBYE = "<Response><Say>Goodbye.</Say><Hangup/></Response>"


def put_through(form: dict[str, str]) -> str:
    if form["Digits"] != "1":
        return GOODBYE
    agent = f'<Number statusCallback="/status-agent" statusCallbackEvent="{" ".join(ALL_EVENTS)}">{HANGS_UP}</Number>'
    return f'<Response><Dial action="/goodbye">{agent}</Dial></Response>'


def set_up(client: Client, url: str) -> IncomingPhoneNumberInstance:
    """What Twilio's page on its numbers shows: buy a number, then set what handles its calls."""
    number = client.incoming_phone_numbers.create(phone_number="+12025550142", friendly_name="Support")
    return client.incoming_phone_numbers(number.sid).update(
        voice_url=f"{url}/welcome",
        voice_method="GET",
        voice_fallback_url=f"{url}/sorry",
        status_callback=f"{url}/status-number",
    )


async def test_a_call_that_comes_in_to_a_configured_number(setup: SimulatorSetup) -> None:
    setup.listener.documents |= {"/welcome": MENU, "/menu": put_through, "/goodbye": GOODBYE}
    client = Client(setup.sim.account_sid, setup.sim.auth_token)
    client.api.base_url = setup.sim.url
    number = await asyncio.to_thread(set_up, client, setup.listener.url)
    assert (number.voice_method, number.phone_number) == ("GET", "+12025550142")
    listed = await asyncio.to_thread(client.incoming_phone_numbers.list, phone_number="+1202555014*")
    assert [each.sid for each in listed] == [number.sid]

    status, call = await setup.control("POST", "/calls", {"to": number.phone_number, "from": DIGITS})
    assert (status, call["direction"]) == (201, "inbound")
    assert (await setup.fetch(call["sid"]))["phone_number_sid"] == number.sid
    await setup.advance(30)

    (welcomed,) = setup.listener.at("/welcome")
    assert (welcomed.method, welcomed.form["CallStatus"], welcomed.form["Direction"]) == ("GET", "ringing", "inbound")
    assert [each.form["Digits"] for each in setup.listener.at("/menu")] == ["1"]
    (over,) = setup.listener.at("/goodbye")
    assert (over.form["DialCallStatus"], over.form["DialCallDuration"]) == ("completed", "5")
    agent = [each.form["CallStatus"] for each in setup.listener.at("/status-agent")]
    assert agent == ["initiated", "ringing", "in-progress", "completed"]
    # Of the number's own call only the end is reported.
    (callback,) = setup.listener.at("/status-number")
    assert (callback.form["CallSid"], callback.form["CallStatus"], callback.form["To"]) == (
        call["sid"],
        "completed",
        number.phone_number,
    )
    assert await setup.notes(call["sid"]) == []


async def test_where_its_application_is_away_its_fallback_answers(setup: SimulatorSetup) -> None:
    setup.listener.documents["/sorry"] = GOODBYE
    client = Client(setup.sim.account_sid, setup.sim.auth_token)
    client.api.base_url = setup.sim.url
    number = await asyncio.to_thread(set_up, client, setup.listener.url)
    _, call = await setup.control("POST", "/calls", {"to": number.phone_number, "from": DIGITS})
    await setup.advance(10)
    (sorry,) = setup.listener.at("/sorry")
    assert (sorry.form["ErrorCode"], sorry.form["ErrorUrl"]) == ("11200", f"{setup.listener.url}/welcome")
    assert (await setup.fetch(call["sid"]))["status"] == "completed"
