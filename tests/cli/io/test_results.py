"""What came of changing several calls, in words."""

from __future__ import annotations

import pytest
from events import moment

from callctl.calls.action import DONE, NOT_ENDED
from callctl.cli.io.results import Outcome, calls, counted, name_some, what_failed
from callctl.errors import NetworkError, OutcomeUnknownError


@pytest.mark.parametrize(("count", "words"), [(0, "0 calls"), (1, "1 call"), (2, "2 calls")])
def test_a_number_of_calls(count: int, words: str) -> None:
    assert calls(count) == counted(count, "call") == words


def test_of_many_calls_five_are_named() -> None:
    assert name_some(["CA1"]) == "CA1"
    assert name_some([f"CA{number}" for number in range(5)]) == "CA0, CA1, CA2, CA3, CA4"
    assert name_some([f"CA{number}" for number in range(7)]) == "CA0, CA1, CA2, CA3, CA4 and 2 more"


def test_what_was_not_done_and_what_may_have_been_are_named_apart() -> None:
    errors = {"CA1": NetworkError("refused"), "CA2": OutcomeUnknownError("no answer"), "CA3": None}
    assert what_failed(errors, total=4, done="redirected") == (
        "2 of 4 calls not redirected: CA1, CA3; 1 of 4 calls may have been redirected or not: CA2"
    )
    assert what_failed({}, total=4, done="redirected") == ""


@pytest.mark.parametrize(
    ("result", "is_recorded", "noted"),
    [
        ("ended", True, DONE),
        ("accepted", True, DONE),
        ("still-ringing", True, NOT_ENDED),
        ("not-ended", False, DONE),
        ("already-over", False, DONE),
        ("left-alone", False, DONE),
    ],
)
def test_what_changed_a_call_or_should_have_is_recorded(result: str, is_recorded: bool, noted: str) -> None:
    """A leg that rings on although it was canceled is a failure, which a watch shows; what came too late is none."""
    outcome = Outcome("cancel", "CA1", result, "…", (("Status", "canceled"),))
    assert outcome.is_recorded is is_recorded
    assert outcome.to_event(moment(1)).result == noted
