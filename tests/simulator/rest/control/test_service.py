"""The health address, and the description."""

import json

import aiohttp
import jsonschema  # type: ignore[import-untyped]
from simulator.setup import SimulatorSetup, simulator_setup

from callctl import __version__
from callctl.simulator.rest.control.service import DESCRIPTION


async def test_health_says_how_it_runs(setup: SimulatorSetup) -> None:
    await setup.advance(1.5)
    assert (await setup.control("GET", "/health"))[1] == {
        "status": "ok",
        "version": __version__,
        "account_sid": setup.sim.account_sid,
        "clock": "manual",
        "at": 1.5,
        "strict": False,
    }
    async with simulator_setup(manual_clock=False, strict=True) as other:
        body = (await other.control("GET", "/health"))[1]
        assert (body["clock"], body["strict"]) == ("real", True)


async def test_it_may_be_asked_without_a_body(setup: SimulatorSetup) -> None:
    async with aiohttp.request("HEAD", f"{setup.sim.url}/simulator/health") as reply:
        assert (reply.status, await reply.read()) == (200, b"")


async def test_the_description_is_served_and_sound(setup: SimulatorSetup) -> None:
    description = (await setup.control("GET", "/openapi.json"))[1]
    assert description == json.loads(DESCRIPTION.read_text())
    for schema in description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_what_is_described_is_there_and_nothing_else(setup: SimulatorSetup) -> None:
    description = json.loads(DESCRIPTION.read_text())
    for path, operations in description["paths"].items():
        for method in ("get", "post", "delete"):
            status, _ = await setup.control(method, path.removeprefix("/simulator").replace("{sid}", "CA0"))
            assert (status == 405) == (method not in operations), (method, path)
    for path in ("/calls/CA0/digits", "/far-ends/a", "/seed/x"):
        assert (await setup.control("GET", path))[0] == 404
