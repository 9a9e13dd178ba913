"""``callctl show``: one call, its legs, the timeline of its callbacks, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from callctl.calls.call import Call
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common, completion
from callctl.cli.options.calls import one_call, open_store_to_read
from callctl.errors import ApiError, CallctlError, NotFoundError, StoreError
from callctl.settings import Settings
from callctl.support.threads import start_in_thread

if TYPE_CHECKING:
    from callctl.api.client import ApiClient
    from callctl.calls.action import ActionEvent
    from callctl.calls.board import Snapshot
    from callctl.calls.event import CallEvent
    from callctl.views.call_page import CallPage

T = TypeVar("T")

# A Dial rings ten at once (docs/twilio.md, "Dial legs"); a call that dials on and on has more.
MOST_CHILDREN = 1000


def show(
    ctx: typer.Context,
    call: Annotated[
        str,
        typer.Argument(
            metavar="CALL",
            help="The call's SID, a start of it (8 characters or more), or @last.",
            autocompletion=completion.call_sids,
        ),
    ],
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Show one call: its parent and child legs, cost and duration, its timeline, and its errors and warnings.

    The timeline is what status callbacks reported to a watch on this machine; the rest is what the API says now, except
    that a status which verified callbacks reported counts where the API is behind.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, needs_found=False)
    client = runtime.client(settings)
    page = page_of(runtime, settings, client, one_call(runtime, settings, client, call))
    from callctl.views.call_page import plain_lines, print_page, to_json

    if runtime.form is Form.JSON:
        runtime.write_json(to_json(page))
    elif runtime.form is Form.PLAIN:
        runtime.write("\n".join(plain_lines(page)))
    else:
        print_page(runtime.console(), page)


def page_of(runtime: Runtime, settings: Settings, client: ApiClient, sid: str) -> CallPage:
    """Return all that is known of a call; what can't be had is said, and left out.

    Raises:
        CallctlError: The call itself can't be had.
    """
    from callctl.calls.filter import CallFilter
    from callctl.operations.reported_status import with_reported_status
    from callctl.views.call_page import CallPage, timeline_of

    fetched = start_in_thread(lambda: client.fetch(sid))
    listed = start_in_thread(lambda: list(client.list(CallFilter(parent=sid), limit=MOST_CHILDREN)))
    notifications = start_in_thread(lambda: client.notifications(sid))
    call = fetched.result()
    parent = _parent(runtime, client, call)
    children = _part(runtime, listed, "its child legs")
    notes = _part(runtime, notifications, "its errors and warnings")
    events, actions = history_of(runtime, settings, sid)
    reported = _legs_of(events)
    _store_missed_ends(runtime, settings, [call, *filter(None, [parent]), *(children or ())], reported)

    def known(call: Call) -> Call:
        return with_reported_status(call, reported.leg(call.sid))

    leg = reported.leg(call.sid)
    conference = None if leg is None or known(call).is_final else leg.conference
    participants = None
    if conference is not None:
        asked = start_in_thread(lambda: client.participants(conference.conference_sid))
        participants = _part(runtime, asked, f"who is in the conference {conference.shown_name}")
    return CallPage(
        call=known(call),
        rest_status=call.status,
        parent=None if parent is None else known(parent),
        children=None if children is None else [known(child) for child in reversed(children)],
        timeline=timeline_of(events, actions),
        notifications=notes,
        api_url=None if settings.is_twilio else settings.api_url,
        now=runtime.now(),
        leg=leg,
        participants=participants,
    )


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


def _parent(runtime: Runtime, client: ApiClient, call: Call) -> Call | None:
    if call.parent_call_sid is None or call.parent_call_sid == call.sid:
        return None
    try:
        return client.fetch(call.parent_call_sid)
    except NotFoundError:
        runtime.say(f"callctl: the parent call {call.parent_call_sid} is not there any more")
    except CallctlError as error:
        _say_missing(runtime, f"the parent call {call.parent_call_sid}", error)
    return None


def _part(runtime: Runtime, future: Future[list[T]], what: str) -> list[T] | None:
    """Return what belongs to the call; where it can't be had, say so and return None: the rest is shown without."""
    try:
        return future.result()
    except CallctlError as error:
        _say_missing(runtime, what, error)
        return None


def _say_missing(runtime: Runtime, what: str, error: CallctlError) -> None:
    runtime.say_once(f"callctl: warning: shown without {what}: {_why(error)}")


def _why(error: CallctlError) -> str:
    status = f" (HTTP {error.status})" if isinstance(error, ApiError) and "HTTP" not in error.message else ""
    return error.message + status


def history_of(runtime: Runtime, settings: Settings, sid: str) -> tuple[list[CallEvent], list[ActionEvent]]:
    """Return what the local store holds of the call and its family; what can't be read is said, and left out."""
    reader = open_store_to_read(runtime, settings)
    if reader is None:
        return [], []
    try:
        with closing(reader):
            events = list(reader.family(sid))
            conferences = dict.fromkeys(event.conference_sid for event in events if event.conference_sid)
            events += [event for conference in conferences for event in reader.family(conference)]
            legs = dict.fromkeys([sid, *(event.call_sid for event in events)])
            return events, [action for leg in legs for action in reader.actions(leg)]
    except StoreError as error:
        runtime.warn(error)
        return [], []
