"""``callctl simulator``: Twilio's Calls API on loopback, without account or charge."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callctl.cli.io.event_loop import allow_many_files, run_loop
from callctl.cli.io.runtime import Runtime
from callctl.cli.options import common
from callctl.cli.options.checks import check_host
from callctl.cli.simulator.env_file import (
    DEFAULT_PORT,
    DEFAULT_PROXY_PORT,
    env_lines,
    settings_to_use,
    settings_with_key,
    write_settings,
)
from callctl.cli.simulator.log import log_traffic
from callctl.errors import CallctlError, PortTakenError, UsageError
from callctl.support.dates import read_duration

if TYPE_CHECKING:
    from callctl.simulator import Simulator

KEEP_RECORDS = 2000
SEED_HINT = "docs/simulator.md shows such a file"


def simulator(
    ctx: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Listen on this port; 0 for a free one.")
    ] = DEFAULT_PORT,
    write_env: Annotated[
        Path | None, typer.Option("--write-env", metavar="FILE", help="Write the settings to use it to this file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --write-env replace a file.")] = False,
    account_sid: Annotated[
        str | None, typer.Option("--account-sid", metavar="SID", help="The account it simulates.")
    ] = None,
    auth_token: Annotated[
        str | None, typer.Option("--auth-token", metavar="TOKEN", help="Its auth token, which signs callbacks.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", metavar="SID", help="Its API key; given, it is among the settings.")
    ] = None,
    api_secret: Annotated[str | None, typer.Option("--api-secret", metavar="SECRET", help="The key's secret.")] = None,
    clock: Annotated[
        str, typer.Option("--clock", metavar="KIND", help="manual: time passes by advance alone.")
    ] = "real",
    seed_file: Annotated[
        Path | None, typer.Option("--seed-file", metavar="FILE", help="TOML: numbers, applications and far ends.")
    ] = None,
    far_end: Annotated[
        Path | None, typer.Option("--far-end", metavar="FILE", help="TOML: what other addresses do when called.")
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", metavar="FACTOR", min=0.01, help="Shorten the waits, not time stamps.")
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="NUMBER", help="Make every random choice again, SIDs too.")
    ] = None,
    reading: Annotated[
        list[str] | None,
        typer.Option("--reading", metavar="NAME", help="Another reading of Twilio's text; repeatable."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail a call that uses what is not imitated.")] = False,
    cookies: Annotated[
        bool, typer.Option("--cookies", help="Return an application's cookies; unproven for calls.")
    ] = False,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Let callbacks overtake each other.")] = False,
    duplicate: Annotated[
        str, typer.Option("--duplicate", metavar="SHARE", help="Send this share of callbacks twice, as 10%.")
    ] = "0",
    drop: Annotated[
        str, typer.Option("--drop", metavar="SHARE", help="Lose this share of the callbacks, as 5%.")
    ] = "0",
    delay: Annotated[
        str, typer.Option("--delay", metavar="SPAN", help="Delay callbacks by this much, as 2s or 0s-3s.")
    ] = "0s",
    latency: Annotated[
        str, typer.Option("--latency", metavar="DURATION", help="Answer API requests this late, as 100ms.")
    ] = "0s",
    lag: Annotated[
        str, typer.Option("--lag", metavar="DURATION", help="Show changes in the API this late, as 500ms.")
    ] = "0s",
    cps: Annotated[
        float, typer.Option("--cps", metavar="NUMBER", min=0, help="Dial so many calls a second; queue others.")
    ] = 0.0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="NUMBER", min=0, help="Answer 429 to more API requests at once.")
    ] = 0,
    keep_finished: Annotated[
        int, typer.Option("--keep-finished", metavar="NUMBER", min=0, help="Remember so many ended calls.")
    ] = 10_000,
    dialect: Annotated[
        str, typer.Option("--dialect", metavar="NAME", help="Answer as somleng or signalwire do.")
    ] = "twilio",
    base_path: Annotated[
        str, typer.Option("--base-path", metavar="PATH", help="Serve the API below this path, as /api/laml.")
    ] = "",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Fetch from, and send to, other machines too.")
    ] = False,
    proxy: Annotated[
        bool,
        typer.Option(
            "--proxy",
            help="Be an HTTPS proxy for api.twilio.com, too.\n\n"
            "An application in any language uses it unmodified, by the variables that are printed besides. Needs "
            "callctl[proxy].",
        ),
    ] = False,
    proxy_port: Annotated[
        int | None,
        typer.Option(
            "--proxy-port",
            metavar="PORT",
            min=0,
            max=65535,
            help=f"The proxy's port; {DEFAULT_PROXY_PORT} unless set, 0 for a free one.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="HOST", help="Let the proxy lead to this host, too; repeatable."),
    ] = None,
    log: Annotated[str, typer.Option("--log", metavar="WHEN", help="Show requests: always, never.")] = "terminal",
    debug: common.Debug = False,
) -> None:
    """Simulate Twilio's live calls on this machine: no account, no charge.

    It runs TwiML and sends signed callbacks. Whom to call: callctl help far-ends.
    """
    from callctl.simulator import Faults, MissingLibraryError, PortInUseError, SeedRefusedError, SimulatorError

    if ctx.invoked_subcommand is not None:
        return
    runtime = common.runtime_of(ctx, debug=debug)
    check_host(host)
    _check_goes_with_proxy(proxy, {"--proxy-port": proxy_port, "--allow-host": allow_host})
    allow_many_files()
    credentials = {
        "account_sid": account_sid,
        "auth_token": auth_token,
        "api_key": api_key,
        "api_secret": api_secret,
    }
    served = _create(
        **{name: value for name, value in credentials.items() if value is not None},
        host=host,
        port=port,
        manual_clock=_is_manual(clock),
        seed_file=None if seed_file is None else runtime.cwd / seed_file,
        far_end=_far_ends(runtime, far_end),
        speed=speed,
        seed=seed,
        readings=reading or [],
        strict=strict,
        cookies=cookies,
        faults=Faults(shuffle, _share("--duplicate", duplicate), _share("--drop", drop), _span("--delay", delay)),
        latency=read_duration(latency, option="--latency"),
        lag=read_duration(lag, option="--lag"),
        cps=cps,
        concurrency=concurrency,
        keep_finished=keep_finished,
        keep_records=KEEP_RECORDS,
        dialect=dialect,
        base_path=base_path.rstrip("/"),
        allow_remote=allow_remote,
        proxy=proxy,
        proxy_port=DEFAULT_PROXY_PORT if proxy and proxy_port is None else proxy_port or 0,
        allow_hosts=allow_host or [],
        on_traffic=ctx.with_resource(log_traffic(runtime, when=log)),
    )
    try:
        read = settings_to_use if api_key is None and api_secret is None else settings_with_key
        work = _serve(
            runtime,
            served,
            read_settings=read,
            write_env=write_env,
            force=force,
            exposed=host,
            has_proxy=proxy,
            is_manual=clock == "manual",
        )
        code = run_loop(runtime, work)
    except PortInUseError as error:
        chosen = "--port chooses another port" if not proxy else "--port and --proxy-port choose others"
        hint = f"another simulator may be running there; {chosen}, 0 a free one"
        raise PortTakenError(str(error), hint=hint) from error
    except MissingLibraryError as error:
        raise CallctlError(error.message, hint=error.hint) from error
    except SeedRefusedError as error:
        raise UsageError(f"{seed_file}: {error}", hint=SEED_HINT) from error
    except SimulatorError as error:
        raise CallctlError(str(error), hint="--host says where to listen, --port at which port") from error
    raise typer.Exit(code)


def _check_goes_with_proxy(proxy: bool, options: Mapping[str, object]) -> None:
    """Raise UsageError for an option of the proxy's where there is none."""
    for option, value in options.items():
        if value is not None and not proxy:
            raise UsageError(f"{option} goes with --proxy", hint="see `callctl simulator --help`")


