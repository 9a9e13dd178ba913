"""``callctl watch`` with rules, as a process of its own against the simulator."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import OnTerminal, Piped
from running import Callctl, env_for
from web_site import Site

from callctl.simulator import Simulator

# The call is not answered, and Twilio's own limit of a minute, three seconds here, does not end it before a rule may.
RINGS_LONG = ("+12025550103", "--say", "Hello", "--ring-timeout", "10m")
KEEPS = "<Response><Dial><Sip {attributes}>{to}</Sip></Dial><Pause length='3600'/></Response>"


@pytest.fixture
def fast() -> Iterator[Simulator]:
    with Simulator(speed=20, seed=1) as simulator:
        yield simulator


def env_of(simulator: Simulator) -> dict[str, str]:
    # The simulator serves a document itself under no address of ours, so the survey is one that it asks for in vain.
    return {**env_for(simulator), "CALLCTL_URL_SURVEY": "http://127.0.0.1:9/survey"}


def action(watch: Piped) -> dict[str, Any]:
    """Return the next record of an action."""
    while True:
        record: dict[str, Any] = json.loads(watch.line())
        if record["type"] == "action":
            return record


def ready(watch: Piped) -> str:
    record = json.loads(watch.line())
    assert record["type"] == "ready"
    return str(record["callback_url"])


def place_that_dials(callctl: Callctl, env: dict[str, str], url: str, *, to: str = "sip:hangs-up@example.com") -> str:
    attributes = f"statusCallback='{url}' statusCallbackEvent='initiated ringing answered completed'"
    outcome = callctl("place", "+12025550100", "--twiml", KEEPS.format(attributes=attributes, to=to), env=env)
    assert outcome.code == 0, outcome.err
    return outcome.out.strip()


def child_in_progress(watch: Piped, parent: str) -> str:
    """Return the SID of a call's child leg once that is in progress."""
    while True:
        record = json.loads(watch.line())
        if record.get("parent_call_sid") == parent and record.get("status") == "in-progress":
            return str(record["call_sid"])


def test_a_call_that_rings_too_long_is_ended_and_show_tells_it(callctl: Callctl, home: Path, fast: Simulator) -> None:
    env = env_of(fast)
    with Piped(
        "watch", "--port", "0", "--no-poll", "--json", "--hangup-ringing-after", "1s", home=home, env=env
    ) as watch:
        ready(watch)
        sid = callctl("place", *RINGS_LONG, env=env).out.strip()
        record = action(watch)
        assert {key: record[key] for key in ("call_sid", "action", "request", "rule", "result", "status")} == {
            "call_sid": sid,
            "action": "cancel",
            "request": {"Status": "canceled"},
            "rule": "hangup-ringing-after",
            "result": "done",
            "status": "canceled",
        }
        assert record["outcome"] == "ended before it was answered"
    shown = callctl("show", sid, env=env, terminal=True)
    assert "cancel: ended before it was answered, by rule hangup-ringing-after" in shown.out
    plain = [line.split("\t") for line in callctl("show", sid, env=env).out.splitlines()]
    (action_line,) = [fields for fields in plain if fields[0] == "action"]
    assert action_line[2:] == [sid, "cancel", "ended before it was answered", "by rule hangup-ringing-after"]


def test_after_a_dial_the_caller_is_redirected_once(callctl: Callctl, home: Path, fast: Simulator) -> None:
    env = env_of(fast)
    with Piped("watch", "--port", "0", "--no-poll", "--json", "--after-dial", "survey", home=home, env=env) as watch:
        sid = place_that_dials(callctl, env, ready(watch))
        record = action(watch)
        assert (record["call_sid"], record["action"], record["outcome"]) == (sid, "redirect", "redirected to survey")
        assert record["about"] != sid
        assert record["request"]["Url"] == "http://127.0.0.1:9/survey"


@pytest.mark.parametrize(("command", "whose"), [("hangup", "child"), ("redirect", "child"), ("redirect", "parent")])
def test_what_a_command_did_to_either_leg_is_not_taken_for_the_end_of_a_talk(
    callctl: Callctl, home: Path, fast: Simulator, command: str, whose: str
) -> None:
    env = env_of(fast)
    with Piped("watch", "--port", "0", "--no-poll", "--json", "--after-dial", "survey", home=home, env=env) as watch:
        parent = place_that_dials(callctl, env, ready(watch), to="sip:answers@example.com")
        child = child_in_progress(watch, parent)
        chosen = parent if whose == "parent" else child
        to = ("--twiml", "<Response><Pause length='3600'/></Response>") if whose == "parent" else ("--say", "Bye.")
        assert callctl(command, chosen, *(to if command == "redirect" else ()), env=env).code == 0
        record = action(watch)
        while record["rule"] is None:  # the command's own
            record = action(watch)
        assert (record["call_sid"], record["result"]) == (parent, "declined")
        changed = "it" if whose == "parent" else "the leg that ended"
        assert record["outcome"] == f"callctl itself changed {changed} before ({command})"
    assert not [one for one in fast.requests if "Url" in one.form]


