"""``callctl simulator-call``: let a call come in at a running simulator."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from callctl.calls import Call, is_endpoint
from callctl.cli import options
from callctl.cli.outcomes import show_new_call
from callctl.errors import ApiError, AuthenticationError, NetworkError, NotFoundError, UsageError
from callctl.settings import Settings


def simulator_call(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="NUMBER", help="Which of your numbers is called.")],
    from_: Annotated[
        str, typer.Option("--from", metavar="NUMBER", help="Who calls; does as the simulator's far end of this number.")
    ],
    url: Annotated[str, typer.Option("--url", metavar="NAME|URL", help="Where the number's TwiML is.")],
    status_callback: Annotated[
        str | None, typer.Option("--status-callback", metavar="URL", help="Who is told when the call is over.")
    ] = None,
    env_file: options.EnvFile = None,
    request_timeout: options.RequestTimeout = "10s",
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Let a call come in at the simulator: an inbound leg that asks --url for TwiML."""
    runtime = options.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    for name, address in (("--to", to), ("--from", from_)):
        if not is_endpoint(address):
            raise UsageError(
                f"{name} is no number, sip: or client: address: {address}",
                hint="such as +12025550100, sip:user@example.com or client:name",
            )
    settings = runtime.settings(env_file=env_file)
    if settings.is_twilio:
        raise UsageError(
            "there is no simulator in the settings: the API address is Twilio's",
            hint="start `callctl simulator --write-env .env.simulator` and give --env-file .env.simulator",
        )
    document = settings.named_url(url)
    form = {"To": to, "From": from_, "Url": document.url, "Method": document.method, "StatusCallback": status_callback}
    resource = _post(settings, {name: value for name, value in form.items() if value}, timeout=runtime.request_timeout)
    show_new_call(runtime, Call.from_resource(resource))


def _post(settings: Settings, form: dict[str, str], *, timeout: float) -> dict[str, Any]:
    """Send the call to the simulator; this is its own path, not Twilio's, so it does not go through the gateway."""
    import requests

    credentials = settings.credentials()
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business between here and loopback
        try:
            reply = session.post(
                f"{settings.api_url.rstrip('/')}/simulator/calls",
                data=form,
                auth=(credentials.username, credentials.secret),
                timeout=timeout,
            )
            body = reply.json()
        except requests.RequestException as error:
            raise NetworkError(
                f"no simulator answers at {settings.api_url}", hint="is `callctl simulator` running?"
            ) from error
    if reply.status_code == 201 and isinstance(body, dict):
        return body
    raise _refusal(reply.status_code, body)


def _refusal(status: int, body: object) -> ApiError:
    facts = body if isinstance(body, dict) else {}
    kind = {401: AuthenticationError, 404: NotFoundError}.get(status, ApiError)
    return kind(
        str(facts.get("message", "the simulator refused the call")),
        status=status,
        code=str(facts["code"]) if "code" in facts else None,
        more_info=facts.get("more_info"),
    )
