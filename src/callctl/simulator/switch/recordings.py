"""Recordings: how long each has run, what is reported of it, and when its file is there, which holds silence.

What their callbacks carry is in docs/twilio.md, "Recordings".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from callctl.simulator.callbacks import Callbacks, leg_parameters
from callctl.simulator.clock import Clock
from callctl.simulator.models import API_VERSION, Leg, RecordingRequest, Subscription
from callctl.simulator.settings import Settings
from callctl.simulator.switch.call_register import Register

PROCESSED_AFTER = 1.0  # simulated seconds from the end of a recording until its file is there (inferred)
TRANSCRIBED_AFTER = 3.0  # until its transcription is there (inferred)
TRANSCRIBED_FROM, TRANSCRIBED_TO = 2, 120  # seconds; what is not between is not transcribed (REC)
INVALID_EVENTS, TOO_SHORT = 21626, 16101
READY = frozenset({"completed", "absent", "deleted"})


@dataclass(slots=True, eq=False)
class Recording:
    """One recording. `call_sid` is that of the parent of what was recorded, `leg` what was recorded.

    `status` is what the reply to an update shows; it is over when it is stopped, and ready when it is completed.
    """

    sid: str
    ordinal: int
    call_sid: str
    leg: Leg
    request: RecordingRequest
    created: datetime
    updated: datetime
    since: float | None  # the simulated moment since which it counts; None while it skips, or is over
    conference_sid: str = ""
    reported_by: Leg | None = None  # the leg whose last callback reports it
    seconds: float = 0.0  # counted before `since`
    status: str = "in-progress"
    duration: int | None = None

    @property
    def error_code(self) -> int | None:
        """Twilio's code for why there is nothing in it."""
        return TOO_SHORT if self.status == "absent" else None

    @property
    def is_over(self) -> bool:
        """Whether nothing is recorded any more."""
        return self.status == "stopped" or self.status in READY


