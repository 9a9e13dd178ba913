"""The live table operated by its keys, on a pseudo-terminal, with the simulator's calls."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from api.scripted import ReceivedRequest, Server, Turn, hang, reply
from switchboard import (
    ANSWERS,
    BACKSPACE,
    CTRL_B,
    CTRL_F,
    CTRL_Z,
    DOWN,
    ENTER,
    ESCAPE,
    FAILS,
    NEVER,
    PAGE_DOWN,
    PAGE_UP,
    UP,
    WATCH,
    LiveTerminal,
    Switchboard,
    start_of,
    switchboard,
)

SIZES = [(80, 24), (120, 40), (40, 12)]
NOT_SENT = "nothing was sent"


@pytest.fixture
def board(home: Path) -> Iterator[Switchboard]:
    with switchboard(home) as board:
        yield board


def in_operation(board: Switchboard, home: Path, *more: str, columns: int = 80, lines: int = 24) -> LiveTerminal:
    """Start a watch, and return it once it listens."""
    terminal = LiveTerminal(*WATCH, *more, home=home, env=board.env, columns=columns, lines=lines)
    terminal.shows("No calls yet")
    return terminal


def clipboard(text: str) -> bytes:
    """Return what puts a text on the terminal's clipboard."""
    return b"\x1b]52;c;" + base64.b64encode(text.encode()) + b"\x07"


