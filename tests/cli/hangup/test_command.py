"""``hangup`` of calls that are named."""

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from api.scripted import Handler, Server, call, drop, hang, reply
from cli.setup import ANSWERS, BUSY, NEVER, UNKNOWN, CliSetup, messages
from processes import LIMIT, Piped, environment
from running import Callctl, env_for

from callctl.api.client import ApiClient
from callctl.simulator import Simulator

COLOURS = {"NO_COLOR": "1"}


def test_one_request_ends_a_call(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tcompleted\tended\n")
    assert messages(outcome) == f"callctl: ended: {sid} is completed\n"
    assert [dict(one.form) for one in setup.sent()] == [{"Status": ("completed",)}]
    assert setup.sent("GET") == []


def test_it_loads_no_event_loop(setup: CliSetup) -> None:
    # A hang-up is for emergencies; asyncio and aiohttp would take longer to load than the request takes.
    sid = setup.place(after=4)
    setup.add_callback(sid, "in-progress", at=datetime.now(UTC))  # so that the store has something to say as well
    probe = (
        "import sys; from callctl.cli.main import main\n"
        f"code = main(['hangup', '{sid}'])\n"
        "print(code, [name for name in ('asyncio', 'aiohttp', 'rich') if name in sys.modules])"
    )
    env = environment(setup.home, env_for(setup.simulator))
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == f"{sid}\tcompleted\tended\n0 []\n"


@pytest.mark.parametrize("after", [0.0, 3.0])
def test_queued_and_ringing_calls_end_as_well(setup: CliSetup, after: float) -> None:
    sid = setup.place(NEVER, after=after)
    assert setup.callctl("hangup", sid).out == f"{sid}\tcanceled\tended\n"


@pytest.mark.parametrize("env", [{}, COLOURS])
def test_on_a_terminal_it_is_a_sentence(setup: CliSetup, env: dict[str, str]) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, terminal=True, env=env)
    assert (outcome.code, outcome.out, messages(outcome)) == (0, f"ended: {sid} is completed\n", "")


def test_json_is_one_object(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, "--json")
    record = json.loads(outcome.out)
    resource = record.pop("call")
    assert record == {
        "v": 1,
        "type": "action",
        "action": "hangup",
        "call_sid": sid,
        "result": "ended",
        "outcome": f"ended: {sid} is completed",
        "request": {"Status": "completed"},
        "api_url": setup.simulator.url,
    }
    assert (resource["sid"], resource["status"], resource["parent_call_sid"]) == (sid, "completed", None)
    assert messages(outcome) == ""


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_call_that_is_over_is_no_error(setup: CliSetup, form: tuple[str, ...]) -> None:
    sid = setup.place(BUSY, after=5)
    outcome = setup.callctl("hangup", sid, *form)
    assert outcome.code == 0
    if form:
        assert json.loads(outcome.out)["result"] == "already-over"
    else:
        assert outcome.out == f"{sid}\tbusy\talready-over\n"
        assert messages(outcome) == f"callctl: already over: {sid} is busy\n"


def test_it_says_how_long_it_rang_when_callbacks_reported(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=3)
    setup.add_callback(sid, "ringing", at=datetime.now(UTC) - timedelta(seconds=3600))
    # By the date of the API's reply: this machine's clock is two hours ahead.
    said = messages(setup.callctl("hangup", sid, now=lambda: datetime.now(UTC) + timedelta(hours=2)))
    assert said.startswith(f"callctl: ended: {sid} is canceled, was ringing for 360")
    assert said.endswith(" s\n")


