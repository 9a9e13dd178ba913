"""A survey by Record and Gather: a number by keys, then an opinion in words, then a goodbye."""

import pytest
from aiohttp import web
from simulator.setup import SimulatorSetup, served, simulator_setup
from twilio.twiml.voice_response import Gather, VoiceResponse

from callctl.simulator import FarEnd

ASKED = "+12025550152"
OPINION = "It was quick, and everybody was friendly."


class Survey:
    """An application with a question to a path, as Twilio's survey tutorials have it; answers are kept by call."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        answers = self.answers.setdefault(form["CallSid"], [])
        if request.path == "/opinion":
            answers.append(form["Digits"])
        elif request.path == "/words":
            answers.append(form["TranscriptionText"])
            return web.Response(status=204)
        elif request.path == "/goodbye":
            answers.append(form["RecordingDuration"])
        return web.Response(text=str(self._question(request.path)), content_type="text/xml")

    @staticmethod
    def _question(path: str) -> VoiceResponse:
        response = VoiceResponse()
        match path:
            case "/start":
                gather = Gather(num_digits=1, action="/opinion")
                gather.say("From one to five, how satisfied were you?")
                response.append(gather)
                response.redirect("/start")
            case "/opinion":
                response.say("And why? Press the pound key when you are done.")
                response.record(
                    action="/goodbye", finish_on_key="#", timeout=3, transcribe=True, transcribe_callback="/words"
                )
            case _:
                response.say("Thank you. Goodbye.")
        return response


async def surveyed(setup: SimulatorSetup, url: str) -> str:
    call = await setup.place(ASKED, Url=f"{url}/start")
    return str(call["sid"])


async def test_answers_by_keys_and_in_words() -> None:
    survey = Survey()
    far_end = {ASKED: FarEnd(digits="4", words=OPINION)}
    async with served(survey.handle) as url, simulator_setup(far_end=far_end) as setup:
        sid = await surveyed(setup, url)
        await setup.advance(60)
        assert survey.answers[sid] == ["4", "2", OPINION]
        assert setup.statuses(sid)[-1] == "completed"
        assert await setup.notes(sid) == []


@pytest.mark.parametrize("key", ["#", ""])
async def test_answers_by_hand(key: str) -> None:
    survey = Survey()
    async with served(survey.handle) as url, simulator_setup() as setup:
        sid = await surveyed(setup, url)
        await setup.advance(5)
        await setup.by_hand(sid, "press", digits="2")
        await setup.advance(5)
        await setup.by_hand(sid, "say", words=OPINION)
        await setup.advance(2.5)
        if key:
            await setup.by_hand(sid, "press", digits=key)
        await setup.advance(20)
        assert survey.answers[sid] == ["2", "2", OPINION]
