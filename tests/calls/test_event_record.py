"""Where a signed text may not be cut: at another SID than the one that Twilio signed first."""

from __future__ import annotations

import pytest
from events import sid

from callctl.calls.event_record import is_split_differently

UUID = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("signed", "named", "is_cut"),
    [
        (f"CallSid{sid(1)}CallStatusringing", sid(1), False),
        (f"?CallSid={sid(1)}&CallStatus=ringing", sid(1), False),
        (f"?CallSid={sid(1)}&CallStatus=ringing", f"={sid(1)}", True),  # a query that is sent as a form
        (f"CallSid{sid(1)}CallStatusringingCallerNameCallSid{sid(2)}", sid(2), True),
        ("CallSidsome-longCallStatusringing", "some-longCallStatusringing", True),
        (f"CallSidsome-long-idCallStatusringingCallerNameCallSidsid-of-{UUID}", f"sid-of-{UUID}", True),
    ],
)
def test_only_the_sid_that_was_signed_first_counts(signed: str, named: str, is_cut: bool) -> None:
    assert is_split_differently(signed, named) is is_cut
