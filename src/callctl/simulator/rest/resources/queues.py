"""Queues: create, list, fetch, update and delete."""

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.rest import listing, requests, serializers
from callctl.simulator.rest.requests import Form
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, named, routes_of
from callctl.simulator.switch.queue import DEFAULT_SIZE, MAX_SIZE, Queue
from callctl.simulator.switch.queue import Queues as AllQueues
from callctl.simulator.twiml.verbs.queue import MAX_NAME


class Queues:
    """Twilio's operations on queues."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def _queues(self) -> AllQueues:
        return self._endpoint.switch.queues

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = self._endpoint.account_path("/Queues")
        return routes_of(
            path, create=self._create, list_=self._list, fetch=self._fetch, update=self._update, delete=self._delete
        )

    async def _create(self, request: web.Request) -> web.Response:
        form = await self._endpoint.form(request)
        queue = self._queues.create(self._name(form), _size(form))
        return web.json_response(self._shown(queue), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        page = listing.page(self._queues.newest_first, request.query, matches=lambda _: True)
        return as_page(request, "queues", page, [self._shown(each) for each in page.items])

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._find(request)))

    async def _update(self, request: web.Request) -> web.Response:
        form = await self._endpoint.form(request)
        queue = self._find(request)
        self._queues.change(queue, self._name(form, of=queue), _size(form, queue.max_size))
        return web.json_response(self._shown(queue))

    async def _delete(self, request: web.Request) -> web.Response:
        queue = self._find(request)
        if queue.members:
            raise ApiError(20009)  # only an empty one can be deleted (OAS); the code is inferred
        self._queues.remove(queue)
        return web.Response(status=204)

    def _find(self, request: web.Request) -> Queue:
        return named(request, self._queues.find)

    def _name(self, form: Form, of: Queue | None = None) -> str:
        """Return the name that a queue is given; raise ApiError for none, or one that another has."""
        name = requests.text_of(form, "FriendlyName") or ("" if of is None else of.name)
        if not name or len(name) > MAX_NAME:
            raise ApiError(20001, f"FriendlyName must have 1 to {MAX_NAME} characters")
        if self._queues.named(name) not in (None, of):
            raise ApiError(22003, name)
        return name

    def _shown(self, queue: Queue) -> serializers.Json:
        settings = self._endpoint.settings
        return {
            "sid": queue.sid,
            "account_sid": settings.account_sid,
            "friendly_name": queue.name,
            "current_size": len(queue.members),
            "max_size": queue.max_size,
            "average_wait_time": self._queues.average_waiting_time(queue),
            "date_created": serializers.time(queue.created),
            "date_updated": serializers.time(queue.updated),
            "uri": f"{serializers.account_path(settings)}/Queues/{queue.sid}.json",
        }


def _size(form: Form, default: int = DEFAULT_SIZE) -> int:
    size = requests.whole_of(form, "MaxSize", default, least=1)
    if size > MAX_SIZE:
        raise ApiError(20001, f"MaxSize must be {MAX_SIZE} at most")
    return size
