"""How much the simulator takes, and how late its events are.

Calls are placed evenly, so that many are in flight: of ten, seven have two child legs each, and three meet in a
conference. All legs and conferences tell all events to a receiver in another process. The simulator runs in a third.
What is measured is measured from outside: processor time of the simulator's process, and for each callback the time
from when it was due (counted from just before the call was placed) to its arrival, which includes both ways over HTTP.

For tests: what an hour of an IVR takes with a manual clock, besides the requests that it makes of the application.
"""

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from measuring import Interval, Row, amount, counted, share, within

from callctl.simulator import FarEnd, Simulator

WINNER, LOSER = "+12025550100", "+12025550101"
EVENTS = "initiated ringing answered completed"
CALLER = "+12025550199"
IN_TEN = 3  # calls of ten that meet in a conference
BY_CONFERENCE = ("conference-start", "conference-end")  # once each; the other events are its participants'


@dataclass(frozen=True)
class WatchOptions:
    """How many calls are in flight, how many seconds each lives, and for how long it is measured."""

    calls: int
    life: float
    seconds: float

    @property
    def talk(self) -> int:
        """How long a conversation takes, in seconds."""
        return int(self.life - 10)

    @property
    def rate(self) -> float:
        """Calls placed a second."""
        return self.calls / self.life

    def due_in_conference(self) -> dict[tuple[str, str], float]:
        """Return when each event of a participant is due; the conference's time limit is that of a conversation."""
        return {
            ("parent", "initiated"): 0.1,
            ("parent", "ringing"): 0.3,
            ("parent", "in-progress"): 2.3,
            ("room", "participant-join"): 2.3,
            ("room", "participant-leave"): 2.3 + self.talk,
            ("parent", "completed"): 2.3 + self.talk + 5.5,
        }

    def due(self) -> dict[tuple[str, str], float]:
        """Return when each event of a call with child legs is due, in seconds from its request.

        Dialled after 0.1, it rings 0.2 later and is answered 2 later; then the Dial does the same, the loser is
        canceled at the answer, and the conversation ends.
        """
        return {
            ("parent", "initiated"): 0.1,
            ("parent", "ringing"): 0.3,
            ("parent", "in-progress"): 2.3,
            (WINNER, "initiated"): 2.3,
            (LOSER, "initiated"): 2.3,
            (WINNER, "ringing"): 2.5,
            (LOSER, "ringing"): 2.5,
            (WINNER, "in-progress"): 4.5,
            (LOSER, "canceled"): 4.5,
            (WINNER, "completed"): 4.5 + self.talk,
            ("parent", "completed"): 4.5 + self.talk + 5.5,
        }


Arrival = tuple[str, str, str, float]  # the parent's SID, which leg, the status, when


def receive(pipe: Connection) -> None:
    """Take callbacks in a process of its own; send what arrived when asked for it."""

    async def main() -> None:
        arrivals: list[Arrival] = []

        async def take(request: web.Request) -> web.Response:
            now = time.monotonic()
            form = dict(parse_qsl((await request.read()).decode()))
            if "ConferenceSid" in form:
                who = form.get("CallSid", form["ConferenceSid"])
                arrivals.append((who, "room", form["StatusCallbackEvent"], now))
                return web.Response(status=204)
            parent = form.get("ParentCallSid")
            arrivals.append((parent or form["CallSid"], form["To"] if parent else "parent", form["CallStatus"], now))
            return web.Response(status=204)

        app = web.Application()
        app.router.add_post("/", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await asyncio.to_thread(pipe.recv)
        pipe.send(arrivals)

    asyncio.run(main())


def simulate(pipe: Connection) -> None:
    """Run the simulator in a process of its own; send its processor time whenever asked."""
    with Simulator() as sim:
        pipe.send((sim.url, sim.account_sid, sim.auth_token))
        while pipe.recv():
            pipe.send(time.process_time())


class Placer:
    """Places calls evenly and remembers when."""

    def __init__(self, plan: WatchOptions, facts: tuple[str, str, str], receiver: str) -> None:
        url, account, token = facts
        self._url = f"{url}/2010-04-01/Accounts/{account}/Calls.json"
        self._headers = {"Authorization": aiohttp.encode_basic_auth(account, token)}
        attributes = f'statusCallback="{receiver}" statusCallbackEvent="{EVENTS}"'
        nouns = f"<Number {attributes}>{WINNER}</Number><Number {attributes}>{LOSER}</Number>"
        self._talk = plan.talk
        self._nouns = nouns
        self._room = f'<Conference statusCallback="{receiver}" statusCallbackEvent="start end join leave">'
        self._form = [("To", WINNER), ("From", "+15005550006"), ("StatusCallback", receiver)]
        self._form += [("StatusCallbackEvent", event) for event in EVENTS.split()]
        self.placed: dict[str, float] = {}
        self.in_conference: set[str] = set()

    async def place_evenly(self, *, rate: float, seconds: float) -> None:
        """Place so many calls a second, for so long."""
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            began = time.monotonic()
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                group.create_task(self._place(session, number))

    async def _place(self, session: aiohttp.ClientSession, number: int) -> None:
        now = time.monotonic()
        meets = number % 10 < IN_TEN
        inside = f"{self._room}room {number // 10}</Conference>" if meets else self._nouns
        document = f'<Response><Dial timeLimit="{self._talk}">{inside}</Dial><Pause length="5.5"/></Response>'
        async with session.post(self._url, data=[*self._form, ("Twiml", document)], headers=self._headers) as reply:
            body = await reply.json()
            if reply.status != 201:
                raise RuntimeError(f"not placed: {body}")
            self.placed[body["sid"]] = now
            if meets:
                self.in_conference.add(body["sid"])


def processor_time(pipe: Connection) -> float:
    """Ask the simulator's process for the processor time it has used, in seconds."""
    pipe.send(True)
    used: float = pipe.recv()
    return used


def run(plan: WatchOptions, placer: Placer, simulator: Connection) -> float:
    """Place the calls and wait for the last to end; return how much of one core the simulator used meanwhile."""

    async def main() -> float:
        placing = asyncio.create_task(placer.place_evenly(rate=plan.rate, seconds=plan.life + plan.seconds))
        await asyncio.sleep(plan.life)  # from now on as many end as begin
        used, began = processor_time(simulator), time.monotonic()
        await placing
        part = (processor_time(simulator) - used) / (time.monotonic() - began)
        await asyncio.sleep(plan.life + 2)
        return part

    return asyncio.run(main())


MENU = b"""<Response>
  <Say>One moment.</Say><Pause length="57"/><Gather numDigits="1" action="/voice"><Say>Press one.</Say></Gather>
</Response>"""


def ask_again(pipe: Connection) -> None:
    """Be an IVR in a process of its own."""

    async def answer(request: web.Request) -> web.Response:
        await request.post()
        return web.Response(body=MENU, content_type="text/xml")

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/voice", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}/voice")
        await asyncio.to_thread(pipe.recv)

    asyncio.run(main())


