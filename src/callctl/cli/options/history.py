"""What the local store holds of calls, for the commands that change calls: reports of callbacks, and requests.

No command fails for want of it: a store that can't be read or written is mentioned once on stderr.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from callctl.calls.call import Call, CallStatus, rank_of
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.calls import open_store_alone, open_store_for_writing, was_just_placed
from callctl.errors import (
    CallctlError,
    NoLongerWantedError,
    NoThreadError,
    NotInProgressError,
    StoreAwayError,
    StoreError,
    WrongCallStateError,
)
from callctl.support.clock import Clock, elapsed
from callctl.support.identity import user_at_host
from callctl.support.threads import run_with_time_limit

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.api.retries import Attempt
    from callctl.calls.action import ActionEvent
    from callctl.calls.leg import Leg
    from callctl.cli.io.results import Outcome, Request
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore

_NOT_WRITTEN = "the outcome is unknown, and not written down: "
# The longest that a request may take: five tries of ten seconds each, and the pauses between.
_LONGEST = timedelta(minutes=1)
# How long a request waits for the store, in seconds; how long each note waits for another program's lock, and how long
# after one that failed the next is tried.
_PATIENCE = 1.0
_BUSY_LIMIT = 2.0
_TRY_AGAIN = 5.0
# How far apart two of Twilio's dates of one moment may be: they have whole seconds, and are not of one machine.
_SAME_TIME = timedelta(seconds=2)
# The longest that a call rings (docs/twilio.md, "Creating a call").
_LONGEST_RING = timedelta(seconds=605)


class History:
    """The local store's part for one command, open in a ``with`` block. Methods may be called in several threads."""

    def __init__(
        self, runtime: Runtime, settings: Settings, *, readonly: bool = False, is_urgent: bool = False
    ) -> None:
        """Prepare. With ``readonly``, as for a preview, the store is opened so that nothing can be written.

        With ``is_urgent``, as for a hang-up, what callbacks reported of families is waited for for a second at most.
        """
        self._runtime = runtime
        self._settings = settings
        self._readonly, self._is_urgent = readonly, is_urgent
        self._reader: EventStore | None = None
        self._store: EventStore | None = None
        self.is_incomplete = False  # whether actions in the store could not be read
        self._is_unreadable = False
        self._is_slow = False
        self._writing = threading.Lock()  # of the store and of ``_recorded``
        self._sending = threading.Lock()  # of ``_is_abandoned`` and the beginning of a request
        self._is_abandoned = False
        self._recorded: set[str] = set()
        self._not_written: list[tuple[str, ActionEvent]] = []  # with what is said of it if it can't be written
        self._try_again_at = -math.inf
        self._written: set[str] = set()  # the calls of which the store has an outcome
        self._intended: set[str] = set()
        self._intended_before: set[str] = set()  # by other commands, whose intents are not to be removed
        self._request_times: dict[str, datetime] = {}
        self._pending: dict[str, tuple[str, Request]] = {}  # requests whose outcome is not shown yet, by SID
        self._attempts: dict[str, Attempt] = {}  # the latest of each call
        self._legs: dict[str, Leg | None] = {}  # as they were read last
        self._is_unopened = False  # there is a store that could not be opened
        self._unread: set[str] = set()  # the legs that could not be read last
        self._over: dict[str, Call] = {}  # calls that REST showed as over

    def __enter__(self) -> Self:
        try:
            if self._readonly:
                self._reader = open_store_alone(self._runtime, self._settings)
            else:  # one connection reads and writes
                self._reader = self._store = open_store_for_writing(
                    self._runtime, self._settings, busy_timeout=_BUSY_LIMIT
                )
        except StoreError as error:
            if isinstance(error, StoreAwayError):  # each further try to connect may last as long
                self._try_again_at = elapsed() + _TRY_AGAIN
            self._is_unopened = True
            self._note_unread(error)
        return self

    def _note_unread(self, error: StoreError) -> None:
        self.is_incomplete = True
        self._runtime.warn(error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record_pending()
        self._write_all()
        self._give_up()
        if kind is None or issubclass(kind, Exception):  # who pressed Ctrl-C waits for nothing more
            self._store_missed_ends()
        for store in {self._reader, self._store}:
            if store is not None:
                store.close()

    def now(self) -> datetime:
        """Return the time of day, for what is recorded now."""
        return self._runtime.now()

    def clock(self) -> Clock:
        """Return a clock that begins now: what it measures does not depend on the time of day."""
        return self._runtime.clock()

    def observing(self, client: ApiClient) -> ApiClient:
        """Return the client; each call in its replies is passed to ``note_call``.

        One that was placed just now is requested again where the API does not know it yet.
        """
        return client.observed(self.note_call).expecting(partial(was_just_placed, self._runtime, self._settings))

    def note_call(self, call: Call) -> None:
        """Note a call as REST shows it, if it is over.

        Where no callback reported that and none is to be expected any more, it is stored at the end: nothing else may
        query REST, and every watch would go on showing the call as live.
        """
        if call.is_final:
            self._over[call.sid] = call

    def _store_missed_ends(self) -> None:
        over = dict(self._over)  # a request that is no longer waited for may add to it
        live = {sid: leg for sid in over if (leg := self._known_leg(sid)) is not None and leg.is_live}
        if self._store is None or not live or elapsed() < self._try_again_at:
            return
        from callctl.operations.missed_ends import store_missed_ends

        calls, now = [over[sid] for sid in live], self.now()
        try:
            store_missed_ends(self._store, calls, leg=live.get, now=now, world=self._settings.world)
        except StoreError as error:
            self._runtime.warn(error)

    def _known_leg(self, sid: str) -> Leg | None:
        return self._legs[sid] if sid in self._legs else self.leg(sid)

    def leg(self, sid: str) -> Leg | None:
        """Return a leg as callbacks reported it, or None if none did."""
        self._legs[sid] = leg = self._read_leg(sid)
        return leg

    def was_read(self, sid: str) -> bool:
        """Return whether None as what ``leg`` returned last means that no callback reported the leg."""
        return not self._is_unopened and sid not in self._unread

    def _read_leg(self, sid: str) -> Leg | None:
        if self._reader is None:
            return None
        self._unread.discard(sid)
        try:
            if self._reader.call(sid) is None:
                return None
            from callctl.operations.reported_status import reported_leg

            return reported_leg(self._reader.family(sid), sid)
        except StoreError as error:
            self._unread.add(sid)
            self._runtime.warn(error)
            return None

    def parents(self, sids: Iterable[str]) -> dict[str, str | None]:
        """Return the parents of those calls, and of others in their families, that verified callbacks reported.

        None is for a call without one.
        """
        parents: dict[str, str | None] = {}
        if self._reader is None:
            return parents
        try:
            for sid in sids:
                if sid in parents or self._reader.call(sid) is None:
                    continue
                from callctl.operations.reported_status import reported_legs

                legs = reported_legs(self._reader.family(sid))
                parents |= {leg.call_sid: leg.parent_call_sid for leg in legs.values() if leg.verified}
        except StoreError as error:  # not read again for each of the others
            self._runtime.warn(error)
        return parents

    def family(self, sid: str) -> Mapping[str, Leg]:
        """Return the legs of a call's family by SID, as callbacks reported them.

        They are the call, its parent, its siblings and its children: those that the store knows.
        """
        if self._reader is None or self._is_slow:
            return {}
        try:
            if self._is_urgent:
                legs = run_with_time_limit(_PATIENCE, lambda: self._read_family(sid))
            else:
                legs = self._read_family(sid)
        except (StoreError, NoThreadError) as error:
            self._runtime.warn(error)
            return {}
        except TimeoutError:
            self._is_slow = True
            self._runtime.say_once(
                f"callctl: warning: the event store has not answered within {_PATIENCE:g} s: what callbacks reported "
                "of other legs is not known"
            )
            return {}
        self._legs.update(legs)
        return legs

    def _read_family(self, sid: str) -> Mapping[str, Leg]:
        events = () if self._reader is None else list(self._reader.family(sid))
        if not events:
            return {}
        from callctl.operations.reported_status import reported_legs

        return reported_legs(events)

    @property
    def reported_calls(self) -> Self | None:
        """This history for ``find_calls``, or None where there is no store that can be read."""
        return None if self._reader is None else self

    def with_reported_status(self, call: Call) -> Call:
        """Return a call with the status that callbacks reported, where that is ahead of the one REST shows."""
        if self._reader is None or call.is_final or self._is_unreadable:
            return call
        try:
            row = self._reader.call(call.sid)
        except StoreError as error:
            self._is_unreadable = True  # or each of many calls would wait for it
            self._runtime.warn(error)
            return call
        # Of most calls REST is not behind, and one row says so.
        if row is None or rank_of(row.status) <= rank_of(call.status):
            return call
        from callctl.operations.reported_status import with_reported_status

        return with_reported_status(call, self.leg(call.sid))

    def lately_live(self, statuses: Sequence[str]) -> Sequence[str]:
        """Return the calls that have one of these live statuses by their latest events, the newest first.

        A call whose last event is older than REST can be behind is left out: REST shows it as it is. A time in the
        future, as of a listener whose clock is ahead, or where this one is behind, is not old, but comes last: it may
        stay so for years. ``initiated``, which REST has no word for, counts as both queued and ringing.
        """
        if self._reader is None:
            return ()
        wanted = set(statuses)
        if wanted & {CallStatus.QUEUED, CallStatus.RINGING}:
            wanted.add(CallStatus.INITIATED)
        try:
            rows = self._reader.live_calls()
        except StoreError as error:
            self._runtime.warn(error)
            return ()
        from callctl.operations.live_calls import is_recent

        now = self.now()
        late = [row for row in reversed(rows) if row.status in wanted and is_recent(row.last_event_at, now=now)]
        return [row.call_sid for row in sorted(late, key=lambda row: row.last_event_at > now)]

    def say_unlisted(self, sids: Sequence[str]) -> None:
        """Say that callbacks reported these calls as live, and that REST does not show them."""
        from callctl.cli.io.results import calls, name_some

        reported = f"callbacks report {calls(len(sids))} as live that the API does not show"
        self._runtime.say_once(f"callctl: warning: {reported}: {name_some(sids)}")

    def redirected_at(self, sid: str) -> datetime | None:
        """Return when a child leg was redirected, and so left its ``<Dial>``; None if that is not known here."""
        from callctl.calls.action import left_dial_at

        leg = self._read_leg(sid)
        joined = leg.conference.since if leg is not None and leg.verified and leg.conference is not None else None
        return left_dial_at(sid, self.actions(sid), joined=joined)

    def dial_action(self, sid: str) -> str | None:
        """Return where a call goes when its ``<Dial>`` is over, by the document that callctl gave it.

        Empty where it hangs up then; None where it is not known. What another application gave it is not.
        """
        from callctl.calls.action import DONE
        from callctl.calls.twiml import hangs_up_after_dial

        redirects = [done for done in self.actions(sid) if done.action == "redirect" and done.may_have_changed_it]
        if redirects:
            last = redirects[-1]  # in the store's order: who redirected the call before may have another clock
            is_over = last.result == DONE and hangs_up_after_dial(dict(last.request).get("Twiml", ""))
            return "" if is_over else None
        if self._reader is None:
            return None
        try:
            return self._reader.dial_action(sid)
        except StoreError as error:
            self._runtime.warn(error)
            return None

    def last_action_id(self) -> int | None:
        """Return the id after which the store has what is done from now on; None where that is not known."""
        try:
            return None if self._reader is None else self._reader.last_action_id()
        except StoreError as error:
            self._runtime.warn(error)
            return None

    def actions_after(self, action_id: int) -> Iterator[tuple[int, ActionEvent]]:
        """Yield the requests for any call that the store has after an id, with their ids; the clocks may be wrong."""
        try:
            while self._reader is not None and (page := self._reader.actions_after(action_id)):
                yield from page
                action_id = page[-1][0]
        except StoreError as error:
            self._note_unread(error)

    def actions(self, sid: str) -> Sequence[ActionEvent]:
        """Return the requests for a call that are known here, in the order of the store."""
        if self._reader is None:
            return ()
        try:
            return self._reader.actions(sid)
        except StoreError as error:
            self._note_unread(error)
            return ()

    def record_intent(self, sids: Iterable[str]) -> None:
        """Record that calls are about to be changed, so that no rule acts on what comes of it.

        Twilio's callbacks may be quicker than its answer. Where there is no store there are no rules. A store that
        another program holds locked is not waited for longer than a second: the call goes on meanwhile.
        """
        if self._reader is None:
            return
        # StoreError is mentioned when the outcome can't be recorded.
        with self._writing, suppress(StoreError, TimeoutError):
            own = frozenset(self._intended)
            self._intended.update(sids)
            intended, store, now = tuple(self._intended), self._opened_store(), self.now()
            patience = 0.0 if self._is_slow else _PATIENCE  # it was waited for
            before = run_with_time_limit(patience, lambda: store.add_intents(intended, now=now, until=now + _LONGEST))
            self._intended_before |= before - own

    @contextmanager
    def requesting(self, sid: str, action: str, request: Request) -> Iterator[Attempt]:
        """Count the request that is sent in the block, to change a call, as pending until ``settle``.

        What is yielded is to see the request: one that certainly was not carried out is not said to be unknown.

        If it is not known whether it was carried out, that is recorded at once: no rule may take what comes of it for
        the end of a conversation. A refusal is recorded too: a watch shows what could not be changed.

        Raises:
            NoLongerWantedError: The history was abandoned, so nothing may be sent.
        """
        from callctl.api.retries import Attempt

        with self._sending:
            if self._is_abandoned:
                raise NoLongerWantedError("it was left before the request was sent")
            self._request_times[sid] = self.now()
            self._pending[sid] = action, request
            self._attempts[sid] = attempt = Attempt()
        try:
            yield attempt
        except (NoLongerWantedError, NoThreadError) as error:
            if error.may_be_done:
                self.record_unclear(sid, action, request, error.message)
            self._pending.pop(sid, None)
            raise
        except CallctlError as error:
            if error.may_be_done:
                self.record_unclear(sid, action, request, error.message)
            else:
                self._record_refusal(sid, action, request, error)
            self._pending.pop(sid, None)
            raise

    def settle(self, sids: Iterable[str]) -> None:
        """Count the requests for these calls as pending no longer: their outcome is shown and, if need be, recorded."""
        for sid in sids:
            self._pending.pop(sid, None)

    def is_written(self, sid: str) -> bool:
        """Return whether an outcome for this call is in the store, where a running watch finds it."""
        return sid in self._written

    def abandon(self) -> frozenset[str]:
        """Have no further request sent, and record those that are pending as unknown in their outcome.

        It is for a thread that is not waited for. Return the calls whose requests were sent, and not refused.
        """
        with self._sending:
            self._is_abandoned = True
            requested = frozenset(sid for sid, attempt in self._attempts.items() if attempt.abandon())
            pending = {sid: request for sid, request in dict(self._pending).items() if sid in requested}
        self._record_as_unclear(pending)
        self._write_all()
        self._give_up()
        return requested

    def record_unclear(self, sid: str, action: str, request: Request, why: str) -> None:
        """Record that a call may have been changed."""
        with self._writing:
            self._record([self._unclear(sid, action, request, why)], before=_NOT_WRITTEN)

    def _record_refusal(self, sid: str, action: str, request: Request, error: CallctlError) -> None:
        """Record that a call was not changed; where there is no store, nobody would look for it."""
        if self._store is None:
            return
        from callctl.calls.action import LATE, REFUSED, ActionEvent

        result = LATE if isinstance(error, WrongCallStateError | NotInProgressError) else REFUSED
        refused = ActionEvent(self._requested_at(sid), sid, action, request, error.message, result=result)
        with self._writing:
            self._record([refused], before="refused, but not written down: ")

    def _unclear(self, sid: str, action: str, request: Request, why: str) -> ActionEvent:
        from callctl.calls.action import UNKNOWN, ActionEvent

        return ActionEvent(self._requested_at(sid), sid, action, request, f"outcome unknown: {why}", result=UNKNOWN)

    def _record_pending(self) -> None:
        """Say and record which calls may have been changed: those still pending, after Ctrl-C."""
        pending = {sid: request for sid, request in dict(self._pending).items() if self._attempts[sid].abandon()}
        if not pending:
            return
        from callctl.cli.io.results import name_some

        done = "redirected" if any(action == "redirect" for action, _ in pending.values()) else "ended"
        try:
            self._runtime.say(f"callctl: may have been {done}: {name_some(list(pending))}")
        finally:  # where a terminal that is gone takes no more words, too
            self._record_as_unclear(pending)

    def _record_as_unclear(self, pending: dict[str, tuple[str, Request]]) -> None:
        why = "the answer was not waited for"
        with self._writing:
            new = [self._unclear(sid, *request, why) for sid, request in pending.items() if sid not in self._recorded]
            self._record(new, before=_NOT_WRITTEN)

    def _requested_at(self, sid: str) -> datetime:
        """Return when a change of a call was last requested."""
        return self._request_times.get(sid) or self.now()

    def _give_up(self) -> None:
        with self._writing, suppress(StoreError):  # an intent ends by itself
            if own := self._intended - self._intended_before:
                self._opened_store().remove_intents(own)

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Record outcomes, where a running watch and ``show`` find them."""
        with self._writing:
            new = [outcome for outcome in outcomes if outcome.sid not in self._recorded]
            self._record([self._event(outcome) for outcome in new])

    def record_early(self, outcome: Outcome) -> None:
        """Record a request whose outcome is not final yet; ``record`` then adds nothing for the call.

        A rule that acts on the call's end must find who ended it.
        """
        with self._writing:
            self._recorded.add(outcome.sid)
            self._record([self._event(outcome)])

    def _event(self, outcome: Outcome) -> ActionEvent:
        return outcome.to_event(self._requested_at(outcome.sid))

    def _opened_store(self) -> EventStore:
        from callctl.store.opening import open_store

        if self._store is None:
            self._store = open_store(self._settings, busy_timeout=_BUSY_LIMIT)
        return self._store

    def _record(self, actions: Sequence[ActionEvent], *, before: str = "done, but not written down: ") -> None:
        """Write actions down; those that can't be written now, as where the store is locked, are tried later again."""
        self._not_written += [(before, replace(action, by=user_at_host())) for action in actions]
        if actions and elapsed() >= self._try_again_at:
            self._write()

    def _write_all(self) -> None:
        """Write down what is not written yet, and say what can't be."""
        with self._writing:
            error = self._write() if self._not_written else None
            if error is None:
                return
            self._runtime.warn(error, before=self._not_written[0][0])
            # An intent whose outcome nobody wrote down stays: rules must not take the call for unchanged.
            self._intended -= {action.call_sid for _, action in self._not_written}
            self._not_written.clear()

    def _write(self) -> StoreError | None:
        """Write down what is not written yet, with one commit; return why that can't be done."""
        actions = [action for _, action in self._not_written]
        try:
            self._opened_store().record_actions(actions)
        except StoreError as error:
            self._try_again_at = elapsed() + _TRY_AGAIN
            return error
        self._not_written.clear()
        # That of a call which was not changed ends with this, unless another command is about to change it, too.
        self._intended -= {action.call_sid for action in actions if action.may_have_changed_it}
        self._written |= {action.call_sid for action in actions}
        return None


class StatusSince:
    """Since when calls have had their status.

    ``by_rest`` are the SIDs of those that no callback reported, ``unread`` of those of which that is not known.
    """

    def __init__(
        self, reported: Callable[[str], Leg | None], *, was_read: Callable[[str], bool] = lambda _sid: True
    ) -> None:
        """Prepare.

        Args:
            reported: Returns a leg as callbacks reported it, or None.
            was_read: Returns whether None means that no callback reported it, and not that the store was not read.
        """
        self._reported, self._was_read = reported, was_read
        self.by_rest: set[str] = set()
        self.unread: set[str] = set()

    def __call__(self, call: Call) -> datetime | None:
        """Return since when, as far as that is known; rather too late than too early, for calls are ended by it.

        REST says when a call was created, when it was dialled and when it was last changed, but not when it was
        answered. The latest of the three is what its status has lasted for at least. A callback without a Timestamp
        has the time at which it came, by a clock that may have been behind: then REST's dates count too.

        Where the store was not read, a callback may have reported an answer that REST does not count as a change: it
        came when the call had rung for as long as one can.
        """
        from callctl.calls.event import CALLBACK

        leg = self._reported(call.sid)
        dates = (call.date_created, call.start_time, call.date_updated)
        # A step that callbacks reported and REST does not show yet began later than REST's.
        is_reported = leg is not None and leg.verified and leg.source == CALLBACK
        if leg is not None and is_reported and rank_of(leg.status) >= rank_of(call.status):
            self._note(call.sid)
            has_timestamp = leg.status_since.microsecond == 0  # RFC 2822 has whole seconds
            return leg.status_since if has_timestamp else max([leg.status_since, *filter(None, dates)])
        if leg is None and not self._was_read(call.sid):
            self._note(call.sid, self.unread)
            if call.date_updated is None or (call.start_time is None and call.status != CallStatus.QUEUED):
                return None
            return max(filter(None, dates)) + (_LONGEST_RING if call.status == CallStatus.IN_PROGRESS else timedelta())
        self._note(call.sid, self.by_rest)
        # Without the last change, it may have got its status any time since it began. One from before it last rang, as
        # callbacks reported, is not that of its answer: a service may not count that as a change.
        is_answered_since = leg is not None and is_reported and call.status == CallStatus.IN_PROGRESS
        last_rang = leg.status_since + _SAME_TIME if leg is not None and is_answered_since else None
        if call.date_updated is None or (last_rang is not None and call.date_updated <= last_rang):
            return None
        return max(filter(None, dates))

    def _note(self, sid: str, those: set[str] | None = None) -> None:
        self.by_rest.discard(sid)
        self.unread.discard(sid)
        if those is not None:
            those.add(sid)

    def in_words(self, sids: Iterable[str]) -> str | None:
        """Return a sentence on matching calls that no callback reported; None if all are reported.

        If the store was not read, it is about all calls: some may not match for that reason alone.
        """
        if self.unread:
            return (
                "the event store was not read: the latest of REST's dates counts, and of a call in progress ten "
                "minutes later, for it may have rung so long"
            )
        count = sum(sid in self.by_rest for sid in sids)
        if not count:
            return None
        which = "1 call" if count == 1 else f"{count} calls"
        return (
            f"of {which} no callback reported since when: the latest of REST's dates counts, so it is so long at least"
        )
