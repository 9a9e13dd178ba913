"""For any TwiML of the supported verbs and any far end: one final status each, no orphans, no gaps, no negative time.

The switch itself is driven here, on a network in memory, so that a thousand calls take no longer than one.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.sax.saxutils import quoteattr

from hypothesis import given, settings
from hypothesis import strategies as st
from simulator.setup import no_sockets

from callctl.simulator import READINGS, FarEnd
from callctl.simulator.clock import ManualClock
from callctl.simulator.errors import ApiError
from callctl.simulator.far_end import OUTCOMES
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OutgoingRequest, Reply
from callctl.simulator.models import (
    FINAL,
    INBOUND,
    OUTBOUND_DIAL,
    CallRequest,
    CallUpdate,
    Leg,
    RecordingRequest,
    Source,
    Subscription,
)
from callctl.simulator.settings import Settings
from callctl.simulator.switch.recordings import Recording
from callctl.simulator.switch.switch import Switch

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SITE = "http://127.0.0.1:9"
EVENTS = "initiated ringing answered completed"
RECORDING_EVENTS = "in-progress completed absent"
RECORDED = {"recordingStatusCallback": f"{SITE}/recording", "recordingStatusCallbackEvent": RECORDING_EVENTS}
ADDRESSES = ["+12025550110", "+12025550111", "sip:a@example.com", "client:b", "nobody", ""]
PAGES = ["/0", "/1", "/2", "/missing"]
LIMIT = 40.0

seconds = st.integers(0, 12).map(str)
link = st.sampled_from(PAGES)


def element(name: str, attributes: Mapping[str, str], content: str = "") -> str:
    given_attributes = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{given_attributes}>{content}</{name}>"


def optional(**choices: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional=choices)


flag = st.sampled_from(["true", "false"])
loops = st.sampled_from(["0", "1", "2"])
sounds = st.one_of(
    st.builds(element, st.just("Say"), optional(loop=loops), st.text("abc ", max_size=40)),
    st.builds(element, st.just("Play"), optional(loop=loops)),
    st.builds(element, st.just("Pause"), optional(length=seconds)),
)
nouns = st.builds(
    lambda kind, address, attributes: element(
        kind, {"statusCallback": f"{SITE}/status", "statusCallbackEvent": EVENTS} | attributes, address
    ),
    st.sampled_from(["Number", "Sip", "Client", "Conference"]),
    st.sampled_from(ADDRESSES),
    optional(url=link, machineDetection=st.just("Enable")),
)
dials = st.builds(
    lambda attributes, inside: element("Dial", RECORDED | attributes, "".join(inside)),
    optional(
        record=st.sampled_from(["true", "record-from-ringing-dual", "do-not-record", "no"]),
        action=link,
        timeout=seconds,
        timeLimit=seconds,
        sequential=flag,
        answerOnBridge=flag,
        hangupOnStar=flag,
        callerId=st.just("+12025550150"),
    ),
    st.lists(nouns, max_size=4),
)
gathers = st.builds(
    lambda attributes, inside: element("Gather", attributes, "".join(inside)),
    optional(
        action=link,
        timeout=seconds,
        numDigits=st.sampled_from(["1", "2"]),
        finishOnKey=st.sampled_from(["", "#", "*"]),
        actionOnEmptyResult=flag,
        input=st.sampled_from(["dtmf", "speech", "dtmf speech"]),
        speechTimeout=st.sampled_from(["0", "1", "auto"]),
        partialResultCallback=st.just(f"{SITE}/partial"),
    ),
    st.lists(sounds, max_size=2),
)
records = st.builds(
    lambda attributes: element("Record", RECORDED | attributes),
    optional(
        action=link,
        timeout=seconds,
        maxLength=seconds,
        finishOnKey=st.sampled_from(["", "#", "*"]),
        trim=st.sampled_from(["trim-silence", "do-not-trim"]),
        transcribe=flag,
        transcribeCallback=st.just(f"{SITE}/text"),
    ),
)
verbs = st.one_of(
    records,
    sounds,
    gathers,
    dials,
    dials,
    st.builds(element, st.just("Redirect"), st.just({}), link),
    st.sampled_from(["<Hangup/>", "<Reject/>", '<Reject reason="busy"/>', "<Pay/>"]),
)
documents = st.one_of(st.lists(verbs, max_size=4), st.tuples(dials, verbs)).map(
    lambda inside: f"<Response>{''.join(inside)}</Response>"
)
far_ends = st.builds(
    FarEnd,
    outcome=st.sampled_from([*OUTCOMES, *["answers"] * 5]),
    after=st.integers(0, 9).map(float),
    hang_up_after=st.none() | st.integers(0, 15).map(float),
    voicemail=st.booleans(),
    digits=st.sampled_from(["", "1", "12#", "*"]),
    digits_after=st.sampled_from([0.0, 1.0]),
    words=st.text("abc ", max_size=60),
    answers=st.lists(st.sampled_from(["", "1", "#", "yes", "no thank you"]), max_size=3).map(tuple),
)
# What someone does meanwhile: after how many seconds, to which of the legs there are, and what.
actions = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.05, 0.1, 0.17, 0.5, 1.0, 3.0]),
        st.integers(0, 5),
        st.sampled_from(["completed", "canceled", "Url", "Twiml", "answer", "hangup", "digits", "say", "record"]),
    ),
    max_size=6,
)


@dataclass(slots=True)
class FakeNetwork:
    """Answers from memory, each a tenth of a simulated second later."""

    clock: ManualClock
    pages: Mapping[str, str]
    callbacks: dict[str, list[Mapping[str, str]]] = field(default_factory=lambda: defaultdict(list))
    recordings: dict[str, list[Mapping[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def send(self, request: OutgoingRequest, on_reply: Callable[[Reply], None]) -> Callable[[], object]:
        path = request.url.removeprefix(SITE)
        if path == "/status":
            self.callbacks[request.params["CallSid"]].append(request.params)
            return self.clock.later(0.0, lambda: on_reply(Reply(204))).cancel
        if path == "/recording":
            self.recordings[request.params["RecordingSid"]].append(request.params)
            return self.clock.later(0.0, lambda: on_reply(Reply(204))).cancel
        page = self.pages.get(path)
        reply = Reply(404) if page is None else Reply(200, page.encode(), "text/xml")
        return self.clock.later(0.1, lambda: on_reply(reply)).cancel


@dataclass(slots=True)
class SwitchSetup:
    """A switch, its clock, and every leg that there ever was."""

    switch: Switch
    clock: ManualClock
    network: FakeNetwork

    @property
    def legs(self) -> list[Leg]:
        return list(self.switch.register.newest_first())[::-1]

    def advance(self, time: float) -> None:
        until = self.clock.now() + time
        while self.clock.step(until):
            self.check_families()
        self.clock.later(time, lambda: None)
        self.clock.step(until)

    def check_families(self) -> None:
        """A child outlives its parent's Dial only when it was redirected."""
        live = self.switch._live
        for child in tuple(live.values()):
            leg = child.leg
            if leg.parent is None or leg.sid in self.redirected:
                continue
            parent = live.get(leg.parent.sid)
            assert parent is not None, f"{leg.key} outlives its parent"
            assert parent.running_dial is child.dialled_by, f"{leg.key} outlives its parent's Dial"

    redirected: set[str] = field(default_factory=set)

    def do(self, which: int, action: str) -> None:
        leg = self.legs[which % len(self.legs)]
        was = leg.status
        try:
            match action:
                case "completed" | "canceled":
                    self.switch.update(leg, CallUpdate(status=action))
                case "Url":
                    self.switch.update(leg, CallUpdate(source=Source(f"{SITE}/1"), time_limit=LIMIT))
                    self.redirected.add(leg.sid)
                case "Twiml":
                    source = Source(twiml="<Response><Pause/></Response>")
                    self.switch.update(leg, CallUpdate(source=source, time_limit=LIMIT))
                    self.redirected.add(leg.sid)
                case "answer":
                    self.switch.far_end_answers(leg)
                case "hangup":
                    self.switch.far_end_hangs_up(leg)
                case "say":
                    self.switch.far_end_says(leg, "a word")
                case "record":
                    asked = RecordingRequest("StartCallRecordingAPI").reporting(
                        f"{SITE}/recording", "POST", RECORDING_EVENTS
                    )
                    self.switch.record(leg, asked)
                case _:
                    self.switch.far_end_presses(leg, "1*")
        except ApiError as refused:
            assert refused.code == 21220
            assert leg.status == was