def _create(**chosen: Any) -> Simulator:
    from callctl.simulator import SeedError, Simulator

    try:
        return Simulator(**chosen)
    except SeedError as error:
        raise UsageError(str(error), hint=SEED_HINT) from error
    except ValueError as error:
        raise UsageError(str(error), hint="see `callctl simulator --help`") from error


async def _serve(
    runtime: Runtime,
    served: Simulator,
    *,
    read_settings: Callable[[Simulator], dict[str, str]],
    write_env: Path | None,
    force: bool,
    exposed: str,
    has_proxy: bool,
    is_manual: bool,
) -> int:
    """Run the simulator until it is stopped, and return the exit code."""
    import asyncio

    from callctl.cli.io.signals import stop_on_signals

    stopping = asyncio.Event()
    with stop_on_signals(stopping.set) as stopped:
        async with served as running:
            settings = read_settings(running)
            if has_proxy:
                settings |= running.proxy_env
            if write_env is not None:
                write_settings(runtime.cwd / write_env, settings, force=force)
            _show_settings(runtime, settings, write_env, exposed=exposed, has_proxy=has_proxy, is_manual=is_manual)
            await stopping.wait()
    return stopped.exit_code


def _show_settings(
    runtime: Runtime,
    settings: Mapping[str, str],
    write_env: Path | None,
    *,
    exposed: str,
    has_proxy: bool,
    is_manual: bool,
) -> None:
    """Print the settings as data and, on stderr, how to use them."""
    runtime.say("SIMULATED: no calls are placed. The settings to use it:")
    for line in env_lines(settings):
        runtime.write(line)
    if write_env is not None:
        file = shlex.quote(str(write_env))
        runtime.say(f"In another terminal: callctl watch --env-file {file}")
        runtime.say(f'Then: export CALLCTL_ENV_FILE={file}; callctl place +12025550100 --say "Hello"')
    else:
        runtime.say("Put them into a file with --write-env .env.simulator, and name it with --env-file.")
    if is_manual:
        runtime.say("Its time stands still until it is advanced: callctl simulator advance 10s, or --until-idle")
    runtime.say(f"Its calls and their requests, in a browser: {settings['CALLCTL_API_URL']}/simulator/")
    if has_proxy:
        file = shlex.quote(os.path.join(".", write_env or ".env.simulator"))  # noqa: PTH118 - `.` wants the `./`
        runtime.say(f"For an application in any language, as it is: set -a; . {file}; set +a; then start it there")
    runtime.say("For Twilio's Python library: client.api.base_url = the value of CALLCTL_API_URL")
    runtime.say("Whom to call for which far end: callctl help far-ends. Ctrl-C ends it.")
    if exposed not in ("127.0.0.1", "::1", "localhost"):
        runtime.say(f"callctl: it listens on {exposed}: who reaches this machine and knows the token can use it")
        if has_proxy:
            runtime.say("callctl: its proxy leads everybody to the hosts that --allow-host names, without a token")


def _is_manual(clock: str) -> bool:
    if clock not in ("manual", "real"):
        raise UsageError(f"--clock has no such kind: {clock}", hint="manual, or real")
    return clock == "manual"


def _far_ends(runtime: Runtime, path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    from callctl.simulator import FarEndError, load_far_ends

    try:
        return load_far_ends(runtime.cwd / path)
    except FarEndError as error:
        raise UsageError(str(error), hint="docs/simulator.md shows such a file") from error


def _span(option: str, text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    span = read_duration(low, option=option), read_duration(high if dash else low, option=option)
    if span[0] > span[1]:
        raise UsageError(f"{option} ends before it begins: {text}", hint="such as 0s-3s")
    return span


def _share(option: str, text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{option} is no share: {text}", hint="such as 10%, or 0.1")
    return share
