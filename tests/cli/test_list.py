"""``callctl list`` against the simulator: filters, forms, streams."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from api.scripted import Handler, Server, Turn, call, drop, reply
from cli.frozen import Frozen, frozen_simulator
from events import START
from hypothesis import given
from hypothesis import strategies as st
from running import Callctl, env_for

from callctl.api.pages import ReadAhead
from callctl.calls.call import FIELDS, REST_STATUSES, Call
from callctl.cli.io.progress import AFTER
from callctl.cli.list import in_order
from callctl.cli.options.completion import SORTS
from callctl.simulator import Simulator
from callctl.views.terminal_safe import SafeStream, printable_lines

BUSY, ANSWERS, RINGS = "+12025550102", "+12025550100", "+12025550103"


@pytest.fixture
def calls(frozen: Frozen) -> dict[str, str]:
    """One call of each kind, the busy one an hour older, the queued one placed last."""
    busy = frozen.place(BUSY)
    frozen.simulator.advance(5)
    frozen.later(hours=1)
    parent = frozen.place(ANSWERS, "--dial", "client:no-answer", "--dial", "sip:agent@example.com")
    frozen.simulator.advance(5)
    ringing = frozen.place(RINGS)
    frozen.simulator.advance(1)
    queued = frozen.place(ANSWERS)
    children = frozen.sids("--parent", parent)
    return {
        "busy": busy,
        "parent": parent,
        "ringing": ringing,
        "queued": queued,
        "agent": children[0],
        "ann": children[1],
    }


def test_live_is_queued_ringing_and_in_progress_asked_for_in_turn(frozen: Frozen, calls: dict[str, str]) -> None:
    before = len(frozen.simulator.requests)
    assert set(frozen.sids("--live")) == set(calls.values()) - {calls["busy"], calls["ann"]}
    statuses = [request.query["Status"] for request in frozen.simulator.requests[before:]]
    assert statuses == [("queued",), ("ringing",), ("in-progress",)]


def test_repeated_statuses_are_alternatives(frozen: Frozen, calls: dict[str, str]) -> None:
    assert set(frozen.sids("--status", "busy", "--status", "queued")) == {calls["busy"], calls["queued"]}
    assert set(frozen.sids("--status", "busy,queued")) == {calls["busy"], calls["queued"]}


def test_everything_else_must_hold_together(frozen: Frozen, calls: dict[str, str]) -> None:
    assert frozen.sids("--live", "--to", RINGS) == [calls["ringing"]]
    assert frozen.sids("--status", "ringing", "--to", ANSWERS) == []
    assert frozen.sids("--to", "+1202555010") == []
    assert set(frozen.sids("--from", "+15005550006")) == set(calls.values())
    assert frozen.sids("--from", "+15005550001") == []
    assert set(frozen.sids("--parent", calls["parent"], "--live")) == {calls["agent"]}


def test_since_and_until_take_dates_and_times_with_zones(frozen: Frozen, calls: dict[str, str]) -> None:
    assert frozen.sids("--until", "2026-01-05T12:30Z") == [calls["busy"]]
    assert calls["busy"] not in frozen.sids("--since", "2026-01-05T14:30+02:00")
    assert set(frozen.sids("--since", "2026-01-05", "--until", "2026-01-05")) == set(calls.values())
    assert frozen.sids("--since", "2026-01-06") == []
    sent = [request.query for request in frozen.simulator.requests if "StartTime>" in request.query]
    assert sent[0]["StartTime>"] == ("2026-01-05T12:30:00Z",)


def test_calls_still_queued_are_kept_by_their_creation(frozen: Frozen, calls: dict[str, str]) -> None:
    assert calls["queued"] in frozen.sids("--since", "2026-01-05T12:30Z")
    assert calls["queued"] not in frozen.sids("--until", "2026-01-05T12:30Z")


def test_older_than_counts_from_the_creation(callctl: Callctl) -> None:
    with Simulator(port=0, manual_clock=True) as simulator:
        env = env_for(simulator)
        sid = callctl("place", RINGS, "--say", "x", "--status-callback", "none", env=env).out.strip()
        assert callctl("list", "-q", "--older-than", "1h", env=env).out == ""
        assert callctl("list", "-q", "--older-than", "0s", "--live", env=env).out in ("", f"{sid}\n")


@pytest.mark.parametrize(
    ("ahead", "span", "meant"),
    [(300, ("--until", "1h"), (False, False, True)), (-1, ("--since", "1h"), (True, True, False))],
)
def test_a_wrong_clock_lets_a_span_that_is_relative_match_no_other_calls(
    callctl: Callctl, ahead: int, span: tuple[str, str], meant: tuple[bool, ...]
) -> None:
    now = START

    def own_clock() -> datetime:
        return now + timedelta(days=ahead)

    with Simulator(port=0, manual_clock=True, wall=lambda: now) as simulator:
        env = env_for(simulator)
        sid = callctl("place", RINGS, "--say", "x", "--status-callback", "none", env=env).out.strip()
        for minutes, is_meant in zip((0, 59, 61), meant, strict=True):
            now = START + timedelta(minutes=minutes)
            listed = callctl("list", "-q", *span, env=env, now=own_clock).out
            assert (sid in listed) == is_meant


def test_older_than_counts_by_the_clock_that_dated_the_creation(callctl: Callctl) -> None:
    """This machine's clock is months ahead of the API's: that makes no call old."""
    now = START
    with Simulator(port=0, manual_clock=True, wall=lambda: now) as simulator:
        env = env_for(simulator)
        sid = callctl("place", RINGS, "--say", "x", "--status-callback", "none", env=env).out.strip()
        for minutes, is_old in ((0, False), (59, False), (61, True)):
            now = START + timedelta(minutes=minutes)
            assert (sid in callctl("list", "-q", "--older-than", "1h", env=env).out) == is_old
            callctl("hangup", "--all", "--older-than", "1h", "--yes", "--max", "1", env=env)
            ended = [one for one in simulator.requests if one.form.get("Status")]
            assert bool(ended) == is_old


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--status", "initiated"], "no such status: initiated"),
        (["--status", ""], "--status names no status"),
        (["--status", " , "], "--status names no status"),
        (["--parent", ""], "not a call SID: (nothing)"),
        (["--live", "--status", "busy"], "no call can match"),
        (["--since", "yesterday"], "--since is neither a duration nor a time: yesterday"),
        (["--since", "2026-02-30"], "--since is neither"),
        (["--since", "1h", "--until", "2h"], "--until is not after --since"),
        (["--older-than", "old"], "--older-than is no duration: old"),
        (["--limit", "0"], "--limit"),
        (["--limit", "5", "--all"], "--limit and --all exclude each other"),
        (["-q", "--json"], "--quiet and --json exclude each other"),
        (["--sort", "age"], "--sort is start, duration or status, not age"),
        (["--sort", "start", "--tree"], "--sort and --tree exclude each other"),
        (["--columns", ""], "--columns names no field"),
        (["--columns", "sid,durration"], "hint: did you mean duration? the fields are sid, status, "),
        (["--columns", "sid", "-q"], "--quiet and --columns exclude each other"),
        (["--csv", "-q"], "--quiet and --csv exclude each other"),
        (["--parent", "CAxxx"], "not a call SID: CAxxx"),
        (["--to", "12025550103"], "hint: did you mean +12025550103? write a number in E.164 form"),
        (["--from", "2025550103"], "--from: not a number, SIP address or client: 2025550103"),
        (["--to", ""], "--to: not a number, SIP address or client: (nothing)"),
        (["--parent", "RE" + "1" * 32], "it is the SID of a recording"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_asked(frozen: Frozen, args: list[str], message: str) -> None:
    outcome = frozen("list", *args)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert frozen.simulator.requests == ()


def test_columns_are_chosen_and_ordered_in_each_form(frozen: Frozen, calls: dict[str, str]) -> None:
    named = ("--columns", "to,sid", "--columns", "duration,to", "--sort", "start", "--limit", "1")
    assert frozen("list", *named).out == f"{BUSY}\t{calls['busy']}\t\n"
    assert frozen("list", *named, "--csv").out == f"to,sid,duration\n{BUSY},{calls['busy']},\n"
    assert frozen("list", *named, "--json").out == f'[{{"to": "{BUSY}", "sid": "{calls["busy"]}", "duration": null}}]\n'
    assert frozen("list", *named, "--mask-numbers").out == f"+1202***02\t{calls['busy']}\t\n"
    lines = plain(frozen("list", *named, terminal=True).out).splitlines()
    assert lines == ["TO            CALL SID                            DURATION", f"{BUSY}  {calls['busy']}"]


def test_each_column_is_what_json_has_in_the_field(frozen: Frozen, calls: dict[str, str]) -> None:
    (parent,) = [one for one in json.loads(frozen("list", "--json").out) if one["sid"] == calls["parent"]]
    ended = ("--status", "completed,busy,in-progress")
    (shown,) = [one for one in rows_of(frozen("list", *ended, "--csv", "--columns", ",".join(FIELDS)).out)
                if one["sid"] == calls["parent"]]  # fmt: skip
    assert list(shown) == list(FIELDS)
    assert shown == {name: "" if parent.get(name) is None else str(parent[name]) for name in FIELDS}
    assert set(FIELDS) == {name for name, value in parent.items() if not isinstance(value, dict)} - {"api_url"} | {
        "annotation"  # as live Twilio has it
    }


def test_csv_has_its_names_also_without_a_call_and_stays_as_it_is(frozen: Frozen) -> None:
    names = "sid,status,direction,from,to,start_time,end_time,duration,parent_call_sid,price,price_unit"
    outcome = frozen("list", "--csv", terminal=True)
    assert (outcome.code, outcome.out) == (0, f"{names}\n")


def test_what_callers_write_into_csv_is_one_cell_that_no_spreadsheet_computes(callctl: Callctl) -> None:
    names = ['=HYPERLINK("https://example.com")', 'Ann "Lee", desk\r\n+1', "\x1b[2Jgone", "+12025550100", "@SUM(A1)"]
    listed = [call(f"CA{number:032d}", caller_name=name) for number, name in enumerate(names)]
    with Server(reply(200, {"calls": listed})) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "0" * 32, "CALLCTL_API_URL": server.url}
        text = callctl("list", "--csv", "--columns", "caller_name,sid", env=env).out
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) == 1 + len(names)
    shown = [row["caller_name"] for row in rows_of(text)]
    assert shown == [f"'{names[0]}", 'Ann "Lee", desk��+1', "�[2Jgone", "+12025550100", "'@SUM(A1)"]


def test_csv_of_a_tree_is_in_its_order(frozen: Frozen, calls: dict[str, str]) -> None:
    rows = rows_of(frozen("list", "--tree", "--csv").out)
    in_order = [row["sid"] for row in rows]
    start = in_order.index(calls["parent"])
    assert in_order[start : start + 3] == [calls["parent"], calls["ann"], calls["agent"]]
    assert [row["parent_call_sid"] for row in rows[start : start + 3]] == ["", calls["parent"], calls["parent"]]


def test_a_tree_of_chosen_fields_has_these_in_each_leg(frozen: Frozen, calls: dict[str, str]) -> None:
    (family,) = [one for one in json.loads(frozen("list", "--tree", "--json", "--columns", "sid,to").out)
                 if one["sid"] == calls["parent"]]  # fmt: skip
    assert [list(leg) for leg in (family, *family["children"])] == [["sid", "to", "children"], *[["sid", "to"]] * 2]


def test_in_a_table_of_chosen_columns_sids_are_whole_and_addresses_cut(frozen: Frozen, calls: dict[str, str]) -> None:
    args = ("list", "--tree", "--columns", "sid,from,to,date_created,status")

    def agents_line(columns: int) -> str:
        lines = plain(frozen(*args, terminal=True, columns=columns).out).splitlines()
        assert columns < 106 or all(len(line) <= columns for line in lines)
        (line,) = [line for line in lines if calls["agent"] in line]
        assert "2026-01-05 13:00:00" in line
        return line

    assert agents_line(106).startswith(f"└ {calls['agent']}  +15005550006  sip:agent@exampl…  ")
    assert "+12025550103  " in plain(frozen(*args, terminal=True, columns=106).out)
    # Where even that is not enough, lines are longer than the terminal, and nothing is cut.
    for columns in (100, 40):
        assert agents_line(columns).startswith(f"└ {calls['agent']}  +15005550006  sip:agent@example.com  ")


def test_numbers_are_masked_after_the_filters_and_on_stderr_too(frozen: Frozen, calls: dict[str, str]) -> None:
    for more in ((), ("--json",), ("--csv",), ("--tree",), ("--tree", "--json")):
        for is_terminal in (False, True):
            outcome = frozen("list", "--to", RINGS, "--mask-numbers", *more, terminal=is_terminal)
            assert calls["ringing"] in outcome.out
            assert "+1202***03" in outcome.out
            assert RINGS[-8:] not in outcome.out + outcome.err
    refused = frozen("list", "--to", "12025550103", "--mask-numbers")
    assert (refused.code, "did you mean +1202***03?" in refused.err) == (2, True)
    refused = frozen("list", "--to", "12025550103", "--mask-numbers", "--json")
    assert json.loads(refused.err)["hint"].startswith("did you mean +1202***03?")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_it_says_when_there_are_more_than_it_shows(frozen: Frozen, calls: dict[str, str]) -> None:
    outcome = frozen("list", "--limit", "2")
    assert outcome.out.count("\n") == 2
    assert "there are more than 2 calls; --limit N shows more, --all shows all" in outcome.err
    assert "more than" not in frozen("list", "--limit", str(len(calls))).err
    assert "there is more than 1 call; --limit N" in frozen("list", "--limit", "1").err
    assert len(frozen.sids("--all")) == len(frozen.sids("--limit", "9" * 30)) == len(calls)
    assert len(frozen.sids("--request-timeout", "9000d")) == len(calls)


def test_of_live_calls_all_are_shown_so_that_the_oldest_are_not_cut(frozen: Frozen) -> None:
    for _ in range(57):
        frozen.place(RINGS)
    for live in (("--live",), ("--status", "queued"), ("--status", "ringing,queued")):
        assert len(frozen.sids(*live)) == 57
    outcome = frozen("list", "--live", "--limit", "50")
    assert outcome.out.count("\n") == 50
    assert "there are more than 50 calls" in outcome.err
    assert len(frozen.sids("--status", "queued,busy")) == 50


def test_they_are_sorted_by_start_by_duration_or_by_status(frozen: Frozen) -> None:
    sids = []
    for to in (RINGS, BUSY, ANSWERS):
        sids.append(frozen.place(to))
        frozen.simulator.advance(5)
        frozen.later(seconds=5)
    rings, busy, talking = sids
    queued = frozen.place(RINGS)
    newest_first = [queued, talking, busy, rings]
    assert frozen.sids() == newest_first
    assert frozen.sids("--sort", "start") == newest_first[::-1]
    assert frozen.sids("--sort", "duration")[:2] == [rings, talking]
    assert frozen.sids("--sort", "duration", "--limit", "1") == [rings]
    assert frozen.sids("--sort", "status") == [queued, rings, talking, busy]
    assert "there is more than 1 call" in frozen("list", "--sort", "start", "--limit", "1").err
    for args in (["--sort", "start"], ["--sort", "duration"], ["--since", "2026-01-01"]):
        in_time = plain(frozen("list", "--status", "ringing", *args, terminal=True, columns=80).out).splitlines()
        assert in_time[1].startswith(f"   {rings}  2026-01-05 "), args


def test_sorted_by_duration_live_calls_show_people_what_they_are_sorted_by(frozen: Frozen) -> None:
    rings = frozen.place(RINGS)
    frozen.simulator.advance(5)
    frozen.later(seconds=67)
    for columns, so_far in ((80, " ◔ ringing 01:07"), (200, "  01:07")):
        by = ("list", "--sort", "duration")
        assert so_far in plain(frozen(*by, terminal=True, columns=columns).out)
        assert "01:07" not in plain(frozen("list", terminal=True, columns=columns).out)
    assert frozen(*by).out == frozen("list").out
    assert json.loads(frozen(*by, "--json").out)[0]["duration"] is None
    assert frozen.sids(*by[1:]) == [rings]


def test_live_calls_last_so_far_and_those_of_one_status_stand_by_age() -> None:
    def one(sid: str, status: str, *, began: float, duration: int | None = None) -> Call:
        return Call(sid, status, start_time=START + timedelta(seconds=began), duration=duration)

    calls = [
        one("CA1", "in-progress", began=50),
        one("CA2", "completed", began=10, duration=30),
        one("CA3", "in-progress", began=40),
        one("CA4", "completed", began=5, duration=80),
    ]

    def sids_by(sort: str) -> list[str]:
        return [call.sid for call in in_order(calls, sort, most=None, now=START + timedelta(seconds=100))]

    assert sids_by("duration") == ["CA4", "CA3", "CA1", "CA2"]
    assert sids_by("status") == ["CA3", "CA1", "CA4", "CA2"]
    assert sids_by("start") == ["CA4", "CA2", "CA3", "CA1"]


@given(
    st.lists(
        st.builds(
            Call,
            sid=st.uuids().map(str),
            status=st.sampled_from([*REST_STATUSES, "strange"]),
            start_time=st.none() | st.datetimes(timezones=st.just(UTC)),
            date_created=st.none() | st.datetimes(timezones=st.just(UTC)),
            duration=st.none() | st.integers(0, 9999),
        ),
        unique_by=lambda call: call.sid,
    ),
    st.sampled_from(SORTS),
    st.integers(0, 5),
    st.randoms(),
)
def test_sorting_loses_no_call_and_does_not_hang_on_the_order_in_which_they_came(
    calls: list[Call], sort: str, most: int, random: Random
) -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    whole = in_order(calls, sort, most=None, now=now)
    assert {call.sid for call in whole} == {call.sid for call in calls}
    random.shuffle(calls)
    assert in_order(calls, sort, most=most, now=now) == whole[:most]


def test_fifty_are_shown_unless_told_otherwise(frozen: Frozen) -> None:
    for _ in range(52):
        frozen.place(RINGS)
    assert len(frozen.sids()) == 50
    assert len(frozen.sids("--all")) == 52
    assert frozen.simulator.requests[-1].query["PageSize"] == ("1000",)


WIDE = """\
CALL SID                              STATUS         DIRECTION      FROM          TO                     START                 DURATION  PARENT CALL SID
{queued}    ◌ queued       outbound-api   +15005550006  +12025550100                                           -
{ringing}    ◔ ringing      outbound-api   +15005550006  +12025550103           2026-01-05 13:00:00Z            -
{parent}    ● in-progress  outbound-api   +15005550006  +12025550100           2026-01-05 13:00:00Z            -
└ {ann}  ○ canceled     outbound-dial  +15005550006  client:no-answer       2026-01-05 13:00:00Z            {parent}
└ {agent}  ● in-progress  outbound-dial  +15005550006  sip:agent@example.com  2026-01-05 13:00:00Z            {parent}
{busy}    ○ busy         outbound-api   +15005550006  +12025550102           2026-01-05 12:00:00Z            -
"""  # noqa: E501


def plain(text: str) -> str:
    """Return what a terminal shows, without its looks."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_golden_tree_with_room_for_everything(frozen: Frozen, calls: dict[str, str]) -> None:
    assert plain(frozen("list", "--tree", terminal=True, columns=180).out) == WIDE.format(**calls)


