"""The parameters in a request's body: how many they may be, how large, and how long they may take to come."""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from callctl.simulator.rest.errors import ApiError

MAX_BODY = 64 * 1024  # over it 413 (docs/twilio.md, "Errors")
MAX_PARAMETERS = 1000
BODY_SECONDS = 15.0  # real ones; a client that never finishes holds a place among the requests at once until then

Form = Mapping[str, tuple[str, ...]]


async def read(request: web.Request) -> Form:
    """Return the body's parameters, repeated ones and empty ones included; raise ApiError for what is no form."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
    except TimeoutError as error:
        raise ApiError(20001, f"the body did not come within {BODY_SECONDS:g} s", status=408) from error
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError as error:
        raise ApiError(20001, "the body is no form of reasonable size") from error
    form: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        form[name] = (*form.get(name, ()), value)
    if "\x00" in "".join(form) or any("\x00" in value for _, value in pairs):
        raise ApiError(20001, "a NUL character")
    return form
