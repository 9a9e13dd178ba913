"""The register: every call resource there is, as the API shows it, and its notifications."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from callctl.simulator.clock import Clock
from callctl.simulator.errors import ApiError
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import Moment, Noted
from callctl.simulator.models import CallRequest, Facts, Leg, Notification
from callctl.simulator.records import Records
from callctl.simulator.settings import Settings

WARNINGS = frozenset({12200, 13217, 13224, 21262, 21626, 31930})
MAX_NOTIFICATIONS = 1000  # per call; a document that loops could add them without end


class Register:
    """Every leg by its SID, in the order in which they were created."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall: Callable[[], datetime],
        chance: Chance,
        records: Records,
    ) -> None:
        self._settings = settings
        self._records = records
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._legs: dict[str, Leg] = {}
        self._finished: dict[str, None] = {}  # the SIDs of those that ended and were not deleted, the first first
        self.changes = Counter[str]()  # how many legs got each status
        self._calls = 0
        self._ordinals = 0

    def add(self, request: CallRequest, direction: str, status: str, *, parent: Leg | None) -> Leg:
        """Add a new leg and return it."""
        key = self._key(parent)
        now = self._wall()
        subscription = request.subscription
        if subscription is not None and self._settings.dialect.final_callbacks_only:
            subscription = replace(subscription, events=frozenset({"completed"}))
        self._ordinals += 1
        leg = Leg(
            sid=self.new_sid("CA", key),
            key=key,
            ordinal=self._ordinals,
            to=request.to,
            from_=request.from_,
            direction=direction,
            created=now,
            facts=Facts(status, now),
            parent=parent,
            number_sid=request.number_sid,
            subscription=subscription,
        )
        self.set_facts(leg, leg.facts)
        self._legs[leg.sid] = leg
        return leg

    def find(self, sid: str) -> Leg | None:
        """Return the leg with this SID."""
        return self._legs.get(sid)

    def oldest_first(self) -> Iterator[Leg]:
        """Yield every leg, the oldest first."""
        return iter(self._legs.values())

    def newest_first(self) -> Iterator[Leg]:
        """Yield every leg, the newest first."""
        return reversed(self._legs.values())

    def visible_facts(self, leg: Leg) -> Facts:
        """Return a leg's facts as a request sees them now: those of a moment ago where the API lags."""
        return leg.facts_at(self._clock.now() - self._settings.lag) if self._settings.lag else leg.facts

    def set_facts(self, leg: Leg, facts: Facts) -> None:
        """Replace the facts of a leg, keeping the old ones for as long as the API may still show them."""
        now = self._clock.now()
        if not leg.timeline or leg.timeline[-1][1] != facts.status:
            leg.timeline.append((Moment(now, facts.updated), facts.status))
            self.changes[facts.status] += 1
        leg.facts = facts
        if not self._settings.lag:
            return
        leg.earlier.append((now, facts))
        while len(leg.earlier) > 1 and leg.earlier[1][0] <= now - self._settings.lag:
            leg.earlier.pop(0)

    def note(self, leg: Leg, code: int, text: str, *, url: str = "", method: str = "") -> None:
        """Add to the notifications of a leg, and to the records."""
        number = len(leg.notifications)
        if number >= MAX_NOTIFICATIONS:
            return
        leg.notifications.append(
            Notification(
                sid=self.new_sid("NO", leg.key, number),
                ordinal=number,
                call_sid=leg.sid,
                code=code,
                text=text,
                log="1" if code in WARNINGS else "0",
                at=self._clock.now(),
                date=self._wall(),
                url=url,
                method=method,
            )
        )
        self._records.noted(Noted(leg.sid, code, text, code in WARNINGS))

    def finish(self, leg: Leg) -> None:
        """Count a leg among those that have ended, of which the oldest are dropped."""
        self._finished[leg.sid] = None
        while len(self._finished) > self._settings.keep_finished:
            self._forget(next(iter(self._finished)))

    def delete(self, leg: Leg) -> None:
        """Forget a call that has ended; raise ApiError for one that has not."""
        if not leg.is_final:
            raise ApiError(20009)
        self._forget(leg.sid)

    def _forget(self, sid: str) -> None:
        self._legs.pop(sid, None)
        self._finished.pop(sid, None)

    def _key(self, parent: Leg | None) -> str:
        if parent is None:
            self._calls += 1
            return str(self._calls)
        parent.children += 1
        return f"{parent.key}.{parent.children}"

    def token(self, *key: object) -> str:
        """Return the token of a request about no leg, which is the same however often it is sent."""
        return self._chance.uuid(*key, "token")

    def new_sid(self, prefix: str, *key: object) -> str:
        """Return the SID of what a key names, the same under the same seed."""
        if self._settings.dialect.uuid_sids:
            return self._chance.uuid(prefix, *key)
        return prefix + self._chance.hexadecimal(prefix, *key)
