"""What time is advanced until: that a call has a status, that a request is made or received, that nothing goes on."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from callctl.simulator.errors import ControlError
from callctl.simulator.http_requests import ACCOUNT, Received, Sent
from callctl.simulator.models import FINAL, Leg
from callctl.simulator.records import Call
from callctl.simulator.switch.world import World
from callctl.support.dates import seconds_text

STATUSES = ("queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled")
MOST_NAMED = 5  # calls in an error
HOST = re.compile(r"^\w+://[^/?#]*")  # what comes before the path of a URL


@dataclass(slots=True)
class Condition:
    """Something that may come true, from when it is made: what is still so, and what is missing, say why it has not.

    `is_met` raises ControlError where it can't come true any more. `end` is called at the end of a `with`.
    """

    is_met: Callable[[], bool]
    missing: Callable[[], str]
    still: Callable[[], str]
    end: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def status_reached(world: World, status: str, leg: Leg | None) -> Condition:
    """A call has had a status; without a call, any one has it now or got it since time was advanced the last time."""
    if status not in STATUSES:
        raise ControlError(20001, f"status must be one of {', '.join(STATUSES)}, and not {status[:40]!r}")
    if leg is not None:
        return _status_of(leg, status)
    changes = world.switch.register.changes
    before = world.last_advance.changes[status]
    if any(each.status == status for each in world.switch.live_legs()):
        before = -1
    return Condition(
        is_met=lambda: changes[status] > before,
        missing=lambda: f"no call was {status}",
        still=lambda: _of_calls(world),
    )


def _status_of(leg: Leg, status: str) -> Condition:
    def is_met() -> bool:
        if any(each == status for _, each in leg.timeline):
            return True
        if leg.is_final:
            raise ControlError(
                20001, f"call {leg.sid} can't be {status} any more: it ended as {_state(leg)}{_why(leg)}", status=409
            )
        return False

    return Condition(
        is_met=is_met, missing=lambda: f"call {leg.sid} was not {status}", still=lambda: f"it is {_state(leg)}"
    )


def request_seen(world: World, text: str) -> Condition:
    """A request was made or received, and answered, whose method and URL, or method and path, contain a text.

    Of a path of the API what follows the account is enough, as in `POST /Calls.json`. Those since time was advanced
    the last time count: what is done to a call has it request documents at once.
    """
    if not text:
        raise ControlError(20001, "request must be a part of a request's method and URL, such as /voice or POST /voice")
    last, is_found = "", False

    def see(record: Received | Sent) -> None:
        nonlocal is_found, last
        last = f"{record.method} {record.url}{_outcome(record)}"
        path = HOST.sub("", record.url)
        is_found = is_found or any(
            text in f"{record.method} {each}" for each in (record.url, path, ACCOUNT.sub("", path))
        )

    for record in world.records.after(world.last_advance.number):
        see(record)
    watchers = world.records.watchers
    watchers.append(see)

    def still() -> str:
        return _of_calls(world) + (f"; the last request was {last}" if last else "; there was no request in that time")

    return Condition(
        is_met=lambda: is_found,
        missing=lambda: f"no request was made or received with {text[:200]!r} in its method and URL",
        still=still,
        end=lambda: watchers.remove(see),
    )


def _outcome(record: Received | Sent) -> str:
    if record.reply is None:
        return ", which was dropped"
    if record.reply.status is None:
        return f", which failed: {record.reply.error}"
    return f", answered {record.reply.status}"


def idle(world: World) -> Condition:
    """Every call has ended, and nothing else is to come, such as a callback that was delayed."""
    return Condition(
        is_met=world.is_idle,
        missing=lambda: "it did not become idle",
        still=lambda: _of_calls(world),
    )


def _of_calls(world: World) -> str:
    live = world.switch.live_legs()
    if not live:
        return "every call has ended"
    named = [f"{leg.sid} is {_state(leg)}" for leg in live[:MOST_NAMED]]
    more = len(live) - len(named)
    return ", ".join(named) + (f", and {more} more go on" if more > 0 else "")


def _state(leg: Leg) -> str:
    since = leg.timeline[-1][0].at
    return f"{leg.status}, {'at' if leg.status in FINAL else 'since'} {seconds_text(since)} s"


def _why(leg: Leg) -> str:
    """Return the last error that was noted of a call, behind a semicolon."""
    errors = [note for note in Call.of(leg).notifications if note.level == "error"]
    return f"; error {errors[-1].code}: {errors[-1].message}" if errors else ""
