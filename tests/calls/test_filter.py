"""The filter in words, as the header of ``watch`` has it."""

from __future__ import annotations

from legs import CALLER

from callctl.calls.filter import CallFilter


def test_in_words() -> None:
    assert CallFilter().in_words == ""
    assert CallFilter(to="client:ann", from_=CALLER, statuses=("busy", "failed")).in_words == (
        f"to client:ann, from {CALLER}, busy/failed"
    )
