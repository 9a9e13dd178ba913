"""Commands that are loaded when they are called, so that none waits for the modules of the others."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from callctl.errors import UsageError


class Entry(NamedTuple):
    """One command: its name, the path of its function (``module:function`` under ``callctl.cli``), what it does.

    The examples are below the first sentence of its help. A command with subcommands also works without one.
    ``heading`` is that of the part of the overview which begins with this command; the others have none.
    """

    name: str
    path: str
    summary: str
    examples: tuple[str, str]
    subcommands: tuple[Entry, ...] = ()
    heading: str = ""


# In the order in which help and the README show them, as one story.
CATALOGUE = (
    Entry(
        "demo",
        "demo.command:demo",
        "Show live call control on this machine, in about 20 seconds.",
        ("callctl demo", "callctl demo --keep"),
        heading="Begin",
    ),
    Entry(
        "doctor",
        "doctor:doctor",
        "Check settings, credentials and callback URL, and say what to fix.",
        ("callctl doctor", "callctl doctor --json"),
    ),
    Entry(
        "help",
        "help:help_",
        "Explain exit codes, settings, far ends, or a command.",
        ("callctl help settings", "callctl help exit-codes"),
    ),
    Entry(
        "watch",
        "watch.command:watch",
        "Take status callbacks and show the live calls as a table of legs.",
        ("callctl watch --tunnel cloudflared", "callctl watch --after-dial survey --dry-run"),
        heading="Live calls",
    ),
    Entry(
        "list",
        "list:list_calls",
        "List calls, newest first.",
        ("callctl list --live --tree", "callctl list --since 2h --csv --columns sid,to,duration"),
    ),
    Entry(
        "show",
        "show:show",
        "Show calls, their legs, their timelines, and what went wrong.",
        ("callctl show @last", "callctl show CAxxx CAyyy --json"),
    ),
    Entry(
        "place",
        "place.command:place",
        "Place a call that says a text, runs TwiML, or dials others.",
        ('callctl place +12025550100 --say "Hello"', "callctl place +12025550100 --dial client:ann --then survey"),
    ),
    Entry(
        "redirect",
        "redirect:redirect",
        "Give calls in progress other TwiML, such as a survey.",
        ("callctl redirect @last --url survey --on parent", "callctl redirect CAxxx --family --conference support-7"),
    ),
    Entry(
        "hangup",
        "hangup.command:hangup",
        "End calls, whether queued, ringing or in progress.",
        ("callctl hangup CAxxx", "callctl hangup --all --status ringing --for-longer-than 20s --dry-run"),
    ),
    Entry(
        "wait",
        "wait:wait",
        "Block until a call gets to a status; the exit code says if it did.",
        ("callctl wait @last --for answered", "callctl wait CAxxx --for ended --wait-timeout 5m"),
    ),
    Entry(
        "export",
        "export.command:export",
        "Write what became of calls: a page to show others, a diagram, CSV.",
        ("callctl export @last --web", "callctl export --since 2h --format csv --output -"),
        heading="What happened",
    ),
    Entry(
        "stats",
        "stats.command:stats",
        "Show figures of calls: how many, how fast, and how they ended.",
        ("callctl stats --since 1d", "callctl stats --by to --since 2h --csv"),
    ),
    Entry(
        "replay",
        "replay:replay",
        "Send stored callbacks to an application once more.",
        (
            "callctl replay @last --to http://127.0.0.1:5000/status",
            "callctl replay --since 12h --to http://127.0.0.1:5000/status --speed 10",
        ),
    ),
    Entry(
        "listen",
        "listen.command:listen",
        "Take status callbacks and store them, as a service.",
        (
            "callctl listen --public-url https://tel.example.com --poll --health-port 9100",
            "callctl listen --tunnel cloudflared --poll",
        ),
        heading="A service for a team",
    ),
    Entry(
        "store",
        "store:store",
        "Check the event store, or make the schema of a shared one.",
        ("callctl store check", "callctl store migrate"),
        (
            Entry(
                "check",
                "store:check",
                "Say where events are kept, and whether callctl can work there.",
                ("callctl store check", "callctl store check --json"),
            ),
            Entry(
                "migrate",
                "store:migrate",
                "Make the schema of a shared store, or bring it up to date.",
                ("callctl store migrate", "callctl store migrate --env-file admin.env"),
            ),
        ),
    ),
    Entry(
        "simulator",
        "simulator.command:simulator",
        "Play Twilio's Calls API on this machine: no account, no charge.",
        ("callctl simulator --write-env .env.simulator", "callctl simulator --speed 10"),
        (
            Entry(
                "call",
                "simulator.call:simulator_call",
                "Let a call come in at a running simulator.",
                (
                    "callctl simulator call --to +12025550142 --from client:ann --voice-url in",
                    "callctl simulator call --to +12025550142 --from +12025550107",
                ),
            ),
            Entry(
                "answer",
                "simulator.far_side:answer",
                "Answer a ringing call at its far end.",
                ("callctl simulator answer", "callctl simulator answer CAxxx --json"),
            ),
            Entry(
                "press",
                "simulator.far_side:press",
                "Press keys at the far end of a call.",
                ("callctl simulator press 1", "callctl simulator press CAxxx 12#"),
            ),
            Entry(
                "say",
                "simulator.far_side:say",
                "Say something at the far end of a call.",
                ('callctl simulator say "sales, please"', 'callctl simulator say CAxxx "yes"'),
            ),
            Entry(
                "answers",
                "simulator.far_side:answers",
                "Set what a far end answers to the Gathers to come.",
                ("callctl simulator answers 1 yes", "callctl simulator answers --call CAxxx 2 2"),
            ),
            Entry(
                "hangup",
                "simulator.far_side:hangup",
                "Hang up a call at its far end.",
                ("callctl simulator hangup", "callctl simulator hangup CAxxx"),
            ),
            Entry(
                "far-end",
                "simulator.far_end:far_end",
                "Set what an address does when it is called.",
                ("callctl simulator far-end +12025550150 --outcome busy --after 3s", "callctl simulator far-end"),
            ),
            Entry(
                "advance",
                "simulator.running:advance",
                "Let the time of a simulator pass.",
                ("callctl simulator advance 90s", "callctl simulator advance --until-status completed --limit 10m"),
            ),
            Entry(
                "requests",
                "simulator.running:requests",
                "Show the requests that a simulator received and made.",
                ("callctl simulator requests --follow", "callctl simulator requests --call CAxxx --json"),
            ),
            Entry(
                "calls",
                "simulator.running:calls",
                "Show the calls of a simulator.",
                ("callctl simulator calls", "callctl simulator calls --json"),
            ),
            Entry(
                "reset",
                "simulator.running:reset",
                "Have a simulator begin again.",
                ("callctl simulator reset", "callctl simulator reset --url http://127.0.0.1:8800"),
            ),
            Entry(
                "seed",
                "simulator.running:seed",
                "Set numbers, applications and far ends from a file.",
                ("callctl simulator seed seed.toml", "callctl simulator seed seed.json --json"),
            ),
        ),
        heading="Your own tests",
    ),
)


def every_command() -> Iterator[tuple[str, Entry]]:
    """Yield all commands with what is typed for them: ``simulator``, then ``simulator call``."""
    for entry in CATALOGUE:
        yield entry.name, entry
        for sub in entry.subcommands:
            yield f"{entry.name} {sub.name}", sub


def load(entry: Entry) -> Any:
    """Return a command's function."""
    module, _, function = entry.path.partition(":")
    return getattr(import_module(f"callctl.cli.{module}"), function)


