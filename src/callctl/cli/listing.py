"""``callctl list``: calls, newest first."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from callctl.calls import REST_STATUSES
from callctl.cli import options
from callctl.cli.runtime import Form
from callctl.errors import UsageError


def list_calls(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help=f"Only calls with it: {', '.join(REST_STATUSES)}.")
    ] = None,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="SID", help="Only the child legs of this call.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Show at most N calls.")] = 50,
    env_file: options.EnvFile = None,
    account_sid: options.AccountSid = None,
    request_timeout: options.RequestTimeout = 10.0,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List calls, newest first."""
    from callctl.gateway import CallQuery

    runtime = options.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    if status is not None and status not in REST_STATUSES:
        raise UsageError(f"no such status: {status}", hint=f"one of {', '.join(REST_STATUSES)}")
    if parent is not None:
        options.check_sid(parent)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    gateway = runtime.gateway(settings)
    found = gateway.list(CallQuery(status=status, parent_call_sid=parent), limit=limit + 1)
    calls = list(islice(found, limit + 1))
    from callctl.views.tables import plain_line, print_calls

    shown = calls[:limit]
    if runtime.form is Form.JSON:
        runtime.write_json([call.to_json() for call in shown])
    elif runtime.form is Form.PLAIN:
        for call in shown:
            runtime.write(plain_line(call))
    elif shown:
        print_calls(runtime.console(), shown)
    else:
        runtime.say("callctl: no calls")
    if len(calls) > limit:
        runtime.say(f"callctl: there are more than {limit} calls; --limit N shows more")
