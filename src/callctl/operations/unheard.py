"""One call that was placed with callbacks, and of which none has come: asked about once, by whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from callctl.api.protocol import CallsApi
from callctl.errors import CallctlError
from callctl.operations import missing_callbacks
from callctl.operations.missing_callbacks import Cause, cause_in, is_due, unnoted


@dataclass(frozen=True, slots=True)
class Ordered:
    """What was asked for when a call was placed: where its callbacks go, and of which events."""

    sid: str
    callback_url: str
    events: Collection[str]


class Unheard:
    """Notices the silence of one call, and tells of it once."""

    def __init__(
        self,
        ordered: Ordered,
        *,
        heard: Callable[[str], Sequence[str]],
        api: CallsApi,
        deaf: Callable[[], str | None],
        is_ours: Callable[[], bool],
        tell: Callable[[Cause], None],
        now: Callable[[], float],
    ) -> None:
        """Begin; the call has just been placed.

        Args:
            ordered: The call.
            heard: Returns the statuses that callbacks told of a call.
            asked: The API.
            deaf: Returns why callbacks can't arrive, if that is known.
            is_ours: Tells whether the callbacks go to a watch whose store can be read here; of others' nothing is
                known but what Twilio noted.
            tell: Told of the likeliest cause.
            now: Seconds on a clock that never goes back.
        """
        self._ordered, self._heard, self._api = ordered, heard, api
        self._deaf, self._is_ours, self._tell, self._now = deaf, is_ours, tell, now
        self._placed = now()
        self._due_since: float | None = None
        self._done = False

    def look(self, status: str) -> None:
        """Take notice of the call's status; ask, once, when it should have been heard of for a while."""
        if self._done or not is_due(self._ordered.events, status):
            return
        now = self._now()
        self._due_since = now if self._due_since is None else self._due_since
        is_late = now - self._due_since >= missing_callbacks.ON_ITS_WAY.total_seconds()
        if not is_late or now - self._placed < missing_callbacks.AFTER.total_seconds():
            return
        self._done = True
        if not self._heard(self._ordered.sid):
            self._ask()

    def _ask(self) -> None:
        url = self._ordered.callback_url
        try:
            cause = cause_in(self._api.notifications(self._ordered.sid), callback_url=url)
        except CallctlError:
            return  # the waiting goes on, and will tell if the API can't be asked
        if cause is None and self._is_ours():
            cause = unnoted(self._deaf(), callback_url=url)
        if cause is not None:
            self._tell(cause)
