"""The Typer application and ``main``: the one place where errors become exit codes."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.exceptions import TyperException

from callctl import __version__, errors
from callctl.cli import exits
from callctl.cli.commands import InterruptedByUserError, LazyGroup
from callctl.cli.io.ending import command_is_over
from callctl.cli.io.runtime import Runtime
from callctl.cli.io.streams import OutputError, ReaderGoneError, discard_buffer
from callctl.errors import without_secrets

# Seconds that the last word of an interrupted command may take to be written.
INTERRUPTED_LIMIT = 1.0

# The commands are in cli/commands.py, which loads each when it is called.
app = typer.Typer(
    name="callctl",
    cls=LazyGroup,
    help="Live call control for Twilio: place, watch, redirect and hang up calls.",
    epilog="No account yet? `callctl demo` shows it all on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"callctl {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str], *, runtime: Runtime | None = None) -> int:
    """Run one command line and return its exit code."""
    runtime = runtime or Runtime.of_process()
    try:
        return _run(argv, runtime)
    except ReaderGoneError:
        discard_buffer(runtime.stdout)  # `callctl list | head`: the reader has seen enough
        return exits.DONE
    except (InterruptedByUserError, KeyboardInterrupt):
        _say_interrupted(runtime)
        return exits.INTERRUPTED
    finally:
        command_is_over()
        if runtime.reads_keys:
            from callctl.support.terminal import drop_input

            drop_input(runtime.stdin.fileno())  # what was typed while it ended is not for the shell


def _say_interrupted(runtime: Runtime) -> None:
    """Say so where it is read at once: a terminal that nobody reads must not keep the program from ending."""
    from callctl.support.threads import run_with_time_limit

    with suppress(OSError, TimeoutError, errors.NoThreadError):  # OSError: a terminal that is gone
        run_with_time_limit(INTERRUPTED_LIMIT, lambda: runtime.say("callctl: interrupted"))


@cache
def _command_line() -> Any:
    return typer.main.get_command(app)


def _run(argv: Sequence[str], runtime: Runtime) -> int:
    try:
        result = _command_line()(list(argv), prog_name="callctl", standalone_mode=False, obj=runtime)
        runtime.stdout.flush()  # now, while a full disk can still be reported
    except errors.CallctlError as error:
        if isinstance(error, OutputError):
            discard_buffer(runtime.stdout)
        if runtime.debug:
            runtime.say(without_secrets(traceback.format_exc().rstrip()))
        code = exits.code_for(error)
        runtime.write_error(error, code=code)
        return code
    except typer.Abort as abort:
        raise KeyboardInterrupt from abort
    except TyperException as error:
        return _report_usage_error(error, argv, runtime)
    except SystemExit:  # Typer's, once completion is installed
        if "--install-completion" in argv:
            from callctl.cli.options.completion import complete_scripts

            complete_scripts(Path.home())  # where Typer wrote
        raise
    return result if isinstance(result, int) else exits.DONE


# What other commands have, and one's own spelling of it. What Typer would propose by likeness is something else.
_INSTEAD: Final = {
    ("callctl hangup", "--live"): "`callctl hangup --all` ends live calls alone",
    ("callctl export", "--csv"): "--format csv writes a row for each leg",
    ("callctl export", "--json"): "--format json writes an object for each call",
    ("callctl stats", "--format"): "--csv and --json write it for programs",
    ("callctl list", "--format"): "--csv and --json write it for programs",
    ("callctl show", "--format"): "--csv and --json write it for programs",
}


def _report_usage_error(error: TyperException, argv: Sequence[str], runtime: Runtime) -> int:
    context = getattr(error, "ctx", None)
    message = getattr(error, "format_message", lambda: str(error))()
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message)  # it is the page
        return exits.USAGE
    runtime.json = "--json" in argv
    path = context.command_path if context is not None else "callctl"
    hint = f"see `{path} --help`"
    option = getattr(error, "option_name", None) or ""
    if instead := _INSTEAD.get((path, option)):
        message, hint = f"No such option: {option}", f"{instead}; {hint}"
    runtime.write_error(errors.UsageError(message, hint=hint), code=exits.USAGE)
    return exits.USAGE
