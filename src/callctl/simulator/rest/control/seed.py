"""A seed: the numbers, applications and far ends that a simulator is to have, from a file or over HTTP.

In TOML keys have hyphens, as in a file of far ends; in JSON, over HTTP or in a file with that ending, underscores.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callctl.simulator.errors import ApiError, ControlError
from callctl.simulator.far_end import FarEnd, FarEndError, parse
from callctl.simulator.rest.requests import Form
from callctl.simulator.rest.resources import fields
from callctl.simulator.rest.resources.applications import Applications
from callctl.simulator.rest.resources.phone_numbers import PhoneNumbers
from callctl.simulator.rest.routing import Endpoint
from callctl.simulator.switch import numbers
from callctl.simulator.switch.owned import Owned, Possessions

MAX_OWNED = 1000  # numbers, or applications, in one seed


class SeedError(ValueError):
    """A seed says something that can't be; the message names the table and the key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A number or an application: the parameters that create it, and where the seed says so.

    `application` is the name of the one that handles a number's calls.
    """

    where: str
    form: Form
    application: str = ""


@dataclass(frozen=True, slots=True)
class Seed:
    """What a seed says."""

    applications: tuple[Entry, ...] = ()
    numbers: tuple[Entry, ...] = ()
    far_ends: Mapping[str, FarEnd] | None = None


def load(path: Path) -> Seed:
    """Read a file; raise SeedError for what can't be read, or makes no sense."""
    as_json = path.suffix == ".json"
    try:
        text = path.read_text(encoding="utf-8-sig")
        values: object = json.loads(text) if as_json else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SeedError(f"can't read {path}: {reason}") from error
    try:
        return read(values, as_json=as_json)
    except SeedError as error:
        raise SeedError(f"{path}: {error}") from error


def load_as_json(path: Path) -> dict[str, object]:
    """Read a file, and return it as it is sent over HTTP; raise SeedError."""
    load(path)
    text = path.read_text(encoding="utf-8-sig")
    values: dict[str, object] = json.loads(text) if path.suffix == ".json" else _underscored(tomllib.loads(text))
    return values


def _underscored(tables: Mapping[str, Any]) -> dict[str, object]:
    def spelled(table: Mapping[str, object]) -> dict[str, object]:
        return {key.replace("-", "_"): value for key, value in table.items()}

    return {
        "numbers": [spelled(each) for each in tables.get("numbers", [])],
        "applications": [spelled(each) for each in tables.get("applications", [])],
        "far_ends": {address: spelled(table) for address, table in tables.get("far-ends", {}).items()},
    }


def read(values: object, *, as_json: bool) -> Seed:
    """Read a seed from its tables; raise SeedError."""
    far_ends, known = "far_ends" if as_json else "far-ends", ("numbers", "applications")
    tables = _table(values, "a seed", (*known, far_ends))
    try:
        ends = parse(_table(tables.get(far_ends, {}), far_ends, None), as_json=as_json)
    except FarEndError as error:
        raise SeedError(f"{far_ends}{error}") from error
    return Seed(
        applications=_entries(tables, "applications", fields.OF_APPLICATIONS, as_json=as_json),
        numbers=_entries(tables, "numbers", {"PhoneNumber": None, **fields.OF_NUMBERS}, as_json=as_json),
        far_ends=ends,
    )


def _table(value: object, what: str, known: tuple[str, ...] | None) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise SeedError(f"{what} must be a table")
    unknown = sorted(key for key in value if known is not None and key not in known)
    if unknown:
        raise SeedError(f"{what}: {unknown[0]}: unknown key; known are {', '.join(known or ())}")
    return value


def _entries(
    tables: Mapping[str, object], kind: str, parameters: Mapping[str, object], *, as_json: bool
) -> tuple[Entry, ...]:
    listed = tables.get(kind, [])
    if not isinstance(listed, list) or len(listed) > MAX_OWNED:
        raise SeedError(f"{kind} must be a list of up to {MAX_OWNED} tables")

    def spelled(name: str) -> str:
        key = fields.key_of(name)
        return key if as_json else key.replace("_", "-")

    known = {spelled(name): name for name in parameters}
    required, named = spelled("PhoneNumber" if kind == "numbers" else "FriendlyName"), spelled("VoiceApplication")
    entries = []
    for number, value in enumerate(listed, 1):
        where = f"{kind} {number}"
        table = _table(value, where, (*known, named) if kind == "numbers" else tuple(known))
        texts = {key: _text(f"{where}: {key}", each) for key, each in table.items()}
        if not texts.get(required):
            raise SeedError(f"{where}: {required} is missing")
        application = texts.pop(named, "")
        entries.append(Entry(where, {known[key]: (text,) for key, text in texts.items()}, application))
    return tuple(entries)


def _text(where: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise SeedError(f"{where} = {value!r}: expected a text, or true or false")
    return value


def apply(seed: Seed, endpoint: Endpoint) -> list[Owned]:
    """Set what a seed says, or nothing of it; return the applications and numbers.

    A number that is there already, and an application with the same name, is changed.

    Raises:
        ControlError: Something of it is refused, as by Twilio; the message says where.
    """
    possessions, switch = endpoint.switch.possessions, endpoint.switch
    restore, far_ends = possessions.restorer(), dict(switch.far_ends)
    made: list[Owned] = []
    try:
        for entry in seed.applications:
            made.append(_at(entry, lambda entry=entry: _application(endpoint, entry)))  # type: ignore[misc]
        for entry in seed.numbers:
            made.append(_at(entry, lambda entry=entry: _number(endpoint, entry)))  # type: ignore[misc]
        for address, far_end in (seed.far_ends or {}).items():
            switch.set_far_end(address, far_end)
    except ApiError:
        restore()
        switch.far_ends.clear()
        switch.far_ends.update(far_ends)
        raise
    return made


def _at(entry: Entry, work: Callable[[], Owned]) -> Owned:
    try:
        return work()
    except ApiError as error:
        raise ControlError(error.code, f"{entry.where}: {error.message}") from error


def _application(endpoint: Endpoint, entry: Entry) -> Owned:
    applications = Applications(endpoint)
    known = _named(endpoint.switch.possessions, entry.form["FriendlyName"][0])
    return applications.create(entry.form) if known is None else applications.change(known, entry.form)


def _number(endpoint: Endpoint, entry: Entry) -> Owned:
    phone_numbers, possessions, form = PhoneNumbers(endpoint), endpoint.switch.possessions, dict(entry.form)
    if entry.application:
        application = _named(possessions, entry.application)
        if application is None:
            raise ControlError(21420, f"there is no application {entry.application!r}")
        form["VoiceApplicationSid"] = (application.sid,)
    known = possessions.number(numbers.normal(form["PhoneNumber"][0]))
    return phone_numbers.create(form) if known is None else phone_numbers.change(known, form)


def _named(possessions: Possessions, name: str) -> Owned | None:
    newest = possessions.applications.newest_first()
    return next((each for each in newest if each.fields["friendly_name"] == name), None)
