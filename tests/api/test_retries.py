"""What is sent again and what never is, and how long is waited before."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from api.conftest import StartApi
from api.scripted import Turn, call, cut, drop, hang, reply
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_limit import ThreadLimit

from callctl.api.client import ApiClient
from callctl.api.replies import Reply
from callctl.api.requests import PlaceRequest, RedirectRequest
from callctl.api.retries import BACKOFF, TRIES, pause_before_retry
from callctl.calls.filter import CallFilter
from callctl.errors import (
    ApiError,
    CallctlError,
    NetworkError,
    NoLongerWantedError,
    NotFoundError,
    NoThreadError,
    OutcomeUnknownError,
    RateLimitedError,
)

SID = "CA" + "1" * 32
Act = Callable[[ApiClient], Any]


def place(client: ApiClient) -> Any:
    return client.place(PlaceRequest(to="+12025550100", from_="+15005550006", twiml="<Response/>"))


def redirect(client: ApiClient) -> Any:
    return client.redirect(SID, RedirectRequest(url="https://example.com/survey"))


def first_listed(client: ApiClient) -> Any:
    return next(client.list(CallFilter(), limit=1))


ONCE = [pytest.param(place, id="place"), pytest.param(redirect, id="redirect")]
OFTEN = [
    pytest.param(lambda client: client.fetch(SID), id="fetch"),
    pytest.param(lambda client: client.hangup(SID), id="hangup"),
    pytest.param(lambda client: client.cancel(SID), id="cancel"),
    pytest.param(lambda client: client.limit_time(SID, 60), id="limit_time"),
    pytest.param(first_listed, id="list"),
]
DONE = reply(200, call() | {"calls": [call()], "next_page_uri": None})
TOO_MANY = reply(429, {"code": 20429, "message": "Too Many Requests", "status": 429})
FAULTS = [
    pytest.param(drop(), id="broken"),
    pytest.param(cut(b'{"sid": "CA'), id="cut"),
    pytest.param(hang(), id="silent"),
]


@pytest.mark.parametrize("act", [*ONCE, *OFTEN])
def test_a_429_was_never_processed_and_is_sent_again(start_api: StartApi, act: Act) -> None:
    api = start_api(TOO_MANY, TOO_MANY, DONE)
    assert act(api.client).sid == SID
    assert len(api.server.received) == 3
    assert api.slept == pytest.approx([0.1, 0.2])
    assert [(retry.attempt, retry.tries, retry.reason) for retry in api.retries] == [
        (1, 5, "Too Many Requests"),
        (2, 5, "Too Many Requests"),
    ]


@pytest.mark.parametrize("act", [*ONCE, *OFTEN])
def test_after_five_tries_it_gives_up(start_api: StartApi, act: Act) -> None:
    api = start_api(TOO_MANY)
    with pytest.raises(RateLimitedError):
        act(api.client)
    assert len(api.server.received) == TRIES
    assert api.slept == pytest.approx([0.1, 0.2, 0.4, 0.8])


UNKNOWN = reply(404, {"code": 20404, "message": "no such call", "status": 404})
ON_A_CALL = [pytest.param(redirect, id="redirect"), *OFTEN[:-1]]


@pytest.mark.parametrize("act", ON_A_CALL)
def test_a_call_that_was_placed_just_now_is_requested_again_while_the_api_does_not_know_it(
    start_api: StartApi, act: Act
) -> None:
    api = start_api(UNKNOWN, UNKNOWN, DONE)
    names: list[str] = []

    def is_expected(sid: str) -> bool:
        names.append(sid)
        return True

    assert act(api.client.expecting(is_expected)).sid == SID
    assert names == [SID, SID]
    assert api.slept == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize("act", ON_A_CALL)
def test_a_call_that_the_api_never_knows_is_not_found_after_some_seconds(start_api: StartApi, act: Act) -> None:
    api = start_api(*[UNKNOWN] * 7, DONE)
    with pytest.raises(NotFoundError) as caught:
        act(api.client.expecting(lambda _sid: True))
    assert (len(api.server.received), caught.value.may_be_done) == (7, False)
    assert sum(api.slept) == pytest.approx(7.0)


def test_a_call_that_is_no_longer_new_is_not_found_at_once(start_api: StartApi) -> None:
    api = start_api(UNKNOWN, UNKNOWN, DONE)
    new = iter([True, False])
    with pytest.raises(NotFoundError):
        api.client.expecting(lambda _sid: next(new)).fetch(SID)
    assert len(api.server.received) == 2


def test_a_change_of_a_call_that_is_not_known_yet_is_sent_again_only_while_it_is_wanted(start_api: StartApi) -> None:
    api = start_api(UNKNOWN, DONE)
    with pytest.raises(NoLongerWantedError):
        api.client.expecting(lambda _sid: True).while_wanted(lambda _may_be_done: False).hangup(SID)
    assert len(api.server.received) == 1


CHANGES = [redirect, lambda client: client.hangup(SID), lambda client: client.cancel(SID)]


@pytest.mark.parametrize("act", CHANGES, ids=["redirect", "hangup", "cancel"])
def test_a_change_is_sent_again_only_while_it_is_wanted(start_api: StartApi, act: Act) -> None:
    api = start_api(TOO_MANY, TOO_MANY, DONE)
    wanted = iter([True, False])
    with pytest.raises(NoLongerWantedError, match="Too Many Requests") as caught:
        act(api.client.while_wanted(lambda _may_be_done: next(wanted)))
    assert (len(api.server.received), caught.value.may_be_done) == (2, False)
    assert act(api.client).sid == SID  # no condition holds for the client itself


def test_the_condition_gets_whether_an_earlier_try_may_have_been_carried_out(start_api: StartApi) -> None:
    api = start_api(TOO_MANY, drop(), DONE)
    conditions: list[bool] = []

    def wanted(may_be_done: bool) -> bool:
        conditions.append(may_be_done)
        if may_be_done:
            raise ApiError("no", status=404)
        return True

    with pytest.raises(ApiError, match="no") as caught:
        api.client.while_wanted(wanted).hangup(SID)
    assert (conditions, caught.value.may_be_done) == ([False, True], True)


@pytest.mark.parametrize(("status", "may_be_done"), [(503, True), (429, False)])
def test_a_try_without_a_thread_does_not_hide_what_the_one_before_may_have_done(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch, status: int, may_be_done: bool
) -> None:
    api = start_api(reply(status, {}, Connection="close"), DONE)  # a new connection takes a thread

    def use_up(_may_be_done: bool) -> bool:
        ThreadLimit(monkeypatch, left=0)
        return True

    with pytest.raises(NoThreadError) as caught:
        api.client.while_wanted(use_up).hangup(SID)
    assert (caught.value.may_be_done, caught.value.is_transient) == (may_be_done, True)
    assert len(api.server.received) == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("act", ONCE)
def test_what_may_have_been_carried_out_is_never_sent_again(start_api: StartApi, act: Act, fault: Any) -> None:
    api = start_api(fault, DONE, timeout=2)
    with pytest.raises(OutcomeUnknownError, match="the call may have been") as caught:
        act(api.client)
    assert len(api.server.received) == 1
    assert api.slept == []
    command = "callctl list --live --to +12025550100" if act is place else f"callctl show {SID}"
    assert caught.value.hint is not None
    assert command in caught.value.hint


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("act", ONCE)
def test_a_server_error_may_have_come_after_the_change(start_api: StartApi, act: Act, status: int) -> None:
    api = start_api(reply(status, b"<html>oops</html>", Retry_After="1"), DONE)
    with pytest.raises(ApiError) as caught:
        act(api.client)
    assert caught.value.status == status
    assert caught.value.message.startswith("it is not known whether the call was ")
    assert "look: `callctl" in (caught.value.hint or "")
    assert len(api.server.received) == 1


@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b"[]", b"{}", b'"x"', b'{"sid": 7}', b"\xff\xfe"])
@pytest.mark.parametrize("act", ONCE)
def test_a_success_that_can_not_be_read_may_be_one(start_api: StartApi, act: Act, body: bytes) -> None:
    api = start_api(reply(201, body), DONE)
    with pytest.raises(OutcomeUnknownError):
        act(api.client)
    assert len(api.server.received) == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("act", OFTEN)
def test_asking_and_hanging_up_are_sent_again_after_any_fault(start_api: StartApi, act: Act, fault: Any) -> None:
    api = start_api(fault, DONE, timeout=2)
    assert act(api.client).sid == SID
    assert len(api.server.received) == 2
    assert api.slept == pytest.approx([0.1])


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("act", OFTEN)
def test_and_after_server_errors(start_api: StartApi, act: Act, status: int) -> None:
    api = start_api(reply(status, {"code": 20500, "message": "Internal Server Error"}), DONE)
    assert act(api.client).sid == SID
    assert len(api.server.received) == 2


@pytest.mark.parametrize("status", [302, 303])
@pytest.mark.parametrize("act", ONCE)
def test_so_may_an_answer_that_lies_elsewhere(start_api: StartApi, act: Act, status: int) -> None:
    api = start_api(reply(status, b"", Location="https://example.com/"), DONE)
    with pytest.raises(ApiError) as caught:
        act(api.client)
    assert (caught.value.status, caught.value.may_be_done) == (status, True)
    assert caught.value.message.startswith("it is not known whether the call was ")
    assert "look: `callctl" in (caught.value.hint or "")
    assert "CALLCTL_API_URL" in (caught.value.hint or "")
    assert len(api.server.received) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 301, 307, 308])
@pytest.mark.parametrize("act", [*ONCE, *OFTEN])
def test_a_refusal_is_final(start_api: StartApi, act: Act, status: int) -> None:
    api = start_api(reply(status, {"message": "no"}), DONE)
    with pytest.raises(ApiError, match="no"):
        act(api.client)
    assert len(api.server.received) == 1


@pytest.mark.parametrize("act", [*ONCE, *OFTEN])
def test_a_refused_connection_is_tried_again_and_stays_a_network_error(start_api: StartApi, act: Act) -> None:
    api = start_api(DONE)
    api.server.__exit__()
    with pytest.raises(NetworkError, match="nothing answers at") as caught:
        act(api.client)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert len(api.slept) == TRIES - 1


@pytest.mark.parametrize("act", [*ONCE, *OFTEN])
def test_so_is_a_host_that_does_not_exist(start_api: StartApi, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)  # a resolver may take its time to say no
    api = start_api(DONE, api_url="https://no-such-host.invalid")
    with pytest.raises(NetworkError, match=r"no-such-host\.invalid could not be resolved") as caught:
        act(api.client)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert len(api.slept) == TRIES - 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"Retry_After": "3600"}, 30.0),
        ({"Retry_After": "0"}, 0.1),
        ({"Retry_After": "soon"}, 0.1),
        ({"Retry_After": "-5"}, 0.1),
        ({"Retry_After": "9" * 400}, 0.1),
        ({"Retry_After": "Mon, 05 Jan 2026 10:00:12 GMT"}, 0.1),
    ],
)
def test_retry_after_is_honoured_up_to_half_a_minute(
    start_api: StartApi, headers: dict[str, str], seconds: float
) -> None:
    api = start_api(reply(429, {"code": 20429}, **headers), DONE)
    api.client.hangup(SID)
    assert api.slept == pytest.approx([seconds])


def test_a_retry_after_date_is_set_against_the_replys_own_clock() -> None:
    headers = {"Retry-After": "Mon, 05 Jan 2026 10:00:12 GMT", "Date": "Mon, 05 Jan 2026 10:00:00 GMT"}
    assert pause_before_retry(0.1, Reply("host", 429, headers, "")) == pytest.approx(12)


@settings(deadline=None)
@given(attempt=st.integers(1, 4), random=st.floats(0, 1), headers=st.dictionaries(st.just("Retry-After"), st.text()))
def test_any_wait_is_sane(attempt: int, random: float, headers: dict[str, str]) -> None:
    pause = next(islice(BACKOFF.pauses(lambda: random), attempt - 1, None))
    total = pause_before_retry(pause, Reply("host", 429, headers, ""))
    assert 0.09 * 2 ** (attempt - 1) <= total <= BACKOFF.longest


def test_jitter_is_a_tenth_either_way(start_api: StartApi) -> None:
    for random, seconds in ((0.0, 0.09), (1.0, 0.11)):
        api = start_api(TOO_MANY, DONE, random=random)
        api.client.hangup(SID)
        assert api.slept == pytest.approx([seconds])


OVER = reply(400, {"code": 21220, "message": "Call is not in-progress.", "status": 400})


@pytest.mark.parametrize(
    ("turns", "may_be_done"),
    [
        ([OVER], False),
        ([TOO_MANY, OVER], False),
        ([drop(), OVER], True),
        ([cut(b'{"sid": "CA'), TOO_MANY, OVER], True),
        ([reply(502), OVER], True),
        ([reply(502)], True),
        ([reply(500), OVER], True),
        ([reply(500)], True),
        ([drop()], True),
        ([TOO_MANY], False),
        ([reply(200, {"status": "completed"})], True),
    ],
)
def test_of_a_hang_up_that_fails_it_is_known_whether_it_may_be_done(
    start_api: StartApi, turns: list[Turn], may_be_done: bool
) -> None:
    with pytest.raises(CallctlError) as caught:
        start_api(*turns).client.hangup(SID)
    assert caught.value.may_be_done is may_be_done


def test_a_question_that_fails_changes_nothing(start_api: StartApi) -> None:
    with pytest.raises(NetworkError) as caught:
        start_api(drop()).client.fetch(SID)
    assert caught.value.may_be_done is False
