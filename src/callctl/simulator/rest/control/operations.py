"""What a test does: at the other end of calls, to the simulator's time, and to all of it; from Python and HTTP alike.

All raise ControlError, or ApiError for what Twilio refuses too, such as a number that is none.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from callctl.simulator.errors import ControlError
from callctl.simulator.far_end import MAX_ANSWERS, MAX_WORDS, FarEnd, FarEndError, checked, is_keys
from callctl.simulator.models import Leg
from callctl.simulator.records import Call
from callctl.simulator.rest import requests
from callctl.simulator.rest.control.conditions import Condition, idle, request_seen, status_reached
from callctl.simulator.rest.control.seed import Seed, SeedError, apply, read
from callctl.simulator.rest.routing import Endpoint
from callctl.simulator.switch.owned import Owned
from callctl.simulator.switch.switch import Switch
from callctl.simulator.switch.world import World
from callctl.support.dates import seconds_text

MAX_ADDRESS = 1000  # characters
LIMIT = 3600.0  # simulated seconds in which something is to become so
MAX_KEYS = 64  # pressed at once
MAX_SECONDS = 10 * 366 * 86400.0  # since the start or the last reset
NO_MANUAL_CLOCK = (
    "time runs by itself here; to advance it, start the simulator with manual_clock=True (command line: --clock manual)"
)


class Control:
    """The operations on a running simulator, in its event loop; `initial` is applied at once, and after each reset.

    Each raises ControlError for a value that makes no sense, a call that is not there, or a status that forbids it.
    """

    def __init__(self, endpoint: Endpoint, initial: Seed) -> None:
        self._endpoint = endpoint

        def prepare() -> None:
            apply(initial, endpoint)

        endpoint.prepare = prepare
        prepare()

    @property
    def _switch(self) -> Switch:
        return self._endpoint.switch

    # Calls

    def calls(self) -> tuple[Call, ...]:
        """Return the calls that are known, the oldest first."""
        return tuple(Call.of(leg) for leg in self._switch.register.oldest_first())

    def find(self, sid: str) -> Call:
        """Return the call with this SID."""
        return Call.of(self._leg(sid))

    def call(
        self,
        *,
        to: str = "",
        from_: str = "",
        url: str = "",
        method: str = "",
        twiml: str = "",
        fallback_url: str = "",
        status_callback: str = "",
        status_callback_event: Sequence[str] = (),
        application_sid: str = "",
        time_limit: int | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Call:
        """Let a call come in."""
        if parameters and not application_sid:
            raise ControlError(20001, "parameters are what a client says besides: they go with application_sid")
        form = {
            "To": to,
            "From": from_,
            "Url": url,
            "Method": method,
            "Twiml": twiml,
            "FallbackUrl": fallback_url,
            "StatusCallback": status_callback,
            "ApplicationSid": application_sid,
            "TimeLimit": "" if time_limit is None else str(time_limit),
        }
        for name, value in form.items():
            _check_text(name, value)
        values: dict[str, tuple[str, ...]] = {name: (value,) for name, value in form.items() if value}
        if isinstance(status_callback_event, str):
            raise ControlError(20001, "status_callback_event must be a list of texts")
        if status_callback_event:
            values["StatusCallbackEvent"] = tuple(status_callback_event)
        request = requests.read_incoming(values, self._switch.possessions, parameters=parameters or {})
        return Call.of(self._switch.receive(request))

    def answer(self, sid: str) -> Call:
        """Answer a ringing call that goes out."""
        return self._act(sid, self._switch.far_end_answers)

    def hang_up(self, sid: str) -> Call:
        """Hang up at the far end: a ringing call is declined, or given up by its caller."""
        return self._act(sid, self._switch.far_end_hangs_up)

    def press(self, sid: str, digits: str) -> Call:
        """Press keys at the far end of a call that is in progress."""
        _check_text("digits", digits)
        if not 1 <= len(digits) <= MAX_KEYS or not is_keys(digits):
            raise ControlError(20001, f"digits must be 1 to {MAX_KEYS} of 0-9, A-D, # and *, and not {digits[:80]!r}")
        return self._act(sid, lambda leg: self._switch.far_end_presses(leg, digits))

    def say(self, sid: str, words: str) -> Call:
        """Say something at the far end of a call that is in progress."""
        _check_text("words", words)
        if not words.strip() or len(words) > MAX_WORDS:
            raise ControlError(20001, f"words must be 1 to {MAX_WORDS} characters")
        return self._act(sid, lambda leg: self._switch.far_end_says(leg, words.strip()))

    def answer_gathers(self, sid: str, answers: Sequence[str]) -> Call:
        """Have the far end of a call answer so to one <Gather> after the other, from the next that begins."""
        if not _are_answers(answers):
            sentence = f"answers must be a list of up to {MAX_ANSWERS} texts of up to {MAX_WORDS} characters"
            raise ControlError(20001, sentence)
        return self._act(sid, lambda leg: self._switch.far_end_answers_gathers(leg, tuple(answers)))

    def set_far_end(self, address: str, far_end: FarEnd) -> str:
        """Let an address do this in the calls that are made from now on; return it as calls have it."""
        _check_text("address", address)
        if not address.strip() or len(address) > MAX_ADDRESS:
            raise ControlError(20001, f"address must be 1 to {MAX_ADDRESS} characters")
        try:
            checked(address, far_end)
        except FarEndError as error:
            raise ControlError(20001, str(error)) from error
        return self._switch.set_far_end(address.strip(), far_end)

    def far_ends(self) -> Mapping[str, FarEnd]:
        """Return what was set for addresses, without what the built-in table has."""
        return dict(self._switch.far_ends)

    # Time

    async def advance(self, seconds: float) -> float:
        """Let simulated seconds pass, and wait for all that was due; return how many have passed."""
        return await self._advance(seconds, lambda: False)

    async def advance_until(
        self,
        *,
        status: str | None = None,
        call: str | None = None,
        request: str | None = None,
        is_idle: bool = False,
        limit: float = LIMIT,
    ) -> float:
        """Let time pass until something is so, and no longer; return how many seconds have passed."""
        wanted = sum((status is not None, request is not None, is_idle))
        if wanted != 1:
            raise ControlError(20001, "advance until one of status, request and idle")
        if call is not None and status is None:
            raise ControlError(20001, "call goes with status: which call is to have it")
        world = self._world_to_advance()
        condition: Condition
        if status is not None:
            condition = status_reached(world, status, None if call is None else self._leg(call))
        elif request is not None:
            condition = request_seen(world, request)
        else:
            condition = idle(world)
        with condition:
            passed = await self._advance(limit, condition.is_met)
            if not condition.is_met():
                raise ControlError(
                    20001, f"{condition.missing()} within {seconds_text(passed)} s: {condition.still()}", status=409
                )
        return passed

    async def _advance(self, seconds: float, is_done: Callable[[], bool]) -> float:
        world = self._world_to_advance()
        if not _are_seconds(seconds):
            raise ControlError(20001, f"seconds must be a number, 0 or more, and not {seconds!r}")
        before = world.clock.now()
        if before + seconds > MAX_SECONDS:
            raise ControlError(20001, "the simulator can't be advanced by more than ten years")
        if world.is_advancing:
            raise ControlError(20001, "time is being advanced already; wait until that is done", status=409)
        await world.advance(seconds, is_done)
        if world is not self._endpoint.world:
            raise ControlError(20001, "the simulator was reset while time was advanced", status=409)
        return round(world.clock.now() - before, 6)

    def _world_to_advance(self) -> World:
        world = self._endpoint.world
        if world.manual_clock is None:
            raise ControlError(20001, NO_MANUAL_CLOCK, status=409)
        return world

    # All of it

    async def reset(self) -> None:
        """Begin again, as at the start: calls are dropped without a callback, the clock is at 0."""
        await self._endpoint.begin_again()

    def seed(self, values: object) -> list[Owned]:
        """Set numbers, applications and far ends as a seed says, or nothing of it; return numbers and applications."""
        try:
            seed = read(values, as_json=True)
        except SeedError as error:
            raise ControlError(20001, str(error)) from error
        return self.plant(seed)

    def plant(self, seed: Seed) -> list[Owned]:
        """Set what a seed says that was read already."""
        return apply(seed, self._endpoint)

    # Inside

    def _leg(self, sid: str) -> Leg:
        _check_text("a call's SID", sid)
        leg = self._switch.register.find(sid)
        if leg is None:
            raise ControlError(20404, f"there is no call {sid}")
        return leg

    def _act(self, sid: str, act: Callable[[Leg], None]) -> Call:
        leg = self._leg(sid)
        act(leg)
        return Call.of(leg)


# Types are not checked where Python code calls; what would go wrong instead says nothing of use to who wrote the test.


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ControlError(20001, f"{name} must be a text, and not a value of type {type(value).__name__}")


def _are_seconds(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0  # type: ignore[arg-type,operator]


def _are_answers(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_ANSWERS:
        return False
    return all(isinstance(each, str) and len(each) <= MAX_WORDS for each in value)
