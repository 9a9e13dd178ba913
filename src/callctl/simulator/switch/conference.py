"""Conferences: who is in them, when they begin and end, and what their callbacks say of it.

Source: docs/twilio.md, "Conferences". Of everything that is heard, only the documents are run.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from callctl.simulator.callbacks import Callbacks
from callctl.simulator.clock import Clock, Timer
from callctl.simulator.http_requests import Cancel, OutgoingRequest, Reply, Send
from callctl.simulator.models import API_VERSION, Leg, RecordingRequest, Source, Subscription
from callctl.simulator.settings import Settings
from callctl.simulator.switch.call_register import Register
from callctl.simulator.switch.leg import FETCH_SECONDS, LiveLeg, Resume
from callctl.simulator.switch.recordings import Recording, Recordings
from callctl.simulator.twiml.document import UNKNOWN_VERB
from callctl.simulator.twiml.script import Runner, run_script
from callctl.simulator.twiml.steps import Fetch, Note, NotImitated, ScriptEnd, Wait
from callctl.simulator.twiml.verbs.conference import HEARD_VERBS, TOOK_PART, Entrance, Join
from callctl.simulator.twiml.verbs.noun import DialTerms
from callctl.simulator.twiml.verbs.sound import SAY_SECONDS_PER_CHARACTER, is_twilios_music

INIT, IN_PROGRESS, COMPLETED = "init", "in-progress", "completed"
MAX_NAME = MAX_LABEL = 128
NO_SUCH_COACHED, FULL, BAD_LABEL, LABEL_TAKEN, NO_NAME = 13240, 16020, 16023, 16025, 12200
CANCELED = 487
# Why a participant left: spelled with underscores, and why a conference ended with hyphens.
HUNG_UP, UPDATED, ADD_FAILED = "participant_hung_up", "participant_updated_via_api", "participant_add_failed"
ENDED_BY_API, ENDED_BY_MODERATOR = "conference_ended_via_api", "moderator_ended_conference"
_CALL_SID = re.compile(r"CA[0-9a-fA-F]{32}")


@dataclass(slots=True, eq=False)
class Participant:
    """One leg in a conference, or (until it `has_joined`) being dialled for it."""

    live: LiveLeg
    conference: "Conference"
    ordinal: int
    label: str
    muted: bool
    coach: str
    starts: bool
    ends: bool
    wait_url: str
    wait_method: str
    created: datetime
    updated: datetime
    hold: bool = False
    has_joined: bool = False
    has_left: bool = False
    resume: Resume | None = None
    over: Callable[[], None] | None = None  # what its leg calls at its end, while it takes part
    terms: DialTerms | None = None
    stops: list[Callable[[], object]] = field(default_factory=list)
    music: Cancel | None = None  # what it hears while it waits, or is on hold
    announcement: Cancel | None = None
    speech: Timer | None = None  # when it falls silent, while it speaks
    speaks_until: float = 0.0

    @property
    def leg(self) -> Leg:
        """The call resource that it is."""
        return self.live.leg

    @property
    def status(self) -> str:
        """Its status as the API has it."""
        match self.leg.status:
            case "queued":
                return "queued" if self.leg.facts.started is None else "connecting"
            case "ringing":
                return "ringing"
            case "in-progress" | "completed":
                return "connected" if not self.has_left else "complete"
        return "failed"

    def silence(self) -> None:
        """Stop what it hears while it waits, or is on hold."""
        music, self.music = self.music, None
        if music is not None:
            music()


@dataclass(slots=True, eq=False)
class Conference:
    """One conference; `founder` is the leg that it was made for, whose callbacks hold for all of it."""

    sid: str
    ordinal: int
    name: str
    founder: Leg
    subscription: Subscription | None
    region: str
    created: datetime
    updated: datetime
    status: str = INIT
    has_started: bool = False
    recording_request: RecordingRequest | None = None
    recording: Recording | None = None
    reason_ended: str | None = None
    ended_by: str | None = None
    sequence: int = 0
    participants: dict[str, Participant] = field(default_factory=dict)  # by CallSid, in the order of joining
    announcement: Cancel | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.status == COMPLETED

    def find(self, who: str) -> Participant | None:
        """Return the participant with this CallSid or label."""
        by_label = (each for each in self.participants.values() if each.label and each.label == who)
        return self.participants.get(who) or next(by_label, None)

    def joined(self) -> list[Participant]:
        """Return those who are in it, without those who are still being dialled."""
        return [each for each in self.participants.values() if each.has_joined]


class JoinError(Exception):
    """A leg can't join; `code` is Twilio's for why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Conferences:
    """Every conference there is; of those that have ended only the newest."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall: Callable[[], datetime],
        send: Send,
        callbacks: Callbacks,
        register: Register,
        recordings: Recordings,
    ) -> None:
        self._recordings = recordings
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._send = send
        self._callbacks = callbacks
        self._register = register
        self._all: dict[str, Conference] = {}
        self._active: dict[str, Conference] = {}  # by name
        self._finished: dict[str, None] = {}  # the SIDs of those that ended, the first first
        self._expected: dict[str, Participant] = {}  # those who are being dialled, by CallSid
        self._made = 0
        self._participants = 0
        self._announcements = 0

    def newest_first(self) -> Iterator[Conference]:
        """Yield every conference, the newest first."""
        return reversed(self._all.values())

    def find(self, sid: str) -> Conference | None:
        """Return the conference with this SID."""
        return self._all.get(sid)

    def close(self) -> None:
        """Stop what everybody hears: the simulator closes."""
        for conference in self._active.values():
            if conference.announcement is not None:
                conference.announcement()

    # Entering

    def join(self, live: LiveLeg, step: Join, resume: Resume) -> Cancel:
        """Let a leg take part, as a step of its script."""
        participant = self._expected.pop(live.leg.sid, None)
        if participant is None:
            try:
                participant = self.add(live, step.entrance)
            except JoinError as error:
                live.notify(error.code, str(error))
                return self._clock.later(0.0, lambda: resume(False)).cancel
        joining = participant
        joining.resume = resume
        live.on_words = lambda words: self._speak(joining, words)
        terms = joining.terms = step.terms
        if terms is not None:
            joining.stops.append(self._clock.later(terms.time_limit, lambda: self.remove(joining, HUNG_UP)).cancel)
            if terms.hangup_on_star:
                live.on_star = lambda: self.remove(joining, HUNG_UP)
        self._enter(joining)

        def dropped() -> None:
            if not live.is_ending:  # otherwise it has left once the leg has ended
                self._leave(joining, UPDATED)

        return dropped

    def expect(self, live: LiveLeg, entrance: Entrance) -> Participant:
        """Dial a leg for a conference: it joins as soon as it is answered, and ends as it leaves.

        Raises:
            JoinError: It can't join.
        """
        participant = self.add(live, entrance)
        self._expected[live.leg.sid] = participant

        async def take_part() -> ScriptEnd:
            await Join(entrance)
            return ScriptEnd.DOCUMENT_END

        def on_answer() -> None:
            live.detect()
            live.run_instead(take_part())

        live.on_answer = on_answer
        return participant

    def check(self, entrance: Entrance) -> None:
        """Raise JoinError where nobody can enter so."""
        if not entrance.name or len(entrance.name) > MAX_NAME:
            raise JoinError(NO_NAME, f"<Conference>: the name must have 1 to {MAX_NAME} characters")
        label = entrance.label
        if len(label) > MAX_LABEL or "/" in label or _CALL_SID.fullmatch(label):
            text = f"Invalid participant label: {label[:200]!r} is too long, has a slash, or is a CallSid"
            raise JoinError(BAD_LABEL, text)
        conference = self._active.get(entrance.name)
        coached = None if conference is None else conference.participants.get(entrance.coach)
        if entrance.coach and (coached is None or not coached.has_joined):
            raise JoinError(NO_SUCH_COACHED, f"The call to coach, {entrance.coach}, is not in this conference")
        if conference is None:
            return
        if label and conference.find(label) is not None:
            raise JoinError(LABEL_TAKEN, f"Participant label {label!r} is already in use in the conference")
        if len(conference.participants) >= entrance.most:
            raise JoinError(FULL, f"The conference is full: {entrance.most} participants")

    def add(self, live: LiveLeg, entrance: Entrance) -> Participant:
        """Add a leg to the conference that it enters, which is made if there is none; raise JoinError."""
        self.check(entrance)
        conference = self._active.get(entrance.name) or self._make(live.leg, entrance)
        self._participants += 1
        now = self._wall()
        participant = Participant(
            live,
            conference,
            self._participants,
            label=entrance.label,
            muted=entrance.muted,
            coach=entrance.coach,
            starts=entrance.starts,
            ends=entrance.ends,
            wait_url=entrance.wait_url,
            wait_method=entrance.wait_method,
            created=now,
            updated=now,
        )
        conference.participants[live.leg.sid] = participant
        participant.over = lambda: self._over(participant)
        live.when_over.append(participant.over)
        return participant

    def _make(self, founder: Leg, entrance: Entrance) -> Conference:
        self._made += 1
        now = self._wall()
        conference = Conference(
            self._register.new_sid("CF", self._made),
            self._made,
            entrance.name,
            founder,
            entrance.subscription,
            entrance.region or "us1",
            created=now,
            updated=now,
            recording_request=entrance.recording,
        )
        self._all[conference.sid] = conference
        self._active[conference.name] = conference
        return conference

    def _enter(self, participant: Participant) -> None:
        conference = participant.conference
        participant.has_joined = True
        participant.leg.room = conference.name
        if conference.status == INIT:
            self._set_status(conference, IN_PROGRESS)
        self._report(conference, "join", "participant-join", participant)
        joined = conference.joined()
        if not conference.has_started and len(joined) > 1 and any(each.starts for each in joined):
            conference.has_started = True
            self._report(conference, "start", "conference-start")
            if conference.recording_request is not None:
                conference.recording = self._recordings.start(
                    conference.founder, conference.recording_request, conference_sid=conference.sid
                )
            for each in joined:
                if not each.hold:
                    each.silence()
        self._play(participant)

    # Leaving

    def remove(self, participant: Participant, reason: str = UPDATED, *, kicked: bool = False) -> None:
        """Take a participant out: its script goes on behind the conference, and one still being dialled is hung up."""
        if participant.has_joined:
            self._leave(participant, reason, kicked=kicked)
            return
        participant.has_left = True  # so that its end is not reported as one that never joined
        participant.live.end("canceled", sip=CANCELED)
        participant.has_left = False
        self._leave(participant, reason, kicked=kicked)

    def end(self, conference: Conference) -> None:
        """End a conference by the API."""
        self._end(conference, "conference-ended-via-api", ENDED_BY_API)

    def _over(self, participant: Participant) -> None:
        """Its leg has ended; its Dial's action is requested all the same, as after a Record (inferred)."""
        if participant.has_left:
            return
        self._leave(participant, HUNG_UP if participant.has_joined else ADD_FAILED)
        terms = participant.terms
        if terms is not None and terms.action:
            participant.live.request(terms.action, terms.method, TOOK_PART)

    def _leave(self, participant: Participant, reason: str, *, kicked: bool = False, result: bool = True) -> None:
        if participant.has_left:
            return
        conference = participant.conference
        self._part(participant, reason)
        how = "kicked" if kicked else "left"
        if participant.has_joined and participant.ends:
            why = f"participant-with-end-conference-on-exit-{how}"
            self._end(conference, why, ENDED_BY_MODERATOR, by=participant)
        elif not conference.participants:
            self._end(conference, f"last-participant-{how}", "", by=participant)
        self._resume(participant, result=result)

    def _part(self, participant: Participant, reason: str) -> None:
        """Take a participant off the conference, and report it."""
        conference = participant.conference
        participant.has_left = True
        conference.participants.pop(participant.leg.sid, None)
        self._expected.pop(participant.leg.sid, None)
        participant.silence()
        if participant.announcement is not None:
            participant.announcement()
        for stop in participant.stops:
            stop()
        participant.live.on_star = participant.live.on_words = None
        if participant.speech is not None:
            participant.speech.cancel()
        if participant.over is not None and not participant.live.is_ending:
            participant.live.when_over.remove(participant.over)
        more = {"ParticipantCallStatus": participant.leg.status, "ReasonParticipantLeft": reason}
        self._report(conference, "leave", "participant-leave", participant, more)

    def _end(self, conference: Conference, reason: str, reason_left: str, *, by: Participant | None = None) -> None:
        if conference.is_over:
            return
        conference.reason_ended = reason
        conference.ended_by = None if by is None else by.leg.sid
        self._set_status(conference, COMPLETED)
        self._active.pop(conference.name, None)
        if conference.recording is not None:
            self._recordings.stop(conference.recording)
        if conference.announcement is not None:
            conference.announcement()
        others = list(conference.participants.values())
        for other in others:
            if not other.has_joined:
                other.has_left = True
                other.live.end("canceled", sip=CANCELED)
            self._part(other, reason_left)
        more = {"ReasonConferenceEnded": reason, "Reason": _in_words(reason, by)}
        if by is not None:
            more["CallSidEndingConference"] = by.leg.sid
            if by.label:
                more["ParticipantLabelEndingConference"] = by.label
        self._report(conference, "end", "conference-end", more=more)
        self._finished[conference.sid] = None
        while len(self._finished) > self._settings.keep_finished:
            oldest = next(iter(self._finished))
            del self._finished[oldest], self._all[oldest]
        for other in others:
            self._resume(other)

    def _resume(self, participant: Participant, *, result: bool = True) -> None:
        """Go on with its script, unless that was dropped or its leg has ended."""
        resume, participant.resume = participant.resume, None
        if resume is not None and not participant.leg.is_final:
            resume(result)

    # What changes meanwhile

    def mute(self, participant: Participant, *, muted: bool) -> None:
        """Mute a participant, or let it be heard again."""
        if participant.muted != muted:
            participant.muted = muted
            self._changed(participant, "mute", "participant-mute" if muted else "participant-unmute")

    def hold(self, participant: Participant, *, hold: bool, url: str = "", method: str = "GET") -> None:
        """Put a participant on hold, where it hears what the URL says, or resume it."""
        changed, participant.hold = participant.hold != hold, hold
        if hold and (changed or url):
            self._play(participant, url, method)
        elif changed:
            self._play(participant)
        if changed:
            self._changed(participant, "hold", "participant-hold" if hold else "participant-unhold")

    def modify(
        self,
        participant: Participant,
        *,
        ends: bool | None = None,
        coach: str | None = None,
        wait_url: str | None = None,
        wait_method: str = "POST",
    ) -> None:
        """Change what else may be changed; None stays as it is."""
        before = (participant.ends, participant.coach, participant.wait_url)
        participant.ends = participant.ends if ends is None else ends
        participant.coach = participant.coach if coach is None else coach
        if wait_url is not None:
            participant.wait_url, participant.wait_method = wait_url, wait_method
            if not participant.hold:
                self._play(participant)
        if before != (participant.ends, participant.coach, participant.wait_url):
            self._changed(participant, "modify", "participant-modify")

    def announce(self, participant: Participant, url: str, method: str) -> None:
        """Have one participant hear what a URL says."""
        if participant.announcement is not None:
            participant.announcement()

        def on_end(end: ScriptEnd) -> None:
            participant.announcement = None
            self._announced(participant.conference, url, end, participant)

        script = run_script(Source(url, method), allowed=HEARD_VERBS)
        participant.announcement = participant.live.beside(script, on_end)

    def announce_to_all(self, conference: Conference, url: str, method: str) -> None:
        """Have everybody hear what a URL says."""
        if conference.announcement is not None:
            conference.announcement()

        def on_end(end: ScriptEnd) -> None:
            conference.announcement = None
            self._announced(conference, url, end, None)

        runner = Runner(lambda step, resume: self._begin_for_all(conference, step, resume))
        conference.announcement = runner.stop
        runner.start(run_script(Source(url, method), allowed=HEARD_VERBS), on_end)

    def _begin_for_all(self, conference: Conference, step: object, resume: Resume) -> Cancel | None:
        """Begin a step of what everybody hears: no leg's, so its requests carry the conference alone (inferred)."""
        match step:
            case Wait(None):
                return lambda: None
            case Wait(float() | int() as seconds):
                return self._clock.later(seconds, lambda: resume(None)).cancel
            case Fetch():
                return self._fetch_for_all(conference, step, resume)
            case Note():
                self._register.note(conference.founder, step.code, step.text, url=step.url, method=step.method)
            case NotImitated(text):
                self._register.note(conference.founder, UNKNOWN_VERB, f"{text}; it was passed over")
        return None

    def _fetch_for_all(self, conference: Conference, step: Fetch, resume: Resume) -> Cancel:
        stop: Cancel

        def on_reply(reply: Reply) -> None:
            nonlocal stop
            stop = self._clock.later(FETCH_SECONDS, lambda: resume(reply)).cancel

        self._announcements += 1
        token = self._register.token(conference.sid, "announcement", self._announcements)
        form = {"AccountSid": self._settings.account_sid, "ApiVersion": API_VERSION}
        form |= {"ConferenceSid": conference.sid, "FriendlyName": conference.name}
        stop = self._send(OutgoingRequest(step.url, step.method, form | step.params, token, awaited=True), on_reply)
        return lambda: stop()

    def _announced(self, conference: Conference, url: str, end: ScriptEnd, participant: Participant | None) -> None:
        if end is ScriptEnd.FAILED:
            more = {"AnnounceUrl": url, "ReasonAnnouncementFailed": "the document could not be fetched or read"}
            self._report(conference, "announcement", "announcement-fail", participant, more)
        else:
            self._report(conference, "announcement", "announcement-end", participant, {"AnnounceUrl": url})

    def _play(self, participant: Participant, hold_url: str = "", hold_method: str = "GET") -> None:
        """Play what a participant hears now: the music of its hold, or while the conference has not begun."""
        participant.silence()
        if not participant.has_joined:
            return
        if participant.hold:
            source = Source(hold_url, hold_method)
        elif participant.conference.has_started:
            return
        else:
            source = Source(participant.wait_url, participant.wait_method)
        if not source.url or is_twilios_music(source.url):
            return

        def on_end(end: ScriptEnd) -> None:
            participant.music = None
            if end is ScriptEnd.FAILED and not participant.hold:
                # Who can't be given what to hear while it waits does not join.
                self._leave(participant, ADD_FAILED, result=False)

        participant.music = participant.live.beside(run_script(source, allowed=HEARD_VERBS), on_end)

    def _speak(self, participant: Participant, words: str) -> None:
        """Report that a participant speaks, and when it falls silent; who can't be heard does not count (inferred)."""
        conference = participant.conference
        if participant.muted or participant.hold or not conference.has_started:
            return
        now = self._clock.now()
        begins = now
        if participant.speech is None:
            self._report(conference, "speaker", "participant-speech-start", participant)
        else:
            begins = participant.speaks_until
            participant.speech.cancel()
        participant.speaks_until = begins + len(words) * SAY_SECONDS_PER_CHARACTER

        def fall_silent() -> None:
            participant.speech = None
            self._report(conference, "speaker", "participant-speech-stop", participant)

        participant.speech = self._clock.later(participant.speaks_until - now, fall_silent)

    # What is reported

    def _changed(self, participant: Participant, family: str, event: str) -> None:
        participant.updated = self._wall()
        if participant.has_joined:
            self._report(participant.conference, family, event, participant)

    def _set_status(self, conference: Conference, status: str) -> None:
        conference.status = status
        conference.updated = self._wall()

    def _report(
        self,
        conference: Conference,
        family: str,
        event: str,
        participant: Participant | None = None,
        more: dict[str, str] | None = None,
    ) -> None:
        """Send an event if its family is among those that the conference reports; SequenceNumber counts from 1."""
        to = conference.subscription
        if to is None or family not in to.events:
            return
        conference.sequence += 1
        form = {
            "ConferenceSid": conference.sid,
            "FriendlyName": conference.name,
            "AccountSid": self._settings.account_sid,
            "SequenceNumber": str(conference.sequence),
            "Timestamp": format_datetime(self._wall()),
            "StatusCallbackEvent": event,
        }
        if participant is not None:
            form |= _participant_parameters(participant)
        leg = conference.founder if participant is None else participant.leg
        key = f"conference {conference.ordinal}, {conference.sequence}"
        self._callbacks.report(event, to, form | (more or {}), key=key, leg=leg)


def _participant_parameters(participant: Participant) -> dict[str, str]:
    form = {
        "CallSid": participant.leg.sid,
        "Muted": _flag(participant.muted),
        "Hold": _flag(participant.hold),
        "Coaching": _flag(bool(participant.coach)),
        "EndConferenceOnExit": _flag(participant.ends),
        "StartConferenceOnEnter": _flag(participant.starts),
    }
    if participant.label:
        form["ParticipantLabel"] = participant.label
    return form


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _in_words(reason: str, by: Participant | None) -> str:
    """Say why a conference ended, as its `Reason` does."""
    if by is None:
        return "The conference was ended via the API"
    how = "was kicked from" if reason.endswith("kicked") else "left"
    which = " with endConferenceOnExit" if "exit" in reason else ""
    return f"Participant {by.leg.sid}{which} {how} the conference"
