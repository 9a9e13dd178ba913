"""What a terminal draws wider or narrower than callctl counts, or not at all, stays in its line of the live table."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from unicodedata import category, normalize

import pyte
import pytest
from events import clock_of, event_of, form, moment, sid
from legs import board_of
from pyte import modes
from wcwidth import wcwidth

from callctl.calls.board import Snapshot
from callctl.support.clock import elapsed
from callctl.views.live.intents import ActionOutcome
from callctl.views.live.keys import ENTER, Key
from callctl.views.live.screen import LiveView, TableOptions
from callctl.views.terminal_safe import plain_console, printable
from callctl.views.view import WatchState

HEADER = WatchState(title="watch", listening="127.0.0.1:8765", callback_url="", api_url=None)
SIZES = [(100, 30), (160, 50), (80, 24)]
PLAIN = "n" * 60
NAMES = [
    *("का" * 40, "தமிழ்" * 20, "k\U00016ff0" * 40, "가\u302e" * 30, "\U0001f3fb" * 50, "☰" * 50, "漢字" * 30),
    *("\u3164" * 60, "\uffa0" * 60, "\u115f" * 60, "e\u0301\u0302" * 60, "\u0903" * 60, "🇩🇪" * 30, "㉈" * 60),
]


class Operator:
    """Carries out nothing; the page of each leg has these lines."""

    listens, may_act, urls = False, True, ()

    def __init__(self, page: Sequence[str]) -> None:
        self._page = page

    def put_question(self, _intent: object, *, last_action: int | None) -> None:
        pass

    def effects(self, _intent: object, _snapshot: object) -> str:
        return ""

    def act(self, _intent: object, *, question_at: datetime, report: Callable[[ActionOutcome], None]) -> None:
        raise AssertionError(question_at, report)

    def load_page(self, _sid: object, _width: object, report: Callable[[Sequence[str]], None]) -> None:
        report(self._page)

    def close(self) -> None:
        pass

    leave = interrupt = suspend = close


class Screen:
    """The live table of calls with names on a terminal in memory."""

    def __init__(self, names: Sequence[str], *, columns: int, lines: int, verified: bool = True) -> None:
        self._out = io.StringIO()
        environ = {"TERM": "xterm", "FORCE_COLOR": "1", "COLUMNS": str(columns), "LINES": str(lines)}
        console = plain_console(self._out, environ=environ)
        operator = Operator([f"  from {name}" for name in names])
        self._view = LiveView(console, TableOptions(), clock=clock_of(lambda: moment(9)), operator=operator)
        self.terminal = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.terminal)
        self.shows(names, verified=verified)

    def shows(self, names: Sequence[str], *, verified: bool = True) -> None:
        """Draw a frame of the calls, one per name."""
        self._view.refresh(board(names, verified=verified), replace(HEADER, accepted=len(names)))

    def type(self, *keys: str) -> None:
        for key in keys:
            self._view.key(Key(key, elapsed()))
            self._view.take_news()
        self._view.take_news()  # of a page that was fetched meanwhile

    def close(self) -> None:
        self._view.close()

    @property
    def rows(self) -> list[str]:
        self._stream.feed(self._out.getvalue().replace("\n", "\r\n"))  # as the terminal's driver does
        self._out.seek(0)
        self._out.truncate()
        cells = (
            [row[column].data for column in range(self.terminal.columns)]
            for row in map(self.terminal.buffer.__getitem__, range(self.terminal.lines))
        )
        return ["".join(row).rstrip() for row in cells]

    @property
    def places(self) -> dict[str, int]:
        """In which line each SID stands, and the lines that begin with fixed words."""
        rows = self.rows
        words = [*map(sid, range(1, len(NAMES) + 1)), " watch", f" {len(NAMES)} legs", "hang up ", "y: yes"]
        return {word: at for word in words for at, row in enumerate(rows) if word in row}


def board(names: Sequence[str], *, verified: bool = True) -> Snapshot:
    forms = [
        form(call, "ringing", number=0, at=9 - call / 100, Direction="inbound", From=f"sip:{name}@example.com")
        for call, name in enumerate(names, start=1)
    ]
    return board_of([event_of(fields, received=9, verified=verified) for fields in forms]).snapshot()


def draws_all_others_in(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the terminal draw whatever is no letter of the West, and no sign of callctl's own, in so many cells."""
    own = "…→↑↓⏎└▌◔●�"
    monkeypatch.setattr("pyte.screens.wcwidth", lambda char: 1 if char < "\u0300" or char in own else cells)


