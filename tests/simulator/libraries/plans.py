"""Which operations Twilio's libraries are tried with: plans of steps, each one call of a library."""

from dataclasses import dataclass, field
from typing import Any

from simulator.setup import ANSWERS, FROM, LATE

NOBODY = "http://127.0.0.1:9/"  # an application that does not answer
ENDED = "conference-ended-via-api"
EVENTS = ["initiated", "ringing", "answered", "completed"]
PAUSE = "<Response><Pause length='600'/></Response>"
RECORD = "<Response><Dial><Conference waitUrl='' record='record-from-start'>room</Conference></Dial></Response>"
WAIT = "<Response><Enqueue waitUrl=''>support</Enqueue></Response>"
UNKNOWN = "<Response><Pay/></Response>"  # notified
NUMBER = "+12025550177"


@dataclass(frozen=True, slots=True)
class Step:
    """A call of a library that makes an operation's request, as twilio-python spells it.

    `{name}` stands for what an earlier step kept: the SID (or the field `by`) of what was answered, or of the first
    thing listed. `then` is how many simulated seconds pass afterwards.
    """

    operation: str
    call: str
    params: dict[str, Any] = field(default_factory=dict)
    keep: str = ""
    by: str = "sid"
    then: float = 0
    answered: dict[str, Any] = field(default_factory=dict)  # what the library must have read, of the first thing too
    count: int | None = None  # of what is listed
    refused: int | None = None  # the error's code


def place(keep: str, twiml: str = PAUSE, **params: Any) -> Step:
    """Place a call that is in progress afterwards, or over by itself."""
    params = {"to": ANSWERS, "from_": FROM, "twiml": twiml} | params
    return Step("CreateCall", "calls.create", params, keep, then=5, answered={"status": "queued"})


CALLS = [
    place("first", UNKNOWN, status_callback=NOBODY, status_callback_event=EVENTS),
    place("second", timeout=20, machine_detection="Enable"),
    Step("ListCall", "calls.list", {"page_size": 1}, count=2),
    Step("ListCall", "calls.list", {"status": "in-progress"}, count=1, answered={"sid": "{second}", "from": FROM}),
    Step("FetchCall", "calls({second}).fetch", answered={"status": "in-progress", "direction": "outbound-api"}),
    Step("UpdateCall", "calls({second}).update", {"twiml": PAUSE}, answered={"status": "in-progress"}),
    Step("UpdateCall", "calls({second}).update", {"status": "completed"}, answered={"status": "completed"}),
    Step("UpdateCall", "calls({second}).update", {"status": "completed"}, refused=21220),
    Step("ListCallNotification", "calls({first}).notifications.list", {"log": 1}, "note", count=1),
    Step("FetchCallNotification", "calls({first}).notifications({note}).fetch", answered={"call_sid": "{first}"}),
    Step("ListCallEvent", "calls({first}).events.list", count=4),
    Step("DeleteCall", "calls({second}).delete"),
    Step("FetchCall", "calls({second}).fetch", refused=20404),
]

GUESTS = "conferences({room}).participants"
OF_ROOM = "conferences({room}).recordings"
GUEST = {
    "from_": FROM,
    "to": LATE,
    "label": "guest",
    "early_media": False,
    "status_callback": NOBODY,
    "status_callback_event": EVENTS,
    "conference_status_callback": NOBODY,
    "conference_status_callback_event": ["start", "end", "join", "leave"],
}
CONFERENCES = [
    place("host", RECORD),
    Step("ListConference", "conferences.list", {"status": "in-progress", "friendly_name": "room"}, "room", count=1),
    Step("CreateParticipant", f"{GUESTS}.create", GUEST, "guest", "call_sid", then=40, answered={"label": "guest"}),
    Step("ListParticipant", f"{GUESTS}.list", {"page_size": 1}, count=2),
    Step("ListParticipant", f"{GUESTS}.list", {"muted": True}, count=0),
    Step("FetchParticipant", f"{GUESTS}(guest).fetch", answered={"call_sid": "{guest}", "status": "connected"}),
    Step("UpdateParticipant", f"{GUESTS}({{guest}}).update", {"muted": True, "hold": True}, answered={"hold": True}),
    Step("ListParticipant", f"{GUESTS}.list", {"hold": True}, count=1, answered={"muted": True}),
    Step("ListConferenceRecording", f"{OF_ROOM}.list", keep="tape", count=1),
    Step("FetchConferenceRecording", f"{OF_ROOM}({{tape}}).fetch", answered={"conference_sid": "{room}"}),
    Step("UpdateConferenceRecording", f"{OF_ROOM}({{tape}}).update", {"status": "paused"}),
    Step("DeleteParticipant", f"{GUESTS}({{guest}}).delete", then=2),
    Step("FetchParticipant", f"{GUESTS}({{guest}}).fetch", refused=20404),
    Step("FetchConference", "conferences({room}).fetch", answered={"status": "in-progress"}),
    Step("UpdateConference", "conferences({room}).update", {"announce_url": NOBODY, "announce_method": "GET"}),
    Step("UpdateConference", "conferences({room}).update", {"status": "completed"}, then=5),
    Step("FetchConference", "conferences({room}).fetch", answered={"reason_conference_ended": ENDED}),
    Step("DeleteConferenceRecording", f"{OF_ROOM}({{tape}}).delete"),
    Step("FetchConferenceRecording", f"{OF_ROOM}({{tape}}).fetch", refused=20404),
]