def test_an_empty_list_in_every_form(frozen: Frozen) -> None:
    assert frozen("list", "--json").out == "[]\n"
    assert frozen("list", "--tree", "--json").out == "[]\n"
    for terminal in (True, False):
        outcome = frozen("list", terminal=terminal)
        assert (outcome.code, outcome.out) == (0, "")
        assert "callctl: no calls\n" in outcome.err
    assert "no calls match" in frozen("list", "--live").err


def test_tree_json_nests_the_children(frozen: Frozen, calls: dict[str, str]) -> None:
    roots = json.loads(frozen("list", "--tree", "--json").out)
    assert [call["sid"] for call in roots] == [calls[name] for name in ("queued", "ringing", "parent", "busy")]
    assert [child["sid"] for child in roots[2]["children"]] == [calls["ann"], calls["agent"]]
    assert roots[0]["children"] == []


def test_tree_names_a_parent_that_the_filters_left_out(frozen: Frozen, calls: dict[str, str]) -> None:
    outcome = frozen("list", "--tree", "--parent", calls["parent"], terminal=True, columns=100)
    assert plain(outcome.out).splitlines()[1] == f"{calls['parent']}    not listed"
    narrow = frozen("list", "--tree", "--parent", calls["parent"], terminal=True, columns=80)
    assert plain(narrow.out).splitlines()[:2] == [" not listed", f"   {calls['parent']}"]
    assert frozen.sids("--tree", "--parent", calls["parent"]) == [calls["ann"], calls["agent"]]


