"""What carries a script's steps out for a leg: it waits, asks addresses, listens for digits, and dials."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from callctl.simulator.network import Reply
from callctl.simulator.switch.dial import DialSession
from callctl.simulator.switch.keypad import Keypad
from callctl.simulator.twiml import steps

if TYPE_CHECKING:  # a leg has a host, and the host's Dials are made of legs
    from callctl.simulator.switch.leg import Line

FETCH_SECONDS = 0.1  # what fetching a document costs at least, so that no loop of documents takes no time

Stop = Callable[[], object]
Resume = Callable[[object], None]


class LegHost:
    """One leg's host. `dial` is the Dial that the leg runs, until its last leg has ended or left."""

    def __init__(self, line: "Line") -> None:
        self._line = line
        self._exchange = line.exchange
        self._keypad = Keypad(line.exchange.clock)
        self._fetches = 0
        self.dial: DialSession | None = None

    def begin(self, step: object, resume: Resume) -> Stop:
        """Begin a step of the script; return how to drop it."""
        match step:
            case steps.Wait(seconds):
                return self._wait(seconds, resume)
            case steps.Fetch():
                return self._fetch(step, resume)
            case steps.Listen(seconds):
                return self._keypad.listen(seconds, resume)
            case steps.Ring():
                return self._start_dial(step, resume)
        raise TypeError(f"not a step: {step!r}")

    def prompt(self) -> None:
        """Let the far end know that digits are listened for."""
        self._keypad.prompt(self._line.far_end, self.press)

    def press(self, digits: str) -> None:
        """Take keys that the far end presses: heard by a Gather, or a star that ends a Dial; otherwise lost."""
        for digit in digits:
            if not self._keypad.press(digit) and digit == "*" and self.dial is not None:
                self.dial.star()

    def quiet(self) -> None:
        """Forget what the far end has not pressed yet."""
        self._keypad.quiet()

    async def tear_down(self) -> None:
        """End the Dial under way, if there is one, as a redirect of its parent does."""
        if self.dial is not None:
            await self.dial.tear_down()
            self.dial = None

    def _wait(self, seconds: float | None, resume: Resume) -> Stop:
        self._keypad.quiet()
        if seconds is None:
            return lambda: None
        return self._exchange.clock.later(seconds, lambda: resume(None)).cancel

    def _fetch(self, step: steps.Fetch, resume: Resume) -> Stop:
        self._keypad.quiet()
        earliest = self._exchange.clock.now() + FETCH_SECONDS
        stop: Stop

        def answered(reply: Reply) -> None:
            nonlocal stop
            left = earliest - self._exchange.clock.now()
            stop = self._exchange.clock.later(left, lambda: resume(reply)).cancel

        self._fetches += 1
        token = self._exchange.callbacks.token(self._line.leg, f"document {self._fetches}")
        stop = self._exchange.network.ask(replace(step.request, token=token), answered)
        return lambda: stop()

    def _start_dial(self, step: steps.Ring, resume: Resume) -> Stop:
        def over(result: steps.DialResult) -> None:
            self.dial = None
            resume(result)

        self._keypad.quiet()
        self.dial = DialSession(self._line, step.dial, step.base, over)
        self.dial.start()
        return lambda: None  # what tears a Dial down is a redirect or the end, each in its own way
