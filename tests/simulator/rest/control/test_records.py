"""The requests received and made, as the control surface lists them."""

from typing import Any

import pytest
from simulator.setup import ANSWERS, BUSY, FROM, Json, SimulatorSetup, simulator_setup

from callctl.simulator import Faults


async def listed(setup: SimulatorSetup, query: str = "") -> list[Json]:
    status, body = await setup.control("GET", f"/requests{query}")
    assert status == 200, body
    found: list[Json] = body["requests"]
    return found


async def test_each_request_with_its_parameters_and_reply(setup: SimulatorSetup) -> None:
    setup.listener.documents["/doc"] = "<Response><Pause/></Response>"
    await setup.advance(1)
    sid = (await setup.place(ANSWERS, Url=f"{setup.listener.url}/doc", StatusCallbackEvent="answered"))["sid"]
    await setup.request("GET", f"{setup.account}/Calls.json", {"Status": "busy"})
    await setup.request("POST", f"{setup.account}/Calls.json", {"To": "12"})
    await setup.advance(10)
    placed, list_, refused, *sent = await listed(setup)
    assert (placed["number"], placed["at"], placed["direction"], placed["kind"]) == (1, 1, "received", "api")
    assert (placed["method"], placed["url"], placed["call"]) == ("POST", f"{setup.account}/Calls.json", sid)
    assert placed["parameters"]["From"] == [FROM]
    assert placed["reply"]["status"] == 201
    assert sid in placed["reply"]["body"]
    assert (list_["parameters"], list_["call"]) == ({"Status": ["busy"]}, "")
    assert (refused["reply"]["status"], refused["reply"]["code"]) == (400, 21211)
    callback, document = sorted(sent, key=lambda each: str(each["kind"]))
    assert (callback["kind"], callback["about"], callback["call"]) == ("callback", "in-progress", sid)
    assert callback["at"] == pytest.approx(3.3)
    assert callback["parameters"]["CallStatus"] == ["in-progress"]
    assert (document["kind"], document["url"]) == ("document", f"{setup.listener.url}/doc")
    assert document["reply"]["body"] == "<Response><Pause/></Response>"
    assert (document["reply"]["content_type"], document["reply"]["attempts"]) == ("text/xml", 1)


async def test_repeated_parameters_have_all_their_values(setup: SimulatorSetup) -> None:
    await setup.place(BUSY)
    assert (await listed(setup))[0]["parameters"]["StatusCallbackEvent"] == [
        "initiated", "ringing", "answered", "completed"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?direction=sent", [("sent", "callback")] * 3),
        ("?kind=api", [("received", "api")] * 2),
        ("?kind=document", []),
        ("?after=3", [("sent", "callback")] * 2),
        ("?limit=1", [("received", "api")]),
        ("?call=CA1", []),
        ("?after=99", []),
    ],
)
async def test_some_of_them(setup: SimulatorSetup, query: str, expected: list[Any]) -> None:
    sid = (await setup.place(BUSY))["sid"]
    await setup.request("GET", f"{setup.account}/Calls.json")
    await setup.advance(5)
    assert [(each["direction"], each["kind"]) for each in await listed(setup, query)] == expected
    assert len(await listed(setup, f"?call={sid}")) == 4


async def test_who_asks_again_misses_none(setup: SimulatorSetup) -> None:
    last, seen = 0, []
    for _ in range(4):
        await setup.place(BUSY)
        await setup.advance(1)
        while True:
            _, body = await setup.control("GET", f"/requests?after={last}&limit=2")
            if not body["requests"]:
                break
            last = body["last"]
            seen += [each["number"] for each in body["requests"]]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 8


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?after=x", "after must be a whole number, 0 or more, and not 'x'"),
        ("?direction=in", "direction must be one of received, sent, and not 'in'"),
        ("?kind=", "kind must be one of api, document, callback, stream, and not ''"),
    ],
)
async def test_what_makes_no_sense(setup: SimulatorSetup, query: str, message: str) -> None:
    status, body = await setup.control("GET", f"/requests{query}")
    assert (status, body["message"]) == (400, message)


async def test_what_was_dropped_and_what_failed() -> None:
    async with simulator_setup(faults=Faults(drop=1.0)) as setup:
        await setup.place(ANSWERS, Url="http://127.0.0.1:9/")
        await setup.advance(5)
        sent = await listed(setup, "?direction=sent")
        assert [(each["dropped"], each["reply"]) for each in sent if each["kind"] == "callback"] == [(True, None)] * 4
        (document,) = (each for each in sent if each["kind"] == "document")
        assert (document["dropped"], document["reply"]["status"], document["reply"]["attempts"]) == (False, None, 2)
        assert "refused" in document["reply"]["error"]


async def test_a_stream_is_among_them(setup: SimulatorSetup) -> None:
    await setup.place(
        ANSWERS,
        Twiml='<Response><Connect><Stream url="wss://127.0.0.1:9/a"/></Connect></Response>',
        StatusCallback=None,
    )
    await setup.advance(5)
    (record,) = await listed(setup, "?kind=stream")
    assert (record["url"], record["about"]) == ("wss://127.0.0.1:9/a", "stream")


async def test_no_credentials_are_in_it(setup: SimulatorSetup) -> None:
    site = setup.listener.url.replace("//", "//ann:secret@")
    setup.listener.documents["/doc"] = f"<Response><Redirect>{site}/next</Redirect></Response>"
    setup.listener.documents["/next"] = "<Response/>"
    await setup.place(ANSWERS, Url=f"{site}/doc", StatusCallback=f"{site}/status")
    await setup.request("GET", f"{setup.account}.json", {})
    await setup.advance(10)
    _, body = await setup.control("GET", "/requests")
    text = str(body)
    assert "/next" in text
    assert "ann:" not in text and "secret" not in text
    assert setup.sim.auth_token not in text


async def test_what_stands_below_simulator_is_not_recorded(setup: SimulatorSetup) -> None:
    await setup.control("GET", "/calls")
    await setup.control("GET", "/health")
    assert await listed(setup) == []


async def test_each_run_has_a_name_of_its_own(setup: SimulatorSetup) -> None:
    run = (await setup.control("GET", "/requests"))[1]["run"]
    assert run == (await setup.control("GET", "/calls"))[1]["run"]
    async with simulator_setup() as other:
        assert (await other.control("GET", "/requests"))[1]["run"] not in ("", run)
