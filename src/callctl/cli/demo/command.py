"""``callctl demo``: all of it in one terminal, without an account: simulator, listener, calls, live table."""

from __future__ import annotations

from typing import Annotated

import typer

from callctl.cli import exits
from callctl.cli.options import common


def demo(
    ctx: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running afterwards, to try the other commands on it.")
    ] = False,
    debug: common.Debug = False,
) -> None:
    """Show live call control on this machine: no account, no charge, no tunnel.

    It takes about 20 seconds.
    """
    from callctl.cli.demo.run import run_demo

    runtime = common.runtime_of(ctx, debug=debug)
    if not run_demo(runtime, keep=keep):
        raise typer.Exit(exits.INTERRUPTED)
