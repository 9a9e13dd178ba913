from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rules_setup import ManualClockSetup, manual_clock_setup

from callctl.simulator.far_end import FarEnd

FAR_END = {"sip:talks@example.com": FarEnd(hang_up_after=100.0)}


@pytest.fixture
def manual_clock(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ManualClockSetup]:
    """Return a setup with a manual clock, by the readings of Twilio's text that the test names."""
    with manual_clock_setup(
        tmp_path, ManualClockSetup, readings=getattr(request, "param", ()), far_end=FAR_END
    ) as setup:
        yield setup
