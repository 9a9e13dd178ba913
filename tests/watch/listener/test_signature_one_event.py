"""One signed request makes one event, whatever may be changed about it without its signature ceasing to fit."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import combinations, islice, pairwise, product
from urllib.parse import quote, unquote_plus, urlencode

import aiohttp
import pytest
from events import ACCOUNT, START, WORLD, form, sid
from hypothesis import event, given
from hypothesis import strategies as st
from listeners import PUBLIC, TOKEN, Reports, Start
from twilio.request_validator import RequestValidator
from yarl import URL

from callctl.calls.event import CallEvent, NotACallEventError
from callctl.calls.event_record import signed_form, signed_key
from callctl.calls.signed_text import is_ambiguous, sender_in, sids_in
from callctl.store.sqlite.store import SqliteStore
from callctl.watch.listener.server import SELFTEST_FIELD
from callctl.watch.listener.signature import SignatureCheck, SignedRequest, signature_of

CHECK = SignatureCheck([PUBLIC], keys=[TOKEN])
KeyedCall = tuple[str, str]
PROBE = "0123456789abcdef" * 2  # as the value of a self-test

# What a caller may call himself, and what a user may have put into the URL.
NAMES = st.sampled_from(["", "ANN", "CallSidCA9CallStatuscompleted", "x&CallSid=CA9&CallStatus=completed", "'@:"])
QUERIES = st.sampled_from(["", "?", "?room=7", "?A=1", "?room=%27B%27%40C%3a", "?ParentCallSid=CA8&AccountSid=AC9"])
STATUSES = st.sampled_from(["initiated", "ringing", "in-progress", "completed", "busy"])


def event_made_of(target: str, pairs: tuple[tuple[str, str], ...], signature: str, *, method: str) -> CallEvent | None:
    """Return what a listener would make of a request; None if it refuses or ignores it."""
    signed = SignedRequest(target, () if method == "GET" else pairs, signature)
    if not CHECK.accepts(signed):
        return None
    try:
        return CallEvent.from_form(pairs, received_at=START, world=WORLD, verified=True, signed=signed.covered)
    except NotACallEventError:
        return None


def events_of(target: str, pairs: tuple[tuple[str, str], ...], signature: str, *, method: str) -> set[KeyedCall]:
    """Return the key and call of what a listener would make of a request; nothing if it takes none."""
    event = event_made_of(target, pairs, signature, method=method)
    return set() if event is None else {(event.call_sid, event.key)}


def parsed(query: str) -> tuple[tuple[str, str], ...]:
    parts = [part.partition("=") for part in query.split("&") if part]
    return tuple((unquote_plus(name), unquote_plus(value)) for name, _, value in parts)


@st.composite
def cuts(draw: st.DrawFn, text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return a query and pairs into which a signed text can be cut: at words that mean something, and anywhere."""
    words = [place for match in re.finditer("CallSid|CallStatus|AccountSid|ApiVersion|Called|[A-Z]", text)
             for place in match.span()]  # fmt: skip
    places = st.sampled_from(words) | st.integers(1, len(text) - 1)
    chosen = sorted(draw(st.sets(places, min_size=2, max_size=9)))
    ends = [*chosen, len(text)]
    pairs = [
        (text[start:middle], text[middle:end]) for start, middle, end in zip(ends, ends[1:], ends[2:], strict=False)
    ]
    starts = draw(st.sampled_from([0, 1]))
    return text[: chosen[0]], tuple(pairs[starts::2])


@given(st.data())
def test_no_other_cut_order_or_repetition_makes_another_event(data: st.DataObject) -> None:
    caller, query = data.draw(NAMES), data.draw(QUERIES)
    fields = form(1, data.draw(STATUSES), ApiVersion="2010-04-01", CallerName=caller, To="sip:ann@example.com")
    genuine = tuple(fields.items())
    text = query + signed_form(genuine)
    signature = signature_of(PUBLIC + query, genuine, key=TOKEN)
    ours = events_of("/status" + query, genuine, signature, method="POST")
    # Behind a query it is not clear where the form begins, and a second CallSid may be Twilio's.
    assert len(ours) == (0 if len(query) > 1 and "CallSid" in caller else 1)

    mixed = tuple(data.draw(st.permutations([*genuine, *data.draw(st.lists(st.sampled_from(genuine)))])))
    assert events_of("/status" + query.replace("%27", "'"), mixed, signature, method="POST") == ours
    head, pairs = data.draw(cuts(text))
    start = text.find(f"CallSid{fields['CallSid']}")
    if head.startswith("?") or not head:
        event(f"admitted: {CHECK.accepts(SignedRequest('/status' + head, pairs, signature))}")
        assert events_of("/status" + head, pairs, signature, method="POST") <= ours
    whole = text.partition("?")[2]
    assert events_of("/status?" + whole, parsed(whole), signature, method="GET") <= ours
    # The call's own part swallowed, and replaced by the name that the caller chose.
    at = text.find("CallSidCA9CallStatuscompleted")
    if at > start:
        rest = text[at + len("CallSidCA9CallStatuscompleted") :]
        swallowed = (("AccountSid", text[len(query) + len("AccountSid") : at]), ("CallSid", "CA9"))
        forged = (*swallowed, ("CallStatus", "completed" + rest))
        assert CHECK.accepts(SignedRequest("/status" + query, forged, signature))
        assert events_of("/status" + query, forged, signature, method="POST") <= ours


def test_a_name_that_reads_like_a_status_changes_none() -> None:
    genuine = form(1, "ringing", CallerName="CallStatuscompleted")
    text = signed_form(tuple(genuine.items()))
    signature = signature_of(PUBLIC, list(genuine.items()), key=TOKEN)
    before, swallowed, after = text.partition("CallStatusringing")
    name, status = "CallSta", "CallStatuscompleted"  # the name sorts between CallSid and CallStatus
    middle, _, rest = (swallowed + after).removeprefix(name).partition(status)
    head = before.removesuffix(f"CallSid{genuine['CallSid']}")
    pairs = (("", head), ("CallSid", genuine["CallSid"]), (name, middle), ("CallStatus", "completed"), (rest, ""))
    assert CHECK.accepts(SignedRequest("/status", pairs, signature))
    assert events_of("/status", pairs, signature, method="POST") == set()


