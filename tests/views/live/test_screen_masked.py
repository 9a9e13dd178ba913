"""The live table with numbers masked: nothing that it draws has a true one, and keys and filters go by them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from events import clock_of, moment
from legs import PARENT, board_of, callback, family, in_conference
from rich.console import Console

from callctl.calls.action import ActionEvent
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.views.live.intents import ActionOutcome, HangUp, Redirect
from callctl.views.live.keys import ENTER, ESCAPE, PASTE, Key
from callctl.views.live.screen import LiveView, TableOptions
from callctl.views.view import WatchState

HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)
OTHER = "CA" + "9" * 32
TRUE_NUMBER = re.compile("[0-9]555[0-9]|agent@|client:(?!.\\*)|Ann Lee")


class Answering:
    """Carries nothing out, and speaks of numbers."""

    listens, may_act, urls = True, True, ()

    def __init__(self) -> None:
        self.acted: list[HangUp | Redirect] = []

    def effects(self, _intent: object, _snapshot: object) -> str:
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

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, masks: bool, width: int = 160) -> None:
        self.now, self.operator, self._out = 1000.0, Answering(), io.StringIO()
        monkeypatch.setattr("callctl.views.live.screen.elapsed", lambda: self.now)
        console = Console(file=self._out, force_terminal=True, width=width, height=24)
        options = TableOptions(masks_numbers=masks)
        self.view = LiveView(console, options, clock=clock_of(lambda: moment(100)), operator=self.operator)
        self.board = board_of([*family(), callback(OTHER, "ringing", second=40, sequence=0, to="+12025550142")])
        self.board.apply(in_conference(PARENT, "12025550142", second=50, label="+12025550199"))

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

    def tell(self) -> None:
        event = callback(PARENT, "in-progress", second=60, sequence=8, CallerName="Ann Lee")
        self.view.event(event, self.board.apply(event))
        self.view.action(ActionEvent(moment(61), PARENT, "redirect", (), "to +12025550142"))
        self.view.note("+12025550142 is not there")
        self.view.trouble(Trouble("no callback of client:ann", Cause.NO_CALLBACK))


@pytest.mark.parametrize("width", [160, 80, 40])
def test_whatever_keys_open_no_true_number_is_drawn(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Screen(monkeypatch, masks=True, width=width)
    screen.tell()
    drawn = [screen.drawn()]
    assert "***00" in drawn[0]
    steps = [["g", "x"], ["n"], ["j", "x"], ["f"], ["n"], [" ", "j", " ", "x"], ["n"], ["?"], ["q"]]
    for keys in steps:
        drawn.append(screen.press(*keys))
        drawn.append(screen.drawn())
    assert "hang up" in "".join(drawn)
    screen.view.close()
    drawn.append(screen.taken())
    assert not TRUE_NUMBER.search("".join(drawn))


def test_without_it_true_numbers_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, masks=False)
    screen.tell()
    assert TRUE_NUMBER.search(screen.drawn())
    screen.view.close()


def test_a_filter_finds_true_numbers_and_is_shown_while_it_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, masks=True)
    screen.drawn()
    typed = screen.press("/") + screen.press(PASTE, text="+12025550142")
    assert "/+12025550142▏" in typed
    found = screen.press(ENTER) + screen.drawn()
    assert "1 of 4 legs" in found
    assert "/+1202***42 " in found
    assert OTHER in found
    assert not TRUE_NUMBER.search(screen.drawn())
    screen.press("g", "x", "y")
    (intent,) = screen.operator.acted
    assert [target.sid for target in intent.targets] == [OTHER]
    screen.view.take_news()
    outcome = screen.taken()
    assert "not done: +1202***00 is gone" in outcome
    assert "refused: +1202***00" in outcome
    assert not TRUE_NUMBER.search(outcome)
    screen.view.close()


def test_a_url_is_shown_while_it_is_typed_and_masked_in_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, masks=True)
    screen.drawn()
    while "redirect" not in (asked := screen.press("j", "r")):
        assert "only a call in progress" in asked
        screen.now += 5
    assert not TRUE_NUMBER.search(asked)
    assert "https://example.com/?to=2025550142▏" in screen.press(PASTE, text="https://example.com/?to=2025550142")
    question = screen.press(ENTER)
    assert "https://example.com/?to=202***42" in question
    assert not TRUE_NUMBER.search(question)
    screen.press(ESCAPE)
    screen.view.close()


def test_the_true_board_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, masks=True)
    before = {sid: replace(leg) for sid, leg in screen.board.snapshot().legs.items()}
    screen.drawn()
    assert screen.board.snapshot().legs == before
    screen.view.close()
