"""Conferences as applications use them: a warm transfer, a running call that becomes one, hold and resume.

Each application answers as Twilio's documentation shows it, and asks with Twilio's own client.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest
from aiohttp import web
from simulator.setup import ANSWERS, FROM, LATE, SimulatorSetup, served, simulator_setup
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client
from twilio.rest.api.v2010.account.conference import ConferenceInstance
from twilio.twiml.voice_response import Dial, VoiceResponse

T = TypeVar("T")
CUSTOMER, FIRST_AGENT, SECOND_AGENT = "+12025550199", "client:agent1", "client:agent2"


class Application:
    """An application with Twilio's client; it keeps what it was told of conferences."""

    def __init__(self, setup: SimulatorSetup) -> None:
        self.setup = setup
        self.client = Client(setup.sim.account_sid, setup.sim.auth_token)
        self.client.api.base_url = setup.sim.url
        self.url = ""
        self.events: list[dict[str, str]] = []
        self.left_dial: list[dict[str, str]] = []
        self.music: list[str] = []  # the method of each request for it

    async def ask(self, request: Callable[[], T]) -> T:
        """Ask the API: Twilio's client blocks, and the simulator runs in this event loop."""
        return await asyncio.to_thread(request)

    async def handle(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()} | dict(request.query)
        match request.path:
            case "/events":
                self.events.append(form)
                return web.Response(status=204)
            case "/hold-music":
                self.music.append(request.method)
                response = VoiceResponse()
                response.play("https://example.com/music.mp3")
                response.redirect("")
            case _:
                response = await self.answer(request.path, form)
        return web.Response(text=str(response), content_type="text/xml")

    async def answer(self, path: str, form: dict[str, str]) -> VoiceResponse:
        raise NotImplementedError

    def room(self, name: str, **attributes: object) -> VoiceResponse:
        dial = Dial(action="/left")
        dial.conference(
            name,
            status_callback="/events",
            status_callback_event="start end join leave mute hold",
            wait_url="/hold-music",
            **attributes,
        )
        response = VoiceResponse()
        response.append(dial)
        return response

    def happened(self) -> list[tuple[str, str]]:
        """Each event with whom it is about, in the order of their numbers."""
        forms = sorted(self.events, key=lambda form: int(form["SequenceNumber"]))
        return [(form["StatusCallbackEvent"], form.get("ParticipantLabel", "")) for form in forms]

    async def conference(self) -> ConferenceInstance:
        (conference,) = await self.ask(lambda: self.client.conferences.list(status="in-progress"))
        return conference

    async def labels(self) -> list[str]:
        """The labels of those who are in the conference."""
        conference = await self.conference()
        return sorted(each.label for each in await self.ask(conference.participants.list))


class CallCenter(Application):
    """A customer waits in a conference for the first agent, who brings in a second one and leaves."""

    async def answer(self, path: str, form: dict[str, str]) -> VoiceResponse:
        match path:
            case "/incoming":
                self.customer = form["CallSid"]
                await self.call(FIRST_AGENT, "/agent1")
                return self.room(self.customer, participant_label="customer", start_conference_on_enter=False)
            case "/agent1":
                return self.room(self.customer, participant_label="agent1")
            case "/agent2":
                return self.room(self.customer, participant_label="agent2", end_conference_on_exit=True)
            case "/left":
                self.left_dial.append(form)
        return VoiceResponse()

    async def call(self, agent: str, path: str) -> str:
        create = self.client.calls.create
        call = await self.ask(lambda: create(to=agent, from_=FROM, url=f"{self.url}{path}"))
        return str(call.sid)


class Switchboard(Application):
    """Two talk by a Dial, whose action leads the caller into a conference once the callee is in it."""

    async def answer(self, path: str, form: dict[str, str]) -> VoiceResponse:
        match path:
            case "/talk":
                response = VoiceResponse()
                response.dial(ANSWERS, action="/after")
                return response
            case "/callee":
                return self.room("meeting", participant_label="callee")
            case "/after":
                self.left_dial.append(form)
                return self.room("meeting", participant_label="caller")
        return VoiceResponse()


@pytest.fixture
async def setup() -> AsyncIterator[SimulatorSetup]:
    async with simulator_setup() as setup:
        yield setup


@pytest.fixture
async def call_center(setup: SimulatorSetup) -> AsyncIterator[CallCenter]:
    application = CallCenter(setup)
    async with served(application.handle) as application.url:
        yield application


@pytest.fixture
async def switchboard(setup: SimulatorSetup) -> AsyncIterator[Switchboard]:
    application = Switchboard(setup)
    async with served(application.handle) as application.url:
        yield application


