"""What one alone of those that share a store does: compare with REST, and look for silent calls.

All could, but each would poll REST as often. The one that leads renews its lease every few seconds, and another one
leads once it has not for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

from callctl.errors import StoreError
from callctl.store.event_store import EventStore
from callctl.support.tasks import cancel_until_done
from callctl.support.threads import run_in_thread

# Seconds for which one leads, and from one renewal to the next.
TERM = 20.0
RENEW_EVERY = 5.0


class Leadership:
    """Runs work while this one leads. For one event loop."""

    def __init__(self, store: EventStore, holder: str) -> None:
        """Prepare; ``holder`` is a name that no other one has."""
        self._store, self._holder = store, holder
        self._leads, self._follows = asyncio.Event(), asyncio.Event()
        self._follows.set()

    async def renew(self) -> float:
        """Find out whether this one leads; return the seconds until that is due again."""
        try:
            leads = await run_in_thread(partial(self._store.lead, self._holder, lasting=timedelta(seconds=TERM)))
        except StoreError:  # another one may lead by now; the store itself reports it
            leads = False
        (self._leads.set if leads else self._leads.clear)()
        (self._follows.clear if leads else self._follows.set)()
        return RENEW_EVERY

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do some work until it is done; it is cancelled where another one leads, and begun anew when this one does."""
        while True:
            await self._leads.wait()
            working = asyncio.ensure_future(work())
            following = asyncio.ensure_future(self._follows.wait())
            try:
                await asyncio.wait({working, following}, return_when=asyncio.FIRST_COMPLETED)
                if working.done():
                    return working.result()
            finally:
                await cancel_until_done((working, following))
