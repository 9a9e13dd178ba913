"""``callctl redirect``: other TwiML for a live call."""

from __future__ import annotations

from typing import Annotated

import typer

from callctl.cli import instructions, options
from callctl.cli.callbacks import find_callback
from callctl.cli.outcomes import remember, show_changed


def redirect(
    ctx: typer.Context,
    call: Annotated[str, typer.Argument(metavar="CALL", help="The call's SID.")],
    url: instructions.Url = None,
    twiml: instructions.Twiml = None,
    say: instructions.Say = None,
    dial: instructions.Dial = None,
    method: instructions.Method = None,
    env_file: options.EnvFile = None,
    account_sid: options.AccountSid = None,
    request_timeout: options.RequestTimeout = 10.0,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Give a call that is in progress other TwiML, for example: callctl redirect CAxxx --url survey."""
    from callctl.gateway import RedirectRequest

    runtime = options.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    options.check_sid(call)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    gateway = runtime.gateway(settings)
    callback = find_callback(runtime, settings, None) if dial else None
    orders = instructions.read_instructions(
        runtime, settings, url=url, twiml=twiml, say=say, dial=dial, method=method, callback=callback
    )
    request = RedirectRequest(url=orders.url, method=orders.method, twiml=orders.twiml)
    changed = gateway.redirect(call, request)
    where = f"to {url}" if url else "to other TwiML"
    remember(runtime, settings, changed, action="redirect", request=request.parameters(), outcome=where)
    show_changed(runtime, changed, action="redirect", told=f"redirected {where}: {changed.sid} is {changed.status}")
