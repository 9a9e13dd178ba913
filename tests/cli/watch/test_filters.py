"""``callctl watch --call/--to/--from/--status``: what is shown, and that nothing else is changed by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import OnTerminal, Piped
from running import Callctl, env_for

from callctl.simulator import Simulator

WATCH = ("watch", "--port", "0", "--no-poll")
LONG = "A sentence that takes a good while to say. " * 10


def place(callctl: Callctl, env: dict[str, str], to: str = "+12025550100", *args: str) -> str:
    outcome = callctl("place", to, *(args or ("--say", LONG)), env=env)
    assert "running watch" in outcome.err
    return outcome.out.strip()


def test_json_tells_of_one_family_and_the_store_keeps_all(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped(*WATCH, "--json", home=home, env=env) as watch:
        port = str(watch.record()["port"])
        wanted = place(callctl, env, "+12025550100", "--dial", "client:ann")
        watch.interrupt()
    arguments = ("watch", "--port", port, "--no-poll", "--json", "--call", "@last")
    with Piped(*arguments, home=home, env=env) as watch:
        watch.record()
        watch.until_said(f"showing only {wanted}")
        other = place(callctl, env)
        for sid in (other, wanted):
            assert callctl("hangup", sid, env=env).code == 0
        record = watch.record()
        while (record["call_sid"], record.get("event")) != (wanted, "completed"):
            assert wanted in (record["call_sid"], record.get("parent_call_sid"))
            record = watch.record()
        # What is not shown is kept: its timeline ends with the callback of its end.
        timeline = json.loads(callctl("show", other, "--json", env=env).out)["timeline"]
        assert [one["event"] for one in timeline if one["type"] == "event"][-1] == "completed"


def test_lines_tell_of_one_number(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped(*WATCH, "--to", "+12025550102", "--status", "busy", home=home, env=env) as watch:
        watch.until_said("showing only to +12025550102, busy")
        place(callctl, env)
        sid = place(callctl, env, "+12025550102")
        assert watch.line().split("\t")[1:5] == [sid, "-", "completed", "busy"]


def test_the_table_says_that_it_is_a_part(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with OnTerminal(*WATCH, "--status", "in-progress", home=home, env=env, columns=120) as watch:
        watch.until(lambda rows: "only in-progress" in rows[0])
        sid = place(callctl, env)
        watch.until(lambda rows: any("● in-progress" in row for row in rows) and any(sid in row for row in rows))
        assert callctl("hangup", sid, env=env).code == 0
        # The count is of all that came: the end of the call is received, and not shown.
        rows = watch.until(lambda rows: "4 callbacks" in "".join(rows[:2]) and "completed" not in "".join(rows[:4]))
        assert not any("completed ended" in row for row in rows)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("--status", "bussy"), "no such status: bussy"),
        (("--status", " "), "no such status: (nothing)"),
        (("--call", "CAnothing!"), "not a call SID: CAnothing!"),
        (("--call", "ca" + "1" * 32), "it begins with CA in capitals"),
        (("--call", "CA" + "1A" * 16), f"its letters are small in Twilio's: CA{'1a' * 16}"),
        (("--call", "12025550103"), "it is a phone number"),
        (
            ("--to", "12025550103"),
            "--to: not a number, SIP address or client: 12025550103\nhint: did you mean +12025550103?",
        ),
        (("--from", "+1 202 555 0103"), "--from: not a number, SIP address or client: +1 202 555 0103"),
    ],
)
def test_what_can_be_no_part_is_refused(
    callctl: Callctl, simulator: Simulator, args: tuple[str, ...], complaint: str
) -> None:
    outcome = callctl(*WATCH, *args, env=env_for(simulator))
    assert outcome.code == 2
    assert complaint in outcome.err