@given(NAMES, QUERIES, STATUSES, st.data())
def test_a_get_makes_one_event_however_it_is_sent_again(
    caller: str, query: str, status: str, data: st.DataObject
) -> None:
    fields = form(1, status, CallerName=caller)
    whole = query + ("&" if query.rstrip("?") else "" if query else "?") + urlencode(fields)
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + whole, {})
    ours = events_of("/status" + whole, parsed(whole[1:]), signature, method="GET")
    assert len(ours) == (0 if "CallSidCA9" in caller else 1)
    for spelt in (whole.replace("%40", "@"), whole.replace("%27", "'"), whole.replace("%3A", ":")):
        assert events_of("/status" + spelt, parsed(spelt[1:]), signature, method="GET") <= ours
    head, pairs = data.draw(cuts(whole))
    assert events_of("/status" + (head if head.startswith("?") else ""), pairs, signature, method="POST") <= ours
    sid, state = whole.find("CallSid="), whole.find("CallStatus=")
    end = whole.find("&", state)
    moved = (("CallSid", whole[sid + 7 : state]), ("CallStatus", whole[state + 10 : end]), (whole[end:], ""))
    assert events_of("/status" + whole[:sid], moved, signature, method="POST") <= ours


@pytest.mark.parametrize("query", ["", "?room=7", "?who=%27me%27%40%3A"])
async def test_a_captured_callback_sent_in_every_way_is_one_event(
    start: Start, reports: Reports, http: aiohttp.ClientSession, store: SqliteStore, query: str
) -> None:
    listener = await start()
    fields = form(1, "ringing", number=1, at=1)
    pairs = list(fields.items())
    signature = signature_of(PUBLIC + query, pairs, key=TOKEN)
    text = signed_form(pairs)
    name, rest = "AccountSid", text.removeprefix("AccountSid")
    forms = {
        "as it was": urlencode(pairs),
        "another order": urlencode(pairs[::-1]),
        "repeated": urlencode(pairs * 3),
        "escaped": "&".join(f"{''.join(f'%{ord(one):02x}' for one in name)}={quote(value)}" for name, value in pairs),
        "a letter moved": urlencode([(name[:-1], name[-1] + value) if name == "To" else (name, value)
                                     for name, value in pairs]),
        "a part swallowed": urlencode([(name, rest[: rest.index("CallSid")]), *pairs[0:1], *pairs[4:5],
                                       ("Direction", text.partition("Direction")[2])]),
    }  # fmt: skip
    queries = [query, query.replace("%27", "'").replace("%40", "@").replace("%3A", ":")]
    sent = [(spelt, body) for spelt in queries for body in forms.values()]
    if query:  # what belongs to the form goes over to the query
        first = text[: text.index("CallSid")]
        sent.append((query + first, urlencode([pair for pair in pairs if pair[0] != "AccountSid"])))
    for spelt, body in sent:
        headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
        reply = await http.post(URL(listener.url + "/status" + spelt, encoded=True), data=body, headers=headers)
        assert reply.status in (204, 403), body
    assert len(list(store.replay(since=None))) == 1
    assert listener.duplicates >= 3
    assert len(await reports.of(1 + listener.duplicates)) == 1 + listener.duplicates


@pytest.mark.parametrize("cut", [0, 7, 12])
async def test_a_captured_self_test_is_no_event_whatever_the_query_of_the_url(
    start: Start, reports: Reports, http: aiohttp.ClientSession, store: SqliteStore, cut: int
) -> None:
    query = f"?CallSid={HEX}&CallStatus=completed&Who=%27&Z="
    listener = await start(public_url=f"{PUBLIC}{query}#rc=5")
    headers = {"X-Twilio-Signature": signature_of(PUBLIC + query, [(SELFTEST_FIELD, PROBE)], key=TOKEN)}
    for spelt in (query, query.replace("%27", "'")):
        url = URL(f"{listener.url}/status{spelt}{SELFTEST_FIELD}{PROBE}", encoded=True)
        async with http.get(url, headers=headers) as reply:
            assert reply.status == 403
    text = f"{query}{SELFTEST_FIELD}{PROBE}"
    start_of_form = len(query) + cut
    url = URL(f"{listener.url}/status{text[:start_of_form]}", encoded=True)
    async with http.post(url, data={text[start_of_form:]: ""}, headers=headers) as reply:
        assert reply.status == 403
    assert list(store.replay(since=None)) == []
    assert (listener.accepted, listener.ignored, listener.refused) == (0, 0, 3)
    (trouble,) = reports.troubles  # once, whatever the number
    assert trouble.startswith("refused a request: self-test sent again: ")
    assert (trouble.cause, trouble.url, trouble.status) == ("refused", f"{PUBLIC}{query}#rc=5", 403)


@pytest.mark.parametrize("query", ["", "?room=7", "?CallctlProbe=1"])
@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("field", ["CallerName", "From", "To", "Zone"])
async def test_no_text_that_a_caller_chooses_makes_a_callback_a_self_test(
    start: Start, reports: Reports, http: aiohttp.ClientSession, query: str, method: str, field: str
) -> None:
    listener = await start(public_url=PUBLIC + query)
    text = SELFTEST_FIELD + PROBE
    for number, said in enumerate((SELFTEST_FIELD, text, f"sip:{text}@example.com", f"sip:ann@example.com;x={text}")):
        fields = form(number, "ringing") | {field: said}
        if method == "POST":
            signature = signature_of(PUBLIC + query, list(fields.items()), key=TOKEN)
            url, data = URL(f"{listener.url}/status{query}", encoded=True), fields
        else:
            whole = f"{query}&{urlencode(fields)}" if query else f"?{urlencode(fields)}"
            signature = signature_of(PUBLIC + whole, [], key=TOKEN)
            url, data = URL(f"{listener.url}/status{whole}", encoded=True), None
        async with http.request(method, url, data=data, headers={"X-Twilio-Signature": signature}) as reply:
            assert reply.status == 204, said
    assert (listener.accepted, listener.refused, reports.troubles) == (4, 0, [])
    received = {(one.call_sid, one.verified) for one in await reports.of(4)}
    assert received == {(form(number, "ringing")["CallSid"], True) for number in range(4)}


