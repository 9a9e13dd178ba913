"""``callctl listen`` as a process of its own: what it says, how it ends, what its monitoring port answers."""

from __future__ import annotations

import itertools
import json
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest
from api.scripted import Handler, Server, reply
from callback_load import Load, call_and_number, kept_in
from events import form, sid
from processes import CALLCTL, LIMIT, Piped, environment
from running import Callctl, env_for
from services import Service, get
from web_site import free_port

from callctl.settings import load
from callctl.simulator import Simulator
from callctl.watch.forwarding.forwarder import AT_ONCE
from callctl.watch.listener.signature import signature_of
from callctl.watch.session import SHUT_DOWN_LIMIT

ROUNDS = 3


def store_of(home: Path) -> Path:
    return home / ".local" / "state" / "callctl" / "events.db"


def test_it_says_once_where_it_listens_and_what_to_paste(home: Path, simulator: Simulator) -> None:
    port = str(free_port())
    with Piped("listen", "--port", port, home=home, env=env_for(simulator)) as service:
        said = service.until_said("statusCallbackMethod")
        assert f"callctl: listening on 127.0.0.1:{port}" in said
        assert f"StatusCallback=http://127.0.0.1:{port}/status" in said
        assert service.terminate() == 0
        assert list(service.lines()) == []  # stdout is for data, and there is none


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_how_it_ends(home: Path, simulator: Simulator, sent: signal.Signals, code: int) -> None:
    with Service(home=home, env=env_for(simulator)) as service:
        assert service.ready["follows"] is None
        assert service.ready["status_callback"] == service.ready["callback_url"] + "#rc=5&rp=5xx,ct,rt"
        assert (service.terminate() if sent == signal.SIGTERM else service.interrupt()) == code


def test_a_service_manager_hears_when_it_listens_and_when_it_ends(home: Path, simulator: Simulator) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(home / "notify"))
        manager.settimeout(LIMIT)
        with Service(home=home, env={**env_for(simulator), "NOTIFY_SOCKET": str(home / "notify")}) as service:
            assert manager.recv(100) == b"READY=1"
            assert service.send(simulator, form(1, "ringing")) == 204
            assert service.terminate() == 0
            assert manager.recv(100) == b"STOPPING=1"