def test_it_says_how_long_the_call_lasted_when_callbacks_reported(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    setup.add_callback(sid, "in-progress", at=datetime.now(UTC) - timedelta(seconds=3600))
    assert f"ended: {sid} is completed, was in progress for 360" in messages(setup.callctl("hangup", sid))


def test_what_was_asked_is_written_down(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    setup.callctl("hangup", sid)
    shown = setup.callctl("show", sid).out
    assert "hangup" in shown
    assert "completed" in shown


def test_a_store_that_cannot_be_written_is_reported_and_no_failure(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, env={"CALLCTL_STORE": str(setup.home)})
    assert outcome.code == 0
    assert "done, but not written down" in messages(outcome)


def test_of_a_child_it_says_what_the_parent_does(setup: CliSetup) -> None:
    parent, child = setup.dialled()
    outcome = setup.callctl("hangup", child)
    assert outcome.code == 0
    assert messages(outcome) == (
        f"callctl: ended: {child} is completed\n"
        f"callctl: its parent {parent} goes on with the Dial's action, else with its next verb, else hangs up\n"
        f"hint: `callctl hangup {parent}` ends it as well; --family ends both at once\n"
    )


@pytest.mark.parametrize("named", ["parent", "child"])
def test_family_ends_all_legs_the_parent_first(setup: CliSetup, named: str) -> None:
    parent, child = setup.dialled()
    outcome = setup.callctl("hangup", parent if named == "parent" else child, "--family")
    assert outcome.code == 0
    assert [line.split("\t")[0] for line in outcome.out.splitlines()] == [parent, child]
    assert [one.path.rpartition("/")[2] for one in setup.sent()] == [f"{parent}.json", f"{child}.json"]
    assert {setup.status(parent), setup.status(child)} == {"completed"}


# --only-ringing


def test_only_ringing_sends_canceled(setup: CliSetup) -> None:
    sid = setup.place(NEVER, after=3)
    outcome = setup.callctl("hangup", sid, "--only-ringing", "--json")
    assert outcome.code == 0
    record = json.loads(outcome.out)
    assert (record["action"], record["result"], record["request"]) == ("cancel", "ended", {"Status": "canceled"})
    assert [dict(one.form) for one in setup.sent()] == [{"Status": ("canceled",)}]
    assert setup.sent("GET") == []


def test_only_ringing_leaves_an_answered_call_alone(setup: CliSetup) -> None:
    sid = setup.place(after=4)
    outcome = setup.callctl("hangup", sid, "--only-ringing")
    assert (outcome.code, outcome.out) == (5, f"{sid}\tin-progress\tnot-ended\n")
    assert messages(outcome) == (
        f"callctl: error: not ended: {sid} is in progress\nhint: `callctl hangup {sid}` ends it all the same\n"
    )
    assert len(setup.sent("GET")) == 1
    assert setup.status(sid) == "in-progress"


def test_only_ringing_where_the_api_refuses_it(callctl: Callctl, setup: CliSetup) -> None:
    with Simulator(port=0, manual_clock=True, readings=["cancel-refused-in-progress"]) as simulator:
        other = CliSetup(simulator, callctl, setup.home)
        sid = other.place(after=4)
        outcome = other.callctl("hangup", sid, "--only-ringing", terminal=True)
        assert (outcome.code, outcome.out) == (5, "")
        assert f"not ended: {sid} is in progress" in outcome.err


# While REST lags behind


@pytest.fixture
def lagging(callctl: Callctl, home: Path) -> Iterator[CliSetup]:
    """Return a simulator that shows calls as they were four seconds ago, and refuses what does not fit."""
    with Simulator(port=0, manual_clock=True, lag=4.0, readings=["cancel-refused-in-progress"]) as simulator:
        yield CliSetup(simulator, callctl, home)


def settled(setup: CliSetup, *, after: float = 8) -> str:
    """Place a call that is answered, and let REST catch up."""
    sid = setup.place(after=after)
    assert setup.status(sid) == "in-progress"
    return sid


def test_a_call_that_was_just_ended_is_over_whatever_rest_shows(lagging: CliSetup) -> None:
    sid = settled(lagging)
    assert lagging.callctl("hangup", sid).code == 0
    outcome = lagging.callctl("hangup", sid)
    assert (outcome.code, outcome.out) == (0, f"{sid}\t\talready-over\n")
    assert messages(outcome) == f"callctl: already over: {sid} (REST is behind and still shows it as in-progress)\n"
    record = json.loads(lagging.callctl("hangup", sid, "--json").out)
    assert (record["result"], record["call"]) == ("already-over", None)


def test_of_a_call_that_was_just_ended_callbacks_tell_how(lagging: CliSetup) -> None:
    sid = settled(lagging)
    lagging.callctl("hangup", sid)
    lagging.add_callback(sid, "completed", at=datetime.now(UTC))
    outcome = lagging.callctl("hangup", sid)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tcompleted\talready-over\n")
    assert json.loads(lagging.callctl("hangup", sid, "--json").out)["call"]["status"] == "completed"


def test_several_that_were_just_ended_are_no_failure(lagging: CliSetup) -> None:
    sids = [lagging.place(), lagging.place()]
    lagging.simulator.advance(8)
    for result in ("completed\tended", "\talready-over"):
        outcome = lagging.callctl("hangup", *sids)
        assert (outcome.code, sorted(outcome.out.splitlines())) == (0, sorted(f"{sid}\t{result}" for sid in sids))


@pytest.mark.parametrize("readings", [[], ["cancel-refused-in-progress"]])
@pytest.mark.parametrize("has_callback", [False, True])
def test_an_answered_call_is_never_said_to_ring(
    callctl: Callctl, home: Path, readings: list[str], has_callback: bool
) -> None:
    with Simulator(port=0, manual_clock=True, lag=4.0, readings=readings) as simulator:
        setup = CliSetup(simulator, callctl, home)
        sid = setup.place(after=5)
        assert setup.status(sid) == "ringing"
        if has_callback:
            setup.add_callback(sid, "in-progress", at=datetime.now(UTC))
        outcome = setup.callctl("hangup", sid, "--only-ringing")
        known = has_callback or not readings  # the refusal says less than the reply
        assert (outcome.code, outcome.out) == (5, f"{sid}\t{'in-progress' if known else ''}\tnot-ended\n")
        why = "is in progress" if known else "was answered or is over (REST is behind and still shows it as ringing)"
        assert f"callctl: error: not ended: {sid} {why}\nhint: " in outcome.err


def test_a_call_that_ended_while_it_rang_is_not_canceled_and_callbacks_tell(lagging: CliSetup) -> None:
    sid = lagging.place(BUSY, after=4)
    assert lagging.status(sid) in ("queued", "ringing")
    lagging.add_callback(sid, "busy", at=datetime.now(UTC))
    outcome = lagging.callctl("hangup", sid, "--only-ringing")
    assert (outcome.code, outcome.out) == (0, f"{sid}\tbusy\talready-over\n")


def test_by_a_filter_what_was_answered_is_left_alone_although_rest_shows_it_as_ringing(lagging: CliSetup) -> None:
    sid = lagging.place(after=5)
    outcome = lagging.callctl("hangup", "--all", "--status", "ringing", "--yes", "--max", "5")
    assert (outcome.code, outcome.out) == (0, f"{sid}\t\tleft-alone\n")
    lagging.simulator.advance(8)
    assert lagging.status(sid) == "in-progress"


def test_a_redirect_of_a_call_that_was_just_ended_does_not_contradict_itself(lagging: CliSetup) -> None:
    sid = settled(lagging)
    lagging.callctl("hangup", sid)
    outcome = lagging.callctl("redirect", sid, "--url", "survey")
    assert outcome.code == 5
    assert "Twilio says that it is not in progress, though REST still shows it as in-progress" in outcome.err


def test_the_dry_run_of_a_redirect_believes_callbacks_as_well(lagging: CliSetup) -> None:
    sid = lagging.place(after=5)
    assert lagging.callctl("redirect", sid, "--url", "survey", "--dry-run").code == 5
    lagging.add_callback(sid, "in-progress", at=datetime.now(UTC))
    assert lagging.callctl("redirect", sid, "--url", "survey", "--dry-run").code == 0
    lagging.add_callback(sid, "completed", at=datetime.now(UTC))
    assert "it is completed" in lagging.callctl("redirect", sid, "--url", "survey", "--dry-run").err
    when = ("--when", "answered", "--dry-run")
    assert lagging.callctl("redirect", sid, "--url", "survey", *when).code == 5  # it was answered: the wait is over


# --wait


def scripted(callctl: Callctl, server: Server, *args: str) -> tuple[int, str, str]:
    env = {
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": "fake-token",
        "CALLCTL_API_URL": server.url,
    }
    outcome = callctl("hangup", *args, env=env)
    return outcome.code, outcome.out, messages(outcome)


def test_what_is_accepted_is_said_to_be_accepted(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    with Server(reply(200, call(status="ringing"))) as server:
        assert scripted(callctl, server, sid) == (
            0,
            f"{sid}\tringing\taccepted\n",
            f"callctl: hang-up accepted: {sid} is still ringing\n",
        )


def test_an_answer_without_a_status_is_not_reported_as_one(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    with Server(reply(200, {"sid": sid})) as server:
        assert scripted(callctl, server, sid) == (
            0,
            f"{sid}\t\taccepted\n",
            f"callctl: hang-up accepted: {sid}; its status is not known\n",
        )
        waited = scripted(callctl, server, sid, "--wait", "--wait-timeout", "50ms")
    assert waited[0] == 9
    assert "but after 0.05 s it is not known to have ended\n" in waited[2]


def test_wait_polls_until_the_call_has_ended(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    turns = [reply(200, call(status=status)) for status in ("ringing", "ringing", "canceled")]
    with Server(*turns) as server:
        code, out, _ = scripted(callctl, server, sid, "--wait")
        assert (code, out) == (0, f"{sid}\tcanceled\tended\n")
        assert [request.method for request in server.received] == ["POST", "GET", "GET"]


def test_what_is_waited_for_is_written_down_before(callctl: Callctl, home: Path) -> None:
    """Once, dated at the request: a rule that receives the end must find which command ended the call."""
    sid = "CA" + "1" * 32
    turns = [reply(200, call(status=status)) for status in ("in-progress", "in-progress", "completed")]
    with Server(*turns) as server:
        assert scripted(callctl, server, sid, "--wait")[0] == 0
    with sqlite3.connect(home / ".local/state/callctl/events.db") as store:
        ((record,),) = store.execute("SELECT record FROM actions").fetchall()
    store.close()
    action = json.loads(record)
    assert (action["call_sid"], action["action"], action["outcome"]) == (sid, "hangup", "accepted, still in-progress")


OVER = reply(400, {"code": 21220, "message": "Call is not in-progress.", "status": 400})


def actions_of(home: Path) -> list[tuple[str, str, str]]:
    """Return the action, the result and the outcome of what the store holds."""
    with sqlite3.connect(home / ".local/state/callctl/events.db") as store:
        records = [json.loads(record) for (record,) in store.execute("SELECT record FROM actions")]
    store.close()
    return [(record["action"], record["result"], record["outcome"]) for record in records]


def test_what_a_try_without_an_answer_ended_is_reported_as_ended(callctl: Callctl, home: Path) -> None:
    sid = "CA" + "1" * 32
    with Server(drop(), OVER, reply(200, call(status="completed"))) as server:
        code, out, said = scripted(callctl, server, sid)
    assert (code, out) == (0, f"{sid}\tcompleted\tended\n")
    assert f"callctl: ended: {sid} is completed\n" in said
    assert actions_of(home) == [("hangup", "done", "completed")]


@pytest.mark.parametrize("more", [(), ("CA" + "2" * 32,)], ids=["alone", "several"])
def test_a_call_that_may_have_been_ended_is_written_down_as_such(
    callctl: Callctl, home: Path, more: tuple[str, ...]
) -> None:
    """A rule that receives the end must find which command may have ended the call."""
    with Server(reply(502)) as server:
        assert scripted(callctl, server, "CA" + "1" * 32, *more)[0] == (8 if more else 1)
    outcome_text = f"outcome unknown: {server.url.removeprefix('http://')} answered HTTP 502 Bad Gateway"
    assert [(action, result) for action, result, _ in actions_of(home)] == [("hangup", "unknown")] * (1 + len(more))
    assert all(outcome.startswith(outcome_text) for _, _, outcome in actions_of(home))


def test_a_call_that_is_over_by_a_try_without_an_answer_is_written_down_too(callctl: Callctl, home: Path) -> None:
    with Server(drop(), OVER, reply(200, call(status="in-progress"))) as server:
        assert "already over" in scripted(callctl, server, "CA" + "1" * 32)[2]
    assert actions_of(home) == [("hangup", "unknown", "outcome unknown: the first request was not answered")]


def test_what_was_refused_is_not_written_down(callctl: Callctl, home: Path) -> None:
    with Server(OVER, reply(200, call(status="busy"))) as server:
        assert scripted(callctl, server, "CA" + "1" * 32)[0] == 0
    assert not (home / ".local/state/callctl/events.db").exists() or actions_of(home) == []


@pytest.mark.parametrize("more", [(), ("CA" + "2" * 32,)], ids=["alone", "several"])
def test_after_ctrl_c_it_says_what_may_have_been_ended(home: Path, more: tuple[str, ...]) -> None:
    sids = ["CA" + "1" * 32, *more]
    requests_received = threading.Semaphore(0)

    def wait(handler: Handler) -> None:
        requests_received.release()
        hang()(handler)

    with Server(wait) as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        with Piped("hangup", *sids, home=home, env=env) as command:
            for _ in sids:
                assert requests_received.acquire(timeout=LIMIT)
            assert command.interrupt() == 130
            said = command.until_said("may have been ended: ")
    assert all(sid in said for sid in sids)
    why = "outcome unknown: the answer was not waited for"
    assert actions_of(home) == [("hangup", "unknown", why)] * len(sids)


def test_wait_gives_up_with_exit_9(callctl: Callctl) -> None:
    sid = "CA" + "1" * 32
    with Server(reply(200, call(status="ringing"))) as server:
        code, out, said = scripted(callctl, server, sid, "--wait", "--wait-timeout", "50ms")
        assert (code, out) == (9, f"{sid}\tringing\taccepted\n")
        assert f"the hang-up of {sid} was accepted, but after 0.05 s it is still ringing" in said


def test_waiting_in_vain_for_one_of_several_is_a_part_that_failed(callctl: Callctl) -> None:
    first, second = "CA" + "1" * 32, "CA" + "2" * 32
    with Server(reply(200, call(status="ringing"))) as server:
        assert scripted(callctl, server, first, second, "--wait", "--wait-timeout", "50ms")[0] == 8


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
    dry = setup.callctl("hangup", answered, "--dry-run", "--only-ringing", terminal=True)
    assert (dry.code, dry.out) == (5, "")
    assert dry.err.count(f"callctl: error: would not be ended: {answered} is in progress") == 1
    unknown = setup.callctl("hangup", UNKNOWN, "--dry-run")
    assert (unknown.code, unknown.err.count("was not found")) == (3, 1)
    both = setup.callctl("hangup", answered, rings, busy, "--dry-run", "--only-ringing", terminal=True)
    assert (both.code, both.out) == (8, f"would be ended: {rings}\nalready over: {busy} is busy\n")
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


@pytest.mark.parametrize(
    ("command", "method"),
    [
        (["hangup"], "hangup"),
        (["hangup", "--only-ringing"], "cancel"),
        (["redirect", "--say", "x"], "redirect"),
        (["hangup", "--all", "--yes", "--max", "9"], "hangup"),
    ],
    ids=" ".join,
)
def test_what_was_asked_is_dated_before_its_request(
    setup: CliSetup, monkeypatch: pytest.MonkeyPatch, command: list[str], method: str
) -> None:
    """Its callbacks may arrive before the answer, and are not to stand before it."""
    name, *options = command
    sid = setup.place(NEVER if method == "cancel" else ANSWERS, after=5)
    setup.add_callback(sid, "ringing", at=datetime.now(UTC))
    sent: list[datetime] = []
    send = getattr(ApiClient, method)

    def noting(*args: Any) -> Any:
        sent.append(datetime.now(UTC))
        return send(*args)

    monkeypatch.setattr(ApiClient, method, noting)
    assert setup.callctl(name, *([] if "--all" in options else [sid]), *options).code == 0
    timeline = json.loads(setup.callctl("show", sid, "--json").out)["timeline"]
    (action,) = [item for item in timeline if item["type"] == "action"]
    assert len(sent) == 1
    assert datetime.fromisoformat(action["at"]) <= sent[0]


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
