"""Everything that happens in a simulator: its clock, calls, requests and records. A reset replaces it as a whole."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from callctl.simulator.clock import Clock, ManualClock, RealClock
from callctl.simulator.cookies import CookieJars
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OnTraffic
from callctl.simulator.records import Records
from callctl.simulator.settings import Settings
from callctl.simulator.switch.switch import Switch
from callctl.simulator.web import Web


def utc_now() -> datetime:
    """Return the real time."""
    return datetime.now(UTC)


class World:
    """One run, from the start or a reset to the next; made in the event loop that it runs in.

    Every time stamp is what `wall` tells, where it is given. Else it is the real time, and with a manual clock the real
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
        self.run = uuid4().hex  # names this run to whoever asks again and again
        self.manual_clock = ManualClock() if is_manual else None
        self.clock: Clock = self.manual_clock or RealClock(settings.speed)
        self.wall = wall or (utc_now if self.manual_clock is None else _simulated(utc_now(), self.clock))
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

    async def close(self) -> None:
        """Drop what is under way, without a callback."""
        self.switch.close()
        await self.web.close()


def _simulated(began: datetime, clock: Clock) -> Callable[[], datetime]:
    return lambda: began + timedelta(seconds=clock.now())
