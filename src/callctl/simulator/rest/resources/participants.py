"""Participants of a conference: list, fetch, change, dial one, and take one out. Each is named by CallSid or label."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from aiohttp import web

from callctl.simulator.errors import ApiError
from callctl.simulator.models import (
    PARTICIPANT_RECORDING_EVENTS,
    RING_TIMEOUT,
    CallRequest,
    RecordingRequest,
    Source,
)
from callctl.simulator.rest import listing, requests, serializers
from callctl.simulator.rest.requests import Form
from callctl.simulator.rest.routing import Endpoint, Routes, as_page, named, routes_of
from callctl.simulator.settings import Settings
from callctl.simulator.switch.conference import (
    BAD_LABEL,
    FULL,
    LABEL_TAKEN,
    NO_SUCH_COACHED,
    Conference,
    JoinError,
    Participant,
)
from callctl.simulator.switch.owned import Possessions
from callctl.simulator.twiml.verbs.conference import (
    EVENTS,
    FROM_START,
    MAX_PARTICIPANTS,
    NEVER,
    Entrance,
    most_participants,
)

LEAST_TIMEOUT = 5  # seconds (OAS)
# The API has codes of its own for a label (docs/twilio.md, "Conferences over REST").
CODES = {BAD_LABEL: 16024, LABEL_TAKEN: 16026, FULL: FULL, NO_SUCH_COACHED: NO_SUCH_COACHED}
_ENTERS = frozenset(
    {
        "Label", "Muted", "Coaching", "CallSidToCoach", "StartConferenceOnEnter", "EndConferenceOnExit", "WaitUrl",
        "WaitMethod", "MaxParticipants", "Region", "ConferenceStatusCallback", "ConferenceStatusCallbackMethod",
        "ConferenceStatusCallbackEvent", "ConferenceRecord", "ConferenceTrim", "ConferenceRecordingStatusCallback",
        "ConferenceRecordingStatusCallbackMethod", "ConferenceRecordingStatusCallbackEvent",
    }
)  # fmt: skip
# What nobody can hear here, or only the called party can see.
_WITHOUT_EFFECT = frozenset({"Beep", "EarlyMedia", "JitterBufferSize", "CallReason", "CallerDisplayName"})
_CALLED = frozenset({"To", "From", "Timeout", "TimeLimit", "AmdStatusCallback", "AmdStatusCallbackMethod"})
CREATED = _CALLED | requests.CALLBACK | requests.RECORDED | requests.DETECTED | _ENTERS | _WITHOUT_EFFECT
UPDATED = frozenset(
    {
        "Muted", "Hold", "HoldUrl", "HoldMethod", "AnnounceUrl", "AnnounceMethod", "WaitUrl", "WaitMethod",
        "EndConferenceOnExit", "Coaching", "CallSidToCoach", "BeepOnExit",
    }
)  # fmt: skip
_CONFERENCE_SID = re.compile(r"CF[0-9a-fA-F]{32}")


class Participants:
    """Twilio's operations on participants."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def routes(self) -> Routes:
        """Return what is answered here."""
        path = self._endpoint.account_path("/Conferences/{conference}/Participants")
        return routes_of(
            path, create=self._create, list_=self._list, fetch=self._fetch, update=self._update, delete=self._delete
        )

    async def _create(self, request: web.Request) -> web.Response:
        form = await self._endpoint.form(request)
        call = _read_call(form, self._endpoint.switch.possessions)
        entrance, unknown = _read_entrance(form, self._name(request))
        call = replace(call, unknown_events=(*call.unknown_events, *unknown))
        try:
            participant, waits = self._endpoint.switch.invite(call, entrance)
        except JoinError as error:
            raise ApiError(CODES.get(error.code, 20001), str(error)) from error
        self._endpoint.about(request, participant.leg)
        body = self._shown(participant) | {"queue_time": str(waits)}
        return web.json_response(body, status=201)

    async def _list(self, request: web.Request) -> web.Response:
        conference = self._conference(request)
        checks = [] if self._endpoint.settings.dialect.ignores_filters else _filters(request.query)
        page = listing.page(
            lambda: reversed(conference.participants.values()),
            request.query,
            matches=lambda each: all(check(each) for check in checks),
        )
        return as_page(request, "participants", page, [self._shown(each) for each in page.items])

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._find(request)))

    async def _update(self, request: web.Request) -> web.Response:
        form = await self._endpoint.form(request)
        participant = self._find(request)
        _read_change(form, participant)(self._endpoint)
        participant.live.pass_over_all(requests.not_imitated(form, UPDATED))
        return web.json_response(self._shown(participant))

    async def _delete(self, request: web.Request) -> web.Response:
        self._endpoint.switch.conferences.remove(self._find(request), kicked=True)
        return web.Response(status=204)

    def _name(self, request: web.Request) -> str:
        """Return the name of the conference that a request's path names, by SID or by that name."""
        given = request.match_info["conference"]
        known = self._endpoint.switch.conferences.find(given)
        if known is None and not _CONFERENCE_SID.fullmatch(given):
            return given
        if known is None or known.is_over:
            raise ApiError(20404, request.path)  # only a name makes a conference; the code is inferred
        return known.name

    def _find(self, request: web.Request) -> Participant:
        participant = named(request, self._conference(request).find)
        self._endpoint.about(request, participant.leg)
        return participant

    def _conference(self, request: web.Request) -> Conference:
        return named(request, self._endpoint.switch.conferences.find, "conference")

    def _shown(self, participant: Participant) -> serializers.Json:
        return shown(participant, self._endpoint.settings)


