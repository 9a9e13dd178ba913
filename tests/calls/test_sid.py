"""The forms of a call's SID, of Twilio and of compatible services, and the kinds of Twilio's SIDs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callctl.calls.sid import is_call_sid, kind_of_sid


@pytest.mark.parametrize(
    "sid",
    [
        "CA" + "0" * 32,
        "CA0123456789abcdefABCDEF0123456789",
        "6f0b1c7e-52b3-4f0e-9d0a-0c2b7a3c9f11",
        "v3:T02llQxIyaRkhfRKxgAP8nY511EhFLizdvdUKJiSw8d6A9BborherQ",
    ],
)
def test_sids_of_twilio_and_of_others(sid: str) -> None:
    assert is_call_sid(sid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CA",
        "CAxxx",
        "CA" + "0" * 31,
        "CA" + "0" * 33,
        "CA" + "g" * 32,
        "hello",
        "a/b/c/d/e/f/g/h/1",
        "..",
        "+12025550100",
        "6f0b1c7e-52b3-4f0e-9d0a-0c2b7a3c9f11\n",
        "6f0b1c7e 52b3 4f0e 9d0a",
        "6f0b1c7e-52b3-4f0e-9d0a?x=1",
        "1" * 97,
    ],
)
def test_what_can_not_be_a_sid(text: str) -> None:
    assert not is_call_sid(text)


@given(st.text())
def test_a_sid_has_nothing_that_could_change_a_path(text: str) -> None:
    if is_call_sid(text):
        assert not set(text) & set("/?#%\\ \n")
        assert text not in (".", "..")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("AC" + "0" * 32, "an account"),
        ("CA" + "f" * 32, "a call"),
        ("ZZ" + "0" * 32, None),
        ("AC" + "0" * 31, None),
    ],
)
def test_two_letters_say_of_which_kind_a_sid_is(text: str, kind: str | None) -> None:
    assert kind_of_sid(text) == kind
