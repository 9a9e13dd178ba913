"""``hangup --all`` and SIDs on stdin: which calls, after asking, in which order."""

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from itertools import takewhile
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from api.scripted import Handler, ReceivedRequest, Server, Turn, call, drop, hang, reply
from cli.local_store import store_of
from cli.setup import ANSWERS, BUSY, NEVER, CliSetup, messages
from processes import OnTerminal, Piped, environment
from running import Callctl, Meanwhile, Outcome, env_for

from callctl.cli.io.progress import AFTER
from callctl.errors import StoreError
from callctl.simulator import Simulator
from callctl.store.sqlite.store import SqliteStore

AGREED = ("--yes", "--max", "10")


def ended(setup: CliSetup) -> list[str]:
    """Return the SIDs that a hang-up was sent for, in the order of arrival."""
    return [one.path.rpartition("/")[2].removesuffix(".json") for one in setup.sent()]


def test_max_may_be_any_number(setup: CliSetup) -> None:
    sid = setup.place(NEVER)
    assert setup.callctl("hangup", "--all", "--yes", "--max", "9" * 30).out == f"{sid}\tcanceled\tended\n"


def test_all_ends_what_is_live_and_nothing_else(setup: CliSetup) -> None:
    over = setup.place(BUSY, after=5)
    queued, talking = setup.place(NEVER), setup.place(ANSWERS)
    outcome = setup.callctl("hangup", "--all", *AGREED)
    assert outcome.code == 0
    assert sorted(line.split("\t")[0] for line in outcome.out.splitlines()) == sorted([queued, talking])
    assert messages(outcome) == "callctl: 2 calls: 2 ended\n"
    assert over not in ended(setup)


