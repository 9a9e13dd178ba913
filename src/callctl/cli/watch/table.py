"""Opens the live table, with its keys where a person is there to press them: for ``watch``, ``place`` and ``demo``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TextIO

from callctl.cli.io.runtime import Runtime
from callctl.cli.io.signals import suspend_on_signals

if TYPE_CHECKING:
    from callctl.calls.filter import CallFilter
    from callctl.settings import Settings
    from callctl.support.clock import Clock
    from callctl.views.live.screen import LiveView, TableOptions
    from callctl.views.threaded_view import ThreadedView


@dataclass(frozen=True, slots=True)
class OpenTable:
    """The live table, and the view of it that draws in a thread of its own."""

    view: ThreadedView
    table: LiveView

    @contextmanager
    def suspendable(self) -> Iterator[None]:
        """Give the terminal back while the process is stopped, and draw anew when it is resized.

        Only within an event loop.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self.table.redraw_soon)
        try:
            with suspend_on_signals(self.table.give_back, self.table.take_again):
                yield
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)


def open_table(
    runtime: Runtime,
    settings: Callable[[], Settings],
    options: TableOptions,
    *,
    clock: Clock,
    listens: bool,
    read_only: bool = False,
    stop: Callable[[], None],
    call_filter: CallFilter | None = None,
) -> OpenTable:
    """Return the live table, of the legs that match.

    ``settings`` returns those by which keys act: what they do is recorded in the store that these name then. ``clock``
    is the one of which the header says how far it is ahead. ``listens``: callbacks come to this process. With
    ``read_only`` no key changes a call. ``stop`` ends the command; it is called in this event loop.
    """
    import asyncio

    from callctl.cli.watch.banner import filter_in_words
    from callctl.cli.watch.operator import TableOperator
    from callctl.views.filtered_view import ShownPart
    from callctl.views.live.screen import LiveView
    from callctl.views.threaded_view import ThreadedView

    loop = asyncio.get_running_loop()
    console = runtime.console()
    has_keys = _is_terminal(runtime.stdin) and not console.is_dumb_terminal
    runtime.reads_keys = runtime.reads_keys or has_keys

    def stop_in_loop() -> None:
        loop.call_soon_threadsafe(stop)

    operator = TableOperator(runtime, settings, listens=listens, may_act=not read_only, stop=stop_in_loop)
    if call_filter is not None:
        options = replace(options, part=ShownPart(call_filter, words=filter_in_words(runtime, call_filter)))
    table = LiveView(
        console,
        options,
        clock=clock,
        operator=operator if has_keys else None,
        stdin=runtime.stdin if has_keys else None,
        on_unread=runtime.leave_terminal,
    )
    view = ThreadedView(table)
    table.connect(lambda: view.call_soon(table.take_news))
    return OpenTable(view, table)


def _is_terminal(stream: TextIO) -> bool:
    """Return whether keys can be read from a stream."""
    try:
        return os.isatty(stream.fileno())
    except (OSError, ValueError):  # it is closed, or no file at all
        return False
