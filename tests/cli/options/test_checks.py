"""How the values of options are read, and what is said of one that can't be right."""

from __future__ import annotations

import pytest

from callctl.cli.options.checks import check_method, check_sid, read_seconds, why_no_call_sid
from callctl.errors import UsageError

CALL = "CA" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("AC" + CALL[2:], "it is the SID of an account"),
        ("ca" + CALL[2:], "it begins with CA in capitals, and here it does not"),
        (CALL[2:], f"it lacks the CA before its 32 digits: {CALL}"),
        ("+12025550100", "it is a phone number"),
        (CALL[:10] + " ", "it has a blank in it"),
        ("CAxxx", "its character 3, 'x', is no hexadecimal digit"),
        (CALL.upper(), f"its letters are small in Twilio's: {CALL}"),
        (CALL + "0", "it has 35 characters, a call SID has 34"),
        ("CA12", "it has 4 characters, a start of one at least 8"),
        (CALL, None),
        ("0123-4567", None),
    ],
)
def test_why_a_text_is_no_call_sid(text: str, reason: str | None) -> None:
    assert why_no_call_sid(text) == reason


def test_a_whole_sid_is_returned_and_anything_else_refused() -> None:
    assert check_sid(CALL) == CALL
    with pytest.raises(UsageError, match=r"not a call SID: \(nothing\)"):
        check_sid("")


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("1s", 1), ("1m30s", 90)])
def test_whole_seconds(text: str | None, seconds: int | None) -> None:
    assert read_seconds(text, option="--x") == seconds


@pytest.mark.parametrize("text", ["0s", "500ms", "1.5s", "2m"])
def test_what_the_api_does_not_take_as_seconds(text: str) -> None:
    with pytest.raises(UsageError, match="--x"):
        read_seconds(text, option="--x", longest=60)


def test_methods_are_get_and_post_in_any_case() -> None:
    assert [check_method(text) for text in ("get", "Post", None)] == ["GET", "POST", None]
    with pytest.raises(UsageError, match="PUT"):
        check_method("PUT")
