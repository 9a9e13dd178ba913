"""``callctl simulator call``: let a call come in at a running simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from callctl.calls.call import Call
from callctl.cli.io.results import show_new_call
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import common, completion
from callctl.cli.options.checks import check_endpoint, check_method
from callctl.cli.simulator.env_file import DEFAULT_PORT
from callctl.errors import (
    ApiError,
    AuthenticationError,
    NetworkError,
    NotFoundError,
    OutcomeUnknownError,
    SettingsError,
    UsageError,
    without_secrets,
)
from callctl.settings import Settings
from callctl.settings.values import api_url as read_api_url
from callctl.support.dates import read_json
from callctl.support.threads import start_in_thread

# What to do about a refusal, by Twilio's code.
_HINTS = {
    "21205": "give --voice-url NAME|URL, where the TwiML is; or create the number at the simulator, with a VoiceUrl; "
    "--url names another simulator",
}


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
        str | None, typer.Option("--method", metavar="GET|POST", help="How --voice-url is asked; POST unless set.")
    ] = None,
    status_callback: Annotated[
        str | None, typer.Option("--status-callback", metavar="URL", help="Who learns that the call is over.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help=f"Where it is; else CALLCTL_API_URL, else port {DEFAULT_PORT}.",
        ),
    ] = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Let a call come in at the simulator: an inbound leg that asks for TwiML.

    It signs in with the settings, or as the simulator does by itself where they
    have no account or are those of Twilio: no token of yours goes to a simulator.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    for name, address in (("--to", to), ("--from", from_)):
        if address is not None:
            check_endpoint(address, what=name)
    _check_together(to, application, parameter, voice_url, method)
    settings = _for_simulator(runtime, runtime.settings(env_file=env_file), url)
    form = {"To": to, "From": from_, "ApplicationSid": application}
    if voice_url is not None:
        document = settings.named_url(voice_url)
        form |= {"Url": document.url, "Method": check_method(method) or document.method}
    form |= {"StatusCallback": status_callback}
    given = _parameters(parameter or []) | {name: value for name, value in form.items() if value}
    resource = _post(settings, given, timeout=runtime.request_timeout)
    show_new_call(runtime, Call.from_resource(resource))


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


def _for_simulator(runtime: Runtime, settings: Settings, url: str | None) -> Settings:
    """Return the settings with the simulator's address, and with its own credentials unless they have some for it."""
    address = settings.api_url
    if url is not None:
        address = _address(url)
    elif settings.is_twilio:
        address = f"http://127.0.0.1:{DEFAULT_PORT}"
    if settings.is_twilio or settings.account_sid is None:
        from callctl.simulator.settings import ACCOUNT_SID, AUTH_TOKEN

        settings = replace(
            settings,
            account_sid=ACCOUNT_SID,
            token_account_sid=None,
            auth_token=AUTH_TOKEN,
            api_key=None,
            api_secret=None,
            signing_token=None,
        )
    if address != settings.api_url:
        runtime.api_url = address
        runtime.say_once(f"callctl: the simulator is {address}")
    return replace(settings, api_url=address)


def _address(url: str) -> str:
    try:
        return read_api_url(url, region=None, edge=None)
    except SettingsError as error:
        raise UsageError(
            f"--url is not the address of a simulator: {without_secrets(url)}",
            hint=f"such as http://127.0.0.1:{DEFAULT_PORT}; where the TwiML is, --voice-url says",
        ) from error


def _post(settings: Settings, form: dict[str, str], *, timeout: float) -> dict[str, Any]:
    """Send the call to the simulator; this is its own path, not Twilio's, so it does not go through the API client."""
    import requests

    credentials = settings.credentials()
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business between here and loopback
        try:
            # In a thread, for the limit is on the whole answer, and the library's is on each wait within it.
            future = start_in_thread(
                lambda: session.post(
                    f"{settings.api_url.rstrip('/')}/simulator/calls",
                    data=form,
                    auth=(credentials.username, credentials.secret),
                    timeout=timeout,
                )
            )
            reply = future.result(timeout)
        except (requests.RequestException, TimeoutError) as error:
            if _is_sent(error):
                late = isinstance(error, requests.Timeout | TimeoutError)
                what = f"did not answer within {timeout:g} s" if late else "broke off before its whole answer came"
                raise _unknown(settings, what) from error
            raise _no_simulator(settings) from error
    try:
        body = read_json(reply.content.decode("utf-8", "replace"))
    except ValueError as error:
        if reply.ok:
            raise _unknown(settings, "sent an answer that can't be read") from error
        raise _no_simulator(settings) from error
    if reply.status_code == 201 and isinstance(body, dict):
        return body
    raise _refusal(reply.status_code, body)


def _is_sent(error: Exception) -> bool:
    """Return whether a request that failed may have been sent."""
    import requests
    from urllib3.exceptions import NewConnectionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    before = requests.ConnectTimeout | requests.exceptions.SSLError | ValueError  # malformed addresses are ValueErrors
    return not (isinstance(error, before) or isinstance(reason, NewConnectionError))


def _no_simulator(settings: Settings) -> NetworkError:
    return NetworkError(f"no simulator answers at {settings.api_url}", hint="is `callctl simulator` running?")


def _unknown(settings: Settings, what: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"the simulator at {settings.api_url} {what}: the call may have come in",
        hint="`callctl list` shows whether it has; --request-timeout waits longer",
    )


def _refusal(status: int, body: object) -> ApiError:
    facts = body if isinstance(body, dict) else {}
    kind = {401: AuthenticationError, 404: NotFoundError}.get(status, ApiError)
    code = str(facts["code"]) if "code" in facts else None
    return kind(
        str(facts.get("message", "the simulator refused the call")),
        status=status,
        code=code,
        more_info=facts.get("more_info"),
        hint=_HINTS.get(code or ""),
    )
