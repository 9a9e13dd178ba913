"""What each key does, and that none acts on a leg, or in a status, other than the one that the foot named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

import pytest
from events import moment, sid
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from live_table import LiveTable

from callctl.views.live.attention import Failure
from callctl.views.live.keys import (
    BACKSPACE,
    CTRL_B,
    CTRL_F,
    CTRL_U,
    CTRL_Z,
    DOWN,
    END,
    ENTER,
    ESCAPE,
    HOME,
    PAGE_DOWN,
    PAGE_UP,
    PASTE,
    UP,
    Key,
)
from callctl.views.live.sorted_legs import FAILURES, Sort
from callctl.views.live.state import (
    CONFIRM_AFTER,
    CONFIRM_WITHIN,
    MESSAGE_STAYS,
    ORDER_STAYS,
    REFUSED_FOR,
    SUSPEND_WITHIN,
    ChoosingUrl,
    Confirming,
    Copy,
    Dismissing,
    Filtering,
    HangUp,
    KeysPage,
    Leave,
    LegPage,
    OpenPage,
    Redirect,
    Suspend,
    Target,
    ViewState,
    outlived,
    settle,
)

NOT_CONFIRMED = "not confirmed: nothing was sent"
SELECT_FIRST = "select a leg first: ↑ ↓"
KEYS = [
    *(UP, DOWN, PAGE_UP, PAGE_DOWN, HOME, END, ENTER, ESCAPE, BACKSPACE, CTRL_B, CTRL_F, CTRL_U, CTRL_Z, PASTE),
    *"jkgGxr a/scCdp?qyft1n",
]


@pytest.fixture
def table() -> LiveTable:
    """Return a table of twelve calls in progress, 1 the longest, with room for five rows."""
    table = LiveTable(room=5)
    for number in range(1, 13):
        table.event(number, "in-progress", ago=100 - number)
    table.draw()
    return table


@pytest.fixture
def family() -> LiveTable:
    """Return a table of a parent 1 in progress with a child 2 that rings and one that was busy, and a call 4."""
    table = LiveTable(urls=("music", "queue"))
    table.event(1, "in-progress", ago=50)
    table.event(2, "ringing", ago=20, parent=1)
    table.event(3, "busy", ago=9, parent=1)
    table.event(4, "in-progress", ago=40)
    table.draw()
    return table


def asked(table: LiveTable, *names: str) -> Confirming:
    """Press keys that ask for a confirmation; return the question, once it can be answered."""
    assert table.type(*names) is None
    assert isinstance(table.state.mode, Confirming)
    table.wait(CONFIRM_AFTER)
    assert isinstance(table.state.mode, Confirming)
    return table.state.mode


# Selecting


def test_nothing_is_selected_at_the_start(table: LiveTable) -> None:
    assert table.state == ViewState()


@pytest.mark.parametrize(
    ("keys", "row", "top"),
    [
        ([DOWN], 0, 0),
        ([UP], 0, 0),
        (["j", "j"], 1, 0),
        (["j", "k"], 0, 0),
        (["j", "k", "k"], 0, 0),
        (["G"], 11, 7),
        ([END, DOWN], 11, 7),
        ([END, UP], 10, 7),
        ([END, HOME], 0, 0),
        (["G", "g"], 0, 0),
        ([PAGE_DOWN], 4, 0),
        (["j", PAGE_DOWN], 4, 0),
        (["j", CTRL_F, CTRL_F], 8, 4),
        (["j", CTRL_F, CTRL_F, CTRL_F, CTRL_F], 11, 7),
        (["G", PAGE_UP], 7, 7),
        (["G", CTRL_B, CTRL_B], 3, 3),
        (["G", CTRL_B, CTRL_B, CTRL_B], 0, 0),
        ([PAGE_UP], 0, 0),
        (["j"] * 6, 5, 1),
        ([*["j"] * 6, *["k"] * 4], 1, 1),
    ],
)
def test_moving(table: LiveTable, keys: list[str], row: int, top: int) -> None:
    table.type(*keys)
    assert (table.state.selected, table.state.top) == (table.rows[row], top)


@pytest.mark.parametrize("key", KEYS)
def test_no_key_fails_without_legs(key: str) -> None:
    table = LiveTable()
    table.draw()
    expected = {CTRL_Z: Suspend(), "q": Leave()}
    assert table.type(key) == expected.get(key)
    assert table.state.selected is None


def test_the_selected_leg_stays_selected_wherever_it_goes(table: LiveTable) -> None:
    table.type(*["j"] * 7)
    assert table.state.selected == sid(7)
    table.event(7, "failed")
    table.wait(ORDER_STAYS)
    assert (table.rows[0], table.state.selected, table.state.top) == (sid(7), sid(7), 2)
    table.wait(301)
    assert (table.rows[-1], table.state.selected, table.state.top) == (sid(7), sid(7), 2)
    table.type("c")
    assert (table.state.selected, table.state.top) == (sid(7), 7)


def test_the_view_follows_a_live_leg(table: LiveTable) -> None:
    table.type("g")
    for number in range(20, 30):
        table.event(number, "in-progress", ago=200)
    table.wait(ORDER_STAYS)
    assert (table.rows.index(sid(1)), table.state.selected, table.state.top) == (10, sid(1), 6)


@pytest.mark.parametrize("is_last", [False, True])
def test_after_a_hang_up_the_next_row_is_selected_where_the_leg_stood(table: LiveTable, is_last: bool) -> None:
    table.type("G" if is_last else "g")
    ended, following = (sid(12), sid(11)) if is_last else (sid(1), sid(2))
    top = table.state.top
    asked(table, "x")
    assert table.type("y") is not None
    table.event(12 if is_last else 1, "completed")
    table.draw()
    assert table.state.selected == ended
    table.wait(ORDER_STAYS)
    assert (table.rows[-1], table.state.selected, table.state.top) == (ended, following, top)


def test_a_leg_that_ends_long_after_the_key_leaves_its_place_in_one_frame(table: LiveTable) -> None:
    table.type("g", " ")
    asked(table, "x")
    assert table.type("1", ENTER) is not None
    table.wait(5)
    table.event(1, "completed")
    table.draw()
    assert (table.rows[-1], table.state.selected, table.state.top) == (sid(1), sid(2), 0)


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_leg_that_was_not_hung_up_and_ends_later_stays_selected(table: LiveTable, is_changed: bool) -> None:
    table.type("g")
    asked(table, "x")
    table.type("y")
    table.state = outlived(table.state, [sid(2)] if is_changed else [sid(1)])
    table.wait(60)
    table.event(1, "completed")
    table.draw()
    assert (table.rows[-1], table.state.selected) == (sid(1), sid(2) if is_changed else sid(1))


def test_after_the_hang_up_of_a_family_another_live_leg_is_selected(family: LiveTable) -> None:
    family.select(1)
    asked(family, "x", "f")
    family.type("y")
    family.event(1, "completed")
    family.event(2, "canceled")
    family.wait(ORDER_STAYS)
    assert (family.rows[0], family.state.selected) == (sid(4), sid(4))


def test_no_key_acts_on_a_row_that_is_not_shown_as_selected_yet(table: LiveTable) -> None:
    table.type("g")
    asked(table, "x")
    table.type("y")
    table.event(1, "completed")
    table.draw()
    table.now += ORDER_STAYS  # and no frame
    assert table.take(Key("c", table.now)) == Copy(sid(1))


def test_another_leg_that_is_selected_meanwhile_stays_so(table: LiveTable) -> None:
    table.type("g")
    asked(table, "x")
    table.type("y", "j", "j")
    table.event(1, "completed")
    table.wait(ORDER_STAYS)
    assert table.state.selected == sid(3)


def test_a_smaller_screen_keeps_an_ended_leg_on_it(table: LiveTable) -> None:
    table.event(12, "completed")
    table.wait(ORDER_STAYS)
    table.type("G")
    table.room = 3
    table.draw()
    assert (table.state.selected, table.state.top) == (sid(12), 9)


def test_a_leg_that_is_gone_is_not_selected(table: LiveTable) -> None:
    table.type("j", " ")
    table.event(1, "completed")
    table.board.forget(before=moment(table.now + 1), now=moment(table.now + 1))
    table.draw()
    assert (table.state.selected, table.state.marks) == (None, {})


def test_a_leg_that_folds_leaves_the_row_of_failures_selected(table: LiveTable) -> None:
    table.select(3)
    for number in range(1, 5):
        table.event(number, "failed")
    table.wait(ORDER_STAYS)
    assert (table.rows[0], table.state.selected) == (FAILURES, FAILURES)


def test_fewer_rows_leave_no_room_empty(table: LiveTable) -> None:
    table.type("G", ESCAPE)
    assert table.state.top == 7
    for number in range(1, 6):
        table.event(number, "completed")
    table.board.forget(before=moment(table.now + 1), now=moment(table.now + 1))
    table.wait(ORDER_STAYS)
    assert (len(table.rows), table.state.top) == (7, 2)
    table.room = 9
    table.draw()
    assert table.state.top == 0


# The order


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        (ViewState(), False),
        (ViewState(key_at=9.5), True),
        (ViewState(key_at=9.0), False),
        (ViewState(mode=Filtering()), True),
        (ViewState(mode=Confirming(Leave())), True),
        (ViewState(mode=ChoosingUrl(())), True),
        (ViewState(mode=LegPage("CA")), False),
        (ViewState(mode=KeysPage()), False),
        (ViewState(is_held=True), True),
    ],
)
def test_when_the_order_is_kept(state: ViewState, is_kept: bool) -> None:
    assert state.arrangement(10.0).order_is_kept is is_kept


@pytest.mark.parametrize("keys", [["j"], ["/"], ["j", "x"], ["j", "r"]])
def test_the_order_stays_after_a_key_and_longer_while_something_is_asked(table: LiveTable, keys: list[str]) -> None:
    rows = table.rows
    table.type(*keys)
    table.event(9, "failed")
    table.wait(ORDER_STAYS - 0.01)
    assert table.rows == rows
    table.wait(0.01)
    assert (table.rows == rows) is (len(keys) > 1 or keys == ["/"])
    table.type(ESCAPE)
    table.wait(ORDER_STAYS)
    assert table.rows[0] == sid(9)


# The pages


def test_enter_opens_the_page_of_the_leg(table: LiveTable) -> None:
    assert table.type("j", ENTER) == OpenPage(sid(1))
    assert table.state.mode == LegPage(sid(1))
    assert table.type("q") is None
    assert table.state == ViewState(selected=sid(1), key_at=table.now)


@pytest.mark.parametrize("opening", [ENTER, "?"])
@pytest.mark.parametrize("key", ["x", "r"])
def test_no_leg_is_changed_from_a_page(table: LiveTable, opening: str, key: str) -> None:
    table.type("g", opening)
    page = table.state.mode
    assert table.type(key) is None
    assert (table.state.mode, table.state.message) == (page, "q first: keys act on the table")


@pytest.mark.parametrize("opening", [["j", ENTER], ["?"]])
@pytest.mark.parametrize("closing", ["q", ESCAPE])
def test_a_page_scrolls_and_closes(table: LiveTable, opening: list[str], closing: str) -> None:
    table.page_lines = 20
    table.type(*opening)
    tops = []
    for key in ("j", DOWN, "k", " ", PAGE_DOWN, CTRL_B, "G", DOWN, "g", UP, END, PAGE_UP, "x", "a", "d", PASTE):
        assert table.type(key) is None
        assert isinstance(table.state.mode, LegPage | KeysPage)
        tops.append(table.state.mode.top)
    assert tops == [1, 2, 1, 5, 9, 5, 15, 15, 0, 0, 15, 11, 11, 11, 11, 11]
    table.page_lines = 8  # it was fetched anew
    table.draw()
    assert isinstance(table.state.mode, LegPage | KeysPage)
    assert table.state.mode.top == 3
    assert table.type(closing) is None
    assert table.state.mode is None


def test_a_page_leaves_the_table_scrolled_as_it_was(table: LiveTable) -> None:
    table.type("G", UP, ENTER)
    table.page_room, table.page_lines = 12, 30
    table.type("j", "q")
    assert (table.state.selected, table.state.top) == (sid(11), 7)


def test_the_row_of_failures_opens_and_closes(table: LiveTable) -> None:
    for number in range(1, 6):
        table.event(number, "failed")
    table.wait(ORDER_STAYS)
    assert (len(table.rows), table.type("j", ENTER)) == (8, None)
    assert (len(table.rows), table.state.selected) == (13, FAILURES)
    table.type("j", "j")
    assert table.state.selected in {sid(number) for number in range(1, 6)}
    table.type("g", ENTER)
    assert (len(table.rows), table.state.selected) == (8, FAILURES)


# Hanging up


def test_x_asks_and_y_hangs_up(family: LiveTable) -> None:
    family.select(2)
    intent = HangUp((Target(sid(2), "ringing"),))
    assert asked(family, "x").intent == intent
    assert family.type("y") == intent
    assert (family.state.mode, family.state.message) == (None, "")


def test_y_counts_only_once_its_question_could_be_read(family: LiveTable) -> None:
    family.select(4)
    family.type("x")
    question = family.state.mode
    assert isinstance(question, Confirming)
    assert question.drawn_at == family.now
    family.wait(CONFIRM_AFTER - 0.05)
    assert family.type("y", "y") is None
    assert family.state.mode == question
    family.wait(CONFIRM_AFTER)
    assert family.type("y") == HangUp((Target(sid(4), "in-progress"),))


@pytest.mark.parametrize(("seconds", "is_open"), [(CONFIRM_WITHIN - 0.1, True), (CONFIRM_WITHIN + 0.1, False)])
@pytest.mark.parametrize("draws", [True, False])
def test_y_counts_for_ten_seconds(family: LiveTable, seconds: float, is_open: bool, draws: bool) -> None:
    family.select(4)
    family.type("x")
    family.now += seconds
    if draws:
        family.draw()
    intent = family.type("y")
    assert intent == (HangUp((Target(sid(4), "in-progress"),)) if is_open else None)
    # A y that came after all is for no question, and the first key on the table takes the sentence away.
    reason = "" if is_open or draws else "not confirmed within 10 s: nothing was sent"
    assert (family.state.mode, family.state.message) == (None, reason)


@pytest.mark.parametrize("key", [key for key in KEYS if key not in ("y", "f", CTRL_Z)])
@pytest.mark.parametrize("wait", [0.0, 1.0])
def test_any_other_key_cancels_and_does_nothing_else(family: LiveTable, key: str, wait: float) -> None:
    family.select(4)
    before = family.state
    family.type("x")
    family.wait(wait)
    assert family.type(key) is None
    assert family.state == replace(
        before, key_at=family.state.key_at, message=NOT_CONFIRMED, message_at=family.state.key_at
    )


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("in-progress", "answered meanwhile"),
        ("completed", "completed meanwhile"),
        ("canceled", "canceled meanwhile"),
    ],
)
@pytest.mark.parametrize("draws", [True, False])
def test_a_change_of_the_status_cancels_and_says_why(family: LiveTable, status: str, why: str, draws: bool) -> None:
    family.select(2)
    asked(family, "x")
    family.event(2, status)
    if draws:
        family.draw()
    family.now += 0.01
    assert family.take(Key("y", family.now)) is None
    if not draws:  # the sentence stays, for nobody has seen it
        assert family.state.message == f"{why}: nothing was sent"
    assert (family.state.mode, family.intents) == (None, [])


def test_a_leg_that_is_gone_cancels(family: LiveTable) -> None:
    family.select(4)
    asked(family, "x")
    family.event(4, "completed")
    family.board.forget(before=moment(family.now + 1), now=moment(family.now + 1))
    family.draw()
    assert (family.state.mode, family.state.message) == (None, "the leg is gone: nothing was sent")


@pytest.mark.parametrize("opening", ["x", "r"])
def test_a_change_by_a_rule_cancels_and_says_which(family: LiveTable, opening: str) -> None:
    family.select(4)
    family.type(opening)
    family.changed(2, "hung up by rule patience")
    assert isinstance(family.state.mode, Confirming | ChoosingUrl)
    family.wait(CONFIRM_AFTER)
    family.changed(4, "redirected by rule patience")
    assert family.state.message == "redirected by rule patience meanwhile: nothing was sent"
    assert family.type("y") is None


@pytest.mark.parametrize("key", ["y", "q", ESCAPE, "x", " ", CTRL_Z])
def test_a_key_for_a_question_that_is_over_does_nothing(family: LiveTable, key: str) -> None:
    family.select(2)
    asked(family, "x")
    typed_at = family.now + 0.01
    family.event(2, "in-progress")
    family.wait(0.02)
    over = family.state
    assert over.message == "answered meanwhile: nothing was sent"
    assert family.take(Key(key, typed_at)) is None
    assert family.state == over


def test_keys_typed_before_a_question_was_drawn_are_dropped(family: LiveTable) -> None:
    family.select(4)
    ahead = [Key(name, family.now + 0.001 * number) for number, name in enumerate("xyyyq")]
    family.now += 1
    assert [family.take(key) for key in ahead] == [None] * 5
    mode = family.state.mode
    assert mode == Confirming(HangUp((Target(sid(4), "in-progress"),)), drawn_at=family.now)


def test_another_leg_in_its_row_is_not_meant(family: LiveTable) -> None:
    family.select(4)
    asked(family, "x")
    family.event(9, "ringing", ago=70)
    family.event(1, "completed")
    family.wait(5)
    assert family.type("y") == HangUp((Target(sid(4), "in-progress"),))


def test_a_pasted_xy_does_nothing(family: LiveTable) -> None:
    family.select(4)
    before = family.state
    assert family.paste("xy") is None
    assert family.state.message == "pasted text counts only in the filter and in a URL"
    assert replace(family.state, key_at=before.key_at, message="", message_at=0.0) == replace(before, message_at=0.0)
    asked(family, "x")
    assert family.paste("y") is None
    assert family.state.message == NOT_CONFIRMED


@pytest.mark.parametrize(
    ("key", "before", "said"),
    [
        ("x", [], SELECT_FIRST),
        (ENTER, [], SELECT_FIRST),
        ("r", [], SELECT_FIRST),
        ("c", [], SELECT_FIRST),
        ("C", [], SELECT_FIRST),
        (" ", [], SELECT_FIRST),
        ("a", [], "type a filter first: /"),
        ("d", [], SELECT_FIRST),
        ("d", ["g"], "no failure is selected"),
        ("x", ["g", "j", "j"], "already over: it is busy"),
        (" ", ["g", "j", "j"], "it has ended: only live legs are marked"),
        ("r", ["g", "j"], "only a call in progress can be redirected; it is ringing"),
        ("r", ["g", "j", "j"], "only a call in progress can be redirected; it is busy"),
        ("C", ["g"], "it has no parent"),
    ],
)
def test_what_cannot_be_done_is_said(family: LiveTable, key: str, before: list[str], said: str) -> None:
    family.type(*before)
    assert family.type(key) is None
    assert (family.state.mode, family.state.message) == (None, said)


@pytest.mark.parametrize("key", ["x", "r"])
@pytest.mark.parametrize("before", [["g"], ["g", " ", "j", " "], []])
def test_a_table_to_read_only_changes_no_call(family: LiveTable, key: str, before: list[str]) -> None:
    family.may_act = False
    family.type(*before, key)
    assert (family.state.mode, family.state.message) == (None, "--read-only: this table changes no call")


@pytest.mark.parametrize("number", [1, 2])
def test_f_asks_for_the_live_legs_of_the_family(family: LiveTable, number: int) -> None:
    family.select(number)
    family.type("x")
    whole = HangUp((Target(sid(1), "in-progress"), Target(sid(2), "ringing")), is_family=True)
    question = asked(family, "f")
    assert (question.intent, question.are_marked, question.is_family) == (whole, False, True)
    family.event(5, "ringing", parent=1)
    assert family.type("y") == whole


def test_a_family_is_asked_for_like_a_leg(family: LiveTable) -> None:
    family.select(1)
    asked(family, "x")
    assert family.type("f", "y") is None  # too soon
    assert family.type("f") is None
    assert family.state.message == NOT_CONFIRMED
    asked(family, "x", "f")
    family.event(2, "in-progress")
    family.draw()
    assert family.state.message == "answered meanwhile: nothing was sent"


def test_f_without_a_family(family: LiveTable) -> None:
    family.select(4)
    assert family.type("x", "f") is None
    assert (family.state.mode, family.state.message) == (None, "it has no other live leg: nothing was sent")


# Redirecting


def test_a_named_url_is_chosen_by_its_letter(family: LiveTable) -> None:
    family.select(4)
    target = Target(sid(4), "in-progress")
    family.type("r")
    assert family.state.mode == ChoosingUrl((target,), drawn_at=family.now)
    assert asked(family, "b").intent == Redirect((target,), "queue")
    assert family.type("y") == Redirect((target,), "queue")


def test_no_letter_is_t_or_q_and_all_are_reached() -> None:
    table = LiveTable(urls=[f"url {number}" for number in range(30)])
    table.event(1, "in-progress")
    table.draw()
    chosen = {}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        table.wait(REFUSED_FOR)
        table.type("g", "r", letter)
        if isinstance(table.state.mode, Confirming) and isinstance(table.state.mode.intent, Redirect):
            chosen[letter] = table.state.mode.intent.url
        table.type(ESCAPE)
    letters = "abcdefghijklmnoprsuvwxyz"
    assert chosen == {letter: f"url {number}" for number, letter in enumerate(letters)}


def test_a_url_is_typed_and_pasted(family: LiveTable) -> None:
    family.select(4)
    target = Target(sid(4), "in-progress")
    family.type("r", "t", *"xy", BACKSPACE, "q", CTRL_U, *"htt")
    family.paste("ps://example.com/\n")
    family.type(*"yq ", UP, CTRL_F)
    assert family.state.mode is not None
    assert asked(family, ENTER).intent == Redirect((target,), "https://example.com/yq")
    assert family.type("y") == Redirect((target,), "https://example.com/yq")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("nosuch", "such as https://example.com/a"),
        ("example.com/b", "https:// is missing: https://example.com/b"),
        ("ftp://example.com/b", "such as https://example.com/a"),
        ("https://", "such as https://example.com/a"),
    ],
)
def test_a_text_that_is_no_url_is_asked_for_again(family: LiveTable, text: str, hint: str) -> None:
    family.select(4)
    family.type("r", "t", *text, ENTER)
    assert isinstance(family.state.mode, ChoosingUrl)
    assert family.state.mode.typed == text
    assert family.state.message == f"no http or https URL, and no name of one; {hint}"
    assert asked(family, CTRL_U, *"Queue", ENTER).intent == Redirect((Target(sid(4), "in-progress"),), "Queue")


def test_without_named_urls_one_is_typed_at_once(family: LiveTable) -> None:
    family.urls = ()
    family.select(4)
    family.type("r", *"at")
    assert isinstance(family.state.mode, ChoosingUrl)
    assert family.state.mode.typed == "at"


def test_what_is_pasted_while_a_letter_is_asked_for_is_a_url(family: LiveTable) -> None:
    family.select(4)
    family.type("r")
    assert family.paste("https://example.com/a") is None
    assert asked(family, ENTER).intent == Redirect((Target(sid(4), "in-progress"),), "https://example.com/a")


@pytest.mark.parametrize("key", ["q", "c", "A", ENTER, ESCAPE, UP, BACKSPACE, CTRL_Z])
def test_any_other_key_chooses_no_url(family: LiveTable, key: str) -> None:
    family.select(4)
    family.type("r")
    intent = family.type(key)
    assert intent == (Suspend() if key == CTRL_Z else None)
    assert family.state.mode is None
    assert family.type("y") is None


@pytest.mark.parametrize("keys", [[ESCAPE], [ENTER], [" ", ENTER]])
def test_no_url_is_typed(family: LiveTable, keys: list[str]) -> None:
    family.select(4)
    family.type("r", "t", *keys)
    assert (family.state.mode, family.intents) == (None, [])


@pytest.mark.parametrize("keys", [["r"], ["r", "t", "h"], ["r", "a"]])
def test_a_redirect_is_off_when_the_leg_ends(family: LiveTable, keys: list[str]) -> None:
    family.select(4)
    family.type(*keys)
    family.event(4, "completed")
    family.draw()
    assert (family.state.mode, family.state.message) == (None, "completed meanwhile: nothing was sent")


@pytest.mark.parametrize("selected", [None, 2, 3, 4])
def test_a_url_that_is_typed_on_after_a_refusal_is_no_row_of_keys(family: LiveTable, selected: int | None) -> None:
    if selected is not None:
        family.select(selected)
    before = family.state
    family.type("r", "h")  # h is the letter of no URL
    said = family.state.message
    for key in ["t", "x", "y", ENTER, " ", "d", "q", PASTE]:
        family.wait(REFUSED_FOR - 0.1)
        assert family.type(key, text="x") is None
    assert (family.state.mode, family.intents) == (None, [])
    assert (family.state.selected, family.state.marks, family.state.message) == (before.selected, before.marks, said)
    family.wait(REFUSED_FOR)
    assert family.type("q") == Leave()


@pytest.mark.parametrize("key", [DOWN, ESCAPE, PAGE_DOWN])
def test_other_keys_count_after_a_refusal_and_end_it(family: LiveTable, key: str) -> None:
    family.select(2)
    family.type("r", key, "g", "x")
    assert family.state.selected == sid(1)
    assert isinstance(family.state.mode, Confirming)


@pytest.mark.parametrize(
    ("urls", "keys"), [(("music", "queue"), "jkgG"), (("greeting", "jazz"), "k"), ([f"u{n}" for n in range(10)], "kG")]
)
@pytest.mark.parametrize("key", "jkgG")
def test_letters_that_can_be_no_answer_select_at_once_after_a_refusal(key: str, urls: Sequence[str], keys: str) -> None:
    table = LiveTable(urls=urls)
    for number in range(1, 6):
        table.event(number, "ringing", ago=20 - number)
    table.draw()
    table.select(3)
    table.type("r", key)
    selected = {"j": 4, "k": 2, "g": 1, "G": 5}[key] if key in keys else 3
    assert table.state.selected == sid(selected)
    table.type("x")
    assert (table.state.mode is not None) is (key in keys)  # the text that may be an answer goes on with x


def test_letters_that_select_leave_the_choice_of_a_url(family: LiveTable) -> None:
    family.select(1)
    family.type("r", "j")
    assert (family.state.mode, family.state.selected) == (None, sid(1))
    assert family.state.message == "no URL was chosen: nothing was sent"
    family.type("j")
    assert family.state.selected == family.rows[1]


def test_letters_of_a_url_select_nothing_while_it_is_typed_on(family: LiveTable) -> None:
    family.select(4)
    family.type("r", "t", "h")
    family.event(4, "completed")
    family.draw()
    family.type(*"gjkG")
    assert family.state.selected == sid(4)
    family.wait(REFUSED_FOR)
    family.select(2)
    family.type("r", *"hgGjk")
    assert family.state.selected == sid(2)


def test_p_shows_the_table_again_where_the_refusal_says_so(family: LiveTable) -> None:
    family.type("g", "p")
    family.event(1, "completed")
    family.draw()
    family.type("r")
    assert family.state.message == "completed meanwhile: p shows the table as it is now"
    family.type("p")
    assert not family.state.is_held


def test_a_url_that_is_typed_when_the_leg_ends_is_no_row_of_keys(family: LiveTable) -> None:
    family.select(4)
    family.type("r", "t", "h")
    family.event(4, "completed")
    family.draw()
    family.type(*"ttpx ", "q")
    assert (family.state.mode, family.state.marks, family.intents) == (None, {}, [])
    assert family.state.message == "completed meanwhile: nothing was sent"


def test_letters_typed_before_the_choice_was_drawn_are_dropped(family: LiveTable) -> None:
    family.select(4)
    ahead = [Key(name, family.now + 0.001 * number) for number, name in enumerate("ray")]
    family.now += 1
    assert [family.take(key) for key in ahead] == [None] * 3
    assert family.state.mode == ChoosingUrl((Target(sid(4), "in-progress"),), drawn_at=family.now)


# Marks


def test_space_marks_and_unmarks(family: LiveTable) -> None:
    family.type("g", " ", "j", " ")
    assert family.state.marks == {sid(1): "in-progress", sid(2): "ringing"}
    family.type("k", " ")
    assert family.state.marks == {sid(2): "ringing"}
    assert family.type(ESCAPE) is None
    assert (family.state.marks, family.state.selected) == ({}, sid(1))
    family.type(ESCAPE)
    assert family.state.selected is None


def test_a_marks_what_the_filter_shows_now(family: LiveTable) -> None:
    family.type(*"/+1202", ENTER, "a")
    marks = {sid(1): "in-progress", sid(2): "ringing", sid(4): "in-progress"}
    assert (family.state.marks, family.state.message) == (marks, "3 marked; what comes later is not")
    family.event(5, "ringing")
    family.wait(ORDER_STAYS)
    assert (sid(5) in family.rows, family.state.marks) == (True, marks)


@pytest.mark.parametrize("text", [" ", ">2", ">2 ringing", "<x", "> live"])
def test_a_filter_that_is_not_finished_marks_nothing(family: LiveTable, text: str) -> None:
    family.type("/", *text, ENTER, "a")
    assert family.state.marks == {}
    assert ("type a filter first" in family.state.message) is (text == " ")


@pytest.mark.parametrize("keys", [["/", "i"], ["/", BACKSPACE], ["/", ESCAPE], [ESCAPE], ["/", CTRL_U]])
def test_another_filter_clears_the_marks(family: LiveTable, keys: list[str]) -> None:
    family.type(*"/live", ENTER, "a")
    assert len(family.state.marks) == 3
    family.type(*keys)
    assert family.state.marks == {}


def test_the_same_filter_keeps_them(family: LiveTable) -> None:
    family.type(*"/live", ENTER, "a", "/", UP, ENTER, "s", "j")
    assert len(family.state.marks) == 3


def test_the_number_of_marked_legs_is_typed(table: LiveTable) -> None:
    table.type(*"/live", ENTER, "a")
    targets = tuple(Target(sid(number), "in-progress") for number in range(1, 13))
    question = asked(table, "x")
    assert (question.intent, question.are_marked) == (HangUp(targets), True)
    assert table.type("1", "3", BACKSPACE, "2", ENTER) == HangUp(targets)
    assert (table.state.mode, table.state.marks) == (None, {})


@pytest.mark.parametrize(
    "keys", ["y", "n", "f", [ESCAPE], [ENTER], ["1", ENTER], ["1", "2", "3", ENTER], ["1", "2", "y"]]
)
def test_nothing_else_confirms_a_number(table: LiveTable, keys: list[str]) -> None:
    table.type(*"/live", ENTER, "a")
    asked(table, "x")
    table.type(*keys)
    assert (table.state.mode, table.state.message, table.intents) == (None, NOT_CONFIRMED, [])
    assert len(table.state.marks) == 12


def test_a_number_is_not_pasted(table: LiveTable) -> None:
    table.type(*"/live", ENTER, "a")
    asked(table, "x")
    assert table.paste("12") is None
    assert table.state.message == NOT_CONFIRMED


def test_a_number_counts_only_once_its_question_could_be_read(table: LiveTable) -> None:
    table.type(*"/live", ENTER, "a", "x")
    table.wait(CONFIRM_AFTER - 0.05)
    assert table.type("1", "2", ENTER) is None
    assert isinstance(table.state.mode, Confirming)
    assert table.state.mode.typed == ""
    assert table.type(ESCAPE) is None
    assert table.state.message == NOT_CONFIRMED


def test_ten_seconds_begin_with_each_digit_and_the_question_does_not(table: LiveTable) -> None:
    table.type(*"/live", ENTER, "a")
    drawn_at = asked(table, "x").drawn_at
    for key in ("1", "2"):
        table.wait(CONFIRM_WITHIN - 1)
        table.type(key)
    assert isinstance(table.state.mode, Confirming)
    assert (table.state.mode.typed, table.state.mode.drawn_at) == ("12", drawn_at)
    table.wait(CONFIRM_WITHIN + 0.1)
    assert table.state.message == "not confirmed within 10 s: nothing was sent"


def test_each_marked_leg_is_held_to_its_status_when_it_was_marked(family: LiveTable) -> None:
    family.type("g", " ", "j", " ")
    family.event(2, "in-progress")
    family.draw()
    targets = (Target(sid(1), "in-progress"), Target(sid(2), "ringing"))
    assert asked(family, "x").intent == HangUp(targets)
    family.event(1, "completed")
    family.changed(1, "hung up by rule patience")
    assert family.type("2", ENTER) == HangUp(targets)


def test_marks_hold_to_what_the_picture_showed(family: LiveTable) -> None:
    family.type("g", "p")
    family.event(2, "in-progress")
    family.event(1, "completed")
    family.draw()
    family.type(" ", "j", " ")
    assert family.state.marks == {sid(2): "ringing"}
    family.type(ESCAPE, *"/live", ENTER, "a")
    assert family.state.marks == {sid(2): "ringing", sid(4): "in-progress"}


@pytest.mark.parametrize(("keys", "is_hang_up"), [(["x"], True), (["r", "a"], False)])
def test_the_number_of_one_marked_leg_is_typed_too(family: LiveTable, keys: list[str], is_hang_up: bool) -> None:
    family.select(4)
    family.type(" ", "g")
    assert family.state.selected == sid(1)
    targets = (Target(sid(4), "in-progress"),)
    intent = HangUp(targets) if is_hang_up else Redirect(targets, "music")
    question = asked(family, *keys)
    assert (question.intent, question.are_marked) == (intent, True)
    assert family.type("y") is None
    assert (family.state.mode, family.state.message) == (None, NOT_CONFIRMED)
    asked(family, *keys)
    assert family.type("1", ENTER) == intent
    assert family.state.marks == {}


def test_the_question_about_one_marked_leg_is_over_with_its_status(family: LiveTable) -> None:
    family.select(2)
    family.type(" ", "g")
    asked(family, "x")
    family.event(2, "in-progress")
    family.draw()
    assert (family.state.mode, family.state.message) == (None, "answered meanwhile: nothing was sent")


def test_one_marked_leg_that_has_ended_is_said_to_be_over(family: LiveTable) -> None:
    family.select(4)
    family.type(" ")
    family.event(4, "completed")
    family.type("x")
    assert family.state.message == "already over: it is completed"


def test_marked_legs_are_redirected_only_if_all_can_be(family: LiveTable) -> None:
    family.type("g", " ", "j", " ", "r")
    said = "only a call in progress can be redirected; of 2 marked legs 1 are not: one is ringing"
    assert (family.state.mode, family.state.message) == (None, said)
    family.wait(REFUSED_FOR)
    family.type(" ")
    family.select(4)
    family.type(" ")
    targets = (Target(sid(1), "in-progress"), Target(sid(4), "in-progress"))
    question = asked(family, "r", "a")
    assert (question.intent, question.are_marked) == (Redirect(targets, "music"), True)
    assert family.type("y") is None
    asked(family, "r", "a")
    assert family.type("2", ENTER) == Redirect(targets, "music")


# The filter


def test_the_filter_is_typed(table: LiveTable) -> None:
    table.type("G", "/", *"live  x", BACKSPACE, BACKSPACE)
    assert (table.state.mode, table.state.filter) == (Filtering(), "live ")
    assert table.type(*"q", CTRL_U, *"00") is None
    table.paste("\n11 ")
    assert table.state.filter == "0011"
    assert table.rows == [sid(11)]
    table.type(ENTER)
    assert (table.state.mode, table.state.filter) == (None, "0011")
    table.type("/", ESCAPE)
    assert (table.state.mode, table.state.filter, len(table.rows)) == (None, "", 12)


@pytest.mark.parametrize("key", list("jkgGxra/scCdp?qy 1"))
def test_while_a_filter_is_typed_each_character_is_one_of_it(table: LiveTable, key: str) -> None:
    assert table.type("j", "/", key) is None
    assert (table.state.mode, table.state.filter) == (Filtering(), key)


def test_enter_selects_the_first_match_unless_one_is_selected(table: LiveTable) -> None:
    table.type("/", *"0011", ENTER)
    assert (table.state.selected, table.rows) == (sid(11), [sid(11)])
    table.type(ESCAPE, "G", "/", *"progress", ENTER)
    assert table.state.selected == sid(12)


def test_enter_selects_a_match_of_all_that_was_typed_before_a_frame(table: LiveTable) -> None:
    for name in ("/", *"0011", ENTER):
        table.now += 0.001
        table.take(Key(name, table.now))
    assert table.state.selected == sid(11)


@pytest.mark.parametrize("text", ["", " ", "nobody"])
def test_enter_selects_nothing_without_a_match(table: LiveTable, text: str) -> None:
    table.type("/", *text, ENTER)
    assert table.state.selected is None


def test_while_a_filter_is_typed_arrows_select(table: LiveTable) -> None:
    table.type("/", *"live", DOWN, DOWN, PAGE_DOWN, UP)
    assert (table.state.mode, table.state.selected) == (Filtering(), sid(5))


def test_what_the_filter_hides_is_not_selected(table: LiveTable) -> None:
    table.type("G", *"/0012")
    assert (table.state.selected, table.state.top) == (sid(12), 0)
    table.type(BACKSPACE, "3")
    assert table.state.selected is None


# Other keys


def test_s_takes_the_next_sort_at_once(table: LiveTable) -> None:
    newest = table.rows[::-1]
    seen = []
    for _ in Sort:
        table.type("s")
        seen.append((table.state.sort, table.state.message, table.rows == newest))
    assert seen == [
        (Sort.STATUS_TIME, "sorted by time in status", False),
        (Sort.START, "sorted by start", True),
        (Sort.ATTENTION, "sorted by attention", False),
    ]


def test_c_copies(family: LiveTable) -> None:
    said = "if the terminal takes OSC 52; else select it with the mouse"
    family.select(2)
    assert family.type("c") == Copy(sid(2))
    assert family.state.message == f"copied {sid(2)}, {said}"
    assert family.type("C") == Copy(sid(1))
    assert family.state.message == f"copied {sid(1)}, {said}"


def test_d_dismisses_one_failure(table: LiveTable) -> None:
    table.event(5, "failed")
    table.draw()
    assert (table.rows[0], table.type("g", "d")) == (sid(5), None)
    assert (table.rows[-1], table.state.selected, table.listing.failures) == (sid(5), sid(1), {})
    assert table.state.message == "dismissed: 1 failure"


def test_d_dismisses_all_that_fold(table: LiveTable) -> None:
    for number in range(1, 6):
        table.event(number, "failed")
    table.legs.add_failure(sid(9), Failure(moment(table.now), "hangup refused"))
    table.draw()
    table.select_row(FAILURES)
    table.type("d")
    assert isinstance(table.state.mode, Dismissing)
    assert len(table.state.mode.failures) == 5
    table.type("y")
    assert isinstance(table.state.mode, Dismissing)  # it was too soon
    table.wait(CONFIRM_AFTER)
    following = table.rows[table.rows.index(FAILURES) + 1]
    table.type("y")
    assert table.state.message == "dismissed: 5 failures"
    assert (list(table.listing.failures), table.state.selected, FAILURES in table.rows) == ([sid(9)], following, False)


@pytest.mark.parametrize("key", ["d", "n", ESCAPE, ENTER, None])
def test_nothing_else_dismisses_them(table: LiveTable, key: str | None) -> None:
    for number in range(1, 6):
        table.event(number, "failed")
    table.draw()
    table.select_row(FAILURES)
    table.type("d")
    table.wait(CONFIRM_AFTER if key else CONFIRM_WITHIN + 0.1)
    if key:
        table.type(key)
    said = "not confirmed: nothing was dismissed" if key else "not confirmed within 10 s"
    assert (table.state.mode, table.state.message, len(table.listing.failures)) == (None, said, 5)


def test_p_holds_the_picture(table: LiveTable) -> None:
    rows = table.rows
    table.type("p")
    table.event(13, "ringing")
    table.event(1, "completed")
    table.wait(60)
    assert (table.state.is_held, table.rows) == (True, rows)
    table.type("g", "x")
    assert table.state.message == "completed meanwhile: p shows the table as it is now"
    table.type("p")
    assert (table.state.is_held, table.shown) == (False, table.latest)
    table.wait(ORDER_STAYS)
    assert (table.rows[0], table.rows[-1], table.state.selected) == (sid(13), sid(1), sid(1))


def test_a_question_is_over_while_the_picture_is_held(family: LiveTable) -> None:
    family.select(2)
    family.type("p")
    asked(family, "x")
    family.event(2, "in-progress")
    family.draw()
    assert (family.state.mode, family.state.message) == (None, "answered meanwhile: nothing was sent")


@pytest.mark.parametrize(("listens", "live", "asks"), [(True, True, True), (True, False, False), (False, True, False)])
def test_q_asks_only_if_calls_report_here(listens: bool, live: bool, asks: bool) -> None:
    table = LiveTable(listens=listens)
    table.event(1, "in-progress" if live else "completed")
    table.draw()
    intent = table.type("q")
    assert (intent, isinstance(table.state.mode, Confirming)) == ((None, True) if asks else (Leave(), False))
    if asks:
        table.wait(CONFIRM_AFTER)
        assert table.type("q") is None
        assert (table.state.mode, table.state.message) == (None, "")
        asked(table, "q")
        assert table.type("y") == Leave()


def test_q_is_asked_no_longer_than_anything_else() -> None:
    table = LiveTable(listens=True)
    table.event(1, "in-progress")
    table.draw()
    table.type("q")
    table.wait(CONFIRM_WITHIN + 0.1)
    assert (table.state.mode, table.state.message) == (None, "not confirmed within 10 s")


@pytest.mark.parametrize(("seconds", "stops"), [(SUSPEND_WITHIN - 0.1, True), (SUSPEND_WITHIN + 0.1, False)])
def test_a_watch_that_listens_stops_by_a_second_ctrl_z(seconds: float, stops: bool) -> None:
    table = LiveTable(listens=True)
    table.draw()
    said = "while it is stopped callbacks are lost: Ctrl-Z once more stops it"
    assert (table.type(CTRL_Z), table.state.message) == (None, said)
    table.wait(seconds)
    assert table.type(CTRL_Z) == (Suspend() if stops else None)
    if stops:
        assert table.type(CTRL_Z) is None  # each stop takes two


@pytest.mark.parametrize("keys", [[], ["/", "x"], ["?"], ["j", ENTER]])
def test_a_follower_stops_at_once(table: LiveTable, keys: list[str]) -> None:
    table.type(*keys)
    mode = table.state.mode
    assert (table.type(CTRL_Z), table.state.mode) == (Suspend(), mode)


@pytest.mark.parametrize("listens", [True, False])
def test_no_question_outlives_a_stop(family: LiveTable, listens: bool) -> None:
    family.listens = listens
    family.select(4)
    asked(family, "x")
    assert family.type(CTRL_Z) == (None if listens else Suspend())
    assert family.state.mode is None
    assert family.type("y") is None


def test_a_message_goes_after_a_while_or_with_the_next_key(table: LiveTable) -> None:
    table.type("x")
    assert table.state.message == SELECT_FIRST
    table.wait(MESSAGE_STAYS - 0.1)
    assert table.state.message == SELECT_FIRST
    table.wait(0.2)
    assert table.state.message == ""
    table.type("x", DOWN)
    assert table.state.message == ""


# What holds of any keys and events


STATUSES = ["ringing", "ringing", "in-progress", "in-progress", "completed", "failed", "busy", "odd"]
CALLS = st.integers(1, 9)
WAITS = st.sampled_from([0.01, 0.1, CONFIRM_AFTER, 0.5, ORDER_STAYS, 3.0, CONFIRM_WITHIN + 0.5, 40.0, 310.0])


class KeysAndEvents(RuleBasedStateMachine):
    """A table that is operated at random; each intent is held against the question that was on the screen."""

    def __init__(self) -> None:
        super().__init__()
        self.table = LiveTable(room=4, urls=("music",))
        self.table.draw()
        self.changed_at: dict[str, float] = {}
        self.marked: dict[str, str] = {}

    def take(self, key: Key) -> None:
        table = self.table
        asked, latest, listing = table.asked, table.latest, table.listing
        before = table.state.marks
        intent = table.take(key)
        for leg in table.state.marks.keys() - before.keys():
            shown = listing.leg(leg)
            assert shown is not None
            self.marked[leg] = shown.status
        if not isinstance(intent, HangUp | Redirect):
            return
        assert isinstance(asked, Confirming)
        assert asked.intent == intent
        assert asked.drawn_at is not None
        assert asked.drawn_at + CONFIRM_AFTER <= key.at
        assert key.name == (ENTER if asked.are_marked else "y")
        for target in intent.targets:
            if asked.are_marked:
                assert target.status == self.marked[target.sid]
            else:
                meant = latest.leg(target.sid)
                assert meant is not None
                assert meant.status == target.status
                assert self.changed_at.get(target.sid, 0.0) <= asked.drawn_at

    @initialize()
    def begin(self) -> None:
        for call, status, parent in ((1, "in-progress", None), (2, "ringing", 1), (3, "in-progress", None)):
            self.table.event(call, status, parent=parent)
        self.table.draw()

    @rule(call=CALLS, status=st.sampled_from(STATUSES), ago=st.integers(0, 50), parent=st.none() | CALLS)
    def event(self, call: int, status: str, ago: int, parent: int | None) -> None:
        self.table.event(call, status, ago=ago, parent=None if parent == call else parent)

    @rule(calls=st.lists(CALLS, min_size=4), status=st.sampled_from(["failed", "in-progress"]))
    def events(self, calls: list[int], status: str) -> None:
        for call in calls:
            self.table.event(call, status)

    @rule()
    def draw(self) -> None:
        self.table.draw()

    @rule(seconds=WAITS)
    def wait(self, seconds: float) -> None:
        self.table.wait(seconds)

    @rule(names=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4), draws=st.booleans())
    def keys(self, names: list[str], draws: bool) -> None:
        self.press(names, draws=draws)

    def press(self, names: list[str], *, draws: bool) -> None:
        for name in names:
            self.table.now += 0.001
            self.take(Key(name, self.table.now, "live\nxy" if name == PASTE else ""))
            if draws:
                self.table.draw()

    @rule(name=st.sampled_from(KEYS), late=st.sampled_from([0.05, 0.5, 2.0]))
    def key_that_waited(self, name: str, late: float) -> None:
        self.take(Key(name, self.table.now - late))

    @rule(
        escapes=st.sampled_from([0, 3]),
        row=st.sampled_from(["g", "gj", "gjj", "gjjj", "j"]),
        question=st.sampled_from(
            [
                ("x", ["y"]),
                ("xf", ["y"]),
                ("ra", ["y"]),
                (" jx", ["1", ENTER]),
                (" j x", ["2", ENTER]),
                (" j ra", ["2", ENTER]),
            ]
        ),
        meanwhile=st.none() | st.none() | st.tuples(CALLS, st.sampled_from(STATUSES)),
        wait=st.sampled_from([0.1, CONFIRM_AFTER, 1.0]),
        draws=st.booleans(),
    )
    def ask_and_answer(
        self,
        escapes: int,
        row: str,
        question: tuple[str, list[str]],
        meanwhile: tuple[int, str] | None,
        wait: float,
        draws: bool,
    ) -> None:
        ask, answer = question
        self.press([*[ESCAPE] * escapes, *row, *ask], draws=True)
        if meanwhile is not None:
            self.table.event(*meanwhile)
        self.table.now += wait
        if draws:
            self.table.draw()
        self.press(answer, draws=draws)

    @rule(call=CALLS)
    def change(self, call: int) -> None:
        self.changed_at[sid(call)] = self.table.now
        self.table.changed(call, "redirected by rule patience")

    @rule(call=CALLS)
    def fail(self, call: int) -> None:
        self.table.legs.add_failure(sid(call), Failure(self.table.clock.wall(), "hangup refused"))

    @rule(ago=st.integers(0, 60))
    def forget(self, ago: int) -> None:
        self.table.board.forget(before=moment(self.table.now - ago), now=moment(self.table.now - ago))

    @invariant()
    def the_state_settles_at_once(self) -> None:
        table = self.table
        settled = settle(table.state, table.around, now=table.now)
        assert settle(settled, table.around, now=table.now) == settled
        rows, top = table.rows, settled.top
        assert settled.selected is None or settled.selected in rows
        if isinstance(settled.mode, LegPage | KeysPage):
            return  # the table is scrolled when it shows again
        assert 0 <= top <= max(0, len(rows) - table.room)
        shown = table.listing.leg(settled.selected)
        if settled.selected is not None and (shown is None or shown.is_live):
            assert top <= rows.index(settled.selected) < top + table.room

    def teardown(self) -> None:
        """Reach every leg of the board by keys."""
        table = self.table
        table.state = replace(table.state, mode=None, marks=MappingProxyType({}))
        table.wait(REFUSED_FOR)
        table.type("/", ESCAPE, *(["p"] if table.state.is_held else []))
        table.wait(ORDER_STAYS)
        if FAILURES in table.rows and not table.state.failures_open:
            table.select_row(FAILURES)
            table.type(ENTER)
        reached = []
        table.type("g")
        for _ in table.rows:
            reached.append(table.state.selected)
            table.type("j")
        assert reached == table.rows
        assert {leg for leg in reached if leg not in (FAILURES, None)} == set(table.latest.legs)


TestKeysAndEvents = KeysAndEvents.TestCase
TestKeysAndEvents.settings = settings(max_examples=200, stateful_step_count=30)