def test_filters_that_the_server_ignores_are_kept_here(callctl: Callctl) -> None:
    with frozen_simulator(callctl, dialect="somleng", base_path="/api/laml") as frozen:
        busy = frozen.place(BUSY)
        frozen.simulator.advance(5)
        ringing = frozen.place(RINGS)
        frozen.simulator.advance(1)
        assert frozen.sids("--status", "busy") == [busy]
        assert frozen.sids("--live") == [ringing]
        assert frozen.sids("--live", "--to", BUSY) == []
        assert frozen.sids("--parent", ringing) == []
        assert frozen.sids("--until", "2026-01-05T11:00Z") == []


def test_a_page_that_comes_for_ever_is_noticed(callctl: Callctl) -> None:
    page = {"calls": [call()], "next_page_uri": "/2010-04-01/Accounts/AC/Calls.json?Page=1"}
    with Server(reply(200, page)) as server:
        outcome = callctl("list", "--all", "-q", env=env_of(server))
    assert (outcome.code, outcome.out) == (6, f"{call()['sid']}\n")
    assert "the list does not end" in outcome.err


@pytest.mark.parametrize("rows", [1, 50, 120])
@pytest.mark.parametrize("fault", [reply(500, b""), reply(401, {"message": "no"}), drop(), reply(200, b"<html>")])
def test_a_list_that_breaks_off_is_an_array_all_the_same(callctl: Callctl, rows: int, fault: Turn) -> None:
    first = {"calls": [call(f"CA{n:032d}") for n in range(rows)], "next_page_uri": "/2010-04-01/Calls.json?Page=1"}
    with Server(reply(200, first), fault) as server:
        outcome = callctl("list", "--all", "--json", env=env_of(server), back_off=lambda _seconds: None)
    assert outcome.code != 0
    assert len(json.loads(outcome.out)) == rows
    assert outcome.err.count("error") >= 1


