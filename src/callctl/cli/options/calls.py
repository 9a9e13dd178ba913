"""Which call is meant by CALL: a whole SID, an unambiguous start of one, ``@last``, or ``-`` for SIDs on stdin."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from callctl.api.calls_api import CallsApi
from callctl.calls.call import REST_LIVE_STATUSES, REST_STATUSES, Call
from callctl.calls.filter import CallFilter
from callctl.calls.sid import LEAST_START, is_call_sid
from callctl.cli.io.runtime import Runtime
from callctl.cli.options.another_store import warn_of_another_store
from callctl.cli.options.checks import no_sid, why_no_call_sid
from callctl.cli.options.filters import find_calls
from callctl.errors import NotFoundError, StoreError, UnknownCallError, UsageError
from callctl.store.last_placed import LastPlaced
from callctl.store.opening import open_existing, open_readonly

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.settings import Settings
    from callctl.store.event_store import EventStore
    from callctl.store.records import CallRow

LAST = "@last"
# How many of the newest calls a reading command looks through for a start that the store does not know.
_LOOKED_THROUGH = 1000
_SHOWN = 5
_FIELDS = 8  # of a row of `callctl list`
_LASTING = (2, 3, 4, 7)  # those that never change: direction, both ends, the parent's SID
_SHOWN_OF_LINE = 120  # characters
_FETCHED_AT_ONCE = 8
# For how long after its creation REST may not know a call yet.
_NEW = timedelta(seconds=15)
_SIDS_ALONE = "`callctl list -q` writes SIDs alone"

# The beginning of Twilio's form, or of a UUID, or of another service's; is_call_sid recognizes whole ones.
_START = r"CA[0-9a-fA-F]{6,31}|(?!CA)[A-Za-z0-9][A-Za-z0-9:_.-]{7,94}"
_UUID_START = r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{0,26}"  # shorter than a whole one
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"


def one_call(runtime: Runtime, settings: Settings, client: ApiClient, text: str) -> str:
    """Return the SID that a command which only reads was given. Says which call a start or ``@last`` stands for.

    Raises:
        UsageError: It can be no SID and no start of one, or several calls begin with it.
        UnknownCallError: No call begins with it, or none was placed.
    """
    return _sid_of(runtime, settings, text, newest=lambda: _newest(client))


def _sid_of(runtime: Runtime, settings: Settings, text: str, *, newest: Callable[[], Iterable[Call]]) -> str:
    """Do what ``one_call`` does; ``newest`` returns the calls to search for one that the store does not have."""
    if text == LAST:
        return _last(runtime, settings)
    if is_whole(text):
        return text
    start = _checked(text)
    known = _known(runtime, settings, start)
    statuses = {row.call_sid: row.status for row in known} or {
        call.sid: _described(call) for call in newest() if call.sid.startswith(start)
    }
    sid = _only(statuses, start, what="call")
    runtime.say(f"callctl: {start} is {sid}, {statuses[sid]}")
    return sid


def calls_to_read(runtime: Runtime, settings: Settings, client: ApiClient | None, texts: Sequence[str]) -> list[str]:
    """Return the SIDs of the calls that are named for a command that changes none, each once, in their order.

    ``-`` stands for SIDs on stdin; none there is no error, and is said. Otherwise this is as ``one_call``, but the
    newest calls are listed once for all starts that the store does not know, and not at all without a client.

    Raises:
        UsageError: As ``one_call``.
        UnknownCallError: As ``one_call``.
    """
    words = [word for text in texts for word in (_on_stdin(runtime) if text == "-" else (text,))]
    if not words:
        runtime.say("callctl: no calls on stdin: nothing to show")
    newest = cache(lambda: [] if client is None else list(_newest(client)))
    return list(dict.fromkeys(_sid_of(runtime, settings, word, newest=newest) for word in words))


def calls_to_change(runtime: Runtime, settings: Settings, client: ApiClient, texts: Sequence[str]) -> list[str]:
    """Return the SIDs that a command which changes calls was given, each once, in their order.

    An empty stdin is no error, since what was to list the calls may have found none; it is said.
    Whole SIDs cost no request; rows on stdin are compared with REST. For a start, exactly one live call must begin with
    it, of those that REST lists and those that the store knows; its whole SID and number are said on stderr, before
    anything is done. Where none does, it is the one call that has ended: a command then does with it what it does with
    its whole SID.

    Raises:
        UsageError: One can be no SID and no start of one, or several calls begin with it; or a line on stdin is
            neither a SID alone nor a row as ``list`` writes it.
        UnknownCallError: No call begins with it, or none was placed.
    """
    words = [word for text in texts for word in (_on_stdin_to_change(runtime, client) if text == "-" else (text,))]
    if not words:
        runtime.say("callctl: no calls on stdin: nothing to do")
    starts = [_checked(word) for word in words if word != LAST and not is_whole(word)]
    live = _live(runtime, settings, client, starts) if starts else {}
    return list(dict.fromkeys(_resolved(runtime, settings, client, word, live=live) for word in words))


def _resolved(
    runtime: Runtime, settings: Settings, client: ApiClient, word: str, *, live: dict[str, dict[str, str]]
) -> str:
    if word == LAST:
        return _last(runtime, settings)
    if word not in live:
        return word
    matches = live[word] or _ended(runtime, settings, client, word)
    sid = _only(matches, word, what="live call" if live[word] or not matches else "call")
    runtime.say(f"callctl: {word} is {sid}, {matches[sid]}")
    return sid


def _on_stdin(runtime: Runtime) -> Iterator[str]:
    """Yield what stdin names: of each line the first field, so that rows of whatever columns can be piped in."""
    for line in runtime.read_stdin().splitlines():
        if word := line.split("\t")[0].strip():
            yield word


def _on_stdin_to_change(runtime: Runtime, client: CallsApi) -> Iterator[str]:
    """Yield what stdin names: of each line all of it, or of a row as ``callctl list`` writes it the first field.

    Raises:
        UsageError: A line has other columns, as by ``--columns``, so that its first field may be another call's SID, or
            a name that a caller chose.
    """
    words: list[str] = []
    rows: dict[str, list[str]] = {}  # the fields of each, by its line
    for line in runtime.read_stdin().splitlines():
        word, *others = fields = _fields(line)
        if others and not _is_row(fields):
            raise UsageError(
                f"a line on stdin is neither a SID alone nor a row as list writes it: {line[:_SHOWN_OF_LINE]}",
                hint=_SIDS_ALONE,
            )
        if word:
            words.append(word)
        if others:
            rows[line] = fields
    if rows:
        _check_rows(client, rows)
    yield from words


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("\t")]


def _is_row(fields: Sequence[str]) -> bool:
    """Return whether these may be the fields of a line of ``callctl list``, without ``--columns``."""
    if len(fields) != _FIELDS:
        return False
    sid, status, _direction, _from, _to, start, duration, _parent = fields
    return (
        is_whole(sid)
        and status in REST_STATUSES
        and (not start or re.fullmatch(_DATE, start) is not None)
        and (not duration or duration.isdecimal())
    )


def _check_rows(client: CallsApi, rows: Mapping[str, Sequence[str]]) -> None:
    """Compare rows with what ``callctl list`` writes of their calls, in whatever has not changed since.

    The form of a row says too little: that of other columns, with the parent's SID first, can be the same. A call that
    REST does not have is passed over, since nothing can be changed of it.

    Raises:
        UsageError: A row is not of the call whose SID is its first field.
        CallctlError: REST does not show whether it is.
    """
    from callctl.calls.masked_numbers import masked_call
    from callctl.views.table import plain_line

    calls = _calls_of(client, list(dict.fromkeys(fields[0] for fields in rows.values())))
    for line, fields in rows.items():
        call = calls.get(fields[0])
        if call is not None and _lasting(fields) not in (
            _lasting(_fields(plain_line(call))),
            _lasting(_fields(plain_line(masked_call(call)))),
        ):
            raise UsageError(
                f"a row on stdin is not what list writes of {fields[0]}, its first field: {line[:_SHOWN_OF_LINE]}",
                hint=_SIDS_ALONE,
            )


def _lasting(fields: Sequence[str]) -> list[str]:
    return [fields[place] for place in _LASTING]


def _calls_of(client: CallsApi, sids: Sequence[str]) -> dict[str, Call]:
    """Return those of these calls that REST has: out of its lists of live calls, and fetched where they have ended."""
    from callctl.operations.bulk import Done, for_each

    live = find_calls(client, CallFilter(statuses=tuple(REST_LIVE_STATUSES)), limit=None)
    wanted = set(sids)
    calls = {call.sid: call for call in live if call.sid in wanted}
    for group in for_each([sid for sid in sids if sid not in calls], client.fetch, parallel=_FETCHED_AT_ONCE):
        for result in group:
            if isinstance(result, Done):
                calls[result.sid] = result.value
            elif not isinstance(result.error, NotFoundError):
                raise result.error
    return calls


def was_just_placed(runtime: Runtime, settings: Settings, sid: str) -> bool:
    """Return whether callctl placed a call so lately that REST may not know it yet; say so if it did.

    Source: docs/twilio.md, "Eventual consistency".
    """
    try:
        store = open_readonly(settings)
        if store is None:
            return False
        with closing(store):
            placed_at = store.placed_at(sid)
    except StoreError:  # it is mentioned where the store is needed
        return False
    if placed_at is None or abs(runtime.now() - placed_at) > _NEW:
        return False
    runtime.say_once(f"callctl: the API does not know {sid} yet, which was placed just now; it is requested again")
    return True


def is_whole(text: str) -> bool:
    """Return whether a text is a whole SID, not the start of one."""
    # The form of other services' SIDs is wide; a UUID that was cut off would pass for one.
    return is_call_sid(text) and re.fullmatch(_UUID_START, text) is None and why_no_call_sid(text) is None


def _checked(text: str) -> str:
    if re.fullmatch(_START, text) and why_no_call_sid(text) is None:
        return text
    start = f"a start of at least {LEAST_START} characters will do, or {LAST}"
    raise no_sid(text, wanted=f"Twilio's have CA and 32 hexadecimal digits; {start}")


def _only(matches: dict[str, str], start: str, *, what: str) -> str:
    if len(matches) == 1:
        return next(iter(matches))
    if not matches:
        raise UnknownCallError(f"no {what} begins with {start}", hint="`callctl list` shows the calls there are")
    shown = "\n".join(f"  {sid}  {described}" for sid, described in islice(matches.items(), _SHOWN))
    more = f"\n  and {len(matches) - _SHOWN} more" if len(matches) > _SHOWN else ""
    raise UsageError(f"several {what}s begin with {start}:\n{shown}{more}", hint="give more of the SID")


def _live(runtime: Runtime, settings: Settings, client: ApiClient, starts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the live calls that begin with each start, by SID, with what is to be said of them."""
    matches: dict[str, dict[str, str]] = {start: {} for start in starts}
    for call in find_calls(client, CallFilter(statuses=tuple(REST_LIVE_STATUSES)), limit=None):
        for start in starts:
            if call.sid.startswith(start):
                matches[start][call.sid] = _described(call)
    for start, calls in matches.items():
        for row in _known(runtime, settings, start):
            if row.call_sid not in calls and not row.is_final:
                _ask_for(client, row.call_sid, calls)
    return matches


