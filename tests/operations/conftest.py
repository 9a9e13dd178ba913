from __future__ import annotations

from collections.abc import Iterator

import pytest
from operations.fake_api import Unanswered


@pytest.fixture
def unanswered() -> Iterator[Unanswered]:
    """Return an API client that answers when the test is over."""
    api = Unanswered()
    yield api
    api.over.set()
