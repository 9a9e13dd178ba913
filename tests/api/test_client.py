"""The API client and the simulator, which knows nothing of it, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from callctl.api.client import ApiClient
from callctl.api.requests import PlaceRequest, RedirectRequest
from callctl.api.retries import Retry
from callctl.calls.filter import CallFilter
from callctl.calls.twiml import say
from callctl.errors import ApiError, AuthenticationError, NotFoundError, WrongCallStateError
from callctl.settings import Settings
from callctl.simulator import Simulator

FROM = "+15005550006"


@contextmanager
def world(**options: Any) -> Iterator[tuple[Simulator, ApiClient, list[Retry]]]:
    with Simulator(manual_clock=True, **options) as simulator:
        retries: list[Retry] = []
        settings = Settings(account_sid=simulator.account_sid, auth_token=simulator.auth_token, api_url=simulator.url)
        yield (
            simulator,
            ApiClient(settings, sleep=lambda _seconds: None, random=lambda: 0.5, on_retry=retries.append),
            retries,
        )


def request_to(to: str = "+12025550100", text: str = "Hello, this is a longer text to listen to") -> PlaceRequest:
    return PlaceRequest(to=to, from_=FROM, twiml=say(text))


@pytest.mark.parametrize("dialect", ["twilio", "signalwire", "somleng"])
def test_a_calls_life(dialect: str) -> None:
    with world(dialect=dialect) as (simulator, client, _):
        placed = client.place(PlaceRequest(to="+12025550100", from_=FROM, url=f"{simulator.url}/nothing"))
        assert placed.status == "queued"
        assert client.fetch(placed.sid).sid == placed.sid
        assert [call.sid for call in client.list(CallFilter(to="+12025550100"), limit=None)] == [placed.sid]
        assert list(client.list(CallFilter(to="+12025550101"), limit=None)) == []
        client.hangup(placed.sid)
        simulator.advance(5)
        assert client.fetch(placed.sid).is_final


def test_redirecting_needs_a_call_in_progress() -> None:
    with world() as (simulator, client, _):
        placed = client.place(request_to())
        survey = RedirectRequest(twiml=say("How was it?"))
        with pytest.raises(WrongCallStateError) as caught:
            client.redirect(placed.sid, survey)
        assert (caught.value.code, caught.value.status) == ("21220", 400)
        simulator.advance(2.5)
        assert client.redirect(placed.sid, survey).status == "in-progress"
        client.hangup(placed.sid)
        assert client.fetch(placed.sid).status == "completed"


def test_cancel_leaves_an_answered_call_alone() -> None:
    with world() as (simulator, client, _):
        ringing = client.place(request_to("+12025550103"))
        answered = client.place(request_to())
        simulator.advance(2.5)
        assert client.cancel(ringing.sid).sid == ringing.sid
        assert client.cancel(answered.sid).sid == answered.sid
        assert client.fetch(ringing.sid).status == "canceled"
        assert client.fetch(answered.sid).status == "in-progress"


def test_refusals() -> None:
    with world() as (simulator, client, _):
        with pytest.raises(NotFoundError) as missing:
            client.fetch("CA" + "f" * 32)
        assert missing.value.code == "20404"
        with pytest.raises(ApiError) as magic:
            client.place(PlaceRequest(to="+12025550100", from_="+15005550001", twiml=say("Hello")))
        assert magic.value.code == "21212"
        assert magic.value.hint is not None
        wrong = Settings(account_sid=simulator.account_sid, auth_token="wrong", api_url=simulator.url)
        with pytest.raises(AuthenticationError) as refused:
            ApiClient(wrong, sleep=lambda _seconds: None, random=lambda: 0.5).place(request_to())
        assert refused.value.code == "20003"


@pytest.mark.parametrize("base_path", ["", "/api/laml"])
def test_a_list_of_many_pages(base_path: str) -> None:
    with world(base_path=base_path) as (_, client, _):
        placed = [client.place(request_to()).sid for _ in range(25)]
        listed = [call.sid for call in client.list(CallFilter(), page_size=10, limit=None)]
        assert sorted(listed) == sorted(placed)
        assert len(list(client.list(CallFilter(), page_size=10, limit=12))) == 12


def test_many_threads_share_one_client() -> None:
    with world() as (_, client, _):
        with ThreadPoolExecutor(20) as pool:
            placed = list(pool.map(lambda number: client.place(request_to(f"+1202555{number:04}")), range(100)))
            assert len({call.sid for call in placed}) == 100
            ended = list(pool.map(lambda call: client.hangup(call.sid), placed))
        assert [(call.sid, call.to) for call in ended] == [(call.sid, call.to) for call in placed]
        assert not list(client.list(CallFilter(statuses=("queued",)), limit=None))
