"""What the rules of a watch could not do is reported so that it is not overlooked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from events import moment, sid
from watches import running_watch, settings_in

from callctl.calls.action import DONE, DRY_RUN, ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.watch.options import WatchOptions

STOPPED = Trouble("the rules have stopped: 100 actions in a minute (--max-actions)", Cause.RULE)


def hangup(call: int, result: str) -> ActionEvent:
    return ActionEvent(moment(0), sid(call), "hangup", (), f"{result} {call}", rule="mine", result=result)


class Braked:
    """Rules that did too much: they say so once, beside what they did and would have done."""

    in_words = "1 rule"
    is_stopped = False

    def __init__(self) -> None:
        self._news: list[ActionEvent | Trouble] = [
            hangup(1, DONE),
            STOPPED,
            Trouble("rule mine waits for https://user:secret@example.com", Cause.RULE),
            hangup(2, DRY_RUN),
        ]

    def restore(self, change: Change) -> None: ...

    def start(self, snapshot: Snapshot) -> None: ...

    def update(self, changes: Sequence[Change], snapshot: Snapshot) -> None: ...

    def take_reports(self) -> list[ActionEvent | Trouble]:
        news, self._news = self._news, []
        self.is_stopped = self.is_stopped or STOPPED in news
        return news


async def test_what_the_rate_limit_reports_is_trouble_and_an_alarm(tmp_path: Path) -> None:
    async with running_watch(settings_in(tmp_path), WatchOptions("127.0.0.1", 0), rules=Braked()) as watch:
        await watch.view.until(lambda view: view.header is not None and view.header.rules_stopped)
        assert watch.view.troubles == [STOPPED, "rule mine waits for https://user:***@example.com"]
        # What was done is in the store, which is where it is read from.
        assert [note for note in watch.view.notes if note not in watch.view.troubles] == [f"{DRY_RUN} 2"]
