"""A reminder that is placed by the API: a person is asked to confirm, a machine gets the message after its beep."""

from urllib.parse import parse_qsl

from aiohttp import web
from simulator.setup import ANSWERS, VOICEMAIL, SimulatorSetup, served, simulator_setup
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


async def reminded(setup: SimulatorSetup, url: str, to: str) -> str:
    call = await setup.place(to, Url=f"{url}/reminder", MachineDetection="DetectMessageEnd")
    return str(call["sid"])


async def test_a_machine_gets_the_message_and_a_person_the_question() -> None:
    reminder = Reminder()
    async with served(reminder.handle) as url, simulator_setup() as setup:
        machine, person = await reminded(setup, url, VOICEMAIL), await reminded(setup, url, ANSWERS)
        await setup.advance(8)
        await setup.by_hand(person, "digits", Digits="1")
        await setup.advance(40)
        assert reminder.done == {machine: ["left a message"], person: ["asked", "confirmed with 1"]}
        assert setup.statuses(machine)[-1] == setup.statuses(person)[-1] == "completed"
        assert setup.last(machine)["AnsweredBy"] == "machine_end_beep"
        assert await setup.notes(machine) == []
