"""Fetches the calls of signed callbacks that can be read in more than one way, and are therefore no events.

No caller should be able to hide a call from the table and the rules by a chosen name: what REST knows of the call is
shown. If what was signed names one call for certain, that call sent it, and rules may act on its family as if the
callback had been an event. That REST knows only one of several calls proves nothing: it may not know the right one yet,
and a conference's callback may hold no SID but that of another call, in the name of the room.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from callctl.api.calls_api import CallsApi
from callctl.calls.board import Snapshot
from callctl.calls.call import Call
from callctl.calls.event import CallEvent
from callctl.calls.sid import is_call_sid
from callctl.errors import NotFoundError
from callctl.support.clock import Clock
from callctl.support.threads import run_in_thread
from callctl.watch.background_tasks import repeat
from callctl.watch.poll import is_news

# Seconds until a call is fetched again that REST does not know yet or that could not be fetched, and how often.
PAUSE = 2.0
TRIES = 5
# Any caller may send such callbacks: so many wait at most.
MOST_WAITING = 64


class _Waiting(NamedTuple):
    sids: Sequence[str]
    sender: str | None
    tries: int = 1


class AmbiguousCallbacks:
    """Takes the SIDs of each such callback, and fetches their calls, one callback after the other."""

    def __init__(
        self,
        api: CallsApi,
        *,
        snapshot: Callable[[], Snapshot],
        store: Callable[[CallEvent], Awaitable[None]],
        world: str,
        clock: Clock,
    ) -> None:
        """Prepare; ``store`` stores an event and passes it on to the board."""
        self._api, self._snapshot, self._store, self._world, self._clock = api, snapshot, store, world, clock
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)
        self._arrived = asyncio.Event()

    def add(self, call_sids: Sequence[str], *, sender: str | None) -> None:
        """Have the calls fetched that a callback may be about; ``sender`` sent it, if that is certain."""
        if sids := [sid for sid in call_sids if is_call_sid(sid)]:
            self._waiting.append(_Waiting(sids, sender))
            self._arrived.set()

    async def run(self) -> None:
        """Fetch until cancelled."""
        await repeat(self._next)

    async def _next(self) -> float:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        waiting = self._waiting.popleft()
        try:
            calls = await run_in_thread(lambda: self._known(waiting.sids))
            for call in calls:
                await self._show(call, is_sender=call.sid == waiting.sender)
        except Exception:  # the poll loop reports an API without an answer, the listener the store
            calls = []
        known = {call.sid for call in calls}
        missing = [sid for sid in waiting.sids if sid not in known]
        if not missing:
            return 0.0
        if waiting.tries < TRIES:  # REST may be behind
            self._waiting.append(_Waiting(missing, waiting.sender, waiting.tries + 1))
        return PAUSE

    def _known(self, sids: Sequence[str]) -> list[Call]:
        calls = []
        for sid in sids:
            try:
                calls.append(self._api.fetch(sid))
            except NotFoundError:
                continue
        return calls

    async def _show(self, call: Call, *, is_sender: bool) -> None:
        if is_sender or is_news(call.status, self._snapshot().leg(call.sid)):
            event = CallEvent.from_call(
                call, received_at=self._clock.wall(), world=self._world, sent_callback=is_sender
            )
            await self._store(event)