def _ask_for(client: ApiClient, sid: str, calls: dict[str, str]) -> None:
    """Add a call that the store takes for live and REST did not list, unless it is over by now."""
    try:
        call = client.fetch(sid)
    except NotFoundError:
        return
    if not call.is_final:
        calls[sid] = _described(call)


def _ended(runtime: Runtime, settings: Settings, client: ApiClient, start: str) -> dict[str, str]:
    """Return the calls that have ended and begin with a start, as far as the store or the newest calls in REST show."""
    known = {row.call_sid: row.status for row in _known(runtime, settings, start) if row.is_final}
    return known or {call.sid: _described(call) for call in _listed(client, start) if call.is_final}


def _newest(client: CallsApi) -> Iterator[Call]:
    return find_calls(client, CallFilter(), limit=_LOOKED_THROUGH)


def _listed(client: CallsApi, start: str) -> Iterator[Call]:
    return (call for call in _newest(client) if call.sid.startswith(start))


def _described(call: Call) -> str:
    return f"{call.from_} → {call.to}, {call.status}"


def _known(runtime: Runtime, settings: Settings, start: str) -> list[CallRow]:
    reader = open_store_to_read(runtime, settings)
    if reader is None:
        return []
    with closing(reader):
        return reader.calls_starting(start, limit=_SHOWN + 2)


