"""The other legs of a call: its parent, and the children that its ``<Dial>`` has made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from callctl.api.calls_api import CallsApi
from callctl.calls.call import REST_LIVE_STATUSES, Call
from callctl.calls.filter import CallFilter
from callctl.errors import CallctlError, NoThreadError, UnknownCallError
from callctl.operations.bulk import Done, for_each
from callctl.operations.live_calls import fetch_unlisted, is_recent
from callctl.operations.reported_status import with_reported_status
from callctl.support.threads import start_in_thread

if TYPE_CHECKING:
    from callctl.calls.leg import Leg

T = TypeVar("T")

_PAGE = 1000  # calls


class ReportedFamilies(Protocol):
    """What callbacks reported of families, as the local store holds it. Methods are called in any thread."""

    def family(self, sid: str) -> Mapping[str, Leg]:
        """Return the legs of a call's family by SID: the call, its parent, its siblings and its children."""

    def now(self) -> datetime:
        """Return the time of day."""

    def say_unlisted(self, sids: Sequence[str]) -> None:
        """Say that callbacks reported these calls as live, and that REST does not show them."""


@dataclass(frozen=True, slots=True)
class CallAndChildren:
    """A call, and its child legs that have not ended.

    ``is_parent_over`` and ``is_parent_live`` are what callbacks reported of its parent, which is not fetched.
    """

    call: Call
    children: tuple[Call, ...]
    is_parent_over: bool = False
    is_parent_live: bool = False

    @property
    def parent_sid(self) -> str | None:
        """The SID of the leg whose ``<Dial>`` made this one."""
        return self.call.parent_call_sid


class FamilyOf(NamedTuple):
    """A call, the leg that is its parent or else itself, and the legs of their family that callbacks reported."""

    call: Call
    head: str
    legs: Mapping[str, Leg]


def fetch_with_children(api: CallsApi, sid: str, *, reported: ReportedFamilies) -> CallAndChildren:
    """Fetch a call and its children, side by side: somebody waits for what comes after it."""
    listed = start_in_thread(lambda: list_children(api, sid))
    call, _, legs = fetch_with_family(api, sid, reported=reported)
    children = _live(api, sid, listed.result(), legs, reported=reported)
    return _as_reported(CallAndChildren(call, children), legs)


def as_reported(fetched: CallAndChildren, *, reported: ReportedFamilies) -> CallAndChildren:
    """Return a call and its children as callbacks reported them by now: without those that have ended."""
    sid, parent = fetched.call.sid, fetched.parent_sid
    return _as_reported(fetched, _family(sid, parent, reported.family(sid), reported=reported))


def _as_reported(fetched: CallAndChildren, legs: Mapping[str, Leg]) -> CallAndChildren:
    def known(call: Call) -> Call:
        return with_reported_status(call, legs.get(call.sid))

    call = known(fetched.call)
    parent = Call("", "") if call.parent_call_sid is None else known(Call(call.parent_call_sid, ""))
    live = tuple(child for child in map(known, fetched.children) if not child.is_final)
    return CallAndChildren(call, live, is_parent_over=parent.is_final, is_parent_live=parent.is_live)


def fetch_with_family(api: CallsApi, sid: str, *, reported: ReportedFamilies) -> FamilyOf:
    """Fetch a call, and read what callbacks reported of its family, side by side.

    The call has the status that callbacks reported, where REST is behind.
    """
    reading = _reading(reported, sid)
    call = api.fetch(sid)
    legs = reading()
    call = with_reported_status(call, legs.get(sid))
    return FamilyOf(call, call.parent_call_sid or sid, _family(sid, call.parent_call_sid, legs, reported=reported))


def _reading(reported: ReportedFamilies, sid: str) -> Callable[[], Mapping[str, Leg]]:
    """Begin to read what callbacks reported of a family; return what waits for it."""
    try:
        return start_in_thread(lambda: reported.family(sid)).result
    except NoThreadError:
        return lambda: reported.family(sid)


def _family(sid: str, parent: str | None, legs: Mapping[str, Leg], *, reported: ReportedFamilies) -> Mapping[str, Leg]:
    """Return the legs of a call's family: where no callback reported its parent, they are not all known by the call."""
    leg = legs.get(sid)
    if parent is None or parent == sid or (leg is not None and leg.parent_call_sid == parent):
        return legs
    return {**reported.family(parent), **legs}


def list_live_children(api: CallsApi, sid: str) -> tuple[Call, ...]:
    """Return the child legs of a call that have not ended, by what REST lists alone."""
    return tuple(child for child in list_children(api, sid) if not child.is_final)


def list_children(api: CallsApi, sid: str) -> list[Call]:
    """Return the child legs of a call, also those that have ended, by what REST lists alone."""
    return list(api.list(CallFilter(parent=sid), limit=None))


def live_children(api: CallsApi, sid: str, legs: Mapping[str, Leg], *, reported: ReportedFamilies) -> tuple[Call, ...]:
    """Return the child legs of a call that have not ended, the newest first.

    They have the status that callbacks reported, where REST is behind. One that callbacks lately reported as live and
    that REST does not list yet is fetched. If that fails it is as callbacks reported it.

    Args:
        api: The API client.
        sid: The call.
        legs: What callbacks reported of its family.
        reported: Of what these legs are.
    """
    return _live(api, sid, list_children(api, sid), legs, reported=reported)


