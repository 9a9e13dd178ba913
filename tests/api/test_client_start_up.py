"""What a command pays for the API client, in modules; never in seconds."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from api.conftest import ACCOUNT, TOKEN, StartApi
from api.scripted import call, reply
from paths import ROOT

SID = "CA" + "1" * 32
SOURCE = ROOT / "src"

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest
from callctl.settings import Settings
settings = Settings(account_sid=sys.argv[3], auth_token=sys.argv[4], api_url=sys.argv[2])
client = ApiClient(settings, sleep=lambda seconds: None, random=lambda: 0.5)
PlaceRequest(to="+12025550100", from_="+15005550006", twiml="<Response/>").parameters()
before = set(sys.modules)
status = client.hangup(sys.argv[5]).status
print(json.dumps({"status": status, "before": sorted(before), "after": sorted(sys.modules)}))
"""


def test_nothing_heavy_before_the_first_request_and_no_event_loop_after_it(start_api: StartApi) -> None:
    api = start_api(reply(200, call(status="completed")))
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(SOURCE), api.server.url, ACCOUNT, TOKEN, SID],
        capture_output=True,
        text=True,
        check=True,
    )
    output = json.loads(done.stdout)
    assert output["status"] == "completed"
    heavy = {"twilio", "requests", "urllib3", "ssl", "asyncio", "aiohttp", "sqlite3"}
    assert not heavy & set(output["before"])
    assert not {"asyncio", "aiohttp", "sqlite3", "twilio.rest.api"} & set(output["after"])
    assert done.stderr == ""


def test_the_librarys_log_is_silent_and_holds_no_token(start_api: StartApi, caplog: pytest.LogCaptureFixture) -> None:
    api = start_api(reply(200, call()))
    assert not logging.getLogger("twilio.http_client").isEnabledFor(logging.INFO)
    with caplog.at_level(logging.DEBUG):
        api.client.hangup(SID)
    assert f"/Calls/{SID}.json" in caplog.text
    assert TOKEN not in caplog.text
    assert "Basic " not in caplog.text
