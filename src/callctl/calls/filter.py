"""Which calls are meant: the filter that ``list``, ``hangup --all`` and ``watch`` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from callctl.calls.call import REST_LIVE_STATUSES, Call, CallStatus, is_same_party


class Ends(Protocol):
    """The status and the two ends, which a call, a leg, an event and the facts of a leg have."""

    @property
    def status(self) -> str:
        """The status."""

    @property
    def from_(self) -> str:
        """Who calls."""

    @property
    def to(self) -> str:
        """Who is called."""


@dataclass(frozen=True, kw_only=True)
class CallFilter:
    """Matches the calls that have everything given; several statuses are alternatives. The times are aware.

    ``family_of`` is the SID of one leg: only its family is meant, which ``views/filtered_view.py`` checks.

    ``older_than`` is about date_created, ``longer_than`` about how long a call has had its status, as ``status_since``
    returns it. Both are measured up to the ``Date`` of the reply that the call is from, by Twilio's clock: a clock of
    this machine that is ahead makes no call old. ``now`` counts only where a reply has no ``Date``. The same goes for
    ``since_ago`` and ``until_ago``, the durations that ``since`` and ``until`` were computed from.

    ``clock`` is this machine's, for a command that ends what matches or lists what may be ended: a call is then as old
    as the earlier of the two clocks says, for a ``Date`` may be a proxy's own.

    ``matches_undated`` is whether a call of which REST shows no date that can be read counts as within a span. A list
    shows it; a command that ends what matches leaves it alone.
    """

    statuses: tuple[str, ...] = ()
    to: str | None = None
    from_: str | None = None
    parent: str | None = None
    family_of: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    since_ago: timedelta | None = None
    until_ago: timedelta | None = None
    older_than: timedelta | None = None
    longer_than: timedelta | None = None
    status_since: Callable[[Call], datetime | None] | None = field(default=None, compare=False)
    now: datetime | None = field(default=None, compare=False)
    clock: Callable[[], datetime] | None = field(default=None, compare=False)
    matches_undated: bool = field(default=True, compare=False)

    @property
    def in_words(self) -> str:
        """The legs that ``watch`` shows, for its header; empty if that is all."""
        parts = [
            self.family_of or "",
            f"to {self.to}" if self.to else "",
            f"from {self.from_}" if self.from_ else "",
            "/".join(self.statuses),
        ]
        return ", ".join(part for part in parts if part)

    @property
    def is_empty(self) -> bool:
        """Whether every call matches."""
        return self == CallFilter()

    @property
    def concerns_time(self) -> bool:
        """Whether a call's times or durations decide."""
        return self.has_span or self.exceeds_rest

    @property
    def has_span(self) -> bool:
        """Whether a call must have started within a span."""
        return self.since is not None or self.until is not None

    @property
    def concerns_leg(self) -> bool:
        """Whether a leg's own status or ends decide."""
        return bool(self.to or self.from_ or self.statuses)

    @property
    def excludes_answered(self) -> bool:
        """Whether no call in progress matches: ``Status=canceled`` ends none of these.

        Source: docs/twilio.md, "REST: updating a call".
        """
        return bool(self.statuses) and CallStatus.IN_PROGRESS not in self.statuses

    @property
    def means_live_alone(self) -> bool:
        """Whether no ended call matches."""
        return bool(self.statuses) and set(self.statuses) <= set(REST_LIVE_STATUSES)

    @property
    def means_all_live(self) -> bool:
        """Whether every live call matches."""
        return replace(self, statuses=()).is_empty and set(REST_LIVE_STATUSES) <= set(self.statuses)

    @property
    def exceeds_rest(self) -> bool:
        """Whether REST has no filter for a part of it, so that its answers hold calls that don't match."""
        return self.older_than is not None or self.longer_than is not None

    def matches(self, call: Call) -> bool:
        """Return whether a call matches, by what REST shows of it.

        Compatible services ignore filters that they don't know, some of them all (docs/twilio.md, "Compatible
        services"), and Twilio those whose names it doesn't know. A command that ends whatever matches can't rely on the
        server alone.
        """
        return (
            self.matches_leg(call)
            and self.parent in (None, call.parent_call_sid)
            and (not self.has_span or self._is_in_span(call))
            and (self.older_than is None or self._is_before(call.date_created, call, self.older_than))
            and (self.longer_than is None or self._has_lasted(call, self.longer_than))
        )

    def matches_leg(self, leg: Ends) -> bool:
        """Return whether the status and the ends of a leg match."""
        return (
            (not self.statuses or leg.status in self.statuses)
            and (self.to is None or is_same_party(self.to, leg.to))
            and (self.from_ is None or is_same_party(self.from_, leg.from_))
        )

    def _is_in_span(self, call: Call) -> bool:
        # A queued call has not started; its creation stands for the start.
        started = call.start_time or call.date_created
        if started is None:
            return self.matches_undated
        since = _nearest_limit(self.since, self.since_ago, call, choose=max)
        until = _nearest_limit(self.until, self.until_ago, call, choose=min)
        return (since is None or started >= since) and (until is None or started < until)

    def _has_lasted(self, call: Call, span: timedelta) -> bool:
        return self.status_since is not None and self._is_before(self.status_since(call), call, span)

    def _is_before(self, moment: datetime | None, call: Call, span: timedelta) -> bool:
        # Without a date of its own a call is not known to be old.
        now = call.as_of or self.now
        if now is not None and self.clock is not None:
            now = min(now, self.clock())
        return moment is not None and now is not None and moment < now - span


def _nearest_limit(
    moment: datetime | None,
    ago: timedelta | None,
    call: Call,
    *,
    choose: Callable[[datetime, datetime], datetime],
) -> datetime | None:
    """Return the limit of a span by this machine's clock or by Twilio's, whichever makes fewer calls match."""
    if moment is None or ago is None or call.as_of is None:
        return moment
    return choose(moment, call.as_of - ago)
