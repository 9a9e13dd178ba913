"""Two listeners with rules, two watches and one PostgreSQL: one of them is killed, stopped or cut off at a time.

Callbacks come over both listeners as from a load balancer, and each real call's over both at once. In the end nothing
that was acknowledged is lost or doubled, no action was done twice, and both watches have shown the same.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlencode

import pytest
from events import form
from fork_server import Forked
from paths import TESTS
from postgresql_server import PostgresServer, postgres_server
from processes import LIMIT, Piped
from running import Callctl, env_for
from services import Service
from web_site import free_port

from callctl.calls.action import DONE
from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.postgresql.store import PostgresStore
from callctl.watch.listener.signature import signature_of

ROUNDS = int(os.environ.get("CALLCTL_FLEET_ROUNDS", "10"))  # before a release 200
RULES = ("--hangup-ringing-after", "1s", "--all-calls")
RINGS = "+12025550103"
_SENDERS = 4


class Balancer:
    """Sends callbacks to the one or the other of two listeners, and to the other where one gives no answer of 204."""

    def __init__(self, ports: tuple[int, int], *, token: str) -> None:
        self._ports, self._token = ports, token
        self.acknowledged: set[tuple[str, str]] = set()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stopping, self._giving_up = threading.Event(), False
        self._threads = [threading.Thread(target=self._send_many, args=(number,)) for number in range(_SENDERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, give_up: bool = False) -> None:
        """Send no more events; return once each that was sent is acknowledged, or without that."""
        self._stopping.set()
        self._giving_up = give_up
        for thread in self._threads:
            thread.join()

    def until_more(self, count: int) -> None:
        """Return once so many more events are acknowledged."""
        goal = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= goal)

    def _send_many(self, first: int) -> None:
        while not self._stopping.is_set():
            with self._lock:
                number = next(self._numbers)
            status = ("initiated", "ringing", "in-progress", "completed")[number % 4]
            self.send(form(f"CA-load-{number // 4:08d}", status, number=number % 4), first=first)
            self._stopping.wait(0.01)

    def send(self, fields: dict[str, str], *, first: int) -> None:
        for attempt in itertools.count(first):
            if self._giving_up or self.send_once(fields, self._ports[attempt % 2]):
                return
            time.sleep(0.05)

    def send_once(self, fields: dict[str, str], port: int) -> bool:
        url = f"http://127.0.0.1:{port}/status"
        headers = {"X-Twilio-Signature": signature_of(url, list(fields.items()), key=self._token)}
        request = urllib.request.Request(url, data=urlencode(fields).encode(), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                if answer.status != 204:
                    return False
        except (OSError, HTTPException, urllib.error.HTTPError):
            return False
        with self._lock:
            self.acknowledged.add((fields["CallSid"], fields["CallStatus"]))
        return True


def until(condition: Callable[[], bool], *, limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Fleet:
    """The processes, by number."""

    def __init__(self, server: PostgresServer, simulator: Simulator, home: Path) -> None:
        self.server, self.simulator, self.home = server, simulator, home
        self.env = {**env_for(simulator), "CALLCTL_STORE": server.new_store()}
        self.ports = (free_port(), free_port())
        # The first listener's way to the server, on which nothing comes through while a file is there.
        self.cut = home / "cut"
        command = [sys.executable, str(TESTS / "relay.py"), str(server.port), "hold-while", str(self.cut)]
        self.relay = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.relay.stdout is not None
        self._way = self.relay.stdout.readline().strip().rpartition(":")[2]
        self.listeners = [self._listener(number) for number in (0, 1)]
        for listener in self.listeners:
            assert listener.ready
        self.watches = [Watch(home, self.env) for _ in (0, 1)]

    def _listener(self, number: int) -> Service:
        store = self.env["CALLCTL_STORE"].replace(f":{self.server.port}/", f":{self._way}/")
        env = self.env if number else {**self.env, "CALLCTL_STORE": store}
        return Service(*RULES, home=self.home, env=env, port=self.ports[number])

    def say(self) -> str:
        """Return what listeners and watches have said, with where each of their threads stands now."""
        processes = [*self.listeners, *(watch.process for watch in self.watches)]
        for process in processes:
            if isinstance(process._process, Forked):
                process._process.send_signal(signal.SIGUSR2)  # tests/fork_server.py
        time.sleep(1)  # for what is only read by who looks for a fault
        return "\n".join(f"{process._talk.name}:\n{process.said}" for process in processes)

    def restart(self, number: int) -> None:
        self.listeners[number].__exit__(None, None, None)
        self.listeners[number] = self._listener(number)
        assert self.listeners[number].ready

    def close(self) -> None:
        for listener in self.listeners:
            listener.__exit__(None, None, None)
        for watch in self.watches:
            watch.close()
        self.relay.kill()
        self.relay.communicate()


class Watch:
    """A ``callctl watch`` that follows, and what it has shown."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.process = Piped("watch", "--json", home=home, env=env)
        self.shown: Counter[tuple[str, str]] = Counter()
        assert self.process.record()["type"] == "ready"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        self.process.kill()
        self._reader.join()  # it has read to the end
        self.process.__exit__(None, None, None)

    def _read(self) -> None:
        for line in self.process.lines():
            record = json.loads(line)
            if record["type"] == "event":
                self.shown[record["call_sid"], record["status"]] += 1


