from collections.abc import AsyncIterator

import pytest
from simulator.setup import SimulatorSetup, simulator_setup


@pytest.fixture
async def setup() -> AsyncIterator[SimulatorSetup]:
    async with simulator_setup() as setup:
        yield setup
