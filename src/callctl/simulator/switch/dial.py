"""One <Dial>: the legs it makes, which of them wins, and when it is over.

A child never outlives the Dial that made it unless it was redirected: every end of a Dial ends the children, or
releases exactly the one that was redirected.
"""

from collections.abc import Callable
from dataclasses import replace

from callctl.simulator.callbacks import leg_parameters
from callctl.simulator.http_requests import Cancel
from callctl.simulator.models import Source, Subscription
from callctl.simulator.switch import numbers
from callctl.simulator.switch.leg import Activity, LiveLeg, Resume
from callctl.simulator.switch.owned import Handling, Shelf
from callctl.simulator.switch.recordings import Recording, Recordings
from callctl.simulator.twiml.document import HTTP_FAILURE, absolute, fetch, why_none
from callctl.simulator.twiml.steps import ScriptEnd, Wait
from callctl.simulator.twiml.verbs.application import ApplicationNoun
from callctl.simulator.twiml.verbs.dial import ANSWER, RINGING, DialResult, Ring, Target
from callctl.simulator.twiml.verbs.record import to_url

CANCELED = 487
INVALID_NUMBER, INVALID_APPLICATION = 13224, 21218
# Measured on live Twilio after a parent was redirected (docs/twilio.md, "Redirects and the other leg"): the child ends,
# the Dial's action is requested, and then the new document.
CHILD_ENDS_AFTER, ACTION_AFTER, DOCUMENT_AFTER = 0.166, 0.154, 0.23


MakeChild = Callable[[LiveLeg, str, str, Subscription | None, str], LiveLeg]


def dialling(make_child: MakeChild, recordings: Recordings, applications: Shelf) -> Activity:
    """Return what begins a Dial of a leg, whose children are made by `make_child`."""

    def begin(parent: LiveLeg, step: Ring, resume: Resume) -> Cancel:
        def on_result(result: DialResult) -> None:
            parent.running_dial = None
            resume(result)

        parent.running_dial = DialSession(
            parent, step, on_result, make_child=make_child, recordings=recordings, applications=applications
        )
        parent.running_dial.start()
        return lambda: None  # a redirect and the end of the leg each end its Dial in their own way

    return begin


