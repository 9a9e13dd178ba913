"""``callctl show``: calls, their legs, the timelines of their callbacks, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer

from callctl.calls.call import Call
from callctl.cli import exits
from callctl.cli.io.progress import Progress
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common, completion, output
from callctl.cli.options.calls import calls_to_read, open_store_to_read, was_just_placed
from callctl.cli.options.common import ADVANCED
from callctl.errors import ApiError, CallctlError, NotFoundError, PartlyFailedError, StoreError
from callctl.operations import call_details
from callctl.operations.call_details import CallDetails, Fetches, check_limit, details_of
from callctl.settings import Settings

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.calls.board import Snapshot
    from callctl.calls.event import CallEvent
    from callctl.reports.stories.stored_family import StoredFamily
    from callctl.store.event_store import EventStore
    from callctl.views.call_page import CallPage

T = TypeVar("T")

PARALLEL = 60  # requests at once: the first three of each of twenty calls


def show(
    ctx: typer.Context,
    calls: Annotated[
        list[str],
        typer.Argument(
            metavar="CALL",
            help="SIDs, starts of some (8 characters or more), @last, or - for SIDs on stdin.",
            autocompletion=completion.past_call_sids,
        ),
    ],
    columns: output.Columns = None,
    csv: output.Csv = False,
    parallel: Annotated[
        int,
        typer.Option(
            "--parallel",
            metavar="N",
            min=1,
            max=64,
            help="So many requests at once.\n\nThe page of a call takes three, and one more for its parent.",
            rich_help_panel=ADVANCED,
        ),
    ] = PARALLEL,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    mask_numbers: common.MaskNumbers = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Show calls: their parent and child legs, cost and duration, their timelines, and their errors and warnings.

    The timeline is what status callbacks reported to a watch on this machine; the rest is what the API says now, except
    that a status which verified callbacks reported counts where the API is behind.

    Several calls are fetched at once, and shown in the order in which they are named; with --json each is an object on
    a line of its own. With --columns or --csv a call is a row, as in a list, without its legs and timeline.
    """
    runtime = common.runtime_of(
        ctx, json=json, csv=csv, debug=debug, request_timeout=request_timeout, mask_numbers=mask_numbers
    )
    names = output.read_columns(columns, csv=csv, json=json)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    client = runtime.client(settings).expecting(partial(was_just_placed, runtime, settings))
    sids = calls_to_read(runtime, settings, client, calls)
    failures = _Failures(runtime, sids)
    with _progress(runtime, sids) as progress:
        if names or csv:
            with _reported_calls(runtime, settings, client) as fetch:
                fetched = failures.without_failed(progress.counted(_each(sids, fetch, parallel=parallel)))
                _write_rows(runtime, _masked_calls(fetched) if mask_numbers else fetched, names, progress=progress)
        else:
            # A call's requests that are under way together count for what may be at once.
            each = _pages(runtime, settings, client, sids, parallel=max(1, parallel // call_details.REQUESTS))
            _write_pages(runtime, failures.without_failed(progress.counted(each)), progress=progress)
    failures.check()


@contextmanager
def _progress(runtime: Runtime, sids: Sequence[str]) -> Iterator[Progress]:
    """Yield the progress, which says how many of several calls are there; of one call it says nothing."""
    progress = Progress(runtime, lambda count: f"{count} of {len(sids)} calls are there")
    with progress if len(sids) > 1 else nullcontext():
        yield progress


class _Failures:
    """Which of the calls can't be shown, and why. If only one was named, its error is that of the command."""

    def __init__(self, runtime: Runtime, sids: Sequence[str]) -> None:
        self._runtime, self._sids = runtime, sids
        self._errors: dict[str, CallctlError] = {}

    def without_failed(self, results: Iterable[tuple[str, T | CallctlError]]) -> Iterator[T]:
        """Yield what was found; of several calls, say in their turn why one was not.

        Raises:
            CallctlError: The only one was not.
        """
        for sid, result in results:
            if not isinstance(result, CallctlError):
                yield result
            elif len(self._sids) == 1:
                raise result
            else:
                self._errors[sid] = result
                self._runtime.write_error(result, code=exits.code_for(result), of=sid)

    def check(self) -> None:
        """Raise PartlyFailedError if some of several calls were not found."""
        if self._errors:
            from callctl.cli.io.results import what_failed

            raise PartlyFailedError(
                what_failed(dict.fromkeys(self._errors), total=len(self._sids), done="shown"),
                hint="`callctl list` shows the calls there are",
            )


def _each(sids: Sequence[str], find: Callable[[str], T], *, parallel: int) -> Iterator[tuple[str, T | CallctlError]]:
    """Yield what ``find`` returns for each call, or why it does not, in their order; several are fetched at once."""
    from callctl.operations.bulk import Done, for_each_in_order

    if len(sids) == 1:
        yield sids[0], find(sids[0])
        return
    for result in for_each_in_order(sids, find, parallel=parallel):
        yield result.sid, result.value if isinstance(result, Done) else result.error


# Rows


def _write_rows(runtime: Runtime, calls: Iterator[Call], names: Sequence[str], *, progress: Progress) -> None:
    from callctl.views.columns import CSV_NAMES, csv_lines, picked, tab_line, table_columns

    if runtime.form is Form.TABLE:
        from callctl.views.table import print_calls

        shown = list(calls)
        progress.finish()
        if shown:
            print_calls(runtime.console(), shown, chosen=table_columns(names))
        return
    if runtime.form is Form.CSV:
        lines = csv_lines(calls, names or CSV_NAMES)
    elif runtime.form is Form.JSON:
        from callctl.views.terminal_safe import json_text

        lines = (json_text(picked(call.to_json(), names)) for call in calls)
    else:
        lines = (tab_line(call, names) for call in calls)
    for line in lines:
        runtime.write(line)


@contextmanager
def _reported_calls(runtime: Runtime, settings: Settings, client: ApiClient) -> Iterator[Callable[[str], Call]]:
    """Yield what fetches a call, with the status that callbacks reported where REST is behind."""
    from callctl.cli.options.history import History

    with History(runtime, settings, readonly=True) as history:
        yield lambda sid: history.with_reported_status(client.fetch(sid))


def _masked_calls(calls: Iterator[Call]) -> Iterator[Call]:
    from callctl.calls.masked_numbers import masked_call

    return map(masked_call, calls)


# Pages


def _write_pages(runtime: Runtime, pages: Iterator[CallPage], *, progress: Progress) -> None:
    from callctl.views.call_page import plain_lines, print_page, to_json

    for number, page in enumerate(pages):
        if runtime.form is Form.JSON:
            runtime.write_json(to_json(page))
        elif runtime.form is Form.PLAIN:
            runtime.write("\n".join(plain_lines(page)))
        else:
            if number:
                runtime.write("")
            progress.finish()  # from here on, the pages show how far it is
            print_page(runtime.console(), page)


def page_of(runtime: Runtime, settings: Settings, client: ApiClient, sid: str) -> CallPage:
    """Return all that is known of a call; what can't be had is said, and left out.

    Raises:
        CallctlError: The call itself can't be had.
    """
    ((_, page),) = _pages(runtime, settings, client, [sid], parallel=1)
    if isinstance(page, CallctlError):
        raise page
    return page


class _CallFacts(NamedTuple):
    """What the local store holds of a call and its family, the legs as that reports them, and what REST has."""

    stored: StoredFamily
    reported: Snapshot
    details: CallDetails


def _pages(
    runtime: Runtime, settings: Settings, client: ApiClient, sids: Sequence[str], *, parallel: int
) -> Iterator[tuple[str, CallPage | CallctlError]]:
    """Yield all that is known of each call, in their order, or why the call itself can't be had.

    ``parallel`` is how many calls are fetched at once. What can't be had of a call is said and left out. Of several
    calls, a part for which too many requests were sent at once is fetched again.
    """
    reader, fetches = open_store_to_read(runtime, settings), Fetches(client)
    with closing(reader) if reader is not None else nullcontext():

        def find(sid: str) -> _CallFacts:
            stored = _stored_family(runtime, reader, sid)
            reported = _legs_of(stored.events)
            leg = reported.leg(sid)
            conference = None if leg is None or leg.is_final else leg.conference
            details = details_of(
                client,
                sid,
                fetches=fetches,
                parent_sid=None if leg is None else leg.parent_call_sid,
                conference_sid=None if conference is None else conference.conference_sid,
            )
            if len(sids) > 1:
                check_limit(details.missing.values())
            return _CallFacts(stored, reported, _with_unlisted(client, details, reported, now=runtime.now()))

        for sid, facts in _each(sids, find, parallel=parallel):
            if isinstance(facts, CallctlError):
                yield sid, facts
            else:
                _say_missing(runtime, facts, of="" if len(sids) == 1 else sid)
                yield sid, _page(runtime, settings, facts)


def _with_unlisted(client: ApiClient, details: CallDetails, reported: Snapshot, *, now: datetime) -> CallDetails:
    """Return what REST has of a call, with the child legs that callbacks alone reported so far."""
    if details.children is None or details.call.is_final:
        return details
    from callctl.operations.family import unlisted_children

    unlisted, _ = unlisted_children(client, details.call.sid, details.children, reported.legs, now=now)
    return replace(details, children=[*details.children, *reversed(unlisted)])


def _page(runtime: Runtime, settings: Settings, facts: _CallFacts) -> CallPage:
    """Return the page of a call; an end that REST shows and no callback reported is stored."""
    from callctl.operations.reported_status import with_reported_status
    from callctl.views.call_page import CallPage, masked_page, timeline_of

    stored, reported, details = facts
    calls = [details.call, *filter(None, [details.parent]), *(details.children or ())]
    _store_missed_ends(runtime, settings, calls, reported)

    def known(call: Call) -> Call:
        return with_reported_status(call, reported.leg(call.sid))

    call = known(details.call)
    page = CallPage(
        call=call,
        rest_status=details.call.status,
        parent=None if details.parent is None else known(details.parent),
        children=None if details.children is None else [known(child) for child in details.children],
        timeline=timeline_of(stored.events, stored.actions),
        notifications=details.notifications,
        api_url=None if settings.is_twilio else settings.api_url,
        now=runtime.now(),
        leg=reported.leg(call.sid),
        participants=None if call.is_final else details.participants,
    )
    return masked_page(page) if runtime.masks_numbers else page


def _legs_of(events: Iterable[CallEvent]) -> Snapshot:
    """Return the legs as events report them."""
    from callctl.calls.board import Board

    board = Board()
    for event in events:
        board.apply(event)
    return board.snapshot()


def _store_missed_ends(runtime: Runtime, settings: Settings, calls: Iterable[Call], reported: Snapshot) -> None:
    """Store the ends that REST shows and no callback has reported, so that each watch learns of them."""
    from callctl.cli.options.history import History
    from callctl.operations.missed_ends import missed_end

    now, world = runtime.now(), settings.world
    news = [call for call in calls if missed_end(call, reported.leg(call.sid), now=now, world=world)]
    if news:
        with History(runtime, settings) as history:
            for call in news:
                history.note_call(call)


def _say_missing(runtime: Runtime, facts: _CallFacts, *, of: str) -> None:
    """Say what a page is shown without, and why; ``of`` is the SID of the call where there are several."""
    details = facts.details
    leg = facts.reported.leg(details.call.sid)
    room = "" if leg is None or leg.conference is None else leg.conference.shown_name
    words = {
        call_details.PARENT: f"the parent call {details.call.parent_call_sid}",
        call_details.CHILDREN: "its child legs",
        call_details.NOTIFICATIONS: "its errors and warnings",
        call_details.PARTICIPANTS: f"who is in the conference {room}",
    }
    for part, error in details.missing.items():
        if part == call_details.PARTICIPANTS and details.call.is_final:
            continue  # it is not in there any more
        if part == call_details.PARENT and isinstance(error, NotFoundError):
            runtime.say(f"callctl: {words[part]} is not there any more")
        else:
            whose = f"{of} is " if of else ""
            runtime.say_once(f"callctl: warning: {whose}shown without {words[part]}: {_why(error)}")


def _why(error: CallctlError) -> str:
    status = f" (HTTP {error.status})" if isinstance(error, ApiError) and "HTTP" not in error.message else ""
    return error.message + status


def history_of(runtime: Runtime, settings: Settings, sid: str) -> StoredFamily:
    """Return what the local store holds of the call and its family; what can't be read is said, and left out.

    The family is the call, its parent, its siblings and its children, as REST lists them on its page.
    """
    reader = open_store_to_read(runtime, settings)
    with closing(reader) if reader is not None else nullcontext():
        return _stored_family(runtime, reader, sid)


def _stored_family(runtime: Runtime, reader: EventStore | None, sid: str) -> StoredFamily:
    from callctl.reports.stories.stored_family import StoredFamily, read_family

    if reader is None:
        return StoredFamily()
    try:
        return read_family(reader, [sid])
    except StoreError as error:
        runtime.warn(error)
        return StoredFamily()