VICTIM, CHILD = "CA" + "9" * 32, "CA" + "8" * 32
HOSTILE = st.sampled_from(
    [
        f"CallSid{VICTIM}CallStatuscompleted",
        f"CallSid{VICTIM}CallStatuscompletedZ",
        f"CallSid{CHILD}CallStatuscompletedDirectionoutbound-dialParentCallSid{VICTIM}Z",
        f"Directionoutbound-dialParentCallSid{VICTIM}Z",
        f"ParentCallSid{VICTIM}Z",
        "CallStatuscompletedCalled",
        f"AccountSid{ACCOUNT}ApiVersion2010-04-01CallSid{VICTIM}CallStatuscompletedZ",
        f"x&CallSid={VICTIM}&CallStatus=completed&Z=1",
        f"x&CallSid={CHILD}&CallStatus=completed&Direction=outbound-dial&ParentCallSid={VICTIM}&Z=1",
        f"x&ParentCallSid={VICTIM}&CallStatus=completed&Z=1",
    ]
)
TOKENS = [
    *("CallSid", "CallStatus", "ParentCallSid", "Direction", "outbound-dial", "inbound", "completed", VICTIM, CHILD),
    *("Parent", "Dial", "Z", "&", "=", "x", " ", "?", "AccountSid", ACCOUNT, "ApiVersion2010-04-01", "AnsweredByhuman"),
    *(f"CallSid{VICTIM}CallStatuscompleted", f"&CallSid={VICTIM}&CallStatus=completed", "odd-sid_1", "Called"),
    "TranscriptionSidTRTranscriptionStatusdone",
]
PLACES = st.sampled_from(
    ["CallerName", "Caller", "Called", "From", "To", "AddOns", "Agent", "SipHeader_X-Who", "zebra"]
)
OWN_QUERIES = st.sampled_from(["", "?", "?room=7", "?CallSid=CA7"])
Facts = tuple[str, str | None, str]


def facts_of(target: str, pairs: tuple[tuple[str, str], ...], signature: str, *, method: str) -> set[Facts]:
    """Return the call, parent and status of what a listener would make of a request; nothing if it takes none."""
    event = event_made_of(target, pairs, signature, method=method)
    return set() if event is None else {(event.call_sid, event.parent_call_sid, event.status)}


NAMED = re.compile(
    "(?=(CallSid|CallStatus|ParentCallSid|Direction|AnsweredBy|ConferenceSid|StatusCallbackEvent|RecordingSid"
    "|RecordingStatus|TranscriptionS[a-z]+|CallbackSource|ApiVersion|AccountSid))"
)
LENGTHS = [34, 36, 9, *map(len, ("completed", "ringing", "inbound", "outbound-dial", "busy"))]


