"""The simulator itself: whether it runs and how, its time, a fresh start, a seed; and what describes all of this."""

from functools import cache
from pathlib import Path

from aiohttp import web

from callctl import __version__
from callctl.simulator.errors import ControlError
from callctl.simulator.rest.control import body
from callctl.simulator.rest.control.operations import LIMIT, Control
from callctl.simulator.rest.routing import Endpoint, Routes, get

DESCRIPTION = Path(__file__).with_name("openapi.json")


def routes(endpoint: Endpoint, control: Control, path: str) -> Routes:
    """Return what is answered here."""

    async def health(_request: web.Request) -> web.Response:
        world = endpoint.world
        return web.json_response(
            {
                "status": "ok",
                "version": __version__,
                "account_sid": endpoint.settings.account_sid,
                "clock": "real" if world.manual_clock is None else "manual",
                "at": world.clock.now(),
                "strict": endpoint.settings.strict,
            }
        )

    async def described(_request: web.Request) -> web.Response:
        return web.Response(body=_description(), content_type="application/json")

    async def advance(request: web.Request) -> web.Response:
        given = await body.read(request, "seconds", "until", "limit")
        if ("seconds" in given) == ("until" in given):
            raise ControlError(20001, 'give either {"seconds": 90} or {"until": {"status": "completed"}}')
        if "seconds" in given and "limit" in given:
            raise ControlError(20001, "limit goes with until")
        if "seconds" in given:
            passed = await control.advance(given.seconds("seconds"))
        else:
            passed = await _advance_until(control, given)
        return web.json_response({"at": endpoint.world.clock.now(), "advanced": passed})

    async def reset(request: web.Request) -> web.Response:
        await body.read(request)
        await control.reset()
        return web.json_response({"at": 0})

    async def seed(request: web.Request) -> web.Response:
        made = control.seed(await body.read_json(request))
        numbers = [{"sid": each.sid, "phone_number": each.address} for each in made if "phone_number" in each.fields]
        applications = [
            {"sid": each.sid, "friendly_name": each.text("friendly_name")}
            for each in made
            if "phone_number" not in each.fields
        ]
        return web.json_response({"numbers": numbers, "applications": applications})

    return (
        web.get(f"{path}/health", health),  # also as HEAD, by which some wait for a server
        get(f"{path}/openapi.json", described),
        web.post(f"{path}/advance", advance),
        web.post(f"{path}/reset", reset),
        web.post(f"{path}/seed", seed),
    )


async def _advance_until(control: Control, given: body.Body) -> float:
    until = body.Body(given.value("until"), ("status", "call", "request", "idle"), where="until")
    return await control.advance_until(
        status=until.text("status") if "status" in until else None,
        call=until.text("call") if "call" in until else None,
        request=until.text("request") if "request" in until else None,
        is_idle=until.flag("idle"),
        limit=given.seconds("limit", LIMIT),
    )


@cache
def _description() -> bytes:
    return DESCRIPTION.read_bytes()
