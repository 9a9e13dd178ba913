"""Events and actions as what the SQL functions take, and back.

PostgreSQL's texts hold no NUL, and its jsonb no NUL and no half of a surrogate pair. Callbacks may have both. In forms
and records such a character is written as U+E000 and its number in four hexadecimal digits, and so is U+E000.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING, Any

from callctl.calls.action import ActionEvent
from callctl.calls.event_record import write_record
from callctl.support.dates import from_microseconds, microseconds

if TYPE_CHECKING:
    from callctl.calls.event import CallEvent
    from callctl.calls.event_record import Form

_MARK = "\ue000"
_UNFIT = re.compile("[\0\ud800-\udfff\ue000]")
_ESCAPED = re.compile("\ue000([0-9a-f]{4})")
# PostgreSQL's timestamptz holds what datetime does.
_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Of ASCII, what JSON escapes; quotation marks are counted instead.
_ESCAPED_ASCII = bytes(range(32)) + b"\\"


def plain(text: str) -> str:
    """Return a text as a column holds it. No real SID contains what is replaced."""
    return _UNFIT.sub("\ufffd", text)


def fit(value: Any) -> Any:
    """Return a JSON value whose texts jsonb can hold."""
    if isinstance(value, str):
        return _UNFIT.sub(lambda match: f"{_MARK}{ord(match[0]):04x}", value)
    if isinstance(value, dict):
        return {fit(name): fit(item) for name, item in value.items()}
    return [fit(item) for item in value] if isinstance(value, list | tuple) else value


def unfit(value: Any) -> Any:
    """Return what ``fit`` was given."""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value) if _MARK in value else value
    if isinstance(value, dict):
        return {unfit(name): unfit(item) for name, item in value.items()}
    return [unfit(item) for item in value] if isinstance(value, list) else value


def event_row(event: CallEvent) -> str:
    """Return an event as ``callctl.append`` takes it, as JSON.

    Its time is the event's own where that is later than its arrival, as in the SQLite file (store/sqlite/rows.py).
    """
    sid, parent, status, order = event.call_sid, event.parent_call_sid, event.status, event.order
    form = _usual_form(event.form)
    if form is None:
        form = _as_json(fit(list(chain.from_iterable(event.form))))
        sid, parent, status, order = plain(sid), parent and plain(parent), plain(status), plain(order)
    arrival = microseconds(event.received_at)
    at = microseconds(event.moment) if event.moment > event.received_at else arrival
    return (
        f"[{_quoted(sid)},{_quoted(parent) if parent else 'null'},{_quoted(status)},{_quoted(order)},"
        f'{"true" if event.is_final else "false"},{at},"{event.key}",{_quoted(event.kind)},'
        f"{'true' if event.verified else 'false'},{arrival},{form}]"
    )


def _usual_form(form: Form) -> str | None:
    """Return a form as JSON if nothing in it is escaped or unfit, as in nearly all: thrice as fast as by ``json``."""
    text = '","'.join(chain.from_iterable(form))
    is_usual = text.isascii() and len(text.encode().translate(None, _ESCAPED_ASCII)) == len(text)
    return f'["{text}"]' if is_usual and text.count('"') == 4 * len(form) - 2 else None


def event_of(row: tuple[bytes, str, datetime, bool, list[str]]) -> CallEvent:
    """Return the event of a row: key, kind, arrival, whether it is verified, form."""
    from callctl.calls.event import CallEvent

    key, kind, received_at, verified, form = row
    if _MARK in "".join(form):  # in hardly any, and a look at each text takes three times as long
        form = unfit(form)
    pairs = tuple(zip(form[::2], form[1::2], strict=True))
    return CallEvent.from_parts(key.hex(), kind, received_at.astimezone(UTC), verified, pairs)


def record_of(line: str) -> str:
    """Return the record of an event, from a line with key, kind, whether it is verified, arrival and form."""
    key, kind, verified, received_at, form = line.split(" ", 4)
    if "\\" in form or _MARK in form or form == "[]":
        flat = unfit(json.loads(form))
        pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
        return write_record(key, kind, from_microseconds(int(received_at)), verified == "1", pairs)
    # Without a backslash, quotation marks are where texts begin and end alone.
    texts = form[2:-2].replace('", "', "\n")
    return f"2\n{key}\n{kind}\n{received_at}\n{verified}\n{texts}"


def actions_json(actions: Iterable[ActionEvent]) -> str:
    """Return actions as ``callctl.record_actions`` takes them."""
    return _as_json([[*_action_row(action), action.may_have_changed_it] for action in actions])


def action_json(action: ActionEvent) -> str:
    """Return an action as ``callctl.settle`` takes it."""
    return _as_json(_action_row(action))


def _action_row(action: ActionEvent) -> list[Any]:
    return [plain(action.call_sid), microseconds(action.at), fit(action.to_record())]


def action_of(record: Any) -> ActionEvent:
    """Return the action of a record."""
    return ActionEvent.from_record(unfit(record))