@pytest.fixture(params=[1, 2])
def strange_terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    draws_all_others_in(request.param, monkeypatch)


@pytest.fixture
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the terminal draw marks with room of their own in one cell, as xterm, tmux and those of GNOME do."""
    wide, flags = "\u302e\u302f\U00016ff0\U00016ff1", "🇩🇪"

    def width(char: str) -> int:
        return 2 if char in wide else 1 if category(char) == "Mc" or char in flags else wcwidth(char)

    monkeypatch.setattr("pyte.screens.wcwidth", width)


@pytest.mark.usefixtures("strange_terminal")
@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_each_leg_stays_in_its_line_whatever_its_name(columns: int, lines: int) -> None:
    screen, plain = (Screen(names, columns=columns, lines=lines) for names in (NAMES, [PLAIN] * len(NAMES)))
    assert screen.places == plain.places
    assert screen.places[" watch"] == 0
    assert screen.places[f" {len(NAMES)} legs"] == lines - 1


@pytest.mark.usefixtures("strange_terminal")
@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_a_question_and_a_page_stay_in_their_lines(columns: int, lines: int) -> None:
    for name in NAMES:
        screen = Screen([name] * 5, columns=columns, lines=lines)
        screen.type("g", "x")
        asked = screen.rows
        assert asked[0].startswith(" watch")
        assert asked[-1]
        assert sum(row.startswith(" hang up") for row in asked) == 1
        screen.type("n", ENTER)
        page = screen.rows
        assert page[0].startswith(" watch")
        assert page[-1].startswith(" lines 1-")
        assert sum(row.startswith("   from") for row in page) == 5


@pytest.mark.usefixtures("usual_terminal")
@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_a_question_is_whole_whatever_the_name_in_it(columns: int, lines: int) -> None:
    for name in NAMES:
        screen = Screen([name], columns=columns, lines=lines)
        screen.type("g", "x")
        rows = screen.rows
        asked = " ".join(rows[next(at for at, row in enumerate(rows) if row.startswith(" hang up")) :])
        assert normalize("NFC", printable(name)) in normalize("NFC", "".join(asked.split())), ascii(name)
        assert re.search(r"@example\.com\s+◔\s+ringing\s+00:\d\d\?\s+y: yes\s+other: no$", asked), asked


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_what_is_drawn_narrower_leaves_nothing_of_what_stood_there(
    columns: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws_all_others_in(1, monkeypatch)
    screen = Screen([PLAIN], columns=columns, lines=lines)
    assert any("nnn" in row for row in screen.rows)
    screen.shows(["漢字" * 10])
    assert any("漢字漢字" in row for row in screen.rows)
    assert not any("nnn" in row for row in screen.rows)
    assert screen.rows == Screen(["漢字" * 10], columns=columns, lines=lines).rows


@pytest.mark.usefixtures("usual_terminal")
@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_a_sign_of_doubt_is_seen_beside_any_name(columns: int, lines: int) -> None:
    names = ["का" * 15, "क\u0903\u0903" * 9, "\U0001f3fb" * 17, "가\u302e" * 9, PLAIN]
    screen = Screen(names, columns=columns, lines=lines, verified=False)
    assert sum("unverified" in row for row in screen.rows) == len(names)


def test_lines_are_cut_on_its_screen_and_wrapped_again_after_it() -> None:
    screen = Screen([PLAIN], columns=80, lines=24)
    assert screen.rows
    assert modes.DECAWM not in screen.terminal.mode
    screen.close()
    assert screen.rows
    assert modes.DECAWM in screen.terminal.mode
