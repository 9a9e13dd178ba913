"""Twilio's Calls API over HTTP: paths, credentials, forms in and JSON out. The rules are in `switch/`.

Beside it, under `/simulator`: calls that come in, what a far end does, and a survey's TwiML.
"""

import asyncio
import base64
import binascii
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OnTraffic, Received, ignore
from callctl.simulator.models import API_VERSION, Leg
from callctl.simulator.rest import listing, requests, resources
from callctl.simulator.rest.requests import MAX_BODY, Form
from callctl.simulator.settings import ACTIVE, TIME_LIMIT_ALONE, Settings
from callctl.simulator.switch.switch import Switch

READING = frozenset({"GET", "HEAD"})
SECRET_HEADERS = frozenset({"authorization", "cookie"})
# A document to send calls to before one has written any: it asks one question, and takes one digit.
SURVEY_PATH = "/simulator/survey"
SURVEY_QUESTION = (
    '<Response><Gather numDigits="1"><Say>How satisfied were you, from one to five?</Say></Gather>'
    "<Say>Thank you. Goodbye.</Say></Response>"
)
SURVEY_THANKS = "<Response><Say>Thank you. Goodbye.</Say></Response>"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
        self._switch = switch
        self._chance = chance
        self._on_traffic = on_traffic
        self._wall = wall
        self._created = wall()
        self._survey_path = f"{settings.base_path}{SURVEY_PATH}"
        self._running = 0
        self._count = 0
        self._forms: dict[int, Form] = {}  # of the requests under way
        self._codes: dict[int, int] = {}  # of those that were refused
        self.received: deque[Received] = deque(maxlen=settings.keep_records)

    def application(self) -> web.Application:
        """Return the aiohttp application, with every path below the base path."""
        app = web.Application(middlewares=[self._around], client_max_size=MAX_BODY)
        calls = f"{self._settings.base_path}/{API_VERSION}/Accounts/{{account}}"
        far_end = f"{self._settings.base_path}/simulator/calls"
        app.router.add_get(f"{calls}.json", self._account, allow_head=False)
        app.router.add_post(f"{calls}/Calls.json", self._create)
        app.router.add_get(f"{calls}/Calls.json", self._list, allow_head=False)
        app.router.add_get(f"{calls}/Calls/{{sid}}.json", self._fetch, allow_head=False)
        app.router.add_post(f"{calls}/Calls/{{sid}}.json", self._update)
        app.router.add_delete(f"{calls}/Calls/{{sid}}.json", self._delete)
        app.router.add_get(f"{calls}/Calls/{{sid}}/Notifications.json", self._notifications, allow_head=False)
        app.router.add_post(far_end, self._incoming)
        app.router.add_post(f"{far_end}/{{sid}}/{{action}}", self._far_end_acts)
        app.router.add_route("*", self._survey_path, self._survey)
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
            form, code = self._forms.pop(id(request), {}), self._codes.pop(id(request), None)
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
            if request.path != self._survey_path:
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
            return self._refusal(request, ApiError(20404, request.path))

    def _refusal(self, request: web.Request, error: ApiError) -> web.Response:
        self._codes[id(request)] = error.code
        status, body = resources.error(error, self._settings.dialect)
        response = web.json_response(body, status=status)
        if status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
        return response

    def _admit(self, request: web.Request) -> None:
        handler = request.match_info.handler
        of_account = handler == self._account
        _authenticate(request, self._settings, of_account=of_account)
        _check_standing(self._settings, of_account=of_account, creates=handler == self._create)
        _refuse_browsers(request)

    def _record(self, request: web.Request, status: int, form: Form, code: int | None) -> None:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in SECRET_HEADERS}
        received = Received(request.method, request.path, dict(request.query), form, headers, status, code)
        self.received.append(received)
        self._on_traffic(received)

    async def _form(self, request: web.Request) -> Form:
        form = await requests.read_form(request)
        self._forms[id(request)] = form
        return form

    def _leg(self, request: web.Request) -> Leg:
        leg = self._switch.register.find(request.match_info["sid"])
        if leg is None:
            raise ApiError(20404, request.path)
        return leg

    def _shown(self, leg: Leg) -> resources.Json:
        return resources.call(leg, self._switch.register.visible_facts(leg), self._settings)

    # Twilio's operations

    async def _account(self, _request: web.Request) -> web.Response:
        return web.json_response(resources.account(self._settings, self._created))

    async def _create(self, request: web.Request) -> web.Response:
        call = requests.read_call(await self._form(request))
        if self._settings.test_credentials:
            call = replace(call, subscription=None)  # test credentials never cause a callback
        leg = self._switch.place(call)
        return web.json_response(self._shown(leg), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        register = self._switch.register
        ignored = self._settings.dialect.ignores_filters
        checks = [] if ignored else listing.filters(request.query)

        def matches(leg: Leg) -> bool:
            facts = register.visible_facts(leg)
            return all(check(leg, facts) for check in checks)

        page = listing.page(register.newest_first, request.query, matches=matches)
        body = page.envelope(request.path, uri=request.path_qs)
        body["calls"] = [self._shown(leg) for leg in page.items]
        return web.json_response(body)

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._leg(request)))

    async def _update(self, request: web.Request) -> web.Response:
        leg = self._leg(request)
        # OAS has TimeLimit alone among its examples of updates; other implementations refuse it (docs/twilio.md, "REST:
        # updating a call").
        alone = ("TimeLimit",) if TIME_LIMIT_ALONE in self._settings.readings else ()
        update = requests.read_update(await self._form(request), enough=("StatusCallback", *alone))
        self._switch.update(leg, update)
        return web.json_response(resources.call(leg, leg.facts, self._settings))

    async def _delete(self, request: web.Request) -> web.Response:
        self._switch.register.delete(self._leg(request))
        return web.Response(status=204)

    async def _notifications(self, request: web.Request) -> web.Response:
        notes = self._leg(request).notifications
        page = listing.page(lambda: reversed(notes), request.query, matches=lambda _: True)
        body = page.envelope(request.path, uri=request.path_qs)
        body["notifications"] = [resources.notification(note, self._settings) for note in page.items]
        return web.json_response(body)

    # The far end

    async def _incoming(self, request: web.Request) -> web.Response:
        leg = self._switch.receive(requests.read_incoming(await self._form(request)))
        return web.json_response(self._shown(leg), status=201)

    async def _far_end_acts(self, request: web.Request) -> web.Response:
        leg = self._leg(request)
        match request.match_info["action"]:
            case "answer":
                self._switch.far_end_answers(leg)
            case "hangup":
                self._switch.far_end_hangs_up(leg)
            case "digits":
                form = await self._form(request)
                self._switch.far_end_presses(leg, requests.read_digits(form))
            case _:
                raise ApiError(20404, request.path)
        return web.json_response(self._shown(leg))

    async def _survey(self, request: web.Request) -> web.Response:
        """Answer as an application of one's own would: to a Gather's digits with thanks. It needs no credentials."""
        form = await self._form(request)
        has_digits = "Digits" in form or "Digits" in request.query
        return web.Response(text=SURVEY_THANKS if has_digits else SURVEY_QUESTION, content_type="text/xml")


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