# Each row of the table of keys


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_keys_that_select_show_and_filter(home: Path, board: Switchboard, columns: int, lines: int) -> None:
    with in_operation(board, home, columns=columns, lines=lines) as watch:
        for _ in range(4):
            board.place(FAILS)
        sids = [board.place(ANSWERS) for _ in range(12)]
        watch.shows("16 legs", "4 failures", "12 in-progress")
        assert watch.selected == ""

        # d: the failures, which take a row together, are the first; Enter opens and closes it
        watch.type("j")
        watch.until(lambda _rows: "4 failures" in watch.selected)
        watch.type(ENTER)
        watch.shows("⏎ closes")
        watch.type(ENTER)
        watch.shows("⏎ opens")
        watch.type("d")
        watch.shows("dismiss 4 failures?")
        watch.confirm()
        watch.lacks("failures in 5 min", "failed in 5 min")
        watch.until(lambda _rows: watch.first in map(start_of, sids))  # they take their places a second after the key

        # j, k, arrows, g and G reach every leg, and nothing else
        watch.until(lambda _rows: watch.selected == watch.first)  # it took the place of the failures
        last = watch.moves("G")
        first = watch.moves("g")
        order = [first]
        while order[-1] != last:
            order.append(watch.moves("j" if len(order) % 2 else DOWN))
        assert len(order) == len(set(order)) == 16
        assert set(order[:12]) == {start_of(sid) for sid in sids}
        assert watch.moves("k") == order[-2]
        assert watch.moves(UP) == order[-3]
        watch.moves("g")
        for page_down, page_up in ((PAGE_DOWN, CTRL_B), (CTRL_F, PAGE_UP)):
            assert order.index(watch.moves(page_down)) > 1
            assert watch.moves(page_up) == first

        # Enter: the page of the leg; q and Esc lead back
        sid = next(sid for sid in sids if start_of(sid) == first)
        for back in ("q", ESCAPE):
            watch.type(ENTER)
            watch.shows(sid, "q back")
            watch.lacks("loading what REST knows")
            watch.type("G")
            watch.shows("TIMELINE")
            watch.until(lambda rows: bool(re.search(r"-(\d+) of \1 ", rows[-1])))
            watch.type(back)
            watch.shows("16 legs")
            watch.selects(sid)

        # c and C
        watch.type("c")
        watch.shows(f"copied {sid}, if the terminal takes OSC 52")
        assert clipboard(sid) in watch.raw
        watch.type("C")
        watch.shows("it has no parent")
        assert watch.raw.count(b"\x1b]52;") == 1

        # s
        for sort in ("time in status", "start", "attention"):
            watch.type("s")
            watch.shows(f"sorted by {sort}")
        watch.selects(sid)

        # /, and Esc
        watch.type("/" + sid[:9] + "x")
        watch.shows("0 of 16 legs", "No leg matches the filter")
        watch.type(BACKSPACE)
        watch.shows("1 of 16 legs", f"/{sid[:9]}▏")
        watch.type(ENTER)
        watch.lacks("▏")
        watch.shows("1 of 16 legs")
        watch.type(ESCAPE)
        watch.lacks("1 of 16 legs")

        # ?
        watch.type("?")
        watch.shows("KEYS", "q back")
        watch.type("G")
        watch.shows("statusCallback")
        watch.type("?")
        watch.shows("16 legs")
        assert board.changes == []


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_keys_that_mark_hold_ask_and_leave(home: Path, board: Switchboard, columns: int, lines: int) -> None:
    with in_operation(board, home, columns=columns, lines=lines) as watch:
        sids = [board.place(ANSWERS) for _ in range(3)]
        rings = board.place(NEVER)
        watch.shows("3 in-progress", "1 ringing")

        # space, a: a mark is taken away by the same key, and all by Esc or another filter
        watch.select(rings)
        watch.type(" ")
        watch.shows("1 marked")
        assert watch.marked == 1
        watch.type(" ")
        watch.lacks("1 marked")
        watch.type("a")
        watch.shows("type a filter first: /")
        watch.type("/in-prog" + ENTER + "a")
        watch.shows("3 marked; what comes later is not")
        sids.append(board.place(ANSWERS))
        watch.type("k")
        watch.shows("4 of 5 legs", "3 marked")
        watch.type("/r" + BACKSPACE)
        watch.lacks("3 marked")
        watch.type(ESCAPE)
        watch.shows("5 legs")
        watch.lacks("5 of 5 legs")

        # p: what comes is stored, and counted
        watch.type("p")
        watch.shows("held since ", ", 0 events wait")
        sids.append(board.place(ANSWERS))
        watch.shows("held since ", ", 3 events wait")
        assert watch.marked == 0
        assert "6 legs" not in watch.text
        watch.type("p")
        watch.shows("6 legs")

        # x and r: what is not confirmed is not sent
        watch.select(rings)
        watch.type("x")
        watch.shows(f"hang up {NEVER} ◔ ringing", "y: yes")
        watch.type("n")
        watch.shows(f"not confirmed: {NOT_SENT}")
        watch.type("r")
        watch.shows("only a call in progress can be redirected; it is ringing")
        watch.type(UP)  # else what follows at once would be taken for what was to be typed
        watch.select(sids[0])
        watch.type("r")
        watch.shows(f"redirect {ANSWERS} ● in-progress", "a: survey", "t: type a URL")
        watch.type(ESCAPE)
        watch.lacks("t: type a URL")
        watch.type("r")
        watch.shows("t: type a URL")
        watch.type("a")
        watch.shows("to survey?", "y: yes")
        watch.type("n")
        watch.shows(f"not confirmed: {NOT_SENT}")

        # Ctrl-Z: callbacks would be lost
        watch.type(CTRL_Z)
        watch.shows("while it is stopped callbacks are lost: Ctrl-Z once more stops it")

        # q
        watch.type("q")
        watch.shows("stop listening? 6 live calls report here", "y: yes")
        watch.type("n")
        watch.lacks("stop listening?")
        watch.type("q")
        watch.shows("stop listening?")
        watch.confirm()
        assert watch.ended() == 0
        assert board.changes == []


# What changes calls


def test_of_sixty_calls_the_stuck_one_is_on_the_first_screen_and_three_keys_end_it(
    home: Path, board: Switchboard
) -> None:
    with in_operation(board, home, "--attention", "1s") as watch:
        stuck = board.place(NEVER)
        others = [board.place(ANSWERS) for _ in range(59)]
        rows = watch.until(lambda rows: "59 in-progress" in rows[0] and "ringing !" in watch.text)
        assert next(row for row in rows if " !" in row).split()[0] == stuck[:10]
        watch.type("gx")
        watch.shows(f"hang up {NEVER} ◔ ringing", "y: yes")
        watch.selects(stuck)
        watch.confirm()
        watch.shows(f"ended: {stuck} is canceled")
        watch.until(lambda rows: "ringing" not in rows[0])
        watch.lacks("◔ ringing !")
        assert [one.path.rpartition("/")[2] for one in board.changes] == [f"{stuck}.json"]
        assert board.status(stuck) == "canceled"
        # Every one of the sixty is within reach.
        last = watch.moves("G")
        seen = {watch.moves("g")}
        while watch.selected != last:
            seen.add(watch.moves("j"))
        assert seen == {start_of(sid) for sid in (stuck, *others)}


