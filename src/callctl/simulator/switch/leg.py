"""One leg in operation: it rings, is answered, carries out the steps of its document, and ends once."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from callctl.simulator.callbacks import Callbacks, leg_parameters
from callctl.simulator.clock import Clock, Timer
from callctl.simulator.far_end import FarEnd, is_keys
from callctl.simulator.http_requests import Cancel, OutgoingRequest, Reply, Send
from callctl.simulator.models import Detection, Leg, Source, Subscription
from callctl.simulator.settings import Settings
from callctl.simulator.switch.call_register import Register
from callctl.simulator.switch.detection import Verdict, judge
from callctl.simulator.twiml.document import UNKNOWN_VERB
from callctl.simulator.twiml.script import Runner, run_script
from callctl.simulator.twiml.steps import Answer, Fetch, Note, NotImitated, Report, ScriptEnd, Wait
from callctl.simulator.twiml.verbs.gather import Listen, Prompt, Speech

RINGS_AFTER = 0.2  # from dialling to the first ring (inferred)
CALL_SECONDS = 14400.0  # a call without TimeLimit ends after four hours
ANSWERED, BUSY_HERE, TIMED_OUT, DECLINED, FAILED_TO_RUN = 200, 486, 487, 603, 500
FETCH_SECONDS = 0.1  # what fetching a document costs at least, so that no loop of documents takes no time
KEY_SECONDS = 0.25  # between two digits that the far end presses
NOBODY_LEARNS = 21262
STRICT_FAILURE = 12100  # an error, so that it is found where errors are looked for (ours)
# What a whisper may hold (docs/twilio.md, "Dial legs").
WHISPER_VERBS = ("Say", "Play", "Pause", "Gather", "Redirect", "Hangup", "Reject")

Resume = Callable[[object], None]
# Begin a step of a leg's script, and call the function once, later, with its result; return how to stop it. None is
# returned where the step is done.
Activity = Callable[["LiveLeg", Any, Resume], Cancel | None]


class DialControl(Protocol):
    """What legs call on a Dial: the parent that runs it, and the children that it made.

    A protocol, since the Dial's own module imports this one.
    """

    def start(self) -> None:
        """Ring the children."""

    def star_pressed(self) -> None:
        """End the conversation, where `*` does so."""

    def abort(self) -> None:
        """End every child."""

    async def tear_down(self) -> None:
        """End as the redirect of the parent does; steps of the parent's script."""

    def child_ended(self, child: "LiveLeg") -> None:
        """A child has ended."""

    def child_redirected(self, child: "LiveLeg") -> None:
        """A child was redirected and no longer belongs to the Dial."""


@dataclass(frozen=True, slots=True)
class LegContext:
    """What all legs share. `activities` begin the steps that take more than a leg: by the step's type."""

    settings: Settings
    clock: Clock
    wall: Callable[[], datetime]
    send: Send
    callbacks: Callbacks
    register: Register
    activities: Mapping[type, Activity]
    on_end: Callable[["LiveLeg"], None]


