"""A hotline: a caller presses 1 and is connected to the agent; whom nobody answers is called back.

It is served by Python's own http.server. With an account at Twilio: TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and
PUBLIC_URL, the address by which Twilio reaches it, in the environment, and `python hotline.py`.
"""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.twiml.voice_response import Gather, VoiceResponse

NUMBER = "+15005550006"
AGENT = "+12025550100"


class Hotline(ThreadingHTTPServer):
    """Answers Twilio's requests at `url`, and calls back with its client."""

    def __init__(self, client: Client, auth_token: str, port: int = 0, url: str = "") -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.client, self.validator = client, RequestValidator(auth_token)
        self.url = url or f"http://127.0.0.1:{self.server_port}"
        self.ended: list[str] = []  # how calls back ended

    def voice(self, _form: dict[str, str]) -> VoiceResponse:
        """A call has come in, or has been answered."""
        response = VoiceResponse()
        menu = response.append(Gather(num_digits=1, action="/choice", timeout=5))
        menu.say("Press 1 for an agent.")
        response.say("Goodbye.")
        return response

    def choice(self, form: dict[str, str]) -> VoiceResponse:
        """A key was pressed."""
        response = VoiceResponse()
        if form["Digits"] == "1":
            response.dial(AGENT, action="/dialed", timeout=20)
        else:
            response.redirect("/voice")
        return response

    def dialed(self, form: dict[str, str]) -> VoiceResponse:
        """The agent has hung up, or was not to be had."""
        response = VoiceResponse()
        if form["DialCallStatus"] != "completed":
            response.say("We will call you back.")
            self.call_back(form["From"])
        return response

    def status(self, form: dict[str, str]) -> None:
        """A call back has ended."""
        self.ended.append(form["CallStatus"])

    def call_back(self, caller: str) -> None:
        """Call somebody who could not be connected."""
        self.client.calls.create(to=caller, from_=NUMBER, url=f"{self.url}/voice", status_callback=f"{self.url}/status")


class Answer(BaseHTTPRequestHandler):
    """Passes on what Twilio has signed, and answers with TwiML."""

    server: Hotline

    def do_POST(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = dict(parse_qsl(body, keep_blank_values=True))
        signature = self.headers.get("X-Twilio-Signature", "")
        if not self.server.validator.validate(self.server.url + self.path, form, signature):
            return self.answer(403)
        paths = {
            "/voice": self.server.voice,
            "/choice": self.server.choice,
            "/dialed": self.server.dialed,
            "/status": self.server.status,
        }
        document = paths[self.path](form)
        return self.answer(200, str(document)) if document is not None else self.answer(204)

    def answer(self, status: int, document: str = "") -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(document)))
        self.end_headers()
        self.wfile.write(document.encode())

    def log_message(self, *_: object) -> None:
        """Write no log."""


if __name__ == "__main__":
    account, token = os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"]
    Hotline(Client(account, token), token, port=5000, url=os.environ["PUBLIC_URL"]).serve_forever()
