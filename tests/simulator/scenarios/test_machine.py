"""A reminder that is placed by the API: a person is asked to confirm, a machine gets the message after its beep."""

import asyncio
from urllib.parse import parse_qsl

from aiohttp import web
from simulator.setup import ANSWERS, FROM, VOICEMAIL, SimulatorSetup, served, simulator_setup
from twilio.rest import Client
from twilio.twiml.voice_response import Gather, VoiceResponse

REMINDER = "This is a reminder of your appointment at nine."


class Reminder:
    """An application whose document waits for the verdict; what was done is kept by call."""

    def __init__(self) -> None:
        self.done: dict[str, list[str]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode()))
        done = self.done.setdefault(form["CallSid"], [])
        response = VoiceResponse()
        if request.path == "/confirmed":
            done.append(f"confirmed with {form['Digits']}")
            response.say("Thank you.")
        elif form["AnsweredBy"] == "human":
            done.append("asked")
            gather = Gather(num_digits=1, action="/confirmed")
            gather.say(f"{REMINDER} Press one to confirm.")
            response.append(gather)
        elif form["AnsweredBy"].startswith("machine_end"):
            done.append("left a message")
            response.say(REMINDER)
        response.hangup()
        return web.Response(text=str(response), content_type="text/xml")


def place(setup: SimulatorSetup, to: str, **options: str) -> str:
    """Place the call as Twilio's page on machine detection shows it; return its SID."""
    client = Client(setup.sim.account_sid, setup.sim.auth_token)
    client.api.base_url = setup.sim.url
    return str(client.calls.create(to=to, from_=FROM, **options).sid)


async def answered_by(setup: SimulatorSetup, sid: str) -> str:
    return str((await setup.fetch(sid))["answered_by"])


async def test_a_machine_gets_the_message_and_a_person_the_question() -> None:
    reminder = Reminder()
    async with served(reminder.handle) as url, simulator_setup() as setup:
        options = {"url": f"{url}/reminder", "machine_detection": "DetectMessageEnd"}
        machine = await asyncio.to_thread(place, setup, VOICEMAIL, **options)
        person = await asyncio.to_thread(place, setup, ANSWERS, **options)
        await setup.advance(8)
        await setup.by_hand(person, "press", digits="1")
        await setup.advance(40)
        assert reminder.done == {machine: ["left a message"], person: ["asked", "confirmed with 1"]}
        assert (await answered_by(setup, machine), await answered_by(setup, person)) == ("machine_end_beep", "human")
        assert await setup.notes(machine) == await setup.notes(person) == []


async def test_a_call_that_began_is_redirected_once_a_machine_is_found() -> None:
    """The answer to the asynchronous callback has no effect, so the application changes the call by the API."""
    async with simulator_setup() as setup:
        found: list[dict[str, str]] = []

        async def amd(request: web.Request) -> web.Response:
            found.append(dict(parse_qsl((await request.read()).decode())))
            return web.Response(text="<Response><Hangup/></Response>", content_type="text/xml")

        async with served(amd) as url:
            greeting = f"<Response><Say>{REMINDER}</Say><Pause length='60'/></Response>"
            options = {"machine_detection": "Enable", "async_amd": "true", "async_amd_status_callback": url}
            sid = await asyncio.to_thread(place, setup, VOICEMAIL, twiml=greeting, **options)
            await setup.advance(8)
            common = {"CallSid": sid, "AccountSid": setup.sim.account_sid}
            assert found == [common | {"AnsweredBy": "machine_start", "MachineDetectionDuration": "2000"}]
            assert (await setup.fetch(sid))["status"] == "in-progress"
            await setup.update(sid, Twiml=f"<Response><Say>{REMINDER}</Say><Hangup/></Response>")
            await setup.advance(5)
            assert (await setup.fetch(sid))["status"] == "completed"