class Recordings:
    """Every recording by its SID, the first first; those that are over are dropped as calls are.

    `origin` is scheme, host and port of the API, under which the files are.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall: Callable[[], datetime],
        callbacks: Callbacks,
        register: Register,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._callbacks = callbacks
        self._register = register
        self._recordings: dict[str, Recording] = {}
        self._over: dict[str, None] = {}
        self._ordinals = 0
        self.origin = ""

    def start(
        self, leg: Leg, request: RecordingRequest, *, reported_by: Leg | None = None, conference_sid: str = ""
    ) -> Recording:
        """Begin to record a leg, the two that it is one of, or its conference; the one that begins it stops it too."""
        leg.recordings += 1
        self._ordinals += 1
        now = self._wall()
        recording = Recording(
            sid=self._register.new_sid("RE", leg.key, leg.recordings),
            ordinal=self._ordinals,
            call_sid=leg.sid if conference_sid else (leg.parent or leg).sid,
            leg=leg,
            request=request,
            created=now,
            updated=now,
            since=self._clock.now(),
            conference_sid=conference_sid,
            reported_by=reported_by,
        )
        self._recordings[recording.sid] = recording
        for word in request.unknown_events:
            text = f"the status callback of a recording: {word!r} is no event of it"
            self._register.note(leg, INVALID_EVENTS, text)
        for event in ("started", "in-progress"):
            self._report(recording, event)
        return recording

    def pause(self, recording: Recording, *, skips: bool) -> None:
        """Record nothing until it is resumed; unless it skips, silence takes the place of what is said."""
        if skips and recording.since is not None:
            recording.seconds = self.seconds(recording)
            recording.since = None
        self._change(recording, "paused")
        self._report(recording, "paused")

    def resume(self, recording: Recording) -> None:
        """Go on recording."""
        if recording.since is None:
            recording.since = self._clock.now()
        self._change(recording, "in-progress")
        self._report(recording, "resumed")

    def stop(self, recording: Recording, *, seconds: float | None = None) -> None:
        """Stop for good, with so many simulated seconds, or all that have passed; the file is there a little later."""
        if recording.is_over:
            return
        recording.seconds = self.seconds(recording) if seconds is None else seconds
        recording.since = None
        recording.duration = round(recording.seconds)
        self._change(recording, "stopped")
        self._report(recording, "stopped")
        if recording.reported_by is not None:
            recording.reported_by.recorded = self.parameters(recording)
        self._clock.later(PROCESSED_AFTER, lambda: self._complete(recording))

    def delete(self, recording: Recording) -> None:
        """Delete the file; what is known of it can still be read."""
        self._change(recording, "deleted")

    def find(self, sid: str) -> Recording | None:
        """Return the recording with this SID."""
        return self._recordings.get(sid)

    def running(self, leg: Leg, name: str) -> Recording | None:
        """Return the recording of a leg that was started under this name and is not over."""
        named = (each for each in self._recordings.values() if each.leg is leg and name and each.request.name == name)
        return next((each for each in named if not each.is_over), None)

    def newest_first(self) -> Iterator[Recording]:
        """Yield every recording, the newest first."""
        return reversed(self._recordings.values())

    def seconds(self, recording: Recording) -> float:
        """Return how many simulated seconds are recorded by now."""
        since = recording.since
        return recording.seconds + (0.0 if since is None else self._clock.now() - since)

    def url(self, recording: Recording) -> str:
        """Return the address of its file."""
        settings = self._settings
        account = f"{settings.base_path}/{API_VERSION}/Accounts/{settings.account_sid}"
        return f"{self.origin}{account}/Recordings/{recording.sid}"

    def parameters(self, recording: Recording) -> dict[str, str]:
        """Return what a request about the recorded call says of a recording that is over."""
        return {
            "RecordingUrl": self.url(recording),
            "RecordingSid": recording.sid,
            "RecordingDuration": str(recording.duration or 0),
        }

    def transcribe(self, recording: Recording, words: str, callback_url: str) -> None:
        """Report in a while what was said in a recording that is over, where its length allows (REC)."""
        if not callback_url or not TRANSCRIBED_FROM < recording.seconds < TRANSCRIBED_TO:
            return
        sid = self._register.new_sid("TR", recording.sid)

        def report() -> None:
            form = leg_parameters(recording.leg, self._settings.account_sid) | {
                "TranscriptionSid": sid,
                "TranscriptionText": words,
                "TranscriptionStatus": "completed" if words else "failed",
                "TranscriptionUrl": f"{self.url(recording)}/Transcriptions/{sid}",
                "RecordingSid": recording.sid,
                "RecordingUrl": self.url(recording),
            }
            self._callbacks.report("transcription", Subscription(callback_url), form, key=sid, leg=recording.leg)

        self._clock.later(TRANSCRIBED_AFTER, report)

    def _complete(self, recording: Recording) -> None:
        self._change(recording, "completed" if recording.duration else "absent")
        self._report(recording, recording.status)
        self._over[recording.sid] = None
        while len(self._over) > self._settings.keep_finished:
            sid = next(iter(self._over))
            del self._over[sid], self._recordings[sid]

    def _change(self, recording: Recording, status: str) -> None:
        recording.status = status
        recording.updated = self._wall()

    def _report(self, recording: Recording, event: str) -> None:
        request = recording.request
        if request.subscription is None or event not in request.subscription.events:
            return
        of = (
            {"ConferenceSid": recording.conference_sid} if recording.conference_sid else {"CallSid": recording.call_sid}
        )
        form = of | {
            "AccountSid": self._settings.account_sid,
            "RecordingSid": recording.sid,
            "RecordingUrl": self.url(recording),
            "RecordingStatus": event,
            "RecordingChannels": str(request.channels),
            "RecordingStartTime": format_datetime(recording.created),
            "RecordingSource": request.source,
            "RecordingTrack": request.track,
        }
        if event == "completed":
            form["RecordingDuration"] = str(recording.duration)
        if recording.error_code is not None:
            form["ErrorCode"] = str(recording.error_code)
        self._callbacks.report(event, request.subscription, form, key=recording.sid, leg=recording.leg)
