"""``callctl simulator call``: let a call come in at a running simulator."""

from __future__ import annotations

from typing import Annotated

import typer

from callctl.cli.options import common, completion
from callctl.cli.options.checks import check_endpoint, check_method
from callctl.cli.simulator.client import SimulatorClient, Url
from callctl.cli.simulator.show import show_new_call
from callctl.errors import UsageError


def simulator_call(
    ctx: typer.Context,
    from_: Annotated[str, typer.Option("--from", metavar="NUMBER", help="Who calls, and how that end behaves.")],
    to: Annotated[str | None, typer.Option("--to", metavar="NUMBER", help="Which of your numbers is called.")] = None,
    application: Annotated[
        str | None,
        typer.Option(
            "--application",
            metavar="SID",
            help="Which application is called, by a client.\n\n"
            "It was created at the simulator, with a VoiceUrl. --from is such as client:ann; --to may be left out.",
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME=VALUE", help="What the client says besides; repeatable."),
    ] = None,
    voice_url: Annotated[
        str | None,
        typer.Option(
            "--voice-url",
            metavar="NAME|URL",
            autocompletion=completion.url_names,
            help="Where the TwiML is; else where the number says.\n\n"
            "Without it the number must have been created at the simulator, as by Twilio's library; its VoiceUrl, "
            "fallback and status callback count then.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="GET|POST", help="The HTTP method for --voice-url; POST unless set."),
    ] = None,
    status_callback: Annotated[
        str | None, typer.Option("--status-callback", metavar="URL", help="Who learns that the call is over.")
    ] = None,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Let a call come in at the simulator: an inbound leg that requests TwiML.

    It signs in where the settings have credentials for it; a simulator on this
    machine needs none. A token for Twilio goes to no simulator.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    for name, address in (("--to", to), ("--from", from_)):
        if address is not None:
            check_endpoint(address, what=name)
    _check_together(to, application, parameter, voice_url, method)
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    given = {
        "to": to,
        "from": from_,
        "application_sid": application,
        "status_callback": status_callback,
        "parameters": _parameters(parameter or []),
    }
    if voice_url is not None:
        document = runtime.settings(env_file=env_file).named_url(voice_url)
        given |= {"url": document.url, "method": check_method(method) or document.method}
    body = {name: value for name, value in given.items() if value}
    show_new_call(runtime, client.post("/calls", body, changes="the call may have come in"))


def _check_together(
    to: str | None, application: str | None, parameter: list[str] | None, voice_url: str | None, method: str | None
) -> None:
    """Raise UsageError for options that say nothing together."""
    if to is None and application is None:
        raise UsageError("who is called is missing: --to", hint="or --application, which a client calls")
    if application is not None and voice_url is not None:
        raise UsageError("--voice-url does not go with --application", hint="the application's own VoiceUrl counts")
    if application is None and parameter:
        raise UsageError("--parameter goes with --application", hint="a number's caller has no parameters")
    if method is not None and voice_url is None:
        raise UsageError("--method goes with --voice-url", hint="the number's own VoiceMethod counts without it")


def _parameters(given: list[str]) -> dict[str, str]:
    """Read NAME=VALUE; raise UsageError for what is none."""
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--parameter is not NAME=VALUE: {text}", hint="such as --parameter room=7")
        pairs[name.strip()] = value
    return pairs
