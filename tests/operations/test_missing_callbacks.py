"""What a call's notifications say of its callbacks."""

from __future__ import annotations

import pytest

from callctl.api.resources import Notification
from callctl.calls.call import EVENT_NAMES
from callctl.operations.missing_callbacks import Cause, cause_in, is_due, place_of, unnoted

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
    assert is_due(events, status) is due


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


@pytest.mark.parametrize("asked", [SHOWN, "https://ann:***@example.com/status#rc=1"])
def test_a_failure_of_the_very_url_is_a_cause_whatever_its_code(asked: str) -> None:
    cause = cause_in([noted("99999", "Got HTTP 502", "https://docs", asked)], callback_url=URL)
    assert cause is not None
    assert cause.text == f"Twilio could not deliver to {SHOWN}: Got HTTP 502"
    assert "tunnel" in cause.fix
    assert "callctl doctor" in cause.fix


def test_a_failure_of_another_url_is_none() -> None:
    notes = [noted("11200", "failed", None, "https://example.com/twiml"), noted("13224", "invalid", None, None)]
    assert cause_in(notes, callback_url=URL) is None
    assert cause_in([], callback_url=URL) is None


def test_where_nothing_is_noted_the_way_is_named() -> None:
    assert unnoted("the tunnel has ended", callback_url=URL).text.startswith(
        "callbacks can't arrive: the tunnel has ended; Twilio"
    )
    assert SHOWN in unnoted(None, callback_url=URL).text
    assert Cause("a", "b").sentence == "a"


def test_no_password_is_compared_or_shown() -> None:
    assert place_of(URL) == SHOWN
