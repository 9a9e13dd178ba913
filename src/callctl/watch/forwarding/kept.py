"""Keeps the requests in the store that no application has taken yet, so that ``callctl replay --failed`` can send them.

Nothing is written while all are taken at once. Otherwise what is new is written once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import NoThreadError, StoreError, failure_reason
from callctl.store.records import MOST_UNDELIVERED, Undelivered
from callctl.support.threads import run_in_thread

if TYPE_CHECKING:
    from callctl.store.event_store import EventStore

# How many are written with one commit: callbacks wait for it.
_AT_ONCE = 250

_Notes = dict[tuple[str, str, str], tuple[Undelivered, bool]]  # by call, event and URL; False: to be forgotten


class KeptRequests:
    """Requests that were not taken, to be written to the store. To be used in one event loop."""

    def __init__(self, *, now: Callable[[], datetime], trouble: Callable[[Trouble], None]) -> None:
        """Prepare; ``now`` returns the time, ``trouble`` is called when the store can't be written."""
        self._now, self._trouble = now, trouble
        self._noted: _Notes = {}
        self._being_written: _Notes = {}
        self._failure: str | None = None
        self.store: EventStore | None = None

    def keep(self, request: Undelivered) -> None:
        """Note that a request was not taken, or not yet; this replaces what was noted of it before."""
        self._noted[request.key_of_row] = request, True
        self._bound()

    def forget(self, request: Undelivered) -> None:
        """Note that a request was taken after all."""
        self._noted[request.key_of_row] = request, False

    async def write(self) -> None:
        """Write what was noted. What can't be written now is written the next time."""
        store, noted = self.store, self._noted
        if store is None or not noted:
            return
        self._noted, self._being_written = {}, noted
        try:
            await run_in_thread(partial(_write, store, noted, self._now()))
        except Exception as error:  # whatever it is, requests are passed on
            self._noted, self._being_written = noted | self._noted, {}
            self._bound()
            self._report(failure_reason(error), is_known=isinstance(error, StoreError | NoThreadError))
        else:
            self._failure, self._being_written = None, {}

    def is_written(self, request: Undelivered) -> bool:
        """Return whether nothing of a request that was noted is still to be written."""
        return request.key_of_row not in self._noted and request.key_of_row not in self._being_written

    def _report(self, failure: str, *, is_known: bool) -> None:
        if failure != self._failure:
            self._failure = failure
            cause = Cause.STORE if is_known else Cause.INTERNAL
            self._trouble(Trouble(f"which requests were not passed on can't be kept: {failure}", cause))

    def _bound(self) -> None:
        too_many = len(self._noted) - MOST_UNDELIVERED
        for key in list(islice(self._noted, max(0, too_many))):
            del self._noted[key]


def _write(store: EventStore, noted: Mapping[tuple[str, str, str], tuple[Undelivered, bool]], now: datetime) -> None:
    kept = [request for request, is_kept in noted.values() if is_kept]
    for start in range(0, len(kept), _AT_ONCE):
        store.keep_undelivered(kept[start : start + _AT_ONCE], now=now)
    forgotten = [request for request, is_kept in noted.values() if not is_kept]
    for start in range(0, len(forgotten), _AT_ONCE):
        store.forget_undelivered(forgotten[start : start + _AT_ONCE])