def test_a_selected_leg_stays_selected_while_rows_come_go_and_end(home: Path, board: Switchboard) -> None:
    with in_operation(board, home, "--attention", "1s") as watch:
        sids = [board.place(ANSWERS) for _ in range(3)]
        watch.shows("3 in-progress")
        watch.select(sids[1])
        more = [board.place(NEVER) for _ in range(3)]
        watch.until(lambda rows: sum(" !" in row for row in rows) == 3)
        watch.selects(sids[1])
        board.hang_up(sids[0])
        watch.until(lambda rows: "2 in-progress" in rows[0])
        board.hang_up(sids[1])
        watch.until(lambda rows: "1 in-progress" in rows[0])
        watch.selects(sids[1])
        # It ended: that is said, and nothing is asked.
        watch.type("x")
        watch.shows("already over: it is completed")
        watch.until(lambda _rows: watch.first in map(start_of, more))  # a second after the key
        assert watch.moves("g") in map(start_of, more)
        watch.type("x")
        watch.shows(f"hang up {NEVER} ◔ ringing")
        watch.type("n")
        watch.shows(f"not confirmed: {NOT_SENT}")  # what is typed on with the answer counts for nothing
        # Under a filter a leg that no longer matches is no longer selected.
        watch.type("/ringing" + ENTER)
        watch.shows("3 of 6 legs")
        watch.moves("G") if watch.selected != start_of(more[2]) else None
        chosen = next(sid for sid in more if start_of(sid) == watch.selected)
        board.answer(chosen)
        watch.shows("2 of 6 legs")
        watch.until(lambda _rows: watch.selected == "")
        watch.type("x")
        watch.shows("select a leg first")
        assert board.changes == []


def test_resizing_while_a_filter_is_typed_loses_nothing_of_it(home: Path, board: Switchboard) -> None:
    with in_operation(board, home) as watch:
        rings = board.place(NEVER)
        board.place(ANSWERS)
        watch.shows("1 ringing", "1 in-progress")
        watch.type("/ri")
        watch.shows("1 of 2 legs", "/ri▏")
        watch.resize(160, 40)
        watch.shows("PARENT CALL SID", "/ri▏")
        watch.type("ng")
        watch.shows("/ring▏", "1 of 2 legs")
        watch.resize(40, 12)
        watch.lacks("PARENT CALL SID")
        watch.shows("/ring▏")
        watch.type("x")
        watch.shows("/ringx▏", "0 of 2 legs")
        watch.type(BACKSPACE + ENTER)
        watch.shows("1 of 2 legs")
        watch.lacks("▏")
        watch.selects(rings)


def test_marked_legs_are_ended_by_their_number_and_each_only_as_it_was_when_marked(
    home: Path, board: Switchboard
) -> None:
    with in_operation(board, home) as watch:
        ringing, answered = board.place(NEVER), board.place(NEVER)
        talking, over = board.place(ANSWERS), board.place(ANSWERS)
        watch.shows("2 ringing", "2 in-progress")
        watch.type("/+1202555" + ENTER + "a")
        watch.shows("4 marked")
        board.answer(answered)
        board.hang_up(over)
        later = board.place(ANSWERS)
        watch.shows("1 ringing", "3 in-progress")
        watch.type("x")
        watch.shows("type 4 and Enter to hang up", "1 has ended")
        watch.confirm_number("3")
        watch.shows(f"not confirmed: {NOT_SENT}")
        assert board.changes == []
        watch.type("x")
        watch.shows("type 4 and Enter")
        watch.confirm_number("4")
        watch.shows("2 ended")
        watch.until(lambda rows: "2 in-progress" in rows[0] and "ringing" not in rows[0])
        statuses = [board.status(sid) for sid in (ringing, answered, talking, over, later)]
        assert statuses == ["canceled", "in-progress", "completed", "completed", "in-progress"]
        assert [one.form for one in board.changes if answered in one.path] == [{"Status": ("canceled",)}]
        assert not [one for one in board.changes if over in one.path or later in one.path]


