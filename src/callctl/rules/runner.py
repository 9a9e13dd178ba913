"""What joins the rules to a watch: it is told of changes, and sets threads to work on what the rules ask for.

``look`` never waits: it decides, passes the brake, and leaves the rest to threads. So nothing here keeps a callback
waiting for its answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from callctl.calls.action import ActionEvent
from callctl.calls.board import Change, Snapshot
from callctl.calls.trouble import Cause, Trouble
from callctl.errors import StoreError
from callctl.rules.again import Again
from callctl.rules.engine import Engine
from callctl.rules.outcome import LEASE, Claims, Held
from callctl.rules.rate_limit import Admission, RateLimit
from callctl.rules.rule import Action, Declined
from callctl.store.protocol import OpenClaim
from callctl.support.clock import Clock
from callctl.support.threads import failure_reason

# How often to look for claims that a crashed watch left open.
RECOVER_EVERY = timedelta(seconds=15)
# How often to drop what the board has forgotten: a watch runs for weeks.
TIDY_EVERY = timedelta(minutes=5)

Start = Callable[[Callable[[], None]], None]


class Performer(Protocol):
    """Who does what rules ask for, or only says so. Called in threads."""

    def perform(self, action: Action) -> ActionEvent | Held | None:
        """Do it; None if there is nothing to tell."""

    def decline(self, declined: Declined) -> ActionEvent | None:
        """Tell why it is not done."""

    def recover(self, claim: OpenClaim, action: Action | None, /) -> ActionEvent | None:
        """Deal with what a crash left."""


class Acting:
    """The rules of one watch at work. ``begin`` and ``look`` belong to one thread; ``news`` to any."""

    def __init__(
        self,
        engine: Engine,
        *,
        make_performer: Callable[[Callable[[Action], bool], Callable[[Trouble], None]], Performer],
        claims: Claims,
        brake: RateLimit,
        clock: Clock,
        start: Start,
        in_words: str = "",
    ) -> None:
        """Prepare.

        Args:
            engine: What decides.
            make_performer: Makes what acts; it is given the question whether a rule still asks for an action, and
                whom to tell why one can't be done yet.
            claims: What was done before.
            brake: What keeps a rule from going wild.
            clock: The time; what is measured here is measured by the steady one.
            start: Runs work beside this, in a thread of its own.
            in_words: How many rules these are, and how they act.
        """
        self.in_words = in_words
        self._engine = engine
        self._performer = make_performer(self._applies, self._once)
        self._claims = claims
        self._brake = brake
        self._clock = clock
        self._start = start
        self._snapshot = Snapshot()
        self._lock = threading.Lock()  # of the engine, which threads ask whether a rule still applies
        self._queue: deque[Action | Declined] = deque()
        self._known: set[tuple[str, str]] = set()
        self._given_back: deque[tuple[Action, Held]] = deque()  # by threads: not done, and nothing claimed
        self._again = Again()
        self._news: deque[ActionEvent | Trouble] = deque()
        self._told: set[str] = set()
        self._clock_told = False
        self._unread: list[Action | Declined] = []  # those of which the store could not say whether they are ours
        self._recovered_at: datetime | None = None
        self._tidied_at = clock.now()
        self._leases: dict[tuple[OpenClaim, datetime | None], datetime] = {}  # open ones, and when each was first seen

    def recall(self, change: Change) -> None:
        """Take in one change that the store knew."""
        self._engine.restore(change, now=self._clock.now())

    def begin(self, snapshot: Snapshot) -> None:
        """Begin with the board as the store knew it, and with what was done already.

        Raises:
            StoreError: The store can't be read.
        """
        self._known = self._claims.claimed()
        self._snapshot = snapshot
        self._queue += self._engine.restored_actions(snapshot, now=self._clock.now())

    def look(self, changes: Sequence[Change], snapshot: Snapshot) -> None:
        """Take in what happened; begin what is to be done now. Returns at once."""
        now = self._clock.now()
        with self._lock:
            self._snapshot = snapshot
            if now - self._tidied_at >= TIDY_EVERY:
                self._tidied_at = now
                self._engine.prune(snapshot)
                # A claim in the store keeps what is dropped here from being done again.
                self._known = {key for key in self._known if key[1] in snapshot.legs}
                self._again.keep(snapshot.legs)
                self._leases = {key: seen for key, seen in self._leases.items() if now - seen < TIDY_EVERY}
            for change in changes:
                self._queue += self._engine.observe(change, snapshot, now=now)
            self._queue += self._engine.due(snapshot, now=now)
        self._take_back(now)
        self._tell_of_clock()
        self._pass_on(now)
        if not self._brake.is_exceeded and (self._recovered_at is None or now - self._recovered_at >= RECOVER_EVERY):
            self._recovered_at = now
            self._start(self._recover)

    def news(self) -> list[ActionEvent | Trouble]:
        """Return what was done, or could not be, since the last call."""
        found = []
        while self._news:
            found.append(self._news.popleft())
        return found

    @property
    def is_stopped(self) -> bool:
        """Whether the brake was pulled: nothing is done any more until the watch is restarted."""
        return self._brake.is_exceeded

    def _take_back(self, now: datetime) -> None:
        """Let rules ask again for what was not done; have a second look at what only waits."""
        while self._given_back:
            action, held = self._given_back.popleft()
            self._known.discard(action.key)
            self._brake.refund()
            if held.look_again:
                self._again.put(action, now=now, not_before=held.not_before)
        self._queue += self._again.due(now=now)

    def _pass_on(self, now: datetime) -> None:
        """Set to work on what waits, as far as the brake lets it."""
        self._queue += self._unread
        self._unread.clear()
        while self._queue and not self._brake.is_exceeded:
            asked = self._queue[0]
            if not self._is_wanted(asked):
                self._queue.popleft()
                continue
            if isinstance(asked, Action) and (turn := self._brake.admit(now)) is not Admission.ALLOWED:
                if turn is Admission.STOPPED:
                    self._say_stopped()
                return
            self._queue.popleft()
            self._known.add(asked.key)
            self._begin_work(asked)

    def _tell_of_clock(self) -> None:
        ahead = self._engine.clock_ahead
        if ahead is None or self._clock_told or not any(isinstance(one, Declined) for one in self._queue):
            return
        self._clock_told = True
        least = f"{ahead.total_seconds():.0f} s"
        self._news.append(
            Trouble(
                f"rules find all events too old: no callback took less than {least} by this machine's clock, "
                "so it is probably that far ahead. Set it (`callctl doctor` measures it) and start the watch again",
                Cause.CLOCK,
            )
        )

    def _say_stopped(self) -> None:
        self._queue.clear()
        self._news.append(
            Trouble(
                f"the rules have stopped: {self._brake.per_minute} actions in a minute (--max-actions). "
                "The watch goes on; restart it to let them act again",
                Cause.RULE,
            )
        )

    def _is_wanted(self, asked: Action | Declined) -> bool:
        if asked.key in self._known:
            return False
        if isinstance(asked, Action) and not self._applies(asked):
            return False
        try:
            return asked.is_own or self._claims.was_placed(asked.family)
        except StoreError as error:
            what = f"rule {asked.rule.name} waits, it can't tell whose call it is: {error.message}"
            self._once(Trouble(what, Cause.STORE, call_sid=asked.call_sid))
            self._unread.append(asked)  # asked again at the next look
            return False

    def _once(self, text: Trouble) -> None:
        """Tell of trouble that lasts, once: it is met again with each try."""
        if text not in self._told:
            self._told.add(text)
            self._news.append(text)

    def _begin_work(self, asked: Action | Declined) -> None:
        if isinstance(asked, Action):
            self._do_and_tell(partial(self._perform, asked))
        else:
            self._do_and_tell(partial(self._performer.decline, asked))

    def _perform(self, action: Action) -> ActionEvent | None:
        came = self._performer.perform(action)
        if isinstance(came, Held):
            self._given_back.append((action, came))
            return None
        return came

    def _do_and_tell(self, work: Callable[[], ActionEvent | None]) -> None:
        """Work in a thread, and tell what came of it."""

        def run() -> None:
            try:
                event = work()
            except Exception as error:
                self._news.append(Trouble(f"a rule could not act: {failure_reason(error)}", Cause.RULE))
                return
            if event is not None:
                self._news.append(event)

        self._start(run)

    def _recover(self) -> None:
        try:
            claims = self._claims.left_open(is_over=self._is_over)
        except Exception as error:
            self._news.append(Trouble(f"can't look for what a crash left: {failure_reason(error)}", Cause.RULE))
            return
        for claim in claims:
            self._do_and_tell(partial(self._recover_one, claim))

    def _is_over(self, claim: OpenClaim) -> bool:
        """Tell whether nobody has renewed a claim for as long as a lease lasts, whatever the wall clock was set to."""
        now = self._clock.now()
        seen = self._leases.setdefault((claim, claim.lease), now)
        return now - seen >= LEASE or (claim.lease is not None and self._clock.has_passed(claim.lease))

    def _recover_one(self, claim: OpenClaim) -> ActionEvent | None:
        with self._lock:
            now = self._clock.now()
            action = self._engine.current_action(
                claim.rule, claim.call_sid, about=claim.about, snapshot=self._snapshot, now=now
            )
        return self._performer.recover(claim, action)

    def _applies(self, action: Action) -> bool:
        with self._lock:
            return self._engine.applies(action, self._snapshot)


def in_rule_thread(work: Callable[[], None]) -> None:
    """Run work in a thread that the program's end does not wait for."""
    threading.Thread(target=work, daemon=True, name="callctl-rule").start()
