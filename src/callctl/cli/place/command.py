"""``callctl place``: place a call; then wait for it, or watch it, or only show what would be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from callctl.cli.io.results import say_it_may_be_placed
from callctl.cli.options import common, completion
from callctl.cli.options import twiml as twiml_options
from callctl.cli.options.another_store import warn_of_another_store
from callctl.cli.options.callback_url import find_callback
from callctl.cli.options.checks import check_endpoint
from callctl.cli.options.common import CALL, WAITING
from callctl.cli.place import options
from callctl.cli.place.placed import placing, remember_placed, show_placed
from callctl.errors import UsageError
from callctl.support.dates import read_duration

if TYPE_CHECKING:
    from callctl.api.requests import PlaceRequest
    from callctl.operations.wait import Goal


def place(
    ctx: typer.Context,
    to: Annotated[str, typer.Argument(metavar="TO", help="A number (E.164), sip:… or client:…")],
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="NUMBER", help="Whose number calls; else CALLCTL_FROM.", rich_help_panel=CALL),
    ] = None,
    url: twiml_options.Url = None,
    twiml: twiml_options.Twiml = None,
    say: twiml_options.Say = None,
    dial: twiml_options.Dial = None,
    conference: twiml_options.Conference = None,
    then: twiml_options.Then = None,
    sequential: twiml_options.Sequential = False,
    dial_timeout: twiml_options.DialTimeout = None,
    caller_id: twiml_options.CallerId = None,
    method: twiml_options.Method = None,
    fallback_url: twiml_options.FallbackUrl = None,
    ring_timeout: options.RingTimeout = None,
    time_limit: options.TimeLimit = None,
    send_digits: options.SendDigits = None,
    record: options.Record = False,
    machine_detection: options.MachineDetection = None,
    status_callback: options.StatusCallback = None,
    event: options.Event = None,
    add_callbacks: twiml_options.AddCallbacks = False,
    wait_for: Annotated[
        str | None,
        typer.Option(
            "--wait-for",
            metavar="STATUS",
            autocompletion=completion.goals,
            help="Block until TO is answered, ended, busy, …\n\n"
            f"{common.GOALS}. Exit code 8 if the call ended another way.",
            rich_help_panel=WAITING,
        ),
    ] = None,
    wait_timeout: common.WaitTimeout = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show this call and its legs until all are over.", rich_help_panel=WAITING),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the request and the TwiML, masked; send nothing.")
    ] = False,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Place a call.

    On a pipe it prints the call's SID alone.

    With --dial, --then is where the call goes when the Dial is over: the right
    way to a survey. Twilio requests that URL with every DialCallStatus, busy
    and no-answer included, so answer by it. To DialCallStatus=completed:

      <Response><Gather numDigits="1" action="/score">
      <Say>How was it, from 1 to 5?</Say></Gather></Response>

    To any other: <Response><Hangup/></Response>
    """
    from callctl.api.requests import PlaceRequest

    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    check_endpoint(to, what="TO")
    goal = _goal(wait_for, watch=watch)
    limit = _limit(wait_timeout, goal=goal)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    settings.credentials()  # missing credentials are reported first
    events = options.read_events(event, status_callback=status_callback)
    caller = options.read_caller(settings, from_, to=to)
    limits = options.read_limits(ring_timeout=ring_timeout, time_limit=time_limit)
    digits = options.read_digits(send_digits)
    detection = options.read_detection(machine_detection, send_digits=digits)
    fallback = twiml_options.read_fallback(settings, fallback_url)
    orders = twiml_options.read_twiml_options(
        runtime,
        settings,
        url=url,
        twiml=twiml,
        say=say,
        dial=dial,
        conference=conference,
        method=method,
        add_callbacks=add_callbacks,
        dialing=twiml_options.DialOptions(then, dial_timeout, caller_id, sequential, events),
    )
    client = runtime.client(settings)
    warn_of_another_store(runtime, settings)

    def request_to(callback: str | None) -> PlaceRequest:
        instructions = orders.with_callbacks_to(callback)
        return PlaceRequest(
            to=to,
            from_=caller,
            url=instructions.url,
            method=instructions.method,
            twiml=instructions.twiml,
            fallback_url=fallback.url or None,
            fallback_method=fallback.method,
            status_callback=callback,
            status_callback_events=events if callback else (),
            timeout=limits.ringing,
            time_limit=limits.length,
            send_digits=digits,
            record=record or None,
            machine_detection=detection,
        )

    if watch and not dry_run:
        from callctl.cli.place.follow import CallToPlace, place_and_watch

        place_and_watch(runtime, settings, client, CallToPlace(request_to, status_callback, orders.dial_action))
        return
    request = request_to(find_callback(runtime, settings, status_callback))
    if dry_run:
        from callctl.cli.io.dry_run import say_nothing_was_sent, show_request

        show_request(runtime, settings, client.calls_url, request)
        say_nothing_was_sent(runtime)
        return
    with placing(runtime, settings) as placed:
        try:
            call = client.seen_by(placed.attempt).place(request)
        except KeyboardInterrupt:
            if placed.attempt.abandon():
                say_it_may_be_placed(runtime, request.to)
            raise
    if goal is None:
        try:  # shown first: the store may be locked
            show_placed(runtime, call)
        finally:
            remember_placed(runtime, placed.last, call, request, dial_action=orders.dial_action)
    else:
        from callctl.cli.place.wait import wait_for_placed

        remember_placed(runtime, placed.last, call, request, dial_action=orders.dial_action)
        wait_for_placed(runtime, settings, client, call, request, goal=goal, limit=limit)


def _goal(wait_for: str | None, *, watch: bool) -> Goal | None:
    if wait_for is None:
        return None
    if watch:
        raise UsageError("--wait-for and --watch exclude each other", hint="--watch stays until all legs have ended")
    from callctl.operations.wait import Goal

    return Goal.read(wait_for, option="--wait-for")


def _limit(text: str | None, *, goal: Goal | None) -> float | None:
    if text is None:
        return None
    if goal is None:
        raise UsageError(
            "--wait-timeout goes with --wait-for",
            hint="give --wait-for answered or --wait-for ended; --ring-timeout is how long TO may ring",
        )
    return read_duration(text, option="--wait-timeout")