def check_leg(leg: Leg, callbacks: list[Mapping[str, str]]) -> None:
    """One final status, reported once and last; numbers without gaps; no negative time."""
    assert leg.status in FINAL, f"{leg.key} never ended"
    statuses = [form["CallStatus"] for form in callbacks]
    assert [int(form["SequenceNumber"]) for form in callbacks] == list(range(len(callbacks)))
    assert [status for status in statuses if status in FINAL] == [leg.status]
    assert statuses[-1] == leg.status
    rank = {"initiated": 0, "ringing": 1, "in-progress": 2}
    ranks = [rank.get(status, 3) for status in statuses]
    assert ranks == sorted(set(ranks))
    assert int(callbacks[-1]["CallDuration"]) >= 0
    assert (leg.facts.duration is not None) == (leg.status == "completed" and "in-progress" in statuses)
    assert leg.facts.duration is None or leg.facts.duration >= 0
    assert callbacks[-1].get("ParentCallSid", "") == (leg.parent.sid if leg.parent else "")


def check_recording(recording: Recording, callbacks: list[Mapping[str, str]]) -> None:
    """It began and ended, once each, and is no longer than a call may be."""
    assert recording.since is None
    assert recording.seconds >= 0
    assert recording.status == ("completed" if recording.duration else "absent")
    assert [form["RecordingStatus"] for form in callbacks] == ["in-progress", recording.status]
    assert recording.seconds <= 5 * LIMIT


