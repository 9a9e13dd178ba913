"""What REST says of a family of calls: its legs with what they cost, and their errors and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from callctl.calls.event import CallEvent
from callctl.errors import CallctlError, NetworkError, NotFoundError
from callctl.operations.call_details import CHILDREN, NOTIFICATIONS, PARENT, CallDetails, check_limit, details_of
from callctl.operations.missed_ends import missed_end
from callctl.operations.reported_status import reported_legs
from callctl.reports.stories.rest_facts import RestFacts
from callctl.support.threads import start_in_thread

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.resources import Notification

_IN_WORDS = {PARENT: "parent call", CHILDREN: "child legs", NOTIFICATIONS: "errors and warnings"}


@dataclass(frozen=True, slots=True)
class RestFamily:
    """The facts, and the errors of those that could not be fetched, by leg and part, such as ``child legs``."""

    facts: RestFacts
    missing: Mapping[tuple[str, str], CallctlError]

    def check_limit(self) -> None:
        """Raise the RateLimitedError among the errors, if there is one: with fewer requests at once the part comes."""
        check_limit(self.missing.values())


def fetch_family(api: ApiClient, sid: str, legs: Sequence[str] = ()) -> RestFamily:
    """Return what REST says of the family of a call, whichever leg is named; requests are sent at once.

    ``legs`` are those that are known. Twilio deletes old calls: of one that is gone nothing is returned.

    Raises:
        NotFoundError: REST knows no such call, and no legs were given.
        CallctlError: The call can't be fetched, or what came has no status, so that nothing can be said of it.
    """
    noted = _noted(api, [leg for leg in legs if leg != sid])
    try:
        fetched = [details_of(api, sid)]
    except NotFoundError:
        if not legs:
            raise
        return RestFamily(RestFacts(), {})
    if not fetched[0].call.status:
        raise NetworkError(
            f"the API's answer about {sid} makes no sense: the call has no status",
            hint="check the API address (CALLCTL_API_URL)",
        )
    if fetched[0].parent is not None:  # then a child was named
        fetched.append(details_of(api, fetched[0].parent.sid))
    calls = {call.sid: call for details in fetched for call in (details.call, *(details.children or ()))}
    notes = {details.call.sid: details.notifications or () for details in fetched}
    missing = dict(pair for details in fetched for pair in _missing(details))
    noted |= _noted(api, [leg for leg in calls if leg not in noted and leg not in notes])
    for leg, requested in noted.items():
        try:
            notes.setdefault(leg, requested.result())
        except CallctlError as error:
            missing[leg, _IN_WORDS[NOTIFICATIONS]] = error
    return RestFamily(RestFacts(calls, notes), missing)


def _noted(api: ApiClient, legs: Iterable[str]) -> dict[str, Future[list[Notification]]]:
    def begin(leg: str) -> Future[list[Notification]]:
        return start_in_thread(lambda: api.notifications(leg))

    return {leg: begin(leg) for leg in legs}


def _missing(details: CallDetails) -> Iterator[tuple[tuple[str, str], CallctlError]]:
    for part, error in details.missing.items():
        yield (details.call.sid, _IN_WORDS[part]), error


def unreported(facts: RestFacts, events: Iterable[CallEvent], *, now: datetime, world: str) -> list[CallEvent]:
    """Return legs and ends that REST shows and no event reported, as events."""
    legs = reported_legs(events)
    ends = []
    for call in facts.calls.values():
        leg = legs.get(call.sid)
        if leg is None:
            ends.append(CallEvent.from_call(call, received_at=now, world=world))
        elif (end := missed_end(call, leg, now=now, world=world)) is not None:
            ends.append(end)
    return ends