def readings(text: str, chance: random.Random) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Yield queries and forms into which a signed text can be cut: each name begins at a place that reads like one."""
    places = [(match.start(), match[1]) for match in NAMED.finditer(text)]
    for _ in range(40):
        chosen: list[tuple[int, str]] = []
        for start, name in sorted(chance.sample(places, chance.randint(1, min(6, len(places))))):
            if not chosen or (name > chosen[-1][1] and start >= chosen[-1][0] + len(chosen[-1][1])):
                chosen.append((start, name))
        head = text[: chosen[0][0]]
        pairs = [(head, "")] if head and not head.startswith("?") else []
        for (start, name), end in zip(chosen, [*(start for start, _ in chosen[1:]), len(text)], strict=True):
            value = text[start + len(name) : end]
            value, rest = value[: (at := chance.choice([*LENGTHS, len(value), len(value)]))], value[at:]
            pairs += [(name, value), *([(rest, "")] if rest else [])]
        query = head if head.startswith("?") else ""
        if query + signed_form(pairs) == text:  # else its signature does not fit
            yield query, tuple(pairs)


@given(
    HOSTILE | st.lists(st.sampled_from(TOKENS), min_size=2, max_size=9).map("".join),
    PLACES,
    st.sampled_from(["", "?", "?room=7", "?CallSid=CA7"]),
    STATUSES,
    st.sampled_from([None, 1]),
    st.booleans(),
    st.data(),
)
def test_what_a_caller_chooses_makes_no_event_of_another_call_parent_or_status(
    hostile: str, place: str, query: str, status: str, parent: int | None, is_dated: bool, data: st.DataObject
) -> None:
    dates = {"number": 1, "at": 1.0} if is_dated else {}
    fields = form(2, status, parent=parent, ApiVersion="2010-04-01", **dates) | {place: hostile}  # type: ignore[arg-type]
    genuine = tuple(data.draw(st.permutations(list(fields.items()))))
    right = {(fields["CallSid"], fields.get("ParentCallSid"), status)}

    text = query + signed_form(genuine)
    signature = signature_of(PUBLIC + query, genuine, key=TOKEN)
    assert facts_of("/status" + query, genuine, signature, method="POST") <= right
    whole = query + ("&" if query.rstrip("?") else "" if query else "?") + urlencode(genuine)
    of_get = RequestValidator(TOKEN).compute_signature(PUBLIC + whole, {})
    assert facts_of("/status" + whole, parsed(whole[1:]), of_get, method="GET") <= right

    for signed, its_signature in ((text, signature), (whole, of_get)):
        for head, pairs in readings(signed, random.Random(data.draw(st.integers()))):
            assert CHECK.accepts(SignedRequest("/status" + head, pairs, its_signature))
            assert facts_of("/status" + head, pairs, its_signature, method="POST") <= right, (head, pairs)
        if signed.startswith("?"):
            assert facts_of("/status" + signed, parsed(signed[1:]), its_signature, method="GET") <= right


# Names that make an event what it is.
IDENTIFYING = "CallSid|CallStatus|AnsweredBy|ConferenceSid|RecordingSid|RecordingStatus|StatusCallbackEvent"
HEX = "CA12ab34cd56ef7890ab12cd34ef567890"
ROOM = {"ConferenceSid": "CF" + "0" * 32, "FriendlyName": "room", "SequenceNumber": "5", "AccountSid": ACCOUNT}
FORMS = {
    "child": form(1, "completed", number=1, at=1, parent=2, ApiVersion="2010-04-01", AnsweredBy="human"),
    "hex": form(HEX, "completed", number=1, parent="CAfe" + "0" * 30, AnsweredBy="human"),
    "uuid": form("f371391e-25cc-4ba6-a752-ec745a59cf06", "busy", AnsweredBy="human"),
    "a name like a call": form(1, "ringing", CallerName="CallSidCA9CallStatuscompleted"),
    "a name like a SID": form(1, "ringing", CallerName=f"CallSid{HEX}AnsweredByhuman", AnsweredBy="fax"),
    "a name like a status": form(1, "ringing", CallerName="CallStatuscompleted"),
    "detection": {"AccountSid": ACCOUNT, "AnsweredBy": "fax", "CallSid": HEX, "MachineDetectionDuration": "3400"},
    "recording": {"CallSid": HEX, "RecordingChannels": "1", "RecordingSid": "RE1", "RecordingStatus": "completed"},
    "participant": {
        **ROOM,
        "CallSid": HEX,
        "ParticipantCallStatus": "busy",
        "StatusCallbackEvent": "participant-leave",
    },
    "conference": {**ROOM, "CallSidEndingConference": HEX, "StatusCallbackEvent": "conference-end"},
}

OWN_CALL = {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "CallSid": sid(7), "CallStatus": "ringing"}
A_CALL = f"CallSid{VICTIM}CallStatuscompletedZ"
A_CHILD = f"CallSid{CHILD}CallStatuscompletedDirectionoutbound-dialParentCallSid{VICTIM}Z"
OF_A_CALL = (("CallSid", VICTIM), ("CallStatus", "completed"))
OF_A_CHILD = (
    ("CallSid", CHILD),
    ("CallStatus", "completed"),
    ("Direction", "outbound-dial"),
    ("ParentCallSid", VICTIM),
)
VICTIMS_ROOM, RECORDING = "CF" + "9" * 32, "RE" + "9" * 32
IN_A_ROOM = {
    "AccountSid": ACCOUNT,
    "ConferenceSid": "CF" + "0" * 32,
    "SequenceNumber": "5",
    "Timestamp": "Fri, 1 Jan 2027",
}
OF_CALL = {"AccountSid": ACCOUNT, "CallSid": sid(2)}
REQUEST = {
    "AccountSid": ACCOUNT,
    "ApiVersion": "2010-04-01",
    "CallSid": sid(2),
    "CallStatus": "in-progress",
    "Called": "+12025550100",
    "Caller": "+15005550006",
    "Direction": "inbound",
    "From": "+15005550006",
}
# What Twilio sends, to callbacks' URLs and to others that begin like them: the fields, and those that others choose.
SENT: dict[str, tuple[dict[str, str], list[str]]] = {
    "status": (form(2, "completed", number=3, at=3, ApiVersion="2010-04-01"), ["Caller", "CallerName", "From", "To"]),
    "child": (form(2, "ringing", number=1, parent=3, ApiVersion="2010-04-01"), ["Called", "From", "SipHeader_X-A"]),
    "request": (
        REQUEST,
        [
            "AccountId",
            "AddOns",
            "Agent",
            "Bot",
            "Caller",
            "CallerName",
            "Digits",
            "ForwardedFrom",
            "From",
            "StirVerstat",
            "zebra",
        ],
    ),
    "end of a Dial": (REQUEST | {"DialCallSid": sid(3), "DialCallStatus": "answered"}, ["Caller", "DialBridged"]),
    "transcription": (REQUEST | {"TranscriptionSid": "TR1", "TranscriptionStatus": "completed"}, ["TranscriptionText"]),
    "speech": (REQUEST | {"SequenceNumber": "1"}, ["StableSpeechResult", "UnstableSpeechResult"]),
    "detection": (FORMS["detection"], ["MachineDetectionDuration"]),
    "recording": (OF_CALL | {"RecordingSid": "RE1", "RecordingStatus": "completed"}, ["ErrorCode", "RecordingUrl"]),
    "stream": (OF_CALL | {"StreamSid": "MZ1", "StreamEvent": "stream-started"}, ["StreamName"]),
    "member": (
        IN_A_ROOM | OF_CALL | {"Coaching": "false", "StatusCallbackEvent": "participant-join"},
        ["FriendlyName", "ParticipantLabel"],
    ),
    "coach": (
        IN_A_ROOM | OF_CALL | {"CallSidToCoach": sid(3), "StatusCallbackEvent": "participant-leave"},
        ["FriendlyName", "ParticipantLabel"],
    ),
    "room": (IN_A_ROOM | {"StatusCallbackEvent": "conference-start"}, ["FriendlyName"]),
    "room's end": (
        IN_A_ROOM | {"CallSidEndingConference": sid(3), "StatusCallbackEvent": "conference-end"},
        ["FriendlyName", "ParticipantLabelEndingConference"],
    ),
    "announcement": (
        IN_A_ROOM | {"AnnounceUrl": "https://example.com/a", "StatusCallbackEvent": "announcement-end"},
        ["FriendlyName"],
    ),
    "request for an announcement": (IN_A_ROOM, ["FriendlyName"]),
    "room's recording": (
        IN_A_ROOM | {"RecordingSid": "RE1", "RecordingStatus": "completed"},
        ["FriendlyName", "RecordingUrl"],
    ),
    "message": (
        {"AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "MessageSid": "SM" + "0" * 32},
        ["Body", "ProfileName"],
    ),
    "conversation": ({"AccountSid": ACCOUNT, "ConversationSid": "CH" + "0" * 32}, ["Attributes", "Author", "Body"]),
    "video": ({"AccountSid": ACCOUNT, "RoomSid": "RM1", "StatusCallbackEvent": "room-created"}, ["RoomName"]),
    "task": ({"AccountSid": ACCOUNT, "EventType": "task.created", "WorkspaceSid": "WS1"}, ["TaskAttributes"]),
    "report of an error": ({"AccountSid": ACCOUNT, "Level": "ERROR", "Sid": "NO1"}, ["Payload"]),
}
CHOSEN = [
    *(f"CallSid{VICTIM}CallStatuscompleted", f"CallSid{VICTIM}CallStatuscompletedZ", f"CallSid{VICTIM}", "Z", " ", "x"),
    *(f"AccountSid{ACCOUNT}", "ApiVersion2010-04-01", "AnsweredByhuman", "CallbackSourcecall-progress-events"),
    *(f"ConferenceSid{VICTIMS_ROOM}", "StatusCallbackEventconference-end", f"RecordingSid{RECORDING}"),
    *("RecordingStatuscompleted", f"ParentCallSid{VICTIM}", "Directionoutbound-dial", "Directioninbound"),
    *(f"x&CallSid={VICTIM}&CallStatus=completed&", f"&ConferenceSid={VICTIMS_ROOM}&StatusCallbackEvent=conference-end"),
    f"AccountSid{ACCOUNT}ApiVersion2010-04-01CallSid{VICTIM}CallStatuscompleted",
    *(f"&AccountSid={ACCOUNT}", f"&ParentCallSid={VICTIM}&", "?", "Parent", "Dial", "CallSid", "TranscriptionSidTR"),
    "TranscriptionStatusdone",
]
Owned = tuple[str, str | None, str, str | None]


def owned_by(target: str, pairs: tuple[tuple[str, str], ...], signature: str, *, method: str) -> set[Owned]:
    """Return the call, parent, status and conference of what a listener would make of a request, if it takes it."""
    event = event_made_of(target, pairs, signature, method=method)
    if event is None:
        return set()
    return {(event.call_sid, event.parent_call_sid, event.status, event.conference_sid)}


@given(
    st.sampled_from(sorted(SENT)),
    st.sampled_from(["", "", "?", "?room=7", "-2", "2"]),  # a query, or how the path of another URL goes on
    st.lists(st.sampled_from(CHOSEN), min_size=1, max_size=5).map("".join),
    st.data(),
)
def test_whatever_twilio_sends_and_others_choose_it_is_no_event_of_another_call_or_conference(
    kind: str, behind: str, chosen: str, data: st.DataObject
) -> None:
    fields, places = SENT[kind]
    named = data.draw(st.sets(st.sampled_from(places), min_size=1))
    genuine = tuple((fields | dict.fromkeys(named, chosen)).items())
    owner = fields.get("CallSid") or fields.get("ConferenceSid", "")
    room = fields.get("ConferenceSid")
    right = {
        (owner, fields.get("ParentCallSid"), fields.get("CallStatus", ""), room),
        (owner, fields.get("ParentCallSid"), "", room),
    }
    signature = signature_of(PUBLIC + behind, genuine, key=TOKEN)
    text = behind + signed_form(genuine)
    mark = {"?": "", "?room=7": "&"}.get(behind, "?")
    whole = f"{behind}{mark}{urlencode(genuine)}"
    of_get = RequestValidator(TOKEN).compute_signature(PUBLIC + whole, {})
    chance = random.Random(data.draw(st.integers()))
    for signed, its_signature in ((text, signature), (whole, of_get)):
        if signed.startswith("?"):
            assert owned_by("/status" + signed, parsed(signed[1:]), its_signature, method="GET") <= right
        for head, pairs in readings(signed, chance):
            assert CHECK.accepts(SignedRequest("/status" + head, pairs, its_signature))
            made = owned_by("/status" + head, pairs, its_signature, method="POST")
            assert made <= right, (head, pairs)
            assert sender_in(dict(pairs), signed) in (None, fields.get("CallSid"))
            event(f"an event: {bool(made)}")
    if behind in ("", "?"):
        assert owned_by("/status" + behind, genuine, signature, method="POST") <= right
    assert {sender_in(dict(genuine), text), sender_in(dict(genuine), whole)} <= {None, fields.get("CallSid")}


NO_EVENTS = {"stream", "request for an announcement", "message", "conversation", "video", "task", "report of an error"}
UUIDS = {
    ACCOUNT: "5b1b2f5e-0000-4000-8000-00000000000a",
    sid(2): "f371391e-25cc-4ba6-a752-ec745a59cf06",
    sid(3): "0f1e2d3c-25cc-4ba6-a752-ec745a59cf06",
    IN_A_ROOM["ConferenceSid"]: "01234567-89ab-4ba6-a752-ec745a59cf06",
}


@pytest.mark.parametrize("is_uuid", [False, True])
@pytest.mark.parametrize("behind", ["", "?", "?room=7"])
@pytest.mark.parametrize("kind", SENT)
def test_with_ordinary_names_it_is_an_event(kind: str, behind: str, is_uuid: bool) -> None:
    fields, places = SENT[kind]
    chosen = "Ann's room 7, for AccountSid and CallStatus"
    genuine = tuple((fields | {place: fields.get(place, chosen) for place in places}).items())
    if is_uuid:
        genuine = tuple((name, UUIDS.get(value, value)) for name, value in genuine)
    read = dict(genuine)
    status = "" if kind in ("transcription", "speech") else read.get("CallStatus", "")
    room = read.get("ConferenceSid")
    ours = {(read.get("CallSid") or room or "", read.get("ParentCallSid"), status, room)}
    expected = set() if kind in NO_EVENTS else ours
    signature = signature_of(PUBLIC + behind, genuine, key=TOKEN)
    assert owned_by("/status" + behind, genuine, signature, method="POST") == expected
    whole = f"{behind or '?'}{'&' if len(behind) > 1 else ''}{urlencode(genuine)}"
    of_get = RequestValidator(TOKEN).compute_signature(PUBLIC + whole, {})
    assert owned_by("/status" + whole, parsed(whole[1:]), of_get, method="GET") == expected


@pytest.mark.parametrize("query", ["?ConferenceSid=CF7", "?CallSid=CA7", "?AccountSid=mine&room=Body"])
def test_a_url_may_have_parameters_named_like_twilios(query: str) -> None:
    pairs = tuple(SENT["status"][0].items())
    signature = signature_of(PUBLIC + query, pairs, key=TOKEN)
    assert owned_by("/status" + query, pairs, signature, method="POST") == {(sid(2), None, "completed", None)}


def test_a_room_named_like_a_callback_is_its_conference_in_whatever_way_it_is_cut() -> None:
    genuine = tuple((IN_A_ROOM | {"FriendlyName": A_CALL, "StatusCallbackEvent": "conference-start"}).items())
    text, signature = signed_form(genuine), signature_of(PUBLIC, genuine, key=TOKEN)
    room = IN_A_ROOM["ConferenceSid"]
    assert owned_by("/status", genuine, signature, method="POST") == {(room, None, "", room)}
    head, _, rest = text.partition(A_CALL)
    cut = ((head[:20], head[20:]), *OF_A_CALL, (f"Z{rest}", ""))
    assert CHECK.accepts(SignedRequest("/status", cut, signature))
    assert owned_by("/status", cut, signature, method="POST") == set()
    assert sids_in(text) == []


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("announcement", "FriendlyName"),
        ("message", "Body"),
        ("conversation", "Author"),
        ("video", "RoomName"),
        ("task", "TaskAttributes"),
        ("report of an error", "Payload"),
    ],
)
@pytest.mark.parametrize("behind", ["", "-2", "?room=7"])
def test_no_text_in_a_form_without_a_call_makes_an_event_of_one(kind: str, place: str, behind: str) -> None:
    genuine = tuple((SENT[kind][0] | {place: A_CALL}).items())
    text, signature = behind + signed_form(genuine), signature_of(PUBLIC + behind, genuine, key=TOKEN)
    query = behind if behind.startswith("?") else ""
    head, _, rest = text.removeprefix(query).partition(A_CALL)
    start = -6 if head.endswith("Author") else 14  # as two fields that sort before CallSid
    cut = ((head[:start], head[start:]), *OF_A_CALL, (f"Z{rest}", ""))
    if CHECK.accepts(SignedRequest("/status" + query, cut, signature)):
        assert owned_by("/status" + query, cut, signature, method="POST") == set()
    else:
        pytest.fail("this is no other cut of what was signed")


def test_a_room_of_a_video_is_no_conference_by_its_name() -> None:
    chosen = f"ConferenceSid{VICTIMS_ROOM}Q"
    genuine = tuple((SENT["video"][0] | {"RoomName": chosen}).items())
    text, signature = signed_form(genuine), signature_of(PUBLIC, genuine, key=TOKEN)
    head, _, rest = text.partition(chosen)
    before, _, after = rest.partition("StatusCallbackEvent")
    cut = ((head, ""), ("ConferenceSid", VICTIMS_ROOM), (f"Q{before}", ""), ("StatusCallbackEvent", after))
    assert CHECK.accepts(SignedRequest("/status", cut, signature))
    assert owned_by("/status", cut, signature, method="POST") == set()


def test_words_that_somebody_speaks_are_in_no_conference() -> None:
    fields = SENT["speech"][0] | {"ConferenceSid": VICTIMS_ROOM, "UnstableSpeechResult": "hello"}
    pairs = tuple(fields.items())
    signature = signature_of(PUBLIC, pairs, key=TOKEN)
    assert owned_by("/status", pairs, signature, method="POST") == {(sid(2), None, "", None)}


USUAL = signed_form(tuple(REQUEST.items()))
VICTIMS_USUAL = f"AccountSid{ACCOUNT}ApiVersion2010-04-01CallSid{VICTIM}CallStatuscompletedZ"
A_GET = f"?AccountSid={ACCOUNT}&CallSid={sid(2)}&CallStatus=ringing&From="


@pytest.mark.parametrize(
    ("signed", "claimed", "sender"),
    [
        (USUAL, sid(2), sid(2)),
        (USUAL, VICTIM, None),
        (USUAL + VICTIMS_USUAL, sid(2), sid(2)),
        ("?room=7" + USUAL, sid(2), sid(2)),
        (f"?room=7AccountId{VICTIMS_USUAL}{USUAL}", VICTIM, None),  # a parameter of a client's
        (f"AccountId{VICTIMS_USUAL}", VICTIM, None),
        (A_GET + A_CALL, sid(2), sid(2)),
        (A_GET + VICTIMS_USUAL, VICTIM, None),
        (A_GET.replace("?", f"?CallSid={VICTIM}&") + A_CALL, sid(2), None),
        (f"?AccountSid={ACCOUNT}&Body={VICTIMS_USUAL}", VICTIM, None),
        (f"x&CallSid={VICTIM}&CallStatus=completed", VICTIM, None),
        (USUAL.replace("CallStatus", f"CallSid{VICTIM}CallStatus"), sid(2), None),
        (f"AccountSid{ACCOUNT}ConferenceSid{VICTIMS_ROOM}FriendlyName{A_CALL}", VICTIM, None),
        (f"?room=7AccountSid{ACCOUNT}ConferenceSid{VICTIMS_ROOM}FriendlyName{VICTIMS_USUAL}", VICTIM, None),
    ],
)
def test_the_sender_is_who_is_named_for_certain(signed: str, claimed: str, sender: str | None) -> None:
    assert sender_in({"CallSid": claimed}, signed) == sender


def test_a_room_named_like_a_query_is_no_get_of_a_call() -> None:
    name = f"x&CallSid={VICTIM}&CallStatus=completed&"
    genuine = tuple((IN_A_ROOM | {"FriendlyName": name, "StatusCallbackEvent": "conference-start"}).items())
    genuine = tuple((field, value.replace(" ", "_")) for field, value in genuine)
    query = "?room=7" + signed_form(genuine)
    signature = signature_of(PUBLIC + "?room=7", genuine, key=TOKEN)
    assert CHECK.accepts(SignedRequest("/status" + query, (), signature))
    assert owned_by("/status" + query, parsed(query[1:]), signature, method="GET") == set()


@pytest.mark.parametrize("kind", ["member", "room"])
@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (f"ParentCallSid{VICTIM}Q", ["ConferenceSid", "ParentCallSid", "Q", "StatusCallbackEvent"]),
        (f"ConferenceSid{VICTIMS_ROOM}Q", [f"ConferenceSid{VICTIMS_ROOM}", "Q", "StatusCallbackEvent"]),
        (f"RecordingSid{RECORDING}RecordingStatuscompleted", ["ConferenceSid", "RecordingSid", "RecordingStatus"]),
    ],
)
def test_no_name_of_a_room_gives_a_callback_a_parent_another_room_or_a_recording(
    kind: str, chosen: str, names: list[str]
) -> None:
    genuine = tuple((SENT[kind][0] | {"FriendlyName": chosen}).items())
    text, signature = signed_form(genuine), signature_of(PUBLIC, genuine, key=TOKEN)
    starts = ["AccountSid", *(["CallSid", "Coaching"] if kind == "member" else []), *names]
    places = [text.index(start) for start in starts]
    fields = [text[start:end] for start, end in zip(places, [*places[1:], len(text)], strict=True)]
    lengths = [len(start.removesuffix(VICTIMS_ROOM)) for start in starts]
    if names[0] == "ConferenceSid":  # its SID, and what is between it and the next
        at = starts.index("ConferenceSid")
        fields[at : at + 1] = [fields[at][:47], fields[at][47:]]
        lengths.insert(at + 1, 12)
    pairs = tuple((field[:length], field[length:]) for field, length in zip(fields, lengths, strict=True))
    assert CHECK.accepts(SignedRequest("/status", pairs, signature))
    assert owned_by("/status", pairs, signature, method="POST") == set()


def test_of_a_form_that_a_client_has_begun_itself_no_call_is_the_sender() -> None:
    """A client names its parameters, which come with Twilio's own, and may sort before them."""
    started = signed_form((("AccountSid", ACCOUNT), ("ApiVersion", "2010-04-01"))) + A_CALL
    genuine = REQUEST | {started[:9]: started[9:]}
    text = signed_form(tuple(genuine.items()))
    assert text.startswith(started)
    assert sender_in(genuine, text) is None
    signature = signature_of(PUBLIC, list(genuine.items()), key=TOKEN)
    assert owned_by("/status", tuple(genuine.items()), signature, method="POST") == set()
    assert sids_in(text) == [VICTIM, sid(2)]


