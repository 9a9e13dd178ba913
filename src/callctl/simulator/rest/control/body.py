"""The JSON body of a request at /simulator, whatever its Content-Type says, and what its keys hold."""

import asyncio
import json
from collections.abc import Collection, Mapping

from aiohttp import web

from callctl.simulator.errors import ControlError
from callctl.simulator.far_end import seconds_of
from callctl.simulator.rest import requests


class Body:
    """A JSON object with no other keys than those that are known; raises ControlError, which names key and place."""

    def __init__(self, values: object, known: Collection[str], *, where: str = "the body") -> None:
        if not isinstance(values, Mapping):
            raise ControlError(20001, f"{where} must be a JSON object, as {{{', '.join(known)}}}")
        unknown = [key for key in values if key not in known]
        if unknown:
            raise ControlError(20001, f"{str(unknown[0])[:40]!r}: unknown key in {where}; known are {', '.join(known)}")
        self._values = {key: value for key, value in values.items() if value is not None}
        self._where = where

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def value(self, key: str) -> object:
        """Return whatever a key holds; None where it is not there."""
        return self._values.get(key)

    def text(self, key: str, default: str | None = "") -> str:
        """Return a text; where it is not there the default, which None makes an error."""
        value = self._values.get(key, default)
        if not isinstance(value, str):
            raise self._error(key, "a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty where it is not there."""
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise self._error(key, "a list of texts")
        return tuple(values)

    def pairs(self, key: str) -> dict[str, str]:
        """Return an object whose values are texts, empty where it is not there."""
        value = self._values.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise self._error(key, "an object of texts")
        return value

    def whole(self, key: str) -> int | None:
        """Return a whole number; None where it is not there."""
        value = self._values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self._error(key, "a whole number")
        return value

    def flag(self, key: str) -> bool:
        """Return whether a key is true; it is not where it is not there."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise self._error(key, "true or false")
        return value

    def seconds(self, key: str, default: float | None = None) -> float:
        """Return seconds, a number or a text with a unit; where they are not there the default, which None forbids."""
        value = self._values.get(key, default)
        seconds = seconds_of(value)
        if seconds is None:
            raise self._error(key, 'seconds, 0 or more, as a number, or a text with its unit, as "90s"')
        return seconds

    def _error(self, key: str, wanted: str) -> ControlError:
        if key not in self._values:
            return ControlError(20001, f"{key} is missing in {self._where}: expected {wanted}")
        shown = json.dumps(self._values[key])
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        return ControlError(20001, f"{key} in {self._where} is {shown}: expected {wanted}")


async def read(request: web.Request, *known: str) -> Body:
    """Read the body of a request; none at all stands for an empty object."""
    return Body(await read_json(request), known)


async def read_json(request: web.Request) -> object:
    """Return the JSON that a request's body is; raise ControlError for what is none."""
    try:
        async with asyncio.timeout(requests.BODY_SECONDS):
            body = await request.read()
    except TimeoutError as error:
        sentence = f"the body did not come within {requests.BODY_SECONDS:g} s"
        raise ControlError(20001, sentence, status=408) from error
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
        _check(value)
    except (ValueError, RecursionError) as error:  # UnicodeError is one, too
        raise ControlError(20001, f"the body is no JSON: {str(error)[:200]}") from error
    return value


def _check(value: object) -> None:
    """Raise ValueError for a text that can't be sent on."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("a NUL character")
        value.encode()
    elif isinstance(value, list):
        for each in value:
            _check(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            _check(key)
            _check(each)
