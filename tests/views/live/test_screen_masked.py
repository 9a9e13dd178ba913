"""The live table with numbers masked: nothing that it draws has a true one, and keys and filters go by them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from events import moment
from legs import PARENT, board_of, callback, family, in_conference
from live_screen import Screen

from callctl.calls.action import ActionEvent
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.views.live.keys import ENTER, ESCAPE, PASTE
from callctl.views.live.screen import TableOptions

OTHER = "CA" + "9" * 32
TRUE_NUMBER = re.compile("[0-9]555[0-9]|agent@|client:(?!.\\*)|Ann Lee")


def masked_screen(monkeypatch: pytest.MonkeyPatch, *, masks: bool, width: int = 160) -> Screen:
    board = board_of([*family(), callback(OTHER, "ringing", second=40, sequence=0, to="+12025550142")])
    board.apply(in_conference(PARENT, "12025550142", second=50, label="+12025550199"))
    return Screen(monkeypatch, board, TableOptions(masks_numbers=masks), width=width)


def tell(screen: Screen) -> None:
    event = callback(PARENT, "in-progress", second=60, sequence=8, CallerName="Ann Lee")
    screen.view.event(event, screen.board.apply(event))
    screen.view.action(ActionEvent(moment(61), PARENT, "redirect", (), "to +12025550142"))
    screen.view.note("+12025550142 is not there")
    screen.view.trouble(Trouble("no callback of client:ann", Cause.NO_CALLBACK))


@pytest.mark.parametrize("width", [160, 80, 40])
def test_whatever_keys_open_no_true_number_is_drawn(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = masked_screen(monkeypatch, masks=True, width=width)
    tell(screen)
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
    screen = masked_screen(monkeypatch, masks=False)
    tell(screen)
    assert TRUE_NUMBER.search(screen.drawn())
    screen.view.close()


def test_a_filter_finds_true_numbers_and_is_shown_while_it_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = masked_screen(monkeypatch, masks=True)
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
    screen = masked_screen(monkeypatch, masks=True)
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
    screen = masked_screen(monkeypatch, masks=True)
    before = {sid: replace(leg) for sid, leg in screen.board.snapshot().legs.items()}
    screen.drawn()
    assert screen.board.snapshot().legs == before
    screen.view.close()
