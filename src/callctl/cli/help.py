"""``callctl help``: the exit codes, the table of settings, the simulator's far ends, and the pages of commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from callctl.cli import exits
from callctl.cli.io.runtime import Form, Runtime
from callctl.errors import UsageError, nearest_word

TOPICS = ("exit-codes", "settings", "far-ends")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: the variable's name, what it means, and what holds where it is not set."""

    name: str
    meaning: str
    default: str = ""


ACCOUNT = (
    Setting("TWILIO_ACCOUNT_SID", "the account to act on"),
    Setting("TWILIO_AUTH_TOKEN", "its auth token: opens the account and verifies callbacks"),
    Setting("TWILIO_API_KEY", "an API key, used for requests in place of the token"),
    Setting("TWILIO_API_SECRET", "the API key's secret"),
    Setting("CALLCTL_SIGNING_TOKEN", "whose token signs callbacks; two while one is rotated", "the auth token"),
    Setting("CALLCTL_API_URL", "another service that speaks Twilio's API, or the simulator", "https://api.twilio.com"),
    Setting("TWILIO_REGION", "Twilio's region, which has tokens of its own", "us1"),
    Setting("TWILIO_EDGE", "Twilio's edge, through which the region is reached", "dublin for ie1, sydney for au1"),
)
OTHERS = (
    Setting("CALLCTL_FROM", "who calls, for `place`"),
    Setting("CALLCTL_URL_NAME", "the URL that `--url name` stands for; may begin with GET or POST"),
    Setting("CALLCTL_PUBLIC_URL", "where Twilio reaches `watch` and `listen`; /status is appended if it has no path"),
    Setting("CALLCTL_PORT", "the port of `watch` and `listen`", "8765"),
    Setting("CALLCTL_STORE", "the file of events, or postgresql://…", "$XDG_STATE_HOME/callctl/events.db"),
)
ENVIRONMENT = (
    Setting("CALLCTL_ENV_FILE", "the settings file, as --env-file names it"),
    Setting("XDG_STATE_HOME", "where the store and the watch's record are", "~/.local/state"),
    Setting("NO_COLOR", "no colours, if it is set"),
)
FAR_ENDS = """\
What the far end does depends on whom you call at the simulator, by number or by
name, such as sip:busy@example.com and client:busy:

  +12025550100  answers    answers after 2 s, as any other number and name
  +12025550101  late       answers after 20 s
  +12025550102  busy       is busy
  +12025550103  no-answer  never answers
  +12025550104  not-found  fails with SIP 404
  +12025550105  hangs-up   answers, and hangs up after 5 s
  +12025550106  voicemail  is a machine, which answers after 4 s
  +12025550107  digits     answers, and presses 1 at each <Gather>

Where Twilio's text leaves open what a call does, `callctl simulator --reading`
takes the other view: cancel-spares-dial-legs, cancel-refused-in-progress,
hang-up-twice, time-limit-alone, empty-recording-falls-through.\
"""
WIDEST, NARROWEST = 120, 60  # columns
_ORDER = (
    "Settings come from the file that --env-file or CALLCTL_ENV_FILE names, then from the environment, then from a "
    ".env in the working directory or above. An option goes before all of them."
)
_SETS = (
    ("The account: taken whole from the first of these that has any of them.", ACCOUNT),
    ("Each by itself:", OTHERS),
    ("From the environment alone:", ENVIRONMENT),
)


def help_(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC", help=f"{', '.join(TOPICS)}, or a command.")
    ] = None,
) -> None:
    """Explain exit codes, settings, far ends, or a command."""
    runtime: Runtime = ctx.obj
    topic = " ".join(words or ())
    if topic == "exit-codes":
        for code, meaning in exits.MEANINGS.items():
            runtime.write(f"{code:>3}  {meaning}")
    elif topic == "settings":
        on_terminal = runtime.form is Form.TABLE
        for line in setting_lines(width=runtime.console().width if on_terminal else WIDEST):
            runtime.write(line)
    elif topic == "far-ends":
        runtime.write(FAR_ENDS)
    else:
        _show_page(topic, runtime)


def _show_page(command: str, runtime: Runtime) -> None:
    """Show a command's page, or the overview."""
    from callctl.cli.commands import every_command
    from callctl.cli.main import app

    names = [name for name, _ in every_command()]
    known = [*TOPICS, *names]
    if command and command not in names:
        close = nearest_word(command, known)
        hint = f"did you mean {close}?" if close else f"one of {', '.join(known)}"
        raise UsageError(f"no such topic: {command}", hint=hint)
    app([*command.split(), "--help"], prog_name="callctl", standalone_mode=False, obj=runtime)
    if not command:
        runtime.write(f"Topics of `callctl help`: {', '.join(TOPICS)}, or a command.")


def setting_lines(*, width: int = WIDEST) -> Iterator[str]:
    """Yield the table as lines of text, each within so many columns."""
    width = min(max(width, NARROWEST), WIDEST)
    yield from _wrapped(_ORDER, width)
    column = max(len(setting.name) for _, group in _SETS for setting in group)
    for title, group in _SETS:
        yield ""
        yield from _wrapped(title, width)
        for setting in group:
            default = f" (else {setting.default})" if setting.default else ""
            text = f"  {setting.name:<{column}}  {setting.meaning}{default}"
            yield from _wrapped(text, width, indent=column + 4)
    yield ""
    yield from _wrapped("`callctl doctor` shows which of them hold here, and where each comes from.", width)


def _wrapped(text: str, width: int, *, indent: int = 0) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
