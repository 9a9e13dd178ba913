"""The legs of a board in the order in which the live table shows them, as far as a filter lets them through.

A frame must not sort ten thousand families anew. What an update costs depends on what has changed since the last one:
each family keeps its place in a sorted list until one of its legs changes, or a time is over that its place depends on.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain, compress, islice, repeat
from operator import and_, is_not
from typing import TYPE_CHECKING

from callctl.calls.board import Snapshot
from callctl.calls.call import CallStatus
from callctl.views.live.attention import (
    FAILURE_STAYS,
    RINGS_TOO_LONG,
    Failure,
    Urgency,
    failed_end,
)
from callctl.views.live.filter import EVERY_LEG, TextFilter, text_of

if TYPE_CHECKING:
    from callctl.calls.family import Family
    from callctl.calls.leg import Leg
    from callctl.support.clock import Clock

# More failures than these take one row together, until that is opened.
MOST_FAILURES = 3
# The row that stands for all failures, among the SIDs of legs.
FAILURES = "failures"

# How many families an update looks at anew because of the time alone. Where ten thousand legs began to ring at once,
# the others are for the next updates, so that no key and no answer to a callback waits for all of them.
_DUE_AT_ONCE = 1000

# Where a family stands: its urgency, a time by which it is sorted among equals, and its SID.
_SortKey = tuple[int, float, str]


class Sort(StrEnum):
    """By what the legs are sorted."""

    ATTENTION = "attention"
    STATUS_TIME = "time in status"
    START = "start"

    @property
    def next(self) -> Sort:
        """The sort after this one, and after the last the first."""
        sorts = list(Sort)
        return sorts[(sorts.index(self) + 1) % len(sorts)]


_SORTS = tuple(Sort)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How the legs are arranged.

    ``dismissed`` are failures that need nobody any more, by SID and time. With ``failures_open`` each failure has a row
    of its own, however many there are. While ``order_is_kept`` no family changes its place, and new ones come last.
    """

    sort: Sort = Sort.ATTENTION
    text_filter: TextFilter = EVERY_LEG
    dismissed: frozenset[tuple[str, datetime]] = frozenset()
    failures_open: bool = False
    order_is_kept: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The rows of a table: the SIDs of legs, and ``FAILURES`` where several failures take one row.

    ``counts`` has how many legs have each status, ``total`` how many legs there are; both mind no filter. ``failures``
    are the failures that nobody has dismissed, by SID; ``folded`` those without a row of their own. ``rings_too_long``
    are the SIDs of legs that do. ``has_news`` is whether a leg needs attention that did not before.
    """

    snapshot: Snapshot
    rows: Sequence[str] = ()
    shown: int = 0
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    folded: Sequence[str] = ()
    rings_too_long: frozenset[str] = frozenset()
    has_news: bool = False

    def leg(self, sid: str | None) -> Leg | None:
        """Return the leg with this SID."""
        return None if sid is None else self.snapshot.leg(sid)

    def legs(self) -> Iterator[str]:
        """Yield the SIDs of all legs that have a row."""
        return (row for row in self.rows if row != FAILURES)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a family belongs, by each sort in their order; and its legs, with their SIDs, their texts, all texts
    together, and since when each has its status.

    That is in steady time. The texts are made before a filter needs those of all legs at once.
    """

    sort_keys: Sequence[_SortKey]
    legs: Sequence[Leg]
    sids: Sequence[str]
    texts: Sequence[str]
    text: str
    since: Sequence[datetime]