def test_a_call_that_its_own_dial_sends_to_the_survey_is_left_alone(
    callctl: Callctl, home: Path, fast: Simulator
) -> None:
    site = Site()
    site.documents["/survey"] = "<Response><Pause length='3600'/></Response>"
    env = {**env_of(fast), "CALLCTL_URL_SURVEY": f"{site.url}/survey"}
    with Piped("watch", "--port", "0", "--no-poll", "--json", "--after-dial", "survey", home=home, env=env) as watch:
        ready(watch)
        placed = callctl("place", "+12025550100", "--dial", "sip:hangs-up@example.com", "--then", "survey", env=env)
        sid = placed.out.strip()
        record = action(watch)
        assert (record["call_sid"], record["result"]) == (sid, "declined")
        assert record["outcome"] == "its own Dial sends it to survey (place --then)"
    assert site.requested_paths == ["/survey"]
    assert not [one for one in fast.requests if "Url" in one.form]
    site.close()


def test_a_dry_run_shows_what_would_be_done_and_does_nothing(callctl: Callctl, home: Path, fast: Simulator) -> None:
    env = env_of(fast)
    options = ("--port", "0", "--no-poll", "--json", "--hangup-ringing-after", "1s", "--dry-run")
    with Piped("watch", *options, home=home, env=env) as watch:
        ready(watch)
        sid = callctl("place", *RINGS_LONG, env=env).out.strip()
        record = action(watch)
        assert (record["result"], record["outcome"]) == ("dry-run", "dry run: would cancel")
    assert not [one for one in fast.requests if "Status" in one.form]
    assert "cancel" not in callctl("show", sid, env=env).out


def test_the_table_shows_what_a_rule_did(callctl: Callctl, home: Path, fast: Simulator) -> None:
    env = env_of(fast)
    rules = home / "rules.toml"
    rules.write_text('[rule.no-fax]\nwhen = "answered"\nto = "+1202*"\nthen = "hangup"\n')
    with OnTerminal(
        "watch",
        "--port",
        "0",
        "--no-poll",
        "--rules",
        "rules.toml",
        "--max-actions",
        "1",
        home=home,
        env=env,
        columns=120,
        lines=30,
    ) as watch:
        watch.until(lambda rows: any("No calls yet" in row for row in rows))
        sid = callctl("place", "+12025550100", "--say", "Hello. " * 50, env=env).out.strip()
        watch.until(lambda rows: any(f"{sid}  ▸ hangup: hung up, by rule no-fax" in row for row in rows))
        assert watch.colours("hung up, by rule no-fax") == {("default", "default")}
        callctl("place", "+12025550100", "--say", "Hello. " * 50, env=env)
        rows = watch.until(lambda rows: any("the rules have stopped: 1 actions in a minute" in row for row in rows))
        assert "rules stopped" in rows[0]
        assert watch.colours("rules stopped") == {("white", "red")}
        assert watch.colours("the rules have stopped: 1 actions in a minute") == {("red", "default")}


def test_a_watch_that_only_follows_has_no_rules_and_says_so(home: Path, fast: Simulator) -> None:
    env = env_of(fast)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as first:
        port = ready(first).rpartition(":")[2].partition("/")[0]
        arguments = ("watch", "--port", port, "--no-poll", "--json", "--hangup-ringing-after", "1s")
        with Piped(*arguments, home=home, env=env) as second:
            assert json.loads(second.line())["follows"]
            second.until_said("no rules here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry-run"], "--dry-run goes with a rule"),
        (["--cut-answered"], "--cut-answered goes with a rule"),
        (["--all-calls"], "--all-calls goes with a rule"),
        (["--max-actions", "5"], "--max-actions goes with a rule"),
        (["--after-dial", "survy"], "did you mean survey?"),
        (["--after-dial", "ftp://example.com"], "not an absolute http or https URL"),
        (["--hangup-ringing-after", "soon"], "--hangup-ringing-after is no duration: soon"),
        (["--max-duration", "0s"], "--max-duration is too short"),
        (["--max-duration", "60"], "--max-duration needs a unit: 60"),
        (["--rules", "none.toml"], "can't read the rules file"),
        (["--max-duration", "2h", "--unverified"], "--unverified and rules exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(callctl: Callctl, fast: Simulator, arguments: list[str], message: str) -> None:
    outcome = callctl("watch", "--port", "0", *arguments, env=env_of(fast))
    assert outcome.code == 2
    assert message in outcome.err
