"""``callctl watch``: the listener and the live table."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from callctl.api.calls_api import CallsApi
from callctl.cli.io.event_loop import allow_many_files, run_loop
from callctl.cli.io.runtime import Form, Runtime
from callctl.cli.options import common, listener
from callctl.cli.options.common import SHOW
from callctl.cli.watch import filters
from callctl.cli.watch import rules as rules_options
from callctl.cli.watch.banner import idle_guide, open_lines, paste_guide, say_where
from callctl.errors import PortTakenError
from callctl.settings import Settings
from callctl.support.clock import Clock
from callctl.support.dates import read_duration, read_start

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter
    from callctl.watch.follower import Follower
    from callctl.watch.options import Ready, WatchOptions
    from callctl.watch.registry.record import WatchRecord
    from callctl.watch.session import MakeRules, Session


def watch(
    ctx: typer.Context,
    host: listener.Host = listener.LOOPBACK,
    port: listener.Port = None,
    public_url: listener.PublicUrl = None,
    tunnel: listener.Tunnel = None,
    unverified: listener.Unverified = False,
    accept_forgeries: listener.AcceptForgeries = False,
    call: filters.Call = None,
    to: filters.To = None,
    from_: filters.From = None,
    status: filters.Status = None,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Begin with the calls touched since.\n\nSo long ago (2h), or a date (2026-01-05, 2026-01-05T14:00Z).",
            rich_help_panel=SHOW,
        ),
    ] = "1h",
    no_poll: Annotated[
        bool,
        typer.Option(
            "--no-poll",
            help="Show callbacks only.\n\nREST is not polled for calls that send none.",
            rich_help_panel=SHOW,
        ),
    ] = False,
    attention: Annotated[
        str,
        typer.Option(
            "--attention",
            metavar="DURATION",
            help="Legs that ring for longer come first.",
            rich_help_panel=SHOW,
        ),
    ] = "30s",
    bell: Annotated[
        bool,
        typer.Option("--bell", help="Ring when a leg starts to need attention.", rich_help_panel=SHOW),
    ] = False,
    read_only: Annotated[
        bool,
        typer.Option("--read-only", help="Have no key change a call.", rich_help_panel=SHOW),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout.", rich_help_panel=SHOW)] = False,
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
    mask_numbers: common.MaskNumbers = False,
    debug: common.Debug = False,
) -> None:
    """Take status callbacks and show the live calls as a table of legs.

    Rules are for calls whose TwiML you don't control, and act only while this
    runs. Those of a file for --rules are TOML:

      [rule.agents-ring]
      when = "ringing"
      for = "20s"
      leg = "child"
      then = "cancel"

    docs/rules.md describes every key, what Twilio does without callctl, and
    what is unproven on live Twilio.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, mask_numbers=mask_numbers)
    history = _history(runtime, since)
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
    watch_options = listener.read_listener_options(
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
        since=history,
    )
    call_filter = filters.read_filter(runtime, settings, call=call, to=to, from_=from_, status=status)
    shown = ShownOptions(
        call_filter=call_filter,
        rings_too_long=timedelta(seconds=read_duration(attention, option="--attention")),
        bell=bell,
        read_only=read_only,
    )
    api = None if no_poll else runtime.client(settings)
    clock = runtime.clock()
    make_rules = rules_options.runner_factory(runtime, settings, options, clock=clock)
    allow_many_files()
    may_follow = make_rules is None and not _is_any_given(ctx, _OF_A_LISTENER)
    code = run_loop(
        runtime,
        _watch(
            runtime,
            settings,
            watch_options,
            clock=clock,
            api=api,
            make_rules=make_rules,
            shown=shown,
            may_follow=may_follow,
        ),
    )
    raise typer.Exit(code)


# Where one of these is given, a watch is to listen by itself.
_OF_A_LISTENER = (
    "host",
    "port",
    "public_url",
    "tunnel",
    "unverified",
    "accept_forgeries",
    "keep_days",
    "serve",
    "forward_to",
    "forward_insecure",
)


def _is_any_given(ctx: typer.Context, names: Sequence[str]) -> bool:
    sources = (ctx.get_parameter_source(name) for name in names)
    return any(source is not None and source.name == "COMMANDLINE" for source in sources)


@dataclass(frozen=True, slots=True)
class ShownOptions:
    """What is shown, and how; ``read_only``: no key changes a call."""

    call_filter: CallFilter | None
    rings_too_long: timedelta
    bell: bool
    read_only: bool


