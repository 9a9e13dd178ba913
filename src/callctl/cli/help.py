"""``callctl help``: what no single command's help page is the place for."""

from __future__ import annotations

from typing import Annotated

import typer

from callctl.cli import exits, help_settings
from callctl.cli.io.runtime import Form, Runtime
from callctl.errors import UsageError
from callctl.support.nearest import nearest

TOPICS = ("exit-codes", "settings")


def help_(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="TOPIC", help=f"{', '.join(TOPICS)}, or a command.")
    ] = None,
) -> None:
    """Explain the exit codes, the settings, or a command."""
    runtime: Runtime = ctx.obj
    topic = " ".join(words or ())
    if topic == "exit-codes":
        for code, meaning in exits.MEANINGS.items():
            runtime.write(f"{code:>3}  {meaning}")
    elif topic == "settings":
        on_terminal = runtime.form is Form.TABLE
        for line in help_settings.lines(width=runtime.console().width if on_terminal else help_settings.WIDEST):
            runtime.write(line)
    else:
        _show_page(topic, runtime)


def _show_page(command: str, runtime: Runtime) -> None:
    """Show a command's page, or the overview."""
    from callctl.cli.commands import every_command
    from callctl.cli.main import app

    names = [name for name, _ in every_command()]
    known = [*TOPICS, *names]
    if command and command not in names:
        near = nearest(command, known)
        hint = f"did you mean {near}?" if near else f"one of {', '.join(known)}"
        raise UsageError(f"no such topic: {command}", hint=hint)
    app([*command.split(), "--help"], prog_name="callctl", standalone_mode=False, obj=runtime)
    if not command:
        runtime.write(f"Topics of `callctl help`: {', '.join(TOPICS)}, or a command.")
