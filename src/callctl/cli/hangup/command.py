"""``callctl hangup``: end calls, one, several, or all that match."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from callctl.cli.options import common, completion, filters
from callctl.cli.options.common import ADVANCED, HOW, WAITING, WHICH
from callctl.errors import UsageError

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter

PARALLEL = 50


def hangup(
    ctx: typer.Context,
    calls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CALL",
            autocompletion=completion.call_sids,
            help="SIDs, unambiguous starts of some, @last, or - for SIDs on stdin.",
        ),
    ] = None,
    only_ringing: Annotated[
        bool, typer.Option("--only-ringing", help="Leave answered calls alone.", rich_help_panel=HOW)
    ] = False,
    family: Annotated[
        bool, typer.Option("--family", help="End the parent leg and all its children as well.", rich_help_panel=HOW)
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait until each has ended.\n\n"
            "All hang-ups are sent first. --wait-timeout counts from when they were accepted, for all together; the "
            "requests themselves are limited by --request-timeout.",
            rich_help_panel=WAITING,
        ),
    ] = False,
    wait_timeout: common.WaitTimeout = None,
    all_: Annotated[
        bool, typer.Option("--all", help="All live calls, or those that match the filters.", rich_help_panel=WHICH)
    ] = False,
    status: filters.Status = None,
    to: filters.To = None,
    from_: filters.From = None,
    parent: filters.Parent = None,
    since: filters.Since = None,
    until: filters.Until = None,
    older_than: filters.OlderThan = None,
    for_longer_than: filters.ForLongerThan = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Don't ask; needs --max without a terminal.", rich_help_panel=WHICH)
    ] = False,
    max_: Annotated[
        int | None,
        typer.Option("--max", metavar="N", min=1, help="With more matches, end nothing.", rich_help_panel=WHICH),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option(
            "--parallel", metavar="N", min=1, max=64, help="So many requests at once.", rich_help_panel=ADVANCED
        ),
    ] = PARALLEL,
    until_none: Annotated[
        bool,
        typer.Option(
            "--until-none",
            help="With --all: repeat until no call matches.\n\n"
            "--wait-timeout says for how long at most, and must be given. "
            "This does not stop the application that places them.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be ended; change nothing.")] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """End calls, whether queued, ringing or in progress.

    A call that is over already is no error, nor is a stdin without SIDs.
    Ending a child leg does not end its parent: --family ends both.

    Calls named here are never asked about. --all shows what matches and asks
    for the number of calls; without a terminal it takes --yes and --max N.

    The filters hold until the end: what no longer matches is left alone.
    """
    from callctl.cli.hangup.single import HangupOptions, end_call
    from callctl.cli.options.calls import calls_to_change
    from callctl.cli.options.history import History
    from callctl.support.dates import read_duration

    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    limit = None if wait_timeout is None else read_duration(wait_timeout, option="--wait-timeout")
    options = HangupOptions(only_ringing, (math.inf if limit is None else limit) if wait else None)
    chosen = filters.read_filter(
        live=all_,
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
    _check(calls, all_=all_, chosen=chosen, family=family, until_none=until_none)
    _check_limit(limit, wait=wait, until_none=until_none)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    client = runtime.client(settings)
    with History(runtime, settings, readonly=dry_run, is_urgent=True) as history:
        client = history.observing(client)
        if not all_:
            sids = calls_to_change(runtime, settings, client, calls or [])
            if not sids:
                return
            if len(sids) == 1 and not family and not dry_run:
                end_call(runtime, client, history, sids[0], options=options)
                return
        from callctl.cli.hangup.bulk import BulkHangup, Confirmation

        confirmation = Confirmation(yes, None if max_ is None else min(max_, common.MOST))
        bulk = BulkHangup(
            runtime, client, history, options=options, parallel=parallel, dry_run=dry_run, confirmation=confirmation
        )
        if all_:
            bulk.end_matching(chosen, repeat=limit if until_none else None)
        else:
            bulk.end_named(sids, family=family, on_stdin="-" in (calls or []))


def _check(calls: list[str] | None, *, all_: bool, chosen: CallFilter, family: bool, until_none: bool) -> None:
    if all_ and calls:
        from callctl.cli.options.checks import call_sid_hint

        raise UsageError(
            "--all ends the calls that match, and some are named as well",
            hint=call_sid_hint(calls[0]) or "give one or the other",
        )
    if all_ and family:
        raise UsageError(
            "--family goes with calls that are named, not with --all", hint="--all ends every leg that matches"
        )
    if all_:
        return
    if not calls:
        raise UsageError("no call was named", hint="give SIDs, @last or - (SIDs on stdin), or --all with filters")
    if not chosen.is_empty:
        raise UsageError(
            "the filters go with --all, not with calls that are named",
            hint="give --all and the filters, or the calls alone",
        )
    if until_none:
        raise UsageError(
            "--until-none goes with --all",
            hint="it repeats what --all ends; --wait waits for the end of calls that are named",
        )


def _check_limit(limit: float | None, *, wait: bool, until_none: bool) -> None:
    if until_none and limit is None:
        raise UsageError(
            "--until-none needs --wait-timeout", hint="such as --wait-timeout 60s: for how long it repeats at most"
        )
    if limit is not None and not (wait or until_none):
        raise UsageError(
            "--wait-timeout goes with --wait or --until-none", hint="give --wait to wait for the end of each call"
        )
