"""``hangup`` of calls that are named."""

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from cli.setup import ANSWERS, BUSY, NEVER, UNKNOWN, CliSetup, messages
from processes import environment
from running import Callctl, env_for

from callctl.simulator import Simulator


def loaded_by_hangup(setup: CliSetup, call_sid: str, which: str) -> str:
    """End a call in a process of its own; return the names of loaded modules of which a condition holds."""
    probe = (
        "import sys; from callctl.cli.main import main\n"
        f"code = main(['hangup', '{call_sid}'])\n"
        f"print(code, [name for name in sys.modules if {which}])"
    )
    env = environment(setup.home, env_for(setup.simulator))
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=env)
    said, _, names = done.stdout.partition("\n0 ")
    assert said == f"{call_sid}\tcompleted\tended"
    return names.strip()


def test_it_loads_no_event_loop(setup: CliSetup) -> None:
    # A hang-up is for emergencies; asyncio and aiohttp would take longer to load than the request takes.
    sid = setup.place(after=4)
    setup.add_callback(sid, "in-progress", at=datetime.now(UTC))  # so that the store has something to say as well
    assert loaded_by_hangup(setup, sid, "name in ('asyncio', 'aiohttp', 'rich')") == "[]"


def test_of_a_call_that_no_callback_reported_it_loads_nothing_that_reads_events(setup: CliSetup) -> None:
    sid, other = setup.place(after=4), setup.place(after=4)
    setup.add_callback(other, "in-progress", at=datetime.now(UTC))  # so that there is a store
    assert loaded_by_hangup(setup, sid, "name.endswith(('.calls.event', '.board', '.missed_ends'))") == "[]"


@pytest.mark.parametrize("named", ["parent", "child"])
def test_family_ends_all_legs_the_parent_first(setup: CliSetup, named: str) -> None:
    parent, child = setup.dialled()
    outcome = setup.callctl("hangup", parent if named == "parent" else child, "--family")
    assert outcome.code == 0
    assert [line.split("\t")[0] for line in outcome.out.splitlines()] == [parent, child]
    assert [one.path.rpartition("/")[2] for one in setup.sent()] == [f"{parent}.json", f"{child}.json"]
    assert {setup.status(parent), setup.status(child)} == {"completed"}


def test_several_that_were_just_ended_are_no_failure(lagging: CliSetup) -> None:
    sids = [lagging.place(), lagging.place()]
    lagging.simulator.advance(8)
    for result in ("completed\tended", "\talready-over"):
        outcome = lagging.callctl("hangup", *sids)
        assert (outcome.code, sorted(outcome.out.splitlines())) == (0, sorted(f"{sid}\t{result}" for sid in sids))


def test_by_a_filter_what_was_answered_is_left_alone_although_rest_shows_it_as_ringing(lagging: CliSetup) -> None:
    sid = lagging.place(after=5)
    outcome = lagging.callctl("hangup", "--all", "--status", "ringing", "--yes", "--max", "5")
    assert (outcome.code, outcome.out) == (0, f"{sid}\t\tleft-alone\n")
    lagging.simulator.advance(8)
    assert lagging.status(sid) == "in-progress"


# Several


def test_several_get_one_result_each(setup: CliSetup) -> None:
    first, second = setup.place(NEVER), setup.place(NEVER)
    outcome = setup.callctl("hangup", first, UNKNOWN, second, first)
    assert outcome.code == 8
    assert sorted(outcome.out.splitlines()) == sorted(
        [f"{first}\tcanceled\tended", f"{second}\tcanceled\tended", f"{UNKNOWN}\t\tfailed"]
    )
    said = messages(outcome)
    assert f"callctl: error: {UNKNOWN}: " in said
    assert "\n  code 20404, HTTP 404, https://www.twilio.com/docs/errors/20404, request RQ" in said
    assert "callctl: 3 calls: " in said
    assert f"1 of 3 calls not ended: {UNKNOWN}" in said


def test_several_as_json_lines(setup: CliSetup) -> None:
    sid = setup.place(NEVER)
    outcome = setup.callctl("hangup", sid, UNKNOWN, "--json")
    records = {record["call_sid"]: record for record in map(json.loads, outcome.out.splitlines())}
    assert records[sid]["result"] == "ended"
    assert records[UNKNOWN]["result"] == "failed"
    assert records[UNKNOWN]["call"] is None
    assert records[UNKNOWN]["error"]["exit_code"] == 3
    assert records[UNKNOWN]["error"]["code"] == "20404"


def test_arguments_are_never_asked_about(setup: CliSetup) -> None:
    sids = [setup.place(NEVER), setup.place(NEVER)]
    outcome = setup.callctl("hangup", *sids, terminal=True, keyboard=True)
    assert outcome.code == 0
    assert sorted(outcome.out.splitlines()) == sorted(f"ended: {sid} is canceled" for sid in sids)
    assert messages(outcome) == "callctl: 2 calls: 2 ended\n"


def test_wrong_credentials_for_several_are_one_error(setup: CliSetup) -> None:
    outcome = setup.callctl("hangup", UNKNOWN, "CA" + "1" * 32, env={"TWILIO_AUTH_TOKEN": "wrong"})
    assert outcome.code == 4
    assert outcome.err.count("callctl: error:") == 1


def test_the_only_one_of_a_family_keeps_its_own_exit_code(setup: CliSetup) -> None:
    assert setup.callctl("hangup", UNKNOWN, "--family").code == 3


