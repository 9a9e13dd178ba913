"""Events that come faster than they are shown: frames are drawn all the same."""

from __future__ import annotations

import asyncio

from legs import callback
from reaching import LIMIT, Notes

from callctl.board import Change
from callctl.events import CallEvent
from callctl.session.picture import AT_ONCE, Picture
from callctl.views.header import Header

HEADER = Header(title="watch", listening="x", callback_url="", api_url=None)


class Storm(Notes):
    """A view that hears of one more call whenever others get their turn, and never comes to an end."""

    def __init__(self, picture: list[Picture]) -> None:
        super().__init__()
        self._picture, self._calls = picture, 0

    def event(self, event: CallEvent, change: Change | None) -> None:
        super().event(event, change)
        self.blow()

    def blow(self) -> None:
        self._calls += 1
        self._picture[0].event(callback(f"CA{self._calls:032}", "ringing", second=1, sequence=0))


async def test_a_storm_is_drawn_while_it_lasts() -> None:
    held: list[Picture] = []
    held.append(Picture(header=lambda: HEADER))
    view = Storm(held)
    for _ in range(2 * AT_ONCE):
        view.blow()
    running = asyncio.create_task(held[0].run(view))
    async with asyncio.timeout(LIMIT):
        await view.until(lambda seen: seen.snapshot is not None and seen.snapshot.live >= 2 * AT_ONCE)
        held[0].stop()
        await running
    assert view.snapshot is not None
    assert view.snapshot.live < len(view.events) + 2 * AT_ONCE