def _last(runtime: Runtime, settings: Settings) -> str:
    if settings.is_store_in_doubt:
        raise UnknownCallError(
            f"{LAST} stands for no call: which store holds it is not known, since a settings file can't be used",
            hint="give its SID; `callctl list --live` shows the calls there are",
        )
    warn_of_another_store(runtime, settings)
    sid = None
    try:
        sid = LastPlaced(settings).sid()
    except StoreError as error:
        raise UnknownCallError(f"{LAST} stands for no call: {error.message}", hint=error.hint) from error
    if sid is None:
        raise UnknownCallError(
            f"{LAST} stands for no call: no call is recorded that was placed with this account at {settings.api_url}",
            hint="`callctl place` places one; `callctl list` shows the calls there are",
        )
    if not sid:
        raise UnknownCallError(
            f"{LAST} stands for no call: it is not known whether the last one was placed, nor its SID",
            hint="`callctl list --live` shows whether it was",
        )
    runtime.say(f"callctl: {LAST} is {sid}")
    return sid


def open_store_to_read(runtime: Runtime, settings: Settings) -> EventStore | None:
    """Return the local store for reading, or None, having said why, if it can't be read; without one, say nothing.

    That a watch or listener runs that keeps another one is said in any case.
    """
    try:
        return open_store_alone(runtime, settings)
    except StoreError as error:
        runtime.warn(error)
    return None