def test_too_many_requests_at_once_are_no_failure(callctl: Callctl, setup: CliSetup) -> None:
    with Simulator(port=0, concurrency=2, latency=0.01) as simulator:
        other = CliSetup(simulator, callctl, setup.home)
        sids = []
        for _ in range(12):
            sids.append(other.callctl("place", NEVER, "--say", "x", "--status-callback", "none").out.strip())
        outcome = other.callctl("hangup", *sids)
        assert outcome.code == 0, outcome.err
        assert sorted(line.split("\t")[0] for line in outcome.out.splitlines()) == sorted(sids)


def test_dry_run_of_named_calls_sends_nothing(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=4)
    outcome = setup.callctl("hangup", sid, "--dry-run", "--only-ringing")
    assert (outcome.code, outcome.out) == (0, f"{sid}\tringing\tdry-run\n")
    assert messages(outcome) == "callctl: nothing was sent; without --dry-run, 1 call would get Status=canceled\n"
    assert setup.sent() == []
    assert setup.callctl("hangup", sid, "--dry-run", terminal=True).out == f"would be ended: {sid}\n"


def test_a_dry_run_of_named_calls_tells_what_would_come_of_each(setup: CliSetup) -> None:
    busy, answered, rings = setup.place(BUSY), setup.place(ANSWERS), setup.place(NEVER, after=6)
    dry = setup.callctl("hangup", busy, "--dry-run")
    assert (dry.code, dry.out) == (0, f"{busy}\tbusy\talready-over\n")
    nothing = "callctl: nothing was sent, and without --dry-run no call would be ended\n"
    assert messages(dry) == nothing
    dry = setup.callctl("hangup", answered, "--dry-run", "--only-ringing", terminal=True)
    assert (dry.code, dry.out) == (5, "")
    assert dry.err.count(f"callctl: error: would not be ended: {answered} is in progress") == 1
    unknown = setup.callctl("hangup", UNKNOWN, "--dry-run")
    assert (unknown.code, unknown.err.count("was not found")) == (3, 1)
    both = setup.callctl("hangup", answered, rings, busy, "--dry-run", "--only-ringing", terminal=True)
    assert (both.code, both.out) == (8, f"would be ended: {rings}\nalready over: {busy} is busy\n")
    assert "without --dry-run, 1 call would get Status=canceled\n" in both.err
    assert f"1 of 3 calls would not be ended: {answered}" in both.err
    assert setup.callctl("hangup", answered, rings, busy, "--dry-run").code == 0
    assert setup.sent() == []


def test_an_unambiguous_start_is_enough_and_the_whole_sid_is_said(setup: CliSetup) -> None:
    sid = setup.place(ANSWERS, after=4)
    outcome = setup.callctl("hangup", sid[:12])
    assert (outcome.code, outcome.out) == (0, f"{sid}\tcompleted\tended\n")
    assert messages(outcome).startswith(f"callctl: {sid[:12]} is {sid}, ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no call was named"),
        ([UNKNOWN, "--all"], "--all ends the calls that match, and some are named as well"),
        ([UNKNOWN, "--status", "queued"], "the filters go with --all"),
        ([UNKNOWN, "--status", "ringing"], "the filters go with --all"),
        ([UNKNOWN, "--until-none", "--wait-timeout", "5s"], "--until-none goes with --all"),
        (["--all", "--yes", "--max", "9", "--until-none"], "--until-none needs --wait-timeout"),
        (
            ["--all", "--yes", "--max", "9", "--until-none", "60s"],
            "hint: how long to wait is said by --wait-timeout 60s",
        ),
        (["--all", "--wait-timeout", "5s"], "--wait-timeout goes with --wait or --until-none"),
        (["--all", "--yes", "--max", "9", "--status", ""], "--status names no status"),
        ([""], "not a call SID: (nothing)"),
        (["--all", "--family"], "--family goes with calls that are named"),
        (["--all", "--live"], "No such option: --live"),
        (["--all", "--status", "completed"], "no call can match: --status completed is of calls that are over"),
        (["--all", "--yes", "--max", "1", "--only-ringing", "--status", "in-progress"], "no call can match"),
        ([UNKNOWN, "--wait", "--wait-timeout", "soon"], "--wait-timeout is no duration: soon"),
        ([UNKNOWN, "--wait-timeout", "5s"], "--wait-timeout goes with --wait"),
        ([UNKNOWN, "--wait", "5s"], "hint: how long to wait is said by --wait-timeout 5s"),
        ([UNKNOWN, "--parallel", "0"], "--parallel"),
        (["CAxxx"], "not a call SID: CAxxx"),
        (["--all", "--to", "12025550103"], "hint: did you mean +12025550103? write a number in E.164 form"),
        (["--all", "--from", "+1 202 555 0103"], "--from: not a number, SIP address or client: +1 202 555 0103"),
        (["--all", "--parent", "CA" + "1A" * 16], "its letters are small in Twilio's"),
    ],
)
def test_what_makes_no_sense_exits_2_and_sends_nothing(setup: CliSetup, args: list[str], message: str) -> None:
    outcome = setup.callctl("hangup", *args)
    assert outcome.code == 2
    assert message in outcome.err
    assert setup.simulator.requests == ()


def test_one_connection_to_the_store_does(setup: CliSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = setup.place(after=4)
    setup.add_callback(sid, "in-progress", at=datetime.now(UTC))
    connect, opened = sqlite3.connect, list[str]()

    def count(database: Any, *args: Any, **options: Any) -> Any:
        opened.append(str(database))
        return connect(database, *args, **options)

    monkeypatch.setattr("sqlite3.connect", count)
    assert setup.callctl("hangup", sid).code == 0
    # What makes sure that the file is a store, before it is opened, takes no lock and makes no files.
    assert [database for database in opened if "immutable=1" not in database] == [f"{opened[0].split('?')[0]}?mode=rw"]
    assert len(opened) == 2
