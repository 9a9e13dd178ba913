"""The local store, as commands that change calls use it: what callbacks told, and what was asked of a call.

It is a help and no more: one that can't be read or written is told of once, and nothing fails for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from callctl.cli.io.runtime import Runtime
from callctl.cli.options.calls import open_store
from callctl.errors import CallctlError, StoreError

if TYPE_CHECKING:
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Leg
    from callctl.cli.io.results import Request
    from callctl.settings import Settings
    from callctl.store.sqlite.store import EventStore

_NOT_WRITTEN = "the outcome is unknown, and not written down: "
# How long a change may take: five tries of ten seconds each, and the pauses between.
_LONGEST = timedelta(minutes=1)


class Memory:
    """Opened when it is first needed, closed at the end of the block. Legs may be asked for in several threads."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._settings = settings
        self._reader: EventStore | None = None
        self._store: EventStore | None = None
        self._writing = threading.Lock()  # of the store, and of what is noted there before its time
        self._noted: set[str] = set()
        self._intended: set[str] = set()
        self._asked: dict[str, datetime] = {}
        self._unanswered: dict[str, tuple[str, Request]] = {}  # what was asked of calls and is not told yet, by SID

    def __enter__(self) -> Self:
        self._reader = open_store(self._runtime, self._settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._note_unanswered()
        self._give_up()
        for opened in (self._reader, self._store):
            if opened is not None:
                opened.close()

    def now(self) -> datetime:
        """Return when it is, for what is noted now."""
        return self._runtime.now()

    def leg(self, sid: str) -> Leg | None:
        """Return a leg as callbacks told it, or None if they did not."""
        if self._reader is None:
            return None
        try:
            if self._reader.call(sid) is None:
                return None
            from callctl.operations.reported import reported_leg

            return reported_leg(self._reader.family(sid), sid)
        except StoreError as error:
            self._runtime.mention(error)
            return None

    def left_dial(self, sid: str) -> datetime | None:
        """Return when a child leg was last redirected, and so left its ``<Dial>``; None if that is not known here."""
        from callctl.calls.action import DONE

        if self._reader is None:
            return None
        try:
            asked = self._reader.actions(sid)
        except StoreError as error:
            self._runtime.mention(error)
            return None
        return max((one.at for one in asked if one.action == "redirect" and one.result == DONE), default=None)

    def intend(self, sids: Iterable[str]) -> None:
        """Write down that calls are about to be changed, so that no rule takes what comes of it for their own doing.

        Twilio's callbacks may be quicker than its answer. Where there is no store there are no rules.
        """
        if self._reader is None:
            return
        with self._writing, suppress(StoreError):  # told of with what is noted afterwards
            self._intended.update(sids)
            self._opened_store().add_intents(self._intended, until=self.now() + _LONGEST)

    @contextmanager
    def asking(self, sid: str, action: str, request: Request) -> Iterator[None]:
        """Keep that a change is asked of a call in the block, until ``told``. May be used in several threads.

        Where nobody knows whether it was carried out, that is written down at once: no rule may take what comes of it
        for the end of a conversation.
        """
        self._asked[sid] = self.now()
        self._unanswered[sid] = action, request
        try:
            yield
        except CallctlError as error:
            if error.may_be_done:
                self.note_unclear(sid, action, request, error.message)
            self._unanswered.pop(sid, None)
            raise

    def told(self, sids: Iterable[str]) -> None:
        """Keep that it is known, and written down where it has to be, what came of what was asked of calls."""
        for sid in sids:
            self._unanswered.pop(sid, None)

    def note_unclear(self, sid: str, action: str, request: Request, why: str) -> None:
        """Write down that a call may have been changed. May be called in several threads."""
        with self._writing:
            self._record([self._unclear(sid, action, request, why)], before=_NOT_WRITTEN)

    def _unclear(self, sid: str, action: str, request: Request, why: str) -> ActionEvent:
        from callctl.calls.action import UNKNOWN, ActionEvent

        return ActionEvent(self.asked_at(sid), sid, action, request, f"outcome unknown: {why}", result=UNKNOWN)

    def _note_unanswered(self) -> None:
        """Say and write down which calls may have been changed, where nothing was told of them by Ctrl-C."""
        left = dict(self._unanswered)
        if not left:
            return
        from callctl.cli.io.results import some

        done = "redirected" if any(action == "redirect" for action, _ in left.values()) else "ended"
        self._runtime.say(f"callctl: may have been {done}: {some(list(left))}")
        why = "the answer was not waited for"
        with self._writing:
            new = [self._unclear(sid, *asked, why) for sid, asked in left.items() if sid not in self._noted]
            self._record(new, before=_NOT_WRITTEN)

    def asked_at(self, sid: str) -> datetime:
        """Return when a change was last asked of a call."""
        return self._asked.get(sid) or self.now()

    def _give_up(self) -> None:
        with self._writing, suppress(StoreError):  # an intent ends by itself
            if self._intended:
                self._opened_store().remove_intents(self._intended)

    def note(self, actions: Iterable[ActionEvent]) -> None:
        """Write down what was asked of calls, where a running watch and ``show`` find it."""
        with self._writing:
            self._record([action for action in actions if action.call_sid not in self._noted])

    def note_at_once(self, action: ActionEvent) -> None:
        """Write down what was asked of a call before it is known what comes of it; ``note`` then leaves it at that.

        A rule that hears of the call's end must find who ended it. May be called in several threads.
        """
        with self._writing:
            self._noted.add(action.call_sid)
            self._record([action])

    def _opened_store(self) -> EventStore:
        from callctl.store.sqlite.store import EventStore

        if self._store is None:
            self._store = EventStore.open(self._settings.store, world=self._settings.world)
        return self._store

    def _record(self, actions: Sequence[ActionEvent], *, before: str = "done, but not written down: ") -> None:
        if not actions:
            return
        try:
            self._opened_store().record_actions(actions)
            self._intended.difference_update(action.call_sid for action in actions)
        except StoreError as error:
            self._runtime.mention(error, before=before)
