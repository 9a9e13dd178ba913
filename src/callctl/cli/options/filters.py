"""Which calls are meant: the filters that ``list`` and ``hangup --all`` share, asked of the API and checked again here.

Repeated statuses are alternatives; everything else must hold together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from callctl.api.protocol import CallsApi
from callctl.calls.call import REST_STATUSES, Call, CallStatus
from callctl.cli.options import completion
from callctl.cli.options.checks import check_party
from callctl.cli.options.common import WHICH, words_in
from callctl.cli.options.sids import check_sid
from callctl.cli.options.times import read_duration, read_end, read_span, read_start
from callctl.errors import UsageError

if TYPE_CHECKING:
    from callctl.api.client import CallQuery

# The furthest along first: of a call that moves on between two requests, the later status is shown.
LIVE = (CallStatus.IN_PROGRESS, CallStatus.RINGING, CallStatus.QUEUED)
_MAX_PAGE_SIZE = 1000  # OAS

Live: TypeAlias = Annotated[
    bool, typer.Option("--live", help="Only queued, ringing or in progress.", rich_help_panel=WHICH)
]
Status: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        autocompletion=completion.statuses,
        help=f"queued, ringing, in-progress, …; repeatable.\n\n{', '.join(REST_STATUSES)}.",
        rich_help_panel=WHICH,
    ),
]
To: TypeAlias = Annotated[
    str | None, typer.Option("--to", metavar="TO", help="Only calls to exactly this.", rich_help_panel=WHICH)
]
From: TypeAlias = Annotated[
    str | None, typer.Option("--from", metavar="FROM", help="Only calls from exactly this.", rich_help_panel=WHICH)
]
Parent: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--parent",
        metavar="SID",
        help="Only the child legs of this call.",
        rich_help_panel=WHICH,
        autocompletion=completion.call_sids,
    ),
]
Since: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="WHEN", help="Started since 2h, 2026-01-05, 2026-01-05T14:00Z.", rich_help_panel=WHICH
    ),
]
Until: TypeAlias = Annotated[
    str | None,
    typer.Option("--until", metavar="WHEN", help="Started before; a date means the end of it.", rich_help_panel=WHICH),
]
OlderThan: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--older-than", metavar="DURATION", help="Created longer ago than this: 90s, 5m.", rich_help_panel=WHICH
    ),
]

ForLongerThan: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--for-longer-than",
        metavar="DURATION",
        help="Live, and in their status for longer: 90s, 5m.\n\n"
        "Counted from what callbacks told; of calls of which they told nothing, from the latest of REST's dates.",
        rich_help_panel=WHICH,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which calls are meant. No statuses: any. The times are aware.

    ``older_than`` is about date_created, set against the ``Date`` of the reply that told it, both by Twilio's clock: a
    machine's own clock that is ahead makes no call old. Only where a reply has none, ``now`` counts instead. So it is
    with ``longer_than``, for how long a call has had its status: ``status_since`` tells since when; and with
    ``since_ago`` and ``until_ago``, which ``since`` and ``until`` were made of.
    """

    statuses: tuple[str, ...] = ()
    to: str | None = None
    from_: str | None = None
    parent: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    since_ago: timedelta | None = None
    until_ago: timedelta | None = None
    older_than: timedelta | None = None
    longer_than: timedelta | None = None
    status_since: Callable[[Call], datetime | None] | None = field(default=None, compare=False)
    now: datetime | None = field(default=None, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing narrows the calls down."""
        return self == Filters()

    @property
    def are_about_time(self) -> bool:
        """Whether calls are chosen by when something was, or for how long."""
        return any(one is not None for one in (self.since, self.until, self.older_than, self.longer_than))

    @property
    def excludes_answered(self) -> bool:
        """Whether calls in progress are not meant: ``Status=canceled`` keeps to that by itself.

        Source: docs/twilio.md, "REST: updating a call".
        """
        return bool(self.statuses) and CallStatus.IN_PROGRESS not in self.statuses

    @property
    def means_live_alone(self) -> bool:
        """Whether no call is meant that is over."""
        return bool(self.statuses) and set(self.statuses) <= set(LIVE)

    @property
    def means_all_live(self) -> bool:
        """Whether every live call is meant."""
        return replace(self, statuses=()).is_empty and set(LIVE) <= set(self.statuses)

    def queries(self) -> list[CallQuery]:
        """Return what to ask the API for, side by side; together the answers hold all that match.

        The API takes one status at a time. Calls still queued have no start time, so that a filter by it would lose
        them: they are asked for without, and judged by their date_created.
        """
        timed = self.since is not None or self.until is not None
        statuses: tuple[str | None, ...] = self.statuses or ((None, CallStatus.QUEUED) if timed else (None,))
        return [self._query(status) for status in statuses]

    def _query(self, status: str | None) -> CallQuery:
        from callctl.api.client import CallQuery

        timed = status != CallStatus.QUEUED
        return CallQuery(
            to=self.to,
            from_=self.from_,
            parent_call_sid=self.parent,
            status=status,
            start_time_after=self.since if timed else None,
            start_time_before=self.until if timed else None,
        )

    def matches(self, call: Call) -> bool:
        """Tell whether a call is meant, whatever the API made of the queries."""
        from callctl.api.client import CallQuery

        everything = CallQuery(
            to=self.to,
            from_=self.from_,
            parent_call_sid=self.parent,
            start_time_after=self._told_by(call, self.since, self.since_ago, choose=max),
            start_time_before=self._told_by(call, self.until, self.until_ago, choose=min),
        )
        return (
            (not self.statuses or call.status in self.statuses)
            and everything.matches(call)
            and (self.older_than is None or self._is_before(call.date_created, call, self.older_than))
            and (self.longer_than is None or self._has_lasted(call, self.longer_than))
        )

    @property
    def is_checked_here(self) -> bool:
        """Whether there is a check that the API can't do."""
        return self.older_than is not None or self.longer_than is not None

    def _told_by(
        self,
        call: Call,
        moment: datetime | None,
        ago: timedelta | None,
        *,
        choose: Callable[[datetime, datetime], datetime],
    ) -> datetime | None:
        """Return the end of a span by this machine's clock or by Twilio's, whichever makes fewer calls match."""
        if moment is None or ago is None or call.as_of is None:
            return moment
        return choose(moment, call.as_of - ago)

    def _has_lasted(self, call: Call, span: timedelta) -> bool:
        return self.status_since is not None and self._is_before(self.status_since(call), call, span)

    def _is_before(self, moment: datetime | None, call: Call, span: timedelta) -> bool:
        # Without a date of its own a call is not known to be old, so it is not taken for it.
        now = call.as_of or self.now
        return moment is not None and now is not None and moment < now - span


def read_filters(
    *,
    live: bool = False,
    status: Sequence[str] | None = None,
    to: str | None = None,
    from_: str | None = None,
    parent: str | None = None,
    since: str | None = None,
    until: str | None = None,
    older_than: str | None = None,
    for_longer_than: str | None = None,
    now: datetime,
) -> Filters:
    """Turn the options into filters.

    Raises:
        UsageError: A value makes no sense, or no call can match.
    """
    ago = None if older_than is None else read_duration(older_than, option="--older-than")
    lasted = None if for_longer_than is None else read_duration(for_longer_than, option="--for-longer-than")
    filters = Filters(
        statuses=_statuses(live or lasted is not None, status or ()),
        to=None if to is None else check_party(to, what="--to"),
        from_=None if from_ is None else check_party(from_, what="--from"),
        parent=None if parent is None else check_sid(parent),
        since=None if since is None else read_start(since, now=now, option="--since"),
        until=None if until is None else read_end(until, now=now, option="--until"),
        since_ago=None if since is None else read_span(since),
        until_ago=None if until is None else read_span(until),
        older_than=None if ago is None else timedelta(seconds=ago),
        longer_than=None if lasted is None else timedelta(seconds=lasted),
        now=now,
    )
    if filters.since and filters.until and filters.since >= filters.until:
        raise UsageError(
            "no call can match: --until is not after --since",
            hint="--since tells where the span begins, --until where it ends",
        )
    return filters


def _statuses(live: bool, given: Sequence[str]) -> tuple[str, ...]:
    named = words_in(given)
    if given and not named:
        # Not the same as no --status: a script's variable was empty, and all calls would match.
        raise UsageError("--status names no status", hint=f"one of {', '.join(REST_STATUSES)}")
    unknown = [word for word in named if word not in REST_STATUSES]
    if unknown:
        raise UsageError(f"no such status: {unknown[0]}", hint=f"one of {', '.join(REST_STATUSES)}")
    if not live:
        # In the order of LIVE, for its reason.
        return tuple(status for status in (*LIVE, *REST_STATUSES[3:]) if status in named)
    both = tuple(str(status) for status in LIVE if not named or status in named)
    if not both:
        raise UsageError(
            f"no call can match: --status {named[0]} is of calls that are over",
            hint="live calls are queued, ringing or in-progress",
        )
    return both


def without_answered(chosen: Filters) -> Filters:
    """Return filters that leave calls in progress out, as --only-ringing does: they need no request then.

    Raises:
        UsageError: Nothing else was asked for.
    """
    statuses = tuple(status for status in chosen.statuses if status != CallStatus.IN_PROGRESS)
    if not statuses:
        raise UsageError(
            "no call can match: --only-ringing leaves calls in progress alone", hint="drop --only-ringing to end them"
        )
    return replace(chosen, statuses=statuses)


def find_calls(client: CallsApi, filters: Filters, *, limit: int | None) -> Iterator[Call]:
    """Yield the calls that match, newest first, each once, asking page by page as they are read.

    Several queries are begun side by side. Memory does not grow with the number of calls.
    """
    from callctl.cli.options.merging import newest_first

    # With a check that the API can't do, most of a small page could be thrown away.
    size = _MAX_PAGE_SIZE if limit is None or filters.is_checked_here else limit
    found = [client.list(query, page_size=size, limit=None) for query in filters.queries()]
    if len(found) == 1 and not filters.is_checked_here:
        return islice(found[0], limit)  # the API client has checked it all
    calls = newest_first(found) if len(found) > 1 else found[0]
    return islice((call for call in calls if filters.matches(call)), limit)
