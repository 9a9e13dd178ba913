"""The calls that ``list`` and ``hangup --all`` find: none is missed that moves on while they are asked for."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import pytest
from api.scripted import Handler, Server, Turn, call, drop, reply
from calls_api import UnexpectedRequest
from hypothesis import given
from hypothesis import strategies as st
from running import Callctl

from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.filter import CallFilter
from callctl.calls.leg import Leg
from callctl.cli.options.filters import find_calls, read_filter
from callctl.cli.options.history import History
from callctl.errors import NotFoundError
from callctl.operations.reported_status import reported_leg, with_reported_status

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LIVE = ("queued", "ringing", "in-progress")  # as a call moves on
STEPS = (*LIVE, "completed")
AGREED = ("--yes", "--max", "10")


class Moving(UnexpectedRequest):
    """An account whose calls move on between any two of its pages; ``moves`` has, by call, the pages after which."""

    def __init__(self, moves: list[list[int]], *, page: int = 2) -> None:
        self.pages = 0
        self.asked: list[str] = []  # by page, the statuses that were asked for
        self._moves = moves
        self._page = page
        self._lock = threading.Lock()

    def now(self) -> list[Call]:
        """Return all calls as they are now, newest first."""
        return [self._call(number, moves) for number, moves in enumerate(self._moves)]

    def _call(self, number: int, moves: list[int]) -> Call:
        status = STEPS[sum(self.pages >= page for page in moves)]
        created = NOON - timedelta(seconds=number)
        return Call(
            f"CA{number:032x}", status, date_created=created, start_time=None if status == "queued" else created
        )

    def list(self, query: CallFilter, *, page_size: int = 1000, limit: int | None) -> Iterator[Call]:
        size = min(page_size, self._page)
        last = -1
        count = 0
        while True:
            with self._lock:
                rows = [
                    (number, one)
                    for number, one in enumerate(self.now())
                    if number > last and query.matches(one) and self._is_listed(one, query)
                ]
                self.pages += 1
                self.asked.append("/".join(query.statuses) or "all")
            for number, one in rows[:size]:
                last = number
                yield one
                count += 1
                if count == limit:
                    return
            if len(rows) <= size:
                return

    def _is_listed(self, one: Call, query: CallFilter) -> bool:
        # A call without a start time is lost by a filter for it.
        return bool(query.statuses) or not query.has_span or one.start_time is not None


def journeys(*, ends: bool) -> st.SearchStrategy[list[list[int]]]:
    """Return calls: after which pages each moves on. Without ``ends``, all are live for ever."""
    most = 3 if ends else 2
    return st.lists(st.lists(st.integers(0, 9), max_size=most).map(sorted), max_size=9)


@given(moves=journeys(ends=False), order=st.permutations(LIVE), limit=st.none() | st.integers(1, 5))
def test_no_call_is_missed_that_is_live_all_the_while(
    moves: list[list[int]], order: list[str], limit: int | None
) -> None:
    account = Moving(moves)
    found = list(find_calls(account, read_filter(status=order, now=NOON), limit=limit))
    assert [one.sid for one in found] == [one.sid for one in account.now()][:limit]


@given(moves=journeys(ends=True))
def test_nor_one_that_ends_meanwhile_where_its_end_is_asked_for_too(moves: list[list[int]]) -> None:
    account = Moving(moves)
    chosen = read_filter(status=["completed", *LIVE], now=NOON)
    found = list(find_calls(account, chosen, limit=None))
    assert [one.sid for one in found] == [one.sid for one in account.now()]


@given(moves=journeys(ends=True))
def test_nor_one_that_leaves_the_queue_while_a_span_is_asked_for(moves: list[list[int]]) -> None:
    account = Moving(moves)
    found = list(find_calls(account, CallFilter(since=NOON - timedelta(hours=1), now=NOON), limit=None))
    assert [one.sid for one in found] == [one.sid for one in account.now()]


@given(moves=journeys(ends=False))
def test_of_a_call_that_moves_on_meanwhile_the_later_status_counts(moves: list[list[int]]) -> None:
    account = Moving(moves, page=100)
    for one in find_calls(account, read_filter(live=True, now=NOON), limit=None):
        # By request, which step it had reached. Each asks for one status.
        steps = [sum(page <= request for page in moves[int(one.sid[2:], 16)]) for request in range(3)]
        assert one.status == LIVE[max(request for request in range(3) if steps[request] == request)]
    assert account.asked == list(LIVE)


@pytest.mark.parametrize("status", [["completed"], ["in-progress"], []])
def test_a_list_that_stands_alone_is_read_no_further_than_it_is_wanted(status: list[str]) -> None:
    account = Moving([[0] * (3 if status == ["completed"] else 2)] * 1000)
    calls = find_calls(account, read_filter(status=status, now=NOON), limit=None)
    assert [next(calls).sid for _ in range(4)] == [f"CA{number:032x}" for number in range(4)]
    assert account.pages == 2


def test_nor_is_a_history_that_is_asked_for_beside_live_calls() -> None:
    account = Moving([[0] * 3] * 1000)
    calls = find_calls(account, read_filter(status=["completed", *LIVE], now=NOON), limit=None)
    assert [next(calls).sid for _ in range(4)] == [f"CA{number:032x}" for number in range(4)]
    assert account.asked == [*LIVE, "completed", "completed"]


@dataclass
class Reports:
    """What callbacks reported, by SID; all of it lately."""

    statuses: dict[str, str]
    unlisted: list[str] = field(default_factory=list)

    def leg(self, sid: str) -> Leg | None:
        if sid not in self.statuses:
            return None
        form = {"CallSid": sid, "CallStatus": self.statuses[sid], "CallbackSource": "call-progress-events"}
        return reported_leg([CallEvent.from_form(form.items(), received_at=NOON, world="w", verified=True)], sid)

    def with_reported_status(self, one: Call) -> Call:
        return with_reported_status(one, self.leg(one.sid))

    def lately_live(self, statuses: Sequence[str]) -> list[str]:
        return [sid for sid, status in self.statuses.items() if status in statuses]

    def say_unlisted(self, sids: Sequence[str]) -> None:
        self.unlisted += sids


class Behind(Moving):
    """An account that lists what it shows; of some calls only a fetch shows anything, and of some nothing does."""

    def __init__(self, shown: Sequence[str], *, listed: Sequence[bool], found: Sequence[bool]) -> None:
        super().__init__([[0] * STEPS.index(status) for status in shown], page=100)
        self._listed, self._found = listed, found
        self.fetched: list[str] = []

    def _is_listed(self, one: Call, query: CallFilter) -> bool:
        return self._listed[int(one.sid[2:], 16)] and super()._is_listed(one, query)

    def fetch(self, sid: str) -> Call:
        self.fetched.append(sid)
        number = int(sid[2:], 16)
        if not self._found[number]:
            raise NotFoundError("not found", status=404)
        return self.now()[number]


@given(
    rows=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(STEPS), st.booleans(), st.booleans()), max_size=6),
    statuses=st.lists(st.sampled_from(LIVE), min_size=1, max_size=3, unique=True),
    limit=st.none() | st.integers(1, 5),
)
def test_calls_match_by_what_callbacks_reported_where_that_is_ahead_of_the_lists(
    rows: list[tuple[str, str, bool, bool]], statuses: list[str], limit: int | None
) -> None:
    shown, said, listed, found = zip(*rows, strict=True) if rows else ((), (), (), ())
    account = Behind(shown, listed=listed, found=found)
    reports = Reports({f"CA{number:032x}": status for number, status in enumerate(said)})
    latest = [max(pair, key=STEPS.index) for pair in zip(shown, said, strict=True)]
    calls = find_calls(account, read_filter(status=statuses, now=NOON), limit=limit, reported=cast(History, reports))
    # What callbacks report with such a status is known to exist, so that it is fetched where no list has it.
    known = [(listed[n] and shown[n] in LIVE) or (found[n] and said[n] in statuses) for n in range(len(rows))]
    expected = [f"CA{n:032x}" for n in range(len(rows)) if known[n] and latest[n] in statuses]
    if any(status in statuses for status in said):
        assert [(one.sid, one.status) for one in calls] == [(sid, latest[int(sid[2:], 16)]) for sid in expected[:limit]]
        assert account.asked == list(LIVE)
    else:
        only = [sid for sid in expected if shown[int(sid[2:], 16)] in statuses]
        assert [one.sid for one in calls] == only[:limit]
        # Of a page, which has no more calls than the limit, callbacks may have moved on all.
        assert list(dict.fromkeys(account.asked)) == [status for status in LIVE if status in statuses]
    missing = [n for n in range(len(rows)) if said[n] in statuses and not (listed[n] and shown[n] in LIVE)]
    assert sorted(account.fetched) == [f"CA{n:032x}" for n in missing]
    assert sorted(reports.unlisted) == [f"CA{n:032x}" for n in missing if not found[n]]


def answered_after_first(handler: Handler) -> None:
    """Have a call that rings be answered once one of these two lists was asked for."""
    asked = [dict(parse_qsl(urlsplit(one.target).query)).get("Status") for one in handler.server.received]
    earlier = [status for status in asked[:-1] if status in ("ringing", "in-progress")]
    now = "in-progress" if earlier else "ringing"
    if handler.command == "POST":
        reply(200, call(status="completed"))(handler)
    else:
        reply(200, {"calls": [call(status=now)] if asked[-1] == now else []})(handler)


@pytest.mark.parametrize(
    ("args", "out"),
    [(["list", "--live", "-q"], call()["sid"]), (["hangup", "--all", *AGREED], f"{call()['sid']}\tcompleted\tended")],
)
def test_a_call_that_is_answered_between_two_lists_is_found(callctl: Callctl, args: list[str], out: str) -> None:
    with Server(answered_after_first) as server:
        outcome = callctl(*args, env=env_of(server))
    assert (outcome.code, outcome.out) == (0, f"{out}\n")


@pytest.mark.parametrize("status", LIVE)
@pytest.mark.parametrize(
    ("turn", "code"),
    [
        (reply(429, {"code": 20429, "message": "Too Many Requests"}), 7),
        (reply(500, b""), 1),
        (reply(401, {"code": 20003, "message": "Authenticate"}), 4),
        (reply(200, b"<html>"), 6),
        (drop(), 6),
    ],
)
@pytest.mark.parametrize("args", [["list", "--live", "-q"], ["hangup", "--all", *AGREED]])
def test_where_one_of_the_lists_cannot_be_read_nothing_is_shown_or_ended(
    callctl: Callctl, args: list[str], turn: Turn, code: int, status: str
) -> None:
    def one_fails(handler: Handler) -> None:
        asked = dict(parse_qsl(urlsplit(handler.path).query))["Status"]
        (turn if asked == status else reply(200, {"calls": [call(f"CA{LIVE.index(asked):032d}", status=asked)]}))(
            handler
        )

    with Server(one_fails) as server:
        outcome = callctl(*args, env=env_of(server), back_off=lambda _seconds: None)
        assert {request.method for request in server.received} == {"GET"}
    assert (outcome.code, outcome.out) == (code, "")
    assert "error" in outcome.err


def env_of(server: Server) -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "0" * 32,
        "CALLCTL_API_URL": server.url,
    }
