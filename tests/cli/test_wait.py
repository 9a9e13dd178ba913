"""``callctl wait`` against the simulator, by polling and by the callbacks that a running watch receives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from cli.local_store import add_callback, store_of
from processes import Piped
from running import Callctl, env_for
from web_site import closed_port

from callctl.cli.io.runtime import Runtime
from callctl.cli.wait import WatchedStore
from callctl.settings import load
from callctl.simulator import Simulator

ANSWERS, LATE, BUSY, NEVER, HANGS_UP = (f"+1202555010{last}" for last in (0, 1, 2, 3, 5))


@pytest.fixture
def quick() -> Iterator[Simulator]:
    """Return a simulator in which a minute takes three seconds."""
    with Simulator(port=0, speed=20) as simulator:
        yield simulator


@pytest.fixture
def env(quick: Simulator) -> dict[str, str]:
    return env_for(quick)


def place(callctl: Callctl, env: dict[str, str], to: str, *more: str) -> str:
    outcome = callctl("place", to, "--say", "Hello. " * 400, *more, env=env)
    assert outcome.code == 0, outcome.err
    return outcome.out.strip()


def test_it_got_there(callctl: Callctl, env: dict[str, str]) -> None:
    sid = place(callctl, env, ANSWERS)
    outcome = callctl("wait", sid, "--for", "answered", env=env)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tin-progress\n")
    assert f"callctl: {sid} is in-progress" in outcome.err


def test_it_ended_otherwise_and_how(callctl: Callctl, env: dict[str, str]) -> None:
    sid = place(callctl, env, BUSY)
    outcome = callctl("wait", sid, "--for", "answered", env=env)
    assert (outcome.code, outcome.out) == (8, f"{sid}\tbusy\n")
    assert f"{sid} did not get to in-progress: it ended busy" in outcome.err


@pytest.mark.parametrize(("goal", "code"), [("ended", 0), ("busy", 0), ("ringing", 0), ("completed", 8), ("failed", 8)])
def test_one_end_is_not_another(callctl: Callctl, env: dict[str, str], goal: str, code: int) -> None:
    sid = place(callctl, env, BUSY)
    assert callctl("wait", sid, "--for", "ended", env=env).code == 0
    assert callctl("wait", sid, "--for", goal, env=env).code == code


def test_it_did_not_get_there_in_time(callctl: Callctl, env: dict[str, str]) -> None:
    sid = place(callctl, env, ANSWERS)
    assert callctl("wait", sid, "--for", "answered", env=env).code == 0
    outcome = callctl("wait", sid, "--for", "ended", "--wait-timeout", "300ms", env=env)
    assert (outcome.code, outcome.out) == (9, f"{sid}\tin-progress\n")
    assert "not ended after 0.3 s: it is in-progress" in outcome.err
    assert f"callctl hangup {sid}" in outcome.err


def test_last_stands_for_the_call_placed_last(callctl: Callctl, env: dict[str, str]) -> None:
    place(callctl, env, NEVER)
    sid = place(callctl, env, BUSY)
    assert callctl("wait", "@last", "--for", "busy", env=env).out == f"{sid}\tbusy\n"


def test_what_can_be_no_goal_or_no_duration_is_refused(callctl: Callctl, env: dict[str, str]) -> None:
    sid = "CA" + "0" * 32
    for more, message in (
        (["--for", ""], "a call never is (nothing)"),
        (["--for", "queued"], "a call never is queued"),
        (["--for", "ended", "--wait-timeout", "soon"], "--wait-timeout is no duration: soon"),
    ):
        outcome = callctl("wait", sid, *more, env=env)
        assert outcome.code == 2
        assert message in outcome.err
    assert callctl("wait", sid, env=env).code == 2
    assert callctl("wait", sid, "--for", "ended", env=env).code == 3


def test_json_tells_of_a_failure_on_both_streams(callctl: Callctl, env: dict[str, str]) -> None:
    sid = place(callctl, env, BUSY)
    outcome = callctl("wait", sid, "--for", "answered", "--json", env=env)
    assert outcome.code == 8
    assert json.loads(outcome.out)["reached"] is False
    assert json.loads(outcome.err.splitlines()[-1])["exit_code"] == 8


def test_while_a_watch_receives_the_call_rest_is_not_asked(
    callctl: Callctl, home: Path, env: dict[str, str], quick: Simulator
) -> None:
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        watch.line()
        sid = place(callctl, env, HANGS_UP)
        while json.loads(watch.line())["event"] != "ringing":
            pass
        requests_before = len(quick.requests)
        outcome = callctl("wait", sid, "--for", "ended", "--json", env=env)
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["source"] == "callbacks"
        assert len(quick.requests) == requests_before


def test_what_anybody_could_have_sent_a_watch_does_not_count(callctl: Callctl, home: Path, env: dict[str, str]) -> None:
    with Piped("watch", "--port", "0", "--no-poll", "--json", "--unverified", home=home, env=env) as watch:
        url = json.loads(watch.line())["callback_url"]
        sid = place(callctl, env, ANSWERS)
        while json.loads(watch.line())["event"] != "answered":
            pass
        with urlopen(url, urlencode({"CallSid": sid, "CallStatus": "completed"}).encode()) as answer:
            assert answer.status == 204
        assert json.loads(watch.line())["event"] == "completed"
        outcome = callctl("wait", sid, "--for", "ended", "--wait-timeout", "300ms", "--json", env=env)
        record = json.loads(outcome.out)
        assert (outcome.code, record["status"], record["source"]) == (9, "in-progress", "rest")


def test_callbacks_that_another_watch_received_do_not_count_once_it_has_gone(
    callctl: Callctl, home: Path, env: dict[str, str], quick: Simulator
) -> None:
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        watch.line()
        sid = place(callctl, env, ANSWERS)
        while json.loads(watch.line())["event"] != "answered":
            pass
        assert watch.interrupt() == 130
    requests_before = len(quick.requests)
    outcome = callctl("wait", sid, "--for", "answered", "--json", env=env)
    assert json.loads(outcome.out)["source"] == "rest"
    assert len(quick.requests) == requests_before + 1


def test_rest_is_asked_while_the_watch_says_that_no_callbacks_come_through(
    callctl: Callctl, home: Path, env: dict[str, str], quick: Simulator
) -> None:
    with closed_port() as port:
        gone = f"http://127.0.0.1:{port}"
        with Piped("watch", "--port", "0", "--no-poll", "--json", "--public-url", gone, home=home, env=env) as watch:
            watch.until_health(str(watch.record()["health_url"]), lambda health: health.get("reachable") is False)
            sid = place(callctl, env, ANSWERS, "--status-callback", "none", "--wait-for", "answered")
            with store_of(home, quick) as store:
                add_callback(store, sid, "ringing", at=datetime.now(UTC))
            outcome = callctl("wait", sid, "--for", "answered", env=env)
    assert (outcome.code, outcome.out) == (0, f"{sid}\tin-progress\n")
    assert f"callctl: {sid} is ringing\ncallctl: {sid} is in-progress\n" in outcome.err


def test_what_is_stored_while_the_store_is_read_is_the_present_status(
    home: Path, env: dict[str, str], quick: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid, now = "CA" + "1" * 32, datetime.now(UTC)
    with store_of(home, quick) as store, Path(os.devnull).open("r+") as nowhere:
        for status in ("ringing", "in-progress"):
            add_callback(store, sid, status, at=now)
        kept = ["completed"]

        class BetweenReads:
            """The store, in which a callback comes between the first read of it and the second one."""

            def __getattr__(self, name: str) -> Callable[[str], Any]:
                def read(call: str) -> Any:
                    found = getattr(store, name)(call)
                    found = found if name == "call" else list(found)
                    while kept:
                        add_callback(store, sid, kept.pop(), at=now)
                    return found

                return read

        runtime = Runtime(env, home, nowhere, nowhere, nowhere)
        watched = WatchedStore(runtime, load(env, cwd=home))
        monkeypatch.setattr(watched, "_has_watch", lambda: True)
        monkeypatch.setattr(watched, "_open", BetweenReads)
        assert list(watched.statuses(sid)) == ["ringing", "in-progress", "completed"]


def test_rest_is_asked_where_the_call_does_not_report_what_is_waited_for(
    callctl: Callctl, home: Path, env: dict[str, str]
) -> None:
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        watch.line()
        events = ("--event", "initiated,ringing,completed")
        outcome = callctl("place", HANGS_UP, "--say", "Hello. " * 400, *events, "--wait-for", "answered", env=env)
    assert outcome.code == 0
    assert f"callctl: {outcome.out.strip()} is in-progress\n" in outcome.err
