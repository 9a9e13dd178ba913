"""The rules file: TOML, of which every key is checked before any rule counts.

    [rule.long-ring]
    when = "ringing"                  # a status, several, or { event = "answered" }
    for = "30s"
    direction = "outbound-dial"
    then = "cancel"                   # or "hangup", or { redirect = "NAME|URL" }
    on = "this"                       # or "parent", "children"

``completed`` is a status (connected, and over) and an event (over, however): a file says which of them it means.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from callctl.calls.call import EVENT_NAMES, FINAL_STATUSES, CallStatus, Direction, is_party_pattern, number_meant
from callctl.calls.event import event_name
from callctl.errors import UsageError, nearest_word, why_unreadable
from callctl.rules.rule import (
    CHILD_LEG,
    DEFAULT_SETTLE,
    FLAG_NAMES,
    PARENT_LEG,
    Cancel,
    Hangup,
    On,
    Operation,
    Redirect,
    Rule,
    When,
)
from callctl.settings import NamedUrl
from callctl.support.dates import read_duration

KEYS = ("when", "for", "leg", "answered_by", "direction", "from", "to", "then", "on")
_IN_PROGRESS = frozenset({CallStatus.IN_PROGRESS.value})
_STATUSES = tuple(str(status) for status in CallStatus)
# OAS, answered_by, and the values of asynchronous detection.
ANSWERED_BY = (
    "human",
    "machine_start",
    "machine_end_beep",
    "machine_end_silence",
    "machine_end_other",
    "fax",
    "unknown",
)
_TOML_HINT = "a rules file is TOML: https://toml.io"
_TABLE_HINT = "a rule begins with a line such as [rule.long-ring]"


class RulesError(UsageError):
    """An invalid rules file: the message names file, rule and key."""


Resolve = Callable[[str], NamedUrl]


def load(path: Path, *, resolve: Resolve, cancel: Cancel) -> list[Rule]:
    """Read a rules file.

    Args:
        path: The file.
        resolve: Returns the URL that a name or a URL stands for, or raises UsageError.
        cancel: The operation that the word ``cancel`` stands for.

    Raises:
        RulesError: The file can't be read, or anything in it is invalid; no rule counts then.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark at its beginning
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"can't read the rules file {path}: {why_unreadable(error)}", hint=_TOML_HINT) from error
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the message of a TOMLDecodeError ends with line and column
        raise RulesError(f"{path}: {error}", hint=_TOML_HINT) from error
    return list(_rules(document, _Location(str(path)), resolve=resolve, cancel=cancel))


def _rules(document: Mapping[str, object], location: _Location, *, resolve: Resolve, cancel: Cancel) -> Iterator[Rule]:
    if nameless := next((key for key in KEYS if key in document), None):
        raise location.error("it belongs to no rule", key=nameless, hint=_TABLE_HINT)
    location.check_keys(document, ("rule",))
    tables = document.get("rule")
    if not isinstance(tables, Mapping) or not tables:
        raise location.error("there is no rule in it", hint=_TABLE_HINT)
    for name, table in tables.items():
        if not name.strip() or (name in KEYS and not isinstance(table, Mapping)):
            raise location.error("a rule has no name", hint=_TABLE_HINT)
        rule_location = _Location(location.file, name)
        if name in FLAG_NAMES:
            raise rule_location.error("the name belongs to a flag of `callctl watch`")
        if not isinstance(table, Mapping):
            raise rule_location.error("a rule is a table", hint=f"begin it with the line [rule.{name}]")
        yield _rule(name, table, rule_location, resolve=resolve, cancel=cancel)


def _rule(name: str, table: Mapping[str, object], location: _Location, *, resolve: Resolve, cancel: Cancel) -> Rule:
    location.check_keys(table, KEYS)
    for key in ("when", "then"):
        if key not in table:
            raise location.error(f"{key} is missing")
    on = On(location.word(table.get("on", On.THIS.value), key="on", known=tuple(On)))
    when = _when(table, location)
    then = _then(table["then"], location, resolve=resolve, cancel=cancel)
    if when.is_end and on is not On.PARENT:
        raise location.error("a leg that has ended can't be changed", key="on", hint='say on = "parent"')
    if when.is_end and when.lasting is not None:
        raise location.error("a leg that has ended stays so", key="for", hint="leave it out")
    if not when.is_end and when.statuses & FINAL_STATUSES:
        raise location.error(
            "it names statuses of live legs and of ended ones", key="when", hint="make two rules of it"
        )
    if on is On.THIS and isinstance(then, Redirect) and when.statuses != _IN_PROGRESS:
        raise location.error("only a call in progress can be redirected", key="then", hint='say when = "answered"')
    if on is On.THIS and isinstance(then, Cancel) and when.statuses == _IN_PROGRESS:
        raise location.error("cancel leaves a call in progress alone", key="then", hint='say then = "hangup"')
    if on is On.PARENT and when.leg == PARENT_LEG:
        raise location.error("a parent leg has no parent", key="on", hint='say leg = "child", or on = "this"')
    if on is On.CHILDREN and when.leg == CHILD_LEG:
        raise location.error("a child leg has no children of its own", key="on", hint='say leg = "parent"')
    rule = Rule(name=name, when=when, then=then, on=on)
    # A caller whose <Dial> is over may be in the next one already.
    return Rule(name=name, when=when, then=then, on=on, settle=DEFAULT_SETTLE) if rule.follows_dial else rule