def test_parents_go_before_children_and_queued_calls_before_ringing_ones(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    ringing = setup.place(NEVER, after=3)
    queued = setup.place(NEVER)
    assert setup.status(queued) == "queued"
    outcome = setup.callctl("hangup", "--all", *AGREED, "--parallel", "1")
    assert outcome.code == 0
    assert ended(setup) == [queued, ringing, parent, child]


@pytest.mark.parametrize(
    ("filters", "which"),
    [
        (("--to", NEVER), [0, 1]),
        (("--from", "+15005550006"), [0, 1, 2]),
        (("--from", "+15005550001"), []),
        (("--status", "ringing"), [0, 1]),
        (("--status", "ringing", "--status", "in-progress"), [0, 1, 2]),
        (("--older-than", "1h"), []),
        (("--since", "1h"), [0, 1, 2]),
        (("--since", "2100-01-01"), []),
        (("--until", "2020-01-01"), []),
    ],
)
def test_the_filters_are_those_of_list(setup: CliSetup, filters: tuple[str, ...], which: list[int]) -> None:
    sids = [setup.place(NEVER), setup.place(NEVER), setup.place(ANSWERS)]
    setup.simulator.advance(4)
    outcome = setup.callctl("hangup", "--all", *filters, *AGREED)
    assert outcome.code == 0
    assert sorted(ended(setup)) == sorted(sids[number] for number in which)


def test_children_of_one_parent(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    assert setup.callctl("hangup", "--all", "--parent", parent, *AGREED).code == 0
    assert ended(setup) == [child]


def test_a_server_that_ignores_filters_loses_no_other_call(callctl: Callctl, home: Path) -> None:
    with Simulator(port=0, manual_clock=True, dialect="somleng", base_path="/api/laml") as simulator:
        setup = CliSetup(simulator, callctl, home)
        other, meant = setup.place(ANSWERS), setup.place(NEVER)
        simulator.advance(4)
        outcome = setup.callctl("hangup", "--all", "--to", NEVER, *AGREED)
        assert outcome.code == 0, outcome.err
        assert ended(setup) == [meant]
        assert setup.status(other) == "in-progress"


def test_only_ringing_does_not_ask_for_calls_in_progress(setup: CliSetup) -> None:
    talking, ringing = setup.place(ANSWERS), setup.place(NEVER)
    setup.simulator.advance(4)
    outcome = setup.callctl("hangup", "--all", "--only-ringing", *AGREED)
    assert (outcome.code, outcome.out) == (0, f"{ringing}\tcanceled\tended\n")
    assert setup.status(talking) == "in-progress"


def test_a_slow_list_is_not_said_to_hold_no_calls(callctl: Callctl) -> None:
    def slow(handler: Handler) -> None:
        if "Status=ringing" in handler.path:
            handler.server.released.wait(AFTER + 0.5)
        reply(200, {"calls": []})(handler)

    env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake"}
    with Server(slow) as server:
        outcome = callctl("hangup", "--all", *AGREED, env={**env, "CALLCTL_API_URL": server.url})
    assert messages(outcome) == "callctl: reading the lists\ncallctl: no live call matches\n"


def test_the_limit_of_list_does_not_apply(setup: CliSetup) -> None:
    for _ in range(60):
        setup.place(NEVER)
    outcome = setup.callctl("hangup", "--all", "--yes", "--max", "60")
    assert (outcome.code, outcome.out.count("\n")) == (0, 60)


def test_when_no_call_matches_nothing_is_asked(setup: CliSetup) -> None:
    for more in (AGREED, ("--dry-run",)):
        outcome = setup.callctl("hangup", "--all", *more)
        assert (outcome.code, outcome.out, messages(outcome)) == (0, "", "callctl: no live call matches\n")


# A filter is a promise


def at_the_prompt(setup: CliSetup, happens: Callable[[], object], *args: str) -> Outcome:
    """Run ``hangup --all``; something happens after the calls were listed and before the number is typed."""
    keyboard = Meanwhile("3\n", happens)
    return setup.callctl("hangup", "--all", *args, terminal=True, env={"NO_COLOR": "1"}, stdin=keyboard)


def forms(setup: CliSetup) -> list[dict[str, tuple[str, ...]]]:
    return [dict(one.form) for one in setup.sent()]


@pytest.mark.parametrize("filters", [("--status", "ringing"), ("--status", "queued,ringing"), ("--only-ringing",)])
def test_what_was_answered_after_it_was_listed_as_ringing_is_left_alone(
    setup: CliSetup, filters: tuple[str, ...]
) -> None:
    first, second, rings = setup.place(ANSWERS), setup.place(ANSWERS), setup.place(NEVER)
    setup.simulator.advance(1)
    outcome = at_the_prompt(setup, lambda: setup.simulator.advance(4), *filters)
    assert outcome.code == 0
    assert [setup.status(sid) for sid in (first, second, rings)] == ["in-progress", "in-progress", "canceled"]
    assert sorted(outcome.out.splitlines()[-3:]) == sorted(
        [f"left alone: {sid} was answered meanwhile" for sid in (first, second)] + [f"ended: {rings} is canceled"]
    )
    assert forms(setup) == [{"Status": ("canceled",)}] * 3


def test_whom_the_api_refuses_to_cancel_is_left_alone_as_well(callctl: Callctl, home: Path) -> None:
    with Simulator(port=0, manual_clock=True, readings=["cancel-refused-in-progress"]) as simulator:
        setup = CliSetup(simulator, callctl, home)
        sids = [setup.place(ANSWERS) for _ in range(3)]
        simulator.advance(1)
        outcome = at_the_prompt(setup, lambda: simulator.advance(4), "--status", "ringing")
        assert (outcome.code, {setup.status(sid) for sid in sids}) == (0, {"in-progress"})
        assert outcome.out.count("was answered meanwhile") == 3


def test_what_only_rings_is_not_looked_at_before_it_is_canceled(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=3)
    outcome = setup.callctl("hangup", "--all", "--status", "ringing", "--to", NEVER, *AGREED)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tcanceled\tended\n")
    assert (len(setup.sent("GET")), forms(setup)) == (0, [{"Status": ("canceled",)}])


def test_with_other_filters_each_call_is_looked_at_just_before_it_is_ended(setup: CliSetup) -> None:
    queued, talking, over = (setup.place(to) for to in (NEVER, ANSWERS, BUSY))
    statuses = ("--status", "queued", "--status", "in-progress")
    outcome = at_the_prompt(setup, lambda: setup.simulator.advance(8), *statuses)
    assert outcome.code == 0
    assert sorted(outcome.out.splitlines()[-3:]) == sorted(
        [
            f"left alone: {queued} is ringing by now and no longer matches",
            f"ended: {talking} is completed",
            f"already over: {over} is busy",
        ]
    )
    assert (ended(setup), forms(setup)) == ([talking], [{"Status": ("completed",)}])
    assert setup.status(queued) == "ringing"


def test_all_live_calls_are_not_looked_at_again(setup: CliSetup) -> None:
    sid = setup.place(ANSWERS, after=4)
    assert setup.callctl("hangup", "--all", *AGREED).out == f"{sid}\tcompleted\tended\n"
    assert setup.sent("GET") == []


def test_a_call_that_rang_and_one_in_progress_are_both_ended_when_both_are_meant(setup: CliSetup) -> None:
    sids = [setup.place(ANSWERS) for _ in range(3)]
    setup.simulator.advance(1)
    both = ("--status", "ringing", "--status", "in-progress")
    outcome = at_the_prompt(setup, lambda: setup.simulator.advance(4), *both)
    assert (outcome.code, sorted(ended(setup))) == (0, sorted(sids))


def test_a_call_that_cannot_be_looked_at_is_not_ended(callctl: Callctl) -> None:
    class Blind(Rounds):
        def take(self, request: ReceivedRequest) -> Turn:
            turn = super().take(request)
            return reply(403, {"code": 20403, "message": "no"}) if "/Calls/" in request.path else turn

    with Blind([rings(1)], answer="completed") as server:
        assert server.run(callctl, *AGREED, "--to", "+12025550100").code != 0
        assert server.ended == []


@pytest.mark.parametrize("readings", [[], ["cancel-refused-in-progress"]])
@pytest.mark.parametrize("named", [False, True])
def test_a_leg_that_rings_inside_dial_may_be_left_alone_and_that_is_reported(
    callctl: Callctl, home: Path, readings: list[str], named: bool
) -> None:
    with Simulator(port=0, manual_clock=True, readings=["cancel-spares-dial-legs", *readings]) as simulator:
        setup = CliSetup(simulator, callctl, home)
        parent = setup.place(ANSWERS, "--dial", NEVER, after=5)
        child = setup.callctl("list", "--parent", parent, "-q").out.strip()
        which = (child, "--only-ringing") if named else ("--all", "--status", "ringing", *AGREED)
        outcome = setup.callctl("hangup", *which)
        assert (outcome.code, outcome.out) == (5 if named else 8, f"{child}\tringing\tstill-ringing\n")
        assert "hint: `callctl hangup CALL` ends it as well, also if it is answered at that moment" in outcome.err
        if named:
            why = (
                "or was answered just now: Twilio refused Status=canceled"
                if readings
                else "and Status=canceled did not end it"
            )
            assert f"not ended: {child} rings inside a <Dial>, {why}" in outcome.err
        assert forms(setup)[-1] == {"Status": ("canceled",)}
        assert setup.status(child) == "ringing"


def test_list_names_the_way_to_end_only_what_still_rings(setup: CliSetup) -> None:
    answered, rings = setup.place(ANSWERS), setup.place(NEVER)
    setup.simulator.advance(1)
    listed = setup.callctl("list", "--status", "ringing", "-q")
    assert "`callctl hangup - --only-ringing` leaves those alone" in listed.err
    assert "--only-ringing" not in setup.callctl("list", "--live", "-q").err
    setup.simulator.advance(4)
    outcome = setup.callctl("hangup", "-", "--only-ringing", *AGREED, stdin=listed.out)
    assert outcome.code == 8
    assert [setup.status(sid) for sid in (answered, rings)] == ["in-progress", "canceled"]


def minutes_ago(count: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=count)


def test_for_longer_than_counts_from_what_callbacks_reported(setup: CliSetup) -> None:
    young, old, without_callback = (setup.place(NEVER) for _ in range(3))
    setup.simulator.advance(3)
    setup.add_callback(young, "ringing", at=minutes_ago(1))
    setup.add_callback(old, "ringing", at=minutes_ago(3))
    listed = setup.callctl("list", "-q", "--for-longer-than", "2m")
    assert (listed.code, listed.out) == (0, f"{old}\n")
    outcome = setup.callctl("hangup", "--all", "--for-longer-than", "2m", *AGREED)
    assert (outcome.code, outcome.out) == (0, f"{old}\tcanceled\tended\n")
    assert {setup.status(sid) for sid in (young, without_callback)} == {"ringing"}


def test_where_no_callback_reported_the_latest_of_rests_dates_counts_and_that_is_said(setup: CliSetup) -> None:
    sid = setup.place(ANSWERS, after=4)
    for command in (("list", "-q"), ("hangup", "--all", "--dry-run")):
        outcome = setup.callctl(*command, "--for-longer-than", "2m")
        assert sid not in outcome.out
        assert "no callback reported" not in outcome.err
        # By the API's own dates no time has gone by, whatever this machine's clock says.
        assert sid not in setup.callctl(*command, "--for-longer-than", "2m", now=lambda: minutes_ago(-5)).out
    at = format_datetime(minutes_ago(3))
    listed = {"date_created": format_datetime(minutes_ago(9)), "start_time": at, "date_updated": at}
    with Rounds([rings(1) | listed], answer="canceled") as server:
        for span, count in (("2m", 1), ("4m", 0)):
            outcome = server.run(setup.run, "--dry-run", "--for-longer-than", span)
            assert outcome.out.count("dry-run") == count
            assert ("of 1 call no callback reported since when" in outcome.err) == bool(count)


@pytest.mark.parametrize(("started", "has_lasted"), [(9, False), (14, True)])
def test_where_the_store_cannot_be_read_no_call_counts_as_answered_when_it_was_dialled(
    callctl: Callctl, monkeypatch: pytest.MonkeyPatch, started: int, has_lasted: bool
) -> None:
    """It may have rung until just now, and REST may not show that."""

    def fail(*_: object, **__: object) -> None:
        raise StoreError("can't reach the event store")

    for opening in ("open_store_alone", "open_store_for_writing"):
        monkeypatch.setattr(f"callctl.cli.options.history.{opening}", fail)
    at = format_datetime(minutes_ago(started))
    answered = rings(1) | {"status": "in-progress", "date_created": at, "start_time": at, "date_updated": at}
    lasting = ("--status", "in-progress", "--for-longer-than", "3m")
    with Server(reply(200, {"calls": [answered], "next_page_uri": None})) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        for command in (("list", "-q"), ("hangup", "--all", "--dry-run")):
            outcome = callctl(*command, *lasting, env=env)
            assert outcome.code == 0
            assert (str(answered["sid"]) in outcome.out) is has_lasted
            assert "the event store was not read: the latest of REST's dates counts" in outcome.err


@pytest.mark.parametrize("option", ["--older-than", "--for-longer-than"])
def test_a_date_of_the_api_that_is_ahead_of_this_clock_makes_no_call_old(setup: CliSetup, option: str) -> None:
    at = format_datetime(minutes_ago(9))
    listed = {"date_created": at, "start_time": at, "date_updated": at}
    with Rounds([rings(1) | listed], answer="canceled") as server:
        for behind, count in ((0, 1), (6, 0)):
            run = partial(setup.run, now=partial(minutes_ago, behind))
            outcome = server.run(run, "--dry-run", option, "5m")
            assert outcome.out.count("dry-run") == count, outcome.err
            # What is listed may be piped to `hangup`.
            outcome = run("list", "--status", "ringing", option, "5m", "-q", env=server.env)
            assert len(outcome.out.splitlines()) == count
            assert ("the API's clock is ahead of this machine's" in outcome.err) == (count == 0)


@pytest.mark.parametrize("date", [None, "soon"])
@pytest.mark.parametrize("span", ["--since", "--until"])
def test_a_call_without_a_date_that_can_be_read_is_not_known_to_be_within_a_span(
    setup: CliSetup, span: str, date: str | None
) -> None:
    undated = {"date_created": date, "start_time": date, "date_updated": date}
    with Rounds([rings(1) | undated], answer="canceled") as server:
        outcome = server.run(setup.run, "--dry-run", span, "1h")
    assert (outcome.code, outcome.out) == (0, "")
    assert "no live call matches" in outcome.err


def test_for_how_long_is_a_promise_as_well_also_for_a_call_that_only_changed_its_step(setup: CliSetup) -> None:
    sid = setup.place(NEVER)
    setup.add_callback(sid, "queued", at=minutes_ago(3))

    def begins_to_ring() -> None:
        setup.simulator.advance(3)
        setup.add_callback(sid, "ringing", at=minutes_ago(0))

    live = ("--status", "queued,ringing", "--for-longer-than", "2m")
    outcome = setup.callctl(
        "hangup", "--all", *live, terminal=True, env={"NO_COLOR": "1"}, stdin=Meanwhile("1\n", begins_to_ring)
    )
    assert (outcome.code, ended(setup), setup.status(sid)) == (0, [], "ringing")
    assert f"left alone: {sid} is ringing by now and no longer matches" in outcome.out


def test_calls_that_are_to_be_queued_are_left_alone_once_they_ring(setup: CliSetup) -> None:
    sid = setup.place(NEVER)
    outcome = setup.callctl(
        "hangup",
        "--all",
        "--status",
        "queued",
        terminal=True,
        env={"NO_COLOR": "1"},
        stdin=Meanwhile("1\n", lambda: setup.simulator.advance(3)),
    )
    assert (outcome.code, ended(setup), setup.status(sid)) == (0, [], "ringing")
    assert f"left alone: {sid} is ringing by now and no longer matches" in outcome.out


def test_for_longer_than_is_about_live_calls(setup: CliSetup) -> None:
    outcome = setup.callctl("list", "--status", "busy", "--for-longer-than", "2m")
    assert (outcome.code, setup.simulator.requests) == (2, ())
    assert "no call can match" in outcome.err


# Asking


@pytest.mark.parametrize("flags", [(), ("--yes",), ("--max", "5")])
def test_without_a_terminal_yes_and_max_are_needed(setup: CliSetup, flags: tuple[str, ...]) -> None:
    setup.place(NEVER)
    before = len(setup.simulator.requests)
    outcome = setup.callctl("hangup", "--all", *flags)
    assert (outcome.code, outcome.out) == (2, "")
    assert "give --yes and --max N" in outcome.err
    assert len(setup.simulator.requests) == before


@pytest.mark.parametrize("source", ["--all", "-"])
def test_with_more_matches_than_max_nothing_is_ended(setup: CliSetup, source: str) -> None:
    sids = [setup.place(NEVER) for _ in range(4)]
    outcome = setup.callctl("hangup", source, "--yes", "--max", "2", stdin="\n".join(sids))
    assert (outcome.code, outcome.out) == (2, "")
    which = "match" if source == "--all" else "on stdin"
    assert f"4 calls {which}, more than --max 2: nothing was ended\nhint: --dry-run shows them" in outcome.err
    assert ended(setup) == []


@pytest.mark.parametrize("flags", [(), ("--yes",), ("--max", "9")])
def test_several_calls_on_stdin_need_both_flags_and_one_needs_none(setup: CliSetup, flags: tuple[str, ...]) -> None:
    sids = [setup.place(NEVER) for _ in range(2)]
    outcome = setup.callctl("hangup", "-", *flags, stdin="\n".join(sids))
    assert (outcome.code, outcome.out, ended(setup)) == (2, "", [])
    assert "2 calls on stdin, and no prompt can confirm them" in outcome.err
    assert setup.callctl("hangup", "-", *flags, stdin=sids[0]).code == 0
    assert ended(setup) == sids[:1]


def test_a_mark_before_the_text_on_stdin_is_no_part_of_a_sid(setup: CliSetup) -> None:
    sid = setup.place(NEVER)
    assert setup.callctl("hangup", "-", stdin=f"\ufeff{sid}\r\n").code == 0
    assert ended(setup) == [sid]


def test_at_a_terminal_the_table_is_shown_and_the_number_asked_for(setup: CliSetup) -> None:
    sids = [setup.place(NEVER), setup.place(ANSWERS)]
    outcome = setup.callctl("hangup", "--all", terminal=True, keyboard=True, stdin="2\n", env={"NO_COLOR": "1"})
    assert outcome.code == 0
    table, results = outcome.out.splitlines()[:-2], outcome.out.splitlines()[-2:]
    assert "CALL SID" in table[0]
    assert all(any(sid in row for row in table) for sid in sids)
    assert sorted(results) == sorted(f"ended: {sid} is canceled" for sid in sids)
    assert messages(outcome) == "Type 2 to end these 2 calls: callctl: 2 calls: 2 ended\n"


@pytest.mark.parametrize("answer", ["", "\n", "1\n", "y\n", "yes\n", "22\n"])
def test_any_other_answer_ends_nothing(setup: CliSetup, answer: str) -> None:
    for _ in range(2):
        setup.place(NEVER)
    outcome = setup.callctl("hangup", "--all", terminal=True, keyboard=True, stdin=answer)
    assert outcome.code == 1
    assert "not confirmed: nothing was ended" in outcome.err
    assert ended(setup) == []


def test_what_callbacks_reported_is_shown_where_rest_is_behind(setup: CliSetup) -> None:
    ringing, answered = setup.place(NEVER, after=4), setup.place(NEVER, after=4)
    setup.add_callback(answered, "in-progress", at=datetime.now(UTC))
    asking: dict[str, Any] = {"terminal": True, "keyboard": True, "stdin": "no\n", "env": {"NO_COLOR": "1"}}
    for args in (["hangup", "--all"], ["hangup", "--all", "--dry-run"]):
        rows = {row.split()[0]: row for row in setup.callctl(*args, **asking).out.splitlines() if row}
        assert "● in-progress" in rows[answered]
        assert "ringing" in rows[ringing]
    (preview,) = [
        record
        for line in setup.callctl("hangup", "--all", "--dry-run", "--json").out.splitlines()
        if (record := json.loads(line))["call_sid"] == answered
    ]
    assert preview["call"]["status"] == "in-progress"
    assert setup.status(answered) == "ringing"


def test_calls_are_chosen_by_what_callbacks_reported_where_rest_is_behind(lagging: CliSetup) -> None:
    answered, rings, over = lagging.place(ANSWERS), lagging.place(NEVER), lagging.place(BUSY)
    lagging.simulator.advance(4)
    for sid, status in ((answered, "in-progress"), (rings, "ringing"), (over, "busy")):
        lagging.add_callback(sid, status, at=datetime.now(UTC))
    assert {lagging.status(sid) for sid in (answered, rings, over)} == {"queued"}
    for status, sid in (("in-progress", answered), ("ringing", rings)):
        listed = lagging.callctl("list", "-q", "--status", status)
        assert (listed.code, listed.out) == (0, f"{sid}\n")
        preview = lagging.callctl("hangup", "--all", "--status", status, "--dry-run")
        assert preview.out == f"{sid}\t{status}\tdry-run\n"
    assert lagging.callctl("list", "--live").out.count("\n") == 2
    assert "no calls match" in lagging.callctl("list", "--status", "queued").err
    assert ended(lagging) == []
    outcome = lagging.callctl("hangup", "--all", "--status", "in-progress", *AGREED)
    assert (outcome.code, outcome.out) == (0, f"{answered}\tcompleted\tended\n")
    outcome = lagging.callctl("hangup", "--all", *AGREED)
    assert (outcome.code, f"{rings}\tcanceled\tended" in outcome.out.splitlines()) == (0, True)
    assert over not in ended(lagging)


@pytest.mark.parametrize("command", [("list", "--live", "-q"), ("hangup", "--all", "--dry-run")])
def test_a_store_that_fails_meanwhile_is_not_asked_for_each_call(
    setup: CliSetup, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    sids = [setup.place(NEVER) for _ in range(3)]
    setup.add_callback(sids[0], "queued", at=minutes_ago(0))
    asked: list[str] = []

    def fail(_store: SqliteStore, sid: str) -> None:
        asked.append(sid)
        raise StoreError("can't read the event store")

    monkeypatch.setattr(SqliteStore, "call", fail)
    outcome = setup.callctl(*command)
    assert outcome.code == 0
    assert sorted(line[:34] for line in outcome.out.splitlines()) == sorted(sids)
    assert len(asked) == 1
    assert outcome.err.count("can't read the event store") == 1


def _fetched(server: Server) -> list[str]:
    return [_sid_in(one) for one in server.received if "/Calls/" in one.path and one.method == "GET"]


class Unlisted(Server):
    """Lists no call; a fetch shows one, with a status, or none."""

    def __init__(self, status: str | None) -> None:
        super().__init__(reply(404))
        self._status = status

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        if request.method == "POST":
            return reply(200, call(_sid_in(request), status="completed"))
        if "/Calls/" not in request.path:
            return reply(200, {"calls": [], "next_page_uri": None})
        if self._status is None:
            return reply(404, {"code": 20404, "message": "not found"})
        return reply(200, call(_sid_in(request), status=self._status))


@pytest.mark.parametrize("filters", [(), ("--status", "in-progress")])
@pytest.mark.parametrize(
    ("shown", "age", "is_ended"),
    [
        ("ringing", 0, True),
        ("completed", 0, False),
        (None, 0, False),
        ("ringing", 9, False),
        ("ringing", -9, True),  # the listener's clock is ahead, or the command's behind
    ],
)
def test_a_call_that_callbacks_lately_reported_and_no_list_has_is_looked_at(
    setup: CliSetup, filters: tuple[str, ...], shown: str | None, age: float, is_ended: bool
) -> None:
    sid = str(call()["sid"])
    with Unlisted(shown) as server:
        env = {"CALLCTL_API_URL": server.url}
        setup.add_callback(sid, "in-progress", at=minutes_ago(age), env=env)
        listed = setup.callctl("list", "--live", "-q", *filters, env=env)
        assert _fetched(server) == ([] if age > 0 else [sid])
        outcome = setup.callctl("hangup", "--all", *filters, *AGREED, env=env)
        sent = [one for one in server.received if one.method == "POST"]
    assert (listed.out, listed.code) == (f"{sid}\n" if is_ended else "", 0)
    assert (len(sent), outcome.code) == (int(is_ended), 0)
    for one in (listed, outcome):
        assert (f"callbacks report 1 call as live that the API does not show: {sid}" in one.err) == (shown is None)


def test_yes_at_a_terminal_does_not_ask(setup: CliSetup) -> None:
    sid = setup.place(NEVER)
    outcome = setup.callctl("hangup", "--all", "--yes", terminal=True, keyboard=True)
    assert (outcome.code, outcome.out) == (0, f"ended: {sid} is canceled\n")


def test_json_at_a_terminal_is_for_programs_and_not_asked(setup: CliSetup) -> None:
    setup.place(NEVER)
    outcome = setup.callctl("hangup", "--all", "--json", terminal=True, keyboard=True)
    assert outcome.code == 2


def test_on_a_real_terminal(home: Path) -> None:
    with Simulator(port=0, seed=1) as simulator:
        setup = CliSetup(simulator, lambda *args, **more: pytest.fail(f"not run here: {args} {more}"), home)
        with Piped("place", NEVER, "--say", "x", home=home, env=env_for(simulator)) as placing:
            sid = placing.line()
        with OnTerminal("hangup", "--all", home=home, env=env_for(simulator), columns=80) as terminal:
            rows = terminal.until(lambda rows: any("Type 1 to end this call:" in row for row in rows))
            assert any(sid in row for row in rows)
            terminal.type("1\n")
            assert terminal.ended() == 0
            assert any(f"ended: {sid} is canceled" in row for row in terminal.rows)
        assert ended(setup) == [sid]


def test_a_bar_says_how_far_it_is_and_is_gone_at_the_end(home: Path) -> None:
    with Simulator(port=0, latency=0.4) as simulator:
        sids = [f"CA{number:032d}" for number in range(6)]
        args = ("hangup", *sids, "--parallel", "1")
        with OnTerminal(*args, home=home, env=env_for(simulator), columns=80, lines=40) as terminal:
            terminal.until(lambda rows: any(row.startswith("callctl: [######") for row in rows))
            assert terminal.ended() == 8
            assert not any("[###" in row for row in terminal.rows)
            assert sum("20404" in row or "not found" in row for row in terminal.rows) >= 1


# SIDs on stdin


def test_what_list_prints_can_be_piped_in(setup: CliSetup) -> None:
    sids = [setup.place(NEVER), setup.place(ANSWERS)]
    for listed in (("list", "-q"), ("list",)):
        outcome = setup.callctl("hangup", "-", *AGREED, stdin=setup.callctl(*listed).out)
        assert outcome.code == 0
        assert sorted(line.split("\t")[0] for line in outcome.out.splitlines()) == sorted(sids)


TWO_DIALS = "<Response><Dial><Client>ann</Client></Dial><Dial><Client>bob</Client></Dial></Response>"


@pytest.mark.parametrize("parallel", ["1", "25"], ids=["by lists", "by fetches"])
def test_of_families_on_stdin_the_parents_end_first_so_that_none_dials_on(setup: CliSetup, parallel: str) -> None:
    for _ in range(3):
        setup.place(ANSWERS, "--twiml", TWO_DIALS)
    setup.simulator.advance(5)
    listed = setup.callctl("list", "--live", "-q").out
    parents = [str(one["sid"]) for one in live_calls(setup) if one["parent_call_sid"] is None]
    assert (len(parents), len(listed.split())) == (3, 6)
    assert listed.split()[0] not in parents  # the newest calls come first
    before = len(setup.simulator.requests)
    outcome = setup.callctl("hangup", "-", *AGREED, "--parallel", parallel, stdin=listed)
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 6)
    assert set(ended(setup)[:3]) == set(parents)
    asked = list(takewhile(lambda one: one.method == "GET", setup.simulator.requests[before:]))
    assert len(asked) == (3 if parallel == "1" else 6)
    setup.simulator.advance(10)
    assert setup.callctl("list", "--to", "client:bob").out == ""


def live_calls(setup: CliSetup) -> list[dict[str, Any]]:
    return list(json.loads(setup.callctl("list", "--live", "--json").out))


class Families(Server):
    """Calls by SID, each with its parent; ends each, or forbids to ask for them."""

    def __init__(self, parents: Mapping[str, str | None], *, may_ask: bool = True) -> None:
        super().__init__(reply(404))
        self._parents, self._may_ask = parents, may_ask

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        if request.method == "POST":
            return reply(200, call(_sid_in(request), status="completed"))
        if not self._may_ask:
            return reply(403)
        sid = _sid_in(request)
        return reply(200, call(sid, status="in-progress", parent_call_sid=self._parents[sid]))

    def hang_up(self, callctl: Callctl, *args: str) -> Outcome:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": self.url}
        return callctl("hangup", *args, env=env)

    def sids(self, method: str) -> list[str]:
        return [_sid_in(one) for one in self.received if one.method == method]


def test_of_a_deep_family_each_leg_ends_after_its_parent(callctl: Callctl) -> None:
    first, second, third = chain = [f"CA{number:032d}" for number in (1, 2, 3)]
    with Families({first: None, second: first, third: second}) as server:
        assert server.hang_up(callctl, third, second, first).code == 0
        assert server.sids("POST") == chain


def test_where_nobody_may_ask_which_dialled_which_all_are_ended_in_their_order(callctl: Callctl) -> None:
    sids = [f"CA{number:032d}" for number in (3, 1, 2)]
    with Families({}, may_ask=False) as server:
        outcome = server.hang_up(callctl, *sids, "--parallel", "1")
        assert (outcome.code, server.sids("POST")) == (0, sids)


def test_one_that_is_named_is_ended_without_a_question(callctl: Callctl) -> None:
    with Families({}) as server:
        assert server.hang_up(callctl, f"CA{1:032d}").code == 0
        assert server.sids("GET") == []


def test_of_calls_that_callbacks_reported_nobody_is_asked_which_dialled_which(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    setup.add_callback(parent, "in-progress", at=datetime.now(UTC))
    setup.add_callback(child, "in-progress", at=datetime.now(UTC), parent=parent)
    before = len(setup.simulator.requests)
    assert setup.callctl("hangup", child, parent, "--parallel", "1").code == 0
    assert ended(setup) == [parent, child]
    assert setup.simulator.requests[before].method == "POST"


def test_a_parent_that_no_verified_callback_named_is_asked_for(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    setup.add_callback(parent, "in-progress", at=datetime.now(UTC), parent=child, verified=False)
    assert setup.callctl("hangup", child, parent, "--parallel", "1").code == 0
    assert ended(setup) == [parent, child]


@pytest.mark.parametrize("source", ["stdin", "arguments"])
def test_the_limit_counts_the_legs_of_families(setup: CliSetup, source: str) -> None:
    families = [setup.dialled() for _ in range(2)]
    children = [child for _, child in families]
    named, stdin = (["-"], "\n".join(children)) if source == "stdin" else (children, "")
    outcome = setup.callctl("hangup", *named, "--family", "--yes", "--max", "3", stdin=stdin)
    assert (outcome.code, outcome.out, ended(setup)) == (2, "", [])
    assert "4 calls with their families, more than --max 3: nothing was ended" in outcome.err
    assert setup.callctl("hangup", *named, "--family", "--yes", "--max", "4", stdin=stdin).code == 0
    assert sorted(ended(setup)) == sorted(sid for family in families for sid in family)


def test_the_limit_holds_for_calls_that_are_named_too(setup: CliSetup) -> None:
    sids = [setup.place(NEVER) for _ in range(3)]
    outcome = setup.callctl("hangup", *sids, "--max", "2")
    assert (outcome.code, outcome.out, ended(setup)) == (2, "", [])
    assert "3 calls named, more than --max 2: nothing was ended" in outcome.err


def test_an_empty_pipe_is_nothing_to_do(setup: CliSetup) -> None:
    listed = setup.callctl("list", "--live", "-q")
    assert (listed.code, listed.out) == (0, "")
    for options in ((), AGREED, ("--dry-run",), ("--family",)):
        outcome = setup.callctl("hangup", "-", *options, stdin=listed.out)
        assert (outcome.code, outcome.out) == (0, "")
        assert messages(outcome) == "callctl: no calls on stdin: nothing to do\n"
    assert setup.sent() == []


def test_many_on_stdin_need_the_flags_and_one_does_not(setup: CliSetup) -> None:
    sids = [setup.place(NEVER), setup.place(NEVER)]
    outcome = setup.callctl("hangup", "-", stdin="\n".join(sids))
    assert outcome.code == 2
    assert "2 calls on stdin, and no prompt can confirm them" in outcome.err
    assert setup.callctl("hangup", "-", stdin=sids[0]).out == f"{sids[0]}\tcanceled\tended\n"


# Dry run


def test_dry_run_shows_what_matches_and_ends_nothing(setup: CliSetup) -> None:
    sids = [setup.place(NEVER), setup.place(NEVER)]
    plain = setup.callctl("hangup", "--all", "--dry-run", "--max", "1")
    assert plain.code == 0
    assert sorted(plain.out.splitlines()) == sorted(f"{sid}\tqueued\tdry-run" for sid in sids)
    assert messages(plain) == "callctl: nothing was sent; without --dry-run, 2 calls would get Status=completed\n"
    table = setup.callctl("hangup", "--all", "--dry-run", terminal=True).out
    assert all(sid in table for sid in sids)
    records = [json.loads(line) for line in setup.callctl("hangup", "--all", "--dry-run", "--json").out.splitlines()]
    assert {(record["result"], record["call"]["status"]) for record in records} == {("dry-run", "queued")}
    assert ended(setup) == []


# --until-none


class Rounds(Server):
    """Lists other live calls in each round, and answers every hang-up in one way."""

    def __init__(self, *rounds: list[dict[str, object]], answer: str) -> None:
        super().__init__(reply(404))
        self._rounds, self._answer = list(rounds), answer

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        if request.method == "POST":
            return reply(200, call(_sid_in(request), status=self._answer))
        if "/Calls/" in request.path:
            return reply(200, call(_sid_in(request), status="ringing"))
        # Each round asks once for each status; those that ring are asked for once.
        calls: list[dict[str, object]] = []
        if ("Status", "ringing") in request.query:
            calls = self._rounds.pop(0) if len(self._rounds) > 1 else self._rounds[0]
        return reply(200, {"calls": calls, "next_page_uri": None})

    @property
    def env(self) -> dict[str, str]:
        return {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": self.url}

    def run(self, callctl: Callctl, *args: str) -> Outcome:
        return callctl("hangup", "--all", *args, env=self.env)

    @property
    def ended(self) -> list[str]:
        return [_sid_in(one) for one in self.received if one.method == "POST"]


class Refusing(Rounds):
    """Answers the hang-ups of some calls with a bare 403, as a firewall does; the others are ended."""

    def __init__(self, *rounds: list[dict[str, object]], refused: Iterable[int]) -> None:
        super().__init__(*rounds, answer="canceled")
        self._refused = {f"CA{number:032d}" for number in refused}

    def take(self, request: ReceivedRequest) -> Turn:
        turn = super().take(request)
        is_refused = request.method == "POST" and _sid_in(request) in self._refused
        return reply(403, b"<html><title>403 Forbidden</title></html>") if is_refused else turn


@pytest.mark.parametrize("parallel", ["1", "8"])
def test_one_hang_up_that_is_forbidden_among_many_keeps_no_other_back(callctl: Callctl, parallel: str) -> None:
    everyone = [rings(number) for number in range(40)]
    with Refusing(everyone, refused=[2]) as server:
        outcome = server.run(callctl, "--yes", "--max", "40", "--parallel", parallel)
        assert sorted(server.ended) == sorted(str(one["sid"]) for one in everyone)
    assert outcome.code == 8
    assert "callctl: 40 calls: " in outcome.err
    assert f"1 of 40 calls not ended: CA{2:032d}" in outcome.err
    assert "403 Forbidden" in outcome.err


def test_a_child_whose_hang_up_is_forbidden_after_that_of_its_parent_is_named(callctl: Callctl) -> None:
    with Refusing([rings(1), rings(2) | {"parent_call_sid": f"CA{1:032d}"}], refused=[2]) as server:
        outcome = server.run(callctl, *AGREED)
    assert outcome.code == 8
    assert f"1 of 2 calls not ended: CA{2:032d}" in outcome.err


def test_where_all_hang_ups_are_forbidden_it_stops_early(callctl: Callctl) -> None:
    with Refusing([rings(number) for number in range(40)], refused=range(40)) as server:
        outcome = server.run(callctl, "--yes", "--max", "40", "--parallel", "4")
        assert len(server.ended) == 4
    assert outcome.code == 4


def _sid_in(request: ReceivedRequest) -> str:
    return request.path.rpartition("/")[2].removesuffix(".json")


def rings(number: int) -> dict[str, object]:
    return call(f"CA{number:032d}", status="ringing")


class RingingMeanwhile(Server):
    """Lists a queued call, answers its first hang-up with 429, or not at all, and lets it ring by then."""

    def __init__(self, first: Turn) -> None:
        super().__init__(reply(404))
        self._first = first

    def take(self, request: ReceivedRequest) -> Turn:
        tried = sum(one.method == "POST" for one in self.received)
        super().take(request)
        if request.method == "POST":
            return reply(200, call(status="canceled")) if tried else self._first
        now = call(status="ringing" if tried else "queued")
        if "/Calls/" in request.path:
            return reply(200, now)
        return reply(200, {"calls": [now] if ("Status", now["status"]) in request.query else [], "next_page_uri": None})


@pytest.mark.parametrize("first", [reply(429, {"code": 20429, "message": "Too many", "status": 429}), drop()])
def test_a_call_that_no_longer_matches_when_its_hang_up_can_be_sent_is_left_alone(
    callctl: Callctl, first: Turn
) -> None:
    with RingingMeanwhile(first) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        outcome = callctl("hangup", "--all", "--status", "queued", *AGREED, env=env)
    assert (outcome.code, outcome.out) == (0, f"CA{'1' * 32}\tringing\tleft-alone\n")
    assert sum(one.method == "POST" for one in server.received) == 1


class Unanswering(Rounds):
    """Lists nothing any more once a call was ended: it does not answer."""

    def take(self, request: ReceivedRequest) -> Turn:
        turn = super().take(request)
        return hang() if request.method == "GET" and self.ended else turn


def test_until_none_gives_up_in_time_where_the_api_does_not_answer(callctl: Callctl) -> None:
    with Unanswering([rings(1)], answer="canceled") as server:
        outcome = server.run(callctl, *AGREED, "--until-none", "--wait-timeout", "2s", "--request-timeout", "1h")
        assert server.ended == [f"CA{1:032d}"]
    assert outcome.code == 9
    assert "the API has not answered in time whether a call still matches" in outcome.err


class NotAnswering(Rounds):
    """Answers to no request of one method."""

    def __init__(self, method: str, *, after: int = 0) -> None:
        super().__init__([rings(1), rings(2)], answer="canceled")
        self._method, self._after = method, after

    def take(self, request: ReceivedRequest) -> Turn:
        turn = super().take(request)
        if request.method != self._method or self._after > 0:
            self._after -= request.method == self._method
            return turn
        return hang()


SOON = ("--until-none", "--wait-timeout", "2s", "--request-timeout", "1h")


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_until_none_gives_up_in_time_where_no_hang_up_is_answered(callctl: Callctl, wait: list[str]) -> None:
    with NotAnswering("POST", after=1) as server:
        outcome = server.run(callctl, *AGREED, *wait, *SOON, "--parallel", "1")
        assert server.ended == [f"CA{1:032d}", f"CA{2:032d}"]
    assert (outcome.code, outcome.out) == (9, f"CA{1:032d}\tcanceled\tended\n")
    what = f"the API has not answered in time to the hang-up of 1 call: CA{2:032d}"
    assert what in outcome.err
    assert f"may have been ended: CA{2:032d}\n" in outcome.err


def test_until_none_gives_up_in_time_where_the_first_list_is_not_answered(callctl: Callctl) -> None:
    with NotAnswering("GET") as server:
        outcome = server.run(callctl, *AGREED, *SOON)
        assert server.ended == []
    assert (outcome.code, outcome.out) == (9, "")
    assert "the API did not list in time which calls match; no call was ended" in outcome.err


def test_until_none_repeats_until_no_call_matches(callctl: Callctl) -> None:
    # In the second round REST still shows the first call, since it lags behind.
    with Rounds([rings(1)], [rings(1), rings(2)], [], answer="canceled") as server:
        outcome = server.run(callctl, *AGREED, "--until-none", "--wait-timeout", "60s")
        assert server.ended == [f"CA{1:032d}", f"CA{2:032d}"]
    assert outcome.code == 0
    assert outcome.out == f"CA{1:032d}\tcanceled\tended\nCA{2:032d}\tcanceled\tended\n"
    assert messages(outcome) == (
        "callctl: repeating until no call matches; this does not stop the application that places them\n"
        "callctl: no call matches any more\n"
        "callctl: 2 calls: 2 ended\n"
    )


def test_until_none_takes_an_answered_call_for_dealt_with(callctl: Callctl) -> None:
    # REST still lists it as ringing, since it lags behind.
    with Rounds([rings(1)], [rings(1), rings(2)], [rings(2)], [rings(2)], [], answer="in-progress") as server:
        outcome = server.run(callctl, *AGREED, "--status", "ringing", "--until-none", "--wait-timeout", "60s")
        assert server.ended == [f"CA{1:032d}", f"CA{2:032d}"]
    assert outcome.code == 0
    assert outcome.out == f"CA{1:032d}\tin-progress\tleft-alone\nCA{2:032d}\tin-progress\tleft-alone\n"


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_until_none_gives_up_with_exit_9_and_tells_each_result_once(callctl: Callctl, wait: list[str]) -> None:
    with Rounds([rings(1)], answer="ringing") as server:
        outcome = server.run(callctl, *AGREED, *wait, "--until-none", "--wait-timeout", "1500ms")
        assert set(server.ended) == {f"CA{1:032d}"}
    assert (outcome.code, outcome.out) == (9, f"CA{1:032d}\tringing\taccepted\n")
    hint = "`callctl list --live` shows what each call is doing"
    assert f"callctl: error: 1 call still matches: CA{1:032d}\nhint: {hint}\n" in outcome.err


def test_until_none_names_the_application_where_new_calls_still_come(callctl: Callctl) -> None:
    rounds = [[rings(number)] for number in range(1, 601)]
    with Rounds(*rounds, answer="canceled") as server:
        outcome = server.run(callctl, *AGREED, "--until-none", "--wait-timeout", "1500ms")
    assert outcome.code == 9
    assert "hint: an application may be placing them as fast as they are ended: stop it there" in outcome.err


def test_until_none_stays_within_max(callctl: Callctl) -> None:
    with Rounds([rings(1)], [rings(2), rings(3)], answer="canceled") as server:
        outcome = server.run(callctl, "--yes", "--max", "2", "--until-none", "--wait-timeout", "60s")
        assert server.ended == [f"CA{1:032d}"]
    assert outcome.code == 9
    assert "with those that match now it would be 3, more than --max 2" in outcome.err


def test_live_is_said_to_be_what_all_means(callctl: Callctl) -> None:
    for args in (["--live"], ["--all", "--live"]):
        outcome = callctl("hangup", *args)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err == (
            "callctl: error: No such option: --live\n"
            "hint: `callctl hangup --all` ends live calls alone; see `callctl hangup --help`\n"
        )


def test_until_none_may_end_as_many_as_max_in_all(callctl: Callctl) -> None:
    with Rounds([rings(1)], [rings(2), rings(3)], [], answer="canceled") as server:
        outcome = server.run(callctl, "--yes", "--max", "3", "--until-none", "--wait-timeout", "60s")
        assert sorted(server.ended) == [f"CA{number:032d}" for number in (1, 2, 3)]  # some go out at once
    assert outcome.code == 0


class IntentReader(Rounds):
    """Reads, at each hang-up that arrives, whether the store holds an intent to change this call."""

    def __init__(self, home: Path, *rounds: list[dict[str, object]]) -> None:
        super().__init__(*rounds, answer="canceled")
        self._home = home
        self.intended: list[bool] = []

    def take(self, request: ReceivedRequest) -> Turn:
        if request.method == "POST":
            for path in self._home.rglob("events.db"):
                with closing(sqlite3.connect(path)) as store:
                    intent = store.execute("SELECT 1 FROM intents WHERE sid = ?", (_sid_in(request),)).fetchone()
                self.intended.append(intent is not None)
        return super().take(request)


def test_a_hang_up_is_recorded_for_rules_before_it_is_sent(callctl: Callctl, home: Path) -> None:
    with IntentReader(home, [rings(1)], [rings(2), rings(3)]) as server:
        assert server.run(callctl, *AGREED).code == 0  # makes the store, which a watch would have made
        server.intended.clear()
        assert server.run(callctl, *AGREED).code == 0
        assert server.intended == [True, True]


def test_what_another_command_was_about_to_do_stays_known_where_this_one_changes_nothing(setup: CliSetup) -> None:
    """The other was killed while it waited for the answer, and its call is over by now."""
    mine, others = setup.place(), setup.place()
    setup.callctl("hangup", mine, others, "--parallel", "1")
    with store_of(setup.home, setup.simulator) as store:
        store.add_intents([others], now=datetime.now(UTC), until=datetime.now(UTC))
        for sids in ([mine, others], [others]):
            assert setup.callctl("hangup", *sids).out.count("already-over") == len(sids)
            intents = [store.has_intent(sid, is_over=lambda _: False) for sid in (mine, others)]
            assert intents == [False, True]


def test_no_hang_up_waits_for_long_where_the_store_is_locked(
    callctl: Callctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_sent: Queue[bool] = Queue()  # while the store was still locked
    add_intents = SqliteStore.add_intents

    with IntentReader(home, [rings(1)]) as server:
        assert server.run(callctl, *AGREED).code == 0  # makes the store

        def wait(store: SqliteStore, sids: Iterable[str], *, now: datetime, until: datetime) -> set[str]:
            before, deadline = len(server.ended), time.monotonic() + 20
            while len(server.ended) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            was_sent.put(len(server.ended) > before)
            return add_intents(store, sids, now=now, until=until)

        monkeypatch.setattr(SqliteStore, "add_intents", wait)
        assert server.run(callctl, *AGREED).code == 0
        assert was_sent.get(timeout=60)


# Output that is not read


@pytest.mark.parametrize("command", [("hangup",), ("redirect", "--url", "survey")])
def test_a_reader_that_has_seen_enough_stops_nothing(home: Path, command: tuple[str, ...]) -> None:
    with Simulator(port=0) as simulator:
        sids = [f"CA{number:032d}" for number in range(30)]
        env = environment(home, {**env_for(simulator), "CALLCTL_URL_SURVEY": f"{simulator.url}/simulator/survey"})
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            args = [sys.executable, "-m", "callctl", command[0], *sids, *command[1:]]
            done = subprocess.run(args, env=env, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 8  # none of them is there
        assert "Traceback" not in done.stderr
        assert len({one.path for one in simulator.requests if "/Calls/" in one.path}) == 30


# Interrupted


def test_ctrl_c_stops_at_once_and_says_how_far_it_was(home: Path) -> None:
    with Simulator(port=0, latency=0.3) as simulator:
        env = env_for(simulator)
        sids = [f"CA{number:032d}" for number in range(200)]
        with Piped("hangup", *sids, "--parallel", "2", home=home, env=env) as hanging:
            hanging.line()
            assert hanging.interrupt() == 128 + signal.SIGINT
        said = (home / "stderr-hangup").read_text()
        assert "of 200 calls; some more may have been ended" in said
        assert len(simulator.requests) < 200


class Interrupted(io.StringIO):
    """A stream at which Ctrl-C falls into the first writing."""

    def write(self, _text: str, /) -> int:
        raise KeyboardInterrupt


def test_after_ctrl_c_what_was_answered_and_not_reported_yet_is_written_down_too(callctl: Callctl) -> None:
    """A rule that receives the end must find which command may have ended the call."""
    first, second = f"CA{1:032d}", f"CA{2:032d}"
    err = io.StringIO()
    with Rounds([], answer="completed") as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        streams = (Interrupted(), err)
        assert callctl("hangup", first, second, "--parallel", "1", env=env, streams=streams).code == 130
        shown = callctl("show", first, "--json", env=env)
    assert f"callctl: may have been ended: {first}" in err.getvalue()
    (action,) = [record for record in json.loads(shown.out)["timeline"] if record["type"] == "action"]
    assert (action["action"], action["result"]) == ("hangup", "unknown")


class InterruptedLater(io.StringIO):
    """A stream whose first line waits for all requests, and at which Ctrl-C falls into the third."""

    def write(self, text: str, /) -> int:
        lines = self.getvalue().count("\n")
        if lines == 0:
            for thread in threading.enumerate():
                if thread.name == "callctl-request":
                    thread.join()
        if lines == 2:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.mark.parametrize(
    ("command", "status"),
    [(("hangup", "--parallel", "1"), "completed"), (("redirect", "--url", "https://example.com/x.xml"), "in-progress")],
)
def test_after_ctrl_c_what_was_reported_is_not_said_to_be_unknown(
    callctl: Callctl, command: tuple[str, ...], status: str
) -> None:
    out, err = InterruptedLater(), io.StringIO()
    with Rounds([], answer=status) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        sids = [f"CA{number:032d}" for number in (1, 2, 3)]
        assert callctl(command[0], *sids, *command[1:], env=env, streams=(out, err)).code == 130
        reported = [line.split("\t")[0] for line in out.getvalue().splitlines()]
        assert len(reported) == 2
        for sid in sids:
            shown = callctl("show", sid, "--json", env=env)
            (action,) = [one for one in json.loads(shown.out)["timeline"] if one["type"] == "action"]
            assert action["result"] == ("done" if sid in reported else "unknown")
    (said,) = [line for line in err.getvalue().splitlines() if "may have been" in line and "some more" not in line]
    assert said.rpartition(": ")[2] == next(sid for sid in sids if sid not in reported)


class NotAnsweringFor(Rounds):
    """Carries out the request for one call, and never answers it."""

    def __init__(self, sid: str, *, answer: str) -> None:
        super().__init__([], answer=answer)
        self._unanswered_sid = sid

    def take(self, request: ReceivedRequest) -> Turn:
        turn = super().take(request)
        if request.method == "POST" and _sid_in(request) == self._unanswered_sid:
            return drop()
        return reply(404, {"code": 20404, "status": 404}) if _sid_in(request).endswith("3") else turn


@pytest.mark.parametrize(
    ("command", "status", "done"),
    [
        (("hangup",), "completed", "ended"),
        (("redirect", "--url", "https://a.example/x"), "in-progress", "redirected"),
    ],
)
def test_a_call_of_which_nobody_answered_is_not_said_to_be_left(
    callctl: Callctl, command: tuple[str, ...], status: str, done: str
) -> None:
    first, second, third = sids = [f"CA{number:032d}" for number in (1, 2, 3)]
    with NotAnsweringFor(second, answer=status) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        outcome = callctl(command[0], *sids, *command[1:], env=env)
    assert outcome.code == 8
    assert f"error: 1 of 3 calls not {done}: {third}; 1 of 3 calls may have been {done} or not: {second}" in outcome.err
    assert f"{first}\t{status}\t" in outcome.out
