"""Calls: create, list, fetch, update and delete."""

from dataclasses import replace

from aiohttp import web

from callctl.simulator.models import Leg
from callctl.simulator.rest import listing, requests, serializers
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, routes_of
from callctl.simulator.settings import TIME_LIMIT_ALONE


class Calls:
    """Twilio's operations on calls."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = self._endpoint.account_path("/Calls")
        return routes_of(
            path, create=self.create, list_=self._list, fetch=self._fetch, update=self._update, delete=self._delete
        )

    async def create(self, request: web.Request) -> web.Response:
        """Place a call."""
        call = requests.read_call(await self._endpoint.form(request), self._endpoint.switch.possessions)
        if self._endpoint.settings.test_credentials:
            call = replace(call, subscription=None)  # test credentials never cause a callback
        leg = self._endpoint.about(request, self._endpoint.switch.place(call))
        return web.json_response(self._endpoint.shown(leg), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        register = self._endpoint.switch.register
        ignored = self._endpoint.settings.dialect.ignores_filters
        checks = [] if ignored else listing.filters(request.query)

        def matches(leg: Leg) -> bool:
            facts = register.visible_facts(leg)
            return all(check(leg, facts) for check in checks)

        page = listing.page(register.newest_first, request.query, matches=matches)
        return as_page(request, "calls", page, [self._endpoint.shown(leg) for leg in page.items])

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._endpoint.shown(self._endpoint.leg(request)))

    async def _update(self, request: web.Request) -> web.Response:
        leg, settings = self._endpoint.leg(request), self._endpoint.settings
        # OAS has TimeLimit alone among its examples of updates; other implementations refuse it (docs/twilio.md, "REST:
        # updating a call").
        alone = ("TimeLimit",) if TIME_LIMIT_ALONE in settings.readings else ()
        update = requests.read_update(await self._endpoint.form(request), enough=("StatusCallback", *alone))
        self._endpoint.switch.update(leg, update)
        return web.json_response(serializers.call(leg, leg.facts, settings))

    async def _delete(self, request: web.Request) -> web.Response:
        self._endpoint.switch.register.delete(self._endpoint.leg(request))
        return web.Response(status=204)