SUPPORT = {"friendly_name": "support", "max_size": 7}
MEMBERS = "queues({queue}).members"
QUEUES = [
    Step(
        "CreateQueue", "queues.create", {"friendly_name": "support", "max_size": 7}, "queue", answered={"max_size": 7}
    ),
    Step("UpdateQueue", "queues({queue}).update", {"max_size": 8}, answered={"max_size": 8}),
    place("first", WAIT),
    place("second", WAIT),
    Step("FetchQueue", "queues({queue}).fetch", answered={"current_size": 2}),
    Step("ListQueue", "queues.list", count=1, answered={"friendly_name": "support"}),
    Step("ListMember", f"{MEMBERS}.list", {"page_size": 1}, count=2, answered={"call_sid": "{first}"}),
    Step("FetchMember", f"{MEMBERS}({{second}}).fetch", answered={"position": 2}),
    Step("UpdateMember", f"{MEMBERS}(Front).update", {"url": NOBODY, "method": "GET"}, then=2),
    Step("FetchMember", f"{MEMBERS}(Front).fetch", answered={"call_sid": "{second}", "position": 1}),
    Step("DeleteQueue", "queues({queue}).delete", refused=20009),
    Step("UpdateCall", "calls({second}).update", {"status": "completed"}, then=1),
    Step("DeleteQueue", "queues({queue}).delete"),
    Step("FetchQueue", "queues({queue}).fetch", refused=20404),
]

TAPES = "calls({call}).recordings"
DUAL = {
    "recording_channels": "dual",
    "recording_status_callback": NOBODY,
    "recording_status_callback_event": ["completed"],
}
SKIP = {"status": "paused", "pause_behavior": "skip"}
RECORDINGS = [
    place("call"),
    Step("CreateCallRecording", f"{TAPES}.create", DUAL, "first", then=4, answered={"channels": 2}),
    Step("UpdateCallRecording", f"{TAPES}({{first}}).update", {"status": "stopped"}, answered={"status": "stopped"}),
    Step("CreateCallRecording", f"{TAPES}.create", keep="second", then=4, answered={"status": "in-progress"}),
    Step("UpdateCallRecording", f"{TAPES}(Twilio.CURRENT).update", SKIP, answered={"sid": "{second}"}),
    Step("UpdateCall", "calls({call}).update", {"status": "completed"}, then=5),
    Step("ListCallRecording", f"{TAPES}.list", {"page_size": 1}, count=2),
    Step("FetchCallRecording", f"{TAPES}({{first}}).fetch", answered={"status": "completed", "duration": "4"}),
    Step("ListRecording", "recordings.list", {"call_sid": "{call}"}, count=2),
    Step("DeleteCallRecording", f"{TAPES}({{first}}).delete"),
    Step("FetchRecording", "recordings({second}).fetch", answered={"call_sid": "{call}"}),
    Step("DeleteRecording", "recordings({second}).delete"),
    Step("FetchRecording", "recordings({second}).fetch", refused=20404),
]

NUMBERS = [
    Step(
        "CreateIncomingPhoneNumber",
        "incoming_phone_numbers.create",
        {"phone_number": NUMBER, "voice_url": NOBODY, "voice_method": "GET", "status_callback": NOBODY},
        "number",
        answered={"phone_number": NUMBER, "voice_method": "GET", "status_callback": NOBODY},
    ),
    Step("ListIncomingPhoneNumber", "incoming_phone_numbers.list", {"phone_number": NUMBER}, count=1),
    Step("FetchIncomingPhoneNumber", "incoming_phone_numbers({number}).fetch", answered={"voice_url": NOBODY}),
    Step(
        "UpdateIncomingPhoneNumber",
        "incoming_phone_numbers({number}).update",
        {"friendly_name": "front desk", "voice_caller_id_lookup": True},
        answered={"friendly_name": "front desk", "voice_caller_id_lookup": True},
    ),
    Step("DeleteIncomingPhoneNumber", "incoming_phone_numbers({number}).delete"),
    Step("FetchIncomingPhoneNumber", "incoming_phone_numbers({number}).fetch", refused=20404),
]

APPLICATIONS = [
    Step(
        "CreateApplication",
        "applications.create",
        {"friendly_name": "desk", "voice_url": NOBODY, "voice_method": "GET"},
        "application",
        answered={"voice_url": NOBODY, "voice_method": "GET"},
    ),
    Step("ListApplication", "applications.list", {"friendly_name": "desk"}, count=1),
    Step("FetchApplication", "applications({application}).fetch", answered={"friendly_name": "desk"}),
    Step("UpdateApplication", "applications({application}).update", {"friendly_name": "bar"}),
    Step("DeleteApplication", "applications({application}).delete"),
    Step("FetchApplication", "applications({application}).fetch", refused=20404),
]

PLANS = {
    "calls": CALLS,
    "conferences": CONFERENCES,
    "queues": QUEUES,
    "recordings": RECORDINGS,
    "numbers": NUMBERS,
    "applications": APPLICATIONS,
}
