"""A break of the network while something is waited for: it is said once, and waited out."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from api.scripted import ReceivedRequest, Server, Turn, call, drop, reply
from running import Callctl, Outcome

from callctl.api.retries import TRIES

SID = "CA" + "1" * 32
RINGS, ENDED = call(SID, status="ringing"), call(SID, status="completed")
ANSWERED = call(SID, status="in-progress")
LONG = ("--wait-timeout", "10m")
ROUNDS = 2  # of questions that fail, each with all its repeats
DENIED = reply(401, {"code": 20003, "message": "Authenticate", "status": 401})

WAITING = [
    pytest.param(["wait", SID, "--for", "ended"], ENDED, id="wait"),
    pytest.param(["place", "+12025550100", "--url", "https://example.com/x", "--wait-for", "ended"], ENDED, id="place"),
    pytest.param(["redirect", SID, "--url", "https://example.com/x", "--when", "answered"], ANSWERED, id="redirect"),
    pytest.param(["hangup", SID, "--wait"], ENDED, id="hangup"),
]


class Outage(Server):
    """Answers a first question, breaks off what is asked then, for some time, and answers again."""

    def __init__(self, *, then: object, broken: Turn = drop(), rounds: int = ROUNDS) -> None:  # noqa: B008 - no state
        super().__init__(reply(404))
        self._then, self._broken = then, broken
        self._failures = TRIES * rounds
        self._reads = 0

    def take(self, request: ReceivedRequest) -> Turn:
        super().take(request)
        if request.method == "POST":
            return reply(200, RINGS)
        self._reads += 1
        if self._reads == 1:
            return reply(200, RINGS)
        if self._failures:
            self._failures -= 1
            return self._broken
        return reply(200, self._then)

    def run(self, callctl: Callctl, args: Sequence[str]) -> Outcome:
        env = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "fake", "CALLCTL_API_URL": self.url}
        return callctl(*args, env={**env, "CALLCTL_FROM": "+15005550006"}, back_off=lambda _seconds: None)


@pytest.mark.parametrize("limit", [(), LONG], ids=["without limit", "with a limit"])
@pytest.mark.parametrize(("args", "then"), WAITING)
def test_it_is_waited_out_and_reported_once(
    callctl: Callctl, args: list[str], then: object, limit: tuple[str, ...]
) -> None:
    with Outage(then=then) as server:
        outcome = server.run(callctl, [*args, *limit])
    assert outcome.code == 0, outcome.err
    said = [line for line in outcome.err.splitlines() if "trying again" not in line]
    warnings = [line for line in said if "broke before the whole answer came" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith("; the request is repeated until the API answers, or the time is over")
    assert said.count("callctl: the API answers again") == 1
    # The repetition of a request is reported as long as it is not known that nothing answers.
    assert outcome.err.count("trying again") == TRIES - 1


@pytest.mark.parametrize("broken", [reply(503), reply(429)])
def test_so_is_a_fault_of_the_servers_own(callctl: Callctl, broken: Turn) -> None:
    for args in (["wait", SID, "--for", "ended"], ["hangup", SID, "--wait"]):
        with Outage(then=ENDED, broken=broken) as server:
            assert server.run(callctl, args).code == 0


@pytest.mark.parametrize(("args", "then"), WAITING)
def test_credentials_that_are_refused_end_it_at_once(callctl: Callctl, args: list[str], then: object) -> None:
    with Outage(then=then, broken=DENIED, rounds=100) as server:
        outcome = server.run(callctl, [*args, *LONG])
        assert sum(request.method == "GET" for request in server.received) == 2
    assert outcome.code == 4


def test_an_api_that_never_answered_is_not_waited_for_without_a_limit(callctl: Callctl) -> None:
    with Server(drop()) as server:
        outcome = Outage.run(server, callctl, ["wait", SID, "--for", "ended"])  # type: ignore[arg-type]
        assert len(server.received) == TRIES
    assert outcome.code == 6
    with Server(drop()) as server:
        limited = ["wait", SID, "--for", "ended", "--wait-timeout", "700ms"]
        outcome = Outage.run(server, callctl, limited)  # type: ignore[arg-type]
        assert len(server.received) > TRIES
    assert outcome.code == 9
    assert f"{SID} is not known to be ended after 0.7 s; the API has not answered since" in outcome.err


class Listing(Outage):
    """Lists one call, then breaks off, then lists none."""

    def take(self, request: ReceivedRequest) -> Turn:
        Server.take(self, request)
        if request.method == "POST":
            self._reads = 1
            return reply(200, ENDED)
        if self._reads and self._failures:
            self._failures -= 1
            return self._broken
        calls = [] if self._reads or ("Status", "ringing") not in request.query else [RINGS]
        return reply(200, {"calls": calls, "next_page_uri": None})


def test_until_none_goes_on_after_it(callctl: Callctl) -> None:
    args = ["hangup", "--all", "--yes", "--max", "5", "--until-none", *LONG]
    with Listing(then=None, rounds=3 * ROUNDS) as server:  # one question for each live status
        outcome = server.run(callctl, args)
        assert not server._failures
    assert (outcome.code, outcome.out) == (0, f"{SID}\tcompleted\tended\n")
    assert outcome.err.count("repeated until the API answers") == 1
    with Listing(then=None, broken=DENIED, rounds=100) as server:
        assert server.run(callctl, args).code == 4


def test_json_has_the_outcome_alone_on_stdout(callctl: Callctl) -> None:
    with Outage(then=ENDED) as server:
        outcome = server.run(callctl, ["wait", SID, "--for", "ended", "--json", *LONG])
    assert json.loads(outcome.out)["reached"] is True
