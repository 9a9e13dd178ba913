"""When a callback is overdue, and what a call's notifications say of its callbacks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from calls_api import UnexpectedRequest

from callctl.api.resources import Notification
from callctl.calls.call import EVENT_NAMES
from callctl.errors import NetworkError
from callctl.operations.missing_callbacks import (
    CallbackCheck,
    Cause,
    ExpectedCallbacks,
    cause_in,
    cause_without_notes,
    comparable_url,
    is_overdue,
)

URL = "https://ann:fake-password@example.com/status#rc=3&rp=5xx"
SHOWN = "https://ann:***@example.com/status"


def noted(code: str, message: str = "", more_info: str | None = None, request_url: str | None = None) -> Notification:
    return Notification("NO1", code, "error", message, more_info, request_url, None)


@pytest.mark.parametrize(
    ("events", "status", "due"),
    [
        (EVENT_NAMES, "queued", False),
        (EVENT_NAMES, "ringing", True),
        (EVENT_NAMES, "in-progress", True),
        (EVENT_NAMES, "busy", True),
        (("completed",), "ringing", False),
        (("completed",), "in-progress", False),
        (("completed",), "canceled", True),
        (("ringing",), "in-progress", False),  # who answers at once may never have been rung
        (("ringing",), "completed", False),
        (("answered",), "ringing", False),
        (("answered",), "in-progress", True),
        (("answered",), "busy", False),
        ((), "in-progress", False),
        (EVENT_NAMES, "a status of tomorrow", False),
    ],
)
def test_when_a_callback_must_have_been_sent(events: tuple[str, ...], status: str, due: bool) -> None:
    assert is_overdue(events, status) is due


@pytest.mark.parametrize(("code", "words"), [("21626", "no callbacks at all"), ("21609", "no URL that Twilio takes")])
def test_codes_that_tell_by_themselves(code: str, words: str) -> None:
    notes = [noted("11200", "retrieval failed", None, "https://example.com/twiml"), noted(code, "…", "https://docs")]
    cause = cause_in(notes, callback_url=URL)
    assert cause is not None
    assert (cause.code, cause.more_info, words in cause.text) == (code, "https://docs", True)
    assert cause.sentence.endswith(f" ({code}, https://docs)")
    assert cause.fix


def test_a_joined_list_of_events_is_named_first_whatever_else_was_noted() -> None:
    failed = noted("11200", "failed", None, SHOWN)
    cause = cause_in([failed, noted("21609"), noted("21626")], callback_url=URL)
    assert cause is not None
    assert cause.code == "21626"
    assert "`initiated ringing answered completed` in one value" in cause.fix


@pytest.mark.parametrize("requested", [SHOWN, "https://ann:***@example.com/status#rc=1"])
def test_a_failure_of_the_very_url_is_a_cause_whatever_its_code(requested: str) -> None:
    cause = cause_in([noted("99999", "Got HTTP 502", "https://docs", requested)], callback_url=URL)
    assert cause is not None
    assert cause.text == f"Twilio could not deliver to {SHOWN}: Got HTTP 502"
    assert "tunnel" in cause.fix
    assert "callctl doctor" in cause.fix


@pytest.mark.parametrize(
    "requested",
    [
        "https://ann:***@example.com/status/",
        "https://ann:***@Example.com/status",
        "HTTPS://ann:***@example.com/status",
        "https://ann:***@example.com./status",
    ],
)
def test_a_failure_of_another_spelling_of_the_url_is_a_cause_and_says_so(requested: str) -> None:
    notes = [noted("11200", "Got HTTP 403", None, requested), noted("11200", "later", None, requested)]
    cause = cause_in(notes, callback_url=URL)
    assert cause is not None
    assert cause.text == f"Twilio could not deliver to {requested}, which is not how {SHOWN} is spelled: Got HTTP 403"
    assert "by the letter" in cause.fix
    assert "if it fails then too, see that the tunnel runs" in cause.fix
    assert ("unless it leads to a path of the application" in cause.fix) is requested.endswith("/")
    cause = cause_in([*notes, noted("11200", "Got HTTP 502", None, SHOWN)], callback_url=URL)
    assert cause is not None
    assert cause.text == f"Twilio could not deliver to {SHOWN}: Got HTTP 502"


def test_a_failure_of_another_spelling_of_the_same_path_goes_before_that_of_another_path() -> None:
    slashed, capitals = "https://ann:***@example.com/status/", "https://ann:***@Example.com/status"
    for notes in ([slashed, capitals], [capitals, slashed]):
        cause = cause_in([noted("11200", "", None, each) for each in notes], callback_url=URL)
        assert cause is not None
        assert cause.text == f"Twilio could not deliver to {capitals}, which is not how {SHOWN} is spelled"


def test_a_failure_of_another_url_is_none() -> None:
    notes = [noted("11200", "failed", None, "https://example.com/twiml"), noted("13224", "invalid", None, None)]
    assert cause_in(notes, callback_url=URL) is None
    assert cause_in([], callback_url=URL) is None


def test_where_nothing_is_noted_the_route_is_named() -> None:
    assert cause_without_notes("the tunnel has ended", callback_url=URL).text.startswith(
        "callbacks can't arrive: the tunnel has ended; Twilio"
    )
    assert SHOWN in cause_without_notes(None, callback_url=URL).text
    assert Cause("a", "b").sentence == "a"


def test_no_password_is_compared_or_shown() -> None:
    assert comparable_url(URL) == SHOWN


SID = "CA" + "1" * 32
PLAIN_URL = "https://example.com/status"
NOTE = Notification("NO1", "21626", "warning", "", "https://docs", None, None)


class PlacedCall(UnexpectedRequest):
    """A call that was placed, a clock, and the causes that were reported."""

    def __init__(self, *, notes: Sequence[Notification] | NetworkError = (), ours: bool = True) -> None:
        self.now = 0.0
        self.statuses: list[str] = []
        self.notes = notes
        self.requests = 0
        self.causes: list[Cause] = []
        self.check = CallbackCheck(
            ExpectedCallbacks(SID, PLAIN_URL, EVENT_NAMES),
            reported=lambda _sid: self.statuses,
            api=self,
            unreachable=lambda: "the tunnel may be down",
            is_ours=lambda: ours,
            on_cause=self.causes.append,
            now=lambda: self.now,
        )

    def notifications(self, sid: str) -> list[Notification]:
        assert sid == SID
        self.requests += 1
        if isinstance(self.notes, NetworkError):
            raise self.notes
        return list(self.notes)

    def have(self, status: str, *, until: float) -> None:
        while self.now < until:
            self.now += 0.5
            self.check.check(status)


def test_after_ten_seconds_it_asks_once_and_reports_once() -> None:
    call = PlacedCall(notes=[NOTE])
    call.have("in-progress", until=9.5)
    assert (call.requests, call.causes) == (0, [])
    call.have("in-progress", until=60)
    assert (call.requests, [cause.code for cause in call.causes]) == (1, ["21626"])


def test_a_call_with_a_callback_is_not_asked_about() -> None:
    call = PlacedCall(notes=[NOTE])
    call.statuses = ["ringing"]
    call.have("in-progress", until=60)
    assert (call.requests, call.causes) == (0, [])


def test_a_queued_call_has_its_callbacks_time_once_it_is_dialled() -> None:
    call = PlacedCall(notes=[NOTE])
    call.have("queued", until=30)
    call.have("ringing", until=32)
    assert call.requests == 0
    call.have("ringing", until=34)
    assert call.requests == 1


@pytest.mark.parametrize(("ours", "causes"), [(True, 1), (False, 0)])
def test_where_nothing_was_noted_a_cause_is_named_for_our_own_watch_alone(ours: bool, causes: int) -> None:
    call = PlacedCall(ours=ours)
    call.have("in-progress", until=20)
    assert (call.requests, len(call.causes)) == (1, causes)
    assert all(cause.text.startswith("callbacks can't arrive: the tunnel may be down") for cause in call.causes)


def test_an_api_that_does_not_answer_ends_the_asking_alone() -> None:
    call = PlacedCall(notes=NetworkError("no answer"))
    call.have("in-progress", until=60)
    assert (call.requests, call.causes) == (1, [])
