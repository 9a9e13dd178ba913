"""Forwards verified requests to applications, unchanged: the signature, the headers, the form.

Status callbacks are forwarded after they are acknowledged, so that a slow application delays nothing. A request for
TwiML is forwarded first: Twilio waits for the answer of the first application.

What an application does not take is sent again for five minutes, in order per call, and then kept as failed.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web
from multidict import CIMultiDict

from callctl.calls.watch_trouble import Cause, Forwarded, Trouble
from callctl.errors import type_and_message
from callctl.store.records import Undelivered
from callctl.support.backoff import Backoff
from callctl.support.tasks import cancel_until_done
from callctl.support.urls import is_loopback_url
from callctl.watch.counts import is_to_be_reported
from callctl.watch.forwarding.application import Answer, Application
from callctl.watch.forwarding.in_order import InOrder
from callctl.watch.forwarding.kept import KeptRequests
from callctl.watch.listener.server import ReceivedRequest

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent
    from callctl.store.event_store import EventStore

# The most requests that are under way to one application, and that wait for it. Further ones are kept as failed.
AT_ONCE = 8
WAITING = 2000
# For so many seconds a request that was not taken is sent again, with these pauses.
TRIED_FOR = 300.0
PAUSES = Backoff(first=1.0, factor=2.0, longest=30.0, jitter=0.1)
# What has waited for so many seconds is written to the store, so that it is there if this process is killed.
KEPT_AFTER = 1.0
_IN_A_TURN = 100  # of these, before callbacks are answered
_LAST_TRY = 0.2  # seconds in which the last answers may come at the end: what has none is kept as failed
_LAST_WRITE = 2.5  # seconds in which the rest is written to the store at the end, where there are no more
# How often the same request is forwarded at most. Twilio sends a callback six times at most: once, and the five retries
# of #rc=5 (docs/twilio.md, "Delivery"). A call whose TwiML loops requests it again and again with the same signature,
# each time with another token, once it was answered.
_MOST_TIMES = 10
_TOKEN = b"i-twilio-idempotency-token"
_TURN = 1.0  # seconds, for requests without it
_REMEMBERED = 8192  # requests; more than can go round at once, for no more than WAITING wait here

# Headers of an application's answer that mean something to Twilio; the rest belongs to its connection to us.
_ANSWER_HEADERS = ("content-type", "content-encoding", "location", "cache-control", "set-cookie")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_LOOP = 508  # Loop Detected (RFC 5842, section 7.2)
# What ``counts`` has: requests that were taken, tries that failed, requests that were given up.
TAKEN, FAILED_TRIES, GIVEN_UP = "taken", "failed_tries", "given_up"
COUNTED = (TAKEN, FAILED_TRIES, GIVEN_UP)


class Forwarder:
    """Forwards each request to some URLs.

    It is unchanged but for the URL and a ``Via`` (RFC 9110, section 7.6.3), by which a request that comes back is
    recognised. One that comes back without it is recognised by how often it comes. What came to a path that the
    listener does not serve goes to the same path of the first application, whose TwiML named it.

    ``counts`` has how many requests were taken, how many tries failed, and how many requests were given up.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        note: Callable[[Forwarded], None],
        trouble: Callable[[Trouble], None],
        verify: bool = True,
        most_asking: int = 128,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare; nothing is sent yet. Without ``verify`` any certificate is accepted.

        ``most_asking`` is how many requests for TwiML may wait for an answer at once, each on a connection of the
        listener; further ones are answered with 503. ``note`` is called for each request that was taken, ``trouble``
        for what failed; neither may be slow. ``clock`` returns seconds, ``now`` the time by which the store compares.
        """
        self._clock = clock
        self._given = ", ".join(urls)
        self._via = f"callctl-{secrets.token_hex(8)}"
        self._kept = KeptRequests(now=now, trouble=trouble)
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        reports = _Reports(note, trouble, self.counts)
        applications = [
            Application(url, verify=verify, clock=clock, has_paths=number == 0) for number, url in enumerate(urls)
        ]
        self._deliveries = [_Delivery(one, self._via, self._kept, reports, clock) for one in applications]
        # Twilio sends its request once, and waits: it must not be lost with a connection that is just being closed.
        self._first = Application(urls[0], verify=verify, clock=clock, keeps_connections=False, has_paths=True)
        self._reports = reports
        self._ending = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._forwarded: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when last; by signature
        self._most_asking, self._refused = most_asking, 0
        self._asking: Counter[str] = Counter()  # requests for TwiML that wait for an answer now, by signature

    @property
    def waiting(self) -> int:
        """How many requests are neither taken nor given up yet, for all URLs together."""
        return sum(len(delivery) for delivery in self._deliveries)

    def start(self, store: EventStore | None = None) -> None:
        """Begin to forward; call it in the event loop. What is not taken is kept in the store.

        Raises:
            SettingsError: The certificates that SSL_CERT_FILE names can't be read.
        """
        self._kept.store = store
        self._first.open()
        for delivery in self._deliveries:
            delivery.start()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self, limit: float = 0.0) -> None:
        """Forward what was not tried yet, for ``limit`` seconds at most, then keep the rest as failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(limit, _LAST_TRY)):
                await asyncio.gather(*(delivery.settle() for delivery in self._deliveries))
        await self._first.close()
        for delivery in self._deliveries:
            await delivery.stop()
        self._ending.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(limit, _LAST_WRITE)):
                if self._keeper is not None:
                    await asyncio.shield(self._keeper)
                await self._kept.write()
        if self._keeper is not None:
            self._keeper.cancel()
        for delivery in self._deliveries:
            delivery.report_unsent()

    async def _keep(self) -> None:
        while not self._ending.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(KEPT_AFTER):
                    await self._ending.wait()
            try:
                for delivery in self._deliveries:
                    await delivery.keep_what_waits()
                await self._kept.write()
            except Exception as error:  # requests are passed on, and the next may be kept
                what = f"which requests were not passed on can't be kept: {type_and_message(error)}"
                self._reports.once(Trouble(what, Cause.INTERNAL))

    def put(self, received: ReceivedRequest, event: CallEvent | None = None, *, asks_for_twiml: bool = False) -> None:
        """Forward a request that is acknowledged, unless it came back from an application; return at once.

        ``event`` is the event that it reports; a request without one can't be kept.
        """
        if not self._comes_back(received, asks_for_twiml=asks_for_twiml):
            for delivery in self._deliveries:
                delivery.put(received, event)

    async def answer(self, received: ReceivedRequest, event: CallEvent | None = None) -> web.Response:
        """Return the first application's answer to a request for TwiML; those of the others are dropped."""
        if self._comes_back(received, asks_for_twiml=True, is_waited_for=True):
            return web.Response(status=_LOOP)
        if self._asking.total() >= self._most_asking:
            self._refused += 1
            if is_to_be_reported(self._refused):
                self._reports.too_slow(self._first, self._refused)
            return web.Response(status=503)
        for delivery in self._deliveries[1:]:
            delivery.put(received, event)
        same = _identity(received)
        self._asking[same] += 1
        try:
            answer = await self._first.pass_on(received, via=self._via)
        finally:
            self._asking[same] -= 1
            self._asking += Counter()  # without those that are at 0
        if answer.is_too_long:
            what = "an answer longer than Twilio takes (64 kB)"
            answer = Answer(answer.seconds, failure=what, is_hopeless=True)
        waiting = _Waiting(received, event, 0.0, tries=1)
        if answer.status is not None and answer.status >= 400:
            self._reports.refused(waiting, self._first, answer)
        else:
            self._reports.answered(waiting, self._first, answer)
        if answer.status is None:
            return web.Response(status=502)
        # A header with a control character can't be sent, and an answer without it is better for the call than none.
        headers = [(name, _CONTROL.sub("", value)) for name, value in answer.headers if name.lower() in _ANSWER_HEADERS]
        return web.Response(status=answer.status, body=answer.body, headers=CIMultiDict(headers))

    def _comes_back(self, received: ReceivedRequest, *, asks_for_twiml: bool, is_waited_for: bool = False) -> bool:
        via = self._via.encode()
        if any(name.lower() == b"via" and via in value for name, value in received.headers):
            what = f"--forward-to {self._given} leads back to this watch: give it the address of your application"
        elif self.is_repeated(received, asks_for_twiml=asks_for_twiml, is_waited_for=is_waited_for):
            what = (
                f"--forward-to {self._given}: what is passed on comes back here, again and again: a request that "
                "has come so often is not passed on any more; see where your application sends what it is given"
            )
        else:
            return False
        self._reports.once(Trouble(what, Cause.FORWARD, url=self._given))
        return True

    def is_repeated(self, received: ReceivedRequest, *, asks_for_twiml: bool, is_waited_for: bool = False) -> bool:
        """Count a request; return whether it was forwarded so often that the application must be sending it back.

        What an application sends back may lack the ``Via``, but not the signature, or it would be refused. A request
        for TwiML counts where it has the token of the one before, or where many with its signature wait at once. One
        without a token, for whose answer nobody waits, counts where it follows the one before within a second.
        """
        now, same = self._clock(), _identity(received)
        token = _token(received)
        if received.has_no_form and not token:  # nothing in it says of which call it is
            return False
        if asks_for_twiml:
            if is_waited_for and self._asking[same] >= _MOST_TIMES:
                return True
            if is_waited_for and not token:
                return False
            same = f"{same} {token.decode('latin-1')}"
        times, last = self._forwarded.pop(same, (0, now))
        if asks_for_twiml and not token and now - last > _TURN:
            times = 0
        self._forwarded[same] = min(times + 1, _MOST_TIMES + 1), now
        if len(self._forwarded) > _REMEMBERED:
            self._forwarded.popitem(last=False)
        return times >= _MOST_TIMES


