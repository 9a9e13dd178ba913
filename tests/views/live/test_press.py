"""What each key does; and what holds of any keys and events."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from events import moment, sid
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from live_table import KEYS, LiveTable

from callctl.views.live.asking import CONFIRM_AFTER, REFUSED_FOR
from callctl.views.live.attention import Failure
from callctl.views.live.intents import Copy, HangUp, Leave, OpenPage, Redirect, Suspend
from callctl.views.live.keys import (
    BACKSPACE,
    CTRL_B,
    CTRL_C,
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
from callctl.views.live.press import SUSPEND_WITHIN
from callctl.views.live.settle import settle
from callctl.views.live.sorted_legs import FAILURES, Sort
from callctl.views.live.state import CONFIRM_WITHIN, ORDER_STAYS, Confirming, Filtering, KeysPage, LegPage, ViewState

# Selecting


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


@pytest.mark.parametrize("way_out", ["q", CTRL_C])
def test_no_key_counts_once_the_table_is_left(table: LiveTable, way_out: str) -> None:
    table.type("j")
    assert table.type(way_out) == (Leave() if way_out == "q" else None)
    left = table.state
    for key in KEYS:
        table.wait(CONFIRM_AFTER)
        assert table.type(key, text="x") is None
    table.type("x")
    table.wait(CONFIRM_AFTER)
    assert table.type("y") is None
    assert table.state == left


def test_ctrl_c_counts_while_something_is_asked(table: LiveTable) -> None:
    table.type("j", "x", CTRL_C)
    table.wait(CONFIRM_AFTER)
    assert table.type("y") is None
    assert table.state.is_ending


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


# The filter


def test_the_filter_is_typed(table: LiveTable) -> None:
    table.type("G", "/", *"live  x", BACKSPACE, BACKSPACE)
    assert (table.state.mode, table.state.filter) == (Filtering(is_typed=True), "live ")
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
    assert (table.state.mode, table.state.filter) == (Filtering(is_typed=True), key)


def test_enter_selects_the_first_match_whatever_was_selected_before(table: LiveTable) -> None:
    table.type("/", *"0011", ENTER)
    assert (table.state.selected, table.rows) == (sid(11), [sid(11)])
    table.type(ESCAPE, "G")
    before = table.state.selected
    table.type("/", *"progress", ENTER)
    assert table.state.selected == table.rows[0] != before
    assert before in table.rows  # it matches too, and is not what was looked for


def test_enter_leaves_selected_what_arrows_have_selected_since_the_last_letter(table: LiveTable) -> None:
    table.type("/", *"progress", DOWN, DOWN, ENTER)
    chosen = table.state.selected
    assert chosen == table.rows[1]
    table.type("/", ENTER)
    assert table.state.selected == chosen  # nothing was typed


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
        if isinstance(intent, Leave):
            table.state = replace(table.state, is_ending=False)  # operated on, as if it was asked for elsewhere
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
