"""Work beside whoever waits for it: what came of it is handed on, whatever it is."""

from __future__ import annotations

import pytest

from callctl.background import beside, in_daemon_thread


def missing() -> str:
    return dict[str, str]()["x"]


def test_beside_hands_on_what_came_and_what_went_wrong() -> None:
    assert beside(lambda: 7).result() == 7
    with pytest.raises(KeyError):
        beside(missing).result()


async def test_so_it_is_in_an_event_loop() -> None:
    assert await in_daemon_thread(lambda: 7) == 7
    with pytest.raises(KeyError):
        await in_daemon_thread(missing)
