"""The options of ``list`` and ``hangup --all`` that filter calls, and the search for the calls that match.

Repeated statuses are alternatives; everything else must hold together.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import typer

from callctl.calls.call import REST_LIVE_STATUSES, REST_STATUSES, Call, CallStatus
from callctl.cli.options import completion
from callctl.cli.options.common import WHICH, words_in
from callctl.errors import UsageError
from callctl.support.dates import read_duration, read_end, read_span, read_start

if TYPE_CHECKING:
    from callctl.api.calls_api import CallsApi
    from callctl.calls.filter import CallFilter
    from callctl.cli.options.history import History

_MAX_PAGE_SIZE = 1000  # OAS
_NEWEST = datetime.max.replace(tzinfo=UTC)
# A call that is in two lists was in both within moments, so both have it in the same place.
_REMEMBERED = 4096


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
        "Counted from what callbacks reported; of calls without any, from the latest of REST's dates.",
        rich_help_panel=WHICH,
    ),
]


def read_filter(
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
) -> CallFilter:
    """Turn the options into a filter.

    Raises:
        UsageError: A value makes no sense, or no call can match.
    """
    from callctl.calls.filter import CallFilter
    from callctl.cli.options.checks import check_party, check_sid

    ago = None if older_than is None else read_duration(older_than, option="--older-than")
    lasted = None if for_longer_than is None else read_duration(for_longer_than, option="--for-longer-than")
    call_filter = CallFilter(
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
    if call_filter.since and call_filter.until and call_filter.since >= call_filter.until:
        raise UsageError(
            "no call can match: --until is not after --since",
            hint="the span begins at --since and ends at --until",
        )
    return call_filter


def _statuses(live: bool, given: Sequence[str]) -> tuple[str, ...]:
    named = words_in(given)
    if given and not named:
        # Not the same as no --status: a script's variable was empty, and all calls would match.
        raise UsageError("--status names no status", hint=f"one of {', '.join(REST_STATUSES)}")
    unknown = [word for word in named if word not in REST_STATUSES]
    if unknown:
        raise UsageError(f"no such status: {unknown[0]}", hint=f"one of {', '.join(REST_STATUSES)}")
    if not live:
        return tuple(status for status in REST_STATUSES if status in named)
    both = tuple(str(status) for status in REST_LIVE_STATUSES if not named or status in named)
    if not both:
        raise UsageError(
            f"no call can match: --status {named[0]} is of calls that are over",
            hint="live calls are queued, ringing or in-progress",
        )
    return both


def without_answered(call_filter: CallFilter) -> CallFilter:
    """Return a filter that leaves calls in progress out, as --only-ringing does: they need no request then.

    Raises:
        UsageError: Nothing else was requested.
    """
    statuses = tuple(status for status in call_filter.statuses if status != CallStatus.IN_PROGRESS)
    if not statuses:
        raise UsageError(
            "no call can match: --only-ringing leaves calls in progress alone", hint="drop --only-ringing to end them"
        )
    return replace(call_filter, statuses=statuses)


def find_calls(
    client: CallsApi, call_filter: CallFilter, *, limit: int | None, reported: History | None = None
) -> Iterator[Call]:
    """Yield the calls that match, newest first, each once, requesting page by page as they are read.

    No call is missed that is live all the while, whatever its status is meanwhile. Memory grows with the live calls
    alone, and only where they come in several lists.

    With ``reported``, calls match and come by the status that callbacks reported, where that is ahead of REST's. Where
    callbacks have lately reported a call with a live status that is requested, all lists of live calls are read, and a
    call that is in none of them is fetched.

    Raises:
        CallctlError: A list can't be read; nothing was yielded if it is one of live calls.
    """
    return islice(_matching(client, call_filter, limit=limit, reported=reported), limit)


def _matching(
    client: CallsApi, call_filter: CallFilter, *, limit: int | None, reported: History | None
) -> Iterator[Call]:
    live = [status for status in REST_LIVE_STATUSES if status in call_filter.statuses]
    is_corrected = reported is not None and bool(live)
    # With a check that the API can't do, most of a small page could be thrown away.
    upto = None if call_filter.exceeds_rest or is_corrected else limit
    is_whole = call_filter.exceeds_rest or (is_corrected and len(call_filter.statuses) > 1)
    size = _MAX_PAGE_SIZE if is_whole else limit or _MAX_PAGE_SIZE
    if reported is None:
        calls = _found(client, _parts(call_filter), page_size=size, limit=upto)
        yield from filter(call_filter.matches, calls) if call_filter.exceeds_rest else calls
        return
    expected = reported.lately_live(live) if live else ()
    parts = _parts(call_filter, all_live=bool(expected))
    more = partial(_unlisted, client, call_filter, expected, reported) if expected else None
    calls = _found(client, parts, page_size=_MAX_PAGE_SIZE if expected else size, limit=upto, more=more)
    yield from filter(call_filter.matches, map(reported.with_reported_status, calls))


def _unlisted(
    client: CallsApi, call_filter: CallFilter, expected: Sequence[str], reported: History, listed: Container[str]
) -> Iterator[Call]:
    """Fetch the calls that callbacks reported as live and that are in no list of live calls."""
    from callctl.operations.live_calls import fetch_unlisted

    ends = replace(call_filter, statuses=())
    missing = [
        sid
        for sid in expected
        if sid not in listed and (leg := reported.leg(sid)) is not None and leg.verified and ends.matches_leg(leg)
    ]
    found, unknown = fetch_unlisted(client, missing)
    yield from found
    if unknown:
        reported.say_unlisted(unknown)


class _Parts(NamedTuple):
    """Filters for REST, which takes one status at a time; together the answers hold all calls that match.

    Calls move on from one of ``moving`` to the next, and then to ``others``, among which none does.
    """

    moving: list[CallFilter]
    others: list[CallFilter]


def _parts(call_filter: CallFilter, *, all_live: bool = False) -> _Parts:
    """Return the lists to be read; with ``all_live``, those of all live statuses if one of a status is."""
    for_rest = replace(call_filter, older_than=None, longer_than=None)
    if call_filter.statuses:
        wanted = {*call_filter.statuses, *(REST_LIVE_STATUSES if all_live else ())}
        moving, others = (
            [replace(for_rest, statuses=(status,)) for status in statuses if status in wanted]
            for statuses in (REST_LIVE_STATUSES, REST_STATUSES[len(REST_LIVE_STATUSES) :])
        )
        return _Parts(moving, others)
    # Calls still queued have no start time, so that a filter by it loses them: they are requested by their status.
    queued = [replace(for_rest, statuses=(CallStatus.QUEUED,))] if call_filter.has_span else []
    return _Parts(queued, [for_rest])


def _found(
    client: CallsApi,
    parts: _Parts,
    *,
    page_size: int,
    limit: int | None,
    more: Callable[[Container[str]], Iterable[Call]] | None = None,
) -> Iterator[Call]:
    """Yield the calls of all parts, newest first: at least the first ``limit`` of them.

    ``more`` returns calls that belong to them; it gets the SIDs of the live calls that were listed.
    """
    moving, others = parts
    if len(moving) + len(others) == 1 and more is None:
        yield from client.list((moving or others)[0], page_size=page_size, limit=limit)
        return
    import heapq

    from callctl.operations.live_calls import list_in_turn

    # Of a call that moved on meanwhile, the later status is kept.
    live = {call.sid: call for call in list_in_turn(client, moving, page_size=page_size, limit=limit)}
    if more is not None:
        live.update((call.sid, call) for call in list(more(live)))
    live_calls = sorted(live.values(), key=_age, reverse=True)
    lists = _begun([client.list(call_filter, page_size=page_size, limit=None) for call_filter in others])
    yield from _each_once(heapq.merge(*lists, live_calls, key=_age, reverse=True))


def _begun(lists: Sequence[Iterator[Call]]) -> list[Iterator[Call]]:
    """Request the first page of each list, side by side. What comes later is requested as it is read."""
    from callctl.support.threads import start_in_thread

    heads = [start_in_thread(partial(_first, calls)) for calls in lists]
    return [chain(head.result(), calls) for head, calls in zip(heads, lists, strict=True)]


def _each_once(calls: Iterable[Call]) -> Iterator[Call]:
    """Yield calls without the repetitions of one that came moments ago."""
    known: dict[str, None] = {}
    for call in calls:
        if call.sid in known:
            continue
        known[call.sid] = None
        if len(known) > _REMEMBERED:
            del known[next(iter(known))]
        yield call


def _first(calls: Iterator[Call]) -> list[Call]:
    return list(islice(calls, 1))


def _age(call: Call) -> datetime:
    return call.date_created or call.start_time or _NEWEST
