"""Reading the account, and the server's clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from api.conftest import ACCOUNT, StartApi
from api.scripted import Handler, Turn, reply
from twilio.rest import Client

from callctl.api.client import ApiClient
from callctl.api.resources import Account, Application, PhoneNumber
from callctl.calls.filter import CallFilter
from callctl.errors import AuthenticationError, NetworkError
from callctl.settings import Settings
from callctl.simulator import Simulator

RESOURCE = {
    "sid": ACCOUNT,
    "friendly_name": "Example Ltd",
    "status": "active",
    "type": "Full",
    "owner_account_sid": ACCOUNT,
    "auth_token": "the-primary-token",
}


def test_the_account_is_read_from_its_own_path(start_api: StartApi) -> None:
    api = start_api(reply(200, RESOURCE))
    assert api.client.account() == Account(ACCOUNT, "Example Ltd", "active", "Full", ACCOUNT, "the-primary-token")
    assert [(one.method, one.target) for one in api.server.received] == [
        ("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json")
    ]


def test_the_token_in_it_is_not_shown() -> None:
    assert "the-primary-token" not in repr(Account.from_resource(RESOURCE))


@pytest.mark.parametrize("resource", [{}, {"sid": None}, {"calls": []}])
def test_what_is_no_account_is_reported(start_api: StartApi, resource: dict[str, Any]) -> None:
    with pytest.raises(NetworkError, match="answered, but not with an account"):
        start_api(reply(200, resource)).client.account()


def test_what_it_lacks_is_empty(start_api: StartApi) -> None:
    assert start_api(reply(200, {"sid": "x"})).client.account() == Account("x", "", "", "", "")


@pytest.mark.parametrize("status", [200, 401])
def test_a_refusal_gives_the_time_too(start_api: StartApi, status: int) -> None:
    api = start_api(dated(status, "Mon, 05 Jan 2026 12:00:00 GMT"))
    assert api.client.server_time is None
    if status == 200:
        api.client.account()
    else:
        with pytest.raises(AuthenticationError):
            api.client.account()
    assert api.client.server_time == datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_the_simulators_account_and_its_standard_key() -> None:
    with Simulator(manual_clock=True, account_name="Example Ltd") as simulator:
        whole = Settings(account_sid=simulator.account_sid, auth_token=simulator.auth_token, api_url=simulator.url)
        account = client(whole).account()
        assert (account.name, account.status, account.primary_token) == ("Example Ltd", "active", simulator.auth_token)
        key = Settings(
            account_sid=simulator.account_sid,
            api_key=simulator.api_key,
            api_secret=simulator.api_secret,
            api_url=simulator.url,
        )
        with pytest.raises(AuthenticationError) as caught:
            client(key).account()
        assert caught.value.code == "20003"
        assert list(client(key).list(CallFilter(), limit=1)) == []


def test_the_simulators_numbers_and_applications() -> None:
    with Simulator(manual_clock=True) as simulator:
        settings = Settings(account_sid=simulator.account_sid, auth_token=simulator.auth_token, api_url=simulator.url)
        twilio = Client(simulator.account_sid, simulator.auth_token)
        twilio.api.base_url = simulator.url
        app = twilio.applications.create(voice_url="https://example.com/app").sid
        one = twilio.incoming_phone_numbers.create(phone_number="+12025550142", voice_application_sid=app)
        two = twilio.incoming_phone_numbers.create(area_code="202", status_callback="https://example.com/done#rc=5")
        assert client(settings).applications() == [
            Application(app, "https://example.com/app", voice_method="POST", status_callback_method="POST")
        ]
        assert client(settings).phone_numbers() == [
            PhoneNumber(
                "+12025550100",
                two.sid,
                voice_method="POST",
                status_callback="https://example.com/done#rc=5",
                status_callback_method="POST",
            ),
            PhoneNumber(
                "+12025550142", one.sid, voice_method="POST", status_callback_method="POST", application_sid=app
            ),
        ]


def dated(status: int, date: str) -> Turn:
    """Answer with this Date alone; the server would add its own."""
    body = json.dumps(RESOURCE).encode()

    def turn(handler: Handler) -> None:
        handler.send_response_only(status)
        for name, value in (("Date", date), ("Content-Length", str(len(body)))):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return turn


def client(settings: Settings) -> ApiClient:
    return ApiClient(settings, sleep=lambda _seconds: None, random=lambda: 0.5)
