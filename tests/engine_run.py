"""Runs an engine of rules: callbacks are reported and time passes, hours of it in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from events import WORLD, event, moment, sid

from callctl.calls.board import Board
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.rules.engine import Engine, Scope
from callctl.rules.rule import Action, Declined, Rule


class EngineRun:
    """An engine on a board, with a manual clock; ``proposals`` is all that it proposed, and when."""

    def __init__(self, *rules: Rule, scope: Scope = Scope.OWN) -> None:
        self.board = Board()
        self.engine = Engine(rules, scope=scope)
        self.seconds = 0.0
        self.proposals: list[tuple[float, Action | Declined]] = []

    def report(self, call: int, status: str, *, at: float | None = None, **fields: Any) -> None:
        """Report a callback that fired ``at`` (now by default) and arrives now."""
        fired = self.seconds if at is None else at
        self.take(event(call, status, received=self.seconds, at=fired, **fields))

    def take(self, event: CallEvent) -> None:
        change = self.board.apply(event)
        if change is not None:
            self._note(self.engine.observe(change, self.board.snapshot(), now=moment(self.seconds)))

    def poll(
        self,
        call: int,
        status: str,
        *,
        began: float,
        parent: int | None = None,
        sent_callback: bool = False,
        **more: str,
    ) -> None:
        """Report a call that REST lists now."""
        self.reply()
        resource = {
            "sid": sid(call),
            "status": status,
            "direction": "outbound-dial" if parent else "outbound-api",
            "start_time": moment(began).isoformat(),
            "parent_call_sid": sid(parent) if parent else None,
        }
        listed = Call.from_resource(resource | more)
        at = moment(self.seconds)
        self.take(CallEvent.from_call(listed, received_at=at, world=WORLD, sent_callback=sent_callback))

    def reply(self, *, ahead: float = 0) -> None:
        """Let REST reply now, by whose ``Date`` this machine's clock is so many seconds ahead."""
        date = moment(self.seconds - ahead).replace(microsecond=0)
        self.engine.take_reply(date, now=moment(self.seconds))

    def wait(self, seconds: float, *, step: float = 1.0) -> None:
        """Let time go by, asking at each step what is due."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds = min(end, self.seconds + step)
            self._note(self.engine.due(self.board.snapshot(), now=moment(self.seconds)))

    def _note(self, proposals: Sequence[Action | Declined]) -> None:
        self.proposals += [(self.seconds, one) for one in proposals]

    @property
    def actions(self) -> list[tuple[float, str, str]]:
        """When, what, and to which leg."""
        return [(at, one.operation.action, one.call_sid) for at, one in self.proposals if isinstance(one, Action)]

    @property
    def declined(self) -> list[str]:
        return [one.reason for _, one in self.proposals if isinstance(one, Declined)]


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)
