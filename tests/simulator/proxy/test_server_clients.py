"""Applications as they are, in processes of their own, that reach the simulator by their environment alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulator.libraries.clients import node_with

from callctl.simulator import Simulator

CALLS = "/2010-04-01/Accounts/{account}/Calls.json"

TWILIO = """
import os
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
placed = client.calls.create(to="+12025550100", from_="+15005550006", twiml="<Response/>")
print(placed.status, client.calls(placed.sid).fetch().sid == placed.sid, len(client.calls.list()))
"""
URLLIB = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1]).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
REQUESTS = "import requests, sys; print(requests.get(sys.argv[1]).status_code)"
AIOHTTP = """
import aiohttp, asyncio, sys
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(sys.argv[1]) as reply:
        print(reply.status)
asyncio.run(main())
"""


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(manual_clock=True, seed=1, strict=True, proxy=True) as sim:
        yield sim


def environment(sim: Simulator, **more: str) -> dict[str, str]:
    """Return an environment that has nothing but what the documentation names."""
    account = {"TWILIO_ACCOUNT_SID": sim.account_sid, "TWILIO_AUTH_TOKEN": sim.auth_token}
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **sim.proxy_env, **account, **more}


def output(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def of_python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@pytest.mark.parametrize("place", [{}, {"TWILIO_EDGE": "dublin", "TWILIO_REGION": "ie1"}], ids=["", "with a region"])
def test_twilios_library_for_python(sim: Simulator, place: dict[str, str]) -> None:
    assert output(of_python(TWILIO), environment(sim, **place)) == "queued True 1"
    path = CALLS.format(account=sim.account_sid)
    assert [(each.method, each.path, each.status) for each in sim.requests][::2] == [
        ("POST", path, 201),
        ("GET", path, 200),
    ]
    host = "api.dublin.ie1.twilio.com" if place else "api.twilio.com"
    assert {each.headers["Host"] for each in sim.requests} == {host}
    assert "Authorization" not in sim.requests[0].headers


@pytest.mark.parametrize("code", [URLLIB, REQUESTS, AIOHTTP], ids=["urllib", "requests", "aiohttp"])
def test_other_clients_of_python(sim: Simulator, code: str) -> None:
    answers = [output(of_python(code, url), environment(sim)) for url in addresses(sim)]
    assert answers == ["401", "401", "200"]
    (by_proxy, directly) = (each.headers["Host"] for each in sim.requests[::2])
    assert (by_proxy, directly) == ("api.twilio.com", sim.url.removeprefix("http://"))


def addresses(sim: Simulator) -> list[str]:
    """Return what is asked by the proxy, over TLS and in plain, and what is on this machine and asked directly."""
    path = CALLS.format(account=sim.account_sid)
    return [f"https://api.twilio.com{path}", f"http://api.twilio.com{path}", f"{sim.url}/simulator/survey"]


def test_curl(sim: Simulator) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}"]
    other = {"CURL_CA_BUNDLE": os.devnull, "https_proxy": "http://127.0.0.1:1"}  # as in some people's environment
    answers = [output([*command, url], other | environment(sim)) for url in addresses(sim)]
    assert answers == ["401", "401", "200"]
    refused = subprocess.run(
        ["curl", "-sv", "https://example.com"], env=environment(sim), capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "lets nothing through to example.com without --allow-host example.com." in refused.stderr


@pytest.mark.parametrize("package", ["twilio", "twilio-5"])
def test_twilios_library_for_node_under_jest(sim: Simulator, package: str, tmp_path: Path) -> None:
    node, modules = node_with(package, "jest")
    folder = Path(__file__).parent.parent / "libraries"
    settings = {"rootDir": str(folder), "cacheDirectory": str(tmp_path), "modulePaths": [modules]}
    command = [node, f"{modules}/jest/bin/jest.js", "--runInBand", "--ci", "--json", "--watchman=false"]
    env = environment(sim, TWILIO_PACKAGE=package, NODE_PATH=modules)
    result = json.loads(output([*command, "--config", json.dumps(settings)], env))
    assert (result["numPassedTests"], result["numTotalTests"]) == (3, 3)
    assert [each.status for each in sim.requests] == [201, 200, 200, 400, 404, 403]
