"""Notifications of a call: list and fetch."""

from collections.abc import Callable, Mapping
from datetime import datetime

from aiohttp import web

from callctl.simulator.models import Notification
from callctl.simulator.rest import listing, serializers
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, get, named

# Shown where one is fetched, and not in a list (OAS): what was sent and answered. Here a call's events have that.
EXCHANGE: serializers.Json = {"request_variables": None, "response_body": None, "response_headers": None}


class Notifications:
    """Twilio's operations on the notifications of a call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = self._endpoint.account_path("/Calls/{sid}/Notifications")
        return (get(f"{path}.json", self._list), get(f"{path}/{{notification}}.json", self._fetch))

    async def _list(self, request: web.Request) -> web.Response:
        notes = self._endpoint.leg(request).notifications
        checks = [] if self._endpoint.settings.dialect.ignores_filters else _filters(request.query)
        page = listing.page(
            lambda: reversed(notes), request.query, matches=lambda note: all(check(note) for check in checks)
        )
        return as_page(request, "notifications", page, [self._shown(note) for note in page.items])

    async def _fetch(self, request: web.Request) -> web.Response:
        notes = {note.sid: note for note in self._endpoint.leg(request).notifications}
        note = named(request, notes.get, "notification")
        return web.json_response(self._shown(note) | EXCHANGE)

    def _shown(self, note: Notification) -> serializers.Json:
        return serializers.notification(note, self._endpoint.settings)


def _filters(query: Mapping[str, str]) -> list[Callable[[Notification], bool]]:
    checks = list(listing.time_checks(query, "MessageDate", _date))
    if log := query.get("Log"):
        checks.append(lambda note: note.log == log)
    return checks


def _date(note: Notification) -> datetime:
    return note.date
