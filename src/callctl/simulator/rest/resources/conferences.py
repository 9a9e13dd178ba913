"""Conferences: list, fetch, end, and an announcement to all. None is made here: the first who joins does."""

from collections.abc import Callable

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.models import API_VERSION
from callctl.simulator.rest import listing, requests, serializers
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, get, named
from callctl.simulator.settings import Settings
from callctl.simulator.switch.conference import COMPLETED, Conference


class Conferences:
    """Twilio's operations on conferences."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = self._endpoint.account_path("/Conferences")
        return (
            get(f"{path}.json", self._list),
            get(f"{path}/{{sid}}.json", self._fetch),
            web.post(f"{path}/{{sid}}.json", self._update),
        )

    async def _list(self, request: web.Request) -> web.Response:
        checks = [] if self._endpoint.settings.dialect.ignores_filters else _filters(request.query)
        every = self._endpoint.switch.conferences.newest_first
        page = listing.page(every, request.query, matches=lambda each: all(check(each) for check in checks))
        return as_page(request, "conferences", page, [self._shown(each) for each in page.items])

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._find(request)))

    async def _update(self, request: web.Request) -> web.Response:
        conference = self._find(request)
        form = await self._endpoint.form(request)
        requests.check_choice(form, "Status", (COMPLETED,))
        url, method = requests.url_of(form, "AnnounceUrl"), requests.method_of(form, "AnnounceMethod")
        ends = bool(requests.text_of(form, "Status"))
        if conference.is_over and (ends or url):
            raise ApiError(20001, "the conference has ended")
        if ends:
            self._endpoint.switch.conferences.end(conference)
        elif url:
            self._endpoint.switch.conferences.announce_to_all(conference, url, method)
        return web.json_response(self._shown(conference))

    def _find(self, request: web.Request) -> Conference:
        return named(request, self._endpoint.switch.conferences.find)

    def _shown(self, conference: Conference) -> serializers.Json:
        return shown(conference, self._endpoint.settings)


def shown(conference: Conference, settings: Settings) -> serializers.Json:
    """Show a conference."""
    path = f"{serializers.account_path(settings)}/Conferences/{conference.sid}"
    return {
        "account_sid": settings.account_sid,
        "api_version": API_VERSION,
        "date_created": serializers.time(conference.created),
        "date_updated": serializers.time(conference.updated),
        "friendly_name": conference.name,
        "region": conference.region,
        "sid": conference.sid,
        "status": conference.status,
        "reason_conference_ended": conference.reason_ended,
        "call_sid_ending_conference": conference.ended_by,
        "uri": f"{path}.json",
        "subresource_uris": {"participants": f"{path}/Participants.json", "recordings": f"{path}/Recordings.json"},
    }


def _filters(query: listing.Query) -> list[Callable[[Conference], bool]]:
    checks: list[Callable[[Conference], bool]] = []
    if query.get("FriendlyName"):
        name = query["FriendlyName"]
        checks.append(lambda each: each.name == name)
    if query.get("Status"):
        status = query["Status"]
        checks.append(lambda each: each.status == status)
    checks += listing.time_checks(query, "DateCreated", lambda each: each.created)
    checks += listing.time_checks(query, "DateUpdated", lambda each: each.updated)
    return checks
