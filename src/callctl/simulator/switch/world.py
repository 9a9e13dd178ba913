"""Everything that happens in a simulator: its clock, calls, requests and records. A reset replaces it as a whole."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from callctl.simulator.clock import Clock, ManualClock, RealClock
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OnTraffic
from callctl.simulator.outgoing.cookies import CookieJars
from callctl.simulator.outgoing.web import Web
from callctl.simulator.records import Records
from callctl.simulator.settings import Settings
from callctl.simulator.switch.switch import Switch


def utc_now() -> datetime:
    """Return the real time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far it had come at a moment: the number of the last record, and how many legs had got each status."""

    number: int = 0
    changes: Counter[str] = field(default_factory=Counter)


class World:
    """One run, from the start or a reset to the next; made in the event loop that it runs in.

    Every time stamp is what `wall` returns, if it is given. Else it is the real time, and with a manual clock the real
    time of the beginning and the seconds that have passed since.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        is_manual: bool,
        wall: Callable[[], datetime] | None,
        chance: Chance,
        on_traffic: OnTraffic,
    ) -> None:
        self.run = uuid4().hex  # names this run to clients that poll
        self.manual_clock = ManualClock() if is_manual else None
        self.clock: Clock = self.manual_clock or RealClock(settings.speed)
        self.wall = wall or (utc_now if self.manual_clock is None else _simulated(self.clock))
        self.is_advancing = False
        self.last_advance = Mark()  # its end
        self.answered = 0  # requests by the API
        self.created = self.wall()
        self.records = Records(now=self.clock.now, wall=self.wall, keep=settings.keep_records, on_traffic=on_traffic)
        # An application counts the age of its cookies in real time.
        jars = CookieJars(now=self.clock.now, wall=wall or utc_now) if settings.cookies else None
        self.web = Web(
            auth_token=settings.auth_token, allow_remote=settings.allow_remote, records=self.records, jars=jars
        )
        self.switch = Switch(
            settings,
            clock=self.clock,
            wall=self.wall,
            send=self.web.send,
            connect=self.web.connect,
            chance=chance,
            records=self.records,
        )

    async def advance(self, seconds: float, is_done: Callable[[], bool]) -> None:
        """Let simulated seconds pass and wait for all requests that were due; stop as soon as something is done.

        Only one caller at a time.

        Raises:
            ValueError: There is no manual clock.
        """
        if self.manual_clock is None:
            raise ValueError("no manual clock")
        self.is_advancing = True
        try:
            await self.manual_clock.advance(seconds, settled=self.web.settled, is_done=is_done)
        finally:
            self.is_advancing = False
            self.last_advance = Mark(self.records.last, Counter(self.switch.register.changes))

    def is_idle(self) -> bool:
        """Return whether no call goes on and, by a manual clock, nothing else is to come."""
        return not self.switch.live_legs() and (self.manual_clock is None or self.manual_clock.is_empty())

    async def close(self) -> None:
        """Drop what is under way, without a callback."""
        self.clock.stop()
        self.switch.close()
        await self.web.close()


def _simulated(clock: Clock) -> Callable[[], datetime]:
    began = utc_now().replace(microsecond=0)  # as Twilio's times are, which so agree with durations
    return lambda: began + timedelta(seconds=clock.now())
