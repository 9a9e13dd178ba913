from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import EACH_READING
from turning import TurnedStage, a_turned_stage

from callctl.simulator.far_end import FarEnd

FAR_END = {"sip:talks@example.com": FarEnd(hang_up_after=100.0)}


@pytest.fixture(params=EACH_READING, ids=str)
def turned(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TurnedStage]:
    """Return a stage whose time is turned by hand, by each reading of Twilio's text in turn."""
    with a_turned_stage(tmp_path, TurnedStage, readings=request.param, far_end=FAR_END) as stage:
        yield stage