def _live(
    api: CallsApi, sid: str, listed: Sequence[Call], legs: Mapping[str, Leg], *, reported: ReportedFamilies
) -> tuple[Call, ...]:
    unlisted, unknown = unlisted_children(api, sid, listed, legs, now=reported.now())
    if unknown:
        reported.say_unlisted(unknown)
    calls = (with_reported_status(call, legs.get(call.sid)) for call in (*unlisted, *listed))
    return tuple(call for call in calls if not call.is_final)


def unlisted_children(
    api: CallsApi, sid: str, listed: Iterable[Call], legs: Mapping[str, Leg], *, now: datetime
) -> tuple[list[Call], list[str]]:
    """Fetch the child legs of a call that callbacks lately reported as live and that are not listed, the newest first.

    Return them, and the SIDs of those among them that REST does not show. They, and all of them where they can't be
    fetched, are as callbacks reported them: what is fetched besides must not keep a call from being changed.
    """
    known = {call.sid for call in listed}
    missing = [
        leg
        for leg in list(legs.values())[::-1]
        if leg.parent_call_sid == sid
        and leg.call_sid not in known
        and leg.verified
        and leg.is_live
        and is_recent(leg.last_event_at, now=now)
    ]
    if not missing:
        return [], []
    fetched, unknown = list[Call](), list[str]()
    with suppress(CallctlError):
        fetched, unknown = fetch_unlisted(api, [leg.call_sid for leg in missing])
    calls = {call.sid: call for call in fetched}
    children = [calls.get(leg.call_sid) or _call_of(leg) for leg in missing]
    # Which call dialled a leg never changes; a service that does not say it leaves that to the callbacks.
    return [child for child in children if child.parent_call_sid in (None, sid)], unknown


def _call_of(leg: Leg) -> Call:
    return Call.from_resource(
        {
            "sid": leg.call_sid,
            "status": leg.status,
            "direction": leg.direction,
            "from": leg.from_,
            "to": leg.to,
            "parent_call_sid": leg.parent_call_sid,
        }
    )


def parent_of(api: CallsApi, sid: str) -> str:
    """Return the SID of a call's parent leg.

    Raises:
        UnknownCallError: It has none.
    """
    parent = api.fetch(sid).parent_call_sid
    if parent is None:
        raise UnknownCallError(
            f"{sid} has no parent leg: no <Dial> made it", hint="--on children acts on the legs that it has dialled"
        )
    return parent


def children_of(api: CallsApi, sid: str, *, reported: ReportedFamilies) -> tuple[str, ...]:
    """Return the SIDs of a call's live child legs.

    Raises:
        UnknownCallError: Neither REST nor callbacks show one.
    """
    reading = _reading(reported, sid)
    listed = list_children(api, sid)
    children = _live(api, sid, listed, reading(), reported=reported)
    if not children:
        raise UnknownCallError(
            f"{sid} has no live child leg: no <Dial> is under way in it",
            hint="--on parent acts on the leg that dialled it",
        )
    return tuple(child.sid for child in children)


def family_of(api: CallsApi, sid: str, *, reported: ReportedFamilies) -> Mapping[str, str | None]:
    """Return a call's whole family, whichever leg is named: the parent, then its live children, each with its parent.

    The parent's own parent is not fetched unless the parent is the leg that is named.
    """
    _, head, legs = fetch_with_family(api, sid, reported=reported)
    rest = [child.sid for child in live_children(api, head, legs, reported=reported)]
    return {head: None, **dict.fromkeys([leg for leg in (sid, *rest) if leg != head], head)}


def find_parents(
    api: CallsApi, sids: Sequence[str], *, parallel: int, time_left: Callable[[], float]
) -> dict[str, str | None]:
    """Return the parents of calls, None for a call without one; what REST does not answer in time is missing.

    Up to ``parallel`` calls are fetched: they take as long as one request. For more, the lists of live calls are read
    first, a page of each, at once: three requests. Only a call that is in none of these pages is fetched.

    Args:
        api: The API client.
        sids: The calls.
        parallel: So many requests at once.
        time_left: Returns the seconds that are left for all of it.
    """
    parents: dict[str, str | None] = {}

    def page(status: str) -> list[Call]:
        return list(api.list(CallFilter(statuses=(status,)), page_size=_PAGE, limit=_PAGE))

    def answers(items: Sequence[str], request: Callable[[str], T]) -> Iterator[T]:
        with suppress(CallctlError, TimeoutError):
            for group in for_each(items, request, parallel=parallel, time_left=time_left):
                yield from (result.value for result in group if isinstance(result, Done))

    if len(sids) > parallel:
        for calls in answers(REST_LIVE_STATUSES, page):
            parents |= {call.sid: call.parent_call_sid for call in calls}
    rest = [sid for sid in sids if sid not in parents]
    return parents | {call.sid: call.parent_call_sid for call in answers(rest, api.fetch)}
