"""``callctl list``: calls, newest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from callctl.calls.call import REST_LIVE_STATUSES, REST_STATUSES, Call
from callctl.calls.filter import CallFilter
from callctl.cli.io.progress import Progress
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.io.streams import OutputError, ReaderGoneError
from callctl.cli.options import common, completion, filters, output
from callctl.cli.options.common import OUTPUT
from callctl.cli.options.completion import SORTS
from callctl.cli.options.history import History, StatusSince
from callctl.errors import UsageError

if TYPE_CHECKING:
    from callctl.views.table import Column

T = TypeVar("T")

DEFAULT_LIMIT = 50
_NO_START = datetime.max.replace(tzinfo=UTC)
# How many calls are written at a time. A whole page at once would be megabytes to be moved about several times; one at
# a time would set up the encoder for each.
_CHUNK = 50


def list_calls(
    ctx: typer.Context,
    live: filters.Live = False,
    status: filters.Status = None,
    to: filters.To = None,
    from_: filters.From = None,
    parent: filters.Parent = None,
    since: filters.Since = None,
    until: filters.Until = None,
    older_than: filters.OlderThan = None,
    for_longer_than: filters.ForLongerThan = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help=f"Show at most N calls; else {DEFAULT_LIMIT}, or all live ones.\n\n"
            f"Where only live calls are requested, all are shown by default: the newest {DEFAULT_LIMIT} would leave "
            "out those that have gone on for longest.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Show all calls that match, however many.", rich_help_panel=OUTPUT)
    ] = False,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="KEY",
            autocompletion=completion.sorts,
            help="By start, duration or status; else newest first.\n\n"
            "start: the oldest first. duration: the longest first, of live calls so far. status: as a call's life goes "
            "on. All that match are read before the first is shown.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    tree: Annotated[
        bool, typer.Option("--tree", help="Group child legs under their parent.", rich_help_panel=OUTPUT)
    ] = False,
    columns: output.Columns = None,
    csv: output.Csv = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Write SIDs only, for pipes.", rich_help_panel=OUTPUT)
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    mask_numbers: common.MaskNumbers = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """List calls, newest first unless --sort is given.

    Repeated --status are alternatives; everything else must hold together. --since, --until: when the call was
    started; of calls that are still queued, when they were created. Times without a zone are local.
    """
    runtime = common.runtime_of(
        ctx, json=json, csv=csv, debug=debug, request_timeout=request_timeout, mask_numbers=mask_numbers
    )
    if limit is not None and all_:
        raise UsageError("--limit and --all exclude each other", hint="--all shows all that match, however many")
    if quiet and json:
        raise UsageError("--quiet and --json exclude each other", hint="--quiet writes SIDs alone, --json whole calls")
    names = output.read_columns(columns, csv=csv, json=json)
    if quiet and (csv or names):
        other = "--csv" if csv else "--columns"
        raise UsageError(f"--quiet and {other} exclude each other", hint="--columns sid writes SIDs alone as well")
    if sort is not None and tree:
        raise UsageError("--sort and --tree exclude each other", hint="--tree keeps the legs of each family together")
    sort_key = read_sort(sort)
    chosen = filters.read_filter(
        live=live,
        status=status,
        to=to,
        from_=from_,
        parent=parent,
        since=since,
        until=until,
        older_than=older_than,
        for_longer_than=for_longer_than,
        now=runtime.now(),
    )
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    most = _most(limit, all_=all_, chosen=chosen)
    # One more than is shown, to know whether there are more.
    upto = None if most is None else most + 1
    shown: list[str] = []
    with ExitStack() as stack:
        client = runtime.client(settings)
        history = stack.enter_context(History(runtime, settings, readonly=True))
        status_since: StatusSince | None = None
        if chosen.longer_than is not None:
            status_since = StatusSince(history.leg, was_read=history.was_read)
            chosen = replace(chosen, status_since=status_since)
        limited = sort_key is None and not chosen.exceeds_rest
        matching = filters.find_calls(client, chosen, limit=upto if limited else None, reported=history.reported_calls)
        if chosen.exceeds_rest:
            matching = _by_own_clock(runtime, chosen, matching)
        if sort_key is not None:
            with Progress(runtime, lambda count: f"reading the list: {count:,} so far") as progress:
                matching = iter(in_order(progress.counted(matching), sort_key, most=upto, now=runtime.now()))
        if status_since is not None:
            matching = _noted(matching, shown)
        with Progress(runtime, lambda count: f"reading the list: {count:,} so far") as progress:
            write = _write_tree if tree else _write
            timed = sort_key in ("start", "duration") or chosen.concerns_time
            # What they are sorted by is shown.
            now = runtime.now() if sort_key == "duration" else None
            extra = {} if settings.is_twilio else {"api_url": settings.api_url}
            form = _Form(Form.PLAIN if quiet else runtime.form, names, extra, is_quiet=quiet, timed=timed, now=now)
            listed: Iterator[Call] = islice(matching, most)
            if mask_numbers:
                from callctl.calls.masked_numbers import masked_call

                listed = map(masked_call, listed)
            write(runtime, listed, form=form, progress=progress)
            more = next(matching, None) is not None
        if status_since is not None and (words := status_since.in_words(shown[:most])) is not None:
            runtime.say(f"callctl: {words}")
    if not progress.count and runtime.form is not Form.JSON:
        runtime.say("callctl: no calls" if chosen.is_empty else "callctl: no calls match")
    if progress.count and quiet and chosen.excludes_answered and set(chosen.statuses) & set(REST_LIVE_STATUSES):
        runtime.say(
            "hint: some may be answered before they are ended: `callctl hangup - --only-ringing` leaves those alone"
        )
    if more and most is not None:
        there = "is more than 1 call" if most == 1 else f"are more than {most} calls"
        runtime.say(f"callctl: there {there}; --limit N shows more, --all shows all")


def _by_own_clock(runtime: Runtime, chosen: CallFilter, calls: Iterator[Call]) -> Iterator[Call]:
    """Yield the calls that are old by this machine's clock too, and say whether others are by the API's alone.

    Its ``Date`` may be a proxy's own, and what is listed may be piped to ``hangup``.
    """
    by_both = replace(chosen, clock=runtime.now)
    for call in calls:
        if by_both.matches(call):
            yield call
        else:
            runtime.say_once(
                "callctl: warning: the API's clock is ahead of this machine's; left out is what has lasted long enough "
                "by the API's alone"
            )


def _noted(calls: Iterator[Call], sids: list[str]) -> Iterator[Call]:
    for call in calls:
        sids.append(call.sid)
        yield call


def _most(limit: int | None, *, all_: bool, chosen: CallFilter) -> int | None:
    """Return how many calls are shown at most, or None for all.

    By default no live call is left out: the oldest are those that an operator looks for.
    """
    if all_ or (limit is None and chosen.means_live_alone):
        return None
    return min(limit or DEFAULT_LIMIT, common.MOST)


@dataclass(frozen=True, slots=True)
class _Form:
    """How calls are written: in a table, as lines, as CSV, or as an array of JSON objects with ``extra`` in each.

    ``names`` are the fields that were chosen, if any were. In a ``timed`` table the starts of calls are never left out;
    with ``now`` live calls have the durations so far.
    """

    form: Form
    names: Sequence[str]
    extra: Mapping[str, Any]
    is_quiet: bool
    timed: bool
    now: datetime | None

    @property
    def json(self) -> Callable[[Call], dict[str, Any]]:
        """What returns the object that stands for a call: with ``extra``, or with the chosen fields alone."""
        if self.names:
            from callctl.views.columns import picked

            return lambda call: picked(call.to_json(), self.names)

        def with_extra(call: Call) -> dict[str, Any]:
            value = call.to_json()
            value.update(self.extra)
            return value

        return with_extra if self.extra else Call.to_json

    def lines(self, calls: Iterable[Call]) -> Iterator[str]:
        """Yield the lines that stand for calls, with those that go before them."""
        if self.form is Form.CSV:
            from callctl.views.columns import CSV_NAMES, csv_lines

            return csv_lines(calls, self.names or CSV_NAMES)
        if self.is_quiet:
            from callctl.views.terminal_safe import printable

            return (printable(call.sid) for call in calls)
        if self.names:
            from callctl.views.columns import tab_line

            return (tab_line(call, self.names) for call in calls)
        from callctl.views.table import plain_line

        return map(plain_line, calls)

    @property
    def columns(self) -> Sequence[Column]:
        """The columns of the table that were chosen, if any were."""
        if not self.names:
            return ()
        from callctl.views.columns import table_columns

        return table_columns(self.names)


def _write(runtime: Runtime, calls: Iterator[Call], *, form: _Form, progress: Progress) -> None:
    """Write calls as they come, page by page."""
    counted = progress.counted(calls)
    if form.form is Form.JSON:
        _write_array(runtime, map(form.json, counted))
    elif form.form is not Form.TABLE:
        _write_lines(runtime, form.lines(counted))
    elif (first := next(counted, None)) is not None:
        from callctl.views.table import print_calls

        progress.finish()  # from here on, the rows show how far it is
        shown = chain([first], counted)
        print_calls(runtime.console(), shown, timed=form.timed, now=form.now, chosen=form.columns)


def _write_tree(runtime: Runtime, calls: Iterator[Call], *, form: _Form, progress: Progress) -> None:
    """Write calls family by family. A parent may come last, so all must be there before the first is written."""
    from callctl.calls.family import families_of
    from callctl.views.table import family_json, family_rows, print_rows

    families = families_of(progress.counted(calls))
    progress.finish()
    if form.form is Form.JSON:
        extra = {} if form.names else form.extra
        _write_array(runtime, (family_json(family, form.json, extra=extra) for family in families))
    elif form.form is not Form.TABLE:
        _write_lines(runtime, form.lines(call for family in families for call in family.legs))
    elif families:
        print_rows(runtime.console(), family_rows(families), timed=form.timed, chosen=form.columns)


def _write_lines(runtime: Runtime, lines: Iterator[str]) -> None:
    for piece in _pieces(lines):
        runtime.write("\n".join(piece))


def _write_array(runtime: Runtime, values: Iterator[Mapping[str, Any]]) -> None:
    """Write a JSON array piece by piece. It is closed where the list breaks off too: the exit code says so."""
    from callctl.views.terminal_safe import json_text, unfiltered

    stdout = unfiltered(runtime.stdout)  # json_text has made it safe: of 20,000 calls there are 40 MB to be read again
    # Nothing is written before the first calls are there: an error at once leaves stdout empty.
    opening = "["
    try:
        for piece in _pieces(values):
            text = opening + json_text(piece)[1:-1]
            opening = ",\n "
            stdout.write(text)
            stdout.flush()
    except (OutputError, ReaderGoneError):
        raise
    except BaseException:
        if opening != "[":
            runtime.write("]")
        raise
    runtime.write("[]" if opening == "[" else "]")


def _pieces(items: Iterator[T]) -> Iterator[list[T]]:
    """Yield the items some at a time; of a list that breaks off, those before the break as well."""
    piece: list[T] = []
    try:
        for item in items:
            piece.append(item)
            if len(piece) == _CHUNK:
                yield piece
                piece = []
    except GeneratorExit:
        raise
    except BaseException:
        if piece:
            yield piece
        raise
    if piece:
        yield piece


def read_sort(text: str | None) -> str | None:
    """Return what calls are sorted by, or None for the order of the API.

    Raises:
        UsageError: They can't be sorted by that.
    """
    if text is None or text in SORTS:
        return text
    raise UsageError(
        f"--sort is {', '.join(SORTS[:-1])} or {SORTS[-1]}, not {text}", hint="duration: the longest first"
    )


def in_order(calls: Iterable[Call], sort: str, *, most: int | None, now: datetime) -> list[Call]:
    """Return calls in an order, at most ``most``, of which no more are kept in memory.

    ``start``: the oldest first, of calls still queued by when they were created. ``duration``: the longest first, of
    live calls so far. ``status``: as a call's life goes on, within each status the oldest first.
    """
    keys: dict[str, Callable[[Call], Any]] = {
        "start": lambda call: (_start(call), call.sid),
        "duration": lambda call: (-(call.seconds_so_far(now) or 0.0), call.sid),
        "status": lambda call: (_step(call), _start(call), call.sid),
    }
    key = keys[sort]
    return sorted(calls, key=key) if most is None else heapq.nsmallest(most, calls, key=key)


def _start(call: Call) -> datetime:
    return call.start_time or call.date_created or _NO_START


def _step(call: Call) -> int:
    return REST_STATUSES.index(call.status) if call.status in REST_STATUSES else len(REST_STATUSES)
