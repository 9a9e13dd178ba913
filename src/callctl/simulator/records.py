"""What happened: every request received and made, in the order in which they were answered; and what a call was.

Credentials are in none of it: neither those of the account, nor user and password of an application's URL.
"""

import heapq
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic, TypeVar

from callctl.simulator.http_requests import Moment, Noted, OnTraffic, Received, Reply, Sent, ignore
from callctl.simulator.models import FINAL, Leg

MAX_BODY = 64 * 1024  # bytes of a reply
MAX_BODIES = 32 * 1024 * 1024  # bytes of all replies to requests received, and as many to those made
KEEP = 10_000
USER = re.compile(r"(?<=://)[^/?#\s@\"'<>]+@")
TOKEN = re.compile(rb'(?<="auth_token": )"[^"]*"')

R = TypeVar("R", Received, Sent)


class Records:
    """Every request that was received or made, as far as they are kept; each goes to `on_traffic` too."""

    def __init__(
        self,
        *,
        now: Callable[[], float] = lambda: 0.0,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        keep: int = KEEP,
        on_traffic: OnTraffic = ignore,
    ) -> None:
        self._now = now
        self._wall = wall
        self._on_traffic = on_traffic
        self._received = _Kept[Received](keep)
        self._sent = _Kept[Sent](keep)
        self.last = 0  # the number of the latest
        self.watchers: list[Callable[[Received | Sent], None]] = []  # each is called with every record at once

    def moment(self) -> Moment:
        """Return what the time is."""
        return Moment(self._now(), self._wall())

    def received(self, record: Received) -> None:
        """Keep a request that was received and is answered."""
        record = replace(
            record,
            number=self._next(),
            query=_safe_values(record.query),
            form=_safe_values(record.form),
            reply=_safe_reply(record.reply),
        )
        self._received.append(record, record.reply)
        self._notify(record)

    def sent(self, record: Sent) -> None:
        """Keep a request that was made, and is answered or was dropped."""
        reply = None if record.reply is None else _safe_reply(record.reply)
        params = record.params
        if any(map(USER.search, params.values())):
            params = {name: _safe(value) for name, value in params.items()}
        record = replace(record, number=self._next(), params=params, reply=reply)
        self._sent.append(record, reply)
        self._notify(record)

    def noted(self, note: Noted) -> None:
        """Report what was noted of a call, which its notifications keep."""
        self._on_traffic(note)

    def all_received(self) -> tuple[Received, ...]:
        """Return the requests received, in the order in which they were answered."""
        return tuple(self._received.records)

    def all_sent(self) -> tuple[Sent, ...]:
        """Return the requests made, in the order in which they were answered."""
        return tuple(self._sent.records)

    def after(self, number: int = 0) -> Iterator[Received | Sent]:
        """Yield all with a greater number, the oldest first."""
        received: Iterable[Received | Sent] = self._received.records
        for record in heapq.merge(received, self._sent.records, key=_number):
            if record.number > number:
                yield record

    def _notify(self, record: Received | Sent) -> None:
        for watcher in self.watchers:
            watcher(record)
        self._on_traffic(record)

    def _next(self) -> int:
        self.last += 1
        return self.last


def _number(record: Received | Sent) -> int:
    return record.number


class _Kept(Generic[R]):
    """The newest records of one kind: no more than so many, and with no more than `MAX_BODIES` of replies."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._sizes: deque[int] = deque()
        self._size = 0
        self.records: deque[R] = deque()

    def append(self, record: R, reply: Reply | None) -> None:
        size = 0 if reply is None else len(reply.body)
        self.records.append(record)
        self._sizes.append(size)
        self._size += size
        while self.records and (len(self.records) > self._keep or self._size > MAX_BODIES):
            self.records.popleft()
            self._size -= self._sizes.popleft()


def _safe(text: str) -> str:
    return USER.sub("", text)


def _safe_values(form: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    if not any(USER.search(value) for values in form.values() for value in values):
        return form
    return {name: tuple(map(_safe, values)) for name, values in form.items()}


def _safe_reply(reply: Reply) -> Reply:
    """Return a reply without credentials, and with no more of its body than is kept."""
    body = reply.body[:MAX_BODY]
    if b"@" in body and b"://" in body:
        body = _safe(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if b'"auth_token"' in body:
        body = TOKEN.sub(b"null", body)
    return reply if body is reply.body else replace(reply, body=body)


@dataclass(frozen=True, slots=True)
class Change:
    """One status that a call had, and since when: simulated seconds since the start or the last reset, and the time."""

    at: float
    time: datetime
    status: str


@dataclass(frozen=True, slots=True)
class CallNote:
    """One of a call's notifications: an error or a warning (`level`), and the request that it is about, if any."""

    at: float
    time: datetime
    code: int
    message: str
    url: str
    level: str


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call, as it is at one moment; `room` is the conference that it joined last.

    `duration` is in seconds from the answer. What can't be said yet, or not of this call, is None.
    """

    sid: str
    parent_sid: str | None
    to: str
    from_: str
    direction: str
    status: str
    answered_by: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    duration: int | None
    timeline: tuple[Change, ...]
    notifications: tuple[CallNote, ...]
    room: str | None

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.status in FINAL

    @classmethod
    def of(cls, leg: Leg) -> "Call":
        """Return what is known of a leg."""
        facts = leg.facts
        return cls(
            sid=leg.sid,
            parent_sid=None if leg.parent is None else leg.parent.sid,
            to=leg.to,
            from_=leg.from_,
            direction=leg.direction,
            status=facts.status,
            answered_by=facts.answered_by,
            created=leg.created,
            started=facts.started,
            ended=facts.ended,
            duration=facts.duration,
            timeline=tuple(Change(when.at, when.time, status) for when, status in leg.timeline),
            notifications=tuple(
                CallNote(note.at, note.date, note.code, note.text, note.url, "warning" if note.log == "1" else "error")
                for note in leg.notifications
            ),
            room=leg.room,
        )
