"""The commands against services that speak the API otherwise: a base path, UUIDs, codes as text, ignored filters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from running import Callctl, Outcome, env_for

from callctl.simulator import Simulator

UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
TALK = "Hello. " * 400
Command = Callable[..., Outcome]


@pytest.fixture(params=["somleng", "signalwire"])
def service(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Return a compatible service under a path, as SignalWire's is, in which a minute takes three seconds."""
    with Simulator(port=0, speed=20, dialect=request.param, base_path="/api/laml") as simulator:
        yield simulator


@pytest.fixture
def somleng() -> Iterator[Simulator]:
    with Simulator(port=0, speed=20, dialect="somleng", base_path="/api/laml") as simulator:
        yield simulator


def commands(callctl: Callctl, service: Simulator) -> Command:
    def command(*args: str, stdin: str = "") -> Outcome:
        return callctl(*args, env=env_for(service), stdin=stdin)

    return command


def place(command: Command, to: str = "+12025550100", *what: str) -> str:
    outcome = command("place", to, *(what or ("--say", TALK)), "--status-callback", "none")
    assert outcome.code == 0, outcome.err
    sid = outcome.out.strip()
    assert UUID.fullmatch(sid)
    return sid


def test_from_placing_to_hanging_up(callctl: Callctl, service: Simulator) -> None:
    command = commands(callctl, service)
    sid = place(command)
    assert command("wait", sid, "--for", "answered").out == f"{sid}\tin-progress\n"
    assert command("redirect", sid, "--say", TALK).code == 0
    assert sid in command("show", sid).out
    assert command("show", "@last", "--json").code == 0
    assert command("list", "--live", "-q").out == f"{sid}\n"
    outcome = command("hangup", sid[:13])
    assert outcome.code == 0, outcome.err
    assert sid in outcome.err  # the whole SID is said before it is done
    assert command("wait", sid, "--for", "ended", "--wait-timeout", "20s").out == f"{sid}\tcompleted\n"
    assert all(request.path.startswith("/api/laml/2010-04-01/Accounts/") for request in service.requests)


def test_placing_and_waiting_in_one(callctl: Callctl, service: Simulator) -> None:
    command = commands(callctl, service)
    outcome = command("place", "+12025550102", "--say", "Hi", "--wait-for", "answered", "--status-callback", "none")
    assert outcome.code == 8
    assert f"{outcome.out.strip()} did not get to in-progress: it ended busy" in outcome.err


def test_refusals_keep_their_code_and_their_exit_code(callctl: Callctl, service: Simulator) -> None:
    command = commands(callctl, service)
    outcome = command("place", "+12025550100", "--say", "Hi", "--from", "+15005550001")
    assert outcome.code == 1
    assert "code 21212" in outcome.err
    assert "--from must be a number" in outcome.err
    sid = place(command, "+12025550102")
    assert command("wait", sid, "--for", "busy").code == 0
    refused = command("redirect", sid, "--say", "Hi")
    assert refused.code == 5
    assert command("hangup", sid).code == 0
    missing = command("wait", "0" * 8 + "-0000-0000-0000-" + "0" * 12, "--for", "ended")
    assert missing.code == 3


def test_filters_that_the_server_ignores_are_checked_here(callctl: Callctl, somleng: Simulator) -> None:
    command = commands(callctl, somleng)
    busy, ringing = place(command, "+12025550102"), place(command, "+12025550103")
    parent = place(command, "+12025550100", "--dial", "client:no-answer", "--dial-timeout", "10m")
    assert command("wait", busy, "--for", "ended").code == 0
    assert command("wait", ringing, "--for", "ringing").code == 0
    assert command("wait", parent, "--for", "answered").code == 0
    assert command("list", "--status", "busy", "-q").out == f"{busy}\n"
    assert command("list", "--to", "+12025550103", "-q").out == f"{ringing}\n"
    rows = json.loads(command("list", "--parent", parent, "--json").out)
    assert {row["parent_call_sid"] for row in rows} <= {parent}
    # The one that must not fail: without the local check, this would end every call of the account.
    outcome = command("hangup", "--all", "--to", "+12025550103", "--yes", "--max", "5")
    assert outcome.code == 0, outcome.err
    assert ringing in outcome.out
    assert parent not in outcome.out
    assert command("wait", ringing, "--for", "ended", "--wait-timeout", "20s").code == 0
    assert parent in command("list", "--live", "-q").out.split()


def test_uuids_come_out_of_lists_and_go_in_on_stdin(callctl: Callctl, service: Simulator) -> None:
    command = commands(callctl, service)
    sids = {place(command, "+12025550103") for _ in range(3)}
    assert set(command("list", "--all", "-q").out.split()) == sids
    piped = command("hangup", "-", "--yes", "--max", "3", stdin="\n".join(sids))
    assert piped.code == 0, piped.err
    assert len(piped.out.splitlines()) == 3


def test_a_dry_run_shows_the_path(callctl: Callctl, service: Simulator) -> None:
    outcome = commands(callctl, service)("place", "+12025550100", "--say", "Hi", "--dry-run")
    assert outcome.out.startswith(f"POST {service.url}/2010-04-01/Accounts/{service.account_sid}/Calls.json\n")
    assert "/api/laml/" in outcome.out


def test_the_live_view_of_a_call_whose_callbacks_come_only_at_the_end(callctl: Callctl, somleng: Simulator) -> None:
    outcome = commands(callctl, somleng)("place", "+12025550102", "--say", "Hi", "--watch", "--json")
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()[1:]]
    assert events[-1]["status"] == "busy"


def test_a_subaccount_is_named_in_the_path_and_opened_with_the_main_accounts_token(
    callctl: Callctl, simulator: Simulator
) -> None:
    sub = "AC" + "1" * 32
    outcome = callctl("list", "--account-sid", sub, env=env_for(simulator))
    # The simulator has one account: the token was good, and what it knows nothing of is the subaccount.
    assert outcome.code == 3
    assert f"/2010-04-01/Accounts/{sub}/Calls.json" in outcome.err
    assert simulator.requests[-1].path == f"/2010-04-01/Accounts/{sub}/Calls.json"
