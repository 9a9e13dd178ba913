"""What happened in a simulator, in a few lines: for who looks at a test that failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callctl.simulator.http_requests import ACCOUNT, Received, Sent
from callctl.simulator.records import Call
from callctl.support.dates import seconds_text

if TYPE_CHECKING:
    from callctl.simulator.simulator import Simulator

MOST_CALLS = 10
MOST_REQUESTS = 30
MOST_TEXT = 300  # characters of a document, or of why a request was refused
SAID = ("Digits", "SpeechResult", "DialCallStatus", "QueueResult", "RecordingStatus")  # why a document is requested


@dataclass(frozen=True, slots=True)
class Summary:
    """What had happened at one moment; the text is made when it is needed."""

    at: float
    calls: tuple[Call, ...]
    received: tuple[Received, ...]
    sent: tuple[Sent, ...]

    @classmethod
    def of(cls, simulator: Simulator) -> Summary:
        """Return what has happened until now."""
        return cls(simulator.simulated_seconds(), simulator.calls, simulator.requests, simulator.sent)

    def text(self) -> str:
        """Return calls with their statuses and what was noted of them, and requests with their answers.

        Times are simulated seconds. Of many the latest are shown.
        """
        return "\n".join(_one_line(line) for line in self._lines())

    def _lines(self) -> Iterator[str]:
        counts = (
            _count(len(self.calls), "call"),
            f"{_count(len(self.received), 'request')} received",
            f"{len(self.sent)} made",
        )
        yield f"at {seconds_text(self.at)} s: {', '.join(counts)}"
        if len(self.calls) > MOST_CALLS:
            yield f"({len(self.calls) - MOST_CALLS} earlier calls are left out)"
        for call in self.calls[-MOST_CALLS:]:
            yield from _of_call(call)
        requests: list[Received | Sent] = [*self.received, *self.sent]
        requests.sort(key=lambda request: request.number)
        if len(requests) > MOST_REQUESTS:
            yield f"({len(requests) - MOST_REQUESTS} earlier requests are left out)"
        for request in requests[-MOST_REQUESTS:]:
            yield from _of_request(request)


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _of_call(call: Call) -> Iterator[str]:
    course = ", ".join(f"{change.status} at {seconds_text(change.at)}" for change in call.timeline)
    yield f"{call.sid} {call.direction} {call.from_} -> {call.to}: {course}"
    for note in call.notifications:
        yield f"    {note.level} {note.code} at {seconds_text(note.at)}: {note.message}"


def _of_request(request: Received | Sent) -> Iterator[str]:
    arrow = "<-" if isinstance(request, Received) else "->"
    said = [f"{name}={value}" for name in SAID for value in request.parameters.get(name, ()) if value]
    about = " ".join(part for part in (request.kind, request.about, *said, request.call) if part and part != "api")
    code = "" if request.code is None else f" {request.code}"
    url = ACCOUNT.sub("", request.url) if isinstance(request, Received) else request.url
    yield f"{request.at:7.1f} {arrow} {_outcome(request)}{code} {request.method} {url} {about}".rstrip()
    if reason := _reason(request):
        yield f"           {reason}"


def _outcome(request: Received | Sent) -> str:
    if request.reply is None:
        return "dropped"
    return "failed" if request.reply.status is None else str(request.reply.status)


def _reason(request: Received | Sent) -> str:
    """Return what the document was, or why it failed or was refused."""
    reply = request.reply
    if reply is None:
        return ""
    if reply.status is None:
        return reply.error
    if isinstance(request, Received):
        return "" if reply.ok else _message(reply.text)
    return reply.text if request.kind == "document" or not reply.ok else ""


def _message(body: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        return body


def _one_line(text: str) -> str:
    """Return a text without control characters, which others have sent, and no longer than one wants to read."""
    indent = text[: len(text) - len(text.lstrip(" "))]
    plain = " ".join(text.split())
    plain = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in plain)
    return indent + (plain if len(plain) <= MOST_TEXT else f"{plain[:MOST_TEXT]}…")
