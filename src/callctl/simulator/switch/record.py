"""What <Record> does to a leg: it listens to the far end, which speaks as fast as <Say> does, and stops in time."""

from callctl.simulator.clock import Timer
from callctl.simulator.http_requests import Cancel
from callctl.simulator.settings import EMPTY_RECORDING_FALLS_THROUGH
from callctl.simulator.switch.leg import Activity, LiveLeg, Resume
from callctl.simulator.switch.recordings import Recordings
from callctl.simulator.twiml.verbs.record import TakeMessage
from callctl.simulator.twiml.verbs.sound import SAY_SECONDS_PER_CHARACTER

HUNG_UP = "hangup"  # what Digits says of a caller who hung up (REC)
LEAST_TRIMMED = 1.0  # seconds that are left of a recording without a word (inferred)


def taking_messages(recordings: Recordings) -> Activity:
    """Return what begins the Record of a leg."""

    def begin(leg: LiveLeg, step: TakeMessage, resume: Resume) -> Cancel:
        return _Taking(leg, step, resume, recordings).cancel

    return begin


class _Taking:
    """A Record under way."""

    def __init__(self, leg: LiveLeg, step: TakeMessage, resume: Resume, recordings: Recordings) -> None:
        self._leg = leg
        self._step = step
        self._resume = resume
        self._recordings = recordings
        self._clock = leg.context.clock
        self._recording = recordings.start(leg.leg, step.recording)
        self._words: list[tuple[float, float, str]] = []  # each from when to when, in simulated seconds
        self._silence: Timer | None = None
        self._limit = self._clock.later(step.max_length, self._finish)
        self._stop_listening: Cancel = lambda: None
        self._listen()
        leg.on_words = self._hear
        self._hear(leg.far_end.words)

    def cancel(self) -> None:
        """Stop: the call goes on elsewhere, or has ended; then the action gets `hangup` as the digits."""
        self._stop()
        if self._leg.is_ending:
            params = self._parameters(HUNG_UP)
            self._leg.when_over.append(lambda: self._leg.request(self._step.action, self._step.method, params))

    def _hear(self, words: str) -> None:
        """Hear words that are said from now on, or behind those that are still being said."""
        now = self._clock.now()
        if words:
            begins = max(now, self._words[-1][1]) if self._words else now
            self._words.append((begins, begins + len(words) * SAY_SECONDS_PER_CHARACTER, words))
        if self._silence is not None:
            self._silence.cancel()
        if self._step.timeout:
            silent_from = max(now, self._words[-1][1]) if self._words else now
            self._silence = self._clock.later(silent_from + self._step.timeout - now, self._finish)

    def _listen(self) -> None:
        self._stop_listening = self._leg.listen(None, self._pressed)

    def _pressed(self, key: object) -> None:
        if str(key) in self._step.finish_on:
            self._finish(str(key))
        else:
            self._listen()

    def _finish(self, key: str = "") -> None:
        self._stop()
        falls_through = EMPTY_RECORDING_FALLS_THROUGH in self._leg.context.settings.readings
        self._resume(None if falls_through and not self._said() else self._parameters(key))

    def _stop(self) -> None:
        self._stop_listening()
        self._leg.on_words = None
        for timer in (self._limit, self._silence):
            if timer is not None:
                timer.cancel()
        self._recordings.stop(self._recording, seconds=self._seconds())
        self._recordings.transcribe(self._recording, self._said(), self._step.transcribe_callback)

    def _seconds(self) -> float:
        """Return the length of the recording, without the silence at both ends where that is trimmed."""
        whole = self._recordings.seconds(self._recording)
        if not self._step.trims:
            return whole
        heard = min(self._words[-1][1], self._clock.now()) - self._words[0][0] if self._words else 0.0
        return min(whole, max(heard, LEAST_TRIMMED))

    def _said(self) -> str:
        """Return the words that have been begun."""
        return " ".join(words for begins, _, words in self._words if begins < self._clock.now())

    def _parameters(self, key: str) -> dict[str, str]:
        params = self._recordings.parameters(self._recording)
        return params | {"Digits": key} if key else params
