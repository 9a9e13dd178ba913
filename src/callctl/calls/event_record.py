"""The form of an event: its unique key, and the record of it that a store keeps.

A callback's key is made of what its signature covers, so that no two events can be made of one signed request: Twilio
signs the URL and then the set of pairs, names and values run together, whatever their order and repetition
(docs/twilio.md, "Signatures").

A record has a line for each name and each value, or is JSON where one of them holds a line break.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from callctl.support.dates import from_microseconds, microseconds

Form = tuple[tuple[str, str], ...]

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


_is_key = re.compile("[0-9a-f]{64}").fullmatch
_MOST_REMEMBERED = 64  # names of a form whose order is remembered; Twilio sends about thirty


def encodable_form(pairs: Iterable[tuple[str, str]]) -> Form:
    """Return a form that UTF-8 can hold."""
    form = tuple(pairs)
    try:
        "".join(chain.from_iterable(form)).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON may hold and no database or terminal takes
        return tuple((_encodable(name), _encodable(value)) for name, value in form)
    return form


def signed_form(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a form as Twilio signs it: by name, of each name all its values, each once, all run together."""
    by_name = _by_name(tuple([name for name, _ in pairs])) if len(pairs) <= _MOST_REMEMBERED else None
    return "".join(chain.from_iterable(sorted(set(pairs)) if by_name is None else by_name(pairs)))


# Twilio's forms of one kind have the same names in the same order. Others may come, and are not kept for long.
@lru_cache(maxsize=32)
def _by_name(names: tuple[str, ...]) -> Callable[[Sequence[tuple[str, str]]], tuple[tuple[str, str], ...]] | None:
    """Return what puts pairs with these names in their order; None for one name, and where a name is there twice."""
    if len(names) < 2 or len(set(names)) < len(names):
        return None
    return itemgetter(*sorted(range(len(names)), key=names.__getitem__))


def signed_key(signed: str, *, world: str) -> str:
    """Return the key of what a signature covers: path, query and form; the last two where nothing is verified."""
    return hashlib.sha256(f"{world}\0{signed}".encode("utf-8", "surrogatepass")).hexdigest()


def pairs_key(form: Form, *, world: str) -> str:
    """Return the key of a form's pairs: the same in any order, but not for pairs that are repeated.

    Polled events, which have no signature, have it, and all events of callctl 0.1.0.
    """
    text = "\0".join((world, *sorted(map("\0".join, form))))
    if text.count("\0") != 2 * len(form):  # a NUL within: as JSON, so that no two forms run together
        text = "\0" + _as_json([world, sorted(form)])
    return hashlib.sha256(text.encode()).hexdigest()


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class Record(NamedTuple):
    """What a record holds; all else is read from the form."""

    key: str
    kind: str
    received_at: datetime
    verified: bool
    form: Form


def write_record(key: str, kind: str, received_at: datetime, verified: bool, form: Form) -> str:
    """Return the record of an event, with ``received_at`` in microseconds since 1970."""
    at = microseconds(received_at)
    lines = "\n".join(["2", key, kind, str(at), "1" if verified else "0", *chain.from_iterable(form)])
    if lines.count("\n") == 4 + 2 * len(form) and "\0" not in lines:
        return lines
    return _as_json({"v": 1, "key": key, "kind": kind, "received_at": at, "verified": verified, "form": form})


def read_record(text: str) -> Record:
    """Read what :func:`write_record` gave.

    Raises:
        ValueError: It is no record of an event, or of a version to come.
    """
    try:
        record = _read_lines(text) if text.startswith("2\n") else _read_json(text)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not the record of an event: {error}") from error
    if _is_key(record.key) is None:
        raise ValueError("not the record of an event: its key is no SHA-256")
    return record


def _read_lines(text: str) -> Record:
    _, key, kind, at, verified, *flat = text.split("\n")
    form = tuple(zip(flat[::2], flat[1::2], strict=True))
    return Record(key, kind, from_microseconds(int(at)), verified == "1", form)


def _read_json(text: str) -> Record:
    record = json.loads(text)
    if record["v"] != 1:
        raise ValueError(f"an event record of version {record['v']!r}")
    form = tuple((str(name), str(value)) for name, value in record["form"])
    at = from_microseconds(int(record["received_at"]))
    return Record(str(record["key"]), str(record["kind"]), at, bool(record["verified"]), form)
