"""Callbacks that are about something else than a call's status: machine detection, recording, conference, speech.

Twilio sends them to URLs of their own, which may be the same as that of status callbacks. They come with the SID of the
call, if not of the conference alone, and without a CallStatus (docs/twilio.md, "Other callbacks"). Transcriptions and
partial results of speech recognition come with one, as requests for TwiML do, but Twilio ignores the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from callctl.support.dates import format_date, parse_timestamp
from callctl.support.parsing import parse_int

AMD: Final = "amd"
RECORDING: Final = "recording"
CONFERENCE: Final = "conference"
TRANSCRIPTION: Final = "transcription"
SPEECH: Final = "speech"
FEATURES: Final = (AMD, RECORDING, CONFERENCE, TRANSCRIPTION, SPEECH)

Fields = Mapping[str, str]

_JSON_FIELDS: dict[str, tuple[tuple[str, str], ...]] = {
    AMD: (("answered_by", "AnsweredBy"), ("machine_detection_duration", "MachineDetectionDuration")),
    RECORDING: (
        ("recording_sid", "RecordingSid"),
        ("recording_status", "RecordingStatus"),
        ("recording_duration", "RecordingDuration"),
        ("recording_start_time", "RecordingStartTime"),
        ("recording_channels", "RecordingChannels"),
        ("recording_track", "RecordingTrack"),
        ("recording_source", "RecordingSource"),
        ("recording_url", "RecordingUrl"),
        ("conference_sid", "ConferenceSid"),
        ("error_code", "ErrorCode"),
    ),
    CONFERENCE: (
        ("conference_sid", "ConferenceSid"),
        ("friendly_name", "FriendlyName"),
        ("sequence_number", "SequenceNumber"),
        ("participant_label", "ParticipantLabel"),
        ("muted", "Muted"),
        ("hold", "Hold"),
        ("coaching", "Coaching"),
        ("end_conference_on_exit", "EndConferenceOnExit"),
        ("start_conference_on_enter", "StartConferenceOnEnter"),
        ("participant_call_status", "ParticipantCallStatus"),
        ("reason_participant_left", "ReasonParticipantLeft"),
        ("reason_conference_ended", "ReasonConferenceEnded"),
        ("call_sid_ending_conference", "CallSidEndingConference"),
        ("participant_label_ending_conference", "ParticipantLabelEndingConference"),
        ("reason", "Reason"),
    ),
    TRANSCRIPTION: (
        ("transcription_sid", "TranscriptionSid"),
        ("transcription_status", "TranscriptionStatus"),
        ("transcription_text", "TranscriptionText"),
        ("transcription_url", "TranscriptionUrl"),
        ("recording_sid", "RecordingSid"),
        ("recording_url", "RecordingUrl"),
    ),
    SPEECH: (
        ("unstable_speech_result", "UnstableSpeechResult"),
        ("stable_speech_result", "StableSpeechResult"),
        ("sequence_number", "SequenceNumber"),
    ),
}
_FLAGS = {"muted", "hold", "coaching", "end_conference_on_exit", "start_conference_on_enter"}
# The statuses of a recording that goes on; that of one that is over is completed, absent, or an error's.
_RECORDING_GOES_ON = {"in-progress", "started", "paused", "resumed"}
_NUMBERS = {"machine_detection_duration", "recording_duration", "recording_channels", "sequence_number"}


def feature_of(fields: Fields) -> str | None:
    """Return the kind of a form that is not about a call's status; None if it is of no known kind."""
    if fields.get("CallSid") and fields.get("TranscriptionSid") and fields.get("TranscriptionStatus"):
        return TRANSCRIPTION
    if fields.get("CallSid") and ("UnstableSpeechResult" in fields or "StableSpeechResult" in fields):
        return SPEECH
    if fields.get("CallStatus", "").strip():
        return None
    if fields.get("RecordingSid") and fields.get("RecordingStatus"):
        return RECORDING
    if fields.get("ConferenceSid") and fields.get("StatusCallbackEvent"):
        return CONFERENCE
    return AMD if fields.get("CallSid") and fields.get("AnsweredBy") else None