def test_a_family_is_ended_by_f_and_the_foot_says_what_becomes_of_the_other_leg(home: Path, board: Switchboard) -> None:
    dials = "<Response><Dial timeout='600'>{}</Dial><Pause length='600'/></Response>"
    with in_operation(board, home) as watch:
        parent = board.place(ANSWERS, twiml=dials.format("<Number>+12025550100</Number>"))
        watch.settles(lambda: len(board.children(parent)) == 1)
        (child,) = board.children(parent)
        board.report(child, "in-progress", ParentCallSid=parent, To="+12025550100", Direction="outbound-dial")
        watch.shows("2 in-progress")
        watch.select(child)
        watch.type("C")
        watch.shows(f"copied {parent}")
        assert clipboard(parent) in watch.raw
        watch.type("x")
        watch.shows("hang up +12025550100 ● in-progress", "its parent goes on", "f: family")
        watch.type("f")
        watch.shows("hang up the whole family, 2 live legs:")
        watch.confirm()
        watch.settles(lambda: board.status(parent) == "completed")
        watch.shows("ended")
        assert board.changes[0].path.endswith(f"{parent}.json")


def test_a_call_is_redirected_by_a_letter_and_by_a_typed_and_pasted_url(home: Path, board: Switchboard) -> None:
    survey = f"{board.simulator.url}/simulator/survey"
    with in_operation(board, home) as watch:
        sids = [board.place(ANSWERS) for _ in range(2)]
        watch.shows("2 in-progress")
        watch.select(sids[0])
        watch.type("r")
        watch.shows("a: survey")
        watch.type("a")
        watch.shows("to survey?", "y: yes")
        watch.confirm()
        watch.shows("▸ redirect: to survey")
        watch.select(sids[1])
        watch.type("r")
        watch.shows("t: type a URL")
        watch.type("t")
        watch.shows("Enter goes on")
        watch.type("yx")
        watch.shows("to: yx▏")
        watch.type("\x15")
        watch.paste(survey)
        watch.shows(f"to: {survey}▏")
        watch.type(ENTER)
        watch.shows(f"to {survey}?")
        watch.confirm()
        watch.settles(lambda: len(board.changes) == 2)  # else it may be left before it has asked for the second
    assert [(one.path[-39:-5], one.form["Url"]) for one in board.changes] == [(sid, (survey,)) for sid in sids]


# What must never happen


def test_no_key_acts_on_a_leg_or_in_a_status_other_than_the_one_in_the_foot(home: Path, board: Switchboard) -> None:
    with in_operation(board, home, "--attention", "1h") as watch:
        first, answered, ended = board.place(NEVER), board.place(NEVER), board.place(ANSWERS)
        watch.shows("2 ringing", "1 in-progress")

        # Keys typed ahead, all at once.
        for keys in ("gxy", "gxyyyy", "x" + "y" * 50):
            watch.type(keys)
            watch.shows("y: yes")
            watch.type("n")
            watch.shows(f"not confirmed: {NOT_SENT}")

        # A pasted "xy", on the table and at a question.
        watch.paste("xy")
        watch.shows("pasted text counts only in the filter and in a URL")
        watch.type("x")
        watch.shows("y: yes")
        watch.paste("y")
        watch.shows(f"not confirmed: {NOT_SENT}")

        # Answered between x and y.
        watch.select(answered)
        watch.type("x")
        watch.shows("hang up", "◔ ringing", "y: yes")
        board.answer(answered)
        watch.shows(f"answered meanwhile: {NOT_SENT}")
        watch.type("y")

        # Ended between x and y.
        watch.select(ended)
        watch.type("x")
        watch.shows("hang up", "● in-progress", "y: yes")
        board.hang_up(ended)
        watch.shows(f"completed meanwhile: {NOT_SENT}")
        watch.type("y")

        # Another leg takes its place in the list: the one in the foot is meant, and stays selected.
        watch.select(first)
        watch.type("x")
        watch.shows("hang up", "◔ ringing", "y: yes")
        later = [board.place(FAILS), board.place(NEVER)]
        watch.until(lambda rows: "failed in 5 min" in rows[0] and "2 ringing" in rows[0])
        assert watch.selected == start_of(first)
        assert board.changes == []
        watch.confirm()
        watch.shows(f"ended: {first} is canceled")
        assert [one.path[-39:-5] for one in board.changes] == [first]
        assert [board.status(sid) for sid in later] == ["failed", "ringing"]


