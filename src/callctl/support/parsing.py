"""Reads values as others write them, whatever they hold: JSON, texts, whole numbers, prices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import Any

_LARGEST = 10**15


def parse_text(value: object) -> str:
    """Read a text that may come as a number (codes, log levels); empty for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def parse_int(value: object) -> int | None:
    """Read a whole number that may come as text (Twilio) or as a number (SignalWire); None for anything else.

    None as well for one of more than 15 digits: nothing that is counted here is so large, and neither SQLite nor a
    ``timedelta`` could hold it.
    """
    if isinstance(value, str):
        return _read_int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST else None


# Most durations of a list have been read before.
@lru_cache(maxsize=1024)
def _read_int(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if abs(number) < _LARGEST else None


def parse_price(value: object) -> Decimal | None:
    """Read a price, negative where money was charged; None until Twilio has rated the call."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return _read_price(value if isinstance(value, str) else str(value))


# Most calls of a list have one of a few prices.
@lru_cache(maxsize=64)
def _read_price(text: str) -> Decimal | None:
    try:
        price = Decimal(text.strip())
    except (InvalidOperation, ValueError):
        return None
    # What a float holds: prices are written as JSON numbers.
    return price if price.is_finite() and -_LARGEST < price < _LARGEST else None


_DEEPEST = 50  # arrays and objects within one another


def read_json(text: str) -> Any:
    """Read JSON that somebody else wrote, whatever it holds; what JSON can't hold or UTF-8 can't carry is replaced.

    Raises:
        ValueError: It is no JSON, or nested too deeply to be read.
    """
    try:
        value = _decoder()(text)
    except ValueError as error:
        import json

        if isinstance(error, json.JSONDecodeError):
            raise
        value = json.loads(text, parse_constant=_none, parse_int=_digits)  # a number of more digits than Python reads
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    # Half of a surrogate pair can come in by an escape only. Most texts have none of any kind.
    may_be_halved = "\\" in text and ("\\ud" in text or "\\uD" in text)
    return writable(value) if may_be_halved else value


def _none(_name: str) -> None:
    """Return what stands for NaN and the infinities, which are no JSON."""


@cache
def _decoder() -> Callable[[str], Any]:
    import json

    return json.JSONDecoder(parse_constant=_none).decode


def _digits(text: str) -> int | str:
    return int(text) if len(text) < 100 else text


def writable(value: Any, *, depth: int = _DEEPEST) -> Any:
    """Return a value that JSON can hold and UTF-8 can carry.

    None stands for a number that is not finite and for what is nested too deeply, ``\ufffd`` for half of a surrogate
    pair.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {writable(key): writable(item, depth=depth - 1) for key, item in value.items()} if depth else None
    if isinstance(value, (list, tuple)):
        return [writable(item, depth=depth - 1) for item in value] if depth else None
    return value
