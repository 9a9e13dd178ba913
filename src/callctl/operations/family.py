"""The other legs of a call: its parent, and the children that its ``<Dial>`` has made."""

from __future__ import annotations

from dataclasses import dataclass

from callctl.api.calls_api import CallsApi
from callctl.calls.call import Call
from callctl.calls.filter import CallFilter
from callctl.errors import UnknownCallError
from callctl.support.threads import start_in_thread


@dataclass(frozen=True, slots=True)
class CallAndChildren:
    """A call, and its child legs that have not ended."""

    call: Call
    children: tuple[Call, ...]

    @property
    def parent_sid(self) -> str | None:
        """The SID of the leg whose ``<Dial>`` made this one."""
        return self.call.parent_call_sid


def fetch_with_children(api: CallsApi, sid: str) -> CallAndChildren:
    """Ask for a call and its children, side by side: somebody waits for what comes after it."""
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


def family_of(api: CallsApi, sid: str) -> tuple[str, ...]:
    """Return the SIDs of a call's whole family, whichever leg is named: the parent first, then its live children."""
    call = api.fetch(sid)
    head = call.parent_call_sid or sid
    rest = [child.sid for child in live_children(api, head)]
    return tuple(dict.fromkeys([head, sid, *rest]))
