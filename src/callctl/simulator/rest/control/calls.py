"""Calls as a test sees them: each with all that happened to it, the oldest first."""

from itertools import islice

from aiohttp import web

from callctl.simulator.errors import ControlError
from callctl.simulator.models import Leg
from callctl.simulator.records import Call
from callctl.simulator.rest.control import query, shown
from callctl.simulator.rest.routing import Endpoint, Routes, get


def routes(endpoint: Endpoint, path: str) -> Routes:
    """Return what is answered here."""

    async def list_(request: web.Request) -> web.Response:
        newest = islice(endpoint.switch.register.newest_first(), query.whole(request, "limit"))
        return web.json_response({"calls": [shown.call(Call.of(leg)) for leg in reversed(tuple(newest))]})

    async def fetch(request: web.Request) -> web.Response:
        return web.json_response(shown.call(Call.of(_leg(endpoint, request.match_info["sid"]))))

    return (get(f"{path}/calls", list_), get(f"{path}/calls/{{sid}}", fetch))


def _leg(endpoint: Endpoint, sid: str) -> Leg:
    leg = endpoint.switch.register.find(sid)
    if leg is None:
        raise ControlError(20404, f"there is no call {sid}")
    return leg
