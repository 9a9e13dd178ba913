"""``callctl place``: place a call."""

from __future__ import annotations

from typing import Annotated

import typer

from callctl.calls import EVENT_NAMES, Call, is_e164
from callctl.cli import instructions, options
from callctl.cli.callbacks import find_callback
from callctl.cli.runtime import Form, Runtime
from callctl.errors import UsageError


def place(
    ctx: typer.Context,
    to: Annotated[str, typer.Argument(metavar="TO", help="A number (E.164), sip:… or client:…")],
    from_: Annotated[
        str | None, typer.Option("--from", metavar="NUMBER", help="Whose number calls; else CALLCTL_FROM.")
    ] = None,
    url: instructions.Url = None,
    twiml: instructions.Twiml = None,
    say: instructions.Say = None,
    dial: instructions.Dial = None,
    method: instructions.Method = None,
    status_callback: Annotated[
        str | None,
        typer.Option(
            "--status-callback",
            metavar="URL|none",
            help="Where status callbacks go; else to the running watch, else to CALLCTL_PUBLIC_URL.",
        ),
    ] = None,
    env_file: options.EnvFile = None,
    account_sid: options.AccountSid = None,
    request_timeout: options.RequestTimeout = 10.0,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Place a call. On a pipe it prints the call's SID alone."""
    from callctl.gateway import PlaceRequest

    runtime = options.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    instructions.check_endpoint(to, what="TO")
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    caller = _caller(from_ or settings.from_, to=to)
    gateway = runtime.gateway(settings)
    callback = find_callback(runtime, settings, status_callback)
    orders = instructions.read_instructions(
        runtime, settings, url=url, twiml=twiml, say=say, dial=dial, method=method, callback=callback
    )
    call = gateway.place(
        PlaceRequest(
            to=to,
            from_=caller,
            url=orders.url,
            method=orders.method,
            twiml=orders.twiml,
            status_callback=callback,
            status_callback_events=EVENT_NAMES if callback else (),
        )
    )
    _show(runtime, call)


def _caller(from_: str | None, *, to: str) -> str:
    if not from_:
        raise UsageError("no caller: nothing says whose number calls", hint="give --from NUMBER or set CALLCTL_FROM")
    # From must be a phone number when To is one (OAS).
    if is_e164(to) and not is_e164(from_):
        raise UsageError(
            f"--from is not a number in E.164 form: {from_}", hint="calling a number needs one, such as +15005550006"
        )
    return from_


def _show(runtime: Runtime, call: Call) -> None:
    if runtime.form is Form.JSON:
        runtime.write_json(call.to_json())
    elif runtime.form is Form.PLAIN:
        runtime.write(call.sid)
    else:
        from callctl.views.tables import print_calls

        print_calls(runtime.console(), [call])
