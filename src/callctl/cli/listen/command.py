"""``callctl listen``: takes status callbacks in without showing any calls, for a service manager to run."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import typer

from callctl.cli.io.event_loop import allow_many_files, run_loop
from callctl.cli.io.runtime import Runtime
from callctl.cli.io.streams import LossyStream
from callctl.cli.options import common, listener
from callctl.cli.options.callback_url import with_retries_to_paste
from callctl.cli.options.checks import check_host
from callctl.cli.options.common import LISTEN, MONITOR
from callctl.cli.watch import rules as rules_options
from callctl.cli.watch.banner import json_lines_view, say_where
from callctl.errors import UsageError, without_secrets
from callctl.settings import Settings

if TYPE_CHECKING:
    from callctl.api.calls_api import CallsApi
    from callctl.support.clock import Clock
    from callctl.views.view import View
    from callctl.watch.monitoring import MonitoringAddress
    from callctl.watch.options import Ready, WatchOptions
    from callctl.watch.session import MakeRules

# What rules see at the start, and what is compared with REST, is this old at most.
_SINCE = timedelta(hours=1)


def listen(
    ctx: typer.Context,
    host: listener.Host = listener.LOOPBACK,
    port: listener.Port = None,
    public_url: listener.PublicUrl = None,
    tunnel: listener.Tunnel = None,
    unverified: listener.Unverified = False,
    accept_forgeries: listener.AcceptForgeries = False,
    poll: Annotated[
        bool,
        typer.Option(
            "--poll",
            help="Poll REST too.\n\nFor calls that send no callbacks, and for the ends of those whose callbacks were "
            "lost. Watches that follow don't poll.",
            rich_help_panel=LISTEN,
        ),
    ] = False,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port",
            metavar="PORT",
            min=0,
            max=65535,
            help="Answer /healthz, /readyz and /metrics here.\n\n"
            "/healthz: it is alive. /readyz: it listens, and the store can be written; else 503. /metrics needs "
            "callctl[metrics]. 0 for any port.",
            rich_help_panel=MONITOR,
        ),
    ] = None,
    health_host: Annotated[
        str | None,
        typer.Option(
            "--health-host",
            metavar="HOST",
            help="At this address; else on loopback.",
            rich_help_panel=MONITOR,
        ),
    ] = None,
    keep_days: listener.KeepDays = 30,
    serve: listener.Serve = None,
    forward_to: listener.ForwardTo = None,
    forward_insecure: listener.ForwardInsecure = False,
    hangup_ringing_after: rules_options.RingLimit = None,
    after_dial: rules_options.AfterDial = None,
    max_duration: rules_options.MaxDuration = None,
    rules: rules_options.RulesFile = None,
    dry_run: rules_options.DryRun = False,
    cut_answered: rules_options.CutAnswered = False,
    all_calls: rules_options.AllCalls = False,
    settle: rules_options.Settle = None,
    max_actions: rules_options.MaxActions = None,
    env_file: common.EnvFile = None,
    account_sid: common.AccountSid = None,
    json: Annotated[
        bool, typer.Option("--json", help="Write the log, on stderr, as JSON Lines.", rich_help_panel=MONITOR)
    ] = False,
    debug: common.Debug = False,
) -> None:
    """Take status callbacks and store them, as a service.

    What goes wrong is a line on stderr. Each `callctl watch` beside it, started
    without options, follows it, with all keys. SIGTERM has it answer what is
    under way and end with exit code 0.

    docs/deploy.md describes systemd, a proxy in front, and what to watch.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug)
    runtime.json_messages = json
    settings = runtime.settings(env_file=env_file, overrides={"TWILIO_ACCOUNT_SID": account_sid})
    options = rules_options.RuleOptions(
        hangup_ringing_after=hangup_ringing_after,
        after_dial=after_dial,
        max_duration=max_duration,
        rules=rules,
        dry_run=dry_run,
        cut_answered=cut_answered,
        all_calls=all_calls,
        settle=settle,
        max_actions=max_actions,
    )
    options.check(unverified=unverified)
    listener_options = replace(
        listener.read_listener_options(
            runtime,
            settings,
            host=host,
            port=port,
            public_url=public_url,
            tunnel=tunnel,
            unverified=unverified,
            accept_forgeries=accept_forgeries,
            keep_days=keep_days,
            serve=serve,
            forward_to=forward_to,
            forward_insecure=forward_insecure,
            since=_SINCE,
        ),
        title="listen",
        is_service=True,
        monitoring=_monitoring(health_host, health_port),
    )
    api = runtime.client(settings) if poll else None
    clock = runtime.clock()
    make_rules = rules_options.runner_factory(runtime, settings, options, clock=clock)
    allow_many_files()
    code = run_loop(runtime, _listen(runtime, settings, listener_options, clock=clock, api=api, make_rules=make_rules))
    raise typer.Exit(code)


def _monitoring(host: str | None, port: int | None) -> MonitoringAddress | None:
    from callctl.watch.monitoring import MonitoringAddress

    if port is None:
        if host is not None:
            raise UsageError("--health-host goes with --health-port", hint="give the port as well, 0 for any")
        return None
    host = listener.LOOPBACK if host is None else host
    check_host(host, option="--health-host")
    return MonitoringAddress(host, port)


async def _listen(
    runtime: Runtime,
    settings: Settings,
    options: WatchOptions,
    *,
    clock: Clock,
    api: CallsApi | None,
    make_rules: MakeRules | None,
) -> int:
    """Run until a signal: SIGTERM lets what is under way be answered. Return the exit code."""
    import asyncio

    from callctl.cli.io.signals import stop_on_signals
    from callctl.cli.listen.service_manager import READY, STOPPING, notify
    from callctl.watch.session import DRAIN_LIMIT, SHUT_DOWN_LIMIT, Session, prepare_to_serve

    if options.tunnel is not None:
        from callctl.watch.tunnel.command import name_of

        runtime.say(f"callctl: starting the tunnel: {name_of(options.tunnel)}")
    session = Session(settings, options, clock=clock, api=api, make_rules=make_rules, say=runtime.say)
    with stop_on_signals(session.stop) as stopped:
        try:
            ready = await session.start_up()
            prepare_to_serve()
            log = _log(runtime, ready)
            notify(runtime.environ, READY)
            await session.run(log)
        except asyncio.CancelledError:
            pass  # stopped while it was starting
        finally:
            notify(runtime.environ, STOPPING)
            drains = stopped.number == signal.SIGTERM
            await session.shut_down(limit=SHUT_DOWN_LIMIT + (DRAIN_LIMIT if drains else 0))
    return stopped.exit_code


def _log(runtime: Runtime, ready: Ready) -> View:
    """Say where it listens, and return what writes the log: in a thread, for nobody may read it."""
    from callctl.views.lines import LineView
    from callctl.views.log import LogView
    from callctl.views.threaded_view import ThreadedView

    if not runtime.json:
        say_where(runtime, ready, call_filter=None, command="listen")
        # Its messages go through ``say``: nothing is written to the stream, which is flushed.
        log = LossyStream(runtime.stderr, say=lambda _text: None, is_log=True)
        return ThreadedView(LogView(LineView(cast(TextIO, log), say=runtime.say)))
    api_url = None if ready.is_twilio else ready.api_url
    lines = json_lines_view(runtime, runtime.stderr, api_url=api_url, is_log=True)
    lines.ready({**ready.to_json(), "status_callback": without_secrets(with_retries_to_paste(ready))})
    return ThreadedView(LogView(lines))
