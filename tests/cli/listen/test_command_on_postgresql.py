"""``callctl listen`` on a PostgreSQL that is killed and comes back, with a watch beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from events import form
from postgresql_server import PostgresServer, postgres_server
from processes import Piped
from running import env_for
from services import Service

from callctl.simulator import Simulator


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