def test_a_service_manager_that_stands_still_holds_nothing_up(home: Path, simulator: Simulator) -> None:
    """Its queue is full, and nobody reads it."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to,
    ):
        manager.bind(str(home / "notify"))
        to.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                to.sendto(b"x", str(home / "notify"))
        with Service(home=home, env={**env_for(simulator), "NOTIFY_SOCKET": str(home / "notify")}) as service:
            assert service.send(simulator, form(1, "ringing")) == 204
            assert service.terminate() == 0


def test_what_goes_wrong_is_a_record_as_those_of_watch(home: Path, simulator: Simulator) -> None:
    with Service(home=home, env=env_for(simulator)) as service:
        assert service.send(simulator, form(1, "ringing"), signed=False) == 403
        (trouble,) = service.records("trouble")
        assert trouble.keys() == {"v", "type", "cause", "text", "url", "status", "call_sid", "api_url"}
        assert (trouble["cause"], trouble["status"]) == ("refused", 403)


def test_an_error_at_the_start_is_json_too(callctl: Callctl, simulator: Simulator) -> None:
    outcome = callctl("listen", "--json", "--health-host", "127.0.0.1", env=env_for(simulator))
    assert outcome.code == 2
    assert json.loads(outcome.err.splitlines()[-1])["message"] == "--health-host goes with --health-port"


def test_place_finds_it(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as service:
        url = service.ready["callback_url"]
        placed = callctl("place", "+12025550100", "--say", "Hello", env=env)
        assert f"status callbacks go to the running listener, {url}" in placed.err


def test_at_the_port_of_another_it_is_refused(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as service:
        outcome = callctl("listen", "--port", str(service.port), env=env)
        assert outcome.code == 1
        assert f"the port {service.port} is taken by a listener of the same account (process " in outcome.err
        assert "followed" not in outcome.err  # no `listen` follows another one


def test_rest_is_asked_only_where_that_is_wanted(home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service(home=home, env=env) as service:
        assert service.send(simulator, form(1, "ringing")) == 204
        assert service.terminate() == 0
    assert not simulator.requests
    with Service("--poll", home=home, env=env) as service:
        service.until(lambda: bool(simulator.requests))
        assert service.terminate() == 0


def test_what_rules_do_is_in_the_log_and_calls_are_not(callctl: Callctl, home: Path, simulator: Simulator) -> None:
    env = env_for(simulator)
    with Service("--hangup-ringing-after", "1s", home=home, env=env) as service:
        assert service.ready
        sid = callctl("place", "+12025550103", "--say", "Hello", env=env).out.strip()
        (action,) = service.records("action")
        assert (action["call_sid"], action["action"]) == (sid, "cancel")
        assert service.terminate() == 0
        kinds = {json.loads(line)["type"] for line in service.until_said("").splitlines()}
        assert not kinds & {"event", "snapshot"}


# Nothing acknowledged is lost


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_acknowledged_is_there_however_it_ends(home: Path, simulator: Simulator, sent: signal.Signals) -> None:
    env, chance, numbers = env_for(simulator), random.Random(7), itertools.count()
    answered: list[int] = []
    for _ in range(ROUNDS):
        with Service(home=home, env=env) as service:
            sending = Load(service.port, token=simulator.auth_token, numbers=numbers)
            sending.until(chance.randrange(20, 300))
            if sent == signal.SIGTERM:
                assert service.terminate() == 0
            else:
                service.kill()
            sending.end()
        answered += sending.answered
    kept = kept_in(load({"HOME": str(home), **env}, cwd=home))
    assert set(map(call_and_number, answered)) <= kept.keys()
    assert set(kept.values()) == {1}


def test_sigterm_lets_what_is_under_way_be_stored_and_answered(home: Path, simulator: Simulator) -> None:
    codes: list[int] = []
    with Service(home=home, env=env_for(simulator)) as service:
        assert service.send(simulator, form(1, "initiated")) == 204
        with closing(sqlite3.connect(store_of(home), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # nothing can be stored meanwhile
            caller = threading.Thread(target=lambda: codes.append(service.send(simulator, form(1, "ringing"))))
            caller.start()
            service.until(lambda: service.metrics()["callctl_pending_events"] == 1)
            ending = threading.Thread(target=lambda: codes.append(service.terminate()))
            ending.start()
            service.until(lambda: service.ask("/readyz")[0] == 503)
            assert "not taken in" in service.ask("/readyz")[1]
            began = time.monotonic()
            service.until(lambda: time.monotonic() - began > 2 * SHUT_DOWN_LIMIT)  # a watch would not wait so long
            other.execute("ROLLBACK")
        caller.join()
        ending.join()
    assert codes == [204, 0]


def test_sigterm_lets_what_was_acknowledged_be_passed_on(home: Path, simulator: Simulator) -> None:
    """More of it than is under way at one time."""

    def turn(handler: Handler) -> None:
        handler.server.released.wait(LIMIT)
        handler.answer(204, b"", {})

    count, codes = 3 * AT_ONCE, list[int]()
    with Server(turn) as application, Service("--forward-to", application.url, home=home, env=env_for(simulator)) as on:
        for call in range(count):
            assert on.send(simulator, form(call, "ringing")) == 204
        ending = threading.Thread(target=lambda: codes.append(on.terminate()))
        ending.start()
        on.until(lambda: on.ask("/readyz")[0] == 503)
        application.released.set()
        ending.join()
        assert len(application.received) == count
        assert '"note", "text": "→' not in on.until_said("")
    assert codes == [0]


def test_the_log_has_what_an_application_did_not_take_at_first_and_took_then(home: Path, simulator: Simulator) -> None:
    with (
        Server(reply(503), reply(204)) as application,
        Service("--forward-to", f"{application.url}/app", home=home, env=env_for(simulator)) as service,
    ):
        for number, status in enumerate(("ringing", "completed")):
            assert service.send(simulator, form(1, status, number=number)) == 204
        (taken,) = service.records("forwarded")
        (trouble,) = service.records("trouble")
        service.until(lambda: service.metrics()['callctl_forwarded_total{outcome="taken"}'] == 2)
        assert service.terminate() == 0
        assert service.until_said("").count('"type": "forwarded"') == 1  # nothing is said of what went well
    assert (trouble["cause"], trouble["status"], trouble["reason"]) == ("forward", 503, "HTTP 503")
    assert (trouble["event"], trouble["attempt"], trouble["kept"]) == ("ringing", 1, False)
    assert (taken["url"], taken["event"], taken["attempt"]) == (f"{application.url}/app", "ringing", 2)


def test_of_two_listeners_on_one_store_each_passes_on_what_it_took_in(
    home: Path, simulator: Simulator, shared_store: str
) -> None:
    env = {**env_for(simulator), "CALLCTL_STORE": shared_store}
    with (
        Server(reply(204)) as one,
        Server(reply(204)) as other,
        Service("--forward-to", one.url, home=home, env=env) as first,
        Service("--forward-to", other.url, "--forward-to", other.url, home=home, env=env) as second,
    ):
        for call, service in enumerate((first, second, first)):
            assert service.send(simulator, form(call, "ringing")) == 204
        for service, number in ((first, 2), (second, 1)):  # a URL that is named twice counts once
            service.until(lambda: service.metrics()['callctl_forwarded_total{outcome="taken"}'] == number)  # noqa: B023
    assert sorted(dict(request.form)["CallSid"] for request in one.received) == [sid(0), sid(2)]
    assert [dict(request.form)["CallSid"] for request in other.received] == [sid(1)]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["127.0.0.1:5000"], "--forward-to is not an http or https address"),
        (["http://127.0.0.1:8123/status"], "--forward-to leads back to this watch"),
        (["https://example.com/", "--forward-insecure"], "--forward-insecure goes with"),
    ],
)
def test_each_url_to_forward_to_is_checked(callctl: Callctl, simulator: Simulator, more: list[str], what: str) -> None:
    fine = ("--port", "8123", "--forward-to", "http://127.0.0.1:5000/", "--forward-to")
    for command in ("watch", "listen"):
        outcome = callctl(command, *fine, *more, env=env_for(simulator))
        assert outcome.code == 2
        assert what in outcome.err


# The monitoring port


@pytest.mark.parametrize("form_of_log", [[], ["--json"]])
def test_it_goes_on_where_nobody_reads_its_log_any_more(
    home: Path, simulator: Simulator, form_of_log: list[str]
) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}/status"
    command = [*CALLCTL, "listen", "--port", str(port), *form_of_log]
    environ = environment(home, env_for(simulator))

    def post(number: int, *, signed: bool) -> int:
        fields = form(1, "ringing", number=number)
        signature = signature_of(url, list(fields.items()), key=simulator.auth_token)
        headers = {"X-Twilio-Signature": signature} if signed else {}
        return get(url, data=urlencode(fields).encode(), headers=headers)[0]

    with subprocess.Popen(command, cwd=home, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as service:
        try:
            assert service.stderr is not None
            while b"statusCallbackMethod" not in (line := service.stderr.readline()) and b'"ready"' not in line:
                assert line, "it ended"
            service.stderr.close()
            for number in range(5):
                assert post(number, signed=False) == 403  # of which the log has a line
                assert post(number, signed=True) == 204
                time.sleep(0.3)  # more than a frame: the log is written meanwhile
            assert service.poll() is None
        finally:
            service.terminate()
            assert service.wait(LIMIT) == 0


def test_it_is_alive_and_ready(home: Path, simulator: Simulator) -> None:
    with Service(home=home, env=env_for(simulator)) as service:
        assert service.ask("/healthz")[0] == 200
        code, text = service.ask("/readyz")
        assert (code, json.loads(text)["last_commit_at"]) == (200, None)
        assert service.send(simulator, form(1, "ringing")) == 204
        code, text = service.ask("/readyz")
        assert code == 200
        last = json.loads(text)["last_commit_at"]
        assert last.endswith("Z")
        assert service.ask("/")[0] == 404
    with Service(home=home, env=env_for(simulator)) as again:
        known = json.loads(again.ask("/readyz")[1])["last_commit_at"]
        assert known.endswith("Z")
        assert known <= last  # as what came last was received, which was before its commit
        assert again.metrics()["callctl_last_commit_timestamp_seconds"] > 0


def test_it_is_not_ready_while_the_store_cannot_be_written(home: Path, simulator: Simulator) -> None:
    with Service(home=home, env=env_for(simulator)) as service:
        assert service.ask("/readyz")[0] == 200
        with closing(sqlite3.connect(store_of(home), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            service.until(lambda: service.ask("/readyz")[0] == 503)
            assert "the event store" in json.loads(service.ask("/readyz")[1])["why"]
            assert service.ask("/healthz")[0] == 200
            other.execute("ROLLBACK")
        service.until(lambda: service.ask("/readyz")[0] == 200)


def test_the_metrics_equal_what_was_sent(home: Path, simulator: Simulator) -> None:
    with Service(home=home, env=env_for(simulator)) as service:
        for call in range(3):
            for number, status in enumerate(("initiated", "ringing")):
                assert service.send(simulator, form(call, status, number=number)) == 204
        assert service.send(simulator, form(0, "completed", number=2)) == 204
        for _ in range(4):
            assert service.send(simulator, form(1, "ringing", number=1)) == 204
        assert service.send(simulator, form(1, "busy"), signed=False) == 403
        assert service.send(simulator, form(1, "busy"), path="/elsewhere") == 404
        service.until(lambda: service.metrics()["callctl_live_legs"] == 2)  # the board follows the answers
        found = service.metrics()
        assert {name: value for name, value in found.items() if name.startswith("callctl_events_total")} == {
            'callctl_events_total{kind="callback",status="initiated"}': 3,
            'callctl_events_total{kind="callback",status="ringing"}': 3,
            'callctl_events_total{kind="callback",status="completed"}': 1,
        }
        assert found["callctl_duplicates_total"] == 4
        assert found['callctl_answers_total{code="204"}'] == 11
        assert found['callctl_answers_total{code="403"}'] == found['callctl_refusals_total{cause="unsigned"}'] == 1
        assert found['callctl_answers_total{code="404"}'] == found['callctl_refusals_total{cause="path"}'] == 1
        assert found["callctl_commit_events_sum"] == 11
        assert found["callctl_commit_seconds_count"] == found["callctl_commit_events_count"] == 11
        assert found["callctl_pending_events"] == found["callctl_open_claims"] == 0
        assert found["callctl_reachable"] == 1


def test_without_the_library_there_are_no_metrics(home: Path, simulator: Simulator) -> None:
    (home / "prometheus_client.py").write_text("raise ImportError")
    with Service(home=home, env={**env_for(simulator), "PYTHONPATH": str(home)}) as service:
        code, text = service.ask("/metrics")
        assert code == 404
        assert "pip install 'callctl[metrics]'" in text
        assert service.ask("/readyz")[0] == 200