class SortedLegs:
    """Keeps the legs of a board sorted from one snapshot to the next. Not for several threads."""

    def __init__(self, clock: Clock, *, rings_too_long: timedelta = RINGS_TOO_LONG) -> None:
        self._clock, self._limit = clock, rings_too_long
        self._arrangement = Arrangement()
        self._snapshot = Snapshot()  # the last one
        self._families: dict[str, Family[Leg]] = {}
        self._root_of: dict[str, str] = {}  # by leg
        self._standings: dict[str, _Standing] = {}
        self._key_of: dict[str, _SortKey] = {}  # where a family stands: while the order is kept, not where it belongs
        self._keys: list[_SortKey] = []  # these, sorted
        self._chosen_at: list[Sequence[str]] = []  # the legs in ``_chosen`` of the family at each of these places
        self._new: dict[str, None] = {}  # families that came while the order was kept, and stand last
        self._folded: dict[str, None] = {}  # families that take one row together
        self._touched: set[str] = set()  # families whose standing is to be found anew
        self._moved: set[str] = set()  # families that may not stand where they belong
        self._due: list[tuple[datetime, str]] = []  # when others are touched by time alone, a heap
        self._counts: Counter[str] = Counter()
        self._failed_actions: dict[str, Failure] = {}
        self._failures: dict[str, Failure] = {}
        self._rings_too_long: set[str] = set()
        self._chosen: dict[str, Sequence[str]] = {}  # the legs of a family that match the filter
        self._rows: tuple[list[str], list[str]] | None = None  # None: they have changed
        self._has_news = False

    def add_failure(self, sid: str, failure: Failure) -> None:
        """Take in that a command or a rule failed to change a leg."""
        self._failed_actions[sid] = failure
        self._touch_family_of(sid)

    def find_times_anew(self) -> None:
        """Note that the clock has other steady times for moments than before."""
        self._touched.update(self._families)

    def update(self, snapshot: Snapshot, arrangement: Arrangement) -> Listing:
        """Return the rows of a snapshot as arranged.

        Another sort, and a dismissal, show at once, even while the order is kept.
        """
        self._has_news = False
        before, self._arrangement = self._arrangement, arrangement
        self._take_in(snapshot)
        dismissed = before.dismissed ^ arrangement.dismissed
        for sid, _ in dismissed:
            self._touch_family_of(sid)
        self._find_standings()
        if before.text_filter != arrangement.text_filter:
            self._choose_anew(now=self._clock.now())
            self._line_up()
        if before.failures_open is not arrangement.failures_open:
            self._rows = None
        if before.sort is not arrangement.sort:
            self._sort()
        elif dismissed or not arrangement.order_is_kept:
            self._move()
        if self._rows is None:
            self._rows = self._make_rows()
        rows, folded = self._rows
        shown = len(rows) - (FAILURES in rows) + len(folded)
        return Listing(
            snapshot=snapshot,
            rows=rows,
            shown=shown,
            total=snapshot.live + snapshot.ended,
            counts=self._counts.copy(),
            failures=self._failures.copy(),
            folded=folded,
            rings_too_long=frozenset(self._rings_too_long),
            has_news=self._has_news,
        )

    # Taking in

    def _take_in(self, snapshot: Snapshot) -> None:
        known = self._families
        candidates = _maybe_changed(snapshot.families, self._snapshot.families)
        self._snapshot = snapshot
        changed = [(known.get(family.sid), family) for family in candidates if known.get(family.sid) is not family]
        for _, family in changed:
            known[family.sid] = family
            self._touched.add(family.sid)
            self._root_of.update((leg.call_sid, family.sid) for leg in family.legs)
        # Only now is it known which legs have gone, and which to another family.
        for before, family in changed:
            self._counts.update(leg.status for leg in family.legs)
            if before is not None:
                self._take_out(before)
        if len(known) > len(snapshot.families):
            for sid in known.keys() - {family.sid for family in snapshot.families}:
                self._remove(sid)

    def _take_out(self, family: Family[Leg]) -> None:
        """Take out the legs of a family as it was; they may be in another now, or in the same as it is."""
        self._counts.subtract(leg.status for leg in family.legs)
        now = self._families.get(family.sid)
        kept = {leg.call_sid for leg in now.legs} if now else set()
        for leg in family.legs:
            sid = leg.call_sid
            if sid not in kept and self._root_of.get(sid) == family.sid:
                del self._root_of[sid]
                self._failures.pop(sid, None)
                self._failed_actions.pop(sid, None)
                self._rings_too_long.discard(sid)

    def _remove(self, root: str) -> None:
        self._take_out(self._families.pop(root))
        self._touched.discard(root)
        self._moved.discard(root)
        for of_family in (self._standings, self._chosen, self._new, self._folded):
            of_family.pop(root, None)
        self._rows = None
        key = self._key_of.pop(root, None)
        if key is not None:
            self._take_away(key)

    def _touch_family_of(self, sid: str) -> None:
        root = self._root_of.get(sid)
        if root is not None:
            self._touched.add(root)

    # Standings

    def _find_standings(self) -> None:
        """Find the standing of each family that was touched, or whose time has come: of many of these, some."""
        now = self._clock.now()
        for _ in range(_DUE_AT_ONCE):
            if not self._due or self._due[0][0] > now:
                break
            self._touched.add(heapq.heappop(self._due)[1])
        touched = [root for root in self._touched if root in self._families]
        self._touched.clear()
        for root in touched:
            self._standings[root] = self._standing(self._families[root], now=now)
        self._moved.update(touched)
        for root in self._choose(touched, now=now):
            if root in self._key_of:
                self._chosen_at[bisect_left(self._keys, self._key_of[root])] = self._chosen[root]
        new = [self._belongs(root) for root in touched if root not in self._key_of and root not in self._new]
        if new:
            self._new |= dict.fromkeys(root for _, _, root in sorted(new))
            self._rows = None

    def _standing(self, family: Family[Leg], *, now: datetime) -> _Standing:
        since = [self._clock.steady(leg.status_since) for leg in family.legs]
        urgency, time = min(
            self._urgency(leg, began, root=family.sid, now=now) for leg, began in zip(family.legs, since, strict=True)
        )
        live = [began for leg, began in zip(family.legs, since, strict=True) if leg.is_live]
        ended_at = -max(since).timestamp()
        sort_keys = (
            (int(urgency), ended_at if urgency is Urgency.ENDED else time, family.sid),
            (0, min(live).timestamp(), family.sid) if live else (1, ended_at, family.sid),
            (0, -family.first_at.timestamp(), family.sid),
        )
        sids, texts = tuple(leg.call_sid for leg in family.legs), [text_of(leg) for leg in family.legs]
        return _Standing(sort_keys, family.legs, sids, texts, "\n".join(texts), since)

    def _urgency(self, leg: Leg, since: datetime, *, root: str, now: datetime) -> tuple[Urgency, float]:
        """Return how urgent a leg is, and by what time it is sorted among equals: the smallest stands first."""
        failed_at = self._failed_at(leg, root=root, now=now)
        if self._is_ringing_too_long(leg, since, root=root, now=now):
            return Urgency.RINGS_TOO_LONG, since.timestamp()
        if failed_at is not None:
            return Urgency.FAILED, -failed_at.timestamp()
        return (Urgency.LIVE if leg.is_live else Urgency.ENDED), since.timestamp()

    def _is_ringing_too_long(self, leg: Leg, since: datetime, *, root: str, now: datetime) -> bool:
        sid = leg.call_sid
        too_long_at = since + self._limit
        if leg.status != CallStatus.RINGING or now < too_long_at:
            if leg.status == CallStatus.RINGING:
                heapq.heappush(self._due, (too_long_at, root))
            self._rings_too_long.discard(sid)
            return False
        self._has_news = self._has_news or sid not in self._rings_too_long
        self._rings_too_long.add(sid)
        return True

    def _failed_at(self, leg: Leg, *, root: str, now: datetime) -> datetime | None:
        """Return when a leg failed, in steady time; None if it has not, or not lately, or nobody need know any more."""
        sid = leg.call_sid
        failures = (failed_end(leg), self._failed_actions.get(sid))
        failure = max(filter(None, failures), key=lambda failure: failure.at, default=None)
        if failure is not None and (sid, failure.at) not in self._arrangement.dismissed:
            failed_at = self._clock.steady(failure.at)
            if now < failed_at + FAILURE_STAYS:
                heapq.heappush(self._due, (failed_at + FAILURE_STAYS, root))
                self._has_news = self._has_news or sid not in self._failures
                self._failures[sid] = failure
                return failed_at
        self._failures.pop(sid, None)
        return None

    # Places

    def _belongs(self, root: str) -> _SortKey:
        return self._standings[root].sort_keys[_SORTS.index(self._arrangement.sort)]

    def _sort(self) -> None:
        """Put every family where it belongs."""
        number = _SORTS.index(self._arrangement.sort)
        self._key_of = {root: standing.sort_keys[number] for root, standing in self._standings.items()}
        self._keys = sorted(self._key_of.values())
        self._line_up()
        self._have_moved()

    def _move(self) -> None:
        """Put each family that has moved where it belongs."""
        if len(self._moved) > len(self._keys) // 8:
            self._sort()
            return
        for root in self._moved:
            old, key = self._key_of.get(root), self._belongs(root)
            if old != key:
                if old is not None:
                    self._take_away(old)
                index = bisect_left(self._keys, key)
                self._keys.insert(index, key)
                self._chosen_at.insert(index, self._chosen[root])
                self._key_of[root] = key
                self._rows = None
        self._have_moved()

    def _take_away(self, key: _SortKey) -> None:
        index = bisect_left(self._keys, key)
        del self._keys[index], self._chosen_at[index]

    def _line_up(self) -> None:
        self._chosen_at = [self._chosen[root] for _, _, root in self._keys]
        self._rows = None

    def _have_moved(self) -> None:
        self._moved.clear()
        self._new.clear()
        before, self._folded = self._folded, self._families_to_fold()
        if before != self._folded:
            self._rows = None

    def _families_to_fold(self) -> dict[str, None]:
        """Return the families that take one row together: they have failed and no leg of them is live."""
        if self._arrangement.sort is not Sort.ATTENTION or len(self._failures) <= MOST_FAILURES:
            return {}
        begin = bisect_left(self._keys, (Urgency.FAILED, float("-inf"), ""))
        end = bisect_left(self._keys, (Urgency.LIVE, float("-inf"), ""))
        roots = [root for _, _, root in self._keys[begin:end] if not self._families[root].is_live]
        failed = sum(leg.call_sid in self._failures for root in roots for leg in self._families[root].legs)
        return dict.fromkeys(roots) if failed > MOST_FAILURES else {}

    # Rows

    def _choose(self, roots: Iterable[str], *, now: datetime) -> Sequence[str]:
        """Find the legs of some families that match the filter; return the families where these are others now."""
        changed = []
        for root in roots:
            sids = self._matching(root, now=now)
            if self._chosen.get(root) != sids:
                self._chosen[root] = sids
                changed.append(root)
        if changed:
            self._rows = None
        return changed

    def _choose_anew(self, *, now: datetime) -> None:
        """Find the legs of all families that match the filter.

        Of ten thousand nearly all have one leg, and words are all that is typed: those take no call each.
        """
        text_filter = self._arrangement.text_filter
        candidates = list(self._standings.items())
        for word in text_filter.words:
            candidates = [(root, standing) for root, standing in candidates if word in standing.text]
        has_only_words = not (text_filter.is_live or text_filter.concerns_time)
        self._chosen = dict.fromkeys(self._standings, ())
        for root, standing in candidates:
            sids = standing.sids
            self._chosen[root] = sids if has_only_words and len(sids) == 1 else self._matching(root, now=now)

    def _matching(self, root: str, *, now: datetime) -> Sequence[str]:
        """Return the legs of a family that match the filter."""
        text_filter, standing = self._arrangement.text_filter, self._standings[root]
        if text_filter.is_empty:
            return standing.sids
        matching = list(map(text_filter.matches, standing.legs, standing.texts))
        if text_filter.concerns_time:
            matching = list(map(and_, matching, self._match_times(standing, root=root, now=now)))
        return tuple(compress(standing.sids, matching))

    def _match_times(self, standing: _Standing, *, root: str, now: datetime) -> Iterator[bool]:
        """Yield of each leg whether the times of the filter let it through; it is looked at anew when one is over."""
        text_filter = self._arrangement.text_filter
        for since in standing.since:
            for limit in (text_filter.longer_than, text_filter.shorter_than):
                if limit is not None and since + limit > now:
                    heapq.heappush(self._due, (since + limit, root))
            yield text_filter.matches_time(since, now=now)

    def _make_rows(self) -> tuple[list[str], list[str]]:
        """Return the rows, and the legs that have none of their own because failures share one."""
        chosen, to_fold = self._chosen, self._folded
        new = [sid for root in self._new for sid in chosen[root]]
        if not (to_fold and self._arrangement.text_filter.is_empty):
            return [*chain.from_iterable(self._chosen_at), *new], []
        rows: list[str] = []
        is_open, has_row = self._arrangement.failures_open, False
        for _, _, root in self._keys:
            if root in to_fold:
                if not has_row:
                    rows.append(FAILURES)
                    has_row = True
                if not is_open:
                    continue
            rows += chosen[root]
        folded = [] if is_open else [sid for root in to_fold for sid in chosen[root]]
        return rows + new, folded


def _maybe_changed(families: Sequence[Family[Leg]], before: Sequence[Family[Leg]]) -> Iterator[Family[Leg]]:
    """Yield the families that do not stand where they stood before, counted from the last, the oldest.

    Of ten thousand that is all but a few: only their addresses are compared, and none of them is looked at.
    """
    new = max(0, len(families) - len(before))
    aligned = islice(before, max(0, len(before) - len(families)), None)
    return compress(families, chain(repeat(True, new), map(is_not, islice(families, new, None), aligned)))
