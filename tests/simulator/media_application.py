"""An application with a WebSocket for media streams, which notes what it hears and says what a test wants."""

import base64
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web
from twilio.request_validator import RequestValidator

Message = dict[str, Any]


class MediaApplication:
    """Each message goes to `on_message`, which may answer; `heard` has them all, `signed` whether handshakes were."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.url = ""  # wss://…, set by who serves it
        self.heard: list[Message] = []
        self.signed: list[bool] = []
        self.closes: list[int | None] = []
        self.on_message: Callable[[Message], list[Message] | None] = lambda _: []
        self.sockets: list[web.WebSocketResponse] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        signature = request.headers.get("X-Twilio-Signature", "")
        address = f"{self.url}{request.raw_path}"
        self.signed.append(bool(RequestValidator(self._token).validate(address, {}, signature)))
        socket = web.WebSocketResponse(timeout=0.2)
        await socket.prepare(request)
        self.sockets.append(socket)
        async for frame in socket:
            message = json.loads(frame.data)
            self.heard.append(message)
            answers = self.on_message(message)
            if answers is None:
                await socket.close()
                break
            for answer in answers:
                await socket.send_json({"streamSid": message.get("streamSid", "")} | answer)
        self.closes.append(socket.close_code)
        return socket

    def events(self, *but: str) -> list[str]:
        """The events that were heard, but those named."""
        return [message["event"] for message in self.heard if message["event"] not in but]

    def of(self, event: str) -> list[Message]:
        return [message for message in self.heard if message["event"] == event]


def sound(seconds: float) -> Message:
    """So much sound to play."""
    payload = base64.b64encode(b"\x7f" * round(8000 * seconds)).decode()
    return {"event": "media", "media": {"payload": payload}}


def mark(name: str) -> Message:
    return {"event": "mark", "mark": {"name": name}}


CLEAR: Message = {"event": "clear"}
