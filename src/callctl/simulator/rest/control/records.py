"""The requests received and made: all, or those after a number, about a call, of a direction or a kind."""

from itertools import islice

from aiohttp import web

from callctl.simulator.rest.control import query, shown
from callctl.simulator.rest.control.operations import Control
from callctl.simulator.rest.routing import Endpoint, Routes, get

DIRECTIONS = ("received", "sent")
KINDS = ("api", "document", "callback", "stream")


def routes(endpoint: Endpoint, _control: Control, path: str) -> Routes:
    """Return what is answered here."""

    async def list_(request: web.Request) -> web.Response:
        """Answer with records, and the number to give as `after` next: so a client misses none in between."""
        records = endpoint.world.records
        after, limit = query.whole(request, "after") or 0, query.whole(request, "limit")
        direction, kind = query.one_of(request, "direction", DIRECTIONS), query.one_of(request, "kind", KINDS)
        call = request.query.get("call")
        wanted = (
            record
            for record in records.after(after)
            if call in (None, record.call) and direction in (None, record.direction) and kind in (None, record.kind)
        )
        chosen = list(islice(wanted, limit))
        is_whole = limit is None or len(chosen) < limit
        last = records.last if is_whole else chosen[-1].number if chosen else after
        return web.json_response(
            {"run": endpoint.world.run, "requests": [shown.record(record) for record in chosen], "last": last}
        )

    return (get(f"{path}/requests", list_),)
