"""What REST has of a call: itself, its parent, its children, its errors, and who is in its conference."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.errors import CallctlError, RateLimitedError
from callctl.support.threads import start_in_thread

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.resources import Notification, Participant

T = TypeVar("T")

# A Dial rings ten at once (docs/twilio.md, "Dial legs"); a call that dials on and on has more.
MOST_CHILDREN = 1000
# The requests that are under way for one call at the same time.
REQUESTS = 3

PARENT, CHILDREN, NOTIFICATIONS, PARTICIPANTS = "parent", "children", "notifications", "participants"


@dataclass(frozen=True, slots=True)
class CallDetails:
    """A call and what belongs to it; ``missing`` has the error of each part that could not be fetched, by its name.

    ``parent`` is None if it has none; ``children`` and ``notifications`` are None if they are missing, and
    ``participants`` also if they were not requested. Children are in the order in which they were dialled.
    """

    call: Call
    parent: Call | None
    children: Sequence[Call] | None
    notifications: Sequence[Notification] | None
    participants: Sequence[Participant] | None
    missing: Mapping[str, CallctlError]


def check_limit(errors: Iterable[CallctlError]) -> None:
    """Raise the RateLimitedError among the errors, if there is one: with fewer requests at once the part comes."""
    for error in errors:
        if isinstance(error, RateLimitedError):
            raise error


class Fetches:
    """Fetches each call once, whether it is named or the parent of others. Methods may be called in any thread."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._requested: dict[str, Future[Call]] = {}

    def fetch(self, sid: str) -> Call:
        """Return a call; if another thread is fetching it already, wait for that.

        Raises:
            CallctlError: It can't be fetched. The next request for it tries again.
        """
        mine: Future[Call] = Future()
        with self._lock:
            requested = self._requested.setdefault(sid, mine)
        if requested is mine:
            try:
                mine.set_result(self._api.fetch(sid))
            except BaseException as error:
                with self._lock:
                    del self._requested[sid]
                mine.set_exception(error)
        return requested.result()


def details_of(
    api: ApiClient,
    sid: str,
    *,
    fetches: Fetches | None = None,
    parent_sid: str | None = None,
    conference_sid: str | None = None,
) -> CallDetails:
    """Fetch a call, its children and its notifications at once, and its parent as soon as that is known.

    Args:
        api: The API client.
        sid: The call.
        fetches: Shared by the requests for several calls, which may be each other's parents.
        parent_sid: Its parent, if callbacks reported one: it is fetched at the same time.
        conference_sid: A conference whose participants are fetched too.

    Raises:
        CallctlError: The call itself can't be fetched.
        NoThreadError: The system has no thread left for a request.
    """
    missing: dict[str, CallctlError] = {}

    def part(name: str, get: Callable[[], T]) -> T | None:
        try:
            return get()
        except CallctlError as error:
            missing[name] = error
            return None

    listed = start_in_thread(lambda: list(api.list(CallFilter(parent=sid), limit=MOST_CHILDREN)))
    noted = start_in_thread(lambda: api.notifications(sid))
    present = None if conference_sid is None else start_in_thread(lambda: api.participants(conference_sid))
    fetch = (fetches or Fetches(api)).fetch
    expected = None if parent_sid is None or parent_sid == sid else start_in_thread(partial(fetch, parent_sid))
    call = fetch(sid)
    parent, above = None, call.parent_call_sid
    if above is not None and above != sid:
        get = expected.result if expected is not None and above == parent_sid else partial(fetch, above)
        parent = part(PARENT, get)
    children = part(CHILDREN, listed.result)
    return CallDetails(
        call=call,
        parent=parent,
        children=None if children is None else children[::-1],  # REST lists the newest first
        notifications=part(NOTIFICATIONS, noted.result),
        participants=None if present is None else part(PARTICIPANTS, present.result),
        missing=missing,
    )