@contextmanager
def fleet_of(server: PostgresServer, simulator: Simulator, home: Path) -> Iterator[Fleet]:
    fleet = Fleet(server, simulator, home)
    with ExitStack() as stack:
        stack.callback(fleet.close)
        yield fleet


def kill_a_listener(fleet: Fleet, balancer: Balancer) -> None:
    fleet.listeners[0].kill()
    balancer.until_more(30)
    fleet.restart(0)


def end_a_listener(fleet: Fleet, balancer: Balancer) -> None:
    assert fleet.listeners[1].terminate() == 0
    balancer.until_more(30)
    fleet.restart(1)


def stop_a_listener(fleet: Fleet, balancer: Balancer) -> None:
    fleet.listeners[0]._process.send_signal(signal.SIGSTOP)
    balancer.until_more(5)
    fleet.listeners[0].go_on()


def kill_the_server(fleet: Fleet, balancer: Balancer) -> None:
    fleet.server.kill()
    fleet.server.start()
    balancer.until_more(30)


def stop_the_server(fleet: Fleet, balancer: Balancer) -> None:
    fleet.server.signal_all(signal.SIGSTOP)
    time.sleep(0.5)  # in which nothing can be acknowledged, whether or not anybody notices
    fleet.server.signal_all(signal.SIGCONT)
    balancer.until_more(30)


def cut_a_listener_off(fleet: Fleet, balancer: Balancer) -> None:
    troubles = fleet.listeners[0].said.count("looking for it")
    fleet.cut.touch()
    until(lambda: fleet.listeners[0].said.count("looking for it") > troubles)
    balancer.until_more(30)
    fleet.cut.unlink()
    balancer.until_more(30)


FAULTS = (kill_a_listener, kill_the_server, stop_a_listener, cut_a_listener_off, stop_the_server, end_a_listener)


@pytest.mark.timeout(600 + 60 * ROUNDS)
def test_a_fleet_loses_and_doubles_nothing_whatever_is_killed_stopped_or_cut_off(
    simulator: Simulator, home: Path, callctl: Callctl
) -> None:
    with postgres_server() as server, fleet_of(server, simulator, home) as fleet:
        balancer = Balancer(fleet.ports, token=simulator.auth_token)
        balancer.start()
        calls = []
        try:
            for number in range(ROUNDS):
                placed = callctl("place", RINGS, "--say", "Hello", "--status-callback", "none", env=fleet.env)
                assert placed.code == 0, placed.err
                calls.append(placed.out.strip())
                rings = form(calls[-1], "ringing", number=1, Timestamp=_now())
                for first in (0, 1):  # Twilio repeats, and a balancer sends it elsewhere
                    balancer.send(rings, first=first)
                FAULTS[number % len(FAULTS)](fleet, balancer)
        except BaseException:
            print(fleet.say())  # noqa: T201 - what pytest shows where it failed
            balancer.stop(give_up=True)
            raise
        balancer.stop()
        with closing(PostgresStore.open(fleet.env["CALLCTL_STORE"], world=load(fleet.env, cwd=home).world)) as store:
            stored = Counter((one.call_sid, one.status) for one in store.replay(since=None) if one.kind == "callback")
            assert stored == Counter(dict.fromkeys(balancer.acknowledged, 1))
            for watch in fleet.watches:
                until(lambda watch=watch: set(watch.shown) >= set(stored))  # type: ignore[misc]
                assert {key: count for key, count in watch.shown.items() if key in stored} == stored
            # A listener that was killed between its claim and its request leaves that to another one, 90 s later.
            # A call that ended by itself meanwhile needs no request, and has an action that says so.
            until(lambda: all(store.all_actions(sid) for sid in calls) and store.open_claims() == 0, limit=300)
            done = {sid: [action.result for action in store.all_actions(sid)] for sid in calls}
        assert all(len(results) == 1 for results in done.values()), done
        # What ends a call may be sent again where the one who sent it was killed before it recorded that.
        requests = {sid: len([one for one in _hangups(simulator) if sid in one]) for sid in calls}
        assert all(requests[sid] == 1 for sid in calls if done[sid] == [DONE]), (requests, done)


def _now() -> str:
    from datetime import UTC, datetime
    from email.utils import format_datetime

    return format_datetime(datetime.now(UTC))


def _hangups(simulator: Simulator) -> list[str]:
    return [one.path for one in simulator.requests if one.form.get("Status")]
