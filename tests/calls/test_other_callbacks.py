"""Callbacks without a status: machine detections, recordings, conferences."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from events import ACCOUNT, WORLD, event, event_of, form, moment, sid
from paths import ROOT

from callctl.calls.action import ActionEvent
from callctl.calls.event import CallEvent, NotACallEventError
from callctl.calls.event_record import signed_form
from callctl.calls.other_callbacks import FEATURES
from callctl.store.sqlite.store import SqliteStore
from callctl.views.jsonl import JsonLinesView
from callctl.views.lines import event_fields, short_line

AMD = {"CallSid": sid(1), "AccountSid": ACCOUNT, "AnsweredBy": "machine_start", "MachineDetectionDuration": "3400"}
RECORDING = {
    "AccountSid": ACCOUNT,
    "CallSid": sid(1),
    "RecordingSid": "RE" + "0" * 32,
    "RecordingUrl": "https://api.twilio.com/2010-04-01/Accounts/AC/Recordings/RE",
    "RecordingStatus": "completed",
    "RecordingDuration": "25",
    "RecordingChannels": "1",
    "RecordingStartTime": "Mon, 23 Nov 2026 10:00:00 +0000",
    "RecordingSource": "OutboundAPI",
    "RecordingTrack": "both",
}
STANDARD = {"CallSid": sid(1), "AccountSid": ACCOUNT, "ApiVersion": "2010-04-01", "Direction": "inbound"}
TRANSCRIBED = STANDARD | {
    "CallStatus": "completed",
    "RecordingSid": "RE" + "0" * 32,
    "RecordingUrl": "https://api.twilio.com/2010-04-01/Accounts/AC/Recordings/RE",
    "TranscriptionSid": "TR" + "0" * 32,
    "TranscriptionStatus": "completed",
    "TranscriptionText": "hello there",
}
PARTIAL = STANDARD | {"CallStatus": "in-progress", "UnstableSpeechResult": "I want to", "SequenceNumber": "7"}
LEAVE = {
    "ConferenceSid": "CF" + "0" * 32,
    "FriendlyName": "room-1",
    "AccountSid": ACCOUNT,
    "SequenceNumber": "4",
    "Timestamp": "Mon, 23 Nov 2026 10:00:09 +0000",
    "StatusCallbackEvent": "participant-leave",
    "CallSid": sid(1),
    "ParticipantLabel": "agent",
    "ParticipantCallStatus": "completed",
    "ReasonParticipantLeft": "left",
}
ENDED = {
    "ConferenceSid": "CF" + "0" * 32,
    "FriendlyName": "room-1",
    "AccountSid": ACCOUNT,
    "SequenceNumber": "5",
    "Timestamp": "Mon, 23 Nov 2026 10:00:10 +0000",
    "StatusCallbackEvent": "conference-end",
    "CallSidEndingConference": sid(1),
    "ReasonConferenceEnded": "last-left",
}


@pytest.mark.parametrize(
    ("fields", "kind", "name", "owner", "words"),
    [
        (AMD, "amd", "amd", sid(1), "answered by machine_start after 3.4 s"),
        (RECORDING, "recording", "recording-completed", sid(1), f"recording completed 25 s RE{'0' * 32}"),
        (LEAVE, "conference", "participant-leave", sid(1), "conference room-1: participant-leave agent (left)"),
        (TRANSCRIBED, "transcription", "transcription-completed", sid(1), "transcription completed hello there"),
        (PARTIAL, "speech", "speech", sid(1), "speech so far: I want to"),
        (ENDED, "conference", "conference-end", "CF" + "0" * 32, "conference room-1: conference-end (last-left)"),
    ],
)  # fmt: skip
def test_each_is_read_and_kept(fields: Mapping[str, str], kind: str, name: str, owner: str, words: str) -> None:
    read = event_of(fields, received=12)
    assert (read.kind, read.event, read.call_sid, read.status, read.in_words) == (kind, name, owner, "", words)
    assert CallEvent.from_record(read.to_record()) == read
    assert not read.is_final
    assert read.order < event(1, "unknown to all").order
    assert event_fields(read)[1:] == (owner, "-", name, "-", "-", "-", "-")
    assert short_line(read).endswith(f"{owner}  {words}")


def test_their_json_is_of_a_type_of_its_own() -> None:
    detected, recorded, leave, ended = (event_of(one, received=12).to_json() for one in (AMD, RECORDING, LEAVE, ENDED))
    assert detected == {
        "v": 1,
        "type": "amd",
        "verified": True,
        "received_at": "2026-11-23T10:00:12Z",
        "timestamp": None,
        "event": "amd",
        "call_sid": sid(1),
        "account_sid": ACCOUNT,
        "answered_by": "machine_start",
        "machine_detection_duration": 3400,
        "form": AMD,
    }
    assert (recorded["type"], recorded["event"], recorded["recording_sid"]) == (
        "recording", "recording-completed", RECORDING["RecordingSid"],
    )  # fmt: skip
    assert (recorded["recording_duration"], recorded["recording_channels"], recorded["conference_sid"]) == (25, 1, None)
    assert (recorded["recording_status"], recorded["recording_start_time"]) == ("completed", "2026-11-23T10:00:00Z")
    assert (leave["type"], leave["call_sid"], leave["conference_sid"]) == ("conference", sid(1), LEAVE["ConferenceSid"])
    assert (leave["sequence_number"], leave["friendly_name"], leave["timestamp"]) == (
        4,
        "room-1",
        "2026-11-23T10:00:09Z",
    )
    assert (ended["call_sid"], ended["call_sid_ending_conference"]) == (None, sid(1))
    json.dumps([detected, recorded, leave, ended])


def test_a_status_callback_with_such_fields_is_a_status_callback() -> None:
    fields = form(1, "completed") | {"AnsweredBy": "human", "RecordingSid": "RE1", "RecordingStatus": "completed"}
    assert (event_of(fields).kind, event_of(fields).status, event_of(fields).answered_by) == (
        "callback",
        "completed",
        "human",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"AnsweredBy": "human"},
        {"CallSid": sid(1), "MachineDetectionDuration": "1"},
        {"CallSid": sid(1), "RecordingSid": "RE1"},
        {"RecordingSid": "RE1", "RecordingStatus": "completed"},
        {"ConferenceSid": "CF1"},
        {"CallSid": sid(1), "StatusCallbackEvent": "participant-join"},
    ],
)
def test_what_is_not_whole_is_none(fields: Mapping[str, str]) -> None:
    with pytest.raises(NotACallEventError):
        event_of(fields)


def test_a_call_can_not_be_cut_out_of_a_conferences_callback() -> None:
    fields = dict(LEAVE)
    del fields["CallSid"], fields["AccountSid"]
    cut = {"AccountSid": f"{ACCOUNT}CallSid{sid(1)}", **fields}
    assert signed_form(tuple(cut.items())) == signed_form(tuple(LEAVE.items()))
    with pytest.raises(NotACallEventError):
        event_of(cut)


def test_a_store_keeps_them_and_takes_none_for_a_live_call(tmp_path: Path) -> None:
    store = SqliteStore.open_for_watch(tmp_path / "events.db", world=WORLD)
    events = [event_of(one, received=number) for number, one in enumerate((AMD, RECORDING, LEAVE, ENDED))]
    assert [store.append(one) for one in [*events, *events]] == [True] * 4 + [False] * 4
    assert list(store.family(sid(1))) == events[:3]
    assert list(store.family(events[3].call_sid)) == events[3:]
    assert (store.live_calls(), store.calls_starting("C")) == ([], [])
    assert list(store.replay(since=moment(100))) == []
    store.append(event(1, "in-progress", at=5))
    assert [(one.call_sid, one.status) for one in store.live_calls()] == [(sid(1), "in-progress")]
    assert len(list(store.replay(since=moment(100)))) == 4
    store.append(event(1, "completed", at=6))
    store.append(event_of(RECORDING | {"RecordingSid": "RE2"}, received=7))
    assert store.live_calls() == []
    row = store.call(sid(1))
    assert row is not None
    assert (row.status, row.is_final, row.last_event_at) == ("completed", True, moment(9))  # by its Timestamp
    store.close()


def test_the_fields_of_each_record_are_documented() -> None:
    page = (ROOT / "docs" / "watch-json.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z]+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    out = io.StringIO()
    view = JsonLinesView(out, extra={}, say=print)
    for one in (event(sid(1), "ringing"), *map(event_of, (AMD, RECORDING, LEAVE, TRANSCRIBED, PARTIAL))):
        view.event(one, None)
    view.action(ActionEvent(moment(1), sid(1), "hangup", (("Status", "completed"),), "completed"))
    records = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [record["type"] for record in records] == ["event", *FEATURES, "action"]
    for record in records:
        fields = set(re.findall(r"`([a-z_]+)`", rows[record["type"]]))
        assert fields == record.keys() - {"v", "type"}