@pytest.mark.parametrize("place", ["CallerName", "From", "To", "SipHeader_X-Who"])
@given(hostile=HOSTILE, status=STATUSES)
def test_nobody_hides_a_call_whose_callbacks_go_to_a_url_without_a_query(place: str, hostile: str, status: str) -> None:
    """Only a second Direction beside a second ParentCallSid makes it unclear whose child the leg is."""
    fields = form(2, status, ApiVersion="2010-04-01") | {place: hostile}
    genuine = tuple(fields.items())
    events = facts_of("/status", genuine, signature_of(PUBLIC, genuine, key=TOKEN), method="POST")
    is_unclear = "Direction" in hostile and "ParentCallSid" in hostile
    assert events == (set() if is_unclear else {(fields["CallSid"], None, status)})


@pytest.mark.parametrize(("chosen", "forged"), [(A_CALL, OF_A_CALL), (A_CHILD, OF_A_CHILD)])
def test_a_get_sent_again_as_a_form_is_no_event_of_a_call_that_the_caller_named(
    chosen: str, forged: tuple[tuple[str, str], ...]
) -> None:
    query = "?" + urlencode(OWN_CALL | {"CallerName": chosen, "Direction": "inbound", "From": "sip:x@example.com"})
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + query, {})
    at = query.index(chosen)
    pairs = (*forged, (query[at + len(chosen) - 1 :], ""))
    assert CHECK.accepts(SignedRequest("/status" + query[:at], pairs, signature))
    assert facts_of("/status" + query[:at], pairs, signature, method="POST") == set()


