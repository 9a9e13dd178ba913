"""What holds of conferences, whatever their participants and the API do."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from simulator.setup import no_sockets

from callctl.simulator.clock import ManualClock
from callctl.simulator.errors import ApiError
from callctl.simulator.far_end import FarEnd
from callctl.simulator.faults import Chance
from callctl.simulator.http_requests import OutgoingRequest, Reply
from callctl.simulator.models import CallRequest, CallUpdate, Source, Subscription
from callctl.simulator.settings import Settings
from callctl.simulator.switch.conference import Conference, JoinError, Participant
from callctl.simulator.switch.switch import Switch
from callctl.simulator.twiml.verbs.conference import EVENTS, Entrance

SITE = "http://127.0.0.1:9"
LIMIT = 40.0
NOW = datetime(2026, 1, 5, tzinfo=UTC)
ROOMS = ("one", "two")
PAGES = {
    "/wait": "<Response><Pause length='3'/><Redirect/></Response>",
    "/say": "<Response><Say>Something</Say></Response>",
    "/broken": "<Response>",
}
FAR_ENDS = {
    "+12025550110": FarEnd(),
    "+12025550111": FarEnd(after=1.0, hang_up_after=7.0),
    "+12025550112": FarEnd("busy", after=3.0),
    "+12025550113": FarEnd("never"),
}
flag = st.booleans()
entrances = st.builds(
    Entrance,
    name=st.sampled_from(ROOMS),
    label=st.sampled_from(["", "", "ann", "bob"]),
    muted=flag,
    starts=flag,
    ends=flag,
    wait_url=st.sampled_from(["", f"{SITE}/wait", f"{SITE}/say", f"{SITE}/broken"]),
    most=st.sampled_from([2, 250]),
    subscription=st.just(Subscription(f"{SITE}/room", "POST", frozenset(EVENTS))),
)
WORDS = (
    "complete",
    "hang up",
    "redirect",
    "rejoin",
    "kick",
    "hold",
    "resume",
    "mute",
    "ends",
    "announce",
    "end",
    "star",
)
actions = st.one_of(
    st.tuples(st.just("enter"), entrances, st.sampled_from(sorted(FAR_ENDS))),
    st.tuples(st.just("dial"), entrances, st.sampled_from(sorted(FAR_ENDS))),
    st.tuples(st.sampled_from(WORDS), st.integers(0, 9), st.just("")),
    st.tuples(st.sampled_from(WORDS), st.integers(0, 9), st.just("")),
)
steps = st.lists(st.tuples(st.sampled_from([0.0, 0.05, 0.3, 2.0, 5.0]), actions), max_size=25)


def twiml(entrance: Entrance) -> str:
    words = {
        "participantLabel": entrance.label,
        "startConferenceOnEnter": str(entrance.starts).lower(),
        "endConferenceOnExit": str(entrance.ends).lower(),
        "waitUrl": entrance.wait_url,
        "maxParticipants": str(entrance.most),
        "statusCallback": f"{SITE}/room",
        "statusCallbackEvent": " ".join(EVENTS),
    }
    attributes = "".join(f' {name}="{value}"' for name, value in words.items())
    noun = f"<Conference{attributes}>{entrance.name}</Conference>"
    return f'<Response><Dial hangupOnStar="true" timeLimit="30">{noun}</Dial><Pause length="1"/></Response>'


@dataclass(slots=True)
class Rooms:
    """A switch with conferences, and what was reported of each."""

    clock: ManualClock = field(default_factory=ManualClock)
    reported: dict[str, list[Mapping[str, str]]] = field(default_factory=lambda: defaultdict(list))
    switch: Switch = field(init=False)

    def __post_init__(self) -> None:
        options = Settings(far_end=FAR_ENDS, seed=1)
        self.switch = Switch(
            options, clock=self.clock, wall=lambda: NOW, send=self.send, connect=no_sockets, chance=Chance(1)
        )

    def send(self, request: OutgoingRequest, on_reply: Callable[[Reply], None]) -> Callable[[], object]:
        path = request.url.removeprefix(SITE)
        if path == "/room":
            self.reported[request.params["ConferenceSid"]].append(request.params)
            return self.clock.later(0.0, lambda: on_reply(Reply(204))).cancel
        page = PAGES[path]
        return self.clock.later(0.1, lambda: on_reply(Reply(200, page.encode(), "text/xml"))).cancel

    @property
    def conferences(self) -> list[Conference]:
        return list(self.switch.conferences.newest_first())

    @property
    def members(self) -> list[Participant]:
        return [each for conference in self.conferences for each in conference.participants.values()]

    def advance(self, seconds: float) -> None:
        until = self.clock.now() + seconds
        while self.clock.step(until):
            self.check()
        self.clock.later(seconds, lambda: None)
        self.clock.step(until)

    def check(self) -> None:
        """Nobody is in two places, nor there after the end; and no conference is without anybody."""
        legs = [each.leg.sid for each in self.members]
        assert len(legs) == len(set(legs))
        assert not any(each.leg.is_final or each.has_left for each in self.members)
        going_on = [each for each in self.conferences if not each.is_over]
        assert len({each.name for each in going_on}) == len(going_on)
        assert all(bool(each.participants) != each.is_over for each in self.conferences)

    def place(self, entrance: Entrance, to: str, *, dialled: bool) -> None:
        request = CallRequest(to, "+15005550006", Source(twiml=twiml(entrance)), timeout=10.0, time_limit=LIMIT)
        if not dialled:
            self.switch.place(request)
            return
        try:
            self.switch.invite(request, entrance)
        except JoinError as error:
            assert error.code in (16020, 16025)

    def do(self, word: str, which: int) -> None:
        rooms, members = self.switch.conferences, self.members
        if not members:
            return
        member = members[which % len(members)]
        leg, conference = member.leg, member.conference
        match word:
            case "complete":
                self.switch.update(leg, CallUpdate("completed"))
            case "kick":
                rooms.remove(member, kicked=True)
            case "hold" | "resume":
                rooms.hold(member, hold=word == "hold", url=f"{SITE}/wait")
            case "mute":
                rooms.mute(member, muted=not member.muted)
            case "ends":
                rooms.modify(member, ends=not member.ends)
            case "announce" if member.has_joined:
                rooms.announce(member, f"{SITE}/say", "POST")
                rooms.announce_to_all(conference, f"{SITE}/broken", "POST")
            case "end":
                rooms.end(conference)
            case _:
                self.by_call(word, member)

    def by_call(self, word: str, member: Participant) -> None:
        leg = member.leg
        try:
            match word:
                case "hang up":
                    self.switch.far_end_hangs_up(leg)
                case "star":
                    self.switch.far_end_presses(leg, "*")
                case "redirect" | "rejoin":
                    document = "<Response><Pause/></Response>"
                    if word == "rejoin":
                        document = twiml(Entrance(member.conference.name))
                    self.switch.update(leg, CallUpdate(source=Source(twiml=document)))
        except ApiError as refused:
            assert refused.code == 21220

    def check_reports(self, conference: Conference) -> None:
        """One end, the last; one start at most, after two joins; and all who joined left once."""
        reported = self.reported[conference.sid]
        assert [form["SequenceNumber"] for form in reported] == [str(number + 1) for number in range(len(reported))]
        events = [form["StatusCallbackEvent"] for form in reported]
        assert events.count("conference-end") == 1
        assert events[-1] == "conference-end"
        if "conference-start" in events:
            assert events.count("conference-start") == 1
            assert events[: events.index("conference-start")].count("participant-join") >= 2
        present: set[str] = set()
        for form in reported:
            match form["StatusCallbackEvent"]:
                case "participant-join":
                    assert form["CallSid"] not in present
                    present.add(form["CallSid"])
                case "participant-leave" if form["CallSid"] not in present:
                    assert form["ReasonParticipantLeft"] != "participant_hung_up"
                case "participant-leave":
                    present.remove(form["CallSid"])
        assert not present


@settings(max_examples=200, deadline=None)
@given(steps)
def test_whatever_happens_conferences_begin_and_end_once(done: list[tuple[float, tuple[str, object, str]]]) -> None:
    rooms = Rooms()
    for wait, (word, what, to) in done:
        rooms.advance(wait)
        if isinstance(what, Entrance):
            rooms.place(what, to, dialled=word == "dial")
        elif isinstance(what, int):
            rooms.do(word, what)
        rooms.check()
    rooms.advance(10 * LIMIT)
    assert all(leg.is_final for leg in rooms.switch.register.newest_first())
    assert not rooms.members
    for conference in rooms.conferences:
        assert conference.is_over
        rooms.check_reports(conference)
    assert not rooms.switch.conferences._expected
