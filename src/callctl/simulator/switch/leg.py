"""One leg in operation: it rings, is answered, runs a document, listens for digits, and ends once."""

from collections.abc import Callable
from dataclasses import replace

from callctl.simulator import parameters
from callctl.simulator.clock import Timer
from callctl.simulator.models import Detection, Leg, Source
from callctl.simulator.switch.dial import DialSession
from callctl.simulator.switch.exchange import Exchange
from callctl.simulator.switch.far_end import FarEnd
from callctl.simulator.switch.host import LegHost
from callctl.simulator.twiml import script, steps

RINGS_AFTER = 0.2  # from dialling to the first ring (inferred)
CALL_SECONDS = 14400.0  # a call without TimeLimit ends after four hours
DETECTION_SECONDS = {"Enable": 2.0, "DetectMessageEnd": 5.0}
ANSWERED, BUSY_HERE, TIMED_OUT, DECLINED, FAILED_TO_RUN = 200, 486, 487, 603, 500


class Line:
    """One leg in operation. `connected` is called once the far end has answered; by default the document runs."""

    def __init__(
        self,
        leg: Leg,
        exchange: Exchange,
        far_end: FarEnd,
        *,
        source: Source,
        time_limit: float = CALL_SECONDS,
        detection: Detection | None = None,
    ) -> None:
        self.leg = leg
        self.exchange = exchange
        self.far_end = far_end
        self.detection = detection
        self.connected: Callable[[], None] = self.run
        self.session: DialSession | None = None  # the Dial that made this leg, while it belongs to it
        self._source = source
        self._time_limit = time_limit
        self._answered_at: float | None = None
        self._host = LegHost(self)
        self._runner = steps.Runner(self._host)
        self._timers: list[Timer] = []
        self._limit: Timer | None = None

    # The life of the leg

    def dial(self, *, timeout: float) -> None:
        """Ring the far end; give up after so many simulated seconds."""
        self.change(started=self.exchange.wall())
        self.exchange.callbacks.fire(self.leg, "initiated")
        self.later(timeout, lambda: self.end("no-answer", sip=TIMED_OUT))
        if self.far_end.rings:
            self.later(RINGS_AFTER, self._ring)
        else:
            self.later(self.far_end.after, lambda: self.end("failed", sip=self.far_end.sip_code))

    def _ring(self) -> None:
        self.change(status="ringing")
        self.exchange.callbacks.fire(self.leg, "ringing")
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
        self.connected()

    def answer(self) -> None:
        """Become in-progress; the far end and the time limit have their say from now on."""
        if self.is_answered:
            return
        self._cancel_timers()
        self._answered_at = self.exchange.clock.now()
        self.change(status="in-progress")
        self.exchange.callbacks.fire(self.leg, "answered")
        self.limit(self._time_limit)
        if self.far_end.hang_up_after is not None:
            self.later(self.far_end.hang_up_after, lambda: self.end("completed"))

    def run(self) -> None:
        """Run the leg's document, answered or (incoming) not."""
        self._runner.start(self._opening(), self._finished)

    def redirect(self, source: Source) -> None:
        """Drop the present document for another. A Dial is torn down first; a leg that a Dial made leaves it."""
        session, self.session = self.session, None
        self._source = source
        self._runner.start(self._redirected(source), self._finished)
        if session is not None:
            session.child_left(self)

    def whisper(self, source: Source, done: Callable[[steps.Over], None]) -> None:
        """Run a document for this leg alone, before it is connected."""
        self._runner.start(script.play(self, source, may_dial=False), done)

    def end(self, status: str, *, sip: int = ANSWERED) -> None:
        """End the leg, and with it what it dialled; whoever dialled it learns of it. Only the first end counts."""
        if self.leg.is_final:
            return
        self._runner.stop()
        self._cancel_timers()
        if self._limit is not None:
            self._limit.cancel()
        if self._host.dial is not None:
            self._host.dial.abort()
        ended: dict[str, object] = {"status": status}
        if self._answered_at is not None:
            # end_time and duration stay empty for a call that was never connected (OAS)
            ended |= {"ended": self.exchange.wall(), "duration": self.duration}
        self.change(**ended)
        self.exchange.callbacks.fire(self.leg, "completed", sip=sip)
        self.exchange.switch.ended(self)
        if self.session is not None:
            self.session.child_ended(self)

    def drop(self) -> None:
        """Stop without ending: the simulator closes."""
        self._runner.stop()

    @property
    def dial_under_way(self) -> DialSession | None:
        """The Dial that the leg runs, until its last leg has ended or left."""
        return self._host.dial

    @property
    def duration(self) -> int:
        """Whole simulated seconds since the answer."""
        if self.leg.facts.duration is not None:
            return self.leg.facts.duration
        began = self._answered_at
        return 0 if began is None else max(0, round(self.exchange.clock.now() - began))

    # What may be changed from outside

    def limit(self, seconds: float) -> None:
        """End the call so many simulated seconds after its answer."""
        self._time_limit = seconds
        if self._answered_at is None:
            return
        if self._limit is not None:
            self._limit.cancel()
        left = self._answered_at + seconds - self.exchange.clock.now()
        self._limit = self.exchange.clock.later(left, lambda: self.end("completed"))

    def press(self, digits: str) -> None:
        """The far end presses keys: heard by a Gather, or a star that ends a Dial; otherwise lost."""
        self._host.press(digits)

    # What a script sees and touches

    @property
    def is_answered(self) -> bool:
        """Whether it is past ringing."""
        return self._answered_at is not None

    def parameters(self) -> dict[str, str]:
        """Return what a request for TwiML tells about the leg."""
        return parameters.of_leg(self.leg, self.exchange.account_sid)

    def notify(self, code: int, text: str, *, url: str = "", method: str = "") -> None:
        """Note a failure or a warning among the call's notifications."""
        self.exchange.register.note(self.leg, code, text, url=url, method=method)

    def prompt(self) -> None:
        """Let the far end know that digits are listened for."""
        self._host.prompt()

    async def _redirected(self, source: Source) -> steps.Over:
        await self._host.tear_down()
        return await script.play(self, source)

    # Inside

    async def _opening(self) -> steps.Over:
        """Detect who answered, where TwiML waits for that, and run the leg's document."""
        detection = self.detection
        if detection is not None and self.is_answered:
            if detection.asynchronous:
                self.later(self._detection_seconds, self._tell_detection)
            else:
                await steps.Wait(self._detection_seconds)
                self._detected()
        return await script.play(self, self._source)

    def detect(self) -> None:
        """Find out beside everything else who answered."""
        self.later(self._detection_seconds, self._detected)

    @property
    def _detection_seconds(self) -> float:
        if self._awaits_beep:
            return DETECTION_SECONDS["DetectMessageEnd"]
        return DETECTION_SECONDS["Enable"]

    @property
    def _awaits_beep(self) -> bool:
        mode = self.detection.mode if self.detection is not None else ""
        return mode == "DetectMessageEnd" and self.far_end.voicemail

    def _detected(self) -> None:
        machine = "machine_end_beep" if self._awaits_beep else "machine_start"
        self.change(answered_by=machine if self.far_end.voicemail else "human")

    def _tell_detection(self) -> None:
        self._detected()
        detection = self.detection
        if detection is None or not detection.callback_url:
            return
        form = {
            "CallSid": self.leg.sid,
            "AccountSid": self.exchange.account_sid,
            "AnsweredBy": self.leg.facts.answered_by or "unknown",
        }
        self.exchange.callbacks.tell(self.leg, detection.callback_url, detection.callback_method, form)

    def _finished(self, over: steps.Over) -> None:
        if self.is_answered:
            self.end("completed")  # whatever became of the document, the call was connected (inferred)
        elif over is steps.Over.BUSY:
            self.end("busy", sip=BUSY_HERE)
        elif over is steps.Over.REJECTED:
            self.end("no-answer", sip=DECLINED)
        else:
            self.end("failed", sip=FAILED_TO_RUN)

    def change(self, **facts: object) -> None:
        """Replace some of the leg's facts."""
        updated = replace(self.leg.facts, updated=self.exchange.wall(), **facts)  # type: ignore[arg-type]
        self.exchange.register.remember(self.leg, updated)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Set a timer that does not outlive the leg, nor, set while ringing, its answer."""
        timer = self.exchange.clock.later(seconds, action)
        self._timers.append(timer)
        return timer

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._host.quiet()
