"""The other legs of a call: its parent, and the children that its ``<Dial>`` has made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from callctl.api.calls_api import CallsApi
from callctl.calls.call import REST_LIVE_STATUSES, Call
from callctl.calls.filter import CallFilter
from callctl.errors import CallctlError, UnknownCallError
from callctl.operations.bulk import Done, for_each
from callctl.support.threads import start_in_thread

T = TypeVar("T")

_PAGE = 1000  # calls


@dataclass(frozen=True, slots=True)
class CallAndChildren:
    """A call, and its child legs that have not ended; ``is_parent_over`` where its parent is known to have ended."""

    call: Call
    children: tuple[Call, ...]
    is_parent_over: bool = False

    @property
    def parent_sid(self) -> str | None:
        """The SID of the leg whose ``<Dial>`` made this one."""
        return self.call.parent_call_sid


def fetch_with_children(api: CallsApi, sid: str) -> CallAndChildren:
    """Fetch a call and its children, side by side: somebody waits for what comes after it."""
    children = start_in_thread(lambda: live_children(api, sid))
    call = api.fetch(sid)
    return CallAndChildren(call, children.result())


def live_children(api: CallsApi, sid: str) -> tuple[Call, ...]:
    """Return the child legs of a call that have not ended."""
    return tuple(child for child in api.list(CallFilter(parent=sid), limit=None) if not child.is_final)


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


def children_of(api: CallsApi, sid: str) -> tuple[str, ...]:
    """Return the SIDs of a call's live child legs.

    Raises:
        UnknownCallError: It has none.
    """
    children = live_children(api, sid)
    if not children:
        raise UnknownCallError(
            f"{sid} has no live child leg: no <Dial> is under way in it",
            hint="--on parent acts on the leg that dialled it",
        )
    return tuple(child.sid for child in children)


def family_of(api: CallsApi, sid: str) -> Mapping[str, str | None]:
    """Return a call's whole family, whichever leg is named: the parent, then its live children, each with its parent.

    The parent's own parent is not fetched unless the parent is the leg that is named.
    """
    call = api.fetch(sid)
    head = call.parent_call_sid or sid
    rest = [child.sid for child in live_children(api, head)]
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
