"""What callbacks reported and what REST shows: the later step counts, and only callbacks that were verified."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from events import event_of, form, moment, sid
from legs import board_of

from callctl.calls.call import Call
from callctl.calls.leg import Leg
from callctl.operations.reported_status import seconds_before_end, with_reported_status


def leg(status: str, *, verified: bool = True) -> Leg:
    leg = board_of([event_of(form(1, status, at=1, parent=2), verified=verified)]).snapshot().leg(sid(1))
    assert leg is not None
    return leg


@pytest.mark.parametrize(
    ("shown", "by_callbacks", "status"),
    [
        ("in-progress", "completed", "completed"),
        ("ringing", "in-progress", "in-progress"),
        ("queued", "canceled", "canceled"),
        ("completed", "in-progress", "completed"),
        ("in-progress", "ringing", "in-progress"),
        ("completed", "busy", "completed"),
        ("queued", "initiated", "queued"),  # a word that REST does not have
    ],
)
def test_the_later_step_counts(shown: str, by_callbacks: str, status: str) -> None:
    known = with_reported_status(Call(sid(1), shown), leg(by_callbacks))
    assert (known.status, known.parent_call_sid) == (status, sid(2))


@pytest.mark.parametrize("by_callbacks", ["completed", "in-progress", "canceled"])
def test_what_was_not_verified_counts_for_nothing(by_callbacks: str) -> None:
    call = Call(sid(1), "ringing")
    assert with_reported_status(call, leg(by_callbacks, verified=False)) == call
    assert with_reported_status(call, None) == call


@pytest.mark.parametrize(
    ("dates", "seconds"),
    [
        ({"date_updated": moment(11), "as_of": moment(611)}, 10),  # a Date may be a proxy's own
        ({"end_time": moment(11), "date_updated": moment(40), "as_of": moment(611)}, 10),
        ({"date_updated": moment(0), "as_of": moment(12)}, 11),  # of a service that does not change it
        ({"as_of": moment(12)}, 11),
        ({}, 899),
    ],
)
def test_how_long_a_call_rang_goes_by_its_own_dates_first(dates: dict[str, Any], seconds: float) -> None:
    ended = replace(Call(sid(1), "canceled"), **dates)
    assert seconds_before_end(leg("ringing"), ended, now=moment(900)) == ("ringing", seconds)