class LazyCommand(TyperCommand):
    """Represents a command in the overview, and is replaced by it as soon as it is called or completed."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, help=entry.summary)
        self._entry, self.heading = entry, entry.heading

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command and let it read its arguments."""
        return self.real.make_context(info_name, args, parent=parent, **extra)

    @cached_property
    def real(self) -> Any:
        """The command itself."""
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        function = load(self._entry)
        text = _with_examples(inspect.getdoc(function) or "", self._entry.examples)
        if not self._entry.subcommands:
            alone.command(self._entry.name, cls=_Command, help=text)(function)
            return typer.main.get_command(alone)
        settings: Any = {"invoke_without_command": True, "subcommand_metavar": "[COMMAND]"}
        alone.callback(cls=_CommandOfSeveral, help=text, **settings)(function)
        group: Any = typer.main.get_group(alone)
        group.name = self._entry.name
        for sub in self._entry.subcommands:
            group.add_command(LazyCommand(sub), sub.name)
        return group


def _with_examples(text: str, examples: Sequence[str]) -> str:
    """Return a help text that opens with its first sentence and the examples."""
    opening, _, rest = text.partition("\n\n")
    return "\n\n".join(filter(None, (opening, "\n".join(examples), rest)))


def _write_page(command: Any, ctx: Any, formatter: Any) -> None:
    from callctl.cli.help_pages import write_page

    write_page(command, ctx, formatter)


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _prepared(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_page(self, ctx, formatter)


class _CommandOfSeveral(TyperGroup):
    """A command that works by itself and has subcommands, which take none of its options."""

    def get_params(self, ctx: Any) -> Any:
        return _prepared(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_page(self, ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the subcommand that is named.

        Raises:
            UsageError: Options come before it, where they would count for nothing.
        """
        resolved = super().resolve_command(ctx, args)
        given = [param.opts[0] for param in self.get_params(ctx) if _is_given(ctx, param)]
        if given and not ctx.resilient_parsing:
            raise UsageError(
                f"{given[0]} comes before {args[0]}, where it would not count",
                hint=f"the options of `{ctx.command_path} {args[0]}` come after it; {given[0]} is one of "
                f"`{ctx.command_path}` alone",
            )
        return resolved


def _is_given(ctx: Any, param: Any) -> bool:
    source = ctx.get_parameter_source(param.name)
    return source is not None and source.name == "COMMANDLINE"


# Options that Typer adds, in the one line that there is for each.
_TYPERS_OWN = {
    "install_completion": "Install completion for this shell.",
    "show_completion": "Print the completion for this shell.",
}


class InterruptedByUserError(Exception):
    """Ctrl-C in a command. Not a KeyboardInterrupt: Typer makes an exit code of that, which `main` does not see."""


class LazyGroup(TyperGroup):
    """The group of all commands in the catalogue."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for entry in CATALOGUE:
            self.add_command(LazyCommand(entry), entry.name)

    def get_params(self, ctx: Any) -> Any:
        """Return the group's own options."""
        params = _prepared(super().get_params(ctx))
        for param in params:
            param.help = _TYPERS_OWN.get(param.name, param.help)
        return params

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the overview."""
        _write_page(self, ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was called.

        Raises:
            InterruptedByUserError: Ctrl-C.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise InterruptedByUserError from interrupt


class _PlainValues:
    """Stands in for Typer's reader of one parameter until there is something to read.

    Typer reads every value with pydantic, also a text that stays a text, and builds a schema for each option to do so.
    That takes longer than a whole hang-up.
    """

    def __init__(self, descriptor: Any, real: Callable[[], Any]) -> None:
        self._annotation = descriptor.annotation
        self._info = descriptor.parameter_info
        self._real = real

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a parameter's value as Typer would.

        Texts, absent values and default numbers are passed on unread; whole numbers in range and paths of files that
        are there are read here.
        """
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if self._annotation is str and isinstance(value, str):
            return value
        if self._annotation == list[str] and isinstance(value, (list, tuple)) and all(map(_is_text, value)):
            return list(value)
        if self._annotation in (int, float) and type(value) is self._annotation and value == param.default:
            return value
        if self._annotation is int and isinstance(value, str) and self._is_number(value):
            return int(value)
        if self._annotation is Path and isinstance(value, str) and _is_readable(value):
            return Path(value)
        return self._real().coerce(value, param=param, ctx=ctx)

    def _is_number(self, text: str) -> bool:
        """Return whether a text is a whole number, written as plainly as can be, that the parameter may have."""
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and (text == "0" or text[0] != "0")):
            return False
        least, most = self._info.min, self._info.max
        return (least is None or int(text) >= least) and (most is None or int(text) <= most)


def _is_readable(path: str) -> bool:
    """Return whether there is a file or folder that can be read: Typer would look at no more, as our options are."""
    return "\0" not in path and os.access(path, os.R_OK)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _prepared(params: list[Any]) -> list[Any]:
    """Return the parameters of a command, each with the one line of its help, and passing on what needs no reading.

    The further paragraphs of the help, which shells would show as well, are put aside.
    """
    for param in params:
        if "in_full" not in vars(param):
            param.help, _, param.in_full = (getattr(param, "help", None) or "").partition("\n\n")
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is not None and "get_runtime_param" not in vars(param):
            stand_in = _PlainValues(descriptor, param.get_runtime_param)
            param.get_runtime_param = lambda stand_in=stand_in: stand_in
    return params
