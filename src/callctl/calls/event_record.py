"""An event as a store keeps it: a line for each name and each value, or JSON where one of them has lines itself."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from callctl.calls.forms import Form, as_json
from callctl.support.dates import from_microseconds, microseconds


class Record(NamedTuple):
    """What a record holds; all else is read from the form."""

    key: str
    kind: str
    received_at: datetime
    verified: bool
    form: Form

    def write(self) -> str:
        """Return the text of it, with ``received_at`` in microseconds since 1970."""
        key, kind, received_at, verified, form = self
        at = microseconds(received_at)
        lines = "\n".join(chain(("2", key, kind, str(at), str(int(verified))), *form))
        if lines.count("\n") == 4 + 2 * len(form) and "\0" not in lines:
            return lines
        return as_json({"v": 1, "key": key, "kind": kind, "received_at": at, "verified": verified, "form": form})


def read_record(text: str) -> Record:
    """Read what :meth:`Record.write` gave.

    Raises:
        ValueError: It is no record of an event, or of a version to come.
    """
    try:
        return _read_lines(text) if text.startswith("2\n") else _read_json(text)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not the record of an event: {error}") from error


def _read_lines(text: str) -> Record:
    _, key, kind, at, verified, *flat = text.split("\n")
    form = tuple(zip(flat[::2], flat[1::2], strict=True))
    return Record(key, kind, from_microseconds(int(at)), verified == "1", form)


def _read_json(text: str) -> Record:
    told = json.loads(text)
    if told["v"] != 1:
        raise ValueError(f"an event record of version {told['v']!r}")
    form = tuple((str(name), str(value)) for name, value in told["form"])
    at = from_microseconds(int(told["received_at"]))
    return Record(str(told["key"]), str(told["kind"]), at, bool(told["verified"]), form)