async def hour(url: str) -> tuple[float, list[Mapping[str, str]]]:
    """Let a caller press a key each minute of an hour; return the real seconds, and what was asked."""
    presses = FarEnd(digits="1", digits_after=1.0)
    async with Simulator(manual_clock=True, strict=True, seed=1, far_end={CALLER: presses}) as sim:
        sim.call(from_=CALLER, to="+15005550006", url=url, time_limit=3600)
        await sim.advance_async(0)  # the connection is made
        began = time.perf_counter()
        await sim.advance_async(3601)
        took = time.perf_counter() - began
        (call,) = sim.calls
        if (call.status, call.duration, call.notifications) != ("completed", 3600, ()):
            raise RuntimeError(f"not an hour of an IVR: {call}")
        return took, [sent.params for sent in sim.sent[1:]]


async def exchanges(url: str, forms: Iterable[Mapping[str, str]]) -> float:
    """Make the same requests one after the other, and nothing else; return the real seconds."""
    async with aiohttp.ClientSession() as session:
        await (await session.post(url)).read()
        began = time.perf_counter()
        for form in forms:
            await (await session.post(url, data=form)).read()
        return time.perf_counter() - began


def measure_hour(rounds: int) -> Row:
    """Measure an hour of an IVR and its requests alone, in turns."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=ask_again, args=(far,), daemon=True)
    process.start()
    url = near.recv()
    hours, alone, forms = [], [], list[Mapping[str, str]]()
    for _ in range(rounds):
        took, forms = asyncio.run(hour(url))
        hours.append(took)
        alone.append(asyncio.run(exchanges(url, forms)))
    near.send(False)
    process.join(10)
    beyond = Interval.of(took - its for took, its in zip(hours, alone, strict=True))
    what = f"one simulated hour of an IVR by a manual clock, beyond its {len(forms)} HTTP exchanges"
    spread = f"{amount(beyond.low, 's')} to {amount(beyond.high, 's')}"
    measured = f"{amount(beyond.middle, 's')} ({spread}; {amount(statistics.median(hours), 's')} in all)"
    return Row(what, measured, "≤ 20 ms", beyond.middle <= 0.02, is_certain=beyond.high <= 0.02)


def measure(*, quick: bool) -> Iterator[Row]:
    """Measure a simulator at work."""
    yield measure_hour(5 if quick else 40)
    plan = WatchOptions(200, 15, 10) if quick else WatchOptions(1000, 60, 60)
    context = multiprocessing.get_context("spawn")
    (near, far), (listener, other) = context.Pipe(), context.Pipe()
    processes = [context.Process(target=simulate, args=(far,)), context.Process(target=receive, args=(other,))]
    for process in processes:
        process.start()
    placer = Placer(plan, near.recv(), listener.recv())
    part = run(plan, placer, near)
    listener.send(True)
    arrivals: list[Arrival] = listener.recv()
    near.send(False)
    for process in processes:
        process.join(10)
    usual, met = plan.due(), plan.due_in_conference()
    late = sorted(
        at - placer.placed[sid] - (met if sid in placer.in_conference else usual)[leg, status]
        for sid, leg, status, at in arrivals
        if status not in BY_CONFERENCE
    )
    meeting = len(placer.in_conference)
    conferences = -(-len(placer.placed) // 10)
    expected = (len(placer.placed) - meeting) * len(usual) + meeting * len(met) + conferences * len(BY_CONFERENCE)
    rate = plan.rate * expected / len(placer.placed)
    what = f"simulator with {plan.calls:,} calls in flight, {plan.calls // 10} conferences among them"
    what += f", {rate:.0f} callbacks a second / one core"
    yield Row(what, f"{part:.2f} x", "≤ 1 x", part <= 1, is_certain=part <= 1)
    yield within(0.25, "99 % of its callbacks leave after their time within", share(late, 0.99))
    what = "its callbacks that arrive"
    yield counted(what, f"{len(arrivals):,} of {expected:,}", "all", kept=len(arrivals) == expected)
