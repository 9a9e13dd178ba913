"""Queues: who waits in them and what they hear, and who takes the next.

Source: docs/twilio.md, "Queues".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from callctl.simulator.clock import Clock
from callctl.simulator.http_requests import Cancel
from callctl.simulator.models import Leg, Source
from callctl.simulator.settings import Settings
from callctl.simulator.switch.call_register import Register
from callctl.simulator.switch.leg import LiveLeg, Resume
from callctl.simulator.twiml.document import UNKNOWN_VERB
from callctl.simulator.twiml.script import run_script
from callctl.simulator.twiml.steps import ScriptEnd
from callctl.simulator.twiml.verbs.queue import CONNECTING_VERBS, NO_QUEUE, WAITING_VERBS, TakeNext, WaitInQueue
from callctl.simulator.twiml.verbs.sound import is_twilios_music

DEFAULT_SIZE, MAX_SIZE = 1000, 5000
BRIDGED, BRIDGING, FROM_BRIDGED = "bridged", "bridging-in-process", "redirected-from-bridged"
LEAVE, HANG_UP, REDIRECTED, FULL, ERROR = "leave", "hangup", "redirected", "queue-full", "error"


@dataclass(slots=True, eq=False)
class Member:
    """One leg in a queue, and behind it while it talks to the leg that took it out, its `agent`."""

    live: LiveLeg
    queue: "Queue"
    step: WaitInQueue
    number: int
    enqueued: datetime
    since: float  # simulated seconds
    resume: Resume | None
    waited: float | None = None  # how long in all, once it is out
    agent: "Agent | None" = None
    heard: Cancel | None = None  # stops what it hears: music, or the document before it is connected

    @property
    def leg(self) -> Leg:
        """The call resource that it is."""
        return self.live.leg

    @property
    def ordinal(self) -> int:
        """Where it is in lists, which begin with the highest: the first in the queue has it."""
        return (1 << 62) - self.number

    def silence(self) -> None:
        """Stop what it hears."""
        heard, self.heard = self.heard, None
        if heard is not None:
            heard()


@dataclass(slots=True, eq=False)
class Agent:
    """One leg that takes the next of a queue: it waits for a `member`, and then talks to it."""

    live: LiveLeg
    queue: "Queue"
    step: TakeNext
    resume: Resume | None
    member: Member | None = None
    bridged_at: float | None = None  # simulated seconds
    stops: list[Callable[[], object]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Queue:
    """One queue. Its `agents` wait for somebody to come."""

    sid: str
    ordinal: int
    name: str
    max_size: int
    created: datetime
    updated: datetime
    made_on_demand: bool
    members: dict[str, Member] = field(default_factory=dict)  # by CallSid, the first first
    agents: dict[str, Agent] = field(default_factory=dict)

    def front(self) -> Member | None:
        """Return who is next."""
        return next(iter(self.members.values()), None)

    def position(self, member: Member) -> int:
        """Return the place of one who waits; the next has 1."""
        return list(self.members).index(member.leg.sid) + 1


class Queues:
    """Every queue there is. Of those that calls made on their way, the oldest that are empty give way to new ones."""

    def __init__(self, settings: Settings, *, clock: Clock, wall: Callable[[], datetime], register: Register) -> None:
        self._keep = settings.keep_finished
        self._clock = clock
        self._wall = wall
        self._register = register
        self._all: dict[str, Queue] = {}
        self._by_name: dict[str, Queue] = {}
        self._made = 0
        self._members = 0

    # What the API does

    def newest_first(self) -> Iterator[Queue]:
        """Yield every queue, the newest first."""
        return reversed(self._all.values())

    def find(self, sid: str) -> Queue | None:
        """Return the queue with this SID."""
        return self._all.get(sid)

    def named(self, name: str) -> Queue | None:
        """Return the queue with this name."""
        return self._by_name.get(name)

    def create(self, name: str, max_size: int = DEFAULT_SIZE, *, made_on_demand: bool = False) -> Queue:
        """Make a queue, whose name no other has."""
        self._make_room()
        self._made += 1
        now = self._wall()
        sid = self._register.new_sid("QU", self._made)
        queue = Queue(sid, self._made, name, max_size, now, now, made_on_demand)
        self._all[queue.sid] = self._by_name[name] = queue
        return queue

    def change(self, queue: Queue, name: str, max_size: int) -> None:
        """Give a queue a name, which no other has, and a size; who waits in it stays."""
        del self._by_name[queue.name]
        queue.name, queue.max_size, queue.updated = name, max_size, self._wall()
        self._by_name[name] = queue

    def remove(self, queue: Queue) -> None:
        """Do away with an empty queue; who wanted to take somebody from it can't."""
        del self._all[queue.sid], self._by_name[queue.name]
        for agent in tuple(queue.agents.values()):
            self._stop(agent)
            _go_on(agent, NO_QUEUE)

    def dequeue(self, member: Member, source: Source) -> None:
        """Let a member go on with another document."""
        member.live.redirect(source)

    def waiting_time(self, member: Member) -> int:
        """Return for how many whole seconds it has waited, or had when it was taken out."""
        return round(self._clock.now() - member.since if member.waited is None else member.waited)

    def average_waiting_time(self, queue: Queue) -> int:
        """Return for how many seconds those who are in it have waited, on the average."""
        times = [self._clock.now() - member.since for member in queue.members.values()]
        return round(sum(times) / len(times)) if times else 0

    # Steps of scripts

    def wait(self, live: LiveLeg, step: WaitInQueue, resume: Resume) -> Cancel:
        """Let a leg wait, as a step of its script."""
        queue = self.named(step.name) or self.create(step.name, made_on_demand=True)
        if len(queue.members) >= queue.max_size:
            return self._clock.later(0.0, lambda: resume({"QueueResult": FULL})).cancel
        self._members += 1
        member = Member(live, queue, step, self._members, self._wall(), self._clock.now(), resume)
        queue.members[live.leg.sid] = member
        self._match(queue)
        if member.agent is None:
            self._play(member)

        def dropped() -> None:
            if live.is_ending:
                live.when_over.append(lambda: self._lose(member, HANG_UP))
            else:
                self._lose(member, REDIRECTED)

        return dropped

    def take(self, live: LiveLeg, step: TakeNext, resume: Resume) -> Cancel:
        """Connect a leg with the next of a queue, as a step of its script."""
        queue = self.named(step.name)
        if queue is None:
            live.notify(UNKNOWN_VERB, f"<Queue>: there is no queue {step.name!r}")
            return self._clock.later(0.0, lambda: resume(NO_QUEUE)).cancel
        agent = Agent(live, queue, step, resume)
        queue.agents[live.leg.sid] = agent
        agent.stops.append(self._clock.later(step.terms.give_up_after, lambda: self._give_up(agent)).cancel)
        self._match(queue)

        def dropped() -> None:
            if live.is_ending:
                live.when_over.append(lambda: self._lose_agent(agent))
            else:
                self._lose_agent(agent)

        return dropped

    # Those who wait

    def _play(self, member: Member) -> None:
        """Play what is heard in the queue; its document is requested again whenever it ends."""
        step = member.step
        if not step.wait_url or is_twilios_music(step.wait_url):
            return
        script = run_script(Source(step.wait_url, step.wait_method), allowed=WAITING_VERBS)

        def on_end(end: ScriptEnd) -> None:
            member.heard = None
            match end:
                case ScriptEnd.DOCUMENT_END:
                    self._play(member)
                case ScriptEnd.HANGUP:
                    member.live.end("completed")
                case ScriptEnd.LEFT:
                    self._leave(member, LEAVE)
                case _:
                    self._leave(member, ERROR)

        member.heard = member.live.beside(script, on_end, params=lambda: self._queue_parameters(member))

    def _queue_parameters(self, member: Member) -> dict[str, str]:
        queue = member.queue
        return {
            "QueueSid": queue.sid,
            "QueuePosition": str(queue.position(member)),
            "QueueTime": str(self.waiting_time(member)),
            "AvgQueueTime": str(self.average_waiting_time(queue)),
            "CurrentQueueSize": str(len(queue.members)),
            "MaxQueueSize": str(queue.max_size),
        }

    def _take_out(self, member: Member) -> None:
        member.silence()
        if member.queue.members.pop(member.leg.sid, None) is not None:
            member.waited = self._clock.now() - member.since

    def _leave(self, member: Member, result: str) -> None:
        """It goes on without having been taken."""
        self._take_out(member)
        _go_on(member, self._result_parameters(member, result))

    def _lose(self, member: Member, result: str) -> None:
        """It has ended, or goes on elsewhere: nobody is left to go to the action, which is requested all the same."""
        agent, member.resume = member.agent, None
        self._take_out(member)
        if agent is not None and agent.bridged_at is None:
            result = BRIDGING
        elif agent is not None:
            result = FROM_BRIDGED if result == REDIRECTED else BRIDGED
        step = member.step
        if step.action:
            member.live.request(step.action, step.method, self._result_parameters(member, result))
        if agent is not None:
            self._part(agent, timed=result == BRIDGED)

    def _result_parameters(self, member: Member, result: str) -> dict[str, str]:
        """Return the parameters of the action of one who really was in the queue."""
        return {"QueueResult": result, "QueueSid": member.queue.sid, "QueueTime": str(self.waiting_time(member))}

    # Those who take them

    def _match(self, queue: Queue) -> None:
        """Connect whom can be: at most one, since nobody waits on both sides for long."""
        member, agent = queue.front(), next(iter(queue.agents.values()), None)
        if member is None or agent is None:
            return
        self._stop(agent)
        self._take_out(member)
        member.agent, agent.member = agent, member
        step = agent.step
        if not step.url:
            self._bridge(agent)
            return
        more = {"QueueSid": queue.sid, "QueueTime": str(self.waiting_time(member))}
        more["DequeingCallSid"] = agent.live.leg.sid  # spelt so

        def on_end(_: ScriptEnd) -> None:
            member.heard = None
            self._bridge(agent)  # even where there was nothing to hear (inferred)

        script = run_script(Source(step.url, step.method), allowed=CONNECTING_VERBS)
        member.heard = member.live.beside(script, on_end, params=lambda: more)

    def _bridge(self, agent: Agent) -> None:
        agent.bridged_at = self._clock.now()
        terms = agent.step.terms
        agent.stops.append(self._clock.later(terms.time_limit, lambda: self._part(agent)).cancel)
        if terms.hangup_on_star:
            agent.live.on_star = lambda: self._part(agent)

    def _give_up(self, agent: Agent) -> None:
        """Nobody came in time."""
        self._stop(agent)
        _go_on(agent, self._dial_parameters(agent))

    def _lose_agent(self, agent: Agent) -> None:
        """It has ended, or goes on elsewhere; its Dial's action is requested in the former case (inferred)."""
        agent.resume = None
        terms = agent.step.terms
        if agent.live.is_ending and terms.action:
            agent.live.request(terms.action, terms.method, self._dial_parameters(agent))
        if agent.member is None:
            self._stop(agent)
        else:
            self._part(agent)

    def _part(self, agent: Agent, *, timed: bool = True) -> None:
        """The talk is over, or does not come about: both go on."""
        member, agent.member = agent.member, None
        if member is None:
            return
        self._stop(agent)
        member.silence()
        member.agent = None
        parameters = self._dial_parameters(agent, timed=timed)
        result = BRIDGING if agent.bridged_at is None else BRIDGED
        _go_on(agent, parameters)
        _go_on(member, self._result_parameters(member, result))

    def _dial_parameters(self, agent: Agent, *, timed: bool = True) -> dict[str, str]:
        """Return the parameters of the Dial's action; there is no leg of its own to name (inferred)."""
        if agent.bridged_at is None:
            return {"DialCallStatus": "no-answer", "DialBridged": "false"}
        parameters = {"DialCallStatus": "completed", "DialBridged": "true"}
        if timed:
            parameters["DialCallDuration"] = str(round(self._clock.now() - agent.bridged_at))
        return parameters

    def _stop(self, agent: Agent) -> None:
        agent.queue.agents.pop(agent.live.leg.sid, None)
        agent.live.on_star = None
        for stop in agent.stops:
            stop()
        agent.stops.clear()

    # Inside

    def _make_room(self) -> None:
        if len(self._all) < self._keep:
            return
        unused = (each for each in self._all.values() if each.made_on_demand and not (each.members or each.agents))
        oldest = next(unused, None)
        if oldest is not None:
            self.remove(oldest)


def _go_on(who: Member | Agent, parameters: dict[str, str]) -> None:
    """Go on with a script, unless that was dropped."""
    resume, who.resume = who.resume, None
    if resume is not None:
        resume(parameters)
