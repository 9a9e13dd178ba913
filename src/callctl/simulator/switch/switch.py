"""The switch: the legs in operation, what may be asked of them, and what becomes of them. It knows no HTTP."""

from collections.abc import Callable, Iterator
from datetime import datetime

from callctl.simulator import readings
from callctl.simulator.callbacks import Callback, Callbacks
from callctl.simulator.clock import Clock
from callctl.simulator.faults import Chance
from callctl.simulator.models import INBOUND, OUTBOUND_API, OUTBOUND_DIAL, Leg, Source, Subscription
from callctl.simulator.network import Network, Reply
from callctl.simulator.rest.errors import ApiError
from callctl.simulator.rest.requests import Change, Order
from callctl.simulator.settings import Settings
from callctl.simulator.switch.exchange import Exchange
from callctl.simulator.switch.far_end import Directory
from callctl.simulator.switch.leg import CALL_SECONDS, DECLINED, TIMED_OUT, Line
from callctl.simulator.switch.numbers import normal
from callctl.simulator.switch.register import Register
from callctl.simulator.traffic import Witness, nobody

DIALS_AFTER = 0.1  # from the request to dialling, when nothing is queued before it (inferred)
CHOSEN_EVENTS = 21626


class Switch:
    """Every leg in operation; `register` has those that have ended, too."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall: Callable[[], datetime],
        network: Network,
        chance: Chance,
        witness: Witness = nobody,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._directory = Directory({normal(address): far_end for address, far_end in settings.far_end.items()})
        self._lines: dict[str, Line] = {}
        self._next_dial = 0.0
        self.register = Register(settings, clock=clock, wall=wall, chance=chance, witness=witness)
        self.callbacks = Callbacks(
            account_sid=settings.account_sid,
            clock=clock,
            wall=wall,
            network=network,
            chance=chance,
            faults=settings.faults,
            keep=settings.keep_records,
            failed=self._callback_failed,
            witness=witness,
        )
        self._exchange = Exchange(settings.account_sid, clock, wall, network, self.callbacks, self.register, self)

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
        """Do what an update asks (docs/twilio.md, "REST: updating a call"); raise ApiError where Twilio refuses."""
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

    def line(self, sid: str) -> Line | None:
        """Return the live leg with this SID in operation."""
        return self._lines.get(sid)

    def live(self) -> Iterator[Line]:
        """Yield every leg in operation, the oldest first."""
        return iter(tuple(self._lines.values()))

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

    def ended(self, line: Line) -> None:
        """Take a leg that has ended off the lines."""
        self._lines.pop(line.leg.sid, None)
        self.register.finish(line.leg)

    # Inside

    def _make(self, order: Order, direction: str, status: str, *, parent: Leg | None = None) -> Line:
        leg = self.register.enter(order, direction, status, parent=parent)
        if order.strange_events:
            text = f"StatusCallbackEvent {order.strange_events[0]!r} is no event: no callbacks will be sent"
            self.register.note(leg, CHOSEN_EVENTS, text)
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
        self._lines[leg.sid] = line
        return line

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
        spares_dialled = readings.CANCEL_SPARES_DIAL_LEGS in self._settings.readings
        if leg.status == "in-progress" or (leg.direction == OUTBOUND_DIAL and spares_dialled):
            if readings.CANCEL_REFUSED_IN_PROGRESS in self._settings.readings:
                raise ApiError(21220)
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
        self.register.note(leg, 11200, text, url=callback.url, method=callback.method)