class DialSession:
    """A Dial under way. `on_result` is called once with the result, unless the parent is redirected or ends first."""

    def __init__(
        self,
        parent: LiveLeg,
        step: Ring,
        on_result: Callable[[DialResult], None],
        *,
        make_child: MakeChild,
        recordings: Recordings,
        applications: Shelf,
    ) -> None:
        self._parent = parent
        self._dial = step.dial
        self._base = step.base
        self._on_result = on_result
        self._make_child = make_child
        self._recordings = recordings
        self._applications = applications
        self._recording: Recording | None = None
        self._waiting = list(step.dial.targets)
        self._ringing: list[LiveLeg] = []
        self._winner: LiveLeg | None = None
        self._bridged = False
        self._closed = False
        self._action_requested = False
        self._stops: list[Callable[[], None]] = []

    def start(self) -> None:
        """Ring all at once, or the first of a sequence."""
        if self._dial.recording.begins == RINGING:
            self._record()
        if self._dial.sequential:
            self._ring_next("failed")
        else:
            targets, self._waiting = self._waiting, []
            for target in targets:
                self._ring(target)
        if not self._ringing:
            self._finish_soon(DialResult("failed"))

    def child_answered(self, child: LiveLeg) -> None:
        """The first to answer wins; the others are canceled."""
        self._winner = child
        self._ringing.remove(child)
        for other in tuple(self._ringing):
            other.end("canceled", sip=CANCELED)

    def child_ended(self, child: LiveLeg) -> None:
        """A child is over: so is the Dial when it was the winner, or the last to ring."""
        if child in self._ringing:
            self._ringing.remove(child)
        if self._closed:
            return
        if child is self._winner:
            self._finish(self._result())
        elif self._winner is None and not self._ringing:
            self._ring_next(child.leg.status, child.leg.sid)

    def child_redirected(self, child: LiveLeg) -> None:
        """The winner was redirected; the Dial is over and has no duration (DIAL)."""
        self._finish(DialResult("completed", child.leg.sid, None, self._bridged))

    def star_pressed(self) -> None:
        """The caller pressed `*`, which ends the conversation where hangupOnStar says so (DIAL)."""
        if self._dial.hangup_on_star and self._bridged and self._winner is not None:
            self._winner.end("completed")

    def abort(self) -> None:
        """End every child, without a result."""
        self._close()
        for child in tuple(self._ringing):
            child.end("canceled", sip=CANCELED)
        if self._winner is not None and self._winner.dialled_by is self:
            self._winner.end("completed")

    async def tear_down(self) -> None:
        """The parent was redirected: the child ends, `action` is requested, and its reply thrown away."""
        result = self._result()
        self._close()
        params = result.parameters() | self._recorded()
        await Wait(CHILD_ENDS_AFTER)
        self.abort()
        if not self._dial.action or self._action_requested:
            return
        await Wait(ACTION_AFTER)
        self._action_requested = True  # a second redirect meanwhile does not request it again
        url = absolute(self._base, self._dial.action)
        if url:
            await fetch(url, self._dial.method, params)
        await Wait(DOCUMENT_AFTER)

    def _ring_next(self, status: str, sid: str = "") -> None:
        """Ring the next of a sequence; without one the Dial is over as the last that was tried."""
        while self._waiting:
            self._ring(self._waiting.pop(0))
            if self._ringing:
                return
        if sid:
            self._finish(DialResult(status, sid))

    def _ring(self, target: Target) -> None:
        if target.application is not None:
            self._ring_application(target, target.application)
            return
        address = numbers.dialled(target.kind, target.address)
        if not address:
            text = f"<{target.kind}>: {target.address!r} can't be dialled"
            self._parent.notify(INVALID_NUMBER, text)
            return
        caller = self._dial.caller_id or self._parent.leg.from_
        child = self._make_child(self._parent, address, caller, self._subscription(target), target.send_digits)
        child.dialled_by = self
        child.on_answer = lambda: self._answered(child, target)
        if target.detection is not None:
            url = self._link(target.detection.callback_url, "amdStatusCallback")
            child.detection = replace(target.detection, callback_url=url)
        self._ringing.append(child)
        child.dial(timeout=self._dial.timeout)

    def _ring_application(self, target: Target, noun: ApplicationNoun) -> None:
        """Dial an application: its document answers, hears the caller, and ends the leg when it ends."""
        parent, found = self._parent, self._applications.find(noun.sid)
        handling = Handling(None, None) if found is None else found.handling
        if handling.source is None:
            why = "there is none with this SID" if found is None else "it has no VoiceUrl"
            parent.notify(INVALID_APPLICATION, f"<Application>: {noun.sid!r}: {why}")
            return
        caller = self._dial.caller_id or parent.leg.from_
        callback = self._subscription(target) or handling.subscription
        child = self._make_child(parent, target.address, caller, callback, target.send_digits)
        child.dialled_by = self
        child.when_answered.append(lambda: self._application_answered(child, target))
        account = parent.context.settings.account_sid
        own = leg_parameters(child.leg, account)
        parameters = noun.request_parameters(account_sid=account, parent_to=parent.leg.to, own=own)
        child.answer_by(handling.source, parameters, parent.far_end)
        self._ringing.append(child)
        child.dial(timeout=self._dial.timeout)

    def _application_answered(self, child: LiveLeg, target: Target) -> None:
        self._answered(child, target)
        self._parent.heard_by = child
        self._stops.append(self._not_heard)

    def _not_heard(self) -> None:
        self._parent.heard_by = None

    def _subscription(self, target: Target) -> Subscription | None:
        url = self._link(target.callback_url, "statusCallback")
        if not url:
            return None
        return Subscription(url, target.callback_method, frozenset(target.callback_events))

    def _answered(self, child: LiveLeg, target: Target) -> None:
        self.child_answered(child)
        self._record_winner(child)
        child.detect()
        url = self._link(target.whisper_url, "url")
        if url:
            child.whisper(Source(url, target.whisper_method), lambda end: self._whisper_ended(child, end))
        elif target.whisper_url:
            self._whisper_ended(child, ScriptEnd.FAILED)
        else:
            self._bridge()

    def _link(self, url: str, attribute: str) -> str:
        """Return a noun's URL as an absolute one; empty, and noted, when it can't be requested."""
        link = absolute(self._base, url) if url else ""
        if url and not link:
            why = why_none(self._base, url)
            self._parent.notify(HTTP_FAILURE, f"HTTP retrieval failure: {attribute} {why}")
        return link

    def _whisper_ended(self, child: LiveLeg, end: ScriptEnd) -> None:
        """The whisper is over: it connects the callee unless it hung up or can't be fetched (the latter inferred)."""
        if end is ScriptEnd.DOCUMENT_END:
            self._bridge()
        else:
            child.end("completed")

    def _bridge(self) -> None:
        winner = self._winner
        if winner is None:
            return
        self._bridged = True
        limit = self._parent.context.clock.later(self._dial.time_limit, lambda: winner.end("completed"))
        self._stops.append(limit.cancel)
        self._parent.answer()  # where it had been left ringing (answerOnBridge)

    def _result(self) -> DialResult:
        if self._winner is None:
            return DialResult("canceled", self._ringing[0].leg.sid if self._ringing else "")
        winner = self._winner
        return DialResult("completed", winner.leg.sid, winner.duration, self._bridged)

    def _finish_soon(self, result: DialResult) -> None:
        timer = self._parent.context.clock.later(0.0, lambda: self._finish(result))
        self._stops.append(timer.cancel)

    def _finish(self, result: DialResult) -> None:
        if not self._closed:
            self._close()
            self._on_result(replace(result, recorded=self._recorded()))

    def _record(self) -> None:
        """Begin to record both sides, until the Dial is over."""
        wanted = self._dial.recording.request
        if wanted.subscription is not None:
            wanted = to_url(wanted, self._link(wanted.subscription.url, "recordingStatusCallback"))
        recording = self._recordings.start(self._parent.leg, wanted)
        self._recording = recording
        self._stops.append(lambda: self._recordings.stop(recording))

    def _record_winner(self, child: LiveLeg) -> None:
        """Begin to record where that begins with the answer; the recording ends with the child, which reports it."""
        if self._dial.recording.begins == ANSWER:
            self._record()
        if self._recording is not None:
            recording = self._recording
            recording.reported_by = child.leg
            child.when_ending.append(lambda: self._recordings.stop(recording))

    def _recorded(self) -> dict[str, str]:
        return {} if self._recording is None else self._recordings.parameters(self._recording)

    def _close(self) -> None:
        self._closed = True
        for stop in self._stops:
            stop()
        self._stops.clear()