def _token(received: ReceivedRequest) -> bytes:
    return next((value for name, value in received.headers if name.lower() == _TOKEN), b"")


def _identity(received: ReceivedRequest) -> str:
    """Return what the same request has each time: its signature, or, where none is wanted, a digest of all of it.

    Without a form the signature is the same for all calls, and the token is not.
    """
    if signature := received.signed.signature:
        return f"{signature} {_token(received).decode('latin-1')}" if received.has_no_form else signature
    return hashlib.sha256(f"{received.method} {received.target}\n".encode() + received.body).hexdigest()


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that waits for an application since a time by the clock, and how often it was sent so far.

    ``why`` is why it was not taken; ``is_kept`` whether the store has it, or will; ``is_done`` whether it was taken or
    given up.
    """

    received: ReceivedRequest
    event: CallEvent | None
    since: float
    tries: int = 0
    why: str = "it was not sent yet"
    is_kept: bool = False
    is_done: bool = False
    pauses: Iterator[float] = field(default_factory=lambda: PAUSES.pauses(random.random))

    @property
    def call(self) -> Hashable:
        """The call or conference of the request: those of one call are sent one after the other."""
        if self.event is not None:
            return self.event.call_sid
        fields = dict(self.received.pairs)
        return fields.get("CallSid") or fields.get("ConferenceSid") or object()


class _Delivery:
    """Delivers requests to one application, several at once, those of a call one after the other."""

    def __init__(
        self, application: Application, via: str, kept: KeptRequests, reports: _Reports, clock: Callable[[], float]
    ) -> None:
        self.application = application
        self._via, self._kept, self._reports, self._clock = via, kept, reports, clock
        self._waiting: InOrder[_Waiting] = InOrder()
        self._ready: asyncio.Queue[Hashable] = asyncio.Queue()  # calls whose first request may be sent
        self._pausing: dict[Hashable, asyncio.TimerHandle] = {}  # and those that pause, after it was not taken
        self._workers: list[asyncio.Task[None]] = []
        self._shed = 0
        self._unsent: list[tuple[_Waiting, bool]] = []  # at the end, and whether the store can have it

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self.application.open()
        self._workers = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    async def settle(self) -> None:
        """Return once nothing is under way and all that waits was tried once."""
        await self._ready.join()

    async def stop(self) -> None:
        """Send nothing more, and note what is left as failed; it is not written yet."""
        for timer in self._pausing.values():
            timer.cancel()
        await cancel_until_done(self._workers)
        await self.application.close()
        if not self._unsent:
            self._unsent = [(waiting, self._give_up(waiting)) for waiting in self._waiting]

    def report_unsent(self) -> None:
        """Report what was left at the end, once the store was written or there is no more time for it."""
        rows = [self._row(waiting, tried_for=0.0) for waiting, is_kept in self._unsent if is_kept]
        unwritten = sum(row is not None and not self._kept.is_written(row) for row in rows)
        if self._unsent:
            self._reports.unsent(self.application, len(self._unsent), len(rows) - unwritten, unwritten)
        self._unsent = []

    def put(self, received: ReceivedRequest, event: CallEvent | None) -> None:
        waiting = _Waiting(received, event, self._clock())
        if len(self._waiting) < WAITING:
            call = waiting.call
            if self._waiting.add(call, waiting):
                self._ready.put_nowait(call)
            return
        waiting.why = f"{WAITING} requests waited for it"
        self._shed += 1
        is_kept = self._give_up(waiting)
        if is_to_be_reported(self._shed):
            self._reports.shed(self.application, self._shed, is_kept=is_kept)

    async def keep_what_waits(self) -> None:
        """Keep in the store what has waited for a while."""
        now = self._clock()
        long = [waiting for waiting in self._waiting if not waiting.is_kept and now - waiting.since >= KEPT_AFTER]
        for count, waiting in enumerate(long, 1):
            if not waiting.is_done:
                waiting.is_kept = self._keep(waiting, tried_for=max(0.0, waiting.since + TRIED_FOR - now))
            if count % _IN_A_TURN == 0:
                await asyncio.sleep(0)  # callbacks are answered meanwhile

    def _keep(self, waiting: _Waiting, *, tried_for: float) -> bool:
        """Keep a request in the store that is tried for some seconds more; return whether that is possible."""
        request = self._row(waiting, tried_for=tried_for)
        if request is None:
            return False
        self._kept.keep(request)
        return True

    def _give_up(self, waiting: _Waiting) -> bool:
        """Keep a request in the store as failed; return whether that is possible."""
        self._reports.counts[GIVEN_UP] += 1
        waiting.is_done = True  # so that it is not noted as one that is still tried
        # Once its time is over the store has it as failed already, and `replay` may have sent and forgotten it.
        return (waiting.is_kept and self._is_over(waiting)) or self._keep(waiting, tried_for=0.0)

    def _is_over(self, waiting: _Waiting) -> bool:
        return self._clock() >= waiting.since + TRIED_FOR

    def _row(self, waiting: _Waiting, *, tried_for: float) -> Undelivered | None:
        event = waiting.event
        if event is None or self._kept.store is None:
            return None
        url = self.application.kept_url(waiting.received)
        lasting = timedelta(seconds=tried_for)
        return Undelivered(event.call_sid, event.key, url, event.received_at, waiting.why, lasting)

    async def _work(self) -> None:
        while True:
            call = await self._ready.get()
            waiting = self._waiting.first(call)
            if (pause := await self._try(waiting)) is not None:
                self._pausing[call] = asyncio.get_running_loop().call_later(pause, self._end_pause, call)
            else:
                waiting.is_done = True
                if self._waiting.remove_first(call):
                    self._ready.put_nowait(call)
            self._ready.task_done()

    def _end_pause(self, call: Hashable) -> None:
        del self._pausing[call]
        self._ready.put_nowait(call)

    async def _try(self, waiting: _Waiting) -> float | None:
        """Send a request; return after how many seconds it is to be sent again, None if it was taken or given up."""
        if self._is_over(waiting):
            self._reports.given_up(waiting, self.application, None, is_kept=self._give_up(waiting))
            return None
        began = self._clock()
        try:
            answer = await self.application.pass_on(waiting.received, via=self._via)
        except Exception as error:  # one request that can't be forwarded must not end what forwards the next
            failure = f"not passed on ({type_and_message(error)})"
            answer = Answer(self._clock() - began, failure=failure, is_hopeless=True)
        waiting.tries += 1
        if answer.reason is None:
            if waiting.is_kept and (request := self._row(waiting, tried_for=0.0)) is not None:
                self._kept.forget(request)
            self._reports.answered(waiting, self.application, answer)
            return None
        waiting.why = answer.reason
        pause = next(waiting.pauses)
        if answer.is_hopeless or self._clock() + pause >= waiting.since + TRIED_FOR:
            self._reports.given_up(waiting, self.application, answer, is_kept=self._give_up(waiting))
            return None
        self._reports.failed(waiting, self.application, answer)
        return pause


class _Reports:
    """Reports what becomes of requests that are passed on."""

    def __init__(
        self, note: Callable[[Forwarded], None], trouble: Callable[[Trouble], None], counts: Counter[str]
    ) -> None:
        self._note, self._trouble, self.counts = note, trouble, counts
        self._said: set[str] = set()

    def once(self, trouble: Trouble) -> None:
        if trouble not in self._said:
            self._said.add(trouble)
            self._trouble(trouble)

    def answered(self, waiting: _Waiting, to: Application, answer: Answer) -> None:
        """Report the answer to a request that is not sent again."""
        if answer.reason is not None:
            self._report_failure(waiting, to, answer)
            return
        self.counts[TAKEN] += 1
        tries = f"  (try {waiting.tries})" if waiting.tries > 1 else ""
        self._note(Forwarded(_line(waiting, to, answer) + tries, url=to.shown, **_facts(waiting, answer)))

    def failed(self, waiting: _Waiting, to: Application, answer: Answer) -> None:
        """Report the first failure of a request that is sent again; the next report is what became of it."""
        if waiting.tries == 1:
            self._report_failure(waiting, to, answer, f"; trying again for {TRIED_FOR:g} s")
        else:
            self.counts[FAILED_TRIES] += 1

    def given_up(self, waiting: _Waiting, to: Application, answer: Answer | None, *, is_kept: bool) -> None:
        """Report that a request is not sent again; without an answer, that its turn did not come in time."""
        tries = "1 try" if waiting.tries == 1 else f"{waiting.tries} tries"
        self._report_failure(waiting, to, answer, f"; given up after {tries}, {_kept(is_kept)}", is_kept=is_kept)

    def unsent(self, to: Application, count: int, kept: int, unwritten: int) -> None:
        """Report how many requests were not taken when this ended, and how many of them are kept.

        Of ``unwritten`` ones the store may have what was written before, or nothing.
        """
        requests = "1 request was" if count == 1 else f"{count} requests were"
        rest = "" if kept in (0, count) else f"{kept} of them are "
        what = f"{requests} not passed on to {to.given}: the listener ends; {rest}{_kept(bool(kept))}"
        if unwritten:
            rest = "" if kept == 0 else f"{kept} are {_kept(is_kept=True)}; "
            which = "they" if unwritten == count else f"{unwritten} of them"
            what = f"{requests} not passed on to {to.given}: the listener ends; {rest}{which} may not be kept, for the "
            what += "store was not written in time"
        self._trouble(Trouble(what, Cause.FORWARD, url=to.given))

    def refused(self, waiting: _Waiting, to: Application, answer: Answer) -> None:
        """Report an answer that is no TwiML to a request for which Twilio waits: the call fails, if it still lives."""
        self._report_failure(waiting, to, answer)

    def too_slow(self, to: Application, count: int) -> None:
        """Report how many requests for TwiML were not passed on, since too many wait for an answer."""
        requests = "1 request for TwiML was" if count == 1 else f"{count} requests for TwiML were"
        what = f"{to.given} is too slow: {requests} answered with 503, for too many wait for its answer"
        self._trouble(Trouble(what, Cause.FORWARD, url=to.given, status=503))

    def shed(self, to: Application, count: int, *, is_kept: bool) -> None:
        """Report how many requests were not sent, since too many waited."""
        requests = "1 request was" if count == 1 else f"{count} requests were"
        what = f"{to.given} is too slow: {requests} not passed on, {_kept(is_kept)}"
        self._trouble(Trouble(what, Cause.FORWARD, url=to.given))

    def _report_failure(
        self, waiting: _Waiting, to: Application, answer: Answer | None, more: str = "", *, is_kept: bool = False
    ) -> None:
        self.counts[FAILED_TRIES] += answer is not None
        facts = _facts(waiting, answer)
        sid, status = facts.pop("call_sid"), facts.pop("status")
        what = _line(waiting, to, answer) + more
        details = {**facts, "reason": _why(waiting, answer), "kept": is_kept}
        self._trouble(Trouble(what, Cause.FORWARD, url=to.given, status=status, call_sid=sid, details=details))
        if answer is not None and answer.is_untrusted:
            what = "SSL_CERT_FILE names the file of a CA to trust, or of your application's own certificate"
            what += "; --forward-insecure accepts any" if is_loopback_url(to.given) else ""
            self.once(Trouble(what, Cause.FORWARD, url=to.given))


def _why(waiting: _Waiting, answer: Answer | None) -> str:
    return waiting.why if answer is None else answer.reason or f"HTTP {answer.status}"


def _kept(is_kept: bool) -> str:
    return "kept for `callctl replay --failed`" if is_kept else "and not kept"


def _line(waiting: _Waiting, to: Application, answer: Answer | None) -> str:
    fields = dict(waiting.received.pairs)
    call = " ".join(filter(None, (fields.get("CallSid"), fields.get("CallStatus"))))
    came = f"its turn did not come in {TRIED_FOR:g} s ({waiting.why})" if answer is None else answer.text
    return f"→ {to.name_of(waiting.received)}  {came}  {call}".rstrip()


def _facts(waiting: _Waiting, answer: Answer | None) -> dict[str, Any]:
    """Return the fields that the records of answers and of failures share."""
    fields = dict(waiting.received.pairs)
    return {
        "call_sid": fields.get("CallSid"),
        "event": waiting.event.event if waiting.event is not None else None,
        "status": None if answer is None else answer.status,
        "seconds": None if answer is None else round(answer.seconds, 3),
        "attempt": waiting.tries,
    }
