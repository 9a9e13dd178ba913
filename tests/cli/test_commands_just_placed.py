"""The commands about a call that was placed just now, which REST does not know yet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from api.scripted import ReceivedRequest, Server, Turn, call, reply
from running import Callctl, Outcome

SID = "CA" + "1" * 32
COMMANDS = [
    ("wait", "--for", "answered"),
    ("hangup",),
    ("hangup", "--family"),
    ("redirect", "--url", "https://example.com/survey"),
    ("redirect", "--url", "https://example.com/survey", "--when", "answered"),
    ("show", "--columns", "sid"),
]
EACH_COMMAND = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


class Lagging(Server):
    """Places a call, and does not know it for the first ``unknown`` requests about it."""

    def __init__(self) -> None:
        super().__init__(reply(404))
        self.unknown = 0

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        if request.method == "POST" and request.path.endswith("/Calls.json"):
            return reply(201, call(SID, status="queued"))
        if "/Calls/" not in request.path:
            return reply(200, {"calls": [], "next_page_uri": None})
        if self.unknown:
            self.unknown -= 1
            return reply(404, {"code": 20404, "message": "no such call", "status": 404})
        return reply(200, call(SID, status="completed" if ("Status", "completed") in request.form else "in-progress"))

    def run(self, callctl: Callctl, *args: str, after: float = 0.0) -> Outcome:
        """Run a command by a clock that is ``after`` seconds ahead; it does not wait between two tries."""
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": self.url}
        env["CALLCTL_FROM"] = "+15005550006"
        return callctl(*args, env=env, now=lambda: datetime.now(UTC) + timedelta(seconds=after))


@pytest.fixture
def server(callctl: Callctl) -> Iterator[Lagging]:
    with Lagging() as server:
        placed = server.run(callctl, "place", "+12025550100", "--say", "x", "--status-callback", "none")
        assert placed.code == 0, placed.err
        yield server


@EACH_COMMAND
def test_a_call_that_was_placed_just_now_is_requested_until_rest_knows_it(
    callctl: Callctl, server: Lagging, command: tuple[str, ...]
) -> None:
    server.unknown = 2
    name, *options = command
    outcome = server.run(callctl, name, "@last", *options)
    assert outcome.code == 0, outcome.err
    assert server.unknown == 0
    assert outcome.err.count(f"the API does not know {SID} yet, which was placed just now") == 1


@EACH_COMMAND
def test_a_call_that_was_placed_a_while_ago_is_not_found_at_once(
    callctl: Callctl, server: Lagging, command: tuple[str, ...]
) -> None:
    server.unknown = 100
    name, *options = command
    outcome = server.run(callctl, name, SID, *options, after=60)
    assert outcome.code == 3, outcome.err
    assert "placed just now" not in outcome.err
