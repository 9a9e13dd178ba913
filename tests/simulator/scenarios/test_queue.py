"""A queue with hold music and an agent who takes the next, as Twilio's documentation shows the application.

It answers with Twilio's own TwiML classes, and asks with its own client.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest
from aiohttp import web
from simulator.setup import FROM, SimulatorSetup, served
from twilio.rest import Client
from twilio.rest.api.v2010.account.queue import QueueInstance
from twilio.twiml.voice_response import Dial, VoiceResponse

T = TypeVar("T")
AGENT, ANN, BOB, CARLA = "client:agent", "+12025550191", "+12025550192", "+12025550193"


class HelpDesk:
    """Callers wait in a queue with music, hear their place, and leave by a key; an agent takes one after the other."""

    def __init__(self, setup: SimulatorSetup) -> None:
        self.setup = setup
        self.client = Client(setup.sim.account_sid, setup.sim.auth_token)
        self.client.api.base_url = setup.sim.url
        self.url = ""
        self.places: dict[str, list[str]] = {}  # what each caller was told of its place, by number
        self.results: list[tuple[str, str]] = []
        self.connected: list[str] = []
        self.voicemail: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        response = VoiceResponse()
        match request.path:
            case "/incoming":
                response.enqueue("support", wait_url="/wait", action="/left")
            case "/wait":
                self.places.setdefault(form["From"], []).append(form["QueuePosition"])
                gather = response.gather(num_digits=1, timeout=1, action="/key")
                gather.say(f"You are number {form['QueuePosition']} of {form['CurrentQueueSize']}.")
                response.play("https://example.com/music.mp3")
            case "/key":
                response.leave() if form["Digits"] == "9" else response.redirect("/wait")
            case "/left":
                self.results.append((form["From"], form["QueueResult"]))
                if form["QueueResult"] == "leave":
                    response.redirect("/voicemail")
            case "/voicemail":
                self.voicemail.append(form["From"])
                response.pause(30)
            case "/agent":
                dial = Dial()
                dial.queue("support", url="/about-to-connect")
                response.append(dial)
                response.redirect("/agent")
            case "/about-to-connect":
                self.connected.append(form["From"])
                assert form["DequeingCallSid"]
                response.say("You will now be connected to an agent.")
        return web.Response(text=str(response), content_type="text/xml")

    async def ask(self, request: Callable[[], T]) -> T:
        """Ask the API: Twilio's client blocks, and the simulator runs in this event loop."""
        return await asyncio.to_thread(request)

    async def call(self, caller: str) -> str:
        call = await self.setup.incoming(f"{self.url}/incoming", caller=caller)
        await self.setup.advance(1)
        return str(call["sid"])

    async def queue(self) -> QueueInstance:
        (queue,) = await self.ask(self.client.queues.list)
        return queue

    async def waiting(self) -> list[str]:
        queue = await self.queue()
        members = await self.ask(queue.members.list)
        assert [member.position for member in members] == list(range(1, len(members) + 1))
        return [member.call_sid for member in members]


@pytest.fixture
async def desk(setup: SimulatorSetup) -> AsyncIterator[HelpDesk]:
    application = HelpDesk(setup)
    async with served(application.handle) as application.url:
        yield application


async def test_an_agent_takes_one_after_the_other(setup: SimulatorSetup, desk: HelpDesk) -> None:
    ann, bob, carla = [await desk.call(caller) for caller in (ANN, BOB, CARLA)]
    await setup.advance(10)
    assert await desk.waiting() == [ann, bob, carla]
    assert {caller: set(places) for caller, places in desk.places.items()} == {ANN: {"1"}, BOB: {"2"}, CARLA: {"3"}}
    assert min(map(len, desk.places.values())) > 1  # the music goes on for ever
    # The agent's call takes Ann, who hears that she will be connected.
    agent = await desk.ask(lambda: desk.client.calls.create(to=AGENT, from_=FROM, url=f"{desk.url}/agent"))
    await setup.advance(10)
    assert desk.connected == [ANN]
    assert await desk.waiting() == [bob, carla]
    assert desk.results == []
    # Ann hangs up, and her action is asked once; the agent's document goes on to Bob.
    await setup.by_hand(ann, "hangup")
    await setup.advance(10)
    assert desk.results == [(ANN, "bridged")]
    assert desk.connected == [ANN, BOB]
    assert desk.places[CARLA][-1] == "1"
    # Carla would rather leave a message.
    while desk.results == [(ANN, "bridged")]:
        await setup.by_hand(carla, "press", digits="9")
        await setup.advance(0.5)
    await setup.advance(1)
    assert desk.results[1:] == [(CARLA, "leave")]
    assert desk.voicemail == [CARLA]
    assert await desk.waiting() == []
    # The agent hangs up on Bob, whose action answers with nothing more to do.
    await setup.by_hand(agent.sid, "hangup")
    await setup.advance(1)
    assert desk.results[2:] == [(BOB, "bridged")]
    assert (await setup.fetch(bob))["status"] == "completed"
    assert not await setup.notes(agent.sid)


async def test_an_application_takes_the_next_over_rest(setup: SimulatorSetup, desk: HelpDesk) -> None:
    ann, bob = [await desk.call(caller) for caller in (ANN, BOB)]
    queue = await desk.queue()
    assert (queue.friendly_name, queue.current_size, queue.max_size) == ("support", 2, 1000)
    front = await desk.ask(lambda: queue.members.get("Front").update(url=f"{desk.url}/voicemail"))
    assert (front.call_sid, front.position) == (ann, 1)
    await setup.advance(1)
    assert desk.voicemail == [ANN]
    assert desk.results == [(ANN, "redirected")]
    assert await desk.waiting() == [bob]