@settings(max_examples=150, deadline=None)
@given(
    pages=st.fixed_dictionaries(dict.fromkeys(PAGES[:3], documents)),
    ends=st.fixed_dictionaries(dict.fromkeys(ADDRESSES[:4], far_ends)),
    incoming=st.booleans(),
    meanwhile=actions,
    reading=st.sets(st.sampled_from(sorted(READINGS))),
)
def test_whatever_runs_every_leg_ends_once(
    pages: dict[str, str],
    ends: dict[str, FarEnd],
    incoming: bool,
    meanwhile: list[tuple[float, int, str]],
    reading: set[str],
) -> None:
    clock = ManualClock()
    network = FakeNetwork(clock, pages)
    options = Settings(far_end=ends, readings=frozenset(reading), seed=1)
    switch = Switch(options, clock=clock, wall=lambda: NOW, send=network.send, connect=no_sockets, chance=Chance(1))
    setup = SwitchSetup(switch, clock, network)
    request = CallRequest(
        to=ADDRESSES[0],
        from_=ADDRESSES[1],
        source=Source(f"{SITE}/0", fallback_url=f"{SITE}/2"),
        subscription=Subscription(f"{SITE}/status", "POST", frozenset(EVENTS.split())),
        time_limit=LIMIT,
    )
    first = switch.receive(request) if incoming else switch.place(request)
    assert first.direction == (INBOUND if incoming else "outbound-api")

    for wait, which, action in meanwhile:
        setup.advance(wait)
        setup.do(which, action)
    # Every leg that may live by itself has a limit, counted from its answer; a child's child has its parent's.
    setup.advance(10 * LIMIT)

    for leg in setup.legs:
        callbacks = network.callbacks[leg.sid]
        if leg.direction == OUTBOUND_DIAL or leg is first:
            check_leg(leg, callbacks)
    for recording in switch.recordings.newest_first():
        check_recording(recording, network.recordings[recording.sid])
