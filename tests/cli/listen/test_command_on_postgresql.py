"""``callctl listen`` on a PostgreSQL that is killed and comes back, with a watch beside it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from events import form
from postgresql_server import PostgresServer, postgres_server
from processes import Piped
from running import Callctl, env_for
from services import Service

from callctl.settings import load
from callctl.simulator import Simulator
from callctl.store.opening import open_store


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def test_it_is_not_ready_while_the_server_is_away_and_goes_on_by_itself(
    home: Path, simulator: Simulator, server: PostgresServer
) -> None:
    env = env_for(simulator) | {"CALLCTL_STORE": server.new_store()}
    with Service(home=home, env=env) as service:
        assert service.ask("/readyz")[0] == 200
        assert service.send(simulator, form(1, "initiated", number=0)) == 204
        with Piped("watch", "--no-poll", "--json", home=home, env=env) as watch:
            assert watch.record()["follows"]
            assert watch.record()["type"] == "snapshot"
            server.kill()
            service.until(lambda: service.ask("/readyz")[0] == 503)
            assert service.send(simulator, form(1, "ringing", number=1)) == 503
            assert service.ask("/healthz")[0] == 200
            assert "callctl_open_claims" not in service.metrics()  # it can't be read
            server.start()
            service.until(lambda: service.ask("/readyz")[0] == 200)
            service.until(lambda: service.send(simulator, form(1, "ringing", number=1)) == 204)
            seen = next(record for record in map(json.loads, watch.lines()) if record["type"] == "event")
            assert seen["status"] == "ringing"
        found = service.metrics()
        assert found['callctl_answers_total{code="503"}'] >= 1
        assert found["callctl_open_claims"] == 0
        assert sum(value for name, value in found.items() if name.startswith("callctl_events_total")) == 2
        assert service.terminate() == 0


@pytest.fixture
def service(tmp_path: Path, simulator: Simulator, shared_store: str) -> Iterator[Service]:
    """Return a listener of another user of this machine, which has announced itself in the shared store."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    env = env_for(simulator) | {"CALLCTL_STORE": shared_store}
    with Service(home=theirs, env=env) as service, closing(open_store(load(env, cwd=theirs))) as store:
        assert service.ready
        service.until(lambda: bool(store.announced()))
        yield service


def test_another_user_of_the_machine_follows_it_and_has_calls_report_to_it(
    callctl: Callctl, home: Path, simulator: Simulator, shared_store: str, service: Service
) -> None:
    env = env_for(simulator) | {"CALLCTL_STORE": shared_store}
    for at_port in ((), ("--port", str(service.port))):
        with Piped("watch", "--no-poll", "--json", *at_port, home=home, env=env) as watch:
            ready = watch.record()
            assert (ready["follows"] is not None, ready["callback_url"]) == (True, service.ready["callback_url"])
    placed = callctl("place", "+12025550103", "--say", "Hello", env=env)
    assert f"status callbacks go to the running listener, {service.ready['callback_url']}" in placed.err
    service.until(lambda: 'callctl_events_total{kind="callback",status="initiated"}' in service.metrics())
    examined = callctl("doctor", env=env)
    assert examined.code == 0
    where = f"{service.port} of {socket.gethostname()} (process "
    assert f"a listener of this account listens at {where}" in examined.out
    assert "a signed request came back in" in examined.out