def shown(participant: Participant, settings: Settings) -> serializers.Json:
    """Show a participant; `queue_time` is only in the reply that makes it."""
    conference, sid = participant.conference.sid, participant.leg.sid
    return {
        "account_sid": settings.account_sid,
        "call_sid": sid,
        "label": participant.label or None,
        "call_sid_to_coach": participant.coach or None,
        "coaching": bool(participant.coach),
        "conference_sid": conference,
        "date_created": serializers.time(participant.created),
        "date_updated": serializers.time(participant.updated),
        "end_conference_on_exit": participant.ends,
        "muted": participant.muted,
        "hold": participant.hold,
        "start_conference_on_enter": participant.starts,
        "status": participant.status,
        "queue_time": None,
        "uri": f"{serializers.account_path(settings)}/Conferences/{conference}/Participants/{sid}.json",
    }


def _filters(query: listing.Query) -> list[Callable[[Participant], bool]]:
    checks: list[Callable[[Participant], bool]] = []
    fields: tuple[tuple[str, Callable[[Participant], bool]], ...] = (
        ("Muted", lambda each: each.muted),
        ("Hold", lambda each: each.hold),
        ("Coaching", lambda each: bool(each.coach)),
    )
    for name, value_of in fields:
        wanted = query.get(name, "").lower()
        if wanted in ("true", "false"):
            checks.append(partial(_is, value_of, wanted == "true"))
    return checks


def _is(value_of: Callable[[Participant], bool], wanted: bool, participant: Participant) -> bool:
    return value_of(participant) == wanted


def _read_call(form: Form, possessions: Possessions) -> CallRequest:
    """Read the leg to dial; it has no document. An application of the account may be dialled, too (PART)."""
    to = requests.text_of(form, "To")
    if possessions.applications.at(to) is None:
        to = requests.to_of(form)
    from_ = requests.from_of(form, to)
    requests.refuse_magic(to, from_)
    subscription, unknown = requests.subscription_of(form)
    timeout = requests.whole_of(form, "Timeout", RING_TIMEOUT, least=LEAST_TIMEOUT)
    return CallRequest(
        to,
        from_,
        Source(),
        subscription,
        unknown,
        timeout=min(timeout, requests.MAX_TIMEOUT),
        time_limit=requests.time_limit_of(form),
        detection=requests.detection_of(form, "AmdStatusCallback", requests.url_of(form, "AmdStatusCallback")),
        recording=requests.recording_of(form, "OutboundAPI", known=PARTICIPANT_RECORDING_EVENTS)
        if requests.flag_of(form, "Record")
        else None,
        not_imitated=requests.not_imitated(form, CREATED),
    )


