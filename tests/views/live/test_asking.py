"""What is asked before a call is changed, and that no key acts on a leg, or in a status, other than the one named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from events import moment, sid
from live_table import KEYS, LiveTable, asked

from callctl.views.live.asking import CONFIRM_AFTER, REFUSED_FOR
from callctl.views.live.attention import Failure
from callctl.views.live.intents import HangUp, Leave, Redirect, Suspend, Target
from callctl.views.live.keys import (
    BACKSPACE,
    CTRL_F,
    CTRL_U,
    CTRL_Z,
    DOWN,
    ENTER,
    ESCAPE,
    PAGE_DOWN,
    PASTE,
    UP,
    Key,
)
from callctl.views.live.sorted_legs import FAILURES
from callctl.views.live.state import CONFIRM_WITHIN, ChoosingUrl, Confirming, Dismissing

NOT_CONFIRMED = "not confirmed: nothing was sent"
SELECT_FIRST = "select a leg first: ↑ ↓"


# Hanging up


def test_x_asks_and_y_hangs_up(family: LiveTable) -> None:
    family.select(2)
    intent = HangUp((Target(sid(2), "ringing", sid(1)),))
    assert asked(family, "x").intent == intent
    assert family.type("y") == intent
    assert (family.state.mode, family.state.message) == (None, "")


@pytest.mark.parametrize("question", ["x", "q", "r", "d"])
@pytest.mark.parametrize("answer", ["n", "y", ESCAPE])
def test_keys_that_were_read_together_with_an_answer_do_nothing(family: LiveTable, question: str, answer: str) -> None:
    family.listens = True
    for number in range(20, 24):
        family.event(number, "failed")
    family.draw()
    family.select(4)
    if question == "d":
        family.select_row(FAILURES)
    family.type(question)
    family.wait(REFUSED_FOR)
    read_at = family.now
    family.take(Key(answer, read_at))
    family.now += 1  # a terminal that is slow
    over = family.state
    intents = list(family.intents)
    assert over.mode is None
    for key in ["x", "y", " ", "d", "a", "p", CTRL_Z, CTRL_Z]:
        family.take(Key(key, read_at))
    assert (replace(family.state, message=""), family.intents) == (replace(over, message=""), intents)


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
        before,
        key_at=family.state.key_at,
        closed_at=family.state.key_at,
        message=NOT_CONFIRMED,
        message_at=family.state.key_at,
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


@pytest.mark.parametrize("key", ["x", "r", " ", "a"])
@pytest.mark.parametrize("before", [["g"], ["g", " ", "j", " "], []])
def test_a_table_to_read_only_changes_no_call(family: LiveTable, key: str, before: list[str]) -> None:
    family.may_act = False
    family.type(*before, key)
    assert (family.state.mode, family.state.message) == (None, "--read-only: this table changes no call")
    assert family.state.marks == {}


@pytest.mark.parametrize("number", [1, 2])
def test_f_asks_for_the_live_legs_of_the_family(family: LiveTable, number: int) -> None:
    family.select(number)
    family.type("x")
    whole = HangUp((Target(sid(1), "in-progress"), Target(sid(2), "ringing", sid(1))), is_family=True)
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


# Marked legs


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
    targets = (Target(sid(1), "in-progress"), Target(sid(2), "ringing", sid(1)))
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


def test_a_marked_leg_that_was_answered_meanwhile_is_not_said_to_ring(family: LiveTable) -> None:
    family.type("g", " ", "j", " ")
    family.event(2, "in-progress")
    family.type("r")
    said = "only a call in progress can be redirected; of 2 marked legs 1 are not: one was ringing when it was marked"
    assert (family.state.mode, family.state.message) == (None, said)


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


# Dismissing


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


# Leaving, stopping, holding


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


@pytest.mark.parametrize("ahead", [["l", "s", " ", "x", "y"], ["e", "x", "y"], [ENTER, "x", "y"], [PASTE, "x", "y"]])
def test_text_that_is_typed_on_after_q_is_no_row_of_keys(family: LiveTable, ahead: list[str]) -> None:
    family.listens = True
    family.select(4)
    family.type("q")
    for key in ahead:
        family.wait(CONFIRM_AFTER - 0.1)
        family.type(key)
    assert (family.state.mode, family.state.marks, family.intents) == (None, {}, [])
    family.wait(REFUSED_FOR)
    asked(family, "q")
    assert family.type("y") == Leave()


def test_q_counts_at_once_after_its_question_was_left(family: LiveTable) -> None:
    family.listens = True
    family.type("q", "n")
    asked(family, "q")
    assert family.type("y") == Leave()


def test_q_is_asked_no_longer_than_anything_else() -> None:
    table = LiveTable(listens=True)
    table.event(1, "in-progress")
    table.draw()
    table.type("q")
    table.wait(CONFIRM_WITHIN + 0.1)
    assert (table.state.mode, table.state.message) == (None, "not confirmed within 10 s")


@pytest.mark.parametrize("listens", [True, False])
def test_no_question_outlives_a_stop(family: LiveTable, listens: bool) -> None:
    family.listens = listens
    family.select(4)
    asked(family, "x")
    assert family.type(CTRL_Z) == (None if listens else Suspend())
    assert family.state.mode is None
    assert family.type("y") is None
