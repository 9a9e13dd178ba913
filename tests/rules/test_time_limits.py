"""Answers at the very limit: with ``canceled``, no call that was answered is ended."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from playing import seconds
from running import EACH_READING
from staging import LONG, Stage, a_stage
from turning import TurnedStage, a_turned_stage

from callctl.calls.action import DONE, LATE
from callctl.rules.rate_limit import RateLimit
from callctl.rules.rule import Cancel, ring_limit_rule
from callctl.simulator.far_end import FarEnd

# A thousand runs for each reading, in parts that several processes can share.
PARTS = 4
RUNS = 1000 // PARTS
UNLIMITED = 10**6


class Dialler:
    """Places calls over one connection, without all that the API client checks: a thousand of them are needed."""

    def __init__(self, stage: Stage) -> None:
        simulator = stage.simulator
        self._path = f"/2010-04-01/Accounts/{simulator.account_sid}/Calls.json"
        self._connection = HTTPConnection(urlsplit(simulator.url).netloc)
        word = b64encode(f"{simulator.account_sid}:{simulator.auth_token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {word}", "Content-Type": "application/x-www-form-urlencoded"}
        told = [("StatusCallbackEvent", event) for event in ("ringing", "answered", "completed")]
        self._form = [("From", "+15005550006"), ("Twiml", LONG), ("StatusCallback", f"{stage.site.url}/status"), *told]

    def place(self, to: str) -> str:
        self._connection.request("POST", self._path, urlencode([*self._form, ("To", to)]), self._headers)
        return str(json.loads(self._connection.getresponse().read())["sid"])

    def close(self) -> None:
        self._connection.close()


def far_ends(count: int, *, earliest: float, latest: float, seed: int = 7) -> dict[str, FarEnd]:
    chance = random.Random(seed)
    return {f"+1202555{number:04d}": FarEnd(after=chance.uniform(earliest, latest)) for number in range(count)}


def check(stage: Stage, sids: Sequence[str]) -> None:
    """See that each call was answered or ended, none of them both, and that both happened."""
    answered = {heard.leg for heard in stage.simulator.callbacks if heard.event == "answered"}
    ended = {heard.leg for heard in stage.simulator.callbacks if heard.event == "completed"}
    assert answered | ended == set(sids)
    assert not answered & ended
    assert answered
    assert ended
    assert {stage.client.fetch(sid).status for sid in sorted(answered)[:10]} == {"in-progress"}
    assert {event.result for event in stage.events} <= {DONE, LATE}
    assert stage.sent("Status", "completed") == []


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("readings", EACH_READING, ids=str)
def test_no_call_that_was_answered_is_ended(tmp_path: Path, readings: Sequence[str], part: int) -> None:
    """Answers and requests take a while, by chance, so that many answers come between the look and the request."""
    numbers = far_ends(RUNS, earliest=1.8, latest=3.2, seed=part)
    with a_turned_stage(tmp_path, TurnedStage, far_end=numbers, readings=readings) as stage:
        stage.latency = 0.3
        stage.act(
            ring_limit_rule(seconds(2), cancel=Cancel()),
            rate_limit=RateLimit(per_second=UNLIMITED, per_minute=UNLIMITED),
        )
        dialler = Dialler(stage)
        sids = []
        for number in numbers:
            sids.append(dialler.place(number))
            stage.go_on(0.5)
        dialler.close()
        stage.settle(5)
        check(stage, sids)
        asked = set(stage.sent("Status", "canceled"))
        answered = {sid for sid in sids if stage.status(sid) == "in-progress"}
        assert {event.result for event in stage.events} == {DONE, LATE}
        assert len(asked & answered) > RUNS / 50  # they were asked for just when they had been answered


def test_no_call_that_was_answered_is_ended_by_many_threads_at_once(tmp_path: Path) -> None:
    # Ringing begins 20 ms after the call; the limit, rounded up by the resolution of a Timestamp, is a second.
    numbers = far_ends(150, earliest=20 * 0.7, latest=20 * 1.6)
    with a_stage(tmp_path, far_end=numbers) as stage:
        stage.act(
            ring_limit_rule(seconds(0), cancel=Cancel()),
            rate_limit=RateLimit(per_second=UNLIMITED, per_minute=UNLIMITED),
        )
        sids = []
        for number in numbers:
            sids.append(stage.place(number))
            stage.look()
        stage.until(lambda: all(stage.status(sid) in ("in-progress", "canceled") for sid in sids))
        stage.settle(1.0)
        check(stage, sids)
        assert stage.events