@pytest.mark.parametrize("rows", [1, 50, 250])
@pytest.mark.parametrize("form", [("--all", "-q"), ("--all",), ("--limit", "300")])
def test_what_came_before_the_break_is_shown_in_each_form(callctl: Callctl, rows: int, form: tuple[str, ...]) -> None:
    sids = [f"CA{n:032d}" for n in range(rows)]
    first = {"calls": [call(sid) for sid in sids], "next_page_uri": "/2010-04-01/Calls.json?Page=1"}
    with Server(reply(200, first), reply(401, {"message": "no"})) as server:
        outcome = callctl("list", *form, env=env_of(server), terminal="-q" not in form)
    assert outcome.code == 4
    assert re.findall(r"CA\d{32}", outcome.out) == sids


@pytest.mark.parametrize("options", [("--limit", "2"), ("--status", "completed", "--limit", "2"), ()])
def test_no_page_is_requested_that_the_limit_makes_needless(callctl: Callctl, options: tuple[str, ...]) -> None:
    calls = [call(f"CA{n:032d}", status="completed") for n in range(60)]
    with Server(reply(200, {"calls": calls, "next_page_uri": "/2010-04-01/Calls.json?Page=1"})) as server:
        outcome = callctl("list", "-q", *options, env=env_of(server))
        assert (outcome.code, len(outcome.out.splitlines())) == (0, 2 if options else 50)
        assert len(server.received) == 1


