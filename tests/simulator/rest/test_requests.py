"""Requests to the API with bodies that can't be read get an error, and the running calls go on."""

from __future__ import annotations

import json

import pytest
from simulator.setup import ANSWERS, FROM, SimulatorSetup


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 900_000, 413),
        (b"&".join(b"a%d=b" % n for n in range(8000)), 400),
        (b"&" * 60_000, 400),
        (b"To=%ff%fe&From=%00", 400),
        (bytes(range(256)), 400),
        (b"To=+12025550100&From=%2B15005550006&Twiml=%00", 400),
        (b"To=%2B12025550100&From=%2B15005550006&Twiml=%3CResponse/%3E&CallToken=%00", 400),
        (json.dumps({"To": ANSWERS, "From": FROM}).encode(), 400),
        (b"To=" + b"+" * 60_000, 400),
        (b"", 400),
    ],
)
async def test_a_body_that_is_no_form(setup: SimulatorSetup, body: bytes, status: int) -> None:
    sid = await setup.running_call()
    for path in ("/Calls.json", f"/Calls/{sid}.json"):
        url = f"{setup.sim.url}{setup.account}{path}"
        async with setup.session.post(url, data=body, headers=setup.headers) as reply:
            assert reply.status == status
            assert (await reply.json())["code"] >= 10000
    await setup.check_goes_on(sid)


async def test_ten_thousand_parameters(setup: SimulatorSetup) -> None:
    sid = await setup.running_call()
    form = {f"P{n}": "" for n in range(10_000)} | {"To": ANSWERS, "From": FROM, "Twiml": "<Response/>"}
    status, body = await setup.request("POST", f"{setup.account}/Calls.json", form)
    assert (status, body["status"]) == (413, 413)  # they don't fit into the 64 KB that are read
    await setup.check_goes_on(sid)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/x-www-form-urlencoded; charset=no-such"},
    ],
)
async def test_a_body_that_is_not_what_its_headers_say(setup: SimulatorSetup, headers: dict[str, str]) -> None:
    sid = await setup.running_call()
    for path in (f"{setup.account}/Calls.json", "/simulator/survey"):
        url = setup.sim.url + path
        async with setup.session.post(url, data=b"\xff=junk", headers=setup.headers | headers) as reply:
            assert reply.status == 400
            assert (await reply.json())["code"] == 20001
    await setup.check_goes_on(sid)
