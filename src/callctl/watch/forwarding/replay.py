"""Stored callbacks sent to an application once more: signed anew, in the order and at the pace in which they came."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from multidict import CIMultiDict
from yarl import URL

from callctl.calls.event import CallEvent
from callctl.errors import without_secrets
from callctl.support.dates import format_date
from callctl.watch.forwarding.application import Answer, Application
from callctl.watch.listener.server import REPLAY_HEADER
from callctl.watch.listener.signature import signature_of

# Pauses from so many seconds on are announced.
LONG_GAP = 10.0
# From this status on an application has refused a callback.
_REFUSED = 400


class Replay(NamedTuple):
    """A stored callback, and the URL to which it is to be sent."""

    event: CallEvent
    url: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """A callback that was sent once more to the URL ``given``, and the answer."""

    event: CallEvent
    given: str
    answer: Answer

    @property
    def url(self) -> str:
        """Where it went, without a password."""
        return without_secrets(self.given)

    @property
    def is_accepted(self) -> bool:
        """Whether the application answered, and did not refuse it."""
        return self.answer.status is not None and self.answer.status < _REFUSED

    @property
    def reason(self) -> str | None:
        """Why it was not accepted; None if it was."""
        return None if self.is_accepted else self.answer.failure or f"HTTP {self.answer.status}"

    @property
    def came_to_callctl(self) -> bool:
        """Whether a listener of callctl answered, which takes no replays."""
        return any(name.lower() == REPLAY_HEADER.lower() for name, _ in self.answer.headers)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``callctl replay --json`` writes."""
        return {
            "v": 1,
            "type": "replayed",
            **facts(self.event),
            "url": self.url,
            "status": self.answer.status,
            "seconds": round(self.answer.seconds, 3),
            "reason": self.reason,
        }


def facts(event: CallEvent) -> dict[str, Any]:
    """Return the fields of a callback in the records of replays."""
    return {
        "call_sid": event.call_sid,
        "event": event.event,
        "call_status": event.status or None,
        "kind": event.kind,
        "received_at": format_date(event.received_at),
    }


@dataclass(frozen=True, slots=True)
class Sending:
    """How callbacks are sent once more.

    ``key`` signs, over ``signed_url`` as it is spelled or, if that is None, over the URL to which it is sent. ``speed``
    is how many times as fast as they came; None sends the next as soon as one is answered. Without ``verify`` any
    certificate is accepted.
    """

    key: str = field(repr=False)
    speed: float | None = 1.0
    signed_url: str | None = None
    verify: bool = True


async def replay(
    callbacks: Iterable[Replay],
    sending: Sending,
    *,
    on_gap: Callable[[float, CallEvent], None] = lambda _seconds, _event: None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncGenerator[Replayed, None]:
    """Send callbacks one after the other, each once the one before is answered, and yield each with its answer.

    ``on_gap`` is called before a long pause, with its seconds and the callback that comes after it. ``clock`` returns
    seconds.

    Raises:
        SettingsError: The certificates that SSL_CERT_FILE names can't be read.
    """
    applications: dict[str, Application] = {}
    pace = None if sending.speed is None else _Pace(sending.speed, clock)
    async with AsyncExitStack() as stack:
        for event, url in callbacks:
            if pace is not None and (pause := pace.pause_before(event.received_at)) > 0:
                if pause >= LONG_GAP:
                    on_gap(pause, event)
                await sleep(pause)
            if url not in applications:
                application = Application(url, verify=sending.verify, clock=clock, keeps_connections=False)
                application.open()
                stack.push_async_callback(application.close)
                applications[url] = application
            yield await _send(event, applications[url], sending)


class _Pace:
    """Spaces callbacks as they once arrived, counted from the first one."""

    def __init__(self, speed: float, clock: Callable[[], float]) -> None:
        self._speed, self._clock = speed, clock
        self._first: datetime | None = None
        self._began = 0.0

    def pause_before(self, arrived: datetime) -> float:
        """Return the seconds until a callback is due that arrived at this time; 0 or less if it is due now."""
        now = self._clock()
        if self._first is None:
            self._first, self._began = arrived, now
        return self._began + (arrived - self._first).total_seconds() / self._speed - now


async def _send(event: CallEvent, application: Application, sending: Sending) -> Replayed:
    signed_url = _as_sent(application.url) if sending.signed_url is None else _as_given(sending.signed_url)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "Accept": "*/*",
        "User-Agent": "callctl-replay",
        "X-Twilio-Signature": signature_of(signed_url, event.form, key=sending.key),
        REPLAY_HEADER: format_date(event.received_at) or "",
    }
    body = urlencode(event.form).encode()
    answer = await application.send("POST", application.url, headers=CIMultiDict(headers), body=body)
    return Replayed(event, application.given, answer)


def _as_sent(url: URL) -> str:
    """Return a URL as the application sees it: by the Host and the target of the request."""
    return f"{url.scheme}://{url.host_port_subcomponent}{url.raw_path_qs}"


def _as_given(url: str) -> str:
    """Return a URL without user and fragment, and in all else as it is spelled: a signature is over the very text."""
    scheme, slashes, rest = url.partition("#")[0].partition("//")
    location = re.split("[/?]", rest, maxsplit=1)[0]
    return f"{scheme}{slashes}{location.rpartition('@')[2]}{rest[len(location) :]}"
