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
        world, since = endpoint.world, query.seconds(request, "since")
        legs = world.switch.register.newest_first()
        wanted = legs if since is None else (leg for leg in legs if not leg.is_final or _changed(leg) >= since)
        newest = islice(wanted, query.whole(request, "limit"))
        calls = [shown.call(Call.of(leg)) for leg in reversed(tuple(newest))]
        return web.json_response({"run": world.run, "at": world.clock.now(), "calls": calls})

    async def fetch(request: web.Request) -> web.Response:
        return web.json_response(shown.call(Call.of(_leg(endpoint, request.match_info["sid"]))))

    return (get(f"{path}/calls", list_), get(f"{path}/calls/{{sid}}", fetch))


def _changed(leg: Leg) -> float:
    """Return when a leg got its status or its last notification, in simulated seconds."""
    return max(leg.timeline[-1][0].at, leg.notifications[-1].at if leg.notifications else 0.0)


def _leg(endpoint: Endpoint, sid: str) -> Leg:
    leg = endpoint.switch.register.find(sid)
    if leg is None:
        raise ControlError(20404, f"there is no call {sid}")
    return leg
