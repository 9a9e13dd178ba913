"""EventStore: what keeps the events of a world, what was done to its calls, and which rule may act.

A world is one account at one API address. ``store/opening.py`` opens the store that the settings name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

    from callctl.calls.action import ActionEvent
    from callctl.calls.event import CallEvent
    from callctl.store.records import ActionLimit, CallRow, Forgotten, OpenClaim, PlacedCall, Refusal, Undelivered


class EventStore(Protocol):
    """The part of a store that belongs to one world. Safe to use from several threads.

    A method that writes has committed when it returns. Every method raises StoreError where the store can't be read or
    written, or is closed.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other machines use it too; then it has a clock of its own, and a statement may take a while."""

    @property
    def away(self) -> str | None:
        """Why nothing can be stored or read just now; None where that is not known to be so."""

    # How many events and actions were left out, since their records can't be read.
    unreadable: int
    unreadable_actions: int

    def close(self, *, timeout: float = 5.0) -> None:
        """Write what was submitted and close the store; wait ``timeout`` seconds at most."""

    def check_writable(self) -> None:
        """Write something and undo it, as a test that events can be stored now."""

    def mend(self) -> bool:
        """Do what can be done about a read that failed, however long it takes; return whether to read anew.

        Raises:
            StoreError: Nothing can be done, and nothing is lost by giving up.
        """

    def observe_commits(self, observe: Callable[[float, int], None]) -> None:
        """Have ``observe`` called, in any thread, with the seconds that each commit of events took and their number."""

    # Events

    def append(self, event: CallEvent) -> bool:
        """Store an event; return False if it was stored before."""

    def submit(self, event: CallEvent) -> Future[bool]:
        """Do what ``append`` does, without waiting; the future is settled in the writer's thread."""

    def append_async(self, event: CallEvent) -> asyncio.Future[bool]:
        """Do what ``append`` does, in an event loop. All that share a commit are woken at once."""

    def replay(self, *, since: datetime | None, up_to: int | None = None) -> Iterator[CallEvent]:
        """Yield, in their order of arrival, the events of the families that are not over or were touched since.

        With None, of all families. A family comes whole, however old its first events are; but nothing that came
        after the event with the id ``up_to``, if that is given.
        """

    def records(self, *, since: datetime | None = None, part: int = 0, of: int = 1) -> Iterator[list[str]]:
        """Yield the records of each call that was touched since, one call after the other; with None, of all calls.

        They are what ``CallEvent.from_record`` reads; those that can't be read are among them. What is stored after the
        first one was read is missing. It takes the memory of some hundred calls, and keeps no writer waiting. Each call
        is in one of ``of`` parts, which several processes may read.
        """

    def family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call, its parent, its siblings and its children, in their order of arrival."""

    def whole_family(self, call_sid: str) -> Iterator[CallEvent]:
        """Return the events of a call and of all above and below it, parent by parent, in their order of arrival."""

    def after(self, event_id: int, *, limit: int = ...) -> list[tuple[int, CallEvent]]:
        """Return the events that came after the one with this id, with their ids, at most ``limit``."""

    def missed_after(self, event_id: int) -> tuple[int, list[CallEvent]]:
        """Return the id of the newest event, and those of the kind ``missed`` that came after the one with this id."""

    def last_event_id(self) -> int:
        """Return the id after which new events come, or 0."""

    # Calls

    def call(self, call_sid: str) -> CallRow | None:
        """Return what is known of one call."""

    def calls_starting(self, start: str, *, limit: int = 10) -> list[CallRow]:
        """Return the calls whose SID begins with a text, the latest first."""

    def live_calls(self) -> list[CallRow]:
        """Return the calls of which no final status is stored."""

    def ended_calls(self, *, limit: int) -> list[CallRow]:
        """Return the calls of which a final status is stored, those of the latest events first, at most ``limit``."""

    def delete_older_than(self, moment: datetime, *, limit: int = 100) -> int:
        """Delete at most ``limit`` calls without an event since, with their events; return how many.

        A small step, for one transaction must not keep callbacks waiting: call it again until it returns 0. What rules
        and commands did to a call stays as long as the call: its time is the machine's, which may have been wrong.
        """

    def cap_times(self, latest: datetime, *, limit: int = 100) -> int:
        """Set the time of calls that lies after ``latest`` to that, of at most ``limit``; return of how many.

        Else a time that can't be right, of an absurd Timestamp or a clock that was ahead, would keep them forever. It
        is a small step as ``delete_older_than`` is.
        """

    # Placed calls

    def remember_placed(
        self,
        call_sid: str,
        *,
        at: datetime,
        turn: datetime | None = None,
        is_last: bool = True,
        callback: str | None = None,
        events: Iterable[str] = (),
        dial_action: str | None = None,
    ) -> None:
        """Store the call that was placed last: what ``@last`` stands for in this world.

        Args:
            call_sid: The call.
            at: When it was placed.
            turn: The turn that ``forget_last_placed`` gave it. If another one was given a turn since, that is the last
                one, or it is not known which is. None: this is the last one in any case.
            is_last: False if another one was placed since, which the store may not know yet.
            callback: Where its callbacks go, without what may be secret.
            events: The names of the events of which it sends callbacks.
            dial_action: The name of where its <Dial> sends it; empty if it hangs up once that is over, None if that
                is not known.
        """

    def forget_last_placed(self, *, at: datetime) -> Forgotten:
        """Store that the call that was placed last is not known, since one is about to be placed."""

    def restore_last_placed(self, forgotten: Forgotten) -> None:
        """Undo a ``forget_last_placed``, since no call was placed. Where more was stored since, do nothing."""

    def last_placed(self) -> str | None:
        """Return the SID of the call that was placed last in this world; it is empty where that is not known."""

    def placed_since(self, moment: datetime, *, callback: str) -> list[PlacedCall]:
        """Return the calls that callctl placed since, with callbacks to this very URL, the first one first."""

    def was_placed(self, call_sid: str) -> bool:
        """Return whether callctl placed a call."""

    def placed_at(self, call_sid: str) -> datetime | None:
        """Return when callctl placed a call, by the clock of who placed it; None if it did not."""

    def dial_action(self, call_sid: str) -> str | None:
        """Return where the <Dial> of a call that callctl placed sends it, as its user called it.

        Empty if it hangs up once its Dial is over; None if that is not known.
        """

    # Requests that were to be passed on

    def keep_undelivered(self, requests: Iterable[Undelivered], *, now: datetime) -> None:
        """Store requests that an application has not taken; this replaces what was stored of them before.

        They stay as long as their calls, and the newest `MOST_UNDELIVERED` at most. ``now`` is the caller's time.
        """

    def forget_undelivered(self, requests: Iterable[Undelivered]) -> None:
        """Delete requests that were taken."""

    def undelivered(self, *, now: datetime) -> list[tuple[Undelivered, CallEvent]]:
        """Return the requests that were not taken, each with its event, in the order in which the events arrived."""

    # Actions, and the intents that precede them

    def record_actions(self, actions: Iterable[ActionEvent]) -> None:
        """Store actions on several calls with one commit; the intents end of those that may have been changed."""

    def actions(self, call_sid: str) -> list[ActionEvent]:
        """Return the actions of commands and rules on one call that can be read, the first one first."""

    def all_actions(self, call_sid: str) -> list[ActionEvent]:
        """Return the actions on one call; where one can't be read, no rule may act as if there had been none.

        Raises:
            StoreError: One can't be read.
        """

    def actions_after(self, action_id: int, *, limit: int = ...) -> list[tuple[int, ActionEvent]]:
        """Return the actions that came after the one with this id, with their ids, at most ``limit``."""

    def last_action_id(self) -> int:
        """Return the id after which new actions come, or 0."""

    def add_intents(self, call_sids: Iterable[str], *, now: datetime, until: datetime) -> set[str]:
        """Store that a command is about to change calls, until a time at most; return those that had an intent before.

        Times are the caller's, as in ``claim``.

        An intent ends when an action is recorded that may have changed the call, or with ``remove_intents``. One whose
        time is over is of a command that was cut off, and may have changed the call.
        """

    def remove_intents(self, call_sids: Iterable[str]) -> None:
        """Remove the intents to change calls that were added here last, and by nobody since."""

    def has_intent(self, call_sid: str, *, is_over: Callable[[datetime], bool]) -> bool:
        """Return whether a command is about to change a call.

        ``is_over`` returns whether the time of the intent is over, for a store without a clock of its own.
        """

    def had_intent(self, call_sid: str) -> bool:
        """Return whether there is an intent to change a call, though its time may be over."""

    # Who listens and keeps events in the store, for all who use it: from other machines, in containers, as other users.

    def announce(self, nonce: str, record: Mapping[str, Any], *, lasting: timedelta) -> None:
        """Store that a listener is there for a while, with what others have to know of it."""

    def withdraw(self, *nonces: str) -> None:
        """Store that listeners are gone."""

    def announced(self, *, limit: int | None = None) -> dict[str, Mapping[str, Any]]:
        """Return what listeners that are there said of themselves, by nonce, the one that was started last first.

        At most ``limit``, if that is given.
        """

    def lead(self, holder: str, *, lasting: timedelta) -> bool:
        """Return whether one of those that share the store is to do what one alone does, for a while from now on.

        It stays so as long as it calls this again in time; else the next one that calls it leads.
        """

    # Claims: what a rule may do once per leg, kept here so that restarts and other watches know of it. A claim is
    # committed before the request goes out, and stays open until the answer is recorded, in the same commit. An open
    # claim whose lease is over belonged to a watch that crashed, and may be taken over.

    def claim(
        self,
        claim: OpenClaim,
        *,
        now: datetime,
        until: datetime,
        exclusive: bool = False,
        limit: ActionLimit | None = None,
    ) -> OpenClaim | Refusal:
        """Claim a rule's action on a leg, with a lease, in one step; return the claim with its fence, or why not.

        Args:
            claim: What is claimed.
            now: The caller's time.
            until: When the lease ends by that. Where a store has a clock of its own, it lasts as long by that one.
            exclusive: Whether to refuse while another rule's action on the leg is in progress: of two that claim at
                once, one wins.
            limit: How many claims that named a limit there may be; what is released or declined does not count.
        """

    def renew(self, claim: OpenClaim, *, now: datetime, until: datetime) -> bool:
        """Extend the lease of an open claim; return False, and nothing may be sent, if it was taken over."""

    def take_over(self, claim: OpenClaim, *, now: datetime, until: datetime) -> OpenClaim | None:
        """Take an open claim, under a new fence; return None if it was renewed, taken over or settled since."""

    def settle(self, claim: OpenClaim, event: ActionEvent) -> bool:
        """Close a claim and store the action's result; return False, with neither, if it was taken over or settled."""

    def decline(self, claim: OpenClaim, event: ActionEvent) -> bool:
        """Store that an action was declined, and the event of it, once for each leg that the rule looked at.

        A rule that acts on a leg because of others, as on a parent, may still act because of another one; not because
        of the same (``declined_rule``). If the claim has a fence it is open, and is deleted in the same step.

        Return False, with neither, if this was stored before, if the claim was taken over or settled, or, of a claim
        without a fence, if the action is done or in progress.
        """

    def release(self, claim: OpenClaim) -> None:
        """Delete a claim, because nothing was sent and the rule no longer proposes the action."""

    def expired_claims(self, *, is_over: Callable[[OpenClaim], bool]) -> list[OpenClaim]:
        """Return the open claims whose lease is over, as ``is_over`` returns for each.

        A store with a clock of its own returns them by that one.
        """

    def is_settled(self, claim: OpenClaim) -> bool:
        """Return whether an action is done, or was declined because of the same leg, by anybody."""

    def open_claims(self) -> int:
        """Return how many claims are open."""

    def claim_keys(self) -> set[tuple[str, str]]:
        """Return rule and leg of all claims, open and settled; of what was declined the ``declined_rule``."""

    def action_in_progress(self, call_sid: str, *, other_than: str, action: str = "") -> str | None:
        """Return the action of an open claim on a leg that belongs to another rule than ``other_than``.

        With ``action``, only a claim of that action counts.
        """
