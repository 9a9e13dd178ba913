"""Voicemail: nobody is there, the caller leaves a message, and the application gets its file and its words."""

import io
import wave

from aiohttp import web
from simulator.setup import NEVER, SimulatorSetup, served, simulator_setup
from twilio.twiml.voice_response import VoiceResponse

from callctl.simulator import FarEnd

CALLER = "+12025550151"
MESSAGE = "Hello, this is Ann from the garage. Your car is ready, and we close at six."


class VoicemailBox:
    """An application that rings the owner, then takes a message, as Twilio's documentation of Record shows it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.texts: list[dict[str, str]] = []
        self.files: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        match request.path:
            case "/incoming":
                return self._twiml(self._ring())
            case "/nobody":
                return self._twiml(self._take_message(form))
            case "/message":
                self.messages.append(form)
                return self._twiml(self._thank())
            case "/transcription":
                self.texts.append(form)
            case "/file":
                self.files.append(form)
        return web.Response(status=204)

    @staticmethod
    def _twiml(response: VoiceResponse) -> web.Response:
        return web.Response(text=str(response), content_type="text/xml")

    @staticmethod
    def _ring() -> VoiceResponse:
        response = VoiceResponse()
        response.dial(NEVER, action="/nobody", timeout=10)
        return response

    @staticmethod
    def _take_message(form: dict[str, str]) -> VoiceResponse:
        response = VoiceResponse()
        if form["DialCallStatus"] == "completed":
            response.hangup()
            return response
        response.say("Please leave a message after the beep, and press the star key when finished.")
        response.record(
            action="/message",
            finish_on_key="*",
            max_length=60,
            transcribe=True,
            transcribe_callback="/transcription",
            recording_status_callback="/file",
        )
        response.say("I did not receive a recording.")
        return response

    @staticmethod
    def _thank() -> VoiceResponse:
        response = VoiceResponse()
        response.say("Thank you.")
        response.hangup()
        return response


async def left_message(setup: SimulatorSetup, box: VoicemailBox, url: str) -> dict[str, str]:
    """Let the caller call and the message be left; return the request about the file, once it is there."""
    await setup.incoming(f"{url}/incoming", caller=CALLER)
    await setup.advance(60)
    (file,) = box.files
    return file


async def test_a_message_is_left_and_transcribed() -> None:
    box = VoicemailBox()
    async with served(box.handle) as url, simulator_setup(far_end={CALLER: FarEnd(words=MESSAGE)}) as setup:
        file = await left_message(setup, box, url)
        (message,), (text,) = box.messages, box.texts
        assert text["TranscriptionText"] == MESSAGE
        assert text["From"] == CALLER
        assert message["RecordingSid"] == text["RecordingSid"] == file["RecordingSid"]
        assert message["CallStatus"] == "in-progress"
        async with setup.session.get(f"{file['RecordingUrl']}.wav", headers=setup.headers) as reply:
            assert reply.status == 200
            with wave.open(io.BytesIO(await reply.read())) as sound:
                assert str(sound.getnframes() // sound.getframerate()) == file["RecordingDuration"]
        assert await setup.notes(message["CallSid"]) == []


async def test_a_caller_who_hangs_up_has_left_a_message_too() -> None:
    box = VoicemailBox()
    # Ten seconds of ringing, an announcement of five, and a message of five behind it.
    caller = FarEnd(words=MESSAGE, hang_up_after=20.0)
    async with served(box.handle) as url, simulator_setup(far_end={CALLER: caller}) as setup:
        file = await left_message(setup, box, url)
        (message,), (text,) = box.messages, box.texts
        assert (message["Digits"], message["CallStatus"]) == ("hangup", "completed")
        assert (text["CallStatus"], text["RecordingSid"]) == ("completed", file["RecordingSid"])
