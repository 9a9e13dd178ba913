"""The switch: all legs, what may be asked of them, and what becomes of them. It knows no HTTP."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from callctl.simulator import readings
from callctl.simulator.callbacks import Callback, Callbacks
from callctl.simulator.clock import Clock
from callctl.simulator.errors import ApiError
from callctl.simulator.exchange import Exchange
from callctl.simulator.far_end import Directory
from callctl.simulator.faults import Chance
from callctl.simulator.line import CALL_SECONDS, DECLINED, TIMED_OUT, Line
from callctl.simulator.models import (
    INBOUND,
    OUTBOUND_API,
    OUTBOUND_DIAL,
    Facts,
    Leg,
    Notification,
    Source,
    Subscription,
)
from callctl.simulator.network import Network, Reply
from callctl.simulator.orders import Change, Order
from callctl.simulator.settings import Settings

DIALS_AFTER = 0.1  # from the request to dialling, when nothing is queued before it (inferred)
CHOSEN_EVENTS = 21626
WARNINGS = frozenset({12200, CHOSEN_EVENTS, 13224})
MAX_NOTIFICATIONS = 1000  # per call; a document that loops could note without end


class Switch:
    """Every leg there is, by its SID, in the order in which they came."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall: Callable[[], datetime],
        network: Network,
        chance: Chance,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._directory = Directory(settings.far_end)
        self._legs: dict[str, Leg] = {}
        self._lines: dict[str, Line] = {}
        self._finished: deque[str] = deque()
        self._calls = 0
        self._ordinals = 0
        self._next_dial = 0.0
        self.callbacks = Callbacks(
            account_sid=settings.account_sid,
            clock=clock,
            wall=wall,
            network=network,
            chance=chance,
            faults=settings.faults,
            keep=settings.keep_records,
            failed=self._callback_failed,
        )
        self._exchange = Exchange(settings.account_sid, clock, wall, network, self.callbacks, self)

    # What is asked of it

    def place(self, order: Order) -> Leg:
        """Place a call: queued now, dialled when its turn has come."""
        line = self._make(order, OUTBOUND_API, "queued")
        now = self._clock.now()
        begins = max(now + DIALS_AFTER, self._next_dial)
        if self._settings.cps:
            self._next_dial = begins + 1 / self._settings.cps
        waited = round((begins - now - DIALS_AFTER) * 1000)

        def dial() -> None:
            line.change(queue_time=waited)
            line.dial(timeout=order.timeout)

        line.later(begins - now, dial)
        return line.leg

    def take(self, order: Order) -> Leg:
        """Take an incoming call: it rings here, and its document decides whether it is answered."""
        line = self._make(order, INBOUND, "ringing")
        line.change(started=self._wall())
        # A document may leave it ringing; its caller waits as long as a call may last, so that none rings for ever.
        waits = order.time_limit or CALL_SECONDS
        line.later(waits, lambda: line.end("canceled", sip=TIMED_OUT))
        line.run()
        return line.leg

    def update(self, leg: Leg, change: Change) -> None:
        """Do what an update asks (sheet, section 3); raise ApiError where Twilio refuses."""
        if change.status == "completed":
            self._complete(leg)
        elif change.status == "canceled":
            self._cancel(leg)
        elif change.source is not None:
            self._redirect(leg, change.source, change)
        elif leg.is_final:
            raise ApiError(21220)
        if change.time_limit is not None and leg.sid in self._lines:
            self._lines[leg.sid].limit(change.time_limit)

    def delete(self, leg: Leg) -> None:
        """Forget a call that has ended; raise ApiError for one that has not."""
        if not leg.is_final:
            raise ApiError(20009)
        self._legs.pop(leg.sid, None)

    def find(self, sid: str) -> Leg | None:
        """Return the leg with this SID."""
        return self._legs.get(sid)

    def line(self, sid: str) -> Line | None:
        """Return the live leg with this SID in operation."""
        return self._lines.get(sid)

    def live(self) -> Iterator[Line]:
        """Yield every leg in operation, the oldest first."""
        return iter(tuple(self._lines.values()))

    def newest_first(self) -> Iterator[Leg]:
        """Yield every leg, the newest first."""
        return reversed(self._legs.values())

    def seen(self, leg: Leg) -> Facts:
        """Return a leg's facts as a request sees them now: those of a moment ago where the API lags."""
        return leg.seen_at(self._clock.now() - self._settings.lag) if self._settings.lag else leg.facts

    # What the far end is made to do by hand

    def far_end_answers(self, leg: Leg) -> None:
        """Answer a ringing leg."""
        if leg.status != "ringing" or leg.direction == INBOUND:
            raise ApiError(21220, "Only a ringing outbound leg can be answered.")
        self._lines[leg.sid].pick_up()

    def far_end_hangs_up(self, leg: Leg) -> None:
        """Hang up at the far end: a ringing leg is declined, or given up by its caller."""
        if leg.is_final or leg.status == "queued":
            raise ApiError(21220, "There is no one to hang up.")
        line = self._lines[leg.sid]
        if line.is_answered:
            line.end("completed")
        elif leg.direction == INBOUND:
            line.end("canceled", sip=TIMED_OUT)
        else:
            line.end("no-answer", sip=DECLINED)

    def far_end_presses(self, leg: Leg, digits: str) -> None:
        """Press keys at the far end of a connected leg."""
        if leg.status != "in-progress":
            raise ApiError(21220, "Only a connected far end can press digits.")
        self._lines[leg.sid].press(digits)

    def close(self) -> None:
        """Drop every script, without telling anyone."""
        for line in tuple(self._lines.values()):
            line.drop()

    # What a leg needs of it

    def make_child(self, parent: Line, *, to: str, caller: str, subscription: Subscription | None) -> Line:
        """Return a new leg, not yet dialled; legs made by Dial skip the queue (CLIENT)."""
        return self._make(Order(to, caller, Source(), subscription), OUTBOUND_DIAL, "ringing", parent=parent.leg)

    def note(self, leg: Leg, code: int, text: str, *, url: str = "", method: str = "") -> None:
        """Add to the notifications of a leg."""
        if len(leg.notifications) >= MAX_NOTIFICATIONS:
            return
        number = len(leg.notifications)
        leg.notifications.append(
            Notification(
                sid=self._sid("NO", leg.key, number),
                ordinal=number,
                call_sid=leg.sid,
                code=code,
                text=text,
                log="1" if code in WARNINGS else "0",
                date=self._wall(),
                url=url,
                method=method,
            )
        )

    def remember(self, leg: Leg, facts: Facts) -> None:
        """Replace the facts of a leg, keeping the old ones for as long as the API may still show them."""
        leg.facts = facts
        if not self._settings.lag:
            return
        now = self._clock.now()
        leg.past.append((now, facts))
        while len(leg.past) > 1 and leg.past[1][0] <= now - self._settings.lag:
            leg.past.pop(0)

    def ended(self, line: Line) -> None:
        """Take a leg that has ended off the lines; the oldest of the finished are dropped."""
        self._lines.pop(line.leg.sid, None)
        self._finished.append(line.leg.sid)
        while len(self._finished) > self._settings.keep_finished:
            self._legs.pop(self._finished.popleft(), None)

    # Inside

    def _make(self, order: Order, direction: str, status: str, *, parent: Leg | None = None) -> Line:
        leg = self._leg(order, direction, status, parent)
        if order.strange_events:
            text = f"StatusCallbackEvent {order.strange_events[0]!r} is no event: no callbacks will be sent"
            self.note(leg, CHOSEN_EVENTS, text)
        # An incoming call's far end is whoever calls.
        other = order.from_ if direction == INBOUND else order.to
        line = Line(
            leg,
            self._exchange,
            self._directory.find(other),
            source=order.source,
            time_limit=order.time_limit or CALL_SECONDS,
            detection=order.detection,
        )
        self._legs[leg.sid] = line.leg
        self._lines[leg.sid] = line
        return line

    def _leg(self, order: Order, direction: str, status: str, parent: Leg | None) -> Leg:
        self._ordinals += 1
        if parent is None:
            self._calls += 1
            key = str(self._calls)
        else:
            parent.children += 1
            key = f"{parent.key}.{parent.children}"
        now = self._wall()
        subscription = order.subscription
        if subscription is not None and self._settings.dialect.final_callbacks_only:
            subscription = replace(subscription, events=frozenset({"completed"}))
        leg = Leg(
            sid=self._sid("CA", key),
            key=key,
            ordinal=self._ordinals,
            to=order.to,
            from_=order.from_,
            direction=direction,
            created=now,
            facts=Facts(status, now),
            parent=parent,
            subscription=subscription,
        )
        self.remember(leg, leg.facts)
        return leg

    def _sid(self, prefix: str, *key: object) -> str:
        if self._settings.dialect.uuid_sids:
            return self._chance.uuid(prefix, *key)
        return prefix + self._chance.hexadecimal(prefix, *key)

    def _complete(self, leg: Leg) -> None:
        if leg.is_final:
            if readings.HANG_UP_TWICE in self._settings.readings:
                return
            raise ApiError(21220)
        # A call that was never connected was canceled (queued: Somleng; ringing: inferred).
        line = self._lines[leg.sid]
        if line.is_answered:
            line.end("completed")
        else:
            line.end("canceled", sip=TIMED_OUT)

    def _cancel(self, leg: Leg) -> None:
        if leg.is_final:
            raise ApiError(21220)
        if leg.status == "in-progress":
            if readings.CANCEL_REFUSED_IN_PROGRESS in self._settings.readings:
                raise ApiError(21220)
            return
        spared = readings.CANCEL_SPARES_DIAL_LEGS in self._settings.readings
        if leg.direction == OUTBOUND_DIAL and spared:
            return
        self._lines[leg.sid].end("canceled", sip=TIMED_OUT)

    def _redirect(self, leg: Leg, source: Source, change: Change) -> None:
        if leg.status != "in-progress":
            raise ApiError(21220, "Cannot redirect.")
        if change.callback_url and source.url:
            # A new StatusCallback takes effect only with Url (CALL-a); events can't be chosen here, so they stay.
            events = leg.subscription.events if leg.subscription else frozenset({"completed"})
            leg.subscription = Subscription(change.callback_url, change.callback_method, events)
        self._lines[leg.sid].redirect(source)

    def _callback_failed(self, leg: Leg, callback: Callback, reply: Reply) -> None:
        why = reply.error or f"answered {reply.status}"
        text = f"HTTP retrieval failure: the {callback.event} callback {why}"
        self.note(leg, 11200, text, url=callback.url, method=callback.method)