class LiveLeg:
    """One leg in operation. `on_answer` is called once the far end has answered; by default the document runs."""

    def __init__(
        self,
        leg: Leg,
        context: LegContext,
        far_end: FarEnd,
        *,
        source: Source,
        time_limit: float = CALL_SECONDS,
        detection: Detection | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self.leg = leg
        self.context = context
        self.far_end = far_end
        self.detection = detection
        self.on_ring: Callable[[], None] = self._far_end_rings
        self.on_answer: Callable[[], None] = self.run
        self.dialled_by: DialControl | None = None  # the Dial that made this leg, while it belongs to it
        self.running_dial: DialControl | None = None  # the Dial that it runs, until the last child ended or left
        self._source = source
        # What the request for its first document carries besides; what Twilio says of a call can't be said otherwise.
        own = leg_parameters(leg, context.settings.account_sid)
        self.parameters = {name: value for name, value in (parameters or {}).items() if name not in own}
        self._time_limit = time_limit
        self._answered_at: float | None = None
        self._runner = Runner(self._begin)
        self._keypad = Keypad(context.clock)
        self._fetches = 0
        self._reports = 0
        self._gathers = 0  # that its far end has answered
        self._not_imitated_yet: set[str] = set()
        self.heard_by: LiveLeg | None = None  # the application's leg that it talks to, if it does
        self.on_star: Callable[[], None] | None = None  # what a `*` does that no Gather takes, nor a Dial
        self._beside: set[Runner] = set()
        self.when_answered: list[Callable[[], None]] = []  # called once, before its document runs
        self.when_ending: list[Callable[[], None]] = []  # called once, before its last callback is sent
        self.on_words: Callable[[str], None] | None = None  # who listens to what the far end says, if anybody does
        self.when_over: list[Callable[[], None]] = []  # called once, when the leg has ended
        self.is_ending = False  # set before its script is dropped, so that what it leaves knows why
        self._timers: list[Timer] = []
        self._limit: Timer | None = None

    # The life of the leg

    def dial(self, *, timeout: float) -> None:
        """Ring the far end; give up after so many simulated seconds."""
        if self.is_ending:
            return
        self.change(started=self.context.wall())
        self.context.callbacks.fire(self.leg, "initiated")
        self.later(timeout, lambda: self.end("no-answer", sip=TIMED_OUT))
        if self.far_end.rings:
            self.later(RINGS_AFTER, self._ring)
        else:
            self.later(self.far_end.after, lambda: self.end("failed", sip=self.far_end.sip_code))

    def _ring(self) -> None:
        self.change(status="ringing")
        self.context.callbacks.fire(self.leg, "ringing")
        self.on_ring()

    def _far_end_rings(self) -> None:
        match self.far_end.outcome:
            case "answers":
                self.later(self.far_end.after, self.pick_up)
            case "busy":
                self.later(self.far_end.after, lambda: self.end("busy", sip=BUSY_HERE))
            case "rejects":
                # not answered *or rejected* is no-answer (CALL-a)
                self.later(self.far_end.after, lambda: self.end("no-answer", sip=DECLINED))

    def pick_up(self) -> None:
        """The far end answers."""
        self.answer()
        self.on_answer()

    def answer(self) -> None:
        """Become in-progress; the far end's hang-up and the time limit count from now on."""
        if self.is_answered:
            return
        self._cancel_timers()
        self._answered_at = self.context.clock.now()
        self.change(status="in-progress")
        self.context.callbacks.fire(self.leg, "answered")
        for answered in self.when_answered:
            answered()
        self.limit(self._time_limit)
        if self.far_end.hang_up_after is not None:
            self.later(self.far_end.hang_up_after, lambda: self.end("completed"))

    def run(self) -> None:
        """Run the leg's document, answered or (incoming) not."""
        if self.is_ending:
            return
        self._runner.start(self._opening(), self._finished)

    def answer_by(self, source: Source, parameters: Mapping[str, str], far_end: FarEnd) -> None:
        """Have a document answer it in place of a far end, or reject it; what it hears is the far end given here."""
        self._source, self.parameters = source, dict(parameters)
        self.far_end = replace(far_end, outcome="answers", hang_up_after=None)
        self.on_ring = self.run

    def redirect(self, source: Source) -> None:
        """Drop the present document for another. A Dial is torn down first; a leg that a Dial made leaves it."""
        dialled_by, self.dialled_by = self.dialled_by, None
        self._source = source
        self._runner.start(self._redirected(source), self._finished)
        if dialled_by is not None:
            dialled_by.child_redirected(self)

    def run_instead(self, script: Awaitable[ScriptEnd]) -> None:
        """Run a script of the simulator's own in place of the leg's document."""
        self._runner.start(script, self._finished)

    def beside(
        self,
        script: Awaitable[ScriptEnd],
        on_end: Callable[[ScriptEnd], None],
        *,
        params: Callable[[], dict[str, str]] = dict,
    ) -> Cancel:
        """Run another script beside the leg's own, such as the music while it waits; return how to drop it.

        It does not outlive the leg, and is dropped by its caller where the leg goes on elsewhere. Each of its
        requests carries `params` besides the leg's.
        """

        def begin(step: object, resume: Resume) -> Cancel | None:
            if isinstance(step, Fetch):
                step = replace(step, params=params() | step.params)
            return self._begin(step, resume)

        runner = Runner(begin)

        def drop() -> None:
            runner.stop()
            self._beside.discard(runner)

        def ended(end: ScriptEnd) -> None:
            self._beside.discard(runner)
            on_end(end)

        self._beside.add(runner)
        runner.start(script, ended)
        return drop

    def whisper(self, source: Source, on_end: Callable[[ScriptEnd], None]) -> None:
        """Run a document for this leg alone, before it is connected."""
        self._runner.start(run_script(source, allowed=WHISPER_VERBS), on_end)

    def end(self, status: str, *, sip: int = ANSWERED) -> None:
        """End the leg, and with it what it dialled; the Dial that made it learns of it. Only the first end counts."""
        if self.leg.is_final or self.is_ending:
            return
        self.is_ending = True
        self._stop_scripts()
        self._cancel_timers()
        if self._limit is not None:
            self._limit.cancel()
        if self.running_dial is not None:
            self.running_dial.abort()
        ended: dict[str, object] = {"status": status}
        if self._answered_at is not None:
            # end_time and duration stay empty for a call that was never connected (OAS)
            ended |= {"ended": self.context.wall(), "duration": self.duration}
        for ending in self.when_ending:
            ending()
        self.change(**ended)
        self.context.callbacks.fire(self.leg, "completed", sip=sip)
        for over in self.when_over:
            over()
        self.context.on_end(self)
        if self.dialled_by is not None:
            self.dialled_by.child_ended(self)

    def drop(self) -> None:
        """Stop its scripts without ending the leg: the simulator closes."""
        self.is_ending = True
        self._stop_scripts()

    def _stop_scripts(self) -> None:
        self._runner.stop()
        for runner in tuple(self._beside):
            runner.stop()
        self._beside.clear()

    @property
    def is_answered(self) -> bool:
        """Whether it is past ringing."""
        return self._answered_at is not None

    @property
    def duration(self) -> int:
        """Whole simulated seconds since the answer."""
        if self.leg.facts.duration is not None:
            return self.leg.facts.duration
        began = self._answered_at
        return 0 if began is None else max(0, round(self.context.clock.now() - began))

    # What may be changed from outside

    def limit(self, seconds: float) -> None:
        """End the call so many simulated seconds after its answer."""
        self._time_limit = seconds
        if self._answered_at is None:
            return
        if self._limit is not None:
            self._limit.cancel()
        remaining = self._answered_at + seconds - self.context.clock.now()
        self._limit = self.context.clock.later(remaining, lambda: self.end("completed"))

    def press(self, digits: str) -> None:
        """The far end presses keys: digits for a Gather, or a star that ends a Dial; others are lost."""
        for digit in digits:
            if self._keypad.press(digit):
                continue
            if self.heard_by is not None:
                self.heard_by.press(digit)
            if digit != "*":
                continue
            if self.running_dial is not None:
                self.running_dial.star_pressed()
            elif self.on_star is not None:
                self.on_star()

    def say(self, words: str) -> None:
        """The far end says something: to a Record, a conference or a Gather; where none listens it is lost."""
        if self.on_words is not None:
            self.on_words(words)
        elif not self._keypad.say(Speech(words, self.far_end.confidence)) and self.heard_by is not None:
            self.heard_by.say(words)

    def answer_gathers(self, answers: tuple[str, ...]) -> None:
        """Have the far end answer so to the Gathers that begin from now on."""
        self.far_end = replace(self.far_end, answers=answers)
        self._gathers = 0

    def listen(self, seconds: float | None, resume: Resume) -> Cancel:
        """Wait for the next digit, or None after so many simulated seconds; return how to stop."""
        return self._keypad.listen(seconds, resume)

    def request(self, url: str, method: str, params: dict[str, str]) -> None:
        """Request a document that is thrown away, since the leg has ended."""
        self._fetches += 1
        token = self.context.callbacks.token(self.leg, f"document {self._fetches}")
        form = leg_parameters(self.leg, self.context.settings.account_sid) | params
        self.context.send(OutgoingRequest(url, method, form, token, pair=self.leg.pair), lambda _: None)

    def notify(self, code: int, text: str, *, url: str = "", method: str = "") -> None:
        """Add an error or a warning to the call's notifications."""
        self.context.register.note(self.leg, code, text, url=url, method=method)

    # The steps of its script

    def _begin(self, step: object, resume: Resume) -> Cancel | None:
        """Begin a step; return how to stop it, or None where it is done."""
        match step:
            case Answer():
                self.answer()
                return None
            case Note():
                self.notify(step.code, step.text, url=step.url, method=step.method)
                return None
            case NotImitated(text):
                self.pass_over(text)
                return None
            case Prompt():
                self._answer_gather()
                return None
            case Report():
                self._report(step)
                return None
            case Wait(seconds):
                return self._wait(seconds, resume)
            case Fetch():
                return self._fetch(step, resume)
            case Listen(seconds, keys, speech):
                return self._keypad.listen(seconds, resume, keys=keys, speech=speech)
        self._keypad.cancel_presses()
        return self.context.activities[type(step)](self, step, resume)

    def pass_over_all(self, not_imitated: Iterable[str]) -> None:
        """Note things that were requested, in words, and are not imitated."""
        for what in not_imitated:
            self.pass_over(f"{what} is not imitated")

    def pass_over(self, text: str) -> None:
        """Note what is not imitated, once in a call; where that is to be strict, the call fails for it."""
        if text in self._not_imitated_yet:
            return
        self._not_imitated_yet.add(text)
        if not self.context.settings.strict:
            self.notify(UNKNOWN_VERB, f"{text}; it was passed over")
        else:
            self.notify(UNKNOWN_VERB, text)
            self.notify(STRICT_FAILURE, f"the call failed, since the simulator is strict: {text}")
            self.end("failed", sip=FAILED_TO_RUN)

    def _answer_gather(self) -> None:
        """Have the far end press its keys, one after the other, or say what it answers."""
        answer, after = self.far_end.answer(self._gathers), self.far_end.digits_after
        self._gathers += 1
        self._keypad.cancel_presses()
        if is_keys(answer):
            for index, digit in enumerate(answer):
                self._keypad.later(after + index * KEY_SECONDS, partial(self.press, digit))
        else:
            self._keypad.later(after, lambda: self.say(answer))

    def _report(self, step: Report) -> None:
        self._reports += 1
        form = leg_parameters(self.leg, self.context.settings.account_sid) | step.params
        key, to = f"{self.leg.key} report {self._reports}", Subscription(step.url, step.method)
        self.context.callbacks.report(step.event, to, form, key=key, leg=self.leg)

    def _wait(self, seconds: float | None, resume: Resume) -> Cancel:
        self._keypad.cancel_presses()
        if seconds is None:
            return lambda: None
        return self.context.clock.later(seconds, lambda: resume(None)).cancel

    def _fetch(self, step: Fetch, resume: Resume) -> Cancel:
        self._keypad.cancel_presses()
        clock = self.context.clock
        earliest = clock.now() + FETCH_SECONDS
        stop: Cancel

        def on_reply(reply: Reply) -> None:
            nonlocal stop
            stop = clock.later(earliest - clock.now(), lambda: resume(reply)).cancel

        self._fetches += 1
        token = self.context.callbacks.token(self.leg, f"document {self._fetches}")
        params = leg_parameters(self.leg, self.context.settings.account_sid) | step.params
        request = OutgoingRequest(step.url, step.method, params, token, awaited=True, pair=self.leg.pair)
        stop = self.context.send(request, on_reply)
        return lambda: stop()

    async def _redirected(self, source: Source) -> ScriptEnd:
        if self.running_dial is not None:
            await self.running_dial.tear_down()
            self.running_dial = None
        return await run_script(source)

    # Detection, the end of the script, and timers

    async def _opening(self) -> ScriptEnd:
        """Detect who answered, where TwiML waits for that, and run the leg's document."""
        detection, parameters = self.detection, self.parameters
        if detection is not None and self.is_answered:
            if detection.asynchronous:
                self.detect()
            else:
                verdict = judge(detection, self.far_end)
                await Wait(verdict.seconds)
                self.change(answered_by=verdict.answered_by)
                parameters = parameters | verdict.parameters()
        return await run_script(self._source, params=parameters)

    def detect(self) -> None:
        """Detect who answered while everything else goes on, where that was requested; no leg that ended is judged."""
        detection = self.detection
        if detection is None:
            return
        if not detection.callback_url:
            self.notify(NOBODY_LEARNS, "Machine detection has no callback: its result is on the call alone")
        verdict = judge(detection, self.far_end)
        self.later(verdict.seconds, lambda: self._report_detection(detection, verdict))

    def _report_detection(self, detection: Detection, verdict: Verdict) -> None:
        self.change(answered_by=verdict.answered_by)
        if not detection.callback_url:
            return
        form = {"CallSid": self.leg.sid, "AccountSid": self.context.settings.account_sid} | verdict.parameters()
        to = Subscription(detection.callback_url, detection.callback_method)
        self.context.callbacks.report("machine-detection", to, form, key=self.leg.key, leg=self.leg)

    def _finished(self, end: ScriptEnd) -> None:
        if self.is_answered:
            self.end("completed")  # whatever became of the document, the call was connected (inferred)
        elif end is ScriptEnd.BUSY:
            self.end("busy", sip=BUSY_HERE)
        elif end is ScriptEnd.REJECTED:
            self.end("no-answer", sip=DECLINED)
        else:
            self.end("failed", sip=FAILED_TO_RUN)

    def change(self, **facts: object) -> None:
        """Replace some of the leg's facts."""
        updated = replace(self.leg.facts, updated=self.context.wall(), **facts)  # type: ignore[arg-type]
        self.context.register.set_facts(self.leg, updated)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Set a timer, in simulated seconds, that does not outlive the leg, nor, set while ringing, its answer."""
        timer = self.context.clock.later(seconds, action)
        self._timers.append(timer)
        return timer

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._keypad.cancel_presses()


class Keypad:
    """What one leg's far end presses and says, on the way to its script."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._presses: list[Timer] = []
        self._listener: Callable[[object], None] | None = None
        self._takes = (True, False)  # keys, and speech

    def later(self, seconds: float, press: Callable[[], None]) -> None:
        """Have the far end do something in so many simulated seconds, unless no Gather listens any more by then."""
        self._presses.append(self._clock.later(seconds, press))

    def cancel_presses(self) -> None:
        """Cancel what the far end has not done yet, since no Gather listens any more."""
        for timer in self._presses:
            timer.cancel()
        self._presses.clear()

    def press(self, digit: str) -> bool:
        """Pass on a digit; return whether anybody listened for one."""
        keys, _ = self._takes
        return keys and self._pass_on(digit)

    def say(self, speech: Speech) -> bool:
        """Pass on what is said; return whether anybody listened for it."""
        _, takes_speech = self._takes
        return takes_speech and self._pass_on(speech)

    def _pass_on(self, given: object) -> bool:
        listener, self._listener = self._listener, None
        if listener is None:
            return False
        listener(given)
        return True

    def listen(
        self, seconds: float | None, resume: Callable[[object], None], *, keys: bool = True, speech: bool = False
    ) -> Callable[[], object]:
        """Wait for the next key or words, or None after so many simulated seconds; return how to stop."""
        timer: Timer | None = None

        def stop() -> None:
            self._listener = None
            if timer is not None:
                timer.cancel()

        def on_input(given: object) -> None:
            stop()
            resume(given)

        if seconds is not None:
            timer = self._clock.later(seconds, lambda: on_input(None))
        self._listener, self._takes = on_input, (keys, speech)
        return stop
