"""Who may ask what below /simulator, and how errors are answered."""

import aiohttp
import pytest
from simulator.setup import SimulatorSetup, basic, check_control, simulator_setup

from callctl.simulator.rest import access

CHANGES = ["/calls", "/calls/CA0/answer", "/far-ends", "/advance", "/reset", "/seed"]
READS = ["/calls", "/requests", "/openapi.json", "/calls/CA1"]
PAGE = {"Sec-Fetch-Site": "cross-site"}


async def test_who_is_on_this_machine_needs_no_credentials(setup: SimulatorSetup) -> None:
    for host in ("127.0.0.1", "localhost:80", "[::1]:8766", "app.localhost"):
        assert (await setup.control("GET", "/calls", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [{"Host": "example.com"}, {"Host": "127.0.0.1.example.com"}, {"Host": ""}, {"Host": "[::1"}]
    + [{name: "203.0.113.7"} for name in access.FORWARDED],
    ids=str,
)
@pytest.mark.parametrize("path", READS)
async def test_others_sign_in(setup: SimulatorSetup, path: str, headers: dict[str, str]) -> None:
    status, body = await setup.control("GET", path, headers=headers)
    assert (status, body["code"]) == (401, 20003)
    assert (await setup.control("GET", path, headers=headers | setup.headers))[0] in (200, 404)


async def test_wrong_credentials_are_refused_to_all(setup: SimulatorSetup) -> None:
    assert (await setup.control("GET", "/calls", headers=setup.headers))[0] == 200
    assert (await setup.control("GET", "/calls", headers=basic(setup.sim.account_sid, "wrong")))[0] == 401
    key = basic(setup.sim.api_key, setup.sim.api_secret)
    assert (await setup.control("GET", "/calls", headers=key))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Referer": "http://127.0.0.1:1/"}, 200),
    ],
    ids=str,
)
async def test_a_browser_reads_from_the_simulators_own_page_alone(
    setup: SimulatorSetup, headers: dict[str, str], status: int
) -> None:
    assert (await setup.control("GET", "/calls", headers=headers))[0] == status


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "null"}, {"Referer": "x"}], ids=str)
@pytest.mark.parametrize("path", CHANGES)
async def test_no_page_changes_anything(setup: SimulatorSetup, path: str, headers: dict[str, str]) -> None:
    status, body = await setup.control("POST", path, {}, headers=headers)
    assert (status, body["code"]) == (403, 20403)


@pytest.mark.parametrize("path", CHANGES)
async def test_others_sign_in_to_change_anything(setup: SimulatorSetup, path: str) -> None:
    for headers in ({"Host": "example.com"}, basic("nobody", "x")):
        assert (await setup.control("POST", path, {}, headers=headers))[0] == 401
    assert (await setup.control("POST", path, {}, headers={"Host": "example.com"} | setup.headers))[0] != 401


async def test_a_page_of_the_simulator_may_name_itself(setup: SimulatorSetup) -> None:
    assert (await setup.control("GET", "/calls", headers={"Origin": setup.sim.url}))[0] == 200


@pytest.mark.parametrize("headers", [{"Host": "example.com"}, basic("nobody", "x"), PAGE], ids=str)
async def test_health_needs_nothing(setup: SimulatorSetup, headers: dict[str, str]) -> None:
    status, body = await setup.control("GET", "/health", headers=headers)
    assert (status, body["status"]) == (200, "ok")


async def test_what_is_not_there(setup: SimulatorSetup) -> None:
    assert await setup.control("GET", "/nothing") == (
        404,
        {"code": 20404, "message": "nothing is at /simulator/nothing", "status": 404},
    )
    assert await setup.control("GET", "/calls/CA0") == (
        404,
        {"code": 20404, "message": "there is no call CA0", "status": 404},
    )


async def test_it_stands_below_the_base_path() -> None:
    async with simulator_setup(base_path="/api/laml", dialect="somleng", latency=9, concurrency=1) as setup:
        assert (await setup.control("GET", "/health"))[0] == 200  # and waits for nothing
        async with aiohttp.ClientSession() as session, session.get(f"{setup.sim.url}/simulator/calls/CA0") as reply:
            body = await reply.json()
            check_control("GET", "/simulator/calls/CA0", reply.status, body)
