"""``callctl redirect``: other TwiML for live calls."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from callctl.calls.call import CallStatus
from callctl.cli.options import common, completion
from callctl.cli.options import twiml as twiml_options
from callctl.cli.options.callback_url import find_callback, find_callback_of_live
from callctl.cli.options.calls import calls_to_change
from callctl.cli.options.common import CALLBACKS, WAITING
from callctl.cli.options.times import read_duration
from callctl.errors import UsageError, without_secrets

if TYPE_CHECKING:
    from callctl.operations.wait import Goal

_SHOWN = 60  # characters of a document, in the command for the other leg


def redirect(
    ctx: typer.Context,
    calls: Annotated[
        list[str],
        typer.Argument(
            metavar="CALL",
            autocompletion=completion.call_sids,
            help="SIDs, unambiguous starts of some, @last, or - for SIDs on stdin.",
        ),
    ],
    url: twiml_options.Url = None,
    twiml: twiml_options.Twiml = None,
    say: twiml_options.Say = None,
    dial: twiml_options.Dial = None,
    method: twiml_options.Method = None,
    fallback_url: twiml_options.FallbackUrl = None,
    status_callback: Annotated[
        str | None,
        typer.Option(
            "--status-callback",
            metavar="URL|watch",
            help="With --url: where the call reports from now on.\n\n"
            "watch is the running watch. Unless given, nothing changes. Which events are told can't be chosen for a "
            "call in progress: its end is, if it was placed without callbacks.",
            rich_help_panel=CALLBACKS,
        ),
    ] = None,
    add_callbacks: twiml_options.AddCallbacks = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="parent|children",
            help="Redirect the other legs of the call named.",
        ),
    ] = None,
    when: Annotated[
        str | None,
        typer.Option(
            "--when",
            metavar="STATUS",
            autocompletion=completion.redirectable,
            help="Wait until it is answered (or: in-progress).\n\n"
            "in-progress (or answered) is the one status in which a call can be redirected.",
            rich_help_panel=WAITING,
        ),
    ] = None,
    wait_timeout: common.WaitTimeout = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the request and its effects; change nothing.\n\n"
            "It shows what becomes of the other leg, for which it asks; nothing that changes a call is sent.",
        ),
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Give calls in progress other TwiML, such as a survey.

    Of a parent leg inside <Dial>, the child drops, and the Dial's action is
    asked as well. Of a child leg, the parent goes on with the Dial's action,
    else with its next verb, else it hangs up. Which of these it will be is
    said before anything is sent; --dry-run says it and sends nothing.

    No Status is ever sent with it: Twilio leaves open which of the two would
    count, so the call might be ended instead. `callctl hangup` ends calls.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    if on not in (None, "parent", "children"):
        raise UsageError(
            f"--on is parent or children, not {on}",
            hint="the parent is the leg that dialled this one, children are those that this one dialled",
        )
    goal = None if when is None else _goal(when)
    if wait_timeout is not None and goal is None:
        raise UsageError("--wait-timeout goes with --when", hint="give --when answered")
    limit = None if wait_timeout is None else read_duration(wait_timeout, option="--wait-timeout")
    if twiml == "-" and "-" in calls:
        raise UsageError(
            "stdin can't hold both the SIDs and the TwiML", hint="put the TwiML into a file: --twiml @FILE"
        )
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    settings.credentials()  # who has none is told so first, not what else is missing
    orders = twiml_options.read_orders(
        runtime,
        settings,
        url=url,
        twiml=twiml,
        say=say,
        dial=dial,
        method=method,
        add_callbacks=add_callbacks,
    )
    fallback = twiml_options.read_fallback(settings, fallback_url)
    report_to = find_callback_of_live(runtime, settings, status_callback, by_url=url is not None)
    client = runtime.client(settings)
    sids = calls_to_change(runtime, settings, client, calls)
    if not sids:
        return
    callback = find_callback(runtime, settings, None) if dial or add_callbacks else None
    told = orders.reporting_to(callback)

    from callctl.api.requests import RedirectRequest
    from callctl.cli.options.history import Memory
    from callctl.cli.redirect.preview import Foresight

    request = RedirectRequest(
        url=told.url,
        method=told.method,
        twiml=told.twiml,
        fallback_url=fallback.url or None,
        fallback_method=fallback.method,
        status_callback=report_to,
    )
    given = {"--url": url, "--twiml": twiml, "--say": say, "--status-callback": status_callback}
    with Memory(runtime, settings) as memory:
        foresight = Foresight(runtime, client, memory, _again(given, dial=dial or (), add_callbacks=add_callbacks))
        chosen = foresight.others(sids, on=on) if on else sids
        if dry_run:
            from callctl.cli.redirect.dry_run import Rehearsal

            rehearsal = Rehearsal(runtime, settings, client, foresight, request=request, when_answered=goal is not None)
            rehearsal.show(chosen)
            return
        from callctl.cli.redirect.run import Redirecting

        where = without_secrets(url) if url else "other TwiML"
        work = Redirecting(runtime, settings, client, memory, foresight, request=request, where=where)
        if goal is None:
            work.redirect(chosen)
        else:
            work.redirect_when(goal, chosen, limit=limit)


def _goal(when: str) -> Goal:
    from callctl.operations.wait import Goal

    goal = Goal.read(when, option="--when")
    if goal.name != CallStatus.IN_PROGRESS:
        raise UsageError(
            f"--when is in-progress or answered, not {when}: only a call in progress can be redirected",
            hint="`callctl wait` waits for any status",
        )
    return goal


def _again(given: Mapping[str, str | None], *, dial: Sequence[str], add_callbacks: bool) -> str:
    """Return the options once more, for the command that redirects the other leg; without passwords."""
    pairs = [*given.items(), *(("--dial", destination) for destination in dial)]
    words = [word for option, value in pairs if value for word in (option, _short(value))]
    return shlex.join([*words, "--add-callbacks"] if add_callbacks else words)


def _short(value: str) -> str:
    value = without_secrets(value)
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