def test_so_is_one_that_is_interrupted(callctl: Callctl, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"calls": [call()], "next_page_uri": "/2010-04-01/Calls.json?Page=1"}
    with Server(reply(200, pages)) as server:
        take = ReadAhead.take

        def interrupted(ahead: ReadAhead[Any], url: str) -> Any:
            if url.endswith("Page=1"):
                raise KeyboardInterrupt
            return take(ahead, url)

        monkeypatch.setattr(ReadAhead, "take", interrupted)
        outcome = callctl("list", "--all", "--json", env=env_of(server))
    assert outcome.code == 130
    assert len(json.loads(outcome.out)) == 1


def test_an_error_before_the_first_page_leaves_stdout_empty(callctl: Callctl) -> None:
    with Server(reply(401, {"code": 20003, "message": "Authenticate", "status": 401})) as server:
        for form in (["--json"], ["-q"], ["--live", "--json"]):
            outcome = callctl("list", *form, env=env_of(server))
            assert (outcome.code, outcome.out) == (4, "")


def test_a_call_that_moves_on_between_two_requests_is_shown_once_as_it_is_now(callctl: Callctl) -> None:
    def turn(handler: Handler) -> None:
        status = dict(parse_qsl(urlsplit(handler.path).query))["Status"]
        reply(200, {"calls": [call(status=status)]})(handler)

    with Server(turn) as server:
        outcome = callctl("list", "--live", env=env_of(server))
    assert [line.split("\t")[1] for line in outcome.out.splitlines()] == ["in-progress"]