def test_a_leg_that_changed_unseen_is_left_alone(home: Path, board: Switchboard) -> None:
    with in_operation(board, home) as watch:
        # What the watch is told is not what has become of them.
        answered, over = board.place_silent(NEVER), board.place_silent(ANSWERS)
        watch.settles(lambda: [board.status(sid) for sid in (answered, over)] == ["ringing", "in-progress"])
        board.report(answered, "ringing", To=NEVER)
        board.report(over, "in-progress")
        watch.shows("1 ringing", "1 in-progress")
        board.answer(answered)
        board.hang_up(over)
        watch.select(answered)
        watch.type("x")
        watch.shows("◔ ringing", "y: yes")
        watch.confirm()
        watch.shows(f"not ended: {answered} is in progress")
        watch.select(over)
        watch.type("x")
        watch.shows("● in-progress", "y: yes")
        watch.confirm()
        watch.shows(f"already over: {over} is completed")
        assert board.status(answered) == "in-progress"
        assert [one.form for one in board.changes] == [{"Status": ("canceled",)}]


def test_a_leg_that_a_rule_redirects_between_x_and_y_is_left_alone(home: Path, board: Switchboard) -> None:
    dials = "<Response><Dial>{}</Dial><Pause length='600'/></Response>"
    with in_operation(board, home, "--after-dial", "survey", "--all-calls") as watch:
        parent = board.place(ANSWERS, twiml=dials.format("<Number>+12025550100</Number>"))
        watch.settles(lambda: len(board.children(parent)) == 1)
        (child,) = board.children(parent)
        leg = {"ParentCallSid": parent, "To": "+12025550100", "Direction": "outbound-dial"}
        board.report(child, "in-progress", **leg)
        watch.shows("2 in-progress")
        watch.select(parent)
        watch.type("x")
        watch.shows("y: yes")
        board.hang_up(child)
        board.report(child, "completed", **leg)
        watch.shows(f"redirected by rule after-dial meanwhile: {NOT_SENT}")
        watch.type("y")
        watch.type("G")
        watch.lacks(NOT_SENT)
        assert board.status(parent) == "in-progress"
        assert ["Url" in one.form for one in board.changes] == [True]


def test_a_lone_esc_is_a_key_and_arrows_are_not_taken_for_it(home: Path, board: Switchboard) -> None:
    with in_operation(board, home) as watch:
        board.place(NEVER)
        watch.shows("1 ringing")
        watch.type("/ringing")
        watch.shows("/ringing▏")
        for key in (UP, DOWN, PAGE_UP, PAGE_DOWN, "\x1bOA", "\x1b[1;5A", "\x1b[24~"):
            watch.type(key)
        watch.type("x")
        watch.shows("/ringingx▏")
        for piece in ("\x1b", "[", "B"):  # what a slow line delivers byte by byte, each before the next is due
            watch.type(piece)
        watch.type("y")
        watch.shows("/ringingxy▏")
        watch.type(ESCAPE)
        watch.lacks("/ringing")
        watch.shows("1 leg ")


# What the API refuses


class Refusing(Server):
    """An API that refuses whatever is asked of calls, each in a way of its own."""

    def __init__(self, refusals: dict[str, Turn]) -> None:
        super().__init__(reply(404))
        self._refusals = refusals

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        return next(turn for sid, turn in self._refusals.items() if sid in request.path)


def test_what_the_api_refuses_stands_in_the_foot_with_its_hint_and_is_a_failure(home: Path, board: Switchboard) -> None:
    unknown, outage = f"CA{'4' * 32}", f"CA{'5' * 32}"
    missing = {"code": 20404, "message": "The requested resource was not found", "status": 404}
    with Refusing({unknown: reply(404, missing), outage: reply(503)}) as api:
        board = Switchboard(board.simulator, home, api_url=api.url)
        with in_operation(board, home, columns=120, lines=40) as watch:
            for sid in (unknown, outage):
                board.report(sid, "ringing", To=NEVER)
            watch.shows("2 ringing")
            watch.select(unknown)
            watch.type("x")
            watch.shows("y: yes")
            watch.confirm()
            watch.shows("not done:", "`callctl list", "(cancel refused)", "1 failed in 5 min")
            watch.select(outage)
            watch.type("x")
            watch.shows("y: yes")
            watch.confirm()
            watch.shows("503", "2 failed in 5 min")
            watch.type("d")
            watch.shows("dismissed: 1 failure", "1 failed in 5 min")


