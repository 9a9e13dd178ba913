"""Calls as a table for people, and as tab-separated lines for pipes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from callctl.calls import Call, format_date
from callctl.views.foreign import printable
from callctl.views.statuses import glyph, style

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

# From this width on, a row has room for every fact beside two whole SIDs.
WIDE = 140


def plain_line(call: Call) -> str:
    """Return one call as tab-separated fields: sid, status, direction, from, to, start, duration, parent."""
    fields = (
        call.sid,
        call.status,
        call.direction,
        call.from_,
        call.to,
        format_date(call.start_time) or "",
        "" if call.duration is None else str(call.duration),
        call.parent_call_sid or "",
    )
    return "\t".join(printable(text) for text in fields)


def print_calls(console: Console, calls: Iterable[Call]) -> None:
    """Draw calls as a table that fits the console; SIDs stay whole and on one line."""
    wide = console.width >= WIDE
    table = _table(wide=wide)
    for call in calls:
        (_add_wide if wide else _add_narrow)(table, call)
    console.print(table)


def _table(*, wide: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("CALL SID", no_wrap=True, min_width=34)
    table.add_column("STATUS", no_wrap=True)
    if wide:
        table.add_column("DIRECTION", no_wrap=True)
    table.add_column("FROM", no_wrap=True, overflow="ellipsis")
    table.add_column("TO", no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column("START", no_wrap=True)
        table.add_column("FOR", no_wrap=True, justify="right")
        table.add_column("PARENT CALL SID", no_wrap=True, min_width=34)
    return table


def _add_wide(table: Table, call: Call) -> None:
    table.add_row(
        printable(call.sid),
        _status(call.status),
        printable(call.direction),
        printable(call.from_),
        printable(call.to),
        local_time(call.start_time),
        "" if call.duration is None else clock(call.duration),
        printable(call.parent_call_sid or "-"),
    )


def _add_narrow(table: Table, call: Call) -> None:
    table.add_row(printable(call.sid), _status(call.status), printable(call.from_), printable(call.to))


def _status(status: str) -> Text:
    from rich.text import Text

    return Text(f"{glyph(status)} {printable(status)}", style=style(status))


def local_time(moment: datetime | None) -> str:
    """Return a time as people here read it; the date only where it is not today's affair to guess."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(seconds: float) -> str:
    """Return a duration as ``01:07`` or ``1:02:03``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
