"""Twilio's API over HTTP: what holds for every request. Each resource has a file; the rules are in `switch/`."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import Moment, Received, Reply
from callctl.simulator.rest import access, serializers
from callctl.simulator.rest.control.operations import Control
from callctl.simulator.rest.control.surface import ControlSurface
from callctl.simulator.rest.requests import MAX_BODY, Handler
from callctl.simulator.rest.resources.applications import Applications
from callctl.simulator.rest.resources.call_events import CallEvents
from callctl.simulator.rest.resources.calls import Calls
from callctl.simulator.rest.resources.conferences import Conferences
from callctl.simulator.rest.resources.notifications import Notifications
from callctl.simulator.rest.resources.participants import Participants
from callctl.simulator.rest.resources.phone_numbers import PhoneNumbers
from callctl.simulator.rest.resources.queue_members import QueueMembers
from callctl.simulator.rest.resources.queues import Queues
from callctl.simulator.rest.resources.recordings import RecordingResources
from callctl.simulator.rest.resources.survey import Survey
from callctl.simulator.rest.routing import Endpoint, Exchange

RESOURCES = (
    Applications,
    CallEvents,
    Conferences,
    Notifications,
    Participants,
    PhoneNumbers,
    QueueMembers,
    Queues,
    RecordingResources,
)
TRIED = ("/Calls.json", "/IncomingPhoneNumbers.json")  # what test credentials may create, messages aside
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})


class Api:
    """The web application: it authenticates, answers and records each request."""

    def __init__(self, endpoint: Endpoint, control: Control, *, chance: Chance, wall: Callable[[], datetime]) -> None:
        self._settings = endpoint.settings
        self._chance = chance
        self._wall = wall
        self._endpoint = endpoint
        self._calls = Calls(endpoint)
        self._survey = Survey(endpoint)
        self._control = ControlSurface(endpoint, control)
        self._running = 0

    def application(self) -> web.Application:
        """Return the aiohttp application, with every path below the base path."""
        app = web.Application(middlewares=[self._around], client_max_size=MAX_BODY)
        app.router.add_get(self._endpoint.account_path(".json"), self._account, allow_head=False)
        others = (resource(self._endpoint) for resource in RESOURCES)
        for resource in (self._calls, *others, self._control, self._survey):
            app.router.add_routes(resource.routes())
        return app

    # Around every request

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count, delay, check and answer a request; errors are answered as Twilio would."""
        if self._control.is_for(request):
            return await self._control.answer(request, handler)
        world = self._endpoint.world
        began, when = time.monotonic(), world.records.moment()
        self._running += 1
        running = self._running
        try:
            response = await self._checked(request, handler, running)
        finally:
            self._running -= 1
            exchange = self._endpoint.exchanges.pop(id(request), Exchange())
        world.answered += 1
        response.headers["Twilio-Request-Id"] = "RQ" + self._chance.hexadecimal("RQ", world.answered)
        response.headers["Twilio-Concurrent-Requests"] = str(running)
        response.headers["Twilio-Request-Duration"] = f"{time.monotonic() - began:.3f}"
        response.headers["X-Home-Region"] = "us1"
        response.headers["Date"] = format_datetime(self._wall().astimezone(UTC), usegmt=True)
        world.records.received(_record(request, response, exchange, when))
        return response

    async def _checked(self, request: web.Request, handler: Handler, running: int) -> web.StreamResponse:
        try:
            if request.path != self._survey.path:
                self._admit(request)
            if self._settings.concurrency and running > self._settings.concurrency:
                raise ApiError(20429)  # not processed (ERR 20429)
            if self._settings.latency:
                await asyncio.sleep(self._settings.latency)
            return await handler(request)
        except ApiError as error:
            response = self._refusal(request, error)
            if error.status == 408:
                response.force_close()  # the rest of the body may still come, and is no request
            return response
        except web.HTTPRequestEntityTooLarge:
            return self._refusal(request, ApiError(20001, "the body is too large", status=413))
        except web.RequestPayloadError:
            response = self._refusal(request, ApiError(20001, "the body is not encoded as its headers say"))
            response.force_close()  # what follows on this connection can't be read either
            return response
        except web.HTTPMethodNotAllowed as error:
            response = self._refusal(request, ApiError(20004))
            response.headers["Allow"] = ",".join(sorted(error.allowed_methods))
            return response
        except web.HTTPException as error:
            if error.status >= 500:
                raise
            return self._refusal(request, ApiError(20404, request.path, hint=": the simulator does not imitate it"))

    def _refusal(self, request: web.Request, error: ApiError) -> web.Response:
        self._endpoint.exchange(request).code = error.code
        status, body = serializers.error(error, self._settings.dialect)
        response = web.json_response(body, status=status)
        if status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
        return response

    def _admit(self, request: web.Request) -> None:
        handler = request.match_info.handler
        of_account = handler == self._account
        access.authenticate(request, self._settings, of_account=of_account)
        access.check_standing(
            self._settings, of_account=of_account, creates=request.method == "POST" and request.path.endswith(TRIED)
        )
        access.refuse_browsers(request)

    async def _account(self, _request: web.Request) -> web.Response:
        return web.json_response(serializers.account(self._settings, self._endpoint.world.created))


def _record(request: web.Request, response: web.StreamResponse, exchange: Exchange, when: Moment) -> Received:
    query = {name: tuple(request.query.getall(name)) for name in request.query}
    headers = {name: value for name, value in request.headers.items() if name.lower() not in SECRET_HEADERS}
    body = response.body if isinstance(response, web.Response) else None
    text = body if isinstance(body, bytes) else b""  # a recording's file is sent piece by piece
    reply = Reply(response.status, text, response.content_type)
    form, code, call = exchange.form, exchange.code, exchange.call
    return Received(request.method, request.path, query, form, headers, reply, code, call, when)
