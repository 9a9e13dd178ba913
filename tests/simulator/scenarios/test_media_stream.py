"""An agent on a media stream: it greets, takes the caller's choice by key, and hands over to a person."""

import base64
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from simulator.media_application import CLEAR, MediaApplication, Message, mark
from simulator.setup import ANSWERS, FROM, SimulatorSetup, served
from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

CALLER = "+12025550161"
SILENT_SECOND = base64.b64encode(b"\xff" * 8000).decode()


class Agent:
    """An application as Twilio's documentation of media streams shows it, with the voice of a machine left out."""

    def __init__(self, setup: SimulatorSetup) -> None:
        self.setup = setup
        self.url = ""
        self.media = MediaApplication(setup.sim.auth_token)
        self.media.on_message = self.on_message
        self.stream_events: list[str] = []
        self.heard_seconds = 0.0
        self.plan = ""
        self.handed_over: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/media":
            return await self.media.handle(request)
        form = {name: str(value) for name, value in (await request.post()).items()}
        response = VoiceResponse()
        match request.path:
            case "/incoming":
                connect = Connect(action="/person")
                stream = Stream(url=f"wss://{request.host}/media", status_callback=f"{self.url}/stream", name="agent")
                stream.parameter(name="caller", value=form["From"])
                connect.append(stream)
                response.append(connect)
            case "/person":
                self.handed_over.append(form)
                response.dial(ANSWERS)
            case "/stream":
                self.stream_events.append(form["StreamEvent"])
                return web.Response(status=204)
        return web.Response(text=str(response), content_type="text/xml")

    def on_message(self, message: Message) -> list[Message] | None:
        match message["event"]:
            case "start":
                assert message["start"]["customParameters"] == {"caller": CALLER}
                return [*self.say(30), mark("greeting")]
            case "media":
                self.heard_seconds += len(base64.b64decode(message["media"]["payload"])) / 8000
            case "dtmf":  # the caller does not wait for the end of the greeting
                self.plan = message["dtmf"]["digit"]
                return [CLEAR, *self.say(2), mark("goodbye")]
            case "mark" if message["mark"]["name"] == "goodbye":
                return None
        return []

    @staticmethod
    def say(seconds: int) -> list[Message]:
        return [{"event": "media", "media": {"payload": SILENT_SECOND}}] * seconds


@pytest.fixture
async def agent(setup: SimulatorSetup) -> AsyncIterator[Agent]:
    application = Agent(setup)
    async with served(application.handle) as application.url:
        application.media.url = application.url.replace("http:", "wss:")
        yield application
    assert application.media.signed == [True]


async def test_an_agent_takes_a_choice_and_hands_over(setup: SimulatorSetup, agent: Agent) -> None:
    call = await setup.incoming(f"{agent.url}/incoming", caller=CALLER)
    await setup.advance(5)
    assert agent.stream_events == ["stream-started"]
    assert agent.media.events("media") == ["connected", "start"]  # the greeting takes 30 s
    await setup.by_hand(call["sid"], "press", digits="2")
    await setup.advance(1)
    assert agent.plan == "2"
    assert [message["mark"]["name"] for message in agent.media.of("mark")] == ["greeting"]
    await setup.advance(2)
    assert [message["mark"]["name"] for message in agent.media.of("mark")] == ["greeting", "goodbye"]
    assert agent.stream_events == ["stream-started", "stream-stopped"]
    assert agent.heard_seconds == pytest.approx(7, abs=0.5)
    await setup.advance(5)
    assert [form["CallStatus"] for form in agent.handed_over] == ["in-progress"]
    (child,) = await setup.children(call["sid"])
    assert (child["to"], child["status"]) == (ANSWERS, "in-progress")
    await setup.by_hand(call["sid"], "hangup")
    await setup.advance(1)
    assert (await setup.fetch(call["sid"]))["status"] == "completed"
    assert not await setup.notes(call["sid"])


async def test_the_caller_hangs_up_on_the_agent(setup: SimulatorSetup, agent: Agent) -> None:
    call = await setup.incoming(f"{agent.url}/incoming", caller=CALLER)
    await setup.advance(5)
    await setup.by_hand(call["sid"], "hangup")
    await setup.advance(1)
    assert agent.media.events("media") == ["connected", "start", "stop"]
    assert agent.stream_events == ["stream-started", "stream-stopped"]
    assert not agent.handed_over
    assert setup.last(call["sid"])["CallStatus"] == "completed"
    assert call["to"] == FROM
