"""The simulator itself: whether it runs and how, and the description of all that is below /simulator."""

from functools import cache
from pathlib import Path

from aiohttp import web

from callctl import __version__
from callctl.simulator.rest.routing import Endpoint, Routes, get

DESCRIPTION = Path(__file__).with_name("openapi.json")


def routes(endpoint: Endpoint, path: str) -> Routes:
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

    return (get(f"{path}/health", health), get(f"{path}/openapi.json", described))


@cache
def _description() -> bytes:
    return DESCRIPTION.read_bytes()
