"""JSON bodies: which are read, and what is said of the others."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator.setup import ANSWERS, FROM, SimulatorSetup, simulator_setup

from callctl.simulator.errors import ControlError
from callctl.simulator.rest import requests
from callctl.simulator.rest.control.body import Body

OPERATIONS = ("/calls", "/calls/CA0/answer", "/calls/CA0/press", "/far-ends", "/advance", "/reset", "/seed")


async def post(setup: SimulatorSetup, path: str, body: bytes, **headers: str) -> tuple[int, str]:
    """Send a body as it is; return the status and the message."""
    url = f"{setup.sim.url}/simulator{path}"
    async with setup.session.post(url, data=body, headers=headers) as reply:
        answer = await reply.json()
        return reply.status, answer.get("message", "")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
async def test_its_content_type_does_not_matter(setup: SimulatorSetup, kind: str) -> None:
    body = json.dumps({"address": ANSWERS, "outcome": "busy"}).encode()
    assert (await post(setup, "/far-ends", body, **{"Content-Type": kind}))[0] == 200
    assert setup.sim.far_ends[ANSWERS].outcome == "busy"


@pytest.mark.parametrize("path", OPERATIONS)
@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"To=+12025550100", 400, "the body is no JSON"),
        (b"{", 400, "the body is no JSON"),
        (b"\xff", 400, "the body is no JSON"),
        (b"[" * 60_000, 400, "the body is no JSON"),
        (b'{"to": "\\u0000"}', 400, "the body is no JSON: a NUL character"),
        (b'{"to": "\\ud800"}', 400, "the body is no JSON"),
        (b"[]", 400, "must be a"),
        (b'{"colour": 1}', 400, "unknown key"),
        (b" " * 70_000, 413, "the body is longer than 64 KiB"),
    ],
)
async def test_one_that_can_not_be_read(
    setup: SimulatorSetup, path: str, body: bytes, status: int, message: str
) -> None:
    got, said = await post(setup, path, body)
    assert (got, message in said) == (status, True), said
    assert setup.sim.simulated_seconds() == 0


async def test_one_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.05)
    async with simulator_setup() as setup:

        async def slowly() -> object:
            yield b"{"
            import asyncio

            await asyncio.sleep(30)

        async with setup.session.post(f"{setup.sim.url}/simulator/reset", data=slowly()) as reply:
            assert (reply.status, (await reply.json())["message"]) == (408, "the body did not come within 0.05 s")


async def test_one_that_is_not_encoded_as_its_headers_say(setup: SimulatorSetup) -> None:
    status, message = await post(setup, "/reset", b"{}", **{"Content-Encoding": "gzip"})
    assert (status, message) == (400, "the body is not encoded as its headers say")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/calls", {"to": 5, "from": FROM}, "to in the body is 5: expected a text"),
        ("/calls", {"to": FROM, "from": FROM, "parameters": {"a": 1}}, "parameters in the body is"),
        ("/calls", {"time_limit": "9"}, 'time_limit in the body is "9": expected a whole number'),
        ("/calls", {"time_limit": True}, "time_limit in the body is true: expected a whole number"),
        ("/calls", {"twilm": "<Response/>"}, "'twilm': unknown key in the body; known are to, from, url"),
        ("/calls/CA0/press", {}, "digits is missing in the body: expected a text"),
        ("/calls/CA0/press", {"digits": 1}, "digits in the body is 1: expected a text"),
        ("/calls/CA0/answers", {"answers": [1]}, "answers in the body is [1]: expected a list of texts"),
        ("/advance", {}, 'give either {"seconds": 90} or {"until"'),
        ("/advance", {"seconds": 1, "until": {}}, 'give either {"seconds": 90} or {"until"'),
        ("/advance", {"seconds": 1, "limit": 1}, "limit goes with until"),
        ("/advance", {"seconds": -1}, "seconds in the body is -1: expected seconds, 0 or more"),
        ("/advance", {"seconds": "90"}, 'seconds in the body is "90": expected seconds, 0 or more'),
        ("/advance", {"seconds": float("nan")}, "seconds in the body is NaN: expected seconds"),
        ("/advance", {"until": []}, "until must be a JSON object"),
        ("/advance", {"until": {"idle": 1}}, "idle in until is 1: expected true or false"),
        ("/advance", {"until": {"state": "busy"}}, "'state': unknown key in until"),
        ("/advance", {"until": {}}, "advance until one of status, request and idle"),
        ("/advance", {"until": {"idle": True}, "limit": "soon"}, 'limit in the body is "soon": expected seconds'),
    ],
)
async def test_what_makes_no_sense_is_named(setup: SimulatorSetup, path: str, body: object, message: str) -> None:
    status, answer = await setup.control("POST", path, body)
    assert status == 400
    assert message in answer["message"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from("ab"), values))
def test_whatever_a_key_holds_is_read_or_refused_by_name(given_values: dict[str, object]) -> None:
    body = Body(given_values, "ab")
    for key in "ab":
        for read in (body.text, body.texts, body.pairs, body.whole, body.flag):
            try:
                read(key)
            except ControlError as error:
                assert error.message.startswith(f"{key} in the body is ")
        try:
            assert 0 <= body.seconds(key, 0.0) < float("inf")
        except ControlError as error:
            assert key in error.message