def test_several_lists_come_as_one_the_newest_first(callctl: Callctl) -> None:
    ages = {"queued": "14:00:00", "ringing": "15:00:00", "in-progress": "13:00:00"}

    def turn(handler: Handler) -> None:
        status = dict(parse_qsl(urlsplit(handler.path).query))["Status"]
        date = f"Mon, 05 Jan 2026 {ages[status]} +0000"
        reply(200, {"calls": [call(f"CA{ages[status][:2]}" + "1" * 30, status=status, date_created=date)]})(handler)

    with Server(turn) as server:
        outcome = callctl("list", "--live", env=env_of(server))
    assert [line.split("\t")[1] for line in outcome.out.splitlines()] == ["ringing", "queued", "in-progress"]


def test_a_slow_list_says_how_far_it_is(callctl: Callctl) -> None:
    first = {"calls": [call()], "next_page_uri": "/2010-04-01/Accounts/AC/Calls.json?Page=1"}

    def slow(handler: Handler) -> None:
        handler.server.released.wait(AFTER + 0.5)
        reply(200, {"calls": [call("CA" + "2" * 32)]})(handler)

    with Server(reply(200, first), slow) as server:
        outcome = callctl("list", "--all", "-q", env=env_of(server))
    assert outcome.out.count("\n") == 2
    assert "callctl: reading the list: 1 so far\n" in outcome.err


