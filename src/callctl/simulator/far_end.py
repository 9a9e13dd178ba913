"""The far end: what the party that is called does, decided by its address.

Numbers of the range +1 202 555 01xx are reserved for fiction, so none of these belongs to anybody.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

MAX_WORDS = 4000  # characters: four minutes
MAX_ANSWERS = 100
MAX_SECONDS = 1e9
OUTCOMES = ("answers", "busy", "never", "fails", "rejects")
# What machine detection may find (docs/twilio.md, "Answering machine detection").
KINDS = (
    "human", "fax", "unknown", "machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other"
)  # fmt: skip


class FarEndError(ValueError):
    """A far-end file says something that can't be; the message names entry and key."""


@dataclass(frozen=True, slots=True)
class FarEnd:
    """What one address does when it is called; all times in simulated seconds.

    `after` counts from the first ring, `hang_up_after` from the answer, `digits_after` from the start of a <Gather>.
    `answers` are what it presses, or says, at one <Gather> after the other; `digits` are pressed at those behind them.
    `confidence` is how well it is understood, None for no word of that.
    `words` are what it says into each recording of a message. `answered_by` is what machine detection
    finds, where it is not empty; a machine's greeting ends `greeting` after the answer.
    """

    outcome: str = "answers"
    after: float = 2.0
    hang_up_after: float | None = None
    voicemail: bool = False
    digits: str = ""
    digits_after: float = 1.0
    sip_code: int = 404
    words: str = ""
    answered_by: str = ""
    greeting: float = 5.0
    answers: tuple[str, ...] = ()
    confidence: float | None = 0.92

    def answer(self, gather: int) -> str:
        """Return what it presses or says at a <Gather>, the first of a call being 0; empty for nothing."""
        return self.answers[gather] if gather < len(self.answers) else self.digits

    @property
    def rings(self) -> bool:
        """Whether it can be reached at all; an address that fails never rings (inferred)."""
        return self.outcome != "fails"


ANSWERS = FarEnd()

_KEYS = re.compile(r"[0-9A-D*#]*")
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

BY_NAME: Mapping[str, FarEnd] = {
    "answers": ANSWERS,
    "late": FarEnd(after=20.0),
    "busy": FarEnd("busy", after=1.0),
    "no-answer": FarEnd("never"),
    "not-found": FarEnd("fails", after=0.5, sip_code=404),
    "hangs-up": FarEnd(hang_up_after=5.0),
    "voicemail": FarEnd(after=4.0, voicemail=True, hang_up_after=60.0),
    "digits": FarEnd(digits="1"),
}

BY_NUMBER: Mapping[str, str] = {f"+1202555010{last}": name for last, name in enumerate(BY_NAME)}


@dataclass(frozen=True, slots=True)
class Directory:
    """Who does what: the built-in table, and what a file or a test put over it."""

    overrides: Mapping[str, FarEnd]

    def find(self, address: str) -> FarEnd:
        """Return what an address does: a number, `sip:name@host` or `client:name`; any other as …0100."""
        for key in (address, _name(address)):
            if key in self.overrides:
                return self.overrides[key]
        name = BY_NUMBER.get(_name(address), _name(address))
        return BY_NAME.get(name) or self.overrides.get("default", ANSWERS)


def _name(address: str) -> str:
    """Return the name in an address: `busy` of `sip:busy@example.com` and of `client:busy?x=1`."""
    for scheme in ("sip:", "sips:", "client:"):
        if address.lower().startswith(scheme):
            rest = address[len(scheme) :]
            return rest.partition("@")[0].partition("?")[0].partition(";")[0]
    return address


def is_keys(answer: str) -> bool:
    """Return whether an answer is pressed: keys and nothing else; any other is said."""
    return _KEYS.fullmatch(answer) is not None


