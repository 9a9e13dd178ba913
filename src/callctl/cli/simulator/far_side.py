"""``callctl simulator answer``, ``press``, ``say``, ``answers`` and ``hangup``: what a far end does in a call.

A call may be left out where there is one alone that it can be done to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from callctl.cli.io.runtime import Runtime
from callctl.cli.options import common
from callctl.cli.simulator.client import Json, SimulatorClient, Url
from callctl.cli.simulator.show import call_line, show_one
from callctl.errors import NotFoundError, UsageError

OneCall = Annotated[
    str | None,
    typer.Argument(metavar="CALL", help="The call's whole SID; left out: the only one.", show_default=False),
]
IS_LIVE = ("queued", "ringing", "in-progress")


def answer(
    ctx: typer.Context,
    call: OneCall = None,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Answer a ringing call at the far end.

    It is one that goes out: of a call that comes in, the document decides.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    sid = call or _only(client, "ringing", lambda each: each["status"] == "ringing" and each["direction"] != "inbound")
    _act(runtime, client, sid, "answer", {})


def hangup(
    ctx: typer.Context,
    call: OneCall = None,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Hang up a call at the far end.

    One that rings is declined or, where it comes in, given up by its caller.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    sid = call or _only(client, "ringing or in progress", lambda each: each["status"] in ("ringing", "in-progress"))
    _act(runtime, client, sid, "hangup", {})


def press(
    ctx: typer.Context,
    given: Annotated[
        list[str], typer.Argument(metavar="[CALL] KEYS", help="The call's whole SID, and keys: 0-9, A-D, #, *.")
    ],
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Press keys at the far end of a call in progress.

    Without CALL it is the only one in progress. Keys that nothing listens for are
    lost.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    call, keys = _one_or_two(given, "KEYS")
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    _act(runtime, client, call or _only_connected(client), "press", {"digits": keys})


def say(
    ctx: typer.Context,
    given: Annotated[
        list[str], typer.Argument(metavar="[CALL] WORDS", help="The call's whole SID, and what is said, in quotes.")
    ],
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Say something at the far end of a call in progress.

    Without CALL it is the only one in progress. A Gather for speech, a Record or a
    conference hears it; else it is lost.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    call, words = _one_or_two(given, "WORDS")
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    _act(runtime, client, call or _only_connected(client), "say", {"words": words})


def answers(
    ctx: typer.Context,
    answer: Annotated[
        list[str], typer.Argument(metavar="ANSWER...", help="Keys, which are pressed, or words; empty: silence.")
    ],
    call: Annotated[
        str | None, typer.Option("--call", metavar="SID", help="The call's whole SID; left out: the only one.")
    ] = None,
    url: Url = None,
    env_file: common.EnvFile = None,
    request_timeout: common.RequestTimeout = "10s",
    json: common.Json = False,
    debug: common.Debug = False,
) -> None:
    """Have a call's far end answer so to one Gather after the other.

    The first that begins from now on gets the first answer.
    """
    runtime = common.runtime_of(ctx, json=json, debug=debug, request_timeout=request_timeout)
    client = SimulatorClient.find(runtime, url=url, env_file=env_file)
    sid = call or _only(client, "live", lambda each: each["status"] in IS_LIVE)
    _act(runtime, client, sid, "answers", {"answers": answer})


def _act(runtime: Runtime, client: SimulatorClient, sid: str, action: str, body: Json) -> None:
    from urllib.parse import quote

    path = f"/calls/{quote(sid, safe='', errors='surrogateescape')}/{action}"
    try:
        call = client.post(path, body, changes="it may have been done")
    except NotFoundError as error:
        error.hint = error.hint or "`callctl simulator calls` shows all; quotes keep several words or keys together"
        raise
    show_one(runtime, call, call_line(call))


def _one_or_two(given: list[str], what: str) -> tuple[str | None, str]:
    if len(given) > 2:
        raise UsageError(f"more than CALL and {what}: {given[2]}", hint="quotes keep several words together")
    return (given[0], given[1]) if len(given) == 2 else (None, given[0])


def _only_connected(client: SimulatorClient) -> str:
    return _only(client, "in progress", lambda each: each["status"] == "in-progress")


def _only(client: SimulatorClient, what: str, fits: Callable[[Json], bool]) -> str:
    """Return the SID of the only call that fits; raise UsageError where there is none, or several."""
    fitting = [each for each in client.get("/calls")["calls"] if fits(each)]
    if len(fitting) == 1:
        return str(fitting[0]["sid"])
    if not fitting:
        raise UsageError(f"no call is {what}", hint="`callctl simulator calls` shows all")
    named = ", ".join(str(each["sid"]) for each in fitting[:3])
    raise UsageError(f"{len(fitting)} calls are {what}: name one, such as {named}", hint="the whole SID is wanted")
