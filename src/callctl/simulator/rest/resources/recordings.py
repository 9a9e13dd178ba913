"""Recordings: of a call, of a conference and of the account; and their files."""

from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from functools import partial

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.models import API_VERSION, Leg
from callctl.simulator.rest import listing, requests, serializers
from callctl.simulator.rest.resources import silence
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, get, named
from callctl.simulator.switch.recordings import READY, Recording, Recordings

CALL_STATUSES = ("paused", "in-progress", "stopped")
CONFERENCE_STATUSES = ("paused", "in-progress")  # RECAPI
CURRENT = "Twilio.CURRENT"  # in place of a SID: the only recording of a call that is not over (RECAPI)
FILES = {"": silence.wav, "wav": silence.wav, "mp3": silence.mp3}
PROCESSING = 21501

Check = Callable[[Recording], bool]


class RecordingResources:
    """Twilio's operations on recordings."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        account = self._endpoint.account_path("/Recordings")
        call = self._endpoint.account_path("/Calls/{call}/Recordings")
        conference = self._endpoint.account_path("/Conferences/{conference}/Recordings")
        return (
            get(f"{account}.json", self._list),
            get(f"{account}/{{recording}}.json", self._fetch),
            web.delete(f"{account}/{{recording}}.json", self._delete),
            get(f"{account}/{{file}}", self._media),
            web.post(f"{call}.json", self._start),
            *self._of(call),
            *self._of(conference),
        )

    def _of(self, path: str) -> Routes:
        """Return what is answered alike for a call and for a conference."""
        return (
            get(f"{path}.json", self._list_of),
            get(f"{path}/{{recording}}.json", self._fetch_of),
            web.post(f"{path}/{{recording}}.json", self._update),
            web.delete(f"{path}/{{recording}}.json", self._delete_of),
        )

    @property
    def _recordings(self) -> Recordings:
        return self._endpoint.switch.recordings

    # Of the account

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        checks: list[Check] = []
        if query.get("IncludeSoftDeleted", "").lower() != "true":
            checks.append(_is_there)
        if query.get("CallSid"):
            checks.append(lambda recording: recording.call_sid == query["CallSid"])
        if query.get("ConferenceSid"):
            checks.append(lambda recording: recording.conference_sid == query["ConferenceSid"])
        return self._page(request, checks, self._shown)

    async def _fetch(self, request: web.Request) -> web.Response:
        deleted_too = request.query.get("IncludeSoftDeleted", "").lower() == "true"
        recording = self._recording(request, lambda recording: deleted_too or _is_there(recording))
        return web.json_response(self._shown(recording))

    async def _delete(self, request: web.Request) -> web.Response:
        return self._deleted(self._recording(request, _is_there))

    # Of a call, or of a conference

    async def _start(self, request: web.Request) -> web.Response:
        wanted = requests.recording_of(await self._endpoint.form(request), "StartCallRecordingAPI")
        recording = self._endpoint.switch.record(self._call(request), wanted)
        return web.json_response(self._shown_of(request, recording, recording.status), status=201)

    async def _list_of(self, request: web.Request) -> web.Response:
        return self._page(request, [_is_there, self._belongs(request)], partial(self._shown_of, request))

    async def _fetch_of(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown_of(request, self._recording_of(request)))

    async def _update(self, request: web.Request) -> web.Response:
        """Pause, resume or stop; the reply says so, which no fetch does (docs/twilio.md, "Recordings")."""
        form = await self._endpoint.form(request)
        recording = self._recording_of(request)
        if not requests.text_of(form, "Status"):
            raise ApiError(20001, "Status is required")
        requests.check_choice(form, "Status", CONFERENCE_STATUSES if _is_of_conference(request) else CALL_STATUSES)
        requests.check_choice(form, "PauseBehavior", ("silence", "skip"))
        if recording.is_over:
            raise ApiError(21220, "The recording is over.")
        match requests.text_of(form, "Status"):
            case "paused":
                self._recordings.pause(recording, skips=requests.text_of(form, "PauseBehavior") == "skip")
            case "in-progress":
                self._recordings.resume(recording)
            case _:
                self._recordings.stop(recording)
        return web.json_response(self._shown_of(request, recording, recording.status))

    async def _delete_of(self, request: web.Request) -> web.Response:
        return self._deleted(self._recording_of(request))

    # The file

    async def _media(self, request: web.Request) -> web.Response:
        """Answer with a file of silence as long as the recording, once it is completed."""
        sid, _, form = request.match_info["file"].partition(".")
        recording, make = self._recordings.find(sid), FILES.get(form)
        if recording is None or make is None or recording.status not in ("stopped", "completed"):
            raise ApiError(20404, request.path)
        if recording.status == "stopped":
            status, body = serializers.error(ApiError(PROCESSING, sid), self._endpoint.settings.dialect)
            return web.json_response(body, status=status, headers={"Retry-After": "1"})
        file = make(recording.duration or 0, _channels(request, recording.request.channels))
        headers = {"Content-Type": file.content_type, "Content-Length": str(file.length)}
        return web.Response(body=file.pieces(), headers=headers)

    # Inside

    def _call(self, request: web.Request) -> Leg:
        return self._endpoint.leg(request, "call")

    def _recording(self, request: web.Request, check: Check) -> Recording:
        recording = named(request, self._recordings.find, "recording")
        if not check(recording):
            raise ApiError(20404, request.path)
        return recording

    def _belongs(self, request: web.Request) -> Check:
        """Return the check for what belongs to the call or the conference that a request's path names.

        Of a call are those that name it, and those that recorded it.
        """
        if _is_of_conference(request):
            conference = named(request, self._endpoint.switch.conferences.find, "conference").sid
            return lambda recording: recording.conference_sid == conference
        call = self._call(request).sid
        return lambda recording: call in (recording.call_sid, recording.leg.sid)

    def _recording_of(self, request: web.Request) -> Recording:
        belongs = self._belongs(request)
        if request.match_info["recording"] != CURRENT:
            return self._recording(request, lambda recording: belongs(recording) and _is_there(recording))
        running = [each for each in self._recordings.newest_first() if belongs(each) and not each.is_over]
        if not running:
            raise ApiError(20404, request.path)
        if len(running) > 1:
            raise ApiError(20001, f"{CURRENT}: {len(running)} recordings are under way")
        return running[0]

    def _page(
        self, request: web.Request, checks: list[Check], show: Callable[[Recording], serializers.Json]
    ) -> web.Response:
        checks = [*checks, *listing.time_checks(request.query, "DateCreated", _created)]
        recordings = self._recordings
        page = listing.page(
            recordings.newest_first, request.query, matches=lambda each: all(check(each) for check in checks)
        )
        return as_page(request, "recordings", page, [show(each) for each in page.items])

    def _deleted(self, recording: Recording) -> web.Response:
        if recording.status not in READY:
            raise ApiError(20009)
        self._recordings.delete(recording)
        return web.Response(status=204)

    def _shown(self, recording: Recording) -> serializers.Json:
        path = f"{serializers.account_path(self._endpoint.settings)}/Recordings/{recording.sid}"
        return self._common(recording) | {
            "uri": f"{path}.json",
            "subresource_uris": {
                "add_on_results": f"{path}/AddOnResults.json",
                "transcriptions": f"{path}/Transcriptions.json",
            },
            "media_url": self._recordings.url(recording),
        }

    def _shown_of(self, request: web.Request, recording: Recording, status: str = "") -> serializers.Json:
        """Show it as one of a call or of a conference; its status is that of a fetch, unless another is given."""
        shown, path = self._common(recording), serializers.account_path(self._endpoint.settings)
        if _is_of_conference(request):
            shown["uri"] = f"{path}/Conferences/{recording.conference_sid}/Recordings/{recording.sid}.json"
        else:
            shown["uri"] = f"{path}/Calls/{recording.call_sid}/Recordings/{recording.sid}.json"
            shown["track"] = recording.request.track
        return shown | {"status": status} if status else shown

    def _common(self, recording: Recording) -> serializers.Json:
        """Show what all three resources have."""
        duration = recording.duration if recording.status in READY else None
        numbers = self._endpoint.settings.dialect.number_fields
        return {
            "account_sid": self._endpoint.settings.account_sid,
            "api_version": API_VERSION,
            "call_sid": recording.call_sid,
            "conference_sid": recording.conference_sid or None,
            "channels": recording.request.channels,
            "date_created": format_datetime(recording.created),
            "date_updated": format_datetime(recording.updated),
            "start_time": format_datetime(recording.created),
            "price": None,  # null until rated, and nothing is rated here
            "price_unit": "USD",
            "duration": duration if duration is None or numbers else str(duration),
            "sid": recording.sid,
            "source": recording.request.source,
            "status": recording.status if recording.status in READY else "processing",  # RECAPI
            "error_code": recording.error_code,
            "encryption_details": None,
        }


def _is_of_conference(request: web.Request) -> bool:
    return "conference" in request.match_info


def _is_there(recording: Recording) -> bool:
    return recording.status != "deleted"


def _created(recording: Recording) -> datetime:
    return recording.created


def _channels(request: web.Request, most: int) -> int:
    """Return how many channels of a file are wanted; raise ApiError for two of a file that has one."""
    wanted = request.query.get("RequestedChannels", str(most))
    if wanted not in ("1", "2") or int(wanted) > most:
        raise ApiError(20001, f"RequestedChannels must be 1, or 2 of a recording that has two: {wanted}")
    return int(wanted)
