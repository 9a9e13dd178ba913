from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from reaching import Application


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    """Return a local application that notes what it is sent."""
    application = Application()
    await application.start()
    yield application
    await application.stop()
