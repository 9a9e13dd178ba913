"""What comes of an action, as the store keeps it."""

from __future__ import annotations

import pytest
from events import moment

from callctl.calls.action import DONE, LATE
from callctl.rules.outcome import Outcome, too_late
from callctl.rules.rule import Redirect
from callctl.store.records import OpenClaim


@pytest.mark.parametrize(
    ("status", "is_over", "text"),
    [
        ("in-progress", False, "it was answered meanwhile and left alone"),
        ("busy", True, "the call got there first: it is busy"),
        ("", True, "the call got there first: it is over"),
        ("", False, "it was answered or is over, and was left alone"),
    ],
)
def test_too_late(status: str, is_over: bool, text: str) -> None:
    assert too_late(status, is_over=is_over, code="21220") == Outcome(LATE, text, status or None, "21220")


def test_an_outcome_becomes_an_event_that_names_the_leg_looked_at_only_where_it_is_another() -> None:
    outcome = Outcome(DONE, "redirected to survey", "in-progress")
    operation = Redirect("survey", "https://example.com/survey")
    event = outcome.to_event(OpenClaim("mine", "CA1", "CA2", "redirect"), operation, at=moment(0))
    assert (event.at, event.call_sid, event.action, event.rule) == (moment(0), "CA1", "redirect", "mine")
    assert (event.about, event.result, event.outcome, event.status) == ("CA2", DONE, outcome.text, "in-progress")
    assert event.request == operation.request()
    same = outcome.to_event(OpenClaim("mine", "CA1", "CA1", "redirect"), None, at=moment(0))
    assert (same.about, same.request) == (None, ())
