"""``callctl stats``: figures of the calls in the event store."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from callctl.cli.io.progress import Progress
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common, completion, filters
from callctl.cli.options.calls import open_store_alone
from callctl.cli.options.checks import check_account
from callctl.cli.options.common import OUTPUT
from callctl.cli.options.completion import GROUPINGS
from callctl.errors import StoreError, UsageError, nearest_word

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter
    from callctl.reports.figures import Figures
    from callctl.reports.figures_report import Report
    from callctl.settings import Settings

_TOP = 20
_MANY = 100_000  # events; fewer are read within half a second by one process


def stats(
    ctx: typer.Context,
    since: filters.Since = None,
    until: filters.Until = None,
    status: filters.Status = None,
    to: filters.To = None,
    from_: filters.From = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="KEY",
            autocompletion=completion.groupings,
            help=f"A row for each {', '.join(GROUPINGS[:-1])} or {GROUPINGS[-1]}.\n\n"
            "By hour: the local one in which a leg began, all of them; else those with the most legs.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            "--top", metavar="N", min=1, help="With --by, at most N rows, then all others.", rich_help_panel=OUTPUT
        ),
    ] = _TOP,
    csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="Write CSV to stdout, with the names first.\n\nOne line for all, or with --by one for each row.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    mask_numbers: common.MaskNumbers = False,
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Show figures of the calls in the event store: how many, how fast and how long they were, and how they ended.

    No request is sent to Twilio. --since, --until: when a leg began. Times are those of callbacks, which Twilio gives
    in whole seconds.
    """
    if csv and json:
        raise UsageError(
            "--csv and --json exclude each other", hint="--json has more: histograms, ends by SIP code, actions"
        )
    runtime = common.runtime_of(ctx, json=json, csv=csv, debug=debug, mask_numbers=mask_numbers)
    grouping = _grouping(by)
    chosen = filters.read_filter(status=status, to=to, from_=from_, since=since, until=until, now=runtime.now())
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid}, requires_dotenv=False)
    check_account(settings)
    figures = _figures(runtime, settings, chosen, by=grouping)
    if (figures is None or not figures.all.kinds) and runtime.form is not Form.JSON:
        runtime.say(f"callctl: {_why_empty(has_store=figures is not None, is_filtered=not chosen.is_empty)}")
    from callctl.calls.masked_numbers import masked_party
    from callctl.reports.figures import Figures
    from callctl.reports.figures_report import Report

    name_of = masked_party if mask_numbers else str
    _write(runtime, Report(figures or Figures(), chosen.since, chosen.until, grouping, top=top, name_of=name_of))


def _figures(runtime: Runtime, settings: Settings, chosen: CallFilter, *, by: str | None) -> Figures | None:
    """Return the figures; of a large store its parts are read by several processes. None if there is no store.

    Raises:
        StoreError: The store can't be read.
    """
    from callctl.cli.stats.processes import processors, share_out
    from callctl.reports.stored_figures import read_figures
    from callctl.store.opening import open_readonly

    store = open_store_alone(runtime, settings)
    if store is None:
        return None
    with closing(store):
        parts = processors() if store.last_event_id() >= _MANY else 1

    def part_of(number: int) -> Figures:
        part = open_readonly(settings)
        if part is None:
            raise StoreError("the event store is gone", hint="somebody removed its file just now")
        if number:
            with closing(part):
                return read_figures(part, chosen, by=by, part=number, of=parts)
        with closing(part), Progress(runtime, lambda count: f"reading the store: {count * parts:,} legs") as progress:
            return read_figures(part, chosen, by=by, of=parts, counted=progress.counted)

    first, *others = share_out(part_of, parts=parts)
    for other in others:
        first.merge(other)
    return first


def _grouping(text: str | None) -> str | None:
    if text is None or text in GROUPINGS:
        return text
    near = nearest_word(text, GROUPINGS)
    known = f"{', '.join(GROUPINGS[:-1])} or {GROUPINGS[-1]}"
    raise UsageError(
        f"--by is {known}, not {text}", hint="to: who was called" if near is None else f"did you mean {near}?"
    )


def _why_empty(*, has_store: bool, is_filtered: bool) -> str:
    if not has_store:
        return "there is no event store yet: `callctl watch` and `callctl listen` keep what callbacks report"
    return "no calls in the store match" if is_filtered else "no calls are in the store yet"


def _write(runtime: Runtime, report: Report) -> None:
    from callctl.reports.figures_report import csv_rows, plain_lines, to_json
    from callctl.views.csv_rows import csv_line

    if runtime.form is Form.JSON:
        runtime.write_json(to_json(report))
    elif runtime.form is Form.CSV:
        for row in csv_rows(report):
            runtime.write(csv_line(row))
    elif not report.figures.all.kinds and not report.figures.actions:
        return
    elif runtime.form is Form.PLAIN:
        for line in plain_lines(report):
            runtime.write(line)
    else:
        from callctl.cli.stats.drawing import print_figures

        print_figures(runtime.console(), report)
