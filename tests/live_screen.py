"""A live table that is drawn on a screen of text, and operated by keys; nothing is carried out."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from datetime import datetime

import pytest
from events import clock_of, moment
from rich.console import Console

from callctl.calls.board import Board, Snapshot
from callctl.views.live.intents import ActionOutcome, HangUp, Redirect
from callctl.views.live.keys import Key
from callctl.views.live.screen import LiveView, TableOptions
from callctl.views.view import WatchState

HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None, last_action=7)


class Answering:
    """Carries nothing out, and speaks of numbers."""

    listens, may_act, urls = True, True, ()

    def __init__(self) -> None:
        self.acted: list[HangUp | Redirect] = []
        self.questions: list[HangUp | Redirect] = []
        self.last_actions: list[int | None] = []  # the last that was shown when each was put
        self.asked_of: Snapshot | None = None  # the board, when it was last to say what becomes of the other legs

    def put_question(self, intent: HangUp | Redirect, *, last_action: int | None) -> None:
        self.questions.append(intent)
        self.last_actions.append(last_action)

    def effects(self, _intent: object, snapshot: Snapshot) -> str:
        self.asked_of = snapshot
        return "its child leg to client:ann drops"

    def act(self, intent: HangUp | Redirect, *, question_at: datetime, report: Callable[[ActionOutcome], None]) -> None:
        assert question_at.tzinfo is not None
        self.acted.append(intent)
        report(ActionOutcome("not done: +12025550100 is gone", ["refused: +12025550100"]))

    def load_page(self, _sid: object, _width: object, _report: object) -> None:
        pass

    def close(self) -> None:
        pass

    leave = interrupt = suspend = close


class Screen:
    """A live table, and all that was drawn since one last looked."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, board: Board, options: TableOptions, *, width: int = 160
    ) -> None:
        self.now, self.operator, self._out = 1000.0, Answering(), io.StringIO()
        monkeypatch.setattr("callctl.views.live.screen.elapsed", lambda: self.now)
        console = Console(file=self._out, force_terminal=True, width=width, height=24)
        self.view = LiveView(console, options, clock=clock_of(lambda: moment(100)), operator=self.operator)
        self.board = board

    def drawn(self) -> str:
        self.view.refresh(self.board.snapshot(), HEADER)
        return self.taken()

    def taken(self) -> str:
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._out.getvalue())
        self._out.seek(0)
        self._out.truncate(0)
        return text

    def press(self, *names: str, text: str = "") -> str:
        for name in names:
            self.now += 1
            self.view.key(Key(name, self.now, text or (name if len(name) == 1 else "")))
            self.view.take_news()
        return self.taken()
