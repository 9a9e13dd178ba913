"""Twilio's API over HTTP: what holds for every request. Each resource has a file; the rules are in `switch/`."""

import asyncio
import base64
import binascii
import hmac
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OnTraffic, Received, ignore
from callctl.simulator.rest import serializers
from callctl.simulator.rest.requests import MAX_BODY, Form, Handler
from callctl.simulator.rest.resources.applications import Applications
from callctl.simulator.rest.resources.calls import Calls
from callctl.simulator.rest.resources.conferences import Conferences
from callctl.simulator.rest.resources.far_ends import FarEnds
from callctl.simulator.rest.resources.notifications import Notifications
from callctl.simulator.rest.resources.participants import Participants
from callctl.simulator.rest.resources.phone_numbers import PhoneNumbers
from callctl.simulator.rest.resources.queue_members import QueueMembers
from callctl.simulator.rest.resources.queues import Queues
from callctl.simulator.rest.resources.recordings import RecordingResources
from callctl.simulator.rest.resources.survey import Survey
from callctl.simulator.rest.routing import Endpoint
from callctl.simulator.settings import ACTIVE, Settings
from callctl.simulator.switch.switch import Switch

RESOURCES = (
    Applications,
    Conferences,
    FarEnds,
    Notifications,
    Participants,
    PhoneNumbers,
    QueueMembers,
    Queues,
    RecordingResources,
)
READING = frozenset({"GET", "HEAD"})
TRIED = ("/Calls.json", "/IncomingPhoneNumbers.json")  # what test credentials may create, messages aside
SECRET_HEADERS = frozenset({"authorization", "cookie"})


class Api:
    """The web application: it authenticates, answers and records each request."""

    def __init__(
        self,
        settings: Settings,
        switch: Switch,
        *,
        chance: Chance,
        wall: Callable[[], datetime],
        on_traffic: OnTraffic = ignore,
    ) -> None:
        self._settings = settings
        self._chance = chance
        self._on_traffic = on_traffic
        self._wall = wall
        self._created = wall()
        self._endpoint = Endpoint(settings, switch)
        self._calls = Calls(self._endpoint)
        self._survey = Survey(self._endpoint)
        self._running = 0
        self._count = 0
        self._codes: dict[int, int] = {}  # of those that were refused
        self.received: deque[Received] = deque(maxlen=settings.keep_records)

    def application(self) -> web.Application:
        """Return the aiohttp application, with every path below the base path."""
        app = web.Application(middlewares=[self._around], client_max_size=MAX_BODY)
        app.router.add_get(self._endpoint.account_path(".json"), self._account, allow_head=False)
        others = (resource(self._endpoint) for resource in RESOURCES)
        for resource in (self._calls, *others, self._survey):
            app.router.add_routes(resource.routes())
        return app

    # Around every request

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count, delay, check and answer a request; errors are answered as Twilio would."""
        began = time.monotonic()
        self._running += 1
        running = self._running
        try:
            response = await self._checked(request, handler, running)
        finally:
            self._running -= 1
            form, code = self._endpoint.forms.pop(id(request), {}), self._codes.pop(id(request), None)
        self._count += 1
        response.headers["Twilio-Request-Id"] = "RQ" + self._chance.hexadecimal("RQ", self._count)
        response.headers["Twilio-Concurrent-Requests"] = str(running)
        response.headers["Twilio-Request-Duration"] = f"{time.monotonic() - began:.3f}"
        response.headers["X-Home-Region"] = "us1"
        response.headers["Date"] = format_datetime(self._wall().astimezone(UTC), usegmt=True)
        self._record(request, response.status, form, code)
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
        self._codes[id(request)] = error.code
        status, body = serializers.error(error, self._settings.dialect)
        response = web.json_response(body, status=status)
        if status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
        return response

    def _admit(self, request: web.Request) -> None:
        handler = request.match_info.handler
        of_account = handler == self._account
        _authenticate(request, self._settings, of_account=of_account)
        _check_standing(
            self._settings, of_account=of_account, creates=request.method == "POST" and request.path.endswith(TRIED)
        )
        _refuse_browsers(request)

    def _record(self, request: web.Request, status: int, form: Form, code: int | None) -> None:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in SECRET_HEADERS}
        received = Received(request.method, request.path, dict(request.query), form, headers, status, code)
        self.received.append(received)
        self._on_traffic(received)

    async def _account(self, _request: web.Request) -> web.Response:
        return web.json_response(serializers.account(self._settings, self._created))


def _authenticate(request: web.Request, settings: Settings, *, of_account: bool) -> None:
    """Let in the account with its token and the API key with its secret; this comes before existence."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        pair = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        pair = b""
    by_token = hmac.compare_digest(pair, f"{settings.account_sid}:{settings.auth_token}".encode())
    by_key = hmac.compare_digest(pair, f"{settings.api_key}:{settings.api_secret}".encode())
    if scheme.lower() != "basic" or not (by_token or by_key):
        raise ApiError(20003)
    if by_key and not by_token and of_account:
        raise ApiError(20003)  # a standard key has no access to /Accounts (AI:twilio-iam-auth-setup)
    account = request.match_info.get("account")
    if account is not None and account != settings.account_sid:
        raise ApiError(20404, request.path)  # what live Twilio says of another account in the path


def _check_standing(settings: Settings, *, of_account: bool, creates: bool) -> None:
    """Refuse what a suspended account may not do, and what test credentials may not (ERR 20403, 20008)."""
    if settings.account_status != ACTIVE and not of_account:
        raise ApiError(20403, f"Account is {settings.account_status}")
    if settings.test_credentials and not creates:
        raise ApiError(20008)


def _refuse_browsers(request: web.Request) -> None:
    """Refuse requests from pages in a browser, for every page knows the default credentials."""
    if request.method in READING:
        return
    if any(name in request.headers for name in ("Origin", "Referer", "Sec-Fetch-Site")):
        raise ApiError(20403, "Requests from a browser page are not accepted here")
