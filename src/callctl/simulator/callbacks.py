"""Status callbacks: fired per leg, numbered as fired, sent each by itself, with the faults that were ordered."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from callctl.simulator import parameters
from callctl.simulator.clock import Clock, Timer
from callctl.simulator.faults import Chance, Faults
from callctl.simulator.models import Leg, Subscription
from callctl.simulator.network import Ask, Network, Reply
from callctl.simulator.traffic import Sent, Witness, nobody

HELD_AT_MOST = 5.0  # a held callback goes after the leg's next one, or after so many simulated seconds
OVERTAKEN_AFTER = 0.1  # how long after the one that overtakes it


@dataclass(slots=True, eq=False)
class Callback:
    """One status callback that was fired: what was sent, and what came of each time it was sent.

    `replies` is empty while it is on its way and stays so when a fault dropped it (`dropped`).
    """

    leg: str
    event: str
    url: str
    method: str
    params: dict[str, str]
    at: float
    dropped: bool = False
    replies: list[Reply] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The CallStatus it carries."""
        return self.params["CallStatus"]

    @property
    def sequence(self) -> int:
        """Its SequenceNumber."""
        return int(self.params["SequenceNumber"])


@dataclass(slots=True)
class _Held:
    """A callback that waits to be overtaken."""

    send: Callable[[float], None]
    timer: Timer


class Callbacks:
    """Fires the events of legs to whoever subscribed to them."""

    def __init__(
        self,
        *,
        account_sid: str,
        clock: Clock,
        wall: Callable[[], datetime],
        network: Network,
        chance: Chance,
        faults: Faults,
        keep: int,
        failed: Callable[[Leg, Callback, Reply], None],
        witness: Witness = nobody,
    ) -> None:
        self._account_sid = account_sid
        self._clock = clock
        self._wall = wall
        self._network = network
        self._chance = chance
        self._faults = faults
        self._failed = failed
        self._witness = witness
        self._held: dict[str, _Held] = {}
        self.fired: deque[Callback] = deque(maxlen=keep)

    def fire(self, leg: Leg, event: str, *, sip: int = 200) -> None:
        """Send an event of a leg if someone asked for it; SequenceNumber counts those that were fired."""
        subscription = leg.subscription
        if subscription is None or event not in subscription.events:
            return
        form = parameters.of_event(leg, self._account_sid, event, sequence=leg.sequence, at=self._wall(), sip=sip)
        leg.sequence += 1
        self._dispatch(leg, event, subscription, form)

    def tell(self, leg: Leg, url: str, method: str, form: dict[str, str]) -> None:
        """Send something about a leg that is no progress event, such as what detected its answer."""
        self._network.ask(Ask(url, method, form, self.token(leg, url)), lambda _: None)

    def token(self, leg: Leg, what: str) -> str:
        """Return what names one request about a leg, however often it is sent."""
        return self._chance.uuid(leg.key, what, "token")

    def _dispatch(self, leg: Leg, event: str, subscription: Subscription, form: dict[str, str]) -> None:
        fate = self._chance.fate(self._faults, leg.key, event)
        callback = Callback(
            leg.sid,
            event,
            subscription.url,
            subscription.method,
            form,
            self._clock.now(),
            dropped=fate.copies == 0,
        )
        self.fired.append(callback)
        request = Ask(subscription.url, subscription.method, form, self.token(leg, event))
        if callback.dropped:
            self._witness(Sent.of(request, None))

        def send(wait: float) -> None:
            for _ in range(fate.copies):
                self._after(wait + fate.delay, lambda: self._send(leg, callback, request))

        overtaken = self._held.pop(leg.sid, None)
        if fate.held and event != "completed":  # nothing comes after the last one to overtake it
            timer = self._clock.later(HELD_AT_MOST, lambda: self._release(leg.sid))
            self._held[leg.sid] = _Held(send, timer)
        else:
            send(0.0)
        if overtaken is not None:
            overtaken.timer.cancel()
            overtaken.send(OVERTAKEN_AFTER)

    def _release(self, sid: str) -> None:
        held = self._held.pop(sid, None)
        if held is not None:
            held.send(0.0)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        if seconds > 0:
            self._clock.later(seconds, action)
        else:
            action()

    def _send(self, leg: Leg, callback: Callback, request: Ask) -> None:
        def answered(reply: Reply) -> None:
            callback.replies.append(replace(reply, body=b""))
            if not reply.ok:
                self._failed(leg, callback, reply)

        self._network.ask(request, answered)
