"""``callctl simulator advance``, ``requests``, ``calls``, ``reset`` and ``seed``: a running simulator itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from callctl.cli.io.runtime import Runtime
from callctl.cli.options import common
from callctl.cli.simulator.client import Json, SimulatorClient, Url
from callctl.cli.simulator.show import call_line, request_line, show_list, show_one
from callctl.errors import UsageError
from callctl.support.dates import read_duration, seconds_text
from callctl.views.terminal_safe import printable

POLL_SECONDS = 0.5


def advance(
    ctx: typer.Context,
    duration: Annotated[
        str | None, typer.Argument(metavar="DURATION", help="So long, as 90s.", show_default=False)
    ] = None,
    until_status: Annotated[
        str | None, typer.Option("--until-status", metavar="STATUS", help="Until a call has this status.")
    ] = None,
    call: Annotated[
        str | None, typer.Option("--call", metavar="SID", help="With --until-status: that call, not any.")
    ] = None,
    until_request: Annotated[
        str | None, typer.Option("--until-request", metavar="TEXT", help="Until one with this in method and URL.")
    ] = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Until every call has ended.")] = False,
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="DURATION", help="Go no further; 1h unless set.")
    ] = None,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "2m",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Let a simulator's time pass, and wait for all that is due.

    It must have been started with --clock manual. What is due is every request that
    it makes in that time, and what comes of it.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    until: dict[str, Any] = {"status": until_status, "request": until_request, "idle": until_idle or None}
    until = {name: value for name, value in until.items() if value is not None}
    if (duration is not None) + len(until) != 1:
        raise UsageError(
            "advance by what is missing" if duration is None and not until else "advance by one thing alone",
            hint="one of DURATION, --until-status, --until-request and --until-idle",
        )
    if call is not None and until_status is None:
        raise UsageError("--call goes with --until-status", hint="it says which call is to have the status")
    if limit is not None and duration is not None:
        raise UsageError("--limit does not go with DURATION", hint="it goes with what is waited for")
    if duration is not None:
        body: Json = {"seconds": read_duration(duration, option="DURATION")}
    else:
        body = {"until": until | ({} if call is None else {"call": call})}
        body |= {} if limit is None else {"limit": read_duration(limit, option="--limit")}
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    passed = client.post("/advance", body, changes="time may have been advanced")
    show_one(runtime, passed, f"{seconds_text(passed['at'])} s: {seconds_text(passed['advanced'])} s have passed")


def reset(
    ctx: typer.Context,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Have a simulator begin again, as when it was started.

    Calls that go on are dropped without a callback; numbers, applications, far ends
    and records are as at the start.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    done = client.post("/reset", changes="it may have begun again")
    if runtime.json:
        runtime.write_json(done)
    else:
        runtime.say("callctl: the simulator has begun again")


def seed(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML or, by its name, JSON.")],
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Set a simulator's numbers, applications and far ends from a file.

    What is there already is changed. Where something of it can't be, nothing of it
    is set. docs/simulator.md shows such a file.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    values = _values(runtime, file)
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    made = client.post("/seed", values, changes="it may have been set")
    if runtime.json:
        runtime.write_json(made)
        return
    for number in made["numbers"]:
        runtime.write(printable(f"{number['sid']}  {number['phone_number']}"))
    for application in made["applications"]:
        runtime.write(printable(f"{application['sid']}  {application['friendly_name']}"))


def _values(runtime: Runtime, file: Path) -> Json:
    from callctl.simulator import SeedError, load_seed

    try:
        return load_seed(runtime.cwd / file)
    except SeedError as error:
        raise UsageError(str(error), hint="docs/simulator.md shows such a file") from error


def calls(
    ctx: typer.Context,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Show a simulator's calls, the oldest first.

    With --json each has its timeline and its notifications, too.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    calls = SimulatorClient.find(runtime, url=url, env_file=env_file).get("/calls")["calls"]
    show_list(runtime, calls, map(call_line, calls))


def requests(
    ctx: typer.Context,
    call: Annotated[str | None, typer.Option("--call", metavar="SID", help="Those about this call.")] = None,
    after: Annotated[int, typer.Option("--after", metavar="NUMBER", min=0, help="Those with a greater number.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with those to come, until Ctrl-C.")] = False,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Show the requests that a simulator received and made.

    Each line has its number, the simulated second, and the answer; with --json the
    parameters and the reply, too, of a document the TwiML: an array or, with
    --follow, an object on each line.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    query = {} if call is None else {"call": call.encode("utf-8", "surrogateescape")}  # as it was typed
    answer = client.get("/requests", {**query, "after": str(after)})
    if not follow:
        show_list(runtime, answer["requests"], map(request_line, answer["requests"]))
        return
    while True:
        for record in answer["requests"]:
            show_one(runtime, record, request_line(record))
        run, after = answer["run"], max(after, answer["last"])
        runtime.back_off(POLL_SECONDS)
        answer = client.get("/requests", {**query, "after": str(after)})
        if answer["run"] != run:  # it has begun again, and so have the numbers
            after = 0
            answer = client.get("/requests", query)
