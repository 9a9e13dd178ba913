"""``callctl watch``: the listener and the live table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from callctl.addresses import is_http_url
from callctl.calls import EVENT_NAMES, Call, CallStatus
from callctl.cli import exits, options
from callctl.cli.callbacks import STATUS_PATH, with_status_path
from callctl.cli.runtime import Form, Runtime
from callctl.errors import SettingsError, UsageError
from callctl.gateway import CallQuery, Gateway
from callctl.settings import Settings

if TYPE_CHECKING:
    from callctl.session import Plan, Ready, View


def watch(
    ctx: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Listen on this port; else 8765.")
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            "--public-url", metavar="URL", help="Where Twilio reaches this listener; else CALLCTL_PUBLIC_URL."
        ),
    ] = None,
    no_poll: Annotated[
        bool, typer.Option("--no-poll", help="Show callbacks only; don't ask REST for calls that send none.")
    ] = False,
    env_file: options.EnvFile = None,
    account_sid: options.AccountSid = None,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Listen for status callbacks and show the live calls as a table of legs."""
    import asyncio

    from callctl.session import Plan

    runtime = options.runtime_of(ctx, json=json, debug=debug)
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    _check_keys(settings)
    plan = Plan(
        host=host,
        port=settings.port if port is None else port,
        path=STATUS_PATH,
        public_url=_public(settings, public_url),
    )
    source = None if no_poll else LiveCalls(runtime.gateway(settings))
    asyncio.run(_watch(runtime, settings, plan, source=source))
    raise typer.Exit(exits.INTERRUPTED)


def _check_keys(settings: Settings) -> None:
    if settings.account_sid is None:
        raise SettingsError(
            "missing credentials: TWILIO_ACCOUNT_SID",
            hint="set it in the environment or a .env file, or try `callctl demo`, which needs no account",
        )
    if not settings.signing_keys:
        raise SettingsError(
            "missing credentials: TWILIO_AUTH_TOKEN, without which no callback can be verified",
            hint="Twilio signs callbacks with the auth token, never with an API key: "
            "set TWILIO_AUTH_TOKEN, or CALLCTL_SIGNING_TOKEN beside an API key",
        )


def _public(settings: Settings, given: str | None) -> str | None:
    url = given or settings.public_url
    if url is None:
        return None
    if not is_http_url(url):
        raise UsageError(f"--public-url is not an http or https address: {url}")
    return with_status_path(url)


@dataclass(frozen=True, slots=True)
class LiveCalls:
    """What the poller asks: the gateway, for the live calls of each status."""

    gateway: Gateway

    def live(self) -> Iterator[Call]:
        """Yield the calls that REST lists as queued, ringing or in progress: a request, or more, for each."""
        for status in (CallStatus.QUEUED, CallStatus.RINGING, CallStatus.IN_PROGRESS):
            yield from self.gateway.list(CallQuery(status=status), limit=None)

    def fetch(self, sid: str) -> Call:
        """Return one call."""
        return self.gateway.fetch(sid)


async def _watch(runtime: Runtime, settings: Settings, plan: Plan, *, source: LiveCalls | None) -> None:
    """Run one watch until Ctrl-C or SIGTERM."""
    from callctl.cli.signals import stop_on_signals
    from callctl.session import Session

    session = Session(settings, plan, now=lambda: datetime.now(UTC), source=source)
    try:
        ready = await session.start_up()
        with stop_on_signals(session.stop):
            await session.run(open_view(runtime, ready))
    finally:
        await session.shut_down()


def open_view(runtime: Runtime, ready: Ready) -> View:
    """Say on stderr how to point Twilio here, and return the view that suits stdout."""
    from callctl.views.jsonl import JsonLinesView
    from callctl.views.lines import LineView

    guide = paste_guide(ready)
    runtime.say(f"callctl: listening on {ready.host}:{ready.port}")
    for line in guide:
        runtime.say(line)
    if runtime.form is Form.JSON:
        lines = JsonLinesView(
            runtime.stdout, extra={} if ready.is_twilio else {"api_url": ready.api_url}, say=runtime.say
        )
        lines.ready(ready.to_json())
        return lines
    if runtime.form is Form.PLAIN:
        return LineView(runtime.stdout, say=runtime.say)
    from callctl.views.live import LiveView

    return LiveView(runtime.console(), idle=["No calls yet.", "", *guide], now=lambda: datetime.now(UTC))


def paste_guide(ready: Ready) -> list[str]:
    """Return what to paste elsewhere so that calls report here; each line short enough for 80 columns."""
    from callctl.twiml import noun_attributes

    return [
        "Calls that `callctl place` places report here by themselves.",
        "For calls placed by your own code, the REST parameters:",
        f"  StatusCallback={ready.callback_url}",
        *(f"  StatusCallbackEvent={event}" for event in EVENT_NAMES),
        "For <Number>, <Sip> and <Client> inside <Dial>, the attributes:",
        *(f"  {attribute}" for attribute in re.findall(r'\w+="[^"]*"', noun_attributes(ready.callback_url))),
    ]
