"""The columns that ``--columns`` names: REST's fields of a call, as a table, lines, CSV and JSON objects show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from callctl.calls.call import FIELDS, Call
from callctl.support.dates import local_time
from callctl.views.csv_rows import csv_line
from callctl.views.table import BETWEEN, DIRECTION, DURATION, FROM, PARENT, SID, START, STATUS, TO, Column
from callctl.views.terminal_safe import printable

if TYPE_CHECKING:
    from callctl.views.table import Row

# Those of a CSV, unless others are named. They stay as they are, in this order; new ones come behind them.
CSV_NAMES: Final = FIELDS[: FIELDS.index("price_unit") + 1]
_TIMES = ("start_time", "end_time", "date_created", "date_updated")
_IN_TABLE = {
    "sid": SID,
    "status": replace(STATUS, is_whole=True),
    "direction": replace(DIRECTION, is_whole=True),
    "from": FROM,
    "to": TO,
    "start_time": replace(START, is_whole=True),
    "duration": replace(DURATION, is_whole=True),
    "parent_call_sid": replace(PARENT, is_whole=True),
}


def picked(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return these fields of a call's JSON object, in this order; null for one that it does not have."""
    return {name: record.get(name) for name in names}


def tab_line(call: Call, names: Sequence[str]) -> str:
    """Return these fields of a call with tabs between them, times in RFC 3339; nothing stands for null."""
    return "\t".join("" if value is None else printable(str(value)) for value in _values(call, names))


def csv_lines(calls: Iterable[Call], names: Sequence[str]) -> Iterator[str]:
    """Yield the names of these fields, then a line of CSV for each call; the names as soon as the first call is there.

    Times are in RFC 3339 and UTC, durations in seconds, ``queue_time`` in milliseconds, prices negative, as REST has
    them; nothing stands for null.
    """
    heading: str | None = csv_line(names)
    for call in calls:
        if heading is not None:
            yield heading
            heading = None
        yield csv_line(_values(call, names))
    if heading is not None:
        yield heading


def _values(call: Call, names: Sequence[str]) -> Iterator[Any]:
    record = call.to_json()
    for name in names:
        # As REST writes it: a float may be 1e-05.
        yield format(call.price, "f") if name == "price" and call.price is not None else record.get(name)


def table_columns(names: Sequence[str]) -> list[Column]:
    """Return the columns of a table for these fields: times are local there, durations as on a clock."""
    columns = [_IN_TABLE.get(name) or _column(name) for name in names]
    return [replace(column, gap=BETWEEN if number else 0) for number, column in enumerate(columns)]


def _column(name: str) -> Column:
    is_cut = name in ("caller_name", "forwarded_from", "from_formatted", "to_formatted", "annotation", "uri")
    return Column(name.upper().replace("_", " "), lambda row: _shown(row, name), is_whole=not is_cut)


def _shown(row: Row, name: str) -> str:
    if row.call is None:
        return ""
    if name in _TIMES:
        return printable(local_time(getattr(row.call, name)))
    (value,) = _values(row.call, [name])
    return "" if value is None else printable(str(value))
