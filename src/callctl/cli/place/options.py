"""What the request to place a call says beside its instructions: the caller, limits, and callbacks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from callctl.calls.call import EVENT_NAMES, is_e164
from callctl.cli.options import completion
from callctl.cli.options.checks import read_ring_limit, read_seconds
from callctl.cli.options.common import CALL, CALLBACKS, words_in
from callctl.errors import UsageError
from callctl.settings import Settings

RingTimeout: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ring-timeout",
        metavar="DURATION",
        help="Twilio's ring limit for TO: 60s unless set.\n\nHow long TO may ring, at most 10m.",
        rich_help_panel=CALL,
    ),
]
TimeLimit: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="DURATION",
        help="Twilio ends the call after this long.",
        rich_help_panel=CALL,
    ),
]
SendDigits: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--send-digits",
        metavar="DIGITS",
        help="Keys to press once it is answered.\n\n0-9 A-D # *, and w, which waits for half a second.",
        rich_help_panel=CALL,
    ),
]
Record: TypeAlias = Annotated[bool, typer.Option("--record", help="Record the call.", rich_help_panel=CALL)]
MachineDetection: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--machine-detection",
        metavar="MODE",
        help="Detect machines: Enable or DetectMessageEnd.\n\n"
        "Twilio tells a person from an answering machine; DetectMessageEnd waits for a machine's beep.",
        rich_help_panel=CALL,
    ),
]
StatusCallback: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--status-callback",
        metavar="URL|none",
        help="Where they go; else to the running watch.\n\n"
        "Without it they go to the running watch, else to CALLCTL_PUBLIC_URL; with none, nowhere.",
        rich_help_panel=CALLBACKS,
    ),
]
Event: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="NAME",
        autocompletion=completion.event_names,
        help=f"{','.join(EVENT_NAMES)}; else all.\n\nRepeat it, or separate them by commas.",
        rich_help_panel=CALLBACKS,
    ),
]

_DIGITS = re.compile(r"[0-9A-Da-d#*wW]{1,32}")  # OAS, SendDigits
_DETECTIONS = ("Enable", "DetectMessageEnd")  # OAS


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the call may ring and how long it may last, in seconds; None leaves it to Twilio."""

    ringing: int | None
    length: int | None


def read_limits(*, ring_timeout: str | None, time_limit: str | None) -> Limits:
    """Read the two limits.

    Raises:
        UsageError: One is no duration, or none that Twilio takes.
    """
    return Limits(
        read_ring_limit(ring_timeout, option="--ring-timeout"), read_seconds(time_limit, option="--time-limit")
    )


def read_caller(settings: Settings, given: str | None, *, to: str) -> str:
    """Return whose number calls: as the option says, else as the settings do.

    Raises:
        UsageError: Nothing says it, the option is empty, or a number would be called by something else, which the API
            refuses (OAS).
    """
    if given is not None and not given.strip():
        raise UsageError("--from names no caller", hint="leave it out to call from CALLCTL_FROM")
    caller = given or settings.from_
    if not caller:
        raise UsageError("no caller: nothing says whose number calls", hint="give --from NUMBER or set CALLCTL_FROM")
    if is_e164(to) and not is_e164(caller):
        name = "--from" if given else settings.named("CALLCTL_FROM")
        raise UsageError(
            f"{name} is not a number in E.164 form: {caller}", hint="calling a number needs one, such as +15005550006"
        )
    return caller


def read_events(given: Sequence[str] | None, *, status_callback: str | None) -> tuple[str, ...]:
    """Return the events that callbacks report, in the order of a call's life: all four unless given.

    Raises:
        UsageError: One is unknown: Twilio would place the call and send no callbacks at all (21626). Or
            no callbacks are to be sent.
    """
    if given is None:
        return EVENT_NAMES
    named = [word.lower() for word in words_in(given)]
    unknown = next((word for word in named if word not in EVENT_NAMES), None)
    if unknown is not None or not named:
        what = "--event names no event" if unknown is None else f"no such event: {unknown}"
        raise UsageError(what, hint=f"the events are {', '.join(EVENT_NAMES)}")
    if status_callback is not None and status_callback.lower() == "none":
        raise UsageError(
            "--event and --status-callback none exclude each other",
            hint="drop --event, or give a URL that is to receive them",
        )
    return tuple(event for event in EVENT_NAMES if event in named)


def read_digits(text: str | None) -> str | None:
    """Return the keys to press.

    Raises:
        UsageError: They are none, or too many.
    """
    if text is None or _DIGITS.fullmatch(text):
        return text
    raise UsageError(f"--send-digits: not keys to press: {text}", hint="at most 32 of 0-9 A-D # *, w for half a second")


def read_detection(text: str | None, *, send_digits: str | None) -> str | None:
    """Return the mode of machine detection in Twilio's spelling.

    Raises:
        UsageError: There is no such mode, or digits are sent, by which Twilio would silently turn it off (OAS).
    """
    if text is None:
        return None
    mode = next((mode for mode in _DETECTIONS if mode.lower() == text.lower()), None)
    if mode is None:
        raise UsageError(
            f"--machine-detection is {' or '.join(_DETECTIONS)}, not {text}",
            hint="DetectMessageEnd waits for the beep of a machine",
        )
    if send_digits is not None:
        raise UsageError(
            "--machine-detection and --send-digits exclude each other",
            hint="Twilio detects nothing when digits are sent",
        )
    return mode
