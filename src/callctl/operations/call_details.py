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
    """A call and what belongs to it; ``missing`` has the reason for each part that could not be had, by its name.

    ``parent`` is None where it has none, ``children`` and ``notifications`` are None where they are missing, and
    ``participants`` where they are or were not asked for. Children are in the order in which they were dialled.
    """

    call: Call
    parent: Call | None
    children: Sequence[Call] | None
    notifications: Sequence[Notification] | None
    participants: Sequence[Participant] | None
    missing: Mapping[str, CallctlError]


def check_limit(errors: Iterable[CallctlError]) -> None:
    """Raise the RateLimitedError for which a part is missing, if one is: with fewer requests at once it comes."""
    for error in errors:
        if isinstance(error, RateLimitedError):
            raise error


class Fetches:
    """Asks for each call once, whether it is wanted for itself or as the parent of others; in any thread."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Call]] = {}

    def fetch(self, sid: str) -> Call:
        """Return a call; where another thread asks for it already, wait for that.

        Raises:
            CallctlError: It can't be had. It is asked for again when it is wanted again.
        """
        mine: Future[Call] = Future()
        with self._lock:
            asked = self._asked.setdefault(sid, mine)
        if asked is mine:
            try:
                mine.set_result(self._api.fetch(sid))
            except BaseException as error:
                with self._lock:
                    del self._asked[sid]
                mine.set_exception(error)
        return asked.result()


def details_of(
    api: ApiClient,
    sid: str,
    *,
    fetches: Fetches | None = None,
    parent_sid: str | None = None,
    conference_sid: str | None = None,
) -> CallDetails:
    """Ask for a call, its children and its notifications side by side, and for its parent as soon as that is known.

    Args:
        api: The API client.
        sid: The call.
        fetches: What asks for calls, where several are wanted that may be each other's parents.
        parent_sid: Its parent as far as callbacks reported one, which is asked for side by side with the call.
        conference_sid: The conference whose participants are asked for too.

    Raises:
        CallctlError: The call itself can't be had.
        NoThreadError: The system has no thread left for a request.
    """
    missing: dict[str, CallctlError] = {}

    def part(name: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
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
        ask = expected.result if expected is not None and above == parent_sid else partial(fetch, above)
        parent = part(PARENT, ask)
    children = part(CHILDREN, listed.result)
    return CallDetails(
        call=call,
        parent=parent,
        children=None if children is None else children[::-1],  # REST lists the newest first
        notifications=part(NOTIFICATIONS, noted.result),
        participants=None if present is None else part(PARTICIPANTS, present.result),
        missing=missing,
    )