def asks_for_announcement(fields: Fields) -> bool:
    """Return whether a form of no known kind requests TwiML to play to a conference: it is about that, and no event."""
    return bool(fields.get("ConferenceSid")) and not any(
        name in fields for name in ("StatusCallbackEvent", "RecordingSid")
    )


def owner_of(fields: Fields) -> str:
    """Return the SID under which it is kept: the call's, else the conference's."""
    return fields.get("CallSid", "").strip() or fields.get("ConferenceSid", "").strip()


def event_of(kind: str, fields: Fields) -> str:
    """Return what happened, in a word: Twilio's StatusCallbackEvent, or the kind, with its status if it has one."""
    if kind == RECORDING:
        return f"recording-{fields['RecordingStatus']}"
    if kind == TRANSCRIPTION:
        return f"transcription-{fields['TranscriptionStatus']}"
    return fields["StatusCallbackEvent"] if kind == CONFERENCE else kind


def json_of(kind: str, fields: Fields) -> dict[str, Any]:
    """Return the fields of a kind for JSON: durations in seconds, that of a machine detection in milliseconds."""
    values: dict[str, Any] = {name: fields.get(parameter) or None for name, parameter in _JSON_FIELDS[kind]}
    for name in values.keys() & _NUMBERS:
        values[name] = parse_int(values[name])
    for name in values.keys() & _FLAGS:
        values[name] = _flag(values[name])
    if "recording_start_time" in values:
        values["recording_start_time"] = format_date(parse_timestamp(values["recording_start_time"]))
    return values


def _flag(text: str | None) -> bool | None:
    return None if text is None else text == "true"


def is_recording_over(fields: Fields) -> bool:
    """Return whether a callback of a recording says that nothing is recorded any more."""
    return fields["RecordingStatus"] not in _RECORDING_GOES_ON


def in_words(kind: str, fields: Fields) -> str:
    """Return a sentence about it, for people."""
    return " ".join(filter(None, _WORDS[kind](fields)))


def _amd(fields: Fields) -> Iterator[str]:
    yield f"answered by {fields['AnsweredBy']}"
    milliseconds = parse_int(fields.get("MachineDetectionDuration"))
    yield f"after {milliseconds / 1000:.1f} s" if milliseconds else ""


def _recording(fields: Fields) -> Iterator[str]:
    yield f"recording {fields['RecordingStatus']}"
    seconds = parse_int(fields.get("RecordingDuration"))
    yield "" if seconds is None else f"{seconds} s"
    yield fields["RecordingSid"]


def _conference(fields: Fields) -> Iterator[str]:
    event = fields["StatusCallbackEvent"]
    yield f"conference {fields.get('FriendlyName') or fields['ConferenceSid']}: {event}"
    yield fields.get("ParticipantLabel", "")
    if event in ("participant-join", "participant-modify"):
        states = {"on hold": "Hold", "muted": "Muted", "coaching": "Coaching"}
        yield ", ".join(state for state, name in states.items() if fields.get(name) == "true")
    reason = fields.get("ReasonParticipantLeft") or fields.get("ReasonConferenceEnded")
    yield f"({reason})" if reason else ""


def _transcription(fields: Fields) -> Iterator[str]:
    yield f"transcription {fields['TranscriptionStatus']}"
    yield fields.get("TranscriptionText", "")


def _speech(fields: Fields) -> Iterator[str]:
    yield "speech so far:"
    yield fields.get("StableSpeechResult", "")
    yield fields.get("UnstableSpeechResult", "")


_WORDS: dict[str, Callable[[Fields], Iterator[str]]] = {
    AMD: _amd,
    RECORDING: _recording,
    CONFERENCE: _conference,
    TRANSCRIPTION: _transcription,
    SPEECH: _speech,
}