def open_store_alone(runtime: Runtime, settings: Settings) -> EventStore | None:
    """Return the local store for a command that has nothing else to read, or None if there is none.

    Raises:
        StoreError: It can't be read.
    """
    warn_of_another_store(runtime, settings)
    return open_readonly(settings)


def open_store_for_writing(runtime: Runtime, settings: Settings, *, busy_timeout: float) -> EventStore | None:
    """Return the local store for reading and writing, or None if there is none.

    ``busy_timeout`` is how many seconds to wait for another program's lock.

    Raises:
        StoreError: It can't be read.
    """
    warn_of_another_store(runtime, settings)
    return open_existing(settings, busy_timeout=busy_timeout)


def calls_in_store(runtime: Runtime, settings: Settings, store: EventStore, texts: Sequence[str]) -> list[str]:
    """Return the SIDs of the calls that are named for a command that reads the store alone, each once, in their order.

    Says which call a start or ``@last`` stands for.

    Raises:
        UsageError: A text is no SID and no start of one, or several calls begin with it.
        UnknownCallError: The store has no such call, or none was placed.
    """
    words = [word for text in texts for word in (_on_stdin(runtime) if text == "-" else (text,))]
    if not words:
        runtime.say("callctl: no calls on stdin: nothing to do")
    return list(dict.fromkeys(_in_store(runtime, settings, store, word) for word in words))


def _in_store(runtime: Runtime, settings: Settings, store: EventStore, word: str) -> str:
    sid = _last(runtime, settings) if word == LAST else word
    if is_whole(sid):
        if store.call(sid) is None:
            raise UnknownCallError(
                f"the event store {settings.store_name} has no events of {sid}",
                hint="it has what `callctl watch` or `callctl listen` received for this account, for --keep-days",
            )
        return sid
    start = _checked(sid)
    ended = {row.call_sid: row.status for row in store.calls_starting(start, limit=_SHOWN + 2)}
    sid = _only(ended, start, what="call in the event store")
    runtime.say(f"callctl: {start} is {sid}, {ended[sid]}")
    return sid
