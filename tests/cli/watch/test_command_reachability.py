"""What ``callctl watch`` says of how it is reached, whom it believes, and whom it follows."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api.scripted import Server, call, reply
from paths import TESTS
from processes import OnTerminal, Piped
from running import Callctl, env_for
from web_site import free_port

from callctl.simulator import Simulator

ACCOUNT = "AC" + "0" * 32
TWILIO = {"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_AUTH_TOKEN": "0" * 32}
WATCH = ("watch", "--port", "0", "--no-poll")

# Every option of the command, as its help groups them.
PANELS = [
    ("Listen", ["--host", "--port", "--public-url", "--tunnel", "--unverified"]),
    (
        "Show",
        [
            "--call",
            "--to",
            "--from",
            "--status",
            "--since",
            "--no-poll",
            "--attention",
            "--bell",
            "--read-only",
            "--json",
        ],
    ),
    ("Keep", ["--keep-days"]),
    (
        "Act",
        [
            "--serve",
            "--forward-to",
            "--hangup-ringing-after",
            "--after-dial",
            "--max-duration",
            "--rules",
            "--dry-run",
            "--cut-answered",
            "--all-calls",
        ],
    ),
    ("General", ["--env-file", "--account-sid", "--mask-numbers", "--help"]),
    ("Advanced", ["--accept-forgeries", "--forward-insecure", "--settle", "--max-actions", "--debug"]),
]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Return a simulator whose calls are over soon."""
    with Simulator(port=0, speed=20) as simulator:
        yield simulator


def place(callctl: Callctl, env: dict[str, str], *args: str) -> str:
    outcome = callctl("place", "+12025550100", *(args or ("--say", "Hello")), env=env)
    assert outcome.code == 0, outcome.err
    return outcome.out.strip()


def test_help_groups_the_options(
    callctl: Callctl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")  # so that no option is cut off
    assert callctl("watch", "--help").code == 0
    panels = re.findall(r"^(\w+):\n((?:  -.*\n)+)", capsys.readouterr().out, re.MULTILINE)
    assert [(panel, re.findall(r"^  (?:-\w, )?(--[a-z-]+)", rows, re.MULTILINE)) for panel, rows in panels] == PANELS


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--accept-forgeries",), "goes with --unverified"),
        (("--forward-insecure",), "goes with --forward-to an address on loopback"),
        (("--forward-insecure", "--forward-to", "https://example.com/x"), "an address on loopback"),
        (("--unverified", "--public-url", "https://example.com"), "--unverified with a public URL"),
        (("--unverified", "--tunnel", "cloudflared"), "--unverified with a tunnel"),
        (("--unverified", "--host", "192.0.2.1"), "--unverified with --host 192.0.2.1"),
        (("--unverified", "--forward-to", "http://localhost:3000"), "exclude each other"),
        (
            ("--unverified", "--accept-forgeries", "--host", "192.0.2.1", "--forward-to", "http://localhost:3000"),
            "exclude each other",
        ),
        (("--forward-to", "localhost:3000"), "http:// is missing: http://localhost:3000"),
        (("--public-url", "tunnel.example.com"), "https:// is missing: https://tunnel.example.com"),
        (("--forward-to", "http://localhost:8765/status", "--port", "8765"), "leads back to this watch"),
        (("--serve", "survey"), "--serve is not NAME=FILE"),
        (("--serve", "a/b=survey.xml"), "--serve is not NAME=FILE"),
        (("--serve", "survey=nowhere.xml"), "no such file"),
        (("--serve", "bad=bad.xml"), "not well-formed"),
        (("--serve", "one=good.xml", "--serve", "one=good.xml"), "names one twice"),
        (("--since", "soon"), "--since is neither a duration nor a time"),
        (("--keep-days", "-1"), "--keep-days"),
    ],
)
def test_what_can_not_be_meant_is_refused(callctl: Callctl, home: Path, args: tuple[str, ...], message: str) -> None:
    (home / "bad.xml").write_text("<Response>")
    (home / "good.xml").write_text("<Response/>")
    outcome = callctl("watch", "--port", "0", "--no-poll", *args, env=TWILIO)
    assert outcome.code == 2
    assert message in outcome.err.replace("\n", " ")
    assert outcome.out == ""