@pytest.mark.parametrize("name", ["AddOns", "Agent", "Bot"])
@pytest.mark.parametrize("end", ["", "Parent", "Dial"])  # which would make the right name part of a longer one
def test_a_field_before_the_call_that_a_caller_fills_makes_no_event_of_another(name: str, end: str) -> None:
    genuine = tuple((OWN_CALL | {name: f'{{"caller_name": "{A_CALL}"}}{end}', "Direction": "inbound"}).items())
    text, signature = signed_form(genuine), signature_of(PUBLIC, genuine, key=TOKEN)
    head, _, rest = text.partition(A_CALL)
    pairs = (("A", head[1:]), *OF_A_CALL, (f"Z{rest}", ""))
    assert CHECK.accepts(SignedRequest("/status", pairs, signature))
    assert facts_of("/status", pairs, signature, method="POST") == set()


def test_a_form_sent_again_as_a_get_is_no_event_of_a_call_that_the_caller_named() -> None:
    chosen = f"x&CallSid={CHILD}&CallStatus=completed&Direction=outbound-dial&ParentCallSid={VICTIM}&Y=y&Z=1"
    genuine = tuple((OWN_CALL | {"CallerName": chosen, "Direction": "inbound"}).items())
    query = "?x=1" + signed_form(genuine)
    signature = signature_of(PUBLIC + "?x=1", genuine, key=TOKEN)
    assert CHECK.accepts(SignedRequest("/status" + query, (), signature))
    assert facts_of("/status" + query, parsed(query[1:]), signature, method="GET") == set()


