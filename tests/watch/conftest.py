from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from watches import Application, Suspension


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    """Return a local application that notes what it is sent."""
    application = Application()
    await application.start()
    yield application
    await application.stop()


@pytest.fixture
def suspension(monkeypatch: pytest.MonkeyPatch) -> Suspension:
    """Return what suspends this machine, as far as callctl knows."""
    return Suspension(monkeypatch)