def _read_entrance(form: Form, name: str) -> tuple[Entrance, tuple[str, ...]]:
    """Read how it enters, and which events of the conference's callbacks are none."""
    subscription, unknown = requests.subscription_of(
        form, "ConferenceStatusCallback", known=EVENTS, default=("start", "end")
    )
    starts = requests.flag_of(form, "StartConferenceOnEnter", default=True)
    entrance = Entrance(
        name=name,
        label=requests.text_of(form, "Label"),
        muted=bool(requests.flag_of(form, "Muted")),
        coach=_coached(form) or "",
        starts=bool(starts),
        ends=bool(requests.flag_of(form, "EndConferenceOnExit")),
        wait_url=requests.url_of(form, "WaitUrl"),
        wait_method=requests.method_of(form, "WaitMethod"),
        most=most_participants(requests.whole_of(form, "MaxParticipants", MAX_PARTICIPANTS, least=2)),
        region=requests.text_of(form, "Region"),
        subscription=subscription,
        recording=_conference_recording(form),
    )
    return entrance, unknown


def _conference_recording(form: Form) -> RecordingRequest | None:
    """Return how the conference is recorded, where this participant is the first of it."""
    requests.check_choice(form, "ConferenceRecord", ("true", "false", FROM_START, NEVER))
    requests.check_choice(form, "ConferenceTrim", ("trim-silence", "do-not-trim"))
    if requests.text_of(form, "ConferenceRecord") not in ("true", FROM_START):
        return None
    return replace(requests.recording_of(form, "Conference", prefix="Conference"), channels=1, track="both")


def _coached(form: Form, present: str = "") -> str | None:
    """Return whom a participant is to coach, empty for nobody; None where nothing is said of it."""
    coaching, whom = requests.flag_of(form, "Coaching"), requests.text_of(form, "CallSidToCoach")
    if coaching is None:
        return whom if whom and present else None
    if coaching and not (whom or present):
        raise ApiError(20001, "Coaching needs CallSidToCoach")
    return (whom or present) if coaching else ""


def _read_change(form: Form, participant: Participant) -> Callable[[Endpoint], None]:
    """Read an update, all of it before any of it is carried out."""
    muted, hold = requests.flag_of(form, "Muted"), requests.flag_of(form, "Hold")
    # Only here GET is the default (docs/twilio.md, "Conferences over REST").
    hold_url, hold_method = requests.url_of(form, "HoldUrl"), requests.method_of(form, "HoldMethod", "GET")
    ends, coach = requests.flag_of(form, "EndConferenceOnExit"), _coached(form, participant.coach)
    wait_url, wait_method = requests.url_of(form, "WaitUrl"), requests.method_of(form, "WaitMethod")
    announce_url, announce_method = requests.url_of(form, "AnnounceUrl"), requests.method_of(form, "AnnounceMethod")
    coached = participant.conference.participants.get(coach) if coach else None
    if coach and (coached is None or not coached.has_joined or coached is participant):
        raise ApiError(NO_SUCH_COACHED, f"The call to coach, {coach}, is not in this conference")
    if announce_url and not participant.has_joined:
        raise ApiError(20001, "AnnounceUrl: the participant is not connected yet")

    def carry_out(endpoint: Endpoint) -> None:
        rooms = endpoint.switch.conferences
        if muted is not None:
            rooms.mute(participant, muted=muted)
        if hold is not None:
            rooms.hold(participant, hold=hold, url=hold_url, method=hold_method)
        rooms.modify(participant, ends=ends, coach=coach, wait_url=wait_url or None, wait_method=wait_method)
        if announce_url:
            rooms.announce(participant, announce_url, announce_method)

    return carry_out