def load(path: Path) -> dict[str, FarEnd]:
    """Read a TOML file: one table per address, keys as FarEnd's fields with hyphens, times with units.

    Raises FarEndError.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FarEndError(f"can't read {path}: {reason}") from error
    return parse(tables)


def parse(tables: Mapping[str, object], *, as_json: bool = False) -> dict[str, FarEnd]:
    """Turn tables, one per address, into far ends; as JSON their keys have underscores, and seconds may be numbers.

    Raises FarEndError.
    """
    return {address: _far_end(address, table, as_json=as_json) for address, table in tables.items()}


def as_table(far_end: FarEnd) -> dict[str, object]:
    """Return a far end as it is written in JSON, without what it has no value for."""
    table = {field.name: getattr(far_end, field.name) for field in fields(FarEnd)}
    table["answers"] = list(far_end.answers)
    table["confidence"] = False if far_end.confidence is None else far_end.confidence
    return {key: value for key, value in table.items() if value is not None and (key, value) != ("answered_by", "")}


def checked(address: str, far_end: object) -> FarEnd:
    """Return a far end that makes sense; raise FarEndError for any other, and for what is none."""
    if not isinstance(far_end, FarEnd):
        raise FarEndError(f'["{address}"] must be a FarEnd, such as FarEnd("busy")')
    return _far_end(address, as_table(far_end), as_json=True)


def check_all(far_ends: object) -> None:
    """Raise FarEndError unless these are far ends by address, each of which makes sense."""
    if not isinstance(far_ends, Mapping):
        raise FarEndError("far_end must have a FarEnd for each address, as load_far_ends(FILE) returns them")
    for address, far_end in far_ends.items():
        checked(address, far_end)


def _far_end(address: str, table: object, *, as_json: bool) -> FarEnd:
    if not isinstance(table, Mapping):
        raise FarEndError(f'["{address}"] must be a table')
    known = {field.name if as_json else field.name.replace("_", "-"): field.name for field in fields(FarEnd)}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise FarEndError(f'["{address}"] {unknown[0]}: unknown key; known are {", ".join(known)}')
    values = {known[key]: _checked(address, key, value, as_json=as_json) for key, value in table.items()}
    return FarEnd(**values)  # type: ignore[arg-type]  # each value was checked by its key


def seconds_of(value: object, *, as_json: bool = True) -> float | None:
    """Return the seconds that a value stands for: a text with a unit or, as JSON, a number; None for neither."""
    if as_json and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value <= MAX_SECONDS else None
    time = _TIME.fullmatch(value) if isinstance(value, str) else None
    return None if time is None else float(time[1]) * _SECONDS[time[2]]


def _is_answer(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_WORDS


def _checked(address: str, key: str, value: object, *, as_json: bool) -> object:
    match key.replace("_", "-"):
        case "outcome":
            good = value in OUTCOMES
            wanted = f"one of {', '.join(OUTCOMES)}"
        case "answered-by":
            good = value in KINDS
            wanted = f"one of {', '.join(KINDS)}"
        case "digits":
            good = isinstance(value, str) and is_keys(value)
            wanted = "digits, * and #"
        case "words":
            good = isinstance(value, str) and len(value) <= MAX_WORDS
            wanted = f"what it says, up to {MAX_WORDS} characters"
        case "answers":
            if isinstance(value, list) and len(value) <= MAX_ANSWERS and all(map(_is_answer, value)):
                return tuple(value)
            good = False
            wanted = f"up to {MAX_ANSWERS} texts of up to {MAX_WORDS} characters"
        case "confidence":
            if value is False:
                return None
            good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
            wanted = "a number from 0 to 1, or false for none"
        case "voicemail":
            good = isinstance(value, bool)
            wanted = "true or false"
        case "sip-code":
            good = isinstance(value, int) and 400 <= value <= 699
            wanted = "a SIP error code, 400 to 699"
        case _:
            seconds = seconds_of(value, as_json=as_json)
            if seconds is not None:
                return seconds
            good = False
            wanted = 'a time with its unit, such as "3s" or "500ms"' + (", or seconds as a number" if as_json else "")
    if not good:
        raise FarEndError(f'["{address}"] {key} = {value!r}: expected {wanted}')
    return value