@pytest.mark.parametrize("direction", ["inbound", "outbound-api", "trunking-originating"])
def test_a_leg_without_a_parent_gets_none_from_a_name(direction: str) -> None:
    chosen = f"ParentCallSid{VICTIM}Z"
    genuine = tuple((OWN_CALL | {"Direction": direction, "From": chosen, "To": "x"}).items())
    text, signature = signed_form(genuine), signature_of(PUBLIC, genuine, key=TOKEN)
    head, _, rest = text.partition(f"From{chosen}")
    before = head.removeprefix(signed_form(tuple(OWN_CALL.items()))).removeprefix("Direction")
    pairs = (*OWN_CALL.items(), ("Direction", before), ("From", ""), ("ParentCallSid", VICTIM), (f"Z{rest}", ""))
    assert CHECK.accepts(SignedRequest("/status", pairs, signature))
    assert facts_of("/status", pairs, signature, method="POST") == set()
    assert facts_of("/status", genuine, signature, method="POST") == {(sid(7), None, "ringing")}


def test_a_status_callback_is_no_transcription_by_what_a_caller_is_named() -> None:
    chosen = "TranscriptionSidTRTranscriptionStatuscompleted"
    genuine = tuple(form(1, "completed", From=f"x{chosen}").items())
    text, signature = signed_form(genuine), signature_of(PUBLIC, genuine, key=TOKEN)
    before, _, rest = text.partition(f"Fromx{chosen}")
    start = f"AccountSid{ACCOUNT}CallSid{sid(1)}CallStatuscompleted"
    pairs = (
        ("AccountSid", ACCOUNT),
        ("CallSid", sid(1)),
        ("CallStatus", "completed"),
        (f"{before.removeprefix(start)}Fromx", ""),
        ("TranscriptionSid", "TR"),
        ("TranscriptionStatus", f"completed{rest}"),
    )
    assert CHECK.accepts(SignedRequest("/status", pairs, signature))
    assert facts_of("/status", pairs, signature, method="POST") == set()
    assert facts_of("/status", genuine, signature, method="POST") == {(sid(1), None, "completed")}


def test_a_query_is_the_same_event_where_a_part_of_it_comes_as_a_form() -> None:
    """Escaped characters are compared alike wherever they come: the key is that of the whole text."""
    query = "?" + urlencode(OWN_CALL | {"From": "sip:x@example.com", "Direction": "inbound"})
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + query, {})
    ours = events_of("/status" + query, parsed(query[1:]), signature, method="GET")
    at = query.index("From=")
    cut = (("CallSid", sid(7)), ("CallStatus", "ringing"))
    signed = SignedRequest("/status" + query[:at], ((query[at:], ""),), signature)
    assert CHECK.accepts(signed)
    assert {(sid(7), signed_key(signed.covered, world=WORLD))} == ours
    assert not is_ambiguous(dict(cut), signed.covered)


