"""Status callbacks: fired per leg, numbered as fired, sent each by itself, with the faults that were chosen.

What the requests about a leg carry is in docs/twilio.md, "Callback parameters".
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime

from callctl.simulator.clock import Clock, Timer
from callctl.simulator.faults import Chance, Faults
from callctl.simulator.http_requests import OutgoingRequest, Reply, Send, Sent
from callctl.simulator.models import API_VERSION, INBOUND, Leg, Subscription
from callctl.simulator.records import Records

MOST_WAITING_SECONDS = 5.0  # a waiting callback goes after the leg's next one, or after so many simulated seconds
OVERTAKEN_AFTER = 0.1  # how long after the one that overtakes it
STATUS_OF_EVENT: Mapping[str, str] = {
    "initiated": "initiated",  # only here, never in REST (CALL-b)
    "ringing": "ringing",
    "answered": "in-progress",
}


@dataclass(slots=True, eq=False)
class Callback:
    """One callback that was fired: what was sent, and the reply to each time it was sent.

    `leg` is the SID of the call that it is about, empty where it is about none.

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
        """The CallStatus it carries; empty where it is no status callback."""
        return self.params.get("CallStatus", "")

    @property
    def sequence(self) -> int:
        """Its SequenceNumber."""
        return int(self.params.get("SequenceNumber", "0"))


@dataclass(slots=True)
class _Waiting:
    """A callback that waits to be overtaken."""

    send: Callable[[float], None]
    timer: Timer


@dataclass(slots=True)
class _Begun:
    """A callback that was recorded: how to send it after so many seconds, and whether it may be overtaken."""

    send: Callable[[float], None]
    may_be_overtaken: bool


class Callbacks:
    """Fires the events of legs to the URLs that subscribed to them."""

    def __init__(
        self,
        *,
        account_sid: str,
        clock: Clock,
        wall: Callable[[], datetime],
        send: Send,
        chance: Chance,
        faults: Faults,
        keep: int,
        on_failure: Callable[[Leg, Callback, Reply], None],
        records: Records,
    ) -> None:
        self._account_sid = account_sid
        self._clock = clock
        self._wall = wall
        self._send_request = send
        self._chance = chance
        self._faults = faults
        self._on_failure = on_failure
        self._records = records
        self._waiting: dict[str, _Waiting] = {}
        self.fired: deque[Callback] = deque(maxlen=keep)

    def fire(self, leg: Leg, event: str, *, sip: int = 200) -> None:
        """Send an event of a leg if its subscription has it; SequenceNumber counts those that were fired."""
        subscription = leg.subscription
        if subscription is None or event not in subscription.events:
            return
        form = _event_parameters(leg, self._account_sid, event, sequence=leg.sequence, at=self._wall(), sip=sip)
        leg.sequence += 1
        self._dispatch(leg, event, subscription, form)

    def report(self, event: str, to: Subscription, form: dict[str, str], *, key: str, leg: Leg | None = None) -> None:
        """Send what is no progress event of a leg, such as that somebody has joined a conference.

        ``key`` names it among all, so that chance treats it alike each time. ``leg`` gets a notification if it can't be
        sent.
        """
        request = OutgoingRequest(to.url, to.method, form, self._chance.uuid(key, event, "token"), kind="callback")
        self._begin(event, request, form, key=key, leg=leg).send(0.0)

    def token(self, leg: Leg, what: str) -> str:
        """Return the token of one request about a leg, which is the same however often it is sent."""
        return self._chance.uuid(leg.key, what, "token")

    def _dispatch(self, leg: Leg, event: str, subscription: Subscription, form: dict[str, str]) -> None:
        token = self.token(leg, event)
        request = OutgoingRequest(subscription.url, subscription.method, form, token, pair=leg.pair, kind="callback")
        begun = self._begin(event, request, form, key=leg.key, leg=leg)
        overtaken = self._waiting.pop(leg.sid, None)
        if begun.may_be_overtaken and event != "completed":  # nothing comes after the last one to overtake it
            timer = self._clock.later(MOST_WAITING_SECONDS, lambda: self._release(leg.sid))
            self._waiting[leg.sid] = _Waiting(begun.send, timer)
        else:
            begun.send(0.0)
        if overtaken is not None:
            overtaken.timer.cancel()
            overtaken.send(OVERTAKEN_AFTER)

    def _begin(
        self, event: str, request: OutgoingRequest, form: dict[str, str], *, key: str, leg: Leg | None
    ) -> "_Begun":
        """Record a callback, and decide what becomes of it."""
        delivery = self._chance.delivery(self._faults, key, event)
        sid, dropped = "" if leg is None else leg.sid, delivery.copies == 0
        callback = Callback(sid, event, request.url, request.method, form, self._clock.now(), dropped=dropped)
        self.fired.append(callback)
        if dropped:
            self._records.sent(Sent.of(request, None, self._records.moment()))

        def send(wait: float) -> None:
            for _ in range(delivery.copies):
                self._after(wait + delivery.delay, lambda: self._send(leg, callback, request))

        return _Begun(send, delivery.may_be_overtaken)

    def _release(self, sid: str) -> None:
        waiting = self._waiting.pop(sid, None)
        if waiting is not None:
            waiting.send(0.0)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        if seconds > 0:
            self._clock.later(seconds, action)
        else:
            action()

    def _send(self, leg: Leg | None, callback: Callback, request: OutgoingRequest) -> None:
        def on_reply(reply: Reply) -> None:
            callback.replies.append(replace(reply, body=b""))
            if not reply.ok and leg is not None:
                self._on_failure(leg, callback, reply)

        self._send_request(request, on_reply)


def leg_parameters(leg: Leg, account_sid: str) -> dict[str, str]:
    """Return what every request about a leg carries, the empty places of a number included (captures)."""
    form = {
        "ApiVersion": API_VERSION,
        "AccountSid": account_sid,
        "CallSid": leg.sid,
        "From": leg.from_,
        "Caller": leg.from_,
        "To": leg.to,
        "Called": leg.to,
        "CallStatus": leg.status,
        "Direction": leg.direction,
    }
    if leg.parent is not None:
        form["ParentCallSid"] = leg.parent.sid
    form |= _place_parameters(("Caller", "From"), leg.from_) | _place_parameters(("Called", "To"), leg.to)
    if leg.facts.answered_by:
        form["AnsweredBy"] = leg.facts.answered_by
    return form


def _event_parameters(
    leg: Leg, account_sid: str, event: str, *, sequence: int, at: datetime, sip: int
) -> dict[str, str]:
    """Return the parameters of a status callback; the last event has duration and SIP code too."""
    form = leg_parameters(leg, account_sid)
    form |= {
        "CallStatus": STATUS_OF_EVENT.get(event, leg.status),
        "Timestamp": format_datetime(at),
        "CallbackSource": "call-progress-events",
        "SequenceNumber": str(sequence),
    }
    if event == "completed":
        seconds = leg.facts.duration or 0
        form["CallDuration"] = str(seconds)
        form["Duration"] = str(math.ceil(seconds / 60))  # minutes, rounded up (CALL-a)
        form |= leg.recorded
        if leg.direction != INBOUND:  # absent there (a capture)
            form["SipResponseCode"] = str(sip)
    return form


def _place_parameters(names: tuple[str, str], number: str) -> dict[str, str]:
    if not number.startswith("+"):
        return {}
    country = "US" if number.startswith("+1") else ""
    return {
        name + part: country if part == "Country" else ""
        for name in names
        for part in ("City", "State", "Zip", "Country")
    }
