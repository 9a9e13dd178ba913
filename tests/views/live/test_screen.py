"""Notes and trouble among the events: the live table shows both, and the other views too."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from events import START, clock_of, event_of, form, moment, sid
from legs import PARENT, board_of, callback, family
from paths import ROOT
from rich.console import Console
from rich.text import Text

from callctl.calls.action import REFUSED, ActionEvent
from callctl.calls.board import Snapshot
from callctl.calls.watch_trouble import Cause, Trouble
from callctl.support.clock import elapsed
from callctl.support.dates import format_date, time_of_day
from callctl.views.jsonl import JsonLinesView
from callctl.views.lines import LineView
from callctl.views.live.asking import CONFIRM_AFTER
from callctl.views.live.frame import Frame, Layout, draw
from callctl.views.live.intents import ActionOutcome
from callctl.views.live.keys import CTRL_C, Key
from callctl.views.live.screen import TROUBLE_STAYS, LiveView, TableOptions
from callctl.views.view import WatchState

HEADER = WatchState(title="watch", listening="x", callback_url="", api_url=None)
RED = "\x1b[1;31m"


def drawn(text: str, *, is_trouble: bool, is_over: bool = False, colours: bool = True) -> str:
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, color_system="standard", no_color=not colours, width=80, height=24
    )
    view = LiveView(console, TableOptions(), clock=clock_of(lambda: START))
    if is_trouble:
        view.trouble(Trouble(text, Cause.TUNNEL_ENDED, is_over=is_over))
    else:
        view.note(text)
    view.refresh(board_of(family()).snapshot(), HEADER)
    view.close()
    return screen.getvalue()


@pytest.mark.parametrize(
    ("is_trouble", "colours", "is_red"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_trouble_is_red_where_there_is_colour(is_trouble: bool, colours: bool, is_red: bool) -> None:
    line = next(
        line
        for line in drawn("the tunnel has ended", is_trouble=is_trouble, colours=colours).splitlines()
        if "the tunnel has ended" in line
    )
    assert (RED in line) is is_red


def test_the_end_of_trouble_is_not_red() -> None:
    screen = drawn("it arrives again", is_trouble=True, is_over=True)
    line = next(line for line in screen.splitlines() if "it arrives again" in line)
    assert RED not in line


def test_a_long_sentence_is_red_to_its_end() -> None:
    lines = [line for line in drawn("gone " * 40, is_trouble=True).split("\n") if "gone" in line]
    assert len(lines) > 2
    assert all(RED in line for line in lines)


def test_events_do_not_push_trouble_away_before_it_was_read() -> None:
    now, screen = [START], io.StringIO()
    view = LiveView(
        Console(file=screen, force_terminal=True, width=80, height=24), TableOptions(), clock=clock_of(lambda: now[0])
    )

    def shown() -> str:
        screen.truncate(0)
        view.refresh(board_of(family()).snapshot(), HEADER)
        return screen.getvalue()

    view.trouble(Trouble("the tunnel has ended", Cause.TUNNEL_ENDED))
    for event in family():
        view.event(event, None)
    assert "the tunnel has ended" in shown()
    now[0] += TROUBLE_STAYS + timedelta(seconds=1)
    assert "the tunnel has ended" not in shown()
    view.close()


def test_troubles_of_several_kinds_stay_beside_each_other_until_each_is_over() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, height=40)
    view = LiveView(console, TableOptions(), clock=clock_of(lambda: START))

    def shown() -> str:
        for event in family():
            view.event(event, None)
        screen.truncate(0)
        view.refresh(board_of(family()).snapshot(), HEADER)
        return screen.getvalue()

    view.trouble(Trouble("the store is away", Cause.STORE))
    view.trouble(Trouble("the tunnel has ended", Cause.TUNNEL_ENDED))
    assert all(text in shown() for text in ("the store is away", "the tunnel has ended"))
    view.trouble(Trouble("the tunnel runs again", Cause.TUNNEL_ENDED, is_over=True))
    assert "the tunnel has ended" not in shown()
    assert "the store is away" in shown()
    view.close()


@pytest.mark.parametrize("widths", [(120, 40), (40, 120)], ids=str)
@pytest.mark.parametrize("is_pushed_out", [True, False])
def test_a_sentence_fits_the_window_also_after_it_was_resized(widths: tuple[int, int], is_pushed_out: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=widths[0], height=40)
    view = LiveView(console, TableOptions(), clock=clock_of(lambda: START))
    view.trouble(Trouble("the watch that listens (process 41) is gone; start it again to listen", Cause.WATCH_GONE))
    for event in family() if is_pushed_out else ():
        view.event(event, None)
    console.width = widths[1]
    view.refresh(board_of([callback(PARENT, "ringing", second=0, sequence=1)]).snapshot(), HEADER)
    lines = re.sub(r"\x1b\[[0-9;]*[mK]", "", screen.getvalue()).splitlines()
    view.close()
    at = next(number for number, line in enumerate(lines) if "the watch that" in line)
    said = " ".join(" ".join(line.split()) for line in lines[at : at + (3 if widths[1] == 40 else 1)])
    assert "the watch that listens (process 41) is gone; start it again to listen" in said


@pytest.mark.parametrize("step", [timedelta(hours=2), timedelta(hours=-2)], ids=str)
def test_a_clock_that_is_set_makes_no_call_older_and_no_callback(step: timedelta) -> None:
    seconds, ahead, screen = 0, timedelta(), io.StringIO()
    clock = clock_of(lambda: moment(seconds) + ahead, elapsed=lambda: moment(seconds))
    view = LiveView(Console(file=screen, force_terminal=True, width=160, height=24), TableOptions(), clock=clock)

    def shown() -> str:
        screen.truncate(0)
        board = board_of([callback(PARENT, "ringing", second=0, sequence=1)])
        view.refresh(board.snapshot(), replace(HEADER, last_callback_at=START))
        return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())

    seconds = 20
    assert "◔ ringing     00:20" in shown()
    seconds, ahead = 29, step
    assert "◔ ringing     00:29" in shown()
    assert "last 29 s ago" in shown()
    view.close()


class Idle:
    """Carries out nothing."""

    listens, may_act, urls = False, True, ()

    def put_question(self, _intent: object, *, last_action: int | None) -> None:
        pass

    def effects(self, _intent: object, _snapshot: object) -> str:
        return ""

    def __init__(self) -> None:
        self.reports: list[Callable[[ActionOutcome], None]] = []

    def act(self, _intent: object, *, question_at: datetime, report: Callable[[ActionOutcome], None]) -> None:
        assert question_at.tzinfo is not None
        self.reports.append(report)

    def load_page(self, _sid: object, _width: object, _report: object) -> None:
        pass

    def close(self) -> None:
        pass

    leave = interrupt = suspend = close


def test_what_a_question_says_of_other_legs_follows_them_and_has_to_be_seen_before_it_is_answered() -> None:
    class Knowing(Idle):
        """Says of a leg whose Dial was answered that its child drops."""

        def effects(self, _intent: object, snapshot: object) -> str:
            assert isinstance(snapshot, Snapshot)
            return "its child leg drops" if len(snapshot.live_family(PARENT)) > 1 else ""

    screen, operator = io.StringIO(), Knowing()
    console = Console(file=screen, force_terminal=True, width=160, height=24)
    view = LiveView(console, TableOptions(), clock=clock_of(lambda: moment(20)), operator=operator)
    board = board_of([callback(PARENT, "in-progress", second=0, sequence=2)])

    def shown() -> str:
        screen.truncate(0)
        view.refresh(board.snapshot(), HEADER)
        return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())

    def press(key: str, *, after: float = 0.0) -> None:
        view.key(Key(key, elapsed() + after))
        view.take_news()

    shown()
    press("j")
    press("x")
    assert "hang up" in (asked := shown())
    assert "drops" not in asked
    board.apply(callback(sid(2), "in-progress", second=5, sequence=2, parent=PARENT))
    assert "its child leg drops" in shown()
    press("y")  # meant for what was on the screen before
    assert operator.reports == []
    press("y", after=CONFIRM_AFTER + 0.1)
    assert len(operator.reports) == 1
    view.close()


def test_while_the_picture_is_held_its_ages_stand_still_and_nothing_in_it_starts_to_need_attention() -> None:
    seconds, screen = 20, io.StringIO()
    clock = clock_of(lambda: moment(seconds))
    console = Console(file=screen, force_terminal=True, width=160, height=24)
    view = LiveView(console, TableOptions(), clock=clock, operator=Idle())
    board = board_of([callback(PARENT, "ringing", second=0, sequence=1)])

    def shown() -> str:
        screen.truncate(0)
        view.refresh(board.snapshot(), replace(HEADER, last_callback_at=START))
        return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())

    assert "◔ ringing     00:20" in shown()
    view.key(Key("p", elapsed()))
    view.take_news()
    seconds = 40
    view.action(ActionEvent(moment(40), PARENT, "cancel", (), "no", result=REFUSED))
    held = shown()
    assert "◔ ringing     00:20" in held
    assert f"held since {time_of_day(moment(20))}, 0 events wait" in held
    assert "last 40 s ago" in held
    assert "1 failed" not in held
    view.key(Key("p", elapsed()))
    view.take_news()
    later = shown()
    assert re.search("◔ ringing.* 00:40", later)
    assert "1 failed in 5 min" in later
    view.close()


@pytest.mark.parametrize("ahead", [600, -120])
def test_ages_attention_and_times_in_the_filter_go_by_twilios_clock_once_it_is_known(ahead: int) -> None:
    seconds, screen, skew = 10.0, io.StringIO(), timedelta(seconds=ahead)
    clock = clock_of(lambda: moment(seconds) + skew)
    console = Console(file=screen, force_terminal=True, width=160, height=24)
    view = LiveView(console, TableOptions(), clock=clock, operator=Idle())
    other = "CA" + "9" * 32
    arrived = event_of(form(other, "ringing"), received=ahead + 2.5)  # without a Timestamp: by this machine's clock
    board = board_of([callback(PARENT, "ringing", second=0, sequence=1), arrived])
    known_header = replace(HEADER, clock_ahead=skew)

    def shown(*keys: str, header: WatchState = known_header) -> str:
        for key in keys:
            view.key(Key(key, elapsed(), key))
            view.take_news()
        screen.truncate(0)
        view.refresh(board.snapshot(), header)
        return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())

    unknown = shown(header=HEADER)
    assert "00:07" in unknown
    assert ("ringing !   10:10" if ahead > 0 else "ringing     00:00") in unknown
    known = shown()
    assert re.search(f"{PARENT}.*ringing     00:10", known)
    assert re.search(f"{other}.*ringing     00:07", known)
    assert "hang up +12025550100 ◔ ringing 00:10?" in shown("j", "x") + shown("n", "j", "x")
    assert "0 of 2 legs" in shown("n", *"/>20s", "enter")
    assert "2 of 2 legs" in shown("escape", *"/<20s", "enter")
    shown("escape", "p")
    held = shown(header=HEADER)
    assert "ringing     00:10" in held
    shown("p")
    seconds = 32.6
    assert len(re.findall("ringing !   00:3[02]", shown())) == 2
    view.close()


@pytest.mark.parametrize(("keys", "frames"), [("?", 1), ("jk", 1), ("?q", 2), ("jx", 1)])
def test_keys_are_drawn_once_and_before_a_key_that_is_for_what_they_opened(
    monkeypatch: pytest.MonkeyPatch, keys: str, frames: int
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    view = LiveView(console, TableOptions(), clock=clock_of(lambda: moment(5)), operator=Idle())
    view.refresh(board_of([callback(PARENT, "ringing", second=0, sequence=1)]).snapshot(), HEADER)
    shown: list[Frame] = []

    def counted(frame: Frame, layout: Layout) -> list[Text]:
        shown.append(frame)
        return draw(frame, layout)

    monkeypatch.setattr("callctl.views.live.screen.draw", counted)
    for key in keys:
        view.key(Key(key, elapsed()))
    view.take_news()
    assert len(shown) == frames
    view.close()


@pytest.mark.parametrize("way_out", ["q", CTRL_C])
def test_no_key_changes_a_call_while_the_watch_ends(monkeypatch: pytest.MonkeyPatch, way_out: str) -> None:
    seconds, idle = 100.0, Idle()
    monkeypatch.setattr("callctl.views.live.screen.elapsed", lambda: seconds)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    view = LiveView(console, TableOptions(), clock=clock_of(lambda: moment(5)), operator=idle)
    view.refresh(board_of([callback(PARENT, "ringing", second=0, sequence=1)]).snapshot(), HEADER)
    for key in ("g", way_out, "x", "y"):
        seconds += 1
        view.key(Key(key, seconds))
        view.take_news()
    assert idle.reports == []
    view.close()


def test_a_leg_that_was_left_alone_and_ends_later_stays_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, idle = [100.0], Idle()
    shown: list[Frame] = []

    def kept(frame: Frame, layout: Layout) -> list[Text]:
        shown.append(frame)
        return draw(frame, layout)

    monkeypatch.setattr("callctl.views.live.screen.elapsed", lambda: seconds[0])
    monkeypatch.setattr("callctl.views.live.screen.draw", kept)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    view = LiveView(console, TableOptions(), clock=clock_of(lambda: moment(5)), operator=idle)
    rings = [callback(sid, "ringing", second=0, sequence=1) for sid in (PARENT, "CA" + "9" * 32)]
    board = board_of(rings)
    view.refresh(board.snapshot(), HEADER)
    for key in "gxy":
        seconds[0] += 1
        view.key(Key(key, seconds[0]))
        view.take_news()
    (report,) = idle.reports
    report(ActionOutcome("left alone", unchanged=frozenset({PARENT})))
    view.take_news()
    seconds[0] += 60
    board.apply(callback(PARENT, "no-answer", second=4, sequence=2))
    view.refresh(board.snapshot(), HEADER)
    assert (shown[-1].listing.rows[-1], shown[-1].state.selected) == (PARENT, PARENT)
    view.close()


def test_the_record_of_a_live_leg_says_since_when_it_has_its_status() -> None:
    out = io.StringIO()
    events = [callback(PARENT, status, second=at, sequence=at) for at, status in ((1, "ringing"), (3, "in-progress"))]
    JsonLinesView(out, extra={}, say=print).begin(board_of(events).snapshot())
    record = json.loads(out.getvalue())
    times = {name: record[name] for name in ("status_since", "initiated_at", "ringing_at", "answered_at")}
    ringing, answered = format_date(moment(1)), format_date(moment(3))
    assert times == {
        "status_since": answered,
        "initiated_at": None,
        "ringing_at": ringing,
        "answered_at": answered,
    }


def test_trouble_is_a_record_for_who_reads_records_only() -> None:
    out, said = io.StringIO(), list[str]()
    view = JsonLinesView(out, extra={"api_url": "http://127.0.0.1:8766"}, say=said.append)
    view.note("the script is over")
    url = "https://user:secret@example.com/status"
    text = f"the self-test through {url} fails"
    view.trouble(Trouble(text, Cause.UNREACHABLE, url=url, status=502, call_sid=PARENT))
    assert json.loads(out.getvalue()) == {
        "v": 1,
        "type": "trouble",
        "cause": "unreachable",
        "text": "the self-test through https://user:***@example.com/status fails",
        "url": "https://user:***@example.com/status",
        "status": 502,
        "call_sid": PARENT,
        "api_url": "http://127.0.0.1:8766",
    }
    assert said == ["the script is over"]


def test_the_end_of_trouble_is_a_record_of_its_own() -> None:
    out, said, url = io.StringIO(), list[str](), "https://example.com/status"
    view = JsonLinesView(out, extra={}, say=said.append)
    view.trouble(Trouble("the self-test arrives again", Cause.UNREACHABLE, url=url, is_over=True))
    facts = {"cause": "unreachable", "text": "the self-test arrives again", "url": url, "status": None}
    assert json.loads(out.getvalue()) == {"v": 1, "type": "resolved", **facts, "call_sid": None}
    assert said == []


def test_on_a_pipe_trouble_is_said_beside_the_events() -> None:
    out, said = io.StringIO(), list[str]()
    LineView(out, say=said.append).trouble(Trouble("the tunnel has ended", Cause.TUNNEL_ENDED))
    assert (out.getvalue(), said) == ("", ["callctl: the tunnel has ended"])


def test_each_cause_is_documented_in_its_words() -> None:
    page = (ROOT / "docs" / "watch-json.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([A-Z][^|]*) \|$", page, re.MULTILINE))
    assert set(rows) == {cause.value for cause in Cause}
