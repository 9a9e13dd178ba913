"""The options of what listens for callbacks, ``watch`` and ``listen``: where it is, what it keeps, what it does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from callctl.cli.io.runtime import Runtime
from callctl.cli.options.callback_url import STATUS_PATH
from callctl.cli.options.checks import check_host
from callctl.cli.options.common import ACT, ADVANCED, KEEP, LISTEN
from callctl.cli.options.listener_checks import (
    check_credentials,
    check_exposure,
    check_forwarding,
    read_public_url,
    warn_of_unserved_urls,
)
from callctl.errors import UsageError, without_secrets
from callctl.settings import ENVIRONMENT, Settings

if TYPE_CHECKING:
    from callctl.watch.options import WatchOptions

LOOPBACK = "127.0.0.1"

Host: TypeAlias = Annotated[
    str, typer.Option("--host", metavar="HOST", help="Listen on this address.", rich_help_panel=LISTEN)
]
Port: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Listen on this port, 0 for any; else CALLCTL_PORT or 8765.",
        rich_help_panel=LISTEN,
    ),
]
PublicUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--public-url",
        metavar="URL",
        help="Where Twilio reaches it; else CALLCTL_PUBLIC_URL.",
        rich_help_panel=LISTEN,
    ),
]
Tunnel: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tunnel",
        metavar="COMMAND",
        help="Run cloudflared, ngrok or a command with {port}.\n\n"
        "The tunnel's address is the one that it prints, once a request has come back through it. CALLCTL_PUBLIC_URL "
        "does not count then; --public-url names an address that is not printed.",
        rich_help_panel=LISTEN,
    ),
]
Unverified: TypeAlias = Annotated[
    bool,
    typer.Option("--unverified", help="Believe callbacks without a signature; each is marked.", rich_help_panel=LISTEN),
]
AcceptForgeries: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--accept-forgeries",
        help="Allow --unverified where others can reach it.",
        rich_help_panel=ADVANCED,
    ),
]
KeepDays: TypeAlias = Annotated[
    int,
    typer.Option(
        "--keep-days",
        metavar="DAYS",
        min=0,
        max=36500,
        help="Delete older events; 0: none are kept.\n\nWith 0, nothing is kept beyond the run. "
        "Where others of the account use the same store, the most days of them all count.",
        rich_help_panel=KEEP,
    ),
]
Serve: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--serve", metavar="NAME=FILE", help="Serve this TwiML at /twiml/NAME; repeatable.", rich_help_panel=ACT
    ),
]
ForwardTo: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--forward-to",
        metavar="URL",
        help="Pass verified requests on; repeatable.\n\nUnchanged, to applications of yours. What one does not take is "
        "sent again for five minutes, and then kept for `callctl replay --failed`. The first one named answers "
        "requests for TwiML.",
        rich_help_panel=ACT,
    ),
]
ForwardInsecure: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--forward-insecure",
        help="Accept any certificate from --forward-to.\n\nOnly on loopback. SSL_CERT_FILE names a CA to trust.",
        rich_help_panel=ADVANCED,
    ),
]


def read_listener_options(
    runtime: Runtime,
    settings: Settings,
    *,
    host: str,
    port: int | None,
    public_url: str | None,
    tunnel: str | None,
    unverified: bool,
    accept_forgeries: bool,
    keep_days: int,
    serve: list[str] | None,
    forward_to: list[str] | None,
    forward_insecure: bool,
    since: timedelta,
) -> WatchOptions:
    """Return what these options say, checked; ``since`` is how far back a start looks.

    Raises:
        UsageError: One is malformed, or they do not go together.
        SettingsError: Credentials are missing, or those of something else.
    """
    from callctl.watch.listener.twiml_responder import Documents
    from callctl.watch.options import WatchOptions

    check_host(host)
    check_credentials(settings, unverified=unverified)
    is_printed = (
        tunnel is not None and public_url is None
    )  # the address, by the tunnel: an option goes before a setting
    options = WatchOptions(
        host=host,
        port=settings.port if port is None else port,
        path=STATUS_PATH,
        public_url=None if is_printed else read_public_url(settings, public_url),
        tunnel=tunnel,
        unverified=unverified,
        forgeries_accepted=accept_forgeries,
        documents=Documents.read_options(serve or [], folder=runtime.cwd),
        forward_to=tuple(dict.fromkeys(forward_to or ())),
        forward_insecure=forward_insecure,
        since=since,
        keep_days=keep_days,
    )
    check_exposure(options)
    check_forwarding(options)
    warn_of_unserved_urls(runtime, options)
    if settings.store_url is not None and keep_days == 0:
        raise UsageError(
            "--keep-days 0 would delete what others keep in the shared store",
            hint="give a number of days, or a file in CALLCTL_STORE",
        )
    if is_printed and settings.public_url is not None:
        runtime.say(
            f"callctl: {settings.named('CALLCTL_PUBLIC_URL')} does not count beside --tunnel, whose address is the one "
            "that it prints; --public-url names another"
        )
    if public_url is None and options.public_url is not None:
        source = settings.sources.get("CALLCTL_PUBLIC_URL", ENVIRONMENT)
        if source != ENVIRONMENT:  # a file, which may be somebody else's where it was found, not named
            shown = without_secrets(options.public_url)
            runtime.say(f"callctl: the public URL is {shown}, from {settings.named('CALLCTL_PUBLIC_URL')}")
    return options
