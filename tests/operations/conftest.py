from __future__ import annotations

from collections.abc import Iterator

import pytest
from operations.doors import Unanswered


@pytest.fixture
def unanswered() -> Iterator[Unanswered]:
    """Return an API client that answers when the test is over."""
    door = Unanswered()
    yield door
    door.over.set()
