"""Which requests no application has taken yet, kept in the store so that `callctl replay --failed` can send them.

Nothing is written while all is taken at once. Else what is new is written once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from callctl.calls.watch_trouble import Cause, Trouble
from callctl.errors import NoThreadError, StoreError
from callctl.store.records import MOST_UNDELIVERED, Undelivered
from callctl.support.threads import failure_reason, run_in_thread

if TYPE_CHECKING:
    from callctl.store.event_store import EventStore

# How many are written with one commit: callbacks wait for it.
_AT_ONCE = 250

_News = dict[tuple[str, str, str], tuple[Undelivered, bool]]  # by call, event and URL; False: to be forgotten


class KeptRequests:
    """What is to be written of requests that were not taken. To be used in one event loop."""

    def __init__(self, *, now: Callable[[], datetime], trouble: Callable[[Trouble], None]) -> None:
        """Prepare; ``now`` returns the time, ``trouble`` is given what went wrong with the store."""
        self._now, self._trouble = now, trouble
        self._news: _News = {}
        self._failure: str | None = None
        self.store: EventStore | None = None

    def keep(self, request: Undelivered) -> None:
        """Have it written that a request was not taken, or not yet; what was written of it before counts no more."""
        self._news[request.key_of_row] = request, True
        self._bound()

    def forget(self, request: Undelivered) -> None:
        """Have it written that a request was taken after all."""
        self._news[request.key_of_row] = request, False

    async def write(self) -> None:
        """Write what is new. What can't be written now is written the next time."""
        store, news = self.store, self._news
        if store is None or not news:
            return
        self._news = {}
        try:
            await run_in_thread(partial(_write, store, news, self._now()))
        except Exception as error:  # whatever it is, requests are passed on
            self._news = news | self._news
            self._bound()
            self._report(failure_reason(error), is_known=isinstance(error, StoreError | NoThreadError))
        else:
            self._failure = None

    def _report(self, failure: str, *, is_known: bool) -> None:
        if failure != self._failure:
            self._failure = failure
            cause = Cause.STORE if is_known else Cause.INTERNAL
            self._trouble(Trouble(f"which requests were not passed on can't be kept: {failure}", cause))

    def _bound(self) -> None:
        too_many = len(self._news) - MOST_UNDELIVERED
        for key in list(islice(self._news, max(0, too_many))):
            del self._news[key]


def _write(store: EventStore, news: Mapping[tuple[str, str, str], tuple[Undelivered, bool]], now: datetime) -> None:
    kept = [request for request, is_kept in news.values() if is_kept]
    for start in range(0, len(kept), _AT_ONCE):
        store.keep_undelivered(kept[start : start + _AT_ONCE], now=now)
    forgotten = [request for request, is_kept in news.values() if not is_kept]
    for start in range(0, len(forgotten), _AT_ONCE):
        store.forget_undelivered(forgotten[start : start + _AT_ONCE])