def _history(runtime: Runtime, since: str) -> timedelta:
    """Return how far back the store's events are shown."""
    now = runtime.now()
    return max(now - read_start(since, now=now, option="--since"), timedelta())


async def _watch(
    runtime: Runtime,
    settings: Settings,
    watch_options: WatchOptions,
    *,
    clock: Clock,
    api: CallsApi | None,
    make_rules: MakeRules | None,
    shown: ShownOptions,
    may_follow: bool,
) -> int:
    """Run one watch until Ctrl-C or SIGTERM; where another one holds the port, follow that. Return the exit code.

    ``may_follow``: follow a ``callctl listen`` of this account too, whatever its port.
    """
    from callctl.support.threads import run_in_thread
    from callctl.watch.follower import Follower
    from callctl.watch.options import WatchAtPortError
    from callctl.watch.registry import registry
    from callctl.watch.session import Session

    services = await run_in_thread(lambda: registry.services(settings)) if may_follow else []
    if services:
        _say_where_nothing_shows(runtime, settings, services[0])
        return await _show(
            runtime, settings, Follower(settings, watch_options, services[0], clock=clock), shown, clock=clock
        )
    if watch_options.tunnel is not None:
        from callctl.watch.tunnel.command import name_of

        runtime.say(f"callctl: starting the tunnel: {name_of(watch_options.tunnel)}")
    try:
        session = Session(settings, watch_options, clock=clock, api=api, make_rules=make_rules, say=runtime.say)
        return await _show(runtime, settings, session, shown, clock=clock)
    except WatchAtPortError as error:
        if watch_options.acts:
            why = "which can only be followed: no --serve, --tunnel or --forward-to"
            raise PortTakenError(f"{error.message}, {why}", hint=error.hint) from error
        if make_rules is not None:
            runtime.say(f"callctl: no rules here: this only follows the {error.record.noun} that holds the port")
        _say_where_nothing_shows(runtime, settings, error.record)
        return await _show(
            runtime, settings, Follower(settings, watch_options, error.record, clock=clock), shown, clock=clock
        )


def _say_where_nothing_shows(runtime: Runtime, settings: Settings, record: WatchRecord) -> None:
    """Say that one that is to be followed keeps events in a database, and these settings don't say in which."""
    from callctl.cli.options.another_store import say_another_store
    from callctl.watch.registry.registry import keeps_another_store

    if not record.store and keeps_another_store(settings, record):
        say_another_store(runtime, settings, record)


async def _show(
    runtime: Runtime, settings: Settings, session: Session | Follower, shown: ShownOptions, *, clock: Clock
) -> int:
    """Start, run and shut down, whatever happens in between; return the exit code."""
    import asyncio

    from callctl.cli.io.signals import stop_on_signals
    from callctl.watch.session import DRAIN_LIMIT, SHUT_DOWN_LIMIT, Session, prepare_to_serve

    with stop_on_signals(session.stop) as stopped:
        try:
            ready = await session.start_up()
            prepare_to_serve()
            guide = say_where(runtime, ready, call_filter=shown.call_filter)
            if runtime.form is Form.TABLE:
                await _run_table(runtime, settings, session, ready, clock=clock, shown=shown, guide=guide)
            else:
                await session.run(open_lines(runtime, ready, call_filter=shown.call_filter))
        except asyncio.CancelledError:
            pass  # stopped while it was starting
        finally:
            if isinstance(session, Session) and session.drains and stopped.number == signal.SIGTERM:
                await session.shut_down(limit=SHUT_DOWN_LIMIT + DRAIN_LIMIT)
            else:
                await session.shut_down()
    return stopped.exit_code


async def _run_table(
    runtime: Runtime,
    settings: Settings,
    session: Session | Follower,
    ready: Ready,
    *,
    clock: Clock,
    shown: ShownOptions,
    guide: Sequence[str],
) -> None:
    from callctl.cli.watch.table import open_table
    from callctl.views.live.screen import TableOptions
    from callctl.watch.follower import Follower

    options = TableOptions(
        idle=["No calls yet.", "", *idle_guide(ready, guide)],
        paste_guide=paste_guide(ready),
        rings_too_long=shown.rings_too_long,
        bell=shown.bell,
        masks_numbers=runtime.masks_numbers,
    )
    opened = open_table(
        runtime,
        lambda: session.settings if isinstance(session, Follower) else settings,
        options,
        clock=clock,
        listens=not ready.follows,
        read_only=shown.read_only,
        stop=session.stop,
        call_filter=shown.call_filter,
    )
    with opened.suspendable(), runtime.beside_table(session.note):
        await session.run(opened.view)