async def test_a_warm_transfer(setup: SimulatorSetup, call_center: CallCenter) -> None:
    customer = (await setup.incoming(f"{call_center.url}/incoming", caller=CUSTOMER))["sid"]
    await setup.advance(1)
    assert call_center.happened() == [("participant-join", "customer")]
    assert call_center.music == ["POST"]  # the customer hears it while the agent's phone rings
    await setup.advance(5)
    assert call_center.happened()[1:] == [("participant-join", "agent1"), ("conference-start", "")]
    # The first agent brings in the second one, says what it is about, and hangs up.
    await call_center.call(SECOND_AGENT, "/agent2")
    await setup.advance(5)
    assert await call_center.labels() == ["agent1", "agent2", "customer"]
    (first_agent,) = await setup.calls(To=FIRST_AGENT)
    await setup.by_hand(first_agent["sid"], "hangup")
    await setup.advance(1)
    assert await call_center.labels() == ["agent2", "customer"]
    assert (await setup.fetch(customer))["status"] == "in-progress"
    # The second agent's leaving ends it for the customer, too.
    (second_agent,) = await setup.calls(To=SECOND_AGENT)
    await setup.by_hand(second_agent["sid"], "hangup")
    await setup.advance(1)
    assert call_center.happened()[3:] == [
        ("participant-join", "agent2"),
        ("participant-leave", "agent1"),
        ("participant-leave", "agent2"),
        ("participant-leave", "customer"),
        ("conference-end", ""),
    ]
    end = call_center.events[-1]
    assert end["ReasonConferenceEnded"] == "participant-with-end-conference-on-exit-left"
    assert end["ParticipantLabelEndingConference"] == "agent2"
    assert (await setup.fetch(customer))["status"] == "completed"
    left = {form["CallSid"]: form for form in call_center.left_dial}
    assert left[customer]["DialCallStatus"] == "answered"
    assert "DialCallDuration" not in left[customer]
    assert await setup.notes(customer) == []


async def test_a_running_call_becomes_a_conference_and_loses_a_leg(
    setup: SimulatorSetup, switchboard: Switchboard
) -> None:
    client, ask = switchboard.client, switchboard.ask
    create = client.calls.create
    caller = await ask(lambda: create(to=LATE, from_=FROM, url=f"{switchboard.url}/talk"))
    await setup.advance(25)
    (callee,) = await ask(lambda: client.calls.list(parent_call_sid=caller.sid, status="in-progress"))
    await ask(lambda: client.calls(callee.sid).update(url=f"{switchboard.url}/callee"))
    await setup.advance(2)
    assert sorted(switchboard.happened()[:2]) == [("participant-join", "callee"), ("participant-join", "caller")]
    assert switchboard.happened()[2:] == [("conference-start", "")]
    assert "DialCallDuration" not in switchboard.left_dial[0]
    conference = await switchboard.conference()
    assert conference.friendly_name == "meeting"
    # A supervisor is called into it.
    supervisor = await ask(
        lambda: client.conferences(conference.sid).participants.create(to=ANSWERS, from_=FROM, label="supervisor")
    )
    await setup.advance(5)
    assert await switchboard.labels() == ["callee", "caller", "supervisor"]
    # The callee is taken out; its leg ends, and the others talk on.
    participants = client.conferences(conference.sid).participants
    assert await ask(lambda: participants(callee.sid).delete())
    await setup.advance(2)
    assert await switchboard.labels() == ["caller", "supervisor"]
    assert (await setup.fetch(callee.sid))["status"] == "completed"
    for sid in (caller.sid, supervisor.call_sid):
        assert (await setup.fetch(str(sid)))["status"] == "in-progress"
    with pytest.raises(TwilioRestException) as gone:
        await ask(lambda: participants("callee").fetch())
    assert (gone.value.status, gone.value.code) == (404, 20404)
    ended = await ask(lambda: client.conferences(conference.sid).update(status="completed"))
    assert (ended.status, ended.reason_conference_ended) == ("completed", "conference-ended-via-api")
    await setup.advance(2)
    assert await ask(lambda: client.calls.list(status="in-progress")) == []


async def test_a_participant_is_put_on_hold_and_resumed(setup: SimulatorSetup, call_center: CallCenter) -> None:
    await setup.incoming(f"{call_center.url}/incoming", caller=CUSTOMER)
    await setup.advance(6)
    conference = await call_center.conference()
    customer = call_center.client.conferences(conference.sid).participants("customer")
    heard = len(call_center.music)
    held = await call_center.ask(lambda: customer.update(hold=True, hold_url=f"{call_center.url}/hold-music"))
    assert (held.hold, held.muted, held.status) == (True, False, "connected")
    await setup.advance(7)
    assert call_center.music[heard:] == ["GET", "POST", "POST", "POST"]  # then as its <Redirect> says
    resumed = await call_center.ask(lambda: customer.update(hold=False))
    assert not resumed.hold
    heard = len(call_center.music)
    await setup.advance(7)
    assert len(call_center.music) == heard
    assert call_center.happened()[-2:] == [("participant-hold", "customer"), ("participant-unhold", "customer")]
