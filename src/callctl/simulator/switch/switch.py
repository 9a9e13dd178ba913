"""The switch: the legs in operation, what can be done to them, and what becomes of them. It knows no HTTP."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from callctl.simulator.callbacks import Callback, Callbacks
from callctl.simulator.clock import Clock
from callctl.simulator.errors import ApiError, ControlError
from callctl.simulator.far_end import Directory, FarEnd
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import Reply, Send
from callctl.simulator.models import (
    INBOUND,
    OUTBOUND_API,
    OUTBOUND_DIAL,
    CallRequest,
    CallUpdate,
    Leg,
    RecordingRequest,
    Source,
    Subscription,
)
from callctl.simulator.records import Records
from callctl.simulator.settings import (
    CANCEL_REFUSED_IN_PROGRESS,
    CANCEL_SPARES_DIAL_LEGS,
    HANG_UP_TWICE,
    Settings,
)
from callctl.simulator.sockets import Connect
from callctl.simulator.switch.call_register import Register
from callctl.simulator.switch.conference import Conferences, Participant
from callctl.simulator.switch.dial import dialling
from callctl.simulator.switch.leg import CALL_SECONDS, DECLINED, TIMED_OUT, Activity, LegContext, LiveLeg, Resume
from callctl.simulator.switch.numbers import normal
from callctl.simulator.switch.own_end import NOT_FOUND, connect
from callctl.simulator.switch.owned import Possessions
from callctl.simulator.switch.queue import Queues
from callctl.simulator.switch.record import taking_messages
from callctl.simulator.switch.recordings import Recording, Recordings
from callctl.simulator.switch.streams import Streams
from callctl.simulator.twiml.document import UNKNOWN_VERB
from callctl.simulator.twiml.verbs.conference import Entrance, Join
from callctl.simulator.twiml.verbs.dial import Ring
from callctl.simulator.twiml.verbs.queue import TakeNext, WaitInQueue
from callctl.simulator.twiml.verbs.record import TakeMessage
from callctl.simulator.twiml.verbs.start import StartRecording, StopRecording
from callctl.simulator.twiml.verbs.stream import ConnectStream, StartStream, StopStream

DIALS_AFTER = 0.1  # from the request to dialling, when nothing is queued before it (inferred)
INVALID_EVENTS = 21626
MAX_FAR_ENDS = 10_000


class Switch:
    """Every leg in operation; `register` has those that have ended, too, `possessions` numbers and applications."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        wall: Callable[[], datetime],
        send: Send,
        connect: Connect,
        chance: Chance,
        records: Records | None = None,
    ) -> None:
        records = records or Records()
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self.far_ends = {normal(address): far_end for address, far_end in settings.far_end.items()}
        self._directory = Directory(self.far_ends)
        self._live: dict[str, LiveLeg] = {}
        self._next_dial = 0.0
        self.register = Register(settings, clock=clock, wall=wall, chance=chance, records=records)
        self.possessions = Possessions(new_sid=self.register.new_sid, wall=wall)
        self.callbacks = Callbacks(
            account_sid=settings.account_sid,
            clock=clock,
            wall=wall,
            send=send,
            chance=chance,
            faults=settings.faults,
            keep=settings.keep_records,
            on_failure=self._callback_failed,
            records=records,
        )
        self.recordings = Recordings(settings, clock=clock, wall=wall, callbacks=self.callbacks, register=self.register)
        self.conferences = Conferences(
            settings,
            clock=clock,
            wall=wall,
            send=send,
            callbacks=self.callbacks,
            register=self.register,
            recordings=self.recordings,
        )
        self.streams = Streams(
            settings, clock=clock, wall=wall, connect=connect, callbacks=self.callbacks, register=self.register
        )
        self.queues = Queues(settings, clock=clock, wall=wall, register=self.register)
        activities: dict[type, Activity] = {
            Ring: dialling(self._make_child, self.recordings, self.possessions.applications),
            Join: self.conferences.join,
            WaitInQueue: self.queues.wait,
            TakeNext: self.queues.take,
            TakeMessage: taking_messages(self.recordings),
            ConnectStream: self.streams.talk,
            StartStream: self.streams.start,
            StopStream: self.streams.stop,
            StartRecording: self._start_recording,
            StopRecording: self._stop_recording,
        }
        self._context = LegContext(settings, clock, wall, send, self.callbacks, self.register, activities, self._ended)

    # What the API does

    def place(self, request: CallRequest) -> Leg:
        """Place a call: queued now, dialled when its turn has come."""
        live, _ = self._place(request)
        return live.leg

    def invite(self, request: CallRequest, entrance: Entrance) -> tuple[Participant, int]:
        """Dial a participant of a conference; return it, and how many milliseconds it waits for its turn.

        Raises:
            JoinError: It can't enter so.
        """
        self.conferences.check(entrance)
        live, waits = self._place(replace(request, not_imitated=()))
        participant = self.conferences.expect(live, entrance)
        live.pass_over_all(request.not_imitated)  # only now, since it may fail for it
        return participant, waits

    def _place(self, request: CallRequest) -> tuple[LiveLeg, int]:
        live = self._make(request, OUTBOUND_API, "queued")
        now = self._clock.now()
        begins = max(now + DIALS_AFTER, self._next_dial)
        if self._settings.cps:
            self._next_dial = begins + 1 / self._settings.cps
        waited = round((begins - now - DIALS_AFTER) * 1000)

        def dial() -> None:
            live.change(queue_time=waited)
            live.dial(timeout=request.timeout)

        live.later(begins - now, dial)
        return live, waited

    def receive(self, request: CallRequest) -> Leg:
        """Receive an incoming call: it rings here, and its document decides whether it is answered."""
        live = self._make(request, INBOUND, "ringing")
        if request.source.is_given:
            self._come_in(live, request)
        else:
            # A number that nobody handles (docs/twilio.md, "Numbers and applications").
            now = self._wall()
            live.change(started=now, ended=now, duration=0)
            live.end("failed", sip=NOT_FOUND)
        return live.leg

    def _come_in(self, live: LiveLeg, request: CallRequest) -> None:
        live.change(started=self._wall())
        # A document may leave it ringing; its caller waits as long as a call may last, so that none rings for ever.
        waits = request.time_limit or CALL_SECONDS
        live.later(waits, lambda: live.end("canceled", sip=TIMED_OUT))
        live.run()

    def update(self, leg: Leg, update: CallUpdate) -> None:
        """Carry out an update (docs/twilio.md, "REST: updating a call"); raise ApiError where Twilio refuses."""
        live = self._live.get(leg.sid)
        if update.status == "completed":
            self._complete(leg)
        elif update.status == "canceled":
            self._cancel(leg)
        elif update.source is not None:
            self._redirect(leg, update.source, update)
        elif leg.is_final:
            raise ApiError(21220)
        if live is None:
            return
        if update.time_limit is not None and not leg.is_final:
            live.limit(update.time_limit)
        live.pass_over_all(update.not_imitated)

    # What the far end does

    def far_end_answers(self, leg: Leg) -> None:
        """Answer a ringing outgoing leg; raise ControlError for any other."""
        if leg.direction == INBOUND:
            sentence = f"call {leg.sid} comes in: its far end is the caller, and its document answers it"
            raise ControlError(21220, sentence)
        if leg.status != "ringing":
            raise ControlError(21220, f"call {leg.sid} is {leg.status}: only one that is ringing can be answered")
        self._live[leg.sid].pick_up()

    def far_end_hangs_up(self, leg: Leg) -> None:
        """Hang up at the far end: a ringing leg is declined, or given up by its caller.

        Raises:
            ControlError: The leg is queued, or has ended.
        """
        if leg.is_final or leg.status == "queued":
            raise ControlError(21220, f"call {leg.sid} is {leg.status}: there is no one to hang up")
        live = self._live[leg.sid]
        if live.is_answered:
            live.end("completed")
        elif leg.direction == INBOUND:
            live.end("canceled", sip=TIMED_OUT)
        else:
            live.end("no-answer", sip=DECLINED)

    def far_end_presses(self, leg: Leg, digits: str) -> None:
        """Press keys at the far end of a connected leg; raise ControlError for any other."""
        if leg.status != "in-progress":
            raise ControlError(21220, f"call {leg.sid} is {leg.status}: only one that is in-progress takes keys")
        self._live[leg.sid].press(digits)

    def far_end_says(self, leg: Leg, words: str) -> None:
        """Say something at the far end of a connected leg; raise ControlError for any other."""
        if leg.status != "in-progress":
            raise ControlError(21220, f"call {leg.sid} is {leg.status}: only one that is in-progress takes words")
        self._live[leg.sid].say(words)

    def far_end_answers_gathers(self, leg: Leg, answers: tuple[str, ...]) -> None:
        """Have the far end of a leg answer so to Gathers from now on; raise ControlError if it has ended."""
        if leg.is_final:
            raise ControlError(21220, f"call {leg.sid} is {leg.status}: nobody is there to answer")
        self._live[leg.sid].answer_gathers(answers)

    def set_far_end(self, address: str, far_end: FarEnd) -> str:
        """Let an address do this in the calls that are made from now on; return it as calls have it.

        Raises:
            ControlError: Too many addresses have a far end of their own.
        """
        known = normal(address)
        if known not in self.far_ends and len(self.far_ends) >= MAX_FAR_ENDS:
            raise ControlError(20001, f"more than {MAX_FAR_ENDS} far ends")
        self.far_ends[known] = far_end
        return known

    def record(self, leg: Leg, request: RecordingRequest) -> Recording:
        """Record a leg from now on, until it ends; raise ApiError for one that is not connected."""
        if leg.status != "in-progress":
            raise ApiError(21220, "Only a connected call can be recorded.")
        return self._record(self._live[leg.sid], request)

    def live_legs(self) -> list[Leg]:
        """Return the legs that have not ended, the oldest first."""
        return [live.leg for live in self._live.values()]

    def close(self) -> None:
        """Drop every script, without a callback."""
        self.conferences.close()
        self.streams.close()
        for live in tuple(self._live.values()):
            live.drop()

    # What a leg needs of it

    def _make_child(
        self, parent: LiveLeg, to: str, caller: str, subscription: Subscription | None, send_digits: str
    ) -> LiveLeg:
        """Return a new leg, not yet dialled; legs made by Dial skip the queue (CLIENT)."""
        request = CallRequest(to, caller, Source(), subscription, send_digits=send_digits)
        return self._make(request, OUTBOUND_DIAL, "ringing", parent=parent.leg)

    def _ended(self, live: LiveLeg) -> None:
        self._live.pop(live.leg.sid, None)
        self.register.finish(live.leg)

    # Inside

    def _make(self, request: CallRequest, direction: str, status: str, *, parent: Leg | None = None) -> LiveLeg:
        leg = self.register.add(request, direction, status, parent=parent)
        if request.unknown_events:
            text = f"StatusCallbackEvent {request.unknown_events[0]!r} is no event: no callbacks will be sent"
            self.register.note(leg, INVALID_EVENTS, text)
        # An incoming call's far end is the caller.
        other = request.from_ if direction == INBOUND else request.to
        live = LiveLeg(
            leg,
            self._context,
            self._directory.find(other),
            source=request.source,
            time_limit=request.time_limit or CALL_SECONDS,
            detection=request.detection,
            parameters=request.parameters,
        )
        if request.recording is not None:
            recording = request.recording
            live.when_answered.append(lambda: self._record_whole(live, recording))
        self._live[leg.sid] = live
        if direction != INBOUND and not self._directory.overrides.keys() & {leg.to}:
            self._find_own_end(live, request.send_digits)
        live.pass_over_all(request.not_imitated)
        return live

    def _find_own_end(self, live: LiveLeg, send_digits: str) -> None:
        """Have the account's own number or application answer a call to it, and nobody where it has no VoiceUrl."""
        handling = self.possessions.handling_at(live.leg.to)
        if handling is None:
            return
        if handling.source is None:
            live.far_end = FarEnd("fails", after=0.0, sip_code=NOT_FOUND)
            return
        number = self.possessions.number(live.leg.to)
        number_sid = None if number is None else number.sid
        request = CallRequest(
            live.leg.to,
            live.leg.from_,
            handling.source,
            handling.subscription,
            number_sid=number_sid,
            not_imitated=handling.not_imitated,
        )

        def ring() -> None:
            called = self._make(request, INBOUND, "ringing")
            called.far_end = replace(called.far_end, hang_up_after=None)  # that is the calling leg's to do
            connect(live, called, send_digits=send_digits)
            self._come_in(called, request)

        live.on_ring = ring

    def _start_recording(self, live: LiveLeg, step: StartRecording, _resume: Resume) -> None:
        self._record(live, step.recording)

    def _stop_recording(self, live: LiveLeg, step: StopRecording, _resume: Resume) -> None:
        recording = self.recordings.running(live.leg, step.name)
        if recording is None:
            live.notify(UNKNOWN_VERB, f"<Stop>: the call has no recording with the name {step.name!r}")
        else:
            self.recordings.stop(recording)

    def _record_whole(self, live: LiveLeg, request: RecordingRequest) -> None:
        """Record a leg, whose last callback reports it."""
        self._record(live, request).reported_by = live.leg

    def _record(self, live: LiveLeg, request: RecordingRequest) -> Recording:
        recording = self.recordings.start(live.leg, request)
        live.when_ending.append(lambda: self.recordings.stop(recording))
        return recording

    def _complete(self, leg: Leg) -> None:
        if leg.is_final:
            if HANG_UP_TWICE in self._settings.readings:
                return
            raise ApiError(21220)
        # A call that was never connected was canceled (queued: Somleng; ringing: inferred).
        live = self._live[leg.sid]
        if live.is_answered:
            live.end("completed")
        else:
            live.end("canceled", sip=TIMED_OUT)

    def _cancel(self, leg: Leg) -> None:
        if leg.is_final:
            raise ApiError(21220)
        spares_dialled = CANCEL_SPARES_DIAL_LEGS in self._settings.readings
        if leg.status == "in-progress" or (leg.direction == OUTBOUND_DIAL and spares_dialled):
            if CANCEL_REFUSED_IN_PROGRESS in self._settings.readings:
                raise ApiError(21220)
            return
        self._live[leg.sid].end("canceled", sip=TIMED_OUT)

    def _redirect(self, leg: Leg, source: Source, update: CallUpdate) -> None:
        if leg.status != "in-progress":
            raise ApiError(21220, "Cannot redirect.")
        if update.callback_url and source.url:
            # A new StatusCallback takes effect only with Url (CALL-a); events can't be chosen here, so they stay.
            events = leg.subscription.events if leg.subscription else frozenset({"completed"})
            leg.subscription = Subscription(update.callback_url, update.callback_method, events)
        self._live[leg.sid].redirect(source)

    def _callback_failed(self, leg: Leg, callback: Callback, reply: Reply) -> None:
        why = reply.error or f"answered {reply.status}"
        text = f"HTTP retrieval failure: the {callback.event} callback {why}"
        self.register.note(leg, 11200, text, url=callback.url, method=callback.method)
