"""Stories for tests: one of each kind, and a bad evening of sixty calls, each time the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from events import event, moment, sid

from callctl.calls.action import DONE, ActionEvent
from callctl.calls.event import CallEvent
from callctl.reports.stories.story import Story, story_of

COLLEAGUE = "ann@ops"
HOSTILE = "<script>document.title='painted'</script><img src=x onerror=alert(1)>\u202e\x1b[31m\x00"


@dataclass
class StoredCalls:
    """Events and actions of calls, as they would have come."""

    events: list[CallEvent] = field(default_factory=list)
    actions: list[ActionEvent] = field(default_factory=list)
    numbers: count[int] = field(default_factory=lambda: count(1))

    def leg(self, *steps: tuple[str, float], to: str, parent: int | None = None, **last: Any) -> int:
        """Add a leg: of each callback status and second; ``last`` are further fields of the last one."""
        number = next(self.numbers)
        for index, (status, at) in enumerate(steps):
            more = last if index == len(steps) - 1 else {}
            self.events.append(
                event(number, status, number=index, at=at, received=at + 0.1, parent=parent, To=to, **more)
            )
        return number

    def act(self, call: int, action: str, at: float, outcome: str, **more: Any) -> None:
        """Add what a command or a rule did."""
        given = {"by": None if "rule" in more else COLLEAGUE, "result": DONE, **more}
        self.actions.append(ActionEvent(moment(at), sid(call), action, given.pop("request", ()), outcome, **given))

    def story(self, call: int, **more: Any) -> Story:
        """Return the story of a call's family."""
        story = story_of(self.events, self.actions, sid=sid(call), **more)
        assert story is not None
        return story

    def stories(self) -> list[Story]:
        """Return all, the oldest first."""
        heads = dict.fromkeys(one.call_sid for one in self.events if one.parent_call_sid is None)
        return [story for head in heads if (story := self.family(head)) is not None]

    def family(self, head: str) -> Story | None:
        """Return the story of one family, made of its own events and actions alone."""
        events = [one for one in self.events if head in (one.call_sid, one.parent_call_sid)]
        legs = {one.call_sid for one in events}
        return story_of(events, [one for one in self.actions if one.call_sid in legs], sid=head)


def talk(stored: StoredCalls, at: float, seconds: int, *, to: str = "+12025550100") -> int:
    """Add a call that is answered, and ends by itself."""
    steps = (("initiated", at), ("ringing", at), ("in-progress", at + 2), ("completed", at + 2 + seconds))
    return stored.leg(*steps, to=to, CallDuration=str(seconds), SipResponseCode="200")


def busy(stored: StoredCalls, at: float) -> int:
    """Add a call to a busy phone."""
    steps = (("initiated", at), ("ringing", at), ("busy", at + 1))
    return stored.leg(*steps, to="+12025550102", CallDuration="0", SipResponseCode="486")


def failed(stored: StoredCalls, at: float, *, code: str = "503") -> int:
    """Add a call that can't be connected."""
    steps = (("initiated", at), ("failed", at + 1))
    return stored.leg(*steps, to="+12025550104", CallDuration="0", SipResponseCode=code)


def rings_too_long(stored: StoredCalls, at: float) -> int:
    """Add a call that a rule ends since nobody answers."""
    steps = (("initiated", at), ("ringing", at), ("canceled", at + 35))
    call = stored.leg(*steps, to="+12025550103", CallDuration="0", SipResponseCode="487")
    stored.act(call, "cancel", at + 34.6, "ended before it was answered", rule="ring-limit", status="canceled")
    return call


def dials(stored: StoredCalls, at: float) -> int:
    """Add a call that dials two phones: one answers, the other is no longer needed; a colleague ends it all."""
    parent = stored.leg(
        ("initiated", at), ("ringing", at), ("in-progress", at + 2), ("completed", at + 41), to="+12025550100",
        CallDuration="39",
    )  # fmt: skip
    for to, end in (("sip:agent@example.com", "completed"), ("client:ben", "canceled")):
        answered = [("in-progress", at + 6)] if end == "completed" else []
        stored.leg(
            ("initiated", at + 2), ("ringing", at + 3), *answered, (end, at + 41 if answered else at + 6), to=to,
            parent=parent, CallDuration="35" if answered else "0",
        )  # fmt: skip
    stored.act(parent, "hangup", at + 40.5, "completed", status="completed", request=(("Status", "completed"),))
    return parent


def storm(stored: StoredCalls, at: float) -> int:
    """Add a call that is redirected again and again, in the end in vain."""
    call = talk(stored, at, 58)
    for number in range(9):
        stored.act(call, "redirect", at + 5 + 2 * number, "to survey", request=(("Url", "https://example.com/survey"),))
    stored.act(call, "redirect", at + 60.5, "the call is not in progress", result="refused", code="21220")
    return call


def evening() -> StoredCalls:
    """Return sixty calls of a bad evening."""
    stored = StoredCalls()
    kinds = [talk, busy, failed, dials, talk, rings_too_long, storm, failed, talk, dials]
    for number in range(60):
        kind, at = kinds[number % len(kinds)], number * 47.0
        if kind is talk:
            talk(stored, at, 10 + 13 * number % 170)
        elif kind is failed:
            failed(stored, at, code="404" if number % 4 else "503")
        else:
            kind(stored, at)  # type: ignore[operator]
    return stored