def test_foreign_text_cannot_paint(callctl: Callctl) -> None:
    evil = call(to="client:\x1b[2Jann\u202e", **{"from": "a\tb\nc"})
    with Server(reply(200, {"calls": [evil]})) as server:
        for terminal in (True, False):
            outcome = callctl("list", terminal=terminal, env={**env_of(server), "NO_COLOR": "1"})
            assert "\x1b[2J" not in outcome.out
            assert "\u202e" not in outcome.out
            assert len(outcome.out.splitlines()) == 1 + terminal


@pytest.mark.parametrize("options", [(), ("--tree",), ("--sort", "start")])
def test_foreign_text_cannot_paint_in_json_either(callctl: Callctl, options: tuple[str, ...]) -> None:
    evil = "\x7f\x9b\u202e\u2028\U000e0041\ud800S\xe3o\xa0"
    resources = [call(f"CA{number:032}", to=f"client:\x1b[2J{number}", **{"from": evil}) for number in range(120)]
    out = SafeStream(streams := io.StringIO())
    with Server(reply(200, {"calls": resources})) as server:
        callctl("list", "--all", "--json", *options, env=env_of(server), streams=(out, io.StringIO()))  # type: ignore[arg-type]
    written = streams.getvalue()
    assert printable_lines(written) == written
    listed = json.loads(written)
    assert {one["to"] for one in listed} == {resource["to"] for resource in resources}
    assert {one["from"] for one in listed} == {evil.replace("\ud800", "\ufffd")}


def env_of(server: Server) -> dict[str, str]:
    return {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "0" * 32,
        "CALLCTL_API_URL": server.url,
    }
