"""Commands that read the store alone: it is kept apart by accounts, and of a wrong one it would seem empty."""

from __future__ import annotations

import pytest
from running import Callctl

READING = (
    ("stats",),
    ("export", "--since", "1h"),
    ("replay", "--since", "1h", "--to", "http://127.0.0.1:1/", "--dry-run"),
)


@pytest.mark.parametrize("args", READING, ids=" ".join)
def test_without_an_account_none_says_that_there_are_no_calls(callctl: Callctl, args: tuple[str, ...]) -> None:
    outcome = callctl(*args, env={})
    assert (outcome.code, outcome.out) == (2, "")
    assert "missing credentials: TWILIO_ACCOUNT_SID" in outcome.err


@pytest.mark.parametrize("args", READING, ids=" ".join)
def test_the_sid_of_a_key_is_no_account(callctl: Callctl, args: tuple[str, ...]) -> None:
    outcome = callctl(*args, env={"TWILIO_ACCOUNT_SID": f"SK{'0' * 32}", "TWILIO_AUTH_TOKEN": "0" * 32})
    assert (outcome.code, outcome.out) == (2, "")
    assert "TWILIO_ACCOUNT_SID (from the environment) is the SID of an API key (SK…), not of an account" in outcome.err
