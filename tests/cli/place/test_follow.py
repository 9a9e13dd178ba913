"""``callctl place --watch``: one call and its legs, on a terminal, a pipe and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from processes import OnTerminal, Piped
from running import Callctl, env_for
from store_damage import empty_log

from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.sqlite.store import SqliteStore

TO = "+12025550100"
DIALS = ("--dial", "client:hangs-up")
WITHOUT_CALLBACKS = "<Response><Dial><Client>hangs-up</Client></Dial></Response>"


@pytest.fixture
def quick() -> Iterator[Simulator]:
    """Return a simulator in which 20 seconds take two."""
    with Simulator(port=0, speed=10) as simulator:
        yield simulator


def test_on_a_terminal_it_shows_both_legs_until_they_have_ended(home: Path, quick: Simulator) -> None:
    env = env_for(quick)
    with OnTerminal("place", TO, "--dial", "client:hangs-up", "--watch", home=home, env=env) as place:
        rows = place.until(lambda rows: any(" of CA" in row for row in rows))
        child, _, parent = next(row for row in rows if " of CA" in row).strip().partition(" of ")
        assert len(child) == len(parent) == 34
        assert rows[0].startswith(" place")
        assert place.ended() == 0
        screen = "\n".join(place.rows)
    assert f"{child} of {parent}" in screen
    assert "all have ended" in screen
    assert b"\x1b[?1049h" in place.raw
    assert place.raw.rindex(b"\x1b[?1049l") > place.raw.rindex(b"\x1b[?1049h")
    assert place.raw.rindex(b"\x1b[?25h") > place.raw.rindex(b"\x1b[?25l")
    assert place.raw.rindex(b"\x1b[?7h") > place.raw.rindex(b"\x1b[?7l")


def test_ctrl_c_leaves_the_call_alone_and_says_how_to_end_it(home: Path, quick: Simulator) -> None:
    with OnTerminal("place", "+12025550103", "--say", "Hello", "--watch", home=home, env=env_for(quick)) as place:
        place.until(lambda rows: any("ringing" in row and "→" in row for row in rows))
        place.type("\x03")
        assert place.ended() == 130
        screen = "\n".join(place.rows)
    assert "the call goes on: `callctl hangup CA" in screen
    assert not [one for one in quick.requests if one.form.get("Status")]


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_on_a_pipe_it_writes_a_line_per_event(callctl: Callctl, quick: Simulator, env: dict[str, str]) -> None:
    outcome = callctl("place", TO, *DIALS, "--watch", env={**env_for(quick), **env})
    assert outcome.code == 0, outcome.err
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    parent = rows[0][1]
    assert all(len(row) == 8 for row in rows)
    # A status may be reported twice, and before an earlier one: REST may show it before a callback is there.
    statuses = list(dict.fromkeys(row[4] for row in rows if row[1] == parent))
    assert statuses[0] == "queued"
    assert set(statuses) == {"queued", "initiated", "ringing", "in-progress", "completed"}
    children = [row for row in rows if row[2] == parent]
    assert children[-1][4] == "completed"
    assert {row[4] for row in children} >= {"in-progress", "completed"}
    assert f"callctl: all have ended\n  {parent} completed\n  {children[0][1]} completed\n" in outcome.err
    assert "\x1b" not in outcome.out + outcome.err


def test_json_lines_begin_with_the_call(callctl: Callctl, quick: Simulator) -> None:
    outcome = callctl("place", "+12025550102", "--say", "Hello", "--watch", "--json", env=env_for(quick))
    assert outcome.code == 0
    placed, *events = [json.loads(line) for line in outcome.out.splitlines()]
    assert (placed["v"], placed["type"], placed["api_url"]) == (1, "placed", quick.url)
    assert {event["call_sid"] for event in events} == {placed["call"]["sid"]}
    assert events[-1]["status"] == "busy"
    assert {event["api_url"] for event in events} == {quick.url}


def test_legs_without_callbacks_are_found_by_asking(callctl: Callctl, quick: Simulator) -> None:
    outcome = callctl(
        *("place", TO, "--twiml", WITHOUT_CALLBACKS, "--status-callback", "none", "--watch", "--json"),
        env=env_for(quick),
    )
    assert outcome.code == 0, outcome.err
    placed, *events = [json.loads(line) for line in outcome.out.splitlines()]
    assert {event["source"] for event in events} == {"polled"}
    children = [event for event in events if event["parent_call_sid"] == placed["call"]["sid"]]
    assert children[-1]["status"] == "completed"


def test_beside_a_running_watch_the_callbacks_go_there(callctl: Callctl, home: Path, quick: Simulator) -> None:
    env = env_for(quick)
    with Piped("watch", "--port", "0", "--no-poll", "--json", home=home, env=env) as watch:
        callback_url = json.loads(watch.line())["callback_url"]
        outcome = callctl("place", "+12025550102", "--say", "Hello", "--watch", "--json", env=env)
        assert outcome.code == 0
        assert f"status callbacks go to the running watch, {callback_url}" in outcome.err
        sources = {json.loads(line).get("source") for line in outcome.out.splitlines()[1:]}
        assert "callback" in sources
        assert json.loads(watch.line())["event"] == "initiated"


def test_where_no_callback_can_come_it_says_so(callctl: Callctl, quick: Simulator) -> None:
    env = env_for(quick) | {"TWILIO_API_KEY": quick.api_key, "TWILIO_API_SECRET": quick.api_secret}
    del env["TWILIO_AUTH_TOKEN"]
    outcome = callctl("place", "+12025550102", "--say", "Hello", "--watch", env=env)
    assert outcome.code == 0
    assert "none can be received here; polling REST instead" in outcome.err
    assert "hint: Twilio signs callbacks with the auth token, never with an API key" in outcome.err
    assert outcome.out.splitlines()[-1].split("\t")[4] == "busy"


def test_a_taken_port_is_reported_before_a_call_is_placed(callctl: Callctl, quick: Simulator) -> None:
    port = quick.url.rpartition(":")[2]
    env = {**env_for(quick), "CALLCTL_PUBLIC_URL": "http://127.0.0.1:9", "CALLCTL_PORT": port}
    outcome = callctl("place", TO, "--say", "Hello", "--watch", env=env)
    assert outcome.code == 1
    # The program at the port is only asked whether it is a watch.
    assert {(one.method, one.path) for one in quick.requests} <= {("GET", "/healthz")}


def test_what_cannot_be_placed_is_an_error_like_any_other(callctl: Callctl, quick: Simulator) -> None:
    outcome = callctl("place", "+15005550003", "--say", "Hello", "--watch", "--json", env=env_for(quick))
    assert (outcome.code, outcome.out) == (1, "")
    assert json.loads(outcome.err.splitlines()[-1])["code"] == "21215"


def test_a_store_that_is_damaged_meanwhile_is_reported(home: Path, quick: Simulator) -> None:
    env = env_for(quick)
    store = load({"HOME": str(home), **env}, cwd=home).store
    with Piped("place", "+12025550103", "--say", "Hello", "--watch", "--json", home=home, env=env) as place:
        while json.loads(place.line())["type"] != "event":
            pass
        empty_log(store)
        while (record := json.loads(place.line()))["type"] != "trouble":
            pass
        place.kill()
    assert record["cause"] == "store"
    assert f"the event store {store} was changed from outside" in record["text"]


RINGS_ON = "+12025550103"


def record_until(process: Piped, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    while not condition(record := process.record()):
        pass
    return record


def test_what_comes_to_it_is_seen_and_acted_on_by_a_watch_that_starts_meanwhile(home: Path) -> None:
    with Simulator(port=0) as simulator:
        env = env_for(simulator)
        placing = ("place", RINGS_ON, "--twiml", "<Response><Pause length='60'/></Response>", "--watch", "--json")
        with Piped(*placing, home=home, env=env) as place:
            sid = record_until(place, lambda record: record.get("status") == "ringing")["call_sid"]
            with Piped(
                "watch", "--port", "0", "--no-poll", "--max-duration", "1s", "--json", home=home, env=env
            ) as watch:
                assert watch.record()["type"] == "ready"
                simulator.answer(sid)
                action = record_until(watch, lambda record: record["type"] == "action")
                ended = record_until(watch, lambda record: record.get("event") == "completed")
    assert action["call_sid"] == ended["call_sid"] == sid
    assert (ended["source"], ended["verified"]) == ("callback", True)


def test_what_comes_to_it_is_not_deleted_by_a_watch_that_keeps_nothing(home: Path) -> None:
    with Simulator(port=0) as simulator:
        env = env_for(simulator)
        with Piped("place", RINGS_ON, "--say", "Hello", "--watch", "--json", home=home, env=env) as place:
            sid = record_until(place, lambda record: record.get("status") == "ringing")["call_sid"]
            with Piped("watch", "--port", "0", "--no-poll", "--keep-days", "0", "--json", home=home, env=env) as watch:
                assert watch.record()["type"] == "ready"
                assert watch.terminate() == 0
            settings = load({"HOME": str(home), **env}, cwd=home)
            with closing(SqliteStore.open_readonly(settings.store, world=settings.world)) as store:
                assert store.call(sid) is not None