def test_unverified_events_are_taken_in_and_marked(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    forger = {**env, "CALLCTL_SIGNING_TOKEN": "f" * 32}
    with Piped(*WATCH, "--unverified", home=home, env=forger) as watch:
        watch.until_said("listening on")
        sid = place(callctl, env)
        assert watch.line().split("\t")[1:] == [
            sid,
            "-",
            "initiated",
            "initiated",
            "+15005550006",
            "+12025550100",
            "unverified",
        ]
    with Piped(*WATCH, "--unverified", "--json", home=home, env=forger) as watch:
        watch.line()
        place(callctl, env)
        assert json.loads(watch.line())["verified"] is False
    with OnTerminal(*WATCH, "--unverified", home=home, env=forger, columns=160) as terminal:
        terminal.until(lambda rows: any("unverified" in row and sid in row for row in rows))


def test_without_a_public_address_it_tells_three_ways(home: Path) -> None:
    with Piped(*WATCH, "--json", home=home, env=TWILIO) as watch:
        ready = watch.record()
        said = watch.until_said("For <Number>")
        for option in ("--tunnel cloudflared", f"ngrok http {ready['port']}", "--public-url"):
            assert option in said
        assert ready["callback_url"] == f"http://127.0.0.1:{ready['port']}/status"


def test_readiness_is_data(home: Path, simulator: Simulator) -> None:
    (home / "survey.xml").write_text("<Response><Say>Hello</Say></Response>")
    with Piped(*WATCH, "--json", "--serve", "survey=survey.xml", home=home, env=env_for(simulator)) as watch:
        ready = watch.record()
        base = f"http://127.0.0.1:{ready['port']}"
        health = watch.until_health(str(ready["health_url"]), lambda health: "reachable" in health)
        assert ready == {
            "v": 1,
            "type": "ready",
            "host": "127.0.0.1",
            "port": ready["port"],
            "callback_url": f"{base}/status",
            "health_url": f"{base}/healthz",
            "api_url": simulator.url,
            "account_sid": simulator.account_sid,
            "documents": {"survey": f"{base}/twiml/survey"},
            "follows": None,
        }
        assert (health["status"], health["callback_url"], health["reachable"]) == ("ok", f"{base}/status", True)


def test_a_reader_of_records_gets_what_is_live_at_the_start(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env, rings_on = env_for(simulator), "+12025550103"
    with Piped(*WATCH, "--json", home=home, env=env) as first:
        first.record()
        sids = over, other, live = [callctl("place", rings_on, "--say", "Hi", env=env).out.strip() for _ in range(3)]
        ringing: set[str] = set()
        while len(ringing) < len(sids):
            ringing |= {event["call_sid"] for event in [first.record()] if event["status"] == "ringing"}
        callctl("hangup", over, env=env)
        while first.record()["status"] != "canceled":
            pass
        first.kill()
    with Piped(*WATCH, "--json", home=home, env=env) as second:
        assert second.record()["type"] == "ready"
        snapshots = [second.record(), second.record()]
    for one in (other, live):
        with Piped(*WATCH, "--json", "--call", one, home=home, env=env) as third:
            assert [third.record()["type"], third.record()["call_sid"]] == ["ready", one]
    assert {record.pop("call_sid") for record in snapshots} == {other, live}
    for record in snapshots:
        assert record.pop("status_since") == record.pop("ringing_at") >= record.pop("initiated_at")
        assert record == {
            "v": 1,
            "type": "snapshot",
            "source": "callback",
            "verified": True,
            "parent_call_sid": None,
            "status": "ringing",
            "direction": "outbound-api",
            "from": "+15005550006",
            "to": rings_on,
            "answered_at": None,
            "answered_by": None,
            "caller_name": None,
            "conference": None,
            "recording": False,
            "api_url": simulator.url,
        }


def test_a_call_is_placed_with_the_twiml_that_the_watch_serves(
    callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    env = env_for(simulator)
    (home / "survey.xml").write_text("<Response><Say>Hello</Say></Response>")
    with Piped(*WATCH, "--json", "--serve", "survey=survey.xml", home=home, env=env) as watch:
        url = watch.record()["documents"]["survey"]
        sid = place(callctl, env, "--url", url)
        events: list[dict[str, Any]] = []
        while not events or events[-1]["status"] != "completed":
            events.append(watch.record())
        requests = [event for event in events if event["source"] == "twiml-request"]
        assert [(event["call_sid"], event["event"], event["verified"]) for event in requests] == [
            (sid, "twiml-request", True)
        ]


def test_a_second_watch_follows_the_first_ones_store(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped(*WATCH, "--json", home=home, env=env) as first:
        port = str(first.record()["port"])
        before = place(callctl, env)
        while json.loads(first.line())["status"] != "completed":
            pass
        args = ("watch", "--port", port, "--no-poll")
        with OnTerminal(*args, home=home, env=env) as second:
            rows = second.until(lambda rows: any(before in row for row in rows))
            assert "following process" in rows[0]
            sid = place(callctl, env)
            second.until(lambda rows: any(sid in row for row in rows))
            second.type("\x03")
            assert second.ended() == 130
        with Piped(*args, "--json", home=home, env={**env, "CALLCTL_STORE": str(home / "other.db")}) as third:
            ready = third.record()
            assert (ready["port"], ready["follows"] > 0) == (int(port), True)
            sid = place(callctl, env)
            assert third.record()["call_sid"] == sid
            assert "only reads, and no rules run here" in third.until_said("only reads")
            assert first.interrupt() == 130
            trouble = third.record()
            while trouble["type"] == "event":
                trouble = third.record()
            assert trouble["type"] == "trouble"
            assert "is gone" in trouble["text"]
            assert third.interrupt() == 130
    assert not (home / "other.db").exists()


@pytest.mark.parametrize("store", [None, "other.db"])
def test_a_follower_takes_up_the_next_watch_at_the_same_port(
    callctl: Callctl, home: Path, simulator: Simulator, store: str | None
) -> None:
    env = env_for(simulator)
    with Piped(*WATCH, "--json", home=home, env=env) as first:
        port = str(first.record()["port"])
        args = ("watch", "--port", port, "--no-poll", "--json")
        with Piped(*args, home=home, env=env) as follower:
            assert follower.record()["follows"] > 0
            first.kill()
            gone = follower.record()
            assert (gone["type"], "is gone" in gone["text"]) == ("trouble", True)
            following = {**env, "CALLCTL_STORE": str(home / store)} if store else env
            with Piped(*args, home=home, env=following) as second:
                assert second.record()["follows"] is None
                early = place(callctl, env)  # before the follower may have found it
                seen: set[str | None] = set()
                while (record := follower.record())["type"] != "resolved":
                    seen.add(record["call_sid"])
                assert (record["cause"], f"which listens at 127.0.0.1:{port}" in record["text"]) == ("watch-gone", True)
                late = place(callctl, env)
                while not {early, late} <= seen:
                    seen.add(follower.record()["call_sid"])


def test_a_follower_neither_serves_nor_forwards(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    (home / "survey.xml").write_text("<Response/>")
    with Piped(*WATCH, "--json", home=home, env=env) as first:
        port = str(first.record()["port"])
        outcome = callctl("watch", "--port", port, "--no-poll", "--serve", "survey=survey.xml", env=env)
        assert outcome.code == 1
        assert "can only be followed" in outcome.err
        assert "--port" in outcome.err
        other = {**env, "TWILIO_ACCOUNT_SID": "AC" + "1" * 32}
        outcome = callctl("watch", "--port", port, "--no-poll", env=other)
        assert (outcome.code, "--port" in outcome.err) == (1, True)


def test_a_tunnel_that_can_not_be_run_is_an_error(callctl: Callctl) -> None:
    outcome = callctl(*WATCH, "--tunnel", "no-such-program {port}", env=TWILIO)
    assert outcome.code == 1
    assert "can't run the tunnel no-such-program" in outcome.err


def test_a_tunnel_goes_before_the_public_url_of_the_settings(home: Path, simulator: Simulator) -> None:
    """That may be the address of the tunnel before, or of a listener in production."""
    elsewhere = f"http://127.0.0.1:{free_port()}"
    env = env_for(simulator) | {"CALLCTL_PUBLIC_URL": elsewhere}
    tunnel = f"{sys.executable} {TESTS / 'relay.py'} {{port}}"
    with Piped(*WATCH, "--json", "--tunnel", tunnel, home=home, env=env) as watch:
        watch.until_said("CALLCTL_PUBLIC_URL (from the environment) does not count beside --tunnel")
        ready = watch.record()
        assert ready["callback_url"] not in (f"{elsewhere}/status", f"http://127.0.0.1:{ready['port']}/status")
    with Piped(*WATCH, "--json", "--tunnel", tunnel, "--public-url", elsewhere, home=home, env=env) as watch:
        assert watch.record()["callback_url"] == f"{elsewhere}/status"


def test_nothing_is_printed_to_be_pasted_where_no_address_leads_here(
    callctl: Callctl, home: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callctl.watch.tunnel.command.SETTLE", 0.01)
    (home / "tunnel.sh").write_text(f"echo manage it at {simulator.url}; exit 3\n")
    outcome = callctl(*WATCH, "--json", "--tunnel", f"sh {home}/tunnel.sh", env=env_for(simulator))
    assert (outcome.code, outcome.out) == (1, "")
    assert "it asks for a user and a password (HTTP 401)" in outcome.err
    assert "StatusCallback=" not in outcome.err


def test_ctrl_c_while_the_tunnel_starts_leaves_nothing_behind(home: Path) -> None:
    with Piped(*WATCH, "--json", "--tunnel", "sleep 600", home=home, env=TWILIO) as watch:
        watch.until_said("starting the tunnel")
        assert watch.interrupt() == 130


def test_a_service_manager_ends_a_watch_cleanly(home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped(*WATCH, "--json", home=home, env=env) as watch:
        port = watch.record()["port"]
        with Piped("watch", "--json", "--no-poll", "--port", str(port), home=home, env=env) as follower:
            assert follower.record()["follows"] > 0
            assert follower.terminate() == 0
        assert watch.terminate() == 0
    assert list((home / ".local/state/callctl/watch").glob("*.json")) == []


@pytest.mark.parametrize("says", ["", "echo https://tunnel.invalid;"])
def test_a_service_manager_ends_a_watch_that_is_starting(home: Path, simulator: Simulator, says: str) -> None:
    (home / "tunnel.sh").write_text(f"{says} touch started; sleep 600\n")
    with Piped(*WATCH, "--json", "--tunnel", f"sh {home}/tunnel.sh", home=home, env=env_for(simulator)) as watch:
        watch.until(lambda: (home / "started").exists())
        assert watch.terminate() == 0


def test_nothing_is_kept_beyond_the_run_with_no_days(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Piped(*WATCH, "--json", "--keep-days", "0", home=home, env=env) as watch:
        watch.line()
        sid = place(callctl, env)
        assert json.loads(watch.line())["call_sid"] == sid
        assert watch.interrupt() == 130
    with OnTerminal(*WATCH, home=home, env=env) as terminal:
        rows = terminal.until(lambda rows: any("No calls yet" in row for row in rows))
        assert not any(sid in row for row in rows)


def test_no_color_is_honoured_and_a_request_for_twiml_is_named(
    callctl: Callctl, home: Path, simulator: Simulator
) -> None:
    env = {**env_for(simulator), "NO_COLOR": "1"}
    (home / "survey.xml").write_text("<Response><Say>Hello</Say></Response>")
    with OnTerminal(*WATCH, "--serve", "survey=survey.xml", home=home, env=env) as terminal:
        rows = terminal.until(lambda rows: any(row.startswith("   survey: http") for row in rows))
        url = next(row for row in rows if row.startswith("   survey: ")).partition(": ")[2]
        sid = place(callctl, env, "--url", url)
        terminal.until(lambda rows: any(f"{sid}  ● twiml-request" in row for row in rows))
        assert re.findall(rb"\x1b\[[0-9;]*3[1-7]m", terminal.raw) == []


def test_warnings_of_requests_stand_in_the_table_that_has_the_terminal(home: Path) -> None:
    page = {"calls": [call()], "next_page_uri": "http://[::1"}
    with Server(reply(200, page)) as server:
        env = {**TWILIO, "CALLCTL_API_URL": server.url}
        with OnTerminal("watch", "--port", "0", home=home, env=env) as terminal:
            warning = re.compile(r" \d\d:\d\d:\d\dZ  warning: the list may be incomplete: ")
            terminal.until(lambda rows: any(warning.match(row) for row in rows))
            assert b"callctl: warning" not in terminal.raw


@pytest.mark.parametrize("sent", [signal.SIGSTOP, signal.SIGTSTP], ids=str)
def test_a_watch_that_is_stopped_is_reported_as_such_and_loses_nothing(
    callctl: Callctl, home: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    # How long a command here waits for a watch that does not answer; a stopped one never does.
    monkeypatch.setattr("callctl.watch.session.BUSY_LIMIT", 1.0)
    monkeypatch.setattr("callctl.watch.session.STARTING_LIMIT", 1.0)
    env = env_for(simulator)
    with Piped(*WATCH, "--json", home=home, env=env) as first:
        ready = first.record()
        args = ("watch", "--port", str(ready["port"]), "--no-poll")
        with Piped(*args, "--json", home=home, env=env) as follower:
            follower.record()
            sid = place(callctl, env)
            while (record := first.record())["status"] != "in-progress":
                pass
            pid = first.stop(sent)
            stopped = f"the watch (process {pid}) is stopped, as by Ctrl-Z: it receives nothing until it is continued"
            goes_on = f"`fg` in its terminal, or `kill -CONT {pid}`, continues it"
            while (trouble := follower.record())["type"] != "trouble":
                pass
            assert trouble["text"] == f"{stopped}; {goes_on}"
            placed = callctl("place", "+12025550102", "--say", "x", env=env)
            assert f"callctl: no status callbacks: {stopped}\nhint: {goes_on}, or give" in placed.err
            public = {**env, "CALLCTL_PUBLIC_URL": "https://example.com"}
            placed = callctl("place", "+12025550102", "--say", "x", env=public)
            assert f"callctl: {stopped}; status callbacks go to CALLCTL_PUBLIC_URL" in placed.err
            second = callctl(*args, env=env)
            assert (second.code, stopped in second.err, goes_on in second.err) == (1, True, True)
            watched = callctl("place", "+12025550103", "--say", "x", "--watch", env=env)
            assert f"callctl: {stopped}\nhint: {goes_on}\n" in watched.err
            moved = callctl("redirect", sid, "--url", "https://example.com/x", "--status-callback", "watch", env=env)
            assert (moved.code, f"--status-callback watch: {stopped}" in moved.err, goes_on in moved.err) == (
                2,
                True,
                True,
            )
            for port, check in ((str(ready["port"]), "port"), ("0", "watch")):
                report = callctl("doctor", "--json", env={**env, "CALLCTL_PORT": port})
                record = next(one for one in json.loads(report.out)["checks"] if one["name"] == check)
                assert stopped in record["text"]
                assert goes_on in str(record)
            first.go_on()
            while record.get("status") != "completed":
                record = first.record()
            assert (record["call_sid"], record["source"]) == (sid, "callback")
            while (record := follower.record())["type"] != "resolved":
                pass
            assert (record["cause"], "is there again" in record["text"]) == ("watch-gone", True)
            placed = callctl("place", "+12025550102", "--say", "x", env=env)
            assert "status callbacks go to the running watch" in placed.err
