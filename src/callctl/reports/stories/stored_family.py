"""What a store holds of families of calls: which there are, and the events and actions of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import TYPE_CHECKING

from callctl.calls.action import ActionEvent
from callctl.calls.board import Board
from callctl.calls.event import CallEvent
from callctl.calls.masked_numbers import masked_action, masked_event

if TYPE_CHECKING:
    from callctl.calls.leg import Leg
    from callctl.store.event_store import EventStore


@dataclass(frozen=True, slots=True)
class StoredFamily:
    """The events of all legs of a family and of the conferences that they were in, and what was done to them."""

    events: tuple[CallEvent, ...] = ()
    actions: tuple[ActionEvent, ...] = ()

    def masked(self) -> StoredFamily:
        """Return the same with numbers and names masked."""
        return StoredFamily(tuple(map(masked_event, self.events)), tuple(map(masked_action, self.actions)))


def families_since(
    store: EventStore, since: datetime | None, *, matches: Callable[[Leg], bool]
) -> Iterator[tuple[str, ...]]:
    """Yield the SIDs of each family of which a leg matches, the parent's first; the oldest family comes first.

    With ``since``, only those that are not over or were touched since then.

    Raises:
        StoreError: The store can't be read.
    """
    board = Board()
    for event in store.replay(since=since):
        board.apply(event)
    for family in reversed(board.snapshot().families):
        if any(map(matches, family.legs)):
            yield (family.sid, *(leg.call_sid for leg in family.legs if leg.call_sid != family.sid))


def read_family(store: EventStore, legs: Sequence[str]) -> StoredFamily:
    """Return what a store holds of a family whose legs are known, the parent's SID first.

    Raises:
        StoreError: The store can't be read.
    """
    reads: list[list[CallEvent]] = []
    read = set[str]()
    for sid in legs:
        if sid not in read:  # most came with the parent
            known = list(store.family(sid))
            reads.append(known)
            read |= {event.call_sid for event in known}
    return _with_actions(store, reads, legs)


def find_family(store: EventStore, sid: str) -> StoredFamily:
    """Return what a store holds of the family that a call belongs to, whichever of its legs is named.

    Raises:
        StoreError: The store can't be read.
    """
    reads: list[list[CallEvent]] = []
    waiting, read = [sid], set[str]()
    while waiting:
        leg = waiting.pop()
        if leg in read:
            continue
        known = list(store.whole_family(leg))
        reads.append(known)
        read |= {leg, *(event.call_sid for event in known)}
        # The store keeps one parent of each leg. Where a sender reports another one, that one's family is read too.
        waiting += {event.parent_call_sid for event in known if event.parent_call_sid}
    return _with_actions(store, reads, [sid])


def in_order_of_arrival(reads: Iterable[Iterable[CallEvent]]) -> list[CallEvent]:
    """Return the events of several reads of a store, each once: those of one read stay in its order, the store's.

    Their times may be of several clocks, or of one that was set in between: only between two reads they decide.
    """
    return list({event.key: event for event in merge(*reads, key=lambda event: event.received_at)}.values())


def _with_actions(store: EventStore, reads: list[list[CallEvent]], legs: Sequence[str]) -> StoredFamily:
    conferences = dict.fromkeys(event.conference_sid for read in reads for event in read if event.conference_sid)
    events = in_order_of_arrival([*reads, *(store.family(conference) for conference in conferences)])
    known = dict.fromkeys([*legs, *(event.call_sid for event in events)])
    return StoredFamily(tuple(events), tuple(action for leg in known for action in store.actions(leg)))