def all_cuts(text: str) -> Iterator[list[tuple[str, str]]]:
    """Yield pairs into which a signed text can be cut: identifying names anywhere, and others after values."""
    matches = [(match.start(), match[1]) for match in re.finditer(f"(?=({IDENTIFYING}))", text)]
    for count in range(2, 6):
        for chosen in combinations(matches, count):
            names = [name for _, name in chosen]
            if names != sorted(set(names)):
                continue
            ends = [*(start for start, _ in chosen[1:]), len(text)]
            stops = [
                [end, *(at for at in range(start + len(name), end) if text[at:end] > name)]
                for (start, name), end in zip(chosen, ends, strict=True)
            ]
            for cut in islice(product(*stops), 3000):
                pairs = [(text[: chosen[0][0]], "")] if chosen[0][0] else []
                for (start, name), stop, end in zip(chosen, cut, ends, strict=True):
                    pairs += [(name, text[start + len(name) : stop]), *([(text[stop:end], "")] if stop < end else [])]
                if all(one <= other for one, other in pairwise(pairs)):
                    yield pairs


@pytest.mark.parametrize("kind", FORMS)
def test_whatever_names_are_found_in_a_signed_text_it_is_one_event(kind: str) -> None:
    genuine = tuple(FORMS[kind].items())
    signature = signature_of(PUBLIC, genuine, key=TOKEN)
    ours = events_of("/status", genuine, signature, method="POST")
    assert len(ours) == 1
    tried = 0
    for pairs in all_cuts(signed_form(genuine)):
        tried += 1
        assert events_of("/status", tuple(pairs), signature, method="POST") <= ours, pairs
    assert tried > 0


def test_a_get_cut_at_its_equals_signs_and_sent_as_a_form_makes_no_other_event() -> None:
    query = "?CallSid=CA1&CallStatus=busy"
    signature = RequestValidator(TOKEN).compute_signature(PUBLIC + query, {})
    assert len(events_of("/status" + query, parsed(query[1:]), signature, method="GET")) == 1
    cut = (("CallSid", "=CA1&"), ("CallStatus", "=busy"))
    assert CHECK.accepts(SignedRequest("/status?", cut, signature))
    assert events_of("/status?", cut, signature, method="POST") == set()
    swallowed = (("CallSid", "CA1&"), ("CallStatus", "=busy"))
    swallowing = RequestValidator(TOKEN).compute_signature(PUBLIC + "?CallSidCA1&CallStatus=busy", {})
    assert CHECK.accepts(SignedRequest("/status?", swallowed, swallowing))
    assert events_of("/status?", swallowed, swallowing, method="POST") == set()


def test_bytes_that_are_no_text_tell_events_apart_as_well() -> None:
    assert signed_key("?a=\udcff", world=WORLD) != signed_key("?a=\udcfe", world=WORLD)


SERVED = (
    "/twiml",
    "/twiml/survey",
    "/twiml/survey2",
    "/twiml/survey-2",
    "/twiml/surveyA",
    "/twiml/surveyAccount",
    "/a%27b",
    "/a%27",
)


def keys_at(url: str, target: str, pairs: tuple[tuple[str, str], ...], signature: str) -> set[str]:
    """Return the key of what a listener at one URL alone would make of a POST; nothing if it is none."""
    signed = SignedRequest(target, pairs, signature)
    covered = SignatureCheck([url], keys=[TOKEN]).covered(signed)
    if covered is None:
        return set()
    try:
        event = CallEvent.from_form(
            pairs, received_at=START, world=WORLD, verified=True, signed=signed.covered, covered=covered
        )
    except NotACallEventError:
        return set()
    return {event.key}


@given(
    origin=st.sampled_from(["https://example.com", "https://example.com:8443", "https://ann:pw@example.com"]),
    path=st.sampled_from(SERVED),
    query=QUERIES,
    fields=st.sampled_from([form(1, "in-progress"), OWN_CALL | {"CallerName": "'@:"}, OWN_CALL | {"2": "x"}]),
)
def test_one_signature_is_one_event_at_every_url_that_it_fits(
    origin: str, path: str, query: str, fields: dict[str, str]
) -> None:
    """Also where the listener that is sent the captured request does not know the longer URL."""
    pairs, url = tuple(fields.items()), origin + path
    signature = signature_of(url + query, pairs, key=TOKEN)
    ours = keys_at(url, path + query, pairs, signature)
    assert len(ours) == 1
    without_user = origin.replace("ann:pw@", "")
    for spelt in {origin, without_user, without_user.removesuffix(":8443")}:  # a retry may be signed otherwise
        retry = signature_of(spelt + path + query, pairs, key=TOKEN)
        assert keys_at(url, path + query, pairs, retry) == ours
    for shorter in SERVED:
        rest = path.removeprefix(shorter)
        if rest == path:
            continue
        event(f"sent to the URL itself: {not rest}")
        (name, value), *others = sorted(pairs)
        cut = ((f"{rest}{query}{name}", value), *others)
        fits = SignatureCheck([origin + shorter], keys=[TOKEN]).accepts(SignedRequest(shorter, cut, signature))
        assert fits == (cut[0] < cut[1])  # a form is signed in the order of its names
        assert keys_at(origin + shorter, shorter, cut, signature) <= ours


async def test_a_captured_request_for_one_document_is_no_event_at_another(
    start: Start, http: aiohttp.ClientSession, store: SqliteStore
) -> None:
    listener = await start(documents=("survey", "survey2"))
    pairs = sorted(OWN_CALL.items())
    for origin in ("https://example.com", listener.url):
        (name, value), *others = pairs
        headers = {"X-Twilio-Signature": signature_of(f"{origin}/twiml/survey2", pairs, key=TOKEN)}
        for path, sent in (("survey2", pairs), ("survey", [(f"2{name}", value), *others])):
            async with http.post(f"{listener.url}/twiml/{path}", data=sent, headers=headers) as reply:
                assert reply.status == 404  # verified and kept: it is a document that this listener lacks
    assert len(list(store.replay(since=None))) == 1
    assert (listener.accepted, listener.duplicates, listener.refused) == (1, 3, 0)


async def test_one_form_for_two_documents_is_two_requests(
    start: Start, http: aiohttp.ClientSession, store: SqliteStore
) -> None:
    listener = await start(documents=("menu", "survey"))
    for name in ("menu", "survey", "survey"):
        headers = {
            "X-Twilio-Signature": signature_of(f"{listener.url}/twiml/{name}", list(OWN_CALL.items()), key=TOKEN)
        }
        async with http.post(f"{listener.url}/twiml/{name}", data=OWN_CALL, headers=headers) as reply:
            assert reply.status == 404
    assert (listener.accepted, listener.duplicates, len(list(store.replay(since=None)))) == (2, 1, 2)