def _when(table: Mapping[str, object], location: _Location) -> When:
    return When(
        statuses=_statuses(table["when"], location),
        lasting=_duration(table.get("for"), location),
        leg=location.word(table["leg"], key="leg", known=(PARENT_LEG, CHILD_LEG)) if "leg" in table else None,
        answered_by=_words(table, location, key="answered_by", known=ANSWERED_BY),
        directions=_words(table, location, key="direction", known=tuple(map(str, Direction))),
        from_=_party(table, location, key="from"),
        to=_party(table, location, key="to"),
    )


def _party(table: Mapping[str, object], location: _Location, *, key: str) -> str | None:
    if key not in table:
        return None
    text = location.text(table[key], key=key)
    if is_party_pattern(text):
        return text
    suggestion = f"did you mean {number}? " if (number := number_meant(text)) else ""
    raise location.error(
        f"no call has an end that is written {text!r}",
        key=key,
        hint=f'{suggestion}numbers are in E.164 form, such as "+12025550100" or "+1202*"',
    )


def _words(table: Mapping[str, object], location: _Location, *, key: str, known: Collection[str]) -> frozenset[str]:
    return location.words(table[key], key=key, known=known) if key in table else frozenset()


def _statuses(value: object, location: _Location) -> frozenset[str]:
    if isinstance(value, Mapping):
        location.check_keys(value, ("status", "event"), key="when")
        if len(value) != 1:
            raise location.error("exactly one of status and event", key="when")
        if "status" in value:
            return location.words(value["status"], key="when.status", known=_STATUSES)
        names = location.words(value["event"], key="when.event", known=EVENT_NAMES)
        return frozenset(status for status in _STATUSES if status != "queued" and event_name(status) in names)
    words = location.words(value, key="when", known=tuple(dict.fromkeys([*_STATUSES, *EVENT_NAMES])))
    if "completed" in words:
        raise location.error(
            "completed is a status and an event",
            key="when",
            hint='write { status = "completed" } for connected and over, or { event = "completed" } for any end',
        )
    return (words - {"answered"}) | (_IN_PROGRESS if "answered" in words else frozenset())


def _duration(value: object, location: _Location) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, str):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        hint = f'write "{value}s" for seconds, "{value}m" for minutes' if number else None
        raise location.error('a duration is a text with a unit, such as "30s"', key="for", hint=hint)
    try:
        return timedelta(seconds=read_duration(value, option="it"))
    except UsageError as error:
        raise location.error(error.message, key="for", hint=error.hint) from error


def _then(value: object, location: _Location, *, resolve: Resolve, cancel: Cancel) -> Operation:
    if not isinstance(value, Mapping):
        word = location.word(value, key="then", known=("cancel", "hangup", "redirect"))
        if word == "redirect":
            raise location.error("where to?", key="then", hint='write then = { redirect = "NAME|URL" }')
        return cancel if word == "cancel" else Hangup()
    location.check_keys(value, ("redirect",), key="then")
    name = location.text(value.get("redirect"), key="then.redirect")
    try:
        named = resolve(name)
    except UsageError as error:
        raise location.error(error.message, key="then.redirect", hint=error.hint) from error
    return Redirect(name, named.url, named.method)


class _Location:
    """A rule of a rules file, or the file itself: it checks values, and its errors say where they are."""

    def __init__(self, file: str, rule: str | None = None) -> None:
        self.file = file
        self._rule = rule

    def error(self, text: str, *, key: str | None = None, hint: str | None = None) -> RulesError:
        """Return an error that names file, rule and key."""
        parts = [self.file, f"rule {self._rule}" if self._rule else None, key]
        return RulesError(f"{', '.join(filter(None, parts))}: {text}", hint=hint)

    def check_keys(self, table: Mapping[str, object], known: Collection[str], *, key: str | None = None) -> None:
        """Raise RulesError if a table has an unknown key."""
        for name in table:
            if name not in known:
                raise self.error(f"unknown key {name!r}", key=key, hint=_known_hint(name, known))

    def text(self, value: object, *, key: str) -> str:
        """Return a text that is not empty."""
        if isinstance(value, str) and value:
            return value
        raise self.error("it must be a text in quotes", key=key)

    def word(self, value: object, *, key: str, known: Collection[str]) -> str:
        """Return a text that is one of the known words."""
        word = self.text(value, key=key)
        if word in known:
            return word
        raise self.error(f"unknown: {word!r}", key=key, hint=_known_hint(word, known))

    def words(self, value: object, *, key: str, known: Collection[str]) -> frozenset[str]:
        """Return known words from one text or from a list of several."""
        given = value if isinstance(value, list) else [value]
        if not given:
            raise self.error("the list is empty", key=key, hint=f"known are {', '.join(known)}")
        return frozenset(self.word(word, key=key, known=known) for word in given)


def _known_hint(word: str, known: Collection[str]) -> str:
    near = nearest_word(word, known)
    return f"{f'did you mean {near}? ' if near else ''}known are {', '.join(known)}"
