"""A call that comes in to a number which `doctor` had sent here: a watch shows it, and the application answers it."""

from __future__ import annotations

import json
from pathlib import Path

from doctor_runs import FREE
from processes import Piped
from running import Callctl, env_for
from twilio.rest import Client
from web_site import Site

from callctl.simulator import Simulator

MINE = "+12025550142"
WELCOME = "<Response><Say>Welcome.</Say></Response>"


def test_what_doctor_says_of_a_number_lets_a_watch_show_its_calls(
    callctl: Callctl, fast_simulator: Simulator, home: Path
) -> None:
    site, env = Site(), env_for(fast_simulator)
    site.documents["/voice"] = WELCOME
    client = Client(fast_simulator.account_sid, fast_simulator.auth_token)
    client.api.base_url = fast_simulator.url
    number = client.incoming_phone_numbers.create(phone_number=MINE, voice_url=f"{site.url}/voice")
    arguments = ("watch", "--port", "0", "--no-poll", "--json", "--forward-to", f"{site.url}/voice")
    try:
        with Piped(*arguments, home=home, env=env) as watch:
            here = watch.record()["callback_url"]
            report = json.loads(callctl("doctor", "--json", env=env | FREE).out)
            (found,) = [one for one in report["checks"] if one["name"] == "number"]
            for name in ("StatusCallback", "VoiceUrl"):
                assert f"{name}={here}#" in found["command"]
            number.update(voice_url=here, status_callback=here)

            placed = json.loads(
                callctl("simulator", "call", "--to", MINE, "--from", "+12025550100", "--json", env=env).out
            )
            assert placed["status"] == "ringing"
            seen = [watch.record()]
            while seen[-1].get("call_sid") != placed["sid"] or seen[-1]["status"] != "completed":
                seen.append(watch.record())
            seen = [one for one in seen if one["type"] == "event"]
    finally:
        site.close()
    assert {(one["call_sid"], one["direction"], one["to"]) for one in seen} == {(placed["sid"], "inbound", MINE)}
    assert [one["status"] for one in seen] == ["ringing", "completed"]
    assert site.requested_paths[0] == "/voice"
