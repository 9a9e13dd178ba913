"""Digits: the far end presses them, and a Gather hears those that come while it listens."""

from collections.abc import Callable
from functools import partial

from callctl.simulator.clock import Clock, Timer
from callctl.simulator.switch.far_end import FarEnd

KEY_SECONDS = 0.25  # between two digits that the far end presses


class Keypad:
    """One leg's digits, on the way from its far end to its script."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._presses: list[Timer] = []
        self._listener: Callable[[object], None] | None = None

    def prompt(self, far_end: FarEnd, press: Callable[[str], None]) -> None:
        """Have the far end press its digits, one after the other."""
        self.quiet()
        for index, digit in enumerate(far_end.digits):
            delay = far_end.digits_after + index * KEY_SECONDS
            self._presses.append(self._clock.later(delay, partial(press, digit)))

    def quiet(self) -> None:
        """Forget what the far end has not pressed yet: nobody listens any more."""
        for timer in self._presses:
            timer.cancel()
        self._presses.clear()

    def press(self, digit: str) -> bool:
        """Pass on a digit; tell whether anyone listened."""
        listener, self._listener = self._listener, None
        if listener is None:
            return False
        listener(digit)
        return True

    def listen(self, seconds: float | None, resume: Callable[[object], None]) -> Callable[[], object]:
        """Wait for the next digit, or None after so many simulated seconds; return how to stop."""
        timer: Timer | None = None

        def stop() -> None:
            self._listener = None
            if timer is not None:
                timer.cancel()

        def heard(digit: object) -> None:
            stop()
            resume(digit)

        if seconds is not None:
            timer = self._clock.later(seconds, lambda: heard(None))
        self._listener = heard
        return stop
