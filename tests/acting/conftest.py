from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from staging import Stage, a_stage


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Return a stage; a test may choose the readings of Twilio's text it goes by."""
    with a_stage(tmp_path, readings=getattr(request, "param", ())) as stage:
        yield stage
