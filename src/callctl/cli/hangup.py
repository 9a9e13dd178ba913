"""``callctl hangup``: end calls."""

from __future__ import annotations

from typing import Annotated

import typer

from callctl.calls import Call, CallStatus
from callctl.cli import exits, options
from callctl.cli.outcomes import remember, show_changed
from callctl.cli.runtime import Runtime
from callctl.errors import ApiError, CallctlError, NetworkError, PartlyFailedError, WrongCallStateError
from callctl.gateway import Gateway
from callctl.settings import Settings


def hangup(
    ctx: typer.Context,
    calls: Annotated[list[str], typer.Argument(metavar="CALL...", help="SIDs of the calls to end.")],
    env_file: options.EnvFile = None,
    account_sid: options.AccountSid = None,
    request_timeout: options.RequestTimeout = 10.0,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """End calls, whether they are queued, ringing or in progress."""
    runtime = options.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    sids = list(dict.fromkeys(options.check_sid(sid) for sid in calls))
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    gateway = runtime.gateway(settings)
    if len(sids) == 1:
        _end(runtime, settings, gateway, sids[0])
        return
    failed = [sid for sid in sids if not _try_to_end(runtime, settings, gateway, sid)]
    if failed:
        raise PartlyFailedError(f"{len(failed)} of {len(sids)} calls were not ended: {', '.join(failed)}")


def _end(runtime: Runtime, settings: Settings, gateway: Gateway, sid: str) -> None:
    try:
        call = gateway.hangup(sid)
    except WrongCallStateError:
        call = gateway.fetch(sid)
        if call.is_live:
            raise
        show_changed(runtime, call, action="hangup", told=f"already over: {sid} is {call.status}")
        return
    request = [("Status", str(CallStatus.COMPLETED))]
    remember(runtime, settings, call, action="hangup", request=request, outcome=f"the API says {call.status}")
    show_changed(runtime, call, action="hangup", told=_told(call))


def _told(call: Call) -> str:
    if call.is_live:
        return f"hang-up accepted: {call.sid} is still {call.status}"
    return f"ended: {call.sid} is {call.status}"


def _try_to_end(runtime: Runtime, settings: Settings, gateway: Gateway, sid: str) -> bool:
    try:
        _end(runtime, settings, gateway, sid)
    except (ApiError, NetworkError) as error:
        told = CallctlError(f"{sid}: {error.message}", hint=error.hint)
        runtime.complain(told, code=exits.code_for(error))
        return False
    return True