def test_an_action_in_flight_is_seen_until_it_is_over_and_said_when_the_table_is_left(
    home: Path, board: Switchboard
) -> None:
    sid = f"CA{'4' * 32}"
    with Refusing({sid: hang()}) as api:
        board = Switchboard(board.simulator, home, api_url=api.url)
        with in_operation(board, home) as watch:
            board.report(sid, "ringing", To=NEVER)
            watch.shows("1 ringing")
            watch.select(sid)
            watch.type("x")
            watch.shows("y: yes")
            watch.confirm()
            watch.shows(f"ending {sid} …")
            watch.type("p")
            watch.shows("held", f"ending {sid} …")  # a key takes a message away, but not this
            watch.type("p")
            watch.type("q")
            watch.shows("stop listening?")
            watch.confirm()
            # The terminal may break the sentence anywhere.
            watch.until(lambda rows: f"thehang-upof{sid}wassent;itsoutcomeisunknown" in "".join("".join(rows).split()))
            watch.until(lambda rows: f"`callctlshow{sid}`" in "".join("".join(rows).split()))


# Who may do what


def test_a_read_only_table_asks_for_nothing(home: Path, board: Switchboard) -> None:
    with in_operation(board, home, "--read-only") as watch:
        sid = board.place(ANSWERS)
        watch.shows("1 in-progress")
        watch.select(sid)
        for key in "xr":
            watch.type(key)
            watch.shows("--read-only: this table changes no call")
            watch.type(UP)
            watch.lacks("--read-only:")
        assert board.changes == []


def test_a_follower_has_the_same_keys_and_leaves_at_once(home: Path, board: Switchboard) -> None:
    with in_operation(board, home) as watch:
        sid, rings = board.place(ANSWERS), board.place(NEVER)
        watch.shows("1 in-progress", "1 ringing")
        port = board.callback_url.rpartition(":")[2].partition("/")[0]
        with LiveTerminal("watch", "--port", port, home=home, env=board.env) as follower:
            follower.shows("1 in-progress", "1 ringing")
            follower.select(rings)
            follower.type("x")
            follower.shows("◔ ringing", "y: yes")
            board.answer(rings)
            follower.shows(f"answered meanwhile: {NOT_SENT}")
            follower.select(sid)
            follower.type("x")
            follower.shows("● in-progress", "y: yes")
            follower.confirm()
            follower.shows(f"ended: {sid} is completed")
            watch.shows("▸ hangup: completed")
            assert [one.path[-39:-5] for one in board.changes] == [sid]
            follower.type("q")
            assert follower.ended() == 0


def test_place_watch_has_the_same_keys(home: Path, board: Switchboard) -> None:
    with LiveTerminal("place", NEVER, "--say", "Hello", "--watch", home=home, env=board.env) as place:
        place.shows("1 ringing")
        place.moves("j")
        place.type(ENTER)
        place.shows("TIMELINE")
        place.type("q")
        place.shows("1 leg ")
        place.type("q")
        place.shows("stop listening? 1 live call reports here")
        place.type(ESCAPE)  # for text that is typed on at once would be taken for the shell's
        place.lacks("stop listening?")
        place.type("x")
        place.shows(f"hang up {NEVER} ◔ ringing", "y: yes")
        place.confirm()
        assert place.ended() == 0
        assert len(board.changes) == 1


def test_the_bell_rings_once_when_a_leg_starts_to_need_attention(home: Path, board: Switchboard) -> None:
    with in_operation(board, home, "--attention", "1s", "--bell") as watch:
        board.place(ANSWERS)
        watch.shows("1 in-progress")
        board.place(NEVER)
        watch.shows("◔ ringing !")
        board.place(ANSWERS)
        watch.shows("2 in-progress")
        watch.type("?")
        watch.shows("KEYS")
        watch.type("q")
        watch.shows("◔ ringing !")
        assert watch.raw.count(b"\x07") == 1
        board.place(FAILS)
        watch.shows("1 failed in 5 min")
        watch.shows("✗ failed !")
        assert watch.raw.count(b"\x07") == 2
