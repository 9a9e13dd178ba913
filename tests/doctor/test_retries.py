"""``callctl doctor``: callback URLs that do not have Twilio try again."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from api.scripted import Server, reply
from doctor_runs import TOKEN, TWILIO, doctor
from running import Callctl, env_for
from web_site import free_port

from callctl.api.client import ApiClient
from callctl.cli.options.callback_url import RETRIES
from callctl.doctor.retries import has_retries, retry_findings
from callctl.settings import Settings
from callctl.simulator import Simulator

OURS = "https://calls.example.com/status"


@pytest.mark.parametrize(
    ("url", "asks"),
    [
        (OURS, False),
        (f"{OURS}#{RETRIES}", True),
        (f"{OURS}#{RETRIES}&ct=2000&rt=3000", True),
        (f"{OURS}#rp=all", True),
        (f"{OURS}#rc=0&rp=all", False),
        (f"{OURS}#rc=5", False),
        (f"{OURS}#rc=5&rp=ct", False),
        (f"{OURS}#rp=rt, ct, 5xx", True),
        (f"{OURS}#top", False),
    ],
)
def test_what_has_twilio_try_again(url: str, asks: bool) -> None:
    assert has_retries(url) is asks


def numbers(*callbacks: str) -> dict[str, Any]:
    rows = [{"sid": f"PN{n}", "phone_number": f"+1202555010{n}", "status_callback": u} for n, u in enumerate(callbacks)]
    return {"incoming_phone_numbers": rows, "next_page_uri": None}


def found(server: Server, *, callback_url: str = OURS) -> list[tuple[str, str | None]]:
    settings = Settings(account_sid=TWILIO["TWILIO_ACCOUNT_SID"], auth_token=TOKEN, api_url=server.url)

    listed = ApiClient(settings, sleep=time.sleep, random=random.random).phone_numbers()
    return [(one.text, one.fix) for one in retry_findings(listed, callback_url=callback_url, retries=RETRIES)]


def test_numbers_whose_callbacks_come_here_and_are_not_tried_again_are_named() -> None:
    listed = numbers(
        OURS, f"{OURS}#{RETRIES}", "https://elsewhere.example.com/status", "", f"{OURS}/#rc=1", f"{OURS}?a=b"
    )
    with Server(reply(200, listed)) as server:
        ((text, fix),) = found(server)
        assert text == "the status callback of +12025550100, +12025550104, +12025550105 does not have Twilio try again"
        assert fix is not None
        assert f"#{RETRIES}" in fix
        assert "/IncomingPhoneNumbers.json" in server.received[0].path
    with Server(reply(200, numbers(f"{OURS}#{RETRIES}"))) as server:
        assert found(server) == []


def test_a_number_with_another_password_does_not_lead_here() -> None:
    own = "https://tw:word@calls.example.com/status"
    with Server(reply(200, numbers(own, own.replace("word", "***")))) as server:
        ((text, _),) = found(server, callback_url=own)
    assert text == "the status callback of +12025550100 does not have Twilio try again"


def test_where_no_numbers_can_be_read_the_url_in_use_is_looked_at() -> None:
    ((text, _),) = [(one.text, one.fix) for one in retry_findings([], callback_url=f"{OURS}#rc=1", retries=RETRIES)]
    assert text.startswith(f"{OURS}#rc=1: the part behind # does not have Twilio try again")


def test_doctor_shows_it(callctl: Callctl, simulator: Simulator) -> None:
    url = f"http://localhost:{(port := free_port())}/status"
    env = env_for(simulator) | {"CALLCTL_PORT": str(port)}
    code, findings = doctor(callctl, env | {"CALLCTL_PUBLIC_URL": f"{url}#rc=1"})
    assert (code, findings["retries"]["level"]) == (0, "warning")
    for good in (url, f"{url}#{RETRIES}"):  # `place` adds it where there is none
        assert "retries" not in doctor(callctl, env | {"CALLCTL_PUBLIC_URL": good})[1]
