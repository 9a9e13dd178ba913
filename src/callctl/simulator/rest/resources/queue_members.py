"""Members of a queue: list, fetch, and take one out. Each is named by CallSid, the next one also as `Front`."""

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.models import Source
from callctl.simulator.rest import listing, requests, serializers
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, get, named
from callctl.simulator.switch.queue import Member, Queues

FRONT = "Front"


class QueueMembers:
    """Twilio's operations on those who wait in a queue."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def _queues(self) -> Queues:
        return self._endpoint.switch.queues

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = self._endpoint.account_path("/Queues/{queue}/Members")
        return (
            get(f"{path}.json", self._list),
            get(f"{path}/{{sid}}.json", self._fetch),
            web.post(f"{path}/{{sid}}.json", self._update),
        )

    async def _list(self, request: web.Request) -> web.Response:
        queue = named(request, self._queues.find, "queue")
        page = listing.page(queue.members.values, request.query, matches=lambda _: True)
        return as_page(request, "queue_members", page, [self._shown(each) for each in page.items])

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._find(request)))

    async def _update(self, request: web.Request) -> web.Response:
        form = await self._endpoint.form(request)
        member = self._find(request)
        url, method = requests.url_of(form, "Url"), requests.method_of(form, "Method")
        if not url:
            raise ApiError(20001, "Url is required")
        before = self._shown(member)
        self._queues.dequeue(member, Source(url, method))
        return web.json_response(before)

    def _find(self, request: web.Request) -> Member:
        queue = named(request, self._queues.find, "queue")
        member = named(request, lambda sid: queue.front() if sid == FRONT else queue.members.get(sid))
        self._endpoint.about(request, member.live.leg)
        return member

    def _shown(self, member: Member) -> serializers.Json:
        queue, sid = member.queue, member.leg.sid
        return {
            "queue_sid": queue.sid,
            "call_sid": sid,
            "date_enqueued": serializers.time(member.enqueued),
            "position": queue.position(member),
            "wait_time": self._queues.waiting_time(member),
            "uri": f"{serializers.account_path(self._endpoint.settings)}/Queues/{queue.sid}/Members/{sid}.json",
        }
