"""The machine is suspended while a command waits: the time that it slept counts."""

from __future__ import annotations

import time

import pytest
from api.scripted import ReceivedRequest, Server, Turn, call, reply
from running import Callctl

SID = "CA" + "1" * 32
HALF_AN_HOUR = 1800.0
LOOKS = 20  # so many pauses are enough after the machine has slept


class Ringing(Server):
    """Has one call, which rings on whatever is asked of it."""

    def __init__(self) -> None:
        super().__init__(reply(404))

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        if request.path.endswith("/Calls.json") and request.method == "GET":
            is_listed = ("Status", "ringing") in request.query
            calls = [call(SID, status="ringing")] if is_listed else []
            return reply(200, {"calls": calls, "next_page_uri": None})
        return reply(201 if request.path.endswith("/Calls.json") else 200, call(SID, status="ringing"))


@pytest.fixture(autouse=True)
def suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine be suspended for an hour at the first pause; only clocks that go on then show it."""
    pauses = 0
    own_sleep, own_clock = time.sleep, time.clock_gettime
    steady = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def sleep(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        assert pauses < LOOKS, "it waits on after the machine has woken"
        own_sleep(0.001)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: own_clock(clock) + (2 * HALF_AN_HOUR if pauses and clock == steady else 0)
    )


@pytest.mark.parametrize(
    "command",
    [
        ("wait", SID, "--for", "ended", "--wait-timeout", "30m"),
        ("hangup", SID, "--wait", "--wait-timeout", "30m"),
        ("hangup", "--all", "--yes", "--max", "5", "--until-none", "--wait-timeout", "30m"),
        ("redirect", SID, "--url", "https://example.com/x", "--when", "answered", "--wait-timeout", "30m"),
        (
            *("place", "+12025550103", "--say", "hi", "--status-callback", "none"),
            *("--wait-for", "ended", "--wait-timeout", "30m"),
        ),
    ],
    ids=lambda command: " ".join(command[:1] + command[-3:-2]),
)
def test_time_in_suspension_counts_for_a_limit(callctl: Callctl, command: tuple[str, ...]) -> None:
    with Ringing() as server:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": server.url}
        outcome = callctl(*command, env=env | {"CALLCTL_FROM": "+15005550006"})
    assert outcome.code == 9, outcome.err
