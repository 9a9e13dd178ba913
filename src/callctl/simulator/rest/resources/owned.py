"""What phone numbers and applications have in common over REST: create, list, fetch, update and delete."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from email.utils import format_datetime

from aiohttp import web

from callctl.simulator.rest import listing
from callctl.simulator.rest.requests import Form
from callctl.simulator.rest.resources import fields
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, named, routes_of
from callctl.simulator.rest.serializers import Json, account_path
from callctl.simulator.switch.owned import Owned, Possessions, Shelf


class OwnedResource(ABC):
    """Twilio's operations on one kind of what an account owns; `name` is in its path, `key` in its list."""

    name: str
    key: str
    parameters: Mapping[str, fields.Read]

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = self._endpoint.account_path(f"/{self.name}")
        return routes_of(
            path, create=self._create, list_=self._list, fetch=self._fetch, update=self._update, delete=self._delete
        )

    @property
    def _possessions(self) -> Possessions:
        return self._endpoint.switch.possessions

    @property
    @abstractmethod
    def shelf(self) -> Shelf:
        """Where they are kept."""

    @abstractmethod
    def fields_of_new(self, form: Form) -> dict[str, object]:
        """Return the fields of a new one, before what the form sets; raise ApiError for one that can't be had."""

    @abstractmethod
    def check(self, form: Form, changed: dict[str, object]) -> dict[str, object]:
        """Return what a form sets, and what follows from it; raise ApiError."""

    @abstractmethod
    def filters(self, query: listing.Query) -> list[Callable[[Owned], bool]]:
        """Return the checks of a list's filters."""

    def remove(self, owned: Owned) -> None:
        """Own it no longer."""
        self.shelf.remove(owned)

    def create(self, form: Form) -> Owned:
        """Own a new one, as a form says; raise ApiError where that can't be."""
        new = self.fields_of_new(form)
        set_now = new | self.check(form, fields.changes(form, self.parameters, before=new))
        is_kept = not self._endpoint.settings.test_credentials  # these change nothing in the account
        return self.shelf.add(set_now, is_kept=is_kept)

    def change(self, owned: Owned, form: Form) -> Owned:
        """Set what a form says; raise ApiError where that can't be."""
        self.shelf.change(owned, self.check(form, fields.changes(form, self.parameters, before=owned.fields)))
        return owned

    async def _create(self, request: web.Request) -> web.Response:
        owned = self.create(await self._endpoint.form(request))
        return web.json_response(self._shown(owned), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        checks = [] if self._endpoint.settings.dialect.ignores_filters else self.filters(request.query)
        page = listing.page(
            self.shelf.newest_first, request.query, matches=lambda owned: all(check(owned) for check in checks)
        )
        return as_page(request, self.key, page, [self._shown(owned) for owned in page.items])

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._named(request)))

    async def _update(self, request: web.Request) -> web.Response:
        owned = self._named(request)
        form = await self._endpoint.form(request)
        owned = self._named(request)  # it may have been deleted while the form came
        return web.json_response(self._shown(self.change(owned, form)))

    async def _delete(self, request: web.Request) -> web.Response:
        self.remove(self._named(request))
        return web.Response(status=204)

    def _named(self, request: web.Request) -> Owned:
        return named(request, self.shelf.find)

    def _shown(self, owned: Owned) -> Json:
        settings = self._endpoint.settings
        return {
            "sid": owned.sid,
            "account_sid": settings.account_sid,
            "date_created": format_datetime(owned.created),
            "date_updated": format_datetime(owned.updated),
            **owned.fields,
            "uri": f"{account_path(settings)}/{self.name}/{owned.sid}.json",
        }
