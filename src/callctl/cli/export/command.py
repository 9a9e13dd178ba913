"""``callctl export``: what became of calls, as a page, a diagram, CSV or JSON, out of the local store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from callctl.calls.filter import CallFilter
from callctl.cli.export.document import write_data, write_document
from callctl.cli.export.source import Source
from callctl.cli.export.target import TO_STDOUT, Target, check_output
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import common, completion, filters
from callctl.cli.options.calls import open_store_alone, open_store_to_read
from callctl.cli.options.checks import check_account
from callctl.cli.options.common import OUTPUT
from callctl.cli.options.completion import FORMATS
from callctl.errors import UsageError

# Stories on a page or in a Mermaid document; more would be megabytes that nobody reads.
DEFAULT_LIMIT = 200


def export(
    ctx: typer.Context,
    call: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CALL",
            help="SIDs, starts of them, @last, or - for SIDs on stdin; else the calls that the filters choose.",
            autocompletion=completion.past_call_sids,
        ),
    ] = None,
    live: filters.Live = False,
    status: filters.Status = None,
    to: filters.To = None,
    from_: filters.From = None,
    parent: filters.Parent = None,
    since: filters.Since = None,
    until: filters.Until = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=completion.formats,
            help="html, mermaid, csv or json.\n\n"
            "html: one page with a sequence diagram of each call; it loads nothing from elsewhere. mermaid: Markdown "
            "with diagrams that GitHub draws. csv: a row for each leg. json: an array of families with their legs.",
            rich_help_panel=OUTPUT,
        ),
    ] = "html",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this file, - for stdout; else to a new one here.\n\n"
            "A new file is named after the call, or after the day on which the calls began, and replaces no other. One "
            "that is named here is replaced. Its path is printed on stdout.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help=f"At most N calls; else {DEFAULT_LIMIT}, in csv and json all.\n\n"
            "A page or a Mermaid document shows those in which most went wrong, then the newest. Its figures are of "
            "all calls. csv and json have the newest.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Open the page in the browser.", rich_help_panel=OUTPUT)] = False,
    fetch: Annotated[
        bool,
        typer.Option(
            "--fetch",
            help="Query the API for prices, errors and what is missing.\n\n"
            "Without it no request is sent: all comes out of the store of callbacks that watch and listen keep.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    mask_numbers: common.MaskNumbers = False,
    debug: common.Debug = False,
) -> None:
    """Write what became of calls: a page to show others, a diagram, CSV or JSON.

    A call comes with its whole family of legs if one of them is named or matches. --since, --until: when a leg began.
    """
    runtime = common.runtime_of(ctx, debug=debug, request_timeout=request_timeout, mask_numbers=mask_numbers)
    _check(format_, output=output, web=web)
    chosen = filters.read_filter(
        live=live, status=status, to=to, from_=from_, parent=parent, since=since, until=until, now=runtime.now()
    )
    _check_choice(call, chosen)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    check_account(settings)
    check_output(runtime, settings, output)
    client = runtime.client(settings) if fetch else None
    store = open_store_to_read(runtime, settings) if fetch else open_store_alone(runtime, settings)
    try:
        source = Source(runtime, settings, store, client, masks=mask_numbers)
        families = source.named(call) if call else source.matching(chosen)
        target = Target(runtime, format_, output)
        if format_ in ("html", "mermaid"):
            most = DEFAULT_LIMIT if limit is None else min(limit, common.MOST)
            words = _in_words(call, chosen, masks=mask_numbers)
            path = write_document(source, families, target, chosen=words, most=most)
        else:
            path = write_data(source, families, target, most=limit)
    finally:
        if store is not None:
            store.close()
    if web and path is not None:
        _open(runtime, path)


def _check(format_: str, *, output: str | None, web: bool) -> None:
    if format_ not in FORMATS:
        raise UsageError(
            f"--format is {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {format_ or common.EMPTY}",
            hint="html is a page",
        )
    if output == "":
        raise UsageError("--output names no file", hint="- stands for stdout; without it a new file is made here")
    if web and (format_ != "html" or output == TO_STDOUT):
        raise UsageError("--web opens a page, and none is written to a file", hint="leave out --format and --output -")


def _check_choice(calls: Sequence[str] | None, chosen: CallFilter) -> None:
    is_filtered = not replace(chosen, now=None).is_empty
    if calls and is_filtered:
        raise UsageError("calls are named, and filters are given too", hint="leave out one of the two")
    if not calls and not is_filtered:
        raise UsageError("which calls?", hint="name calls or @last, or choose them: --since 2h, --to +12025550100")


def _in_words(calls: Sequence[str] | None, chosen: CallFilter, *, masks: bool) -> str:
    """Return which calls were chosen, for the head of a document; nothing where they were named."""
    from callctl.calls.masked_numbers import masked_filter
    from callctl.support.dates import local_time

    if masks:
        chosen = masked_filter(chosen)
    parts = [
        "" if calls else chosen.in_words,
        f"dialled by {chosen.parent}" if chosen.parent else "",
        f"begun since {local_time(chosen.since)}" if chosen.since else "",
        f"begun before {local_time(chosen.until)}" if chosen.until else "",
    ]
    return ", ".join(part for part in parts if part)


def _open(runtime: Runtime, path: Path) -> None:
    """Open a page in the browser."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        runtime.say(f"callctl: no browser could be started; the page is {path}")
