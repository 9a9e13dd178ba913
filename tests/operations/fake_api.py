"""An API client that gives the answers of the test, and time that passes only when somebody sleeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from calls_api import UnexpectedRequest
from events import moment

from callctl.api.requests import RedirectRequest
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.filter import CallFilter
from callctl.calls.leg import Leg
from callctl.errors import CallctlError, WrongCallStateError
from callctl.operations.reported_status import reported_legs

SID = "CA" + "1" * 32
PARENT = "CA" + "2" * 32

Answer = Call | CallctlError
Answers = list[Answer]  # within the class, ``list`` is the method


def call(status: str, sid: str = SID, **fields: Any) -> Call:
    return Call(sid, status, **fields)


def wrong_state() -> WrongCallStateError:
    return WrongCallStateError("Call is not in-progress.", status=400, code="21220")


@dataclass
class Time:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@dataclass
class FakeApi(UnexpectedRequest):
    """Gives its answers one after the other, the last one for ever; records the requests."""

    hangups: list[Answer] = field(default_factory=list)
    cancels: list[Answer] = field(default_factory=list)
    fetches: list[Answer] = field(default_factory=list)
    redirects: list[Answer] = field(default_factory=list)
    listed: list[Call] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def hangup(self, _sid: str) -> Call:
        return self._answer("hangup", self.hangups)

    def cancel(self, _sid: str) -> Call:
        return self._answer("cancel", self.cancels)

    def fetch(self, _sid: str) -> Call:
        return self._answer("fetch", self.fetches)

    def redirect(self, _sid: str, _request: RedirectRequest) -> Call:
        return self._answer("redirect", self.redirects)

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
        self.requests.append("list")
        matching = [call for call in self.listed if query.matches(call)]
        return iter(matching[: min(page_size, limit or page_size)])

    def _answer(self, name: str, answers: Answers) -> Call:
        self.requests.append(name)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Call):
            return answer
        raise answer


@dataclass
class Unanswered(FakeApi):
    """An API client that answers when the test is over."""

    over: threading.Event = field(default_factory=threading.Event)

    def fetch(self, _sid: str) -> Call:
        self.over.wait()
        return call("completed")


@dataclass
class Reported:
    """What callbacks reported of families, ten seconds after the start."""

    events: Sequence[CallEvent] = ()
    unlisted: list[str] = field(default_factory=list)

    def family(self, sid: str) -> Mapping[str, Leg]:
        legs = reported_legs(self.events)
        heads = {sid, legs[sid].parent_call_sid} - {None} if sid in legs else {sid}
        return {leg.call_sid: leg for leg in legs.values() if heads & {leg.call_sid, leg.parent_call_sid}}

    def now(self) -> datetime:
        return moment(10)

    def say_unlisted(self, sids: Sequence[str]) -> None:
        self.unlisted += sids
