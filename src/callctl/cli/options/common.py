"""Options that several commands share, so that they are spelled and explained alike, and the headings of help pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from callctl.cli.io.runtime import Runtime
from callctl.errors import UsageError

# The headings under which help pages show the options.
INSTRUCTIONS = "What the call does"
DIALLING = "With --dial"
CALL = "The call"
CALLBACKS = "Status callbacks"
WAITING = "Waiting"
WHICH = "Which calls"
HOW = "How they are ended"
OUTPUT = "Output"
LISTEN, SHOW, KEEP, ACT, MONITOR = "Listen", "Show", "Keep", "Act", "Monitor"
ADVANCED = "Advanced"

EnvFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="FILE", help="Take settings from this file before the environment."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
Debug: TypeAlias = Annotated[
    bool, typer.Option("--debug", help="Show a traceback when something goes wrong.", rich_help_panel=ADVANCED)
]
MaskNumbers: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--mask-numbers",
        help="Show numbers and names as +1202***42, a***t.\n\n"
        "Of a number the first four digits at most and the last two are shown, of a name, a SIP user and a client the "
        "first letter and the last. The same number has the same mask. SIDs stay whole. Messages on stderr are masked "
        "as well.",
    ),
]
AccountSid: TypeAlias = Annotated[
    str | None, typer.Option("--account-sid", metavar="SID", help="Act on this (sub)account.")
]
RequestTimeout: TypeAlias = Annotated[
    str,
    typer.Option(
        "--request-timeout",
        metavar="DURATION",
        help="Limit of each request to the API.",
        rich_help_panel=ADVANCED,
    ),
]
WaitTimeout: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--wait-timeout",
        metavar="DURATION",
        help="At most so long, then exit code 9; else for ever.",
        rich_help_panel=WAITING,
    ),
]

# What can be waited for, as help says it: those of operations.waiting.
GOALS = "ringing, in-progress (or answered), ended, or one end: completed, busy, no-answer, failed, canceled"
EMPTY = "(nothing)"  # how messages show a value that is empty, as a script's variable may be
_SHORTEST_REQUEST = 0.1  # seconds
_LONGEST_REQUEST = 86_400.0  # seconds; sockets know no endless ones
MOST = 1_000_000_000  # calls; a number beyond it means as many


def runtime_of(
    ctx: typer.Context,
    *,
    json: bool = False,
    csv: bool = False,
    debug: bool = False,
    request_timeout: str | None = None,
    mask_numbers: bool = False,
) -> Runtime:
    """Return the runtime that ``main`` put into the context, with the options that every command has.

    Raises:
        UsageError: ``request_timeout`` is no duration, or too short for any request.
    """
    runtime = ctx.obj
    if not isinstance(runtime, Runtime):
        raise TypeError("the command line was started without a runtime")
    runtime.json, runtime.csv = json, csv
    runtime.debug = debug
    runtime.masks_numbers = mask_numbers
    if request_timeout is not None:
        from callctl.support.dates import read_duration

        seconds = read_duration(request_timeout, option="--request-timeout")
        if seconds < _SHORTEST_REQUEST:
            raise UsageError(
                f"--request-timeout is too short: {request_timeout}", hint=f"at least {_SHORTEST_REQUEST * 1000:g}ms"
            )
        runtime.request_timeout = min(seconds, _LONGEST_REQUEST)
    return runtime


def words_in(given: Sequence[str]) -> list[str]:
    """Return the words of an option that may be repeated and may hold several, with commas between them."""
    return [word.strip() for text in given for word in text.split(",") if word.strip()]
